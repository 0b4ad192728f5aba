//! The lowest room: the disk as memory sees it. RocksDB, the journal, whether they take writes, and how fast these may come.
//! Nothing here knows a key.

pub mod gate;
pub mod requests;
pub mod throttle;
pub mod tier;

//! A lock that many hold together at the price of none.

use crossbeam_utils::CachePadded;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::base::thread;

const SHARDS: usize = 64;

/// Many hold it shared and seldom somebody alone: each thread has a lock of its own for the former, so that passing costs no
/// shared cache line. Never take it twice in one thread.
///
/// The keyspace's lets a few commands (FLUSHALL, SWAPDB, …) run while no other command does: whoever executes commands holds
/// it shared for the length of a batch. The tier's keeps rounds from beginning amid a command on several slots.
pub struct Gate(Box<[CachePadded<RwLock<()>>]>);

/// The gate, held together with others until this is dropped.
pub struct Shared<'a>(#[allow(dead_code, reason = "it is held, not read")] RwLockReadGuard<'a, ()>);

/// The gate, held alone until this is dropped.
pub struct Exclusive<'a>(#[allow(dead_code, reason = "it is held, not read")] Vec<RwLockWriteGuard<'a, ()>>);

impl Default for Gate {
    fn default() -> Self {
        Gate(std::iter::repeat_with(CachePadded::<RwLock<()>>::default).take(SHARDS).collect())
    }
}

impl Gate {
    /// Holds the gate together with others. Waits while somebody holds it alone.
    #[inline]
    pub fn shared(&self) -> Shared<'_> {
        Shared(self.0[thread::index() % SHARDS].read())
    }

    /// Waits until nobody holds the gate, and keeps everybody out.
    pub fn exclusive(&self) -> Exclusive<'_> {
        Exclusive(self.0.iter().map(|lock| lock.write()).collect())
    }
}

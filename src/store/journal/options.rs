//! How a journal is kept.

use std::time::Duration;

/// When a change may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncPolicy {
    /// When it is on disk.
    Always,
    /// When it is written; a sync follows each second. A power cut may take what was written since the last.
    EverySecond,
    /// When it is written. The operating system syncs when it sees fit.
    Never,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a change may be acknowledged, to begin with.
    pub sync: SyncPolicy,
    /// A segment that has reached this size is left for the next.
    pub segment_bytes: u64,
    /// How many files that are not needed any more are kept to be written over.
    pub spare_segments: usize,
    /// Whether a journal may be made where there is none.
    pub create: bool,
    /// The second of `EverySecond`.
    pub interval: Duration,
    /// How long after a failure it is tried again.
    pub retry: Duration,
    /// How long a failure may last before nobody waits for an acknowledgement any more.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::EverySecond,
            segment_bytes: 32 * 1024 * 1024,
            spare_segments: 2,
            create: false,
            interval: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            patience: Duration::from_secs(5),
        }
    }
}

//! How a run goes on, told while it does.

use std::time::Duration;

/// An observer of a run.
pub trait Progress: Sync {
    /// Called when every connection is open, and before the first request.
    fn opened(&self) {}
    /// Called after the last reply, and before the first connection is closed.
    fn closing(&self) {}
    /// Called every half second by the thread that called [`run`](super::run).
    fn report(&self, snapshot: &Snapshot);
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Since the first request.
    pub elapsed: Duration,
    /// Replies so far.
    pub requests: u64,
    /// Errors so far.
    pub errors: u64,
    /// Wrong values so far; see [`Plan::verify`](super::Plan::verify).
    pub mismatches: u64,
    /// Open loop: how late the request is that is next to be sent.
    pub behind: Duration,
}

/// An observer that does nothing.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Snapshot) {}
}

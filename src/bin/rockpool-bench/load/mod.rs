//! The load generator.

mod outcome;
mod plan;

use std::time::Duration;

pub use outcome::{Outcome, Side};
pub use plan::{Distribution, Keys, Length, Operation, Plan, Protocol, Span};

/// Why a load could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What was asked for contradicts itself, or is not to be had over the protocol.
    #[error("{0}")]
    Plan(String),
    /// A server cannot be reached, refuses the client, or was lost and did not come back.
    #[error("{address}: {reason}")]
    Server { address: String, reason: String },
}

/// Who wants to hear how a run goes on.
pub trait Progress: Sync {
    /// Called every half second by the thread that called [`run`].
    fn report(&self, snapshot: &Snapshot);
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    pub elapsed: Duration,
    /// Replies so far.
    pub requests: u64,
    pub errors: u64,
    pub mismatches: u64,
    /// Open loop: how late the request is that is next to be sent.
    pub behind: Duration,
}

/// For those who do not.
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Snapshot) {}
}

/// Runs a load to its end, on threads of its own.
///
/// # Errors
/// [`LoadError`]; errors that servers answer and values that differ are in the outcome.
pub fn run(plan: &Plan, progress: &dyn Progress) -> Result<Outcome, LoadError> {
    progress.report(&Snapshot {
        elapsed: Duration::ZERO,
        requests: 0,
        errors: 0,
        mismatches: 0,
        behind: Duration::ZERO,
    });
    Err(LoadError::Plan(format!("{plan:?}")))
}

//! Why a load ends early.

use std::io;

/// Why a load could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What was asked for contradicts itself, or is not to be had over the protocol.
    #[error("{0}")]
    Plan(String),
    /// A server cannot be reached, refuses the client, or was lost and did not come back.
    #[error("{address}: {reason}")]
    Server { address: String, reason: String },
    /// A run that cannot go on.
    #[error("nothing but failures for the whole timeout, the last of them: {0}")]
    Lost(String),
    /// This machine does not do its part: a file, standard output, events.
    #[error(transparent)]
    Local(#[from] io::Error),
}

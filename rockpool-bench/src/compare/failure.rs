//! Why a comparison ends without a report.

/// Why there is no comparison: one line for who asked for it.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    text: String,
    /// Whether the arguments are to blame.
    pub is_usage: bool,
}

impl Failure {
    /// A failure of a server, the client, or this machine.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_usage: false }
    }

    /// The arguments cannot be met.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_usage: true }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

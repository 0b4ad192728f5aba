//! The users as whom sessions act.

/// The one user that there is, as in Redis: `requirepass` is its password, and it may run every command on every key.
pub const DEFAULT: &str = "default";

/// As whom a session acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// It has not given the password: where one is set, it may run only commands with `Flags::NO_AUTH`.
    Unauthenticated,
    /// The user [`DEFAULT`].
    Default,
}

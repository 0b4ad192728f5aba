use std::sync::Arc;
use std::time::Duration;

use super::clients::Client;

/// What a connection does once a command's reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Continue,
    /// Send what is written, then close.
    Close,
    /// Send the reply, and read on, only this much later (DEBUG SLEEP, WAIT); `None`: never.
    Delay(Option<Duration>),
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The command that set it, and the next one, are not answered.
    SkipNext,
}

/// What a connection knows of itself. Whatever others may see of it lies in its [`Client`].
pub struct Session {
    pub client: Arc<Client>,
    pub reply_mode: ReplyMode,
    /// Set by a handler, taken by the connection.
    pub after: After,
}

impl Session {
    pub fn new(client: Arc<Client>) -> Session {
        Session { client, reply_mode: ReplyMode::On, after: After::Continue }
    }
}

use std::sync::Arc;
use std::time::Duration;

use super::clients::Client;
use crate::keyspace::loader::Cold;
use crate::protocol::Args;

/// What a connection does once a command's reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Continue,
    /// Send what is written, then close.
    Close,
    /// Send the reply, and read on, only this much later (DEBUG SLEEP); `None`: never.
    Delay(Option<Duration>),
    /// The same for what waits for others (WAIT): it does not count as the command's time, and ends when the client closes
    /// its half.
    Block(Option<Duration>),
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The next command is not answered.
    SkipNext,
    /// The command that runs is not answered.
    Skip,
}

/// What a connection knows of itself. Whatever others may see of it lies in its [`Client`].
pub struct Session {
    pub client: Arc<Client>,
    pub reply_mode: ReplyMode,
    /// Set by a handler, taken by the connection.
    pub after: After,
    /// The present command's arguments that are secrets; see [`Context::redact`](super::context::Context::redact).
    pub(super) redacted: Vec<usize>,
    /// Keys of its commands that were not in memory.
    pub cold: Cold,
    /// The number of checkpoints that had ended when its SAVE began.
    pub(super) awaited_save: Option<u64>,
    /// How long its present command has waited for the disk to come nearer: as often as it was refused, since each time
    /// is a millisecond.
    pub(super) delayed_ms: u32,
}

impl Session {
    pub fn new(client: Arc<Client>) -> Session {
        Session {
            client,
            reply_mode: ReplyMode::On,
            after: After::Continue,
            redacted: Vec::new(),
            cold: Cold::default(),
            awaited_save: None,
            delayed_ms: 0,
        }
    }

    /// What others may be shown in place of the present command's argument at `index`: itself, or that it is secret.
    pub fn shown<'a>(&self, args: &Args<'a>, index: usize) -> &'a [u8] {
        if self.redacted.contains(&index) { b"(redacted)" } else { args.at(index) }
    }

    /// A command begins.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.redacted.clear();
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::Skip;
        }
    }

    /// A command has run: whether its reply is to be dropped, because CLIENT REPLY said so.
    #[inline]
    pub fn take_mute(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => false,
            ReplyMode::Off => true,
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::On;
                true
            }
        }
    }
}

//! What the executor keeps of one client between its commands.

use std::sync::Arc;

use tokio::time::Instant;

use crate::base::chunks::BytesRef;
use crate::command::clients::{Client, Wake};
use crate::command::flow::Flow;
use crate::keyspace::loader::Cold;
use crate::protocol::Args;

/// Which commands of a client are answered, as CLIENT REPLY has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// All are.
    On,
    /// None is.
    Off,
    /// The next command is not answered.
    SkipNext,
    /// The command that runs is not answered.
    Skip,
}

/// Stands for a whole command among its arguments that are secrets.
const WHOLE: usize = usize::MAX;

/// A command that is blocked, as long as it has not ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    /// When it waits no longer; `None`: there is no limit.
    pub deadline: Option<Instant>,
    /// What has ended its last wait.
    pub wake: Option<Wake>,
    /// Whether those who monitor have seen it: that is when it begins to wait.
    pub was_shown: bool,
}

impl Blocked {
    pub fn until(deadline: Option<Instant>) -> Blocked {
        Blocked { deadline, wake: None, was_shown: false }
    }
}

/// What a connection knows of itself. Whatever others may see of it lies in its [`Client`].
pub struct Session {
    /// What others may see of it.
    pub client: Arc<Client>,
    /// What CLIENT REPLY has set.
    pub reply_mode: ReplyMode,
    /// What the connection does once the present command's reply is written, set by its handler.
    pub after: Flow,
    /// The present command's arguments that are secrets; see [`Context::redact`](super::context::Context::redact).
    pub(super) redacted: Vec<usize>,
    /// Keys of its commands that were not in memory; none since it began: `None`. A command's access set has it while it runs.
    pub(super) cold: Option<Box<Cold>>,
    /// The number of checkpoints that had ended when its SAVE began.
    pub(super) awaited_save: Option<u64>,
    /// Its command that is blocked, or was and runs again; see [`Context::block`](super::context::Context::block).
    pub(super) blocked: Option<Blocked>,
    /// How long its present command has waited for the disk to come nearer: as often as it was refused, since each time
    /// is a millisecond.
    pub(super) delayed_ms: u32,
}

impl Session {
    /// Begins a client's session.
    pub fn new(client: Arc<Client>) -> Session {
        Session {
            client,
            reply_mode: ReplyMode::On,
            after: Flow::Continue,
            redacted: Vec::new(),
            cold: None,
            awaited_save: None,
            blocked: None,
            delayed_ms: 0,
        }
    }

    /// What others may be shown in place of the present command's argument at `index`: itself, or that it is secret.
    pub fn shown<'a>(&self, args: &Args<'a>, index: usize) -> BytesRef<'a> {
        if self.redacted.contains(&index) { BytesRef::Slice(b"(redacted)") } else { args.value(index) }
    }

    /// Returns whether its command waits for a walk.
    pub fn requests_walk(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.requests_walk())
    }

    /// The keys that were not in memory.
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// Forgets what was loaded, or was to be: it is for no other command.
    #[inline]
    pub fn forget_cold(&mut self) {
        if let Some(cold) = self.cold.as_mut().filter(|cold| !cold.is_empty()) {
            cold.clear();
        }
    }

    /// Keeps the present command from those who monitor.
    pub(super) fn hide(&mut self) {
        self.redacted.push(WHOLE);
    }

    /// Whether the present command is kept from those who monitor.
    pub(super) fn is_hidden(&self) -> bool {
        self.redacted.contains(&WHOLE)
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

//! Replies that await the commit of what they tell of.

use std::task::{Context, Poll};

use super::conversation::Conversation;
use crate::base::gather::{Gather, Mark};
use crate::command::commit::Commit;
use crate::command::session::Session;
use crate::keyspace::tier::Tier;
use crate::reply::Error;

/// Those of a connection: the end of its output.
#[derive(Default)]
pub struct Uncommitted {
    /// What has to be in the journal before.
    commit: Commit,
    /// Where they begin in the output.
    from: Mark,
    count: usize,
}

impl Uncommitted {
    /// Whether there are any.
    #[inline]
    pub fn is_any(&self) -> bool {
        self.commit.is_any()
    }

    /// Replies that are added go to the output behind `end`, unless some wait already.
    #[inline]
    pub fn begin(&mut self, end: Mark) {
        if !self.is_any() {
            (self.from, self.count) = (end, 0);
        }
    }

    /// So many more replies.
    #[inline]
    pub fn add(&mut self, commit: Commit, replies: usize) {
        self.count += replies;
        self.commit.add(commit);
    }

    /// Whether the journal has not got there yet, and may soon.
    #[inline]
    pub fn is_awaited(&self, tier: Option<&Tier>) -> bool {
        self.commit.is_awaited(tier)
    }

    /// Brings the journal there. Ready: nothing is to be waited for any more.
    pub fn poll(&self, tier: Option<&Tier>, context: &mut Context<'_>) -> Poll<()> {
        self.commit.poll(tier, context)
    }

    /// Nothing is waited for any more: they may be sent, or each of them is an error, if the journal did not get there.
    pub fn end(&mut self, tier: Option<&Tier>, conversation: &Conversation, session: &Session, output: &mut Gather) {
        if let Some(error) = self.commit.failure(tier) {
            self.refuse(&error, conversation, session, output);
        }
        self.commit = Commit::default();
    }

    /// Makes an error of each of them.
    fn refuse(&self, error: &Error, conversation: &Conversation, session: &Session, output: &mut Gather) {
        output.truncate(self.from);
        (0..self.count).for_each(|_| conversation.refuse(session, error, output));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::base::key_hash::HashSecret;
    use crate::command::clients::{Client, Peer};
    use crate::command::executor::Batch;
    use crate::command::state::State;
    use crate::config::Settings;
    use crate::net::Protocol;

    #[test]
    fn each_reply_to_a_command_with_several_becomes_an_error() {
        let state = State::new(Arc::new(Settings::default()), HashSecret::Xxh3(1), None);
        let mut session = Session::new(Arc::new(Client::new(1, Peer::default(), 0, true)));
        let mut conversation = Conversation::new(Protocol::Resp);
        let mut uncommitted = Uncommitted::default();
        let mut output = Gather::default();
        output.bytes().extend_from_slice(b"+before\r\n");
        uncommitted.begin(output.mark());
        for mut input in [b"SET key v\r\nSEVERAL 3\r\n".to_vec(), b"SEVERAL 0\r\nPING\r\n".to_vec()] {
            let batch = &mut Batch::new(&state);
            let progress = conversation.execute(batch, None, &mut session, &mut input, &mut output, usize::MAX);
            uncommitted.add(progress.commit, progress.replies);
        }
        assert_eq!(output.to_vec(), b"+before\r\n+OK\r\n:0\r\n:1\r\n:2\r\n+PONG\r\n");
        uncommitted.refuse(&Error::new("ERR lost"), &conversation, &session, &mut output);
        assert_eq!(output.to_vec(), [&b"+before\r\n"[..], &b"-ERR lost\r\n".repeat(5)].concat());
    }
}

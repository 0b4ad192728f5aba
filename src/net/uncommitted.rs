//! Replies that await the commit of what they tell of.

use std::task::{Context, Poll};

use super::conversation::Conversation;
use crate::base::gather::{Gather, Mark};
use crate::command::commit::Commit;
use crate::command::session::Session;
use crate::keyspace::tier::Tier;

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
            output.truncate(self.from);
            (0..self.count).for_each(|_| conversation.refuse(session, &error, output));
        }
        self.commit = Commit::default();
    }
}

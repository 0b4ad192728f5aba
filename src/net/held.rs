//! Replies that wait until the journal has what they tell of.

use std::task::{Context, Poll};

use super::conversation::Conversation;
use crate::base::gather::{Gather, Mark};
use crate::command::session::Session;
use crate::keyspace::tier::Tier;
use crate::store::journal::Ticket;

/// Those of a connection: the end of its output.
#[derive(Default)]
pub struct Held {
    /// What has to be in the journal before.
    ticket: Option<Ticket>,
    /// Where they begin in the output.
    from: Mark,
    count: usize,
}

impl Held {
    #[inline]
    pub fn is_any(&self) -> bool {
        self.ticket.is_some()
    }

    /// Replies that are added go to the output behind `end`, unless some wait already.
    #[inline]
    pub fn begin(&mut self, end: Mark) {
        if self.ticket.is_none() {
            (self.from, self.count) = (end, 0);
        }
    }

    /// So many more replies.
    #[inline]
    pub fn add(&mut self, ticket: Option<Ticket>, replies: usize) {
        self.count += replies;
        self.ticket = ticket.or(self.ticket);
    }

    /// Whether the journal has not got there yet, and may soon.
    pub fn awaits(&self, tier: Option<&Tier>) -> bool {
        self.pending(tier).is_some_and(|(ticket, tier)| !tier.is_acknowledged(ticket) && !tier.has_given_up(ticket))
    }

    /// Brings the journal there. Ready: nothing is to be waited for any more.
    pub fn poll(&self, tier: Option<&Tier>, context: &mut Context<'_>) -> Poll<()> {
        match self.pending(tier) {
            Some((ticket, tier)) if !tier.has_given_up(ticket) => tier.poll_acknowledged(ticket, context),
            _ => Poll::Ready(()),
        }
    }

    /// Nothing is waited for any more: they may be sent, or each of them is an error, if the journal did not get there.
    pub fn end(&mut self, tier: Option<&Tier>, conversation: &Conversation, session: &Session, output: &mut Gather) {
        if let Some((ticket, tier)) = self.pending(tier)
            && tier.has_given_up(ticket)
        {
            output.truncate(self.from);
            let error = tier.unwritten();
            (0..self.count).for_each(|_| conversation.refuse(session, &error, output));
        }
        self.ticket = None;
    }

    fn pending<'t>(&self, tier: Option<&'t Tier>) -> Option<(Ticket, &'t Tier)> {
        self.ticket.zip(tier)
    }
}

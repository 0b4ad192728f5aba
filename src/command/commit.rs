//! When a client may be told of what it has changed.

use std::task::{Context, Poll};

use crate::keyspace::tier::Tier;
use crate::reply::Error;
use crate::store::journal::Ticket;

/// What has to be in the journal before replies that tell of it are sent. Without a disk there is no such thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commit(Option<Ticket>);

impl Commit {
    /// Makes it of what the journal gave for the last of the changes.
    pub fn new(ticket: Option<Ticket>) -> Commit {
        Commit(ticket)
    }

    /// Whether anything has to be there.
    #[inline]
    pub fn is_any(self) -> bool {
        self.0.is_some()
    }

    /// Adds what has been changed since.
    #[inline]
    pub fn add(&mut self, later: Commit) {
        self.0 = later.0.or(self.0);
    }

    /// Whether the replies have to wait still.
    #[inline]
    pub fn is_awaited(self, tier: Option<&Tier>) -> bool {
        self.0.zip(tier).is_some_and(|(ticket, tier)| !tier.is_acknowledged(ticket) && !tier.has_given_up(ticket))
    }

    /// Brings it into the journal, and with it what anybody has changed. Ready: it is there, as `appendfsync` wants it, or
    /// nobody should wait for it any more.
    pub fn poll(self, tier: Option<&Tier>, context: &mut Context<'_>) -> Poll<()> {
        match self.0.zip(tier) {
            Some((ticket, tier)) if !tier.has_given_up(ticket) => tier.poll_acknowledged(ticket, context),
            _ => Poll::Ready(()),
        }
    }

    /// What is answered in place of the replies, where the journal does not take it.
    pub fn failure(self, tier: Option<&Tier>) -> Option<Error> {
        let (ticket, tier) = self.0.zip(tier)?;
        tier.has_given_up(ticket).then(|| tier.unwritten())
    }
}

use super::session::Session;
use super::state::State;
use crate::keyspace::{Caller, Key, Keyspace, SlotGuard, SlotGuards};
use crate::protocol::Args;
use crate::reply::Sink;

/// What a handler works with. It describes its answer to `reply`, unless it returns an error: then it must not have
/// begun to.
pub struct Context<'a> {
    pub state: &'a State,
    pub session: &'a mut Session,
    pub args: Args<'a>,
    pub reply: &'a mut dyn Sink,
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: u64,
}

impl<'a> Context<'a> {
    pub fn keyspace(&self) -> &'a Keyspace {
        &self.state.keyspace
    }

    /// Keeps the argument at `index` secret: MONITOR and the slow log do not show it.
    pub fn redact(&mut self, index: usize) {
        self.session.redacted.push(index);
    }

    /// The argument at `index` as a key.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        self.state.keyspace.key(self.args.at(index))
    }

    /// The number of the client's database.
    #[inline]
    pub fn database(&self) -> usize {
        self.session.client.database()
    }

    #[inline]
    pub fn caller(&self) -> Caller {
        Caller { now_ms: self.now_ms, touches: self.session.client.touches() }
    }

    /// Locks the slot of a key in the client's database.
    #[inline]
    pub fn lock(&self, key: &Key) -> SlotGuard<'a> {
        self.state.keyspace.lock(self.caller(), self.database(), key)
    }

    /// Locks the slots of several keys in the client's database.
    pub fn lock_all<'k>(&self, keys: impl Iterator<Item = Key<'k>>) -> SlotGuards<'a> {
        let database = self.database();
        self.state.keyspace.lock_all(self.caller(), keys.map(|key| (database, key)))
    }
}

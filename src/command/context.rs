use super::session::Session;
use super::state::State;
use crate::base::number;
use crate::keyspace::{Caller, DATABASES, Flushed, Key, Keyspace, SlotGuard, SlotGuards, Spot};
use crate::protocol::Args;
use crate::reply::{Error, Sink};

/// What a handler works with. It describes its answer to `reply`, unless it returns an error: then it must not have
/// begun to.
pub struct Context<'a> {
    pub state: &'a State,
    pub session: &'a mut Session,
    pub args: Args<'a>,
    pub reply: &'a mut dyn Sink,
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: u64,
    /// What a handler took out of the keyspace; it is freed once the gate is let go.
    pub leftovers: &'a mut Vec<Flushed>,
    /// Where the argument of that index belongs as a key, if dispatch has found out already.
    pub foreseen_key: Option<(usize, Spot)>,
}

impl<'a> Context<'a> {
    pub fn keyspace(&self) -> &'a Keyspace {
        &self.state.keyspace
    }

    /// Whether the client is on this machine.
    pub fn is_local(&self) -> bool {
        self.session.client.peer.is_local
    }

    /// Keeps the argument at `index` secret: MONITOR and the slow log do not show it.
    pub fn redact(&mut self, index: usize) {
        self.session.redacted.push(index);
    }

    /// The argument at `index` as a key.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'a> {
        match self.foreseen_key {
            Some((foreseen, spot)) if foreseen == index => Key::at(self.args.at(index), spot),
            _ => self.state.keyspace.key(self.args.at(index)),
        }
    }

    /// The number of the client's database.
    #[inline]
    pub fn database(&self) -> usize {
        self.session.client.database()
    }

    /// The argument at `index` as the number of a database, for SELECT, MOVE, COPY.
    pub fn database_number(&self, index: usize) -> Result<usize, Error> {
        let number = number::parse_i64(self.args.at(index)).ok_or(Error::NOT_AN_INTEGER)?;
        if i32::try_from(number).is_err() {
            return Err(Error::new("ERR value is out of range, value must between -2147483648 and 2147483647"));
        }
        let databases = (DATABASES as i64).min(self.state.settings.databases.get());
        let is_known = (0..databases).contains(&number);
        if is_known { Ok(number as usize) } else { Err(Error::DB_INDEX_OUT_OF_RANGE) }
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

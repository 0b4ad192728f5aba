use std::any::Any;
use std::time::{Duration, Instant};

use crate::base::number;
use crate::command::flow::Stop;
use crate::command::session::Session;
use crate::command::state::State;
use crate::keyspace::{Caller, Changes, Flushed, Key, KeyHash, Keyspace, Residence, SlotGuard, SlotGuards, Step, Walk};
use crate::protocol::Args;
use crate::reply::{Error, Sink};

/// How long a walk keeps a worker's other clients waiting before the loader goes on with it.
const WALK_ON_WORKER: Duration = Duration::from_millis(1);

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
    pub leftovers: &'a mut Flushed,
    /// Where the argument of that index belongs as a key, if that was found out ahead.
    pub hashed_key: Option<(usize, KeyHash)>,
    /// What the command changes is reported there.
    pub changes: &'a Changes,
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
        match self.hashed_key {
            Some((hashed, key_hash)) if hashed == index => Key::at(self.args.at(index), key_hash),
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
        let is_known = (0..self.state.settings.databases.get()).contains(&number);
        if is_known { Ok(number as usize) } else { Err(Error::DB_INDEX_OUT_OF_RANGE) }
    }

    #[inline]
    pub fn caller(&self) -> Caller {
        Caller { now_ms: self.now_ms, touches: self.session.client.touches() }
    }

    /// Locks the slot of a key in the client's database, with all there is of the key in memory. A handler calls this
    /// before it has changed anything, and passes a stop on: [`Stop::Cold`] has it run again once the key is loaded.
    #[inline]
    pub fn lock(&mut self, key: &Key) -> Result<SlotGuard<'a>, Stop> {
        self.lock_as(self.caller(), key)
    }

    /// The same for a caller with other habits than the client's.
    #[inline]
    pub fn lock_as(&mut self, caller: Caller, key: &Key) -> Result<SlotGuard<'a>, Stop> {
        let mut slot = self.state.keyspace.lock(caller, self.database(), key).report_to(self.changes);
        match slot.make_resident(key, &mut self.session.cold) {
            Residence::Here => Ok(slot),
            residence => Err(not_here(residence)),
        }
    }

    /// Locks the slot of a key that is going to be overwritten, whatever it is.
    #[inline]
    pub fn lock_to_overwrite(&self, key: &Key) -> SlotGuard<'a> {
        self.state.keyspace.lock(self.caller(), self.database(), key).report_to(self.changes)
    }

    /// Like [`lock`](Self::lock) for several keys, each with the number of its database. All of them are brought into the
    /// processor's cache together first.
    pub fn lock_all<'k>(
        &mut self,
        caller: Caller,
        keys: impl Iterator<Item = (usize, Key<'k>)> + Clone,
    ) -> Result<SlotGuards<'a>, Stop> {
        let database = self.database();
        let of_client = keys.clone().filter(|(number, _)| *number == database).map(|(_, key)| key);
        self.state.keyspace.prefetch_keys(database, of_client);
        let mut slots = self.state.keyspace.lock_all(caller, keys.clone()).report_to(self.changes);
        let mut missing = None;
        // All of them: what is cold is loaded together, before anybody is told of what cannot be read.
        for (database, key) in keys {
            match slots.of(database, &key).make_resident(&key, &mut self.session.cold) {
                Residence::Here => {}
                Residence::Failed(_) if missing == Some(Stop::Cold) => {}
                residence => missing = Some(not_here(residence)),
            }
        }
        missing.map_or(Ok(slots), Err)
    }

    /// Takes a walk over keys to its end, and returns it with what it has found. As with [`lock`](Self::lock), a handler
    /// calls this before it has changed anything, with the same walk when it runs again, and passes a stop on: where
    /// keys are cold, or many, the loader goes on with the walk.
    pub fn walk<W: Walk>(&mut self, mut walk: W) -> Result<W, Stop> {
        if let Some(walked) = self.session.cold.take_walked() {
            let walked: Box<dyn Any> = walked?;
            if let Ok(walked) = walked.downcast() {
                return Ok(*walked);
            }
        }
        let began = Instant::now();
        loop {
            match walk.step(self.keyspace(), false)? {
                Step::Done => return Ok(walk),
                // Where there is a loader, nobody waits for a long walk either.
                Step::More if self.keyspace().tier().is_none() || began.elapsed() < WALK_ON_WORKER => {}
                Step::More | Step::Cold => {
                    self.session.cold.request_walk(Box::new(walk));
                    return Err(Stop::Cold);
                }
            }
        }
    }

    /// Like [`lock_to_overwrite`](Self::lock_to_overwrite) for several keys.
    pub fn lock_all_to_overwrite<'k>(&self, keys: impl Iterator<Item = Key<'k>> + Clone) -> SlotGuards<'a> {
        let database = self.database();
        self.state.keyspace.prefetch_keys(database, keys.clone());
        self.state.keyspace.lock_all(self.caller(), keys.map(|key| (database, key))).report_to(self.changes)
    }
}

fn not_here(residence: Residence) -> Stop {
    match residence {
        Residence::Failed(reason) => Error::owned(format!("IOERR the key cannot be read from disk: {reason}")).into(),
        Residence::Here | Residence::Cold => Stop::Cold,
    }
}

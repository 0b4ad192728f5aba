//! What a command's handler works with.

use std::any::Any;
use std::time::{Duration, Instant};

use crate::base::number;
use crate::command::flow::{NOT_AMONG_OTHERS, Stop};
use crate::command::session::Session;
use crate::command::state::State;
use crate::keyspace::{AccessSet, Caller, Flushed, Key, KeyHash, Keyspace, Step, Walk};
use crate::protocol::Args;
use crate::reply::{Error, Sink};

/// How long a walk keeps a worker's other clients waiting before the loader goes on with it.
const WALK_ON_WORKER: Duration = Duration::from_millis(1);

/// Where keys of a command belong, as far as that was found out ahead.
#[derive(Clone, Copy)]
pub struct KnownKeys<'a> {
    /// Of the first key: which argument that is, and where it belongs.
    pub first: Option<(usize, KeyHash)>,
    /// How many arguments there are from one key to the next.
    pub step: usize,
    /// Of the keys behind the first, none or all that were brought into the cache.
    pub further: &'a [KeyHash],
}

impl KnownKeys<'_> {
    /// Nothing is known.
    pub const NONE: KnownKeys<'static> = KnownKeys { first: None, step: 1, further: &[] };
}

/// What a handler works with. It describes its answer to `reply`, unless it returns an error: then it must not have
/// begun to.
pub struct Context<'a> {
    /// The server.
    pub state: &'a State,
    /// What is known of the client.
    pub session: &'a mut Session,
    /// The command with its arguments; its name comes first.
    pub args: Args<'a>,
    /// Where the answer goes.
    pub reply: &'a mut dyn Sink,
    /// The time at which the command runs, in Unix milliseconds.
    pub now_ms: u64,
    /// What a handler took out of the keyspace; it is freed once the gate is let go.
    pub leftovers: &'a mut Option<Flushed>,
    /// What is known of its keys from looking ahead.
    pub known_keys: &'a KnownKeys<'a>,
    /// What the command holds: its handler borrows the slots of its keys from there, and locks nothing itself.
    pub access: AccessSet<'a>,
}

impl<'a> Context<'a> {
    /// The keys of all databases.
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
        match self.known_keys.first {
            Some((first, key_hash)) if first == index => Key::at(self.args.at(index), key_hash),
            Some(_) => self.further_key(index),
            None => self.state.keyspace.key(self.args.at(index)),
        }
    }

    fn further_key(&self, index: usize) -> Key<'a> {
        let KnownKeys { first, step, further } = *self.known_keys;
        let distance = first.and_then(|(first, _)| index.checked_sub(first)).filter(|distance| distance % step == 0);
        match distance.and_then(|distance| further.get(distance / step - 1)) {
            Some(key_hash) => Key::at(self.args.at(index), *key_hash),
            None => self.state.keyspace.key(self.args.at(index)),
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

    /// What the command's lookups go by.
    #[inline]
    pub fn caller(&self) -> Caller {
        self.access.caller()
    }

    /// Takes a walk over keys to its end, and returns it with what it has found. As with [`AccessSet::slot`], a handler
    /// calls this before it has changed anything, with the same walk when it runs again, and passes a stop on: where
    /// keys are cold, or many, the loader goes on with the walk.
    ///
    /// # Errors
    /// When keys cannot be read, and when the command is one of several that are executed as one: the walk would come by the
    /// slots that they hold.
    pub fn walk<W: Walk>(&mut self, mut walk: W) -> Result<W, Stop> {
        if self.access.spans_commands() {
            return Err(NOT_AMONG_OTHERS.into());
        }
        if let Some(walked) = self.access.cold().take_walked() {
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
                    self.access.cold().request_walk(Box::new(walk));
                    return Err(Stop::Cold);
                }
            }
        }
    }
}

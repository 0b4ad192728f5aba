//! The one way of a command to its execution, for every protocol: see [`Batch::execute`].

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::base::clock;
use crate::command::access::authorize;
use crate::command::commit::Commit;
use crate::command::context::{Context, KnownKeys};
use crate::command::flags::Flags;
use crate::command::flow::{Cause, Flow, Stop};
use crate::command::monitor;
use crate::command::session::Session;
use crate::command::slow::{self, Limits};
use crate::command::state::State;
use crate::command::table::{Command, NO_COMMAND, Table};
use crate::keyspace::gate::Shared;
use crate::keyspace::tier::Pressure;
use crate::keyspace::{AccessSet, Caller, Changes, KeyHash, Room};
use crate::protocol::Args;
use crate::reply::{Error, Sink};

/// How many keys are looked ahead at beside the first one of each command.
const LOOK_AHEAD_KEYS: usize = 256;
/// How many commands are looked ahead at: their cache lines must not push out each other.
pub const LOOK_AHEAD_COMMANDS: usize = 32;

/// Commands executed at one time and under one passing of the gate; more that were read follow at once.
pub const BATCH_COMMANDS: usize = 128;

/// One thread's execution of a few commands at one time, of one client or of several. It keeps the gate open for them; never
/// hold two.
pub struct Batch<'s> {
    pub(super) state: &'s State,
    pub(super) now_ms: u64,
    pub(super) gate: Option<Shared<'s>>,
    /// When the last command ended: the next one's time starts there, so that the clock is read once a command.
    last_ticks: u64,
    /// Commands that have run.
    executed: u64,
    /// The next commands, as far as they were looked ahead at; last one first.
    ahead: SmallVec<[Ahead; LOOK_AHEAD_COMMANDS]>,
    /// Where the keys of these commands belong that are not their first ones; those of the next command come last.
    pub(super) further_keys: Vec<KeyHash>,
    /// Whether the disk takes writes; looked at with the first one.
    pressure: Option<Pressure>,
    /// Whether the present client's writes need not wait for it, or have waited.
    is_admitted: bool,
    pub(super) changes: Changes,
}

/// What is known of a command before it is executed.
#[derive(Clone, Copy, Default)]
pub struct Ahead {
    command: Option<&'static Command>,
    /// Its first key: which argument that is, and where it belongs.
    key: Option<(usize, KeyHash)>,
    /// How many keys behind the first one were looked ahead at.
    further_keys: usize,
}

impl Ahead {
    /// Looks a command up, that of the index `previous` first, and its key.
    #[inline(always)]
    fn look(state: &State, args: &Args<'_>, previous: usize) -> Ahead {
        let command = Table::get().look_up(args, previous).ok();
        let key = command.and_then(|command| command.spec.keys.first()).and_then(|index| {
            let key = args.get(index)?;
            Some((index, state.keyspace.key_hash(key)))
        });
        Ahead { command, key, further_keys: 0 }
    }

    /// Like [`Batch::look_ahead`], of the only command of a client; the key is to be brought into the cache by the caller.
    pub fn only(state: &State, session: &Session, args: &Args<'_>) -> Ahead {
        Ahead::look(state, args, session.client.last_command.load(Ordering::Relaxed))
    }

    /// Where the first key belongs, if there is one.
    #[inline]
    pub fn key_hash(&self) -> Option<KeyHash> {
        Some(self.key?.1)
    }
}

impl<'s> Batch<'s> {
    /// Begins a batch at this time of day. It passes the gate with its first command.
    #[inline]
    pub fn new(state: &'s State) -> Batch<'s> {
        Batch {
            state,
            now_ms: clock::now_ms(),
            gate: None,
            last_ticks: state.stats.ticker.now(),
            executed: 0,
            ahead: SmallVec::new(),
            further_keys: Vec::new(),
            pressure: None,
            is_admitted: false,
            changes: Changes::default(),
        }
    }

    /// The server that it executes for.
    pub fn state(&self) -> &'s State {
        self.state
    }

    /// Another client's commands follow, the first of which was looked ahead at, or not.
    #[inline]
    pub fn begin_client(&mut self, first: Option<Ahead>) {
        self.ahead.clear();
        self.further_keys.clear();
        if let Some(first) = first {
            self.ahead.push(first);
        }
        self.is_admitted = false;
    }

    /// Notes the keys of a later command that are not in memory, so that they are loaded together with others.
    pub fn request_cold(&mut self, session: &mut Session, args: Args<'_>) {
        let keyspace = &self.state.keyspace;
        let Ok(command) = Table::get().look_up(&args, NO_COMMAND) else { return };
        let caller = Caller { now_ms: self.now_ms, touches: false };
        let database = session.client.database();
        for index in command.spec.keys.indices(&args) {
            keyspace.request(caller, database, &keyspace.key(args.at(index)), session.cold());
        }
    }

    /// Whether it has lasted long enough: time goes on.
    pub fn is_long(&self) -> bool {
        self.executed >= BATCH_COMMANDS as u64
    }

    /// Takes what has to be in the journal before the replies go that were made since this was asked last.
    #[inline]
    pub fn take_commit(&mut self) -> Commit {
        Commit::new(self.changes.take_ticket())
    }

    /// Looks ahead at the next `count` commands, whose arguments `each` gives by their number, last one first; all of
    /// them must then be executed in their order, or the batch ended. Their keys are brought into the cache together.
    pub fn look_ahead(
        &mut self,
        session: &Session,
        count: usize,
        mut each: impl FnMut(usize, &mut dyn FnMut(Args<'_>)),
    ) {
        self.ahead.clear();
        self.further_keys.clear();
        let mut previous = session.client.last_command.load(Ordering::Relaxed);
        for number in (0..count).rev() {
            each(number, &mut |args| {
                let mut ahead = Ahead::look(self.state, &args, previous);
                previous = ahead.command.map_or(NO_COMMAND, |command| command.index);
                if let Some(command) = ahead.command.filter(|command| command.spec.keys.may_be_several()) {
                    ahead.further_keys = self.look_at_further_keys(command, &args);
                }
                self.ahead.push(ahead);
            });
        }
        let (keyspace, database) = (&self.state.keyspace, session.client.database());
        keyspace.prefetch(database, self.ahead.iter().rev().filter_map(Ahead::key_hash));
        if !self.further_keys.is_empty() {
            keyspace.prefetch(database, self.further_keys.iter().copied());
        }
    }

    /// Notes where a command's keys behind the first belong, unless they are more than the cache has room for beside the others'.
    /// Returns how many these are.
    fn look_at_further_keys(&mut self, command: &Command, args: &Args<'_>) -> usize {
        let indices = command.spec.keys.in_range(args.len()).skip(1);
        if self.further_keys.len() + indices.len() > LOOK_AHEAD_KEYS {
            return 0;
        }
        let before = self.further_keys.len();
        self.further_keys.extend(indices.map(|index| self.state.keyspace.key_hash(args.at(index))));
        self.further_keys.len() - before
    }

    /// Executes a command, stage by stage. Whatever happens, `reply` gets exactly one reply, except from commands that have
    /// none (CLIENT REPLY OFF, no arguments at all), and except where it runs again ([`Cause::runs_again`]).
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, reply: &mut dyn Sink) -> Flow {
        session.begin();
        let ahead = self.ahead.pop().unwrap_or_default();
        if args.is_empty() {
            return Flow::Continue;
        }
        let last_command = &session.client.last_command;
        let look_up = || Table::get().look_up(&args, last_command.load(Ordering::Relaxed));
        let found = ahead.command.map_or_else(look_up, Ok);
        last_command.store(found.as_ref().map_or(NO_COMMAND, |command| command.index), Ordering::Relaxed);
        let command = match found {
            Ok(command) => command,
            Err(error) => return self.reject(None, &error, reply),
        };
        let mut known_keys = KnownKeys { first: ahead.key, ..KnownKeys::NONE };
        let further_keys;
        if ahead.further_keys > 0 {
            further_keys = self.further_keys.split_off(self.further_keys.len() - ahead.further_keys);
            known_keys.step = command.spec.keys.step();
            known_keys.further = &further_keys;
        }
        match self.pass(session, command, &args, &known_keys, reply) {
            Ok(flow) => flow,
            Err(stop) => self.stop(session, Some((command, &args)), stop, reply),
        }
    }

    /// Passes a command through the stages behind its look-up.
    ///
    /// # Errors
    /// When it does not run, or not yet. An error of the command itself is none of these.
    #[inline]
    fn pass(
        &mut self,
        session: &mut Session,
        command: &Command,
        args: &Args<'_>,
        known_keys: &KnownKeys<'_>,
        reply: &mut dyn Sink,
    ) -> Result<Flow, Stop> {
        command.check_arity(args)?;
        authorize(self.state, &session.client, command, args)?;
        route(session, command, args)?;
        if queue(session, command, args) {
            return Ok(Flow::Continue);
        }
        self.admit(session, command.spec.flags, || args.total_bytes())?;
        let error = match self.run(session, command, args, known_keys, reply) {
            Ok(()) => None,
            Err(Stop::Reply(error)) => Some(error),
            Err(stop) => {
                self.changes.assert_none();
                return Err(stop);
            }
        };
        Ok(self.record(session, command, args, error, reply))
    }

    /// Whether there is room for what the command may need: on the disk, in memory, and in time, since clients may be paused.
    ///
    /// # Errors
    /// When there is not.
    #[inline]
    pub(super) fn admit(
        &mut self,
        session: &mut Session,
        flags: Flags,
        bytes: impl FnOnce() -> usize,
    ) -> Result<(), Stop> {
        // First, since a disk that takes no writes makes no room in memory.
        if flags.has(Flags::WRITE) && self.state.keyspace.tier().is_some() {
            self.admit_write(session, flags)?;
        }
        let caller = Caller { now_ms: self.now_ms, touches: false };
        match self.state.keyspace.make_room(caller, bytes) {
            Room::None if flags.has(Flags::DENY_OOM) => return Err(Error::OUT_OF_MEMORY.into()),
            Room::Soon if flags.has(Flags::DENY_OOM) => return Err(Stop::Stalled),
            Room::Enough | Room::None | Room::Soon => {}
        }
        if self.state.clients.pause().holds(flags, self.now_ms) && !session.client.is_monitor() {
            return Err(Stop::Paused);
        }
        Ok(())
    }

    /// Whether the disk can keep up with a write.
    #[inline(always)]
    fn admit_write(&mut self, session: &mut Session, flags: Flags) -> Result<(), Stop> {
        if self.is_admitted {
            return Ok(());
        }
        match *self.pressure.get_or_insert_with(|| self.state.keyspace.pressure()) {
            Pressure::Ahead(wait_ms) if session.delayed_ms < wait_ms => {
                if session.delayed_ms == 0
                    && let Some(tier) = self.state.keyspace.tier()
                {
                    tier.counters.delays.add(1);
                }
                session.delayed_ms += 1;
                Err(Stop::Stalled)
            }
            Pressure::None | Pressure::Ahead(_) => {
                // What it has waited is good for all its writes of the batch.
                self.is_admitted = true;
                session.delayed_ms = 0;
                Ok(())
            }
            Pressure::Behind => Err(Stop::Stalled),
            // What only takes away is how room is made.
            Pressure::Broken
                if !flags.has(Flags::DENY_OOM)
                    && self.state.keyspace.merging().is_some_and(|merging| merging.admits_removals()) =>
            {
                Ok(())
            }
            Pressure::Broken => {
                let reason = self.state.keyspace.tier().and_then(|tier| tier.failure()).unwrap_or_default();
                Err(Error::owned(format!("MISCONF Errors writing to disk: {reason}")).into())
            }
        }
    }

    /// Runs the command's handler, alone in the whole server where it is to be.
    #[inline]
    fn run(
        &mut self,
        session: &mut Session,
        command: &Command,
        args: &Args<'_>,
        known_keys: &KnownKeys<'_>,
        reply: &mut dyn Sink,
    ) -> Result<(), Stop> {
        let state = self.state;
        let alone = if command.spec.flags.has(Flags::EXCLUSIVE) {
            self.gate = None;
            Some(state.keyspace.gate.exclusive())
        } else {
            self.gate.get_or_insert_with(|| state.keyspace.gate.shared());
            None
        };
        let mut leftovers = None;
        self.changes.begin();
        let caller = Caller { now_ms: self.now_ms, touches: session.client.touches() };
        let (database, mut cold) = (session.client.database(), session.cold.take());
        // Made and dropped in its place: it is large, though a command with one key touches little of it.
        let result = {
            let mut context = Context {
                state,
                session: &mut *session,
                args: *args,
                reply,
                now_ms: self.now_ms,
                leftovers: &mut leftovers,
                known_keys,
                access: AccessSet::new(&state.keyspace, &self.changes, caller, database, &mut cold),
            };
            if !known_keys.further.is_empty() {
                context.access.skip_prefetch();
            }
            (command.spec.handler)(&mut context)
        };
        if let Some(cold) = cold {
            session.cold = Some(cold);
        }
        // The locks have gone; then goes the gate, and what was taken out is freed while nobody waits for it.
        drop(alone);
        drop(leftovers);
        result
    }

    /// Counts and times a command that has run, answers its error, and shows it to those who monitor.
    #[inline(always)]
    pub(super) fn record(
        &mut self,
        session: &mut Session,
        command: &Command,
        args: &Args<'_>,
        error: Option<Error>,
        reply: &mut dyn Sink,
    ) -> Flow {
        let (stats, settings) = (&self.state.stats, &self.state.settings);
        let ticks = stats.ticker.now();
        let mut duration_ns = stats.ticker.nanoseconds(ticks.saturating_sub(self.last_ticks));
        self.last_ticks = ticks;
        self.executed += 1;
        if let Flow::Wait(Cause::Delay(Some(delay))) = session.after {
            duration_ns = duration_ns.saturating_add(delay.as_nanos() as u64);
        }
        stats.record(command.index, duration_ns, error.is_some(), settings.latency_tracking.get());
        let limits = Limits {
            slow_us: settings.slowlog_log_slower_than.get(),
            spike_ms: settings.latency_monitor_threshold.get(),
        };
        if limits.reached(duration_ns) {
            slow::note(self.state, session, command, args, duration_ns, limits);
        }
        if let Some(error) = error {
            stats.record_error(error.code());
            reply.error(&error);
        }
        self.show(session, command, args);
        std::mem::take(&mut session.after)
    }

    /// Shows a command to those who monitor.
    #[inline]
    fn show(&self, session: &Session, command: &Command, args: &Args<'_>) {
        let flags = command.spec.flags;
        if self.state.clients.are_monitored() && !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
            monitor::feed(self.state, session, args);
        }
    }

    /// Shows a command that is blocked for the first time: not once it has ended.
    fn show_blocked(&self, session: &mut Session, command: &Command, args: &Args<'_>) {
        if session.blocked.is_some_and(|blocked| !blocked.was_shown) {
            self.show(session, command, args);
        }
        if let Some(blocked) = &mut session.blocked {
            blocked.was_shown = true;
        }
    }

    /// Answers a command that was not received as a whole: it does not run.
    pub fn refuse(&mut self, session: &mut Session, args: Args<'_>, error: Error, reply: &mut dyn Sink) -> Flow {
        session.begin();
        let ahead = self.ahead.pop().unwrap_or_default();
        self.further_keys.truncate(self.further_keys.len() - ahead.further_keys);
        self.reject(Table::get().look_up(&args, NO_COMMAND).ok(), &error, reply)
    }

    /// Ends the execution of a command that does not run, or not yet.
    #[cold]
    pub(super) fn stop(
        &self,
        session: &mut Session,
        command: Option<(&Command, &Args<'_>)>,
        stop: Stop,
        reply: &mut dyn Sink,
    ) -> Flow {
        Flow::Wait(match stop {
            Stop::Reply(error) => {
                session.forget_cold();
                session.blocked = None;
                return self.reject(command.map(|(command, _)| command), &error, reply);
            }
            Stop::Cold => Cause::Cold,
            Stop::Stalled => Cause::Stalled,
            Stop::Paused => Cause::Paused,
            Stop::Blocked => {
                if let Some((command, args)) = command {
                    self.show_blocked(session, command, args);
                }
                Cause::Blocked
            }
        })
    }

    /// Answers a command that does not run.
    pub(super) fn reject(&self, command: Option<&Command>, error: &Error, reply: &mut dyn Sink) -> Flow {
        if let Some(counters) = command.and_then(|command| self.state.stats.command(command.index)) {
            counters.rejected.add(1);
        }
        self.state.stats.record_error(error.code());
        reply.error(error);
        Flow::Continue
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.state.stats.record_batch(self.executed);
    }
}

/// Whether this node serves the command's keys. It does, being the only one: what tells a client of another's slot (MOVED,
/// `redirect`), or has a command wait for a slot on its way, stops it here, before anything of this node's is touched.
#[inline(always)]
pub(super) fn route(_session: &Session, _command: &Command, _args: &Args<'_>) -> Result<(), Stop> {
    Ok(())
}

/// Whether the session keeps the command for later instead of running it, and has answered that. None does: what runs many
/// commands as one (MULTI) collects them here, since all that can be refused at once has been.
#[inline(always)]
fn queue(_session: &Session, _command: &Command, _args: &Args<'_>) -> bool {
    false
}

/// Looks at a command whose next argument, behind `args`, has so many bytes. Returns how long the value is that it makes of it;
/// `None`: the argument is no value that the command takes in parts.
pub fn large_result_bytes(state: &State, session: &Session, args: Args<'_>, bytes: usize) -> Option<usize> {
    let spec = Table::get().look_up(&args, NO_COMMAND).ok()?.spec;
    if !spec.takes_large(args.len()) {
        return None;
    }
    let Some(result_bytes) = spec.result_bytes else { return Some(bytes) };
    let key = state.keyspace.key(args.at(spec.keys.first()?));
    let caller = Caller { now_ms: clock::recent_ms(), touches: false };
    // What is on disk alone is seen by the command itself.
    let present_bytes = state.keyspace.present_bytes(caller, session.client.database(), &key);
    Some(result_bytes(&args, present_bytes, bytes))
}

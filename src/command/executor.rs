//! The one way of a command to its execution, for every protocol: see [`Batch::execute`].

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::base::clock;
use crate::command::access::authorize;
use crate::command::commit::Commit;
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::{Cause, Flow, Stop};
use crate::command::monitor;
use crate::command::session::Session;
use crate::command::slow::{self, Limits};
use crate::command::state::State;
use crate::command::table::{Command, Table};
use crate::keyspace::gate::{Exclusive, Shared};
use crate::keyspace::tier::Pressure;
use crate::keyspace::{Caller, Changes, Flushed, KeyHash, Room};
use crate::protocol::{Args, until_nul};
use crate::reply::{Error, Sink};

/// How many commands are looked ahead at: their cache lines must not push out each other.
pub const LOOK_AHEAD_COMMANDS: usize = 32;

/// Commands executed at one time and under one passing of the gate; more that were read follow at once.
pub const BATCH_COMMANDS: usize = 128;

/// The index of no command.
const NO_COMMAND: usize = usize::MAX;

/// One thread's execution of a few commands at one time, of one client or of several. It keeps the gate open for them; never
/// hold two.
pub struct Batch<'s> {
    state: &'s State,
    now_ms: u64,
    gate: Option<Shared<'s>>,
    /// When the last command ended: the next one's time starts there, so that the clock is read once a command.
    last_ticks: u64,
    /// Commands that have run.
    executed: u64,
    /// The next commands, as far as they were looked ahead at; last one first.
    ahead: SmallVec<[Ahead; LOOK_AHEAD_COMMANDS]>,
    /// Whether the disk takes writes; looked at with the first one.
    pressure: Option<Pressure>,
    /// Whether the present client's writes need not wait for it, or have waited.
    is_admitted: bool,
    changes: Changes,
}

/// What is known of a command before it is executed.
#[derive(Clone, Copy, Default)]
pub struct Ahead {
    command: Option<&'static Command>,
    /// Its first key: which argument that is, and where it belongs.
    key: Option<(usize, KeyHash)>,
}

impl Ahead {
    /// Looks a command up, that of the index `previous` first, and its key.
    #[inline]
    fn look(state: &State, args: &Args<'_>, previous: usize) -> Ahead {
        let command = find(args, previous).ok();
        let key = command.and_then(|command| command.spec.keys.first()).and_then(|index| {
            let key = args.get(index)?;
            Some((index, state.keyspace.key_hash(key)))
        });
        Ahead { command, key }
    }

    /// Like [`Batch::look_ahead`], of the only command of a client; the key is to be brought into the cache by the caller.
    pub fn only(state: &State, session: &Session, args: &Args<'_>) -> Ahead {
        Ahead::look(state, args, session.client.last_command.load(Ordering::Relaxed))
    }

    #[inline]
    pub fn key_hash(&self) -> Option<KeyHash> {
        Some(self.key?.1)
    }
}

impl<'s> Batch<'s> {
    #[inline]
    pub fn new(state: &'s State) -> Batch<'s> {
        Batch {
            state,
            now_ms: clock::now_ms(),
            gate: None,
            last_ticks: state.stats.ticker.now(),
            executed: 0,
            ahead: SmallVec::new(),
            pressure: None,
            is_admitted: false,
            changes: Changes::default(),
        }
    }

    pub fn state(&self) -> &'s State {
        self.state
    }

    /// Another client's commands follow, the first of which was looked ahead at, or not.
    #[inline]
    pub fn begin_client(&mut self, first: Option<Ahead>) {
        self.ahead.clear();
        if let Some(first) = first {
            self.ahead.push(first);
        }
        self.is_admitted = false;
    }

    /// Notes the keys of a later command that are not in memory, so that they are loaded together with others.
    pub fn request_cold(&mut self, session: &mut Session, args: Args<'_>) {
        let keyspace = &self.state.keyspace;
        let Ok(command) = find(&args, NO_COMMAND) else { return };
        let caller = Caller { now_ms: self.now_ms, touches: false };
        let database = session.client.database();
        for index in command.spec.keys.indices(&args) {
            let key = keyspace.key(args.at(index));
            keyspace.lock(caller, database, &key).request(&key, &mut session.cold);
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
        let mut previous = session.client.last_command.load(Ordering::Relaxed);
        for number in (0..count).rev() {
            each(number, &mut |args| {
                let ahead = Ahead::look(self.state, &args, previous);
                previous = ahead.command.map_or(NO_COMMAND, |command| command.index);
                self.ahead.push(ahead);
            });
        }
        let key_hashes = self.ahead.iter().rev().filter_map(Ahead::key_hash);
        self.state.keyspace.prefetch(session.client.database(), key_hashes);
    }

    /// Executes a command, stage by stage. Whatever happens, `reply` gets exactly one reply, except from commands that have
    /// none (CLIENT REPLY OFF, no arguments at all), and except where it runs again ([`Cause::runs_again`]).
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, reply: &mut dyn Sink) -> Flow {
        session.begin();
        let ahead = self.ahead.pop().unwrap_or_default();
        if args.is_empty() {
            return Flow::Continue;
        }
        let command = match look_up(session, &args, ahead.command) {
            Ok(command) => command,
            Err(error) => return self.reject(None, &error, reply),
        };
        match self.pass(session, command, args, ahead.key, reply) {
            Ok(flow) => flow,
            Err(stop) => self.stop(session, command, stop, reply),
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
        args: Args<'_>,
        hashed_key: Option<(usize, KeyHash)>,
        reply: &mut dyn Sink,
    ) -> Result<Flow, Stop> {
        command.check_arity(&args)?;
        authorize(self.state, &session.client, command, &args)?;
        route(session, command, &args)?;
        if queue(session, command, &args) {
            return Ok(Flow::Continue);
        }
        self.admit(session, command, &args)?;
        let error = match self.run(session, command, args, hashed_key, reply) {
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
    fn admit(&mut self, session: &mut Session, command: &Command, args: &Args<'_>) -> Result<(), Stop> {
        let flags = command.spec.flags;
        // First, since a disk that takes no writes makes no room in memory.
        if flags.has(Flags::WRITE) && self.state.keyspace.tier().is_some() {
            self.admit_write(session, flags)?;
        }
        let caller = Caller { now_ms: self.now_ms, touches: false };
        match self.state.keyspace.make_room(caller, || args.total_bytes()) {
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
        args: Args<'_>,
        hashed_key: Option<(usize, KeyHash)>,
        reply: &mut dyn Sink,
    ) -> Result<(), Stop> {
        let exclusive = self.pass_gate(command.spec.flags);
        let mut leftovers = Flushed::default();
        self.changes.begin();
        let mut context = Context {
            state: self.state,
            session,
            args,
            reply,
            now_ms: self.now_ms,
            leftovers: &mut leftovers,
            hashed_key,
            changes: &self.changes,
        };
        let result = (command.spec.handler)(&mut context);
        drop(exclusive);
        drop(leftovers);
        result
    }

    fn pass_gate(&mut self, flags: Flags) -> Option<Exclusive<'s>> {
        if flags.has(Flags::EXCLUSIVE) {
            self.gate = None;
            return Some(self.state.keyspace.gate.exclusive());
        }
        self.gate.get_or_insert_with(|| self.state.keyspace.gate.shared());
        None
    }

    /// Counts and times a command that has run, answers its error, and shows it to those who monitor.
    #[inline]
    fn record(
        &mut self,
        session: &mut Session,
        command: &Command,
        args: Args<'_>,
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
        let flags = command.spec.flags;
        if self.state.clients.are_monitored() && !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
            monitor::feed(self.state, session, &args);
        }
        std::mem::take(&mut session.after)
    }

    /// Answers a command that was not received as a whole: it does not run.
    pub fn refuse(&mut self, session: &mut Session, args: Args<'_>, error: Error, reply: &mut dyn Sink) -> Flow {
        session.begin();
        self.ahead.pop();
        self.reject(find(&args, NO_COMMAND).ok(), &error, reply)
    }

    /// Ends the execution of a command that does not run, or not yet.
    #[cold]
    fn stop(&self, session: &mut Session, command: &Command, stop: Stop, reply: &mut dyn Sink) -> Flow {
        Flow::Wait(match stop {
            Stop::Reply(error) => {
                // What was loaded for it is for no other.
                session.cold.clear();
                return self.reject(Some(command), &error, reply);
            }
            Stop::Cold => Cause::Cold,
            Stop::Stalled => Cause::Stalled,
            Stop::Paused => Cause::Paused,
        })
    }

    /// Answers a command that does not run.
    fn reject(&self, command: Option<&Command>, error: &Error, reply: &mut dyn Sink) -> Flow {
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

/// Finds the command, as far as it was not when it was looked ahead at, and notes it as its client's last.
#[inline]
fn look_up(session: &Session, args: &Args<'_>, found: Option<&'static Command>) -> Result<&'static Command, Error> {
    let last_command = &session.client.last_command;
    let found = found.map_or_else(|| find(args, last_command.load(Ordering::Relaxed)), Ok);
    last_command.store(found.as_ref().map_or(NO_COMMAND, |command| command.index), Ordering::Relaxed);
    found
}

/// Whether this node serves the command's keys. It does, being the only one: what tells a client of another's slot (MOVED,
/// `redirect`), or has a command wait for a slot on its way, stops it here, before anything of this node's is touched.
#[inline(always)]
fn route(_session: &Session, _command: &Command, _args: &Args<'_>) -> Result<(), Stop> {
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
    let spec = find(&args, NO_COMMAND).ok()?.spec;
    if !spec.takes_large(args.len()) {
        return None;
    }
    let Some(result_bytes) = spec.result_bytes else { return Some(bytes) };
    let key = state.keyspace.key(args.at(spec.keys.first()?));
    let caller = Caller { now_ms: clock::recent_ms(), touches: false };
    // What is on disk alone is seen by the command itself.
    let present_bytes = state.keyspace.lock(caller, session.client.database(), &key).present_bytes(&key);
    Some(result_bytes(&args, present_bytes, bytes))
}

/// Finds the command, or the subcommand where there are some; first of all it is looked whether it is the one before, of
/// that index.
#[inline]
fn find(args: &Args<'_>, previous: usize) -> Result<&'static Command, Error> {
    match Table::get().find_again(previous, args.at(0)) {
        Some(command) => Ok(command),
        None => find_anew(args),
    }
}

fn find_anew(args: &Args<'_>) -> Result<&'static Command, Error> {
    let table = Table::get();
    let Some(command) = table.find(args.at(0)) else { return Err(unknown_command(args)) };
    if command.spec.subcommands.is_empty() || args.len() < 2 {
        return Ok(command);
    }
    table.subcommand(command, args.at(1)).ok_or_else(|| {
        let parent = command.spec.name.to_uppercase();
        Error::quoting_start("ERR unknown subcommand '", args.at(1), &format!("'. Try {parent} HELP."))
    })
}

fn unknown_command(args: &Args<'_>) -> Error {
    let quote = |argument: &'_ [u8], max_bytes: usize| {
        let bytes = until_nul(argument);
        bytes[..bytes.len().min(max_bytes)].to_vec()
    };
    let mut quoted = Vec::new();
    for argument in args.iter_from(1) {
        if quoted.len() >= Error::QUOTED_MAX_BYTES {
            break;
        }
        let room = Error::QUOTED_MAX_BYTES - quoted.len();
        quoted.push(b'\'');
        quoted.extend(quote(argument, room));
        quoted.extend_from_slice(b"' ");
    }
    let name = quote(args.at(0), Error::QUOTED_MAX_BYTES);
    Error::owned([b"ERR unknown command '", &name[..], b"', with args beginning with: ", &quoted].concat())
}

//! The one door to execution, for every protocol.

use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use super::context::Context;
use super::monitor;
use super::session::{After, Session};
use super::slow::{self, Limits};
use super::spec::Flags;
use super::state::State;
use super::table::{Command, Table};
use crate::base::clock;
use crate::keyspace::gate::{Exclusive, Shared};
use crate::keyspace::tier::{Pressure, take_ticket};
use crate::keyspace::{Caller, Flushed, Room, Spot};
use crate::protocol::{Args, until_nul};
use crate::reply::{Error, Sink};
use crate::store::journal::Ticket;

/// How many commands are looked at ahead: their cache lines must not push out each other.
pub const FORESIGHT: usize = 32;

/// Commands executed at one time and under one passing of the gate; more that were read follow at once.
pub const TURN_COMMANDS: usize = 128;

/// The index of no command.
const NO_COMMAND: usize = usize::MAX;

/// What a client that monitors may not run: Redis counts it among the replicas.
const DATA_FLAGS: [Flags; 3] = [Flags::READONLY, Flags::WRITE, Flags::MAY_REPLICATE];

const NOT_ENABLED: Error = Error::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// What the connection does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    #[default]
    Continue,
    /// Send what is written, then close.
    Close,
    /// Send the reply, and go on, only this much later; `None`: never.
    Delay(Option<Duration>),
    /// The same, unless the client goes.
    Block(Option<Duration>),
    /// Nothing was executed, because clients are paused: try the same command again once they are not.
    Paused,
    /// Nothing was executed, because keys of the command are not in memory: have the session's cold keys loaded, then
    /// try it again.
    Cold,
    /// Nothing was executed, because the disk has to catch up with what was written: try it again in a moment.
    Stalled,
}

/// Why a command does not run.
enum Refusal {
    Error(Error),
    Stalled,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

/// One thread's execution of a few commands at one time. It keeps the gate open for them; never hold two.
pub struct Turn<'s> {
    state: &'s State,
    now_ms: u64,
    gate: Option<Shared<'s>>,
    /// When the last command ended: the next one's time starts there, so that the clock is read once a command.
    last_ticks: u64,
    /// Commands that have run.
    executed: u64,
    /// The next commands, as far as they were looked at ahead; last one first.
    foreseen: SmallVec<[Foreseen; FORESIGHT]>,
    /// Whether the disk takes writes; looked at with the first one.
    pressure: Option<Pressure>,
    /// Whether the present client's writes need not wait for it, or have waited.
    is_admitted: bool,
}

/// What is known of a command before its turn.
#[derive(Clone, Copy, Default)]
pub struct Foreseen {
    command: Option<&'static Command>,
    /// Its first key: which argument that is, and where it belongs.
    key: Option<(usize, Spot)>,
}

impl Foreseen {
    /// Looks a command up ahead, that of the index `previous` first, and its key.
    #[inline]
    fn look(state: &State, args: &Args<'_>, previous: usize) -> Foreseen {
        let command = find(args, previous).ok();
        let key = command.and_then(|command| command.spec.keys.first()).and_then(|index| {
            let key = args.get(index)?;
            Some((index, state.keyspace.spot(key)))
        });
        Foreseen { command, key }
    }

    /// Like [`Turn::foresee`], of the only command of a client; the key is to be brought into the cache by the caller.
    pub fn only(state: &State, session: &Session, args: &Args<'_>) -> Foreseen {
        Foreseen::look(state, args, session.client.last_command.load(Ordering::Relaxed))
    }

    #[inline]
    pub fn spot(&self) -> Option<Spot> {
        Some(self.key?.1)
    }
}

impl<'s> Turn<'s> {
    #[inline]
    pub fn new(state: &'s State) -> Turn<'s> {
        Turn {
            state,
            now_ms: clock::now_ms(),
            gate: None,
            last_ticks: state.stats.ticker.now(),
            executed: 0,
            foreseen: SmallVec::new(),
            pressure: None,
            is_admitted: false,
        }
    }

    pub fn state(&self) -> &'s State {
        self.state
    }

    /// Another client's commands follow, the first of which was looked at ahead, or not.
    #[inline]
    pub fn turn_to_client(&mut self, first: Option<Foreseen>) {
        self.foreseen.clear();
        if let Some(first) = first {
            self.foreseen.push(first);
        }
        self.is_admitted = false;
    }

    /// Notes the keys of a later command that are not in memory, so that they are loaded together with others.
    pub fn foresee_cold(&mut self, session: &mut Session, args: Args<'_>) {
        let keyspace = &self.state.keyspace;
        let Ok(command) = find(&args, NO_COMMAND) else { return };
        let caller = Caller { now_ms: self.now_ms, touches: false };
        let database = session.client.database();
        for index in command.spec.keys.indices(&args) {
            let key = keyspace.key(args.at(index));
            keyspace.lock(caller, database, &key).want(&key, &mut session.cold);
        }
    }

    /// Whether it has lasted long enough: time goes on.
    pub fn is_long(&self) -> bool {
        self.executed >= TURN_COMMANDS as u64
    }

    /// What the turn has put into the journal since this was asked last, which has to be there before its replies go.
    pub fn ticket(&self) -> Option<Ticket> {
        take_ticket()
    }

    /// Looks ahead at the next `count` commands, whose arguments `each` gives by their number, last one first; all of
    /// them must then be executed in their order, or the turn ended. Their keys are brought into the cache together.
    pub fn foresee(&mut self, session: &Session, count: usize, mut each: impl FnMut(usize, &mut dyn FnMut(Args<'_>))) {
        self.foreseen.clear();
        let mut previous = session.client.last_command.load(Ordering::Relaxed);
        for number in (0..count).rev() {
            each(number, &mut |args| {
                let foreseen = Foreseen::look(self.state, &args, previous);
                previous = foreseen.command.map_or(NO_COMMAND, |command| command.index);
                self.foreseen.push(foreseen);
            });
        }
        let spots = self.foreseen.iter().rev().filter_map(Foreseen::spot);
        self.state.keyspace.prefetch(session.client.database(), spots);
    }

    /// Looks a command up, checks whether it may run, and runs it. Whatever happens, `reply` gets exactly one reply,
    /// except from commands that have none (CLIENT REPLY OFF, no arguments at all), and except for [`Flow::Paused`].
    pub fn execute(&mut self, session: &mut Session, args: Args<'_>, reply: &mut dyn Sink) -> Flow {
        session.begin();
        let foreseen = self.foreseen.pop().unwrap_or_default();
        if args.is_empty() {
            return Flow::Continue;
        }
        let previous = session.client.last_command.load(Ordering::Relaxed);
        let command = match foreseen.command.map_or_else(|| find(&args, previous), Ok) {
            Ok(command) => command,
            Err(error) => {
                session.client.last_command.store(NO_COMMAND, Ordering::Relaxed);
                self.reject(None, &error, reply);
                return Flow::Continue;
            }
        };
        session.client.last_command.store(command.index, Ordering::Relaxed);
        match self.admit(command, session, &args) {
            Ok(()) => {}
            Err(Refusal::Stalled) => return Flow::Stalled,
            Err(Refusal::Error(error)) => {
                // What was loaded for it is for no other.
                session.cold.clear();
                self.reject(Some(command), &error, reply);
                return Flow::Continue;
            }
        }
        let flags = command.spec.flags;
        if self.state.clients.pause().holds(flags, self.now_ms) && !session.client.is_monitor() {
            return Flow::Paused;
        }
        let exclusive = self.pass_gate(flags);
        let mut leftovers = Flushed::default();
        let mut context = Context {
            state: self.state,
            session: &mut *session,
            args,
            reply,
            now_ms: self.now_ms,
            leftovers: &mut leftovers,
            foreseen_key: foreseen.key,
        };
        let result = (command.spec.handler)(&mut context);
        drop(exclusive);
        drop(leftovers);
        if session.cold.wants_any() {
            return Flow::Cold;
        }
        if session.awaited_save.is_some() {
            return Flow::Stalled;
        }
        self.record(command, session, args, &result);
        if let Err(error) = result {
            reply.error(&error);
        }
        if self.state.clients.are_monitored() && !flags.has(Flags::ADMIN) && !flags.has(Flags::SKIP_MONITOR) {
            monitor::feed(self.state, session, &args);
        }
        match std::mem::replace(&mut session.after, After::Continue) {
            After::Continue => Flow::Continue,
            After::Close => Flow::Close,
            After::Delay(duration) => Flow::Delay(duration),
            After::Block(duration) => Flow::Block(duration),
        }
    }

    /// Answers a command that was not received as a whole: it does not run.
    pub fn refuse(&mut self, session: &mut Session, args: Args<'_>, error: Error, reply: &mut dyn Sink) -> Flow {
        session.begin();
        self.foreseen.pop();
        self.reject(find(&args, NO_COMMAND).ok(), &error, reply);
        Flow::Continue
    }

    /// Answers a command that does not run.
    fn reject(&self, command: Option<&Command>, error: &Error, reply: &mut dyn Sink) {
        if let Some(counters) = command.and_then(|command| self.state.stats.command(command.index)) {
            counters.rejected.add(1);
        }
        self.state.stats.record_error(error.code());
        reply.error(error);
    }

    /// Counts and times a command that has run.
    #[inline]
    fn record(&mut self, command: &Command, session: &Session, args: Args<'_>, result: &Result<(), Error>) {
        let (stats, settings) = (&self.state.stats, &self.state.settings);
        let ticks = stats.ticker.now();
        let mut duration_ns = stats.ticker.nanoseconds(ticks.saturating_sub(self.last_ticks));
        self.last_ticks = ticks;
        self.executed += 1;
        if let After::Delay(Some(delay)) = session.after {
            duration_ns = duration_ns.saturating_add(delay.as_nanos() as u64);
        }
        stats.record(command.index, duration_ns, result.is_err(), settings.latency_tracking.get());
        if let Err(error) = result {
            stats.record_error(error.code());
        }
        let limits = Limits {
            slow_us: settings.slowlog_log_slower_than.get(),
            spike_ms: settings.latency_monitor_threshold.get(),
        };
        if limits.reached(duration_ns) {
            slow::note(self.state, session, command, args, duration_ns, limits);
        }
    }

    /// The checks before a command runs.
    fn admit(&mut self, command: &Command, session: &mut Session, args: &Args<'_>) -> Result<(), Refusal> {
        let flags = command.spec.flags;
        if !command.spec.accepts(args.len()) {
            let error = format!("ERR wrong number of arguments for '{}' command", command.full_name);
            return Err(Error::owned(error).into());
        }
        if flags.has(Flags::PROTECTED) && !self.state.allows_debug(&session.client) {
            return Err(NOT_ENABLED.into());
        }
        if !flags.has(Flags::NO_AUTH) && self.state.requires_auth(&session.client) {
            return Err(Error::NO_AUTH.into());
        }
        if session.client.is_monitor() && DATA_FLAGS.iter().any(|flag| flags.has(*flag)) {
            return Err(Error::new("ERR Replica can't interact with the keyspace").into());
        }
        // First, since a disk that takes no writes makes no room in memory.
        if flags.has(Flags::WRITE) && self.state.keyspace.tier().is_some() {
            self.admit_write(session, flags)?;
        }
        let caller = Caller { now_ms: self.now_ms, touches: false };
        match self.state.keyspace.make_room(caller, || args.total_bytes()) {
            Room::None if flags.has(Flags::DENY_OOM) => Err(Error::OUT_OF_MEMORY.into()),
            Room::Soon if flags.has(Flags::DENY_OOM) => Err(Refusal::Stalled),
            Room::Enough | Room::None | Room::Soon => Ok(()),
        }
    }

    /// Whether the disk can keep up with a write.
    fn admit_write(&mut self, session: &mut Session, flags: Flags) -> Result<(), Refusal> {
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
                Err(Refusal::Stalled)
            }
            Pressure::None | Pressure::Ahead(_) => {
                // What it has waited is good for all its writes of the turn.
                self.is_admitted = true;
                session.delayed_ms = 0;
                Ok(())
            }
            Pressure::Behind => Err(Refusal::Stalled),
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

    fn pass_gate(&mut self, flags: Flags) -> Option<Exclusive<'s>> {
        if flags.has(Flags::EXCLUSIVE) {
            self.gate = None;
            return Some(self.state.keyspace.gate.exclusive());
        }
        self.gate.get_or_insert_with(|| self.state.keyspace.gate.shared());
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.state.stats.record_turn(self.executed);
    }
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

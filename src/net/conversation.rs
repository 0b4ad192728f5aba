//! What one connection speaks: turns received bytes into executed commands and bytes to send.

use super::listener::Kind;
use crate::command::dispatch::{FORESIGHT, Flow, Foreseen, TURN_COMMANDS, Turn};
use crate::command::session::{ReplyMode, Session};
use crate::command::state::State;
use crate::protocol::{Args, book, resp};
use crate::reply::{Error, Sink};
use crate::store::journal::Ticket;

/// The answer of the plain TCP protocol, which has no way to say a password, where one is set.
pub const NO_PASSWORD: Error =
    Error::new("NOAUTH Authentication required: this protocol has none, use RESP or HTTP where 'requirepass' is set.");

/// What follows from a turn.
#[derive(Debug)]
pub struct Progress {
    /// Bytes to drop from the input's front.
    pub consumed: usize,
    pub next: Next,
    /// What has to be in the journal before the replies go.
    pub ticket: Option<Ticket>,
}

#[derive(Debug)]
pub enum Next {
    /// Everything complete was executed.
    Read,
    /// There may be more complete commands.
    Again,
    Suspend(Flow),
    /// Send what there is, then close.
    Close,
}

pub enum Conversation {
    Resp(resp::RequestParser),
    Book(book::RequestParser),
}

impl Conversation {
    pub fn new(kind: Kind) -> Conversation {
        match kind {
            Kind::Resp => Conversation::Resp(resp::RequestParser::default()),
            Kind::Book => Conversation::Book(book::RequestParser::default()),
        }
    }

    /// Looks at the command in `input`, if it is the only one that is complete. It must be executed next.
    pub fn foresee(&mut self, state: &State, session: &Session, input: &mut [u8]) -> Option<Foreseen> {
        match self {
            Conversation::Resp(parser) => foresee(parser, state, session, input),
            Conversation::Book(parser) => foresee(parser, state, session, input),
        }
    }

    /// Executes, in `turn`, the next complete commands of `input`, the first of which may be foreseen, and appends their
    /// replies to `output`, which may not grow past `output_max_bytes` by more than one reply.
    pub fn turn(
        &mut self,
        turn: &mut Turn<'_>,
        first: Option<Foreseen>,
        session: &mut Session,
        input: &mut [u8],
        output: &mut Vec<u8>,
        output_max_bytes: usize,
    ) -> Progress {
        turn.turn_to_client(first);
        match self {
            Conversation::Resp(parser) => take_turn(parser, turn, session, input, output, output_max_bytes),
            // Set since it was let in.
            Conversation::Book(_) if turn.state().has_password() => {
                book::ReplyWriter::new(output).error(&NO_PASSWORD);
                Progress { consumed: input.len(), next: Next::Close, ticket: None }
            }
            Conversation::Book(parser) => take_turn(parser, turn, session, input, output, output_max_bytes),
        }
    }

    /// Bytes from the input's front that are known to be needed before a turn can do anything.
    pub fn wanted_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.wanted_bytes(),
            Conversation::Book(parser) => parser.wanted_bytes(),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.memory_bytes(),
            Conversation::Book(parser) => parser.memory_bytes(),
        }
    }
}

/// What a turn needs of a protocol.
trait Protocol {
    /// Reads up to `max_commands` complete commands. Those before an error stay readable.
    fn advance(&mut self, input: &mut [u8], limits: &resp::Limits, max_commands: usize) -> Result<(), Error>;
    /// How many complete commands were read.
    fn commands(&self) -> usize;
    /// Gives the arguments of a complete command to `run`.
    fn with_command<R: Default>(&self, input: &[u8], index: usize, run: impl FnOnce(Args<'_>) -> R) -> R;
    /// Where a reply is described to.
    fn sink<'o>(output: &'o mut Vec<u8>, session: &Session) -> impl Sink + 'o;
    /// Forgets executed commands, and tells how many bytes of the input they were.
    fn consume(&mut self, executed: usize) -> usize;
}

impl Protocol for resp::RequestParser {
    fn advance(&mut self, input: &mut [u8], limits: &resp::Limits, max_commands: usize) -> Result<(), Error> {
        self.advance(input, limits, max_commands).map_err(|error| match error {
            // Any byte, which need not be a character.
            resp::ProtocolError::ExpectedBulk(byte) => {
                Error::owned([b"ERR Protocol error: expected '$', got '", &[byte][..], b"'"].concat())
            }
            error => Error::owned(format!("ERR Protocol error: {error}")),
        })
    }

    #[inline]
    fn commands(&self) -> usize {
        self.commands()
    }

    #[inline]
    fn with_command<R: Default>(&self, input: &[u8], index: usize, run: impl FnOnce(Args<'_>) -> R) -> R {
        run(self.command(input, index))
    }

    #[inline]
    fn sink<'o>(output: &'o mut Vec<u8>, session: &Session) -> impl Sink + 'o {
        resp::ReplyWriter::new(output, session.client.version())
    }

    fn consume(&mut self, executed: usize) -> usize {
        self.consume(executed)
    }
}

impl Protocol for book::RequestParser {
    fn advance(&mut self, input: &mut [u8], limits: &resp::Limits, max_commands: usize) -> Result<(), Error> {
        self.advance(input, limits.bulk_bytes, max_commands)
            .map_err(|error| Error::owned(format!("ERR Protocol error: {error}")))
    }

    #[inline]
    fn commands(&self) -> usize {
        self.commands()
    }

    #[inline]
    fn with_command<R: Default>(&self, input: &[u8], index: usize, run: impl FnOnce(Args<'_>) -> R) -> R {
        match self.command(input, index) {
            Some((book::Operation::Set, key, value)) => run(Args::from_slices(&[b"SET", key, value])),
            Some((book::Operation::Get, key, _)) => run(Args::from_slices(&[b"GET", key])),
            Some((book::Operation::Delete, key, _)) => run(Args::from_slices(&[b"DEL", key])),
            None => R::default(),
        }
    }

    #[inline]
    fn sink<'o>(output: &'o mut Vec<u8>, _: &Session) -> impl Sink + 'o {
        book::ReplyWriter::new(output)
    }

    fn consume(&mut self, executed: usize) -> usize {
        self.consume(executed)
    }
}

/// Reads what a client may say now: so many commands at most. Returns that bound, and what is wrong behind them.
fn read<P: Protocol>(protocol: &mut P, state: &State, authenticated: bool, input: &mut [u8]) -> (usize, Option<Error>) {
    let limits = resp::Limits { bulk_bytes: state.settings.proto_max_bulk_len.get(), authenticated };
    // What a command before AUTH may look like must not bind the one after it.
    let max_commands = if authenticated { TURN_COMMANDS } else { 1 };
    (max_commands, protocol.advance(input, &limits, max_commands).err())
}

fn foresee<P: Protocol>(protocol: &mut P, state: &State, session: &Session, input: &mut [u8]) -> Option<Foreseen> {
    read(protocol, state, !state.requires_auth(&session.client), input);
    let look = |args: Args<'_>| Some(Foreseen::only(state, session, &args));
    if protocol.commands() == 1 { protocol.with_command(input, 0, look) } else { None }
}

fn take_turn<P: Protocol>(
    protocol: &mut P,
    turn: &mut Turn<'_>,
    session: &mut Session,
    input: &mut [u8],
    output: &mut Vec<u8>,
    output_max_bytes: usize,
) -> Progress {
    let state = turn.state();
    let authenticated = !state.requires_auth(&session.client);
    let (max_commands, mut error) = read(protocol, state, authenticated, input);
    let mut executed = 0;
    let mut next = if protocol.commands() >= max_commands { Next::Again } else { Next::Read };
    while executed < protocol.commands() {
        if executed.is_multiple_of(FORESIGHT) {
            let count = FORESIGHT.min(protocol.commands() - executed);
            // A command alone has nothing to overlap with.
            if count > 1 {
                turn.foresee(session, count, |number, look| protocol.with_command(input, executed + number, look));
            }
        }
        // RESET came before it, and it was read by the limits of before.
        if authenticated && state.requires_auth(&session.client) {
            let refusal = protocol.with_command(input, executed, |args| resp::refusal_of_stranger(&args));
            if let Some(refusal) = refusal {
                error = Some(Error::owned(format!("ERR Protocol error: {refusal}")));
                next = Next::Again;
                break;
            }
        }
        let old_bytes = output.len();
        let flow = protocol.with_command(input, executed, |args| {
            let mut sink = P::sink(output, session);
            turn.execute(session, args, &mut sink)
        });
        if matches!(flow, Flow::Paused | Flow::Cold | Flow::Stalled) {
            if flow == Flow::Cold && !session.cold.wants_walk() {
                for later in executed + 1..protocol.commands() {
                    protocol.with_command(input, later, |args| turn.foresee_cold(session, args));
                }
            }
            next = Next::Suspend(flow);
            break;
        }
        executed += 1;
        if session.take_mute() {
            output.truncate(old_bytes);
        }
        session.client.take_pushes(output);
        match flow {
            Flow::Continue if output.len() <= output_max_bytes => continue,
            Flow::Continue | Flow::Close => next = Next::Close,
            Flow::Delay(_) | Flow::Block(_) | Flow::Paused | Flow::Cold | Flow::Stalled => {
                next = Next::Suspend(flow);
            }
        }
        break;
    }
    if let (Next::Read | Next::Again, Some(error)) = (&next, error) {
        state.stats.record_error(error.code());
        if session.reply_mode == ReplyMode::On {
            P::sink(output, session).error(&error);
        }
        next = Next::Close;
    }
    if !matches!(next, Next::Suspend(Flow::Cold)) && !session.cold.is_empty() {
        session.cold.clear();
    }
    Progress { consumed: protocol.consume(executed), next, ticket: turn.ticket() }
}

//! What one connection speaks: turns received bytes into executed commands and bytes to send.

use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::base::gather::Gather;
use crate::command::access::NO_PASSWORD;
use crate::command::commit::Commit;
use crate::command::executor::{Ahead, BATCH_COMMANDS, Batch, LOOK_AHEAD_COMMANDS, large_result_bytes};
use crate::command::flow::{Cause, Flow};
use crate::command::session::{ReplyMode, Session};
use crate::command::state::State;
use crate::protocol::{Announced, Args, Incoming, book, resp};
use crate::reply::{Error, Sink};

/// What follows from executing what was received.
#[derive(Debug)]
pub struct Progress {
    /// Bytes to drop from the input's front.
    pub consumed: usize,
    /// How many replies there are.
    pub replies: usize,
    /// What the connection does next.
    pub next: Next,
    /// What has to be in the journal before the replies go.
    pub commit: Commit,
}

/// What a connection does once what it received is executed.
#[derive(Debug)]
pub enum Next {
    /// Everything complete was executed.
    Read,
    /// There may be more complete commands.
    Again,
    /// Wait; then there may be more complete commands.
    Wait(Cause),
    /// Send what there is, then close.
    Close,
}

/// What a client speaks, whatever it comes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RESP2 and RESP3, see [`crate::protocol::resp`].
    Resp,
    /// The plain TCP cache protocol, see [`crate::protocol::book`].
    Book,
}

/// A connection's protocol state, without its socket.
pub enum Conversation {
    /// In RESP.
    Resp(resp::RequestParser),
    /// In the plain TCP cache protocol.
    Book(book::RequestParser),
}

impl Conversation {
    /// Creates that of a client that has said nothing.
    pub fn new(protocol: Protocol) -> Conversation {
        match protocol {
            Protocol::Resp => Conversation::Resp(resp::RequestParser::default()),
            Protocol::Book => Conversation::Book(book::RequestParser::default()),
        }
    }

    /// Forgets what it was told and has not executed.
    pub fn forget(&mut self) {
        match self {
            Conversation::Resp(parser) => *parser = resp::RequestParser::default(),
            Conversation::Book(parser) => *parser = book::RequestParser::default(),
        }
    }

    /// Looks at the command in `input`, if it is the only one that is complete. It must be executed next.
    pub fn look_ahead(&mut self, state: &State, session: &Session, input: &mut [u8]) -> Option<Ahead> {
        match self {
            Conversation::Resp(parser) => look_ahead(parser, state, session, input),
            Conversation::Book(parser) => look_ahead(parser, state, session, input),
        }
    }

    /// Executes, in `batch`, the next complete commands of `input`, the first of which may have been looked ahead at, and
    /// appends their replies to `output`, which may not grow past `output_max_bytes` by more than one reply.
    pub fn execute(
        &mut self,
        batch: &mut Batch<'_>,
        first: Option<Ahead>,
        session: &mut Session,
        input: &mut [u8],
        output: &mut Gather,
        output_max_bytes: usize,
    ) -> Progress {
        batch.begin_client(first);
        match self {
            Conversation::Resp(parser) => execute(parser, batch, session, input, output, output_max_bytes),
            // Set since it was let in.
            Conversation::Book(_) if batch.state().has_password() => {
                book::ReplyWriter::new(output).error(&NO_PASSWORD);
                Progress { consumed: input.len(), replies: 0, next: Next::Close, commit: Commit::default() }
            }
            Conversation::Book(parser) => execute(parser, batch, session, input, output, output_max_bytes),
        }
    }

    /// Appends an error to `output`, in place of the reply to a command.
    pub fn refuse(&self, session: &Session, error: &Error, output: &mut Gather) {
        match self {
            Conversation::Resp(_) => resp::RequestParser::sink(output, session).error(error),
            Conversation::Book(_) => book::RequestParser::sink(output, session).error(error),
        }
    }

    /// Bytes from the input's front that are known to be needed before anything can be executed.
    pub fn wanted_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.wanted_bytes(),
            Conversation::Book(parser) => parser.wanted_bytes(),
        }
    }

    /// Where to go on reading, if that is not the input: a large argument that was announced is received into what becomes
    /// the value. What has come of it by now is taken out of `input`, which holds an incomplete command.
    pub fn incoming(&mut self, state: &State, session: &Session, input: &mut Vec<u8>) -> Option<&mut Incoming> {
        match self {
            Conversation::Resp(parser) => incoming(parser, state, session, input),
            Conversation::Book(parser) => incoming(parser, state, session, input),
        }
    }

    /// How much of large arguments was received, in bytes.
    pub fn large_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.large_bytes(),
            Conversation::Book(parser) => parser.large_bytes(),
        }
    }

    /// Memory beside the input, in bytes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.memory_bytes(),
            Conversation::Book(parser) => parser.memory_bytes(),
        }
    }
}

/// What execution needs of the writer of a protocol.
trait Writer: Sink {
    /// How many replies were begun behind the first one.
    fn further_replies(&self) -> usize;
}

impl Writer for resp::ReplyWriter<'_> {
    #[inline]
    fn further_replies(&self) -> usize {
        self.further_replies()
    }
}

impl Writer for book::ReplyWriter<'_> {
    /// The protocol has one response to each command.
    #[inline]
    fn further_replies(&self) -> usize {
        0
    }
}

/// What execution needs of the parser of a protocol.
trait Parser {
    /// Reads up to `max_commands` complete commands. Those before an error stay readable.
    fn advance(&mut self, input: &mut [u8], limits: &resp::Limits, max_commands: usize) -> Result<(), Error>;
    /// How many complete commands were read.
    fn commands(&self) -> usize;
    /// Gives the arguments of a complete command to `run`.
    fn with_command<R: Default>(&self, input: &[u8], index: usize, run: impl FnOnce(Args<'_>) -> R) -> R;
    /// Whether a complete command has large arguments.
    fn has_large(&self, index: usize) -> bool;
    /// Like `with_command`, for one that has; `None`: some of them was refused.
    fn with_large<R>(&self, input: &[u8], index: usize, run: impl FnOnce(Option<Args<'_>>) -> R) -> R;
    /// Shows `look` the pending argument, if its length is known and it is not complete.
    fn announced<R>(&self, input: &[u8], look: impl FnOnce(Announced<'_>) -> R) -> Option<R>;
    /// Goes on receiving the announced argument apart from the input, or dropping it.
    fn begin_large(&mut self, input: &mut Vec<u8>, refused: bool);
    /// The argument that is being received apart.
    fn incoming(&mut self) -> Option<&mut Incoming>;
    /// Where replies are described to.
    fn sink<'o>(output: &'o mut Gather, session: &Session) -> impl Writer + 'o;
    /// Forgets executed commands, and tells how many bytes of the input they were.
    fn consume(&mut self, executed: usize) -> usize;
}

impl Parser for resp::RequestParser {
    #[inline]
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

    fn with_large<R>(&self, input: &[u8], index: usize, run: impl FnOnce(Option<Args<'_>>) -> R) -> R {
        self.with_values(input, index, run)
    }

    #[inline]
    fn has_large(&self, index: usize) -> bool {
        self.has_large(index)
    }

    fn announced<R>(&self, input: &[u8], look: impl FnOnce(Announced<'_>) -> R) -> Option<R> {
        self.announced(input, look)
    }

    fn begin_large(&mut self, input: &mut Vec<u8>, refused: bool) {
        self.begin_large(input, refused);
    }

    fn incoming(&mut self) -> Option<&mut Incoming> {
        self.incoming()
    }

    #[inline]
    fn sink<'o>(output: &'o mut Gather, session: &Session) -> impl Writer + 'o {
        resp::ReplyWriter::new(output, session.client.version())
    }

    fn consume(&mut self, executed: usize) -> usize {
        self.consume(executed)
    }
}

impl Parser for book::RequestParser {
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

    fn with_large<R>(&self, input: &[u8], index: usize, run: impl FnOnce(Option<Args<'_>>) -> R) -> R {
        let values =
            self.large_value(input, index).map(|(key, value)| [BytesRef::Slice(b"SET"), BytesRef::Slice(key), value]);
        run(values.as_ref().map(|values| Args::from_values(values)))
    }

    #[inline]
    fn has_large(&self, index: usize) -> bool {
        self.has_large(index)
    }

    fn announced<R>(&self, input: &[u8], look: impl FnOnce(Announced<'_>) -> R) -> Option<R> {
        self.announced(input, look)
    }

    fn begin_large(&mut self, input: &mut Vec<u8>, refused: bool) {
        self.begin_large(input, refused);
    }

    fn incoming(&mut self) -> Option<&mut Incoming> {
        self.incoming()
    }

    #[inline]
    fn sink<'o>(output: &'o mut Gather, _: &Session) -> impl Writer + 'o {
        book::ReplyWriter::new(output)
    }

    fn consume(&mut self, executed: usize) -> usize {
        self.consume(executed)
    }
}

/// Reads what a client may say now: so many commands at most. Returns that bound, and what is wrong behind them.
#[inline]
fn read<P: Parser>(parser: &mut P, state: &State, authenticated: bool, input: &mut [u8]) -> (usize, Option<Error>) {
    let limits = resp::Limits { bulk_bytes: state.settings.proto_max_bulk_len.get(), authenticated };
    // What a command before AUTH may look like must not bind the one after it.
    let max_commands = if authenticated { BATCH_COMMANDS } else { 1 };
    (max_commands, parser.advance(input, &limits, max_commands).err())
}

fn look_ahead<P: Parser>(parser: &mut P, state: &State, session: &Session, input: &mut [u8]) -> Option<Ahead> {
    read(parser, state, !state.requires_auth(&session.client), input);
    let look = |args: Args<'_>| Some(Ahead::only(state, session, &args));
    if parser.commands() == 1 { parser.with_command(input, 0, look) } else { None }
}

#[cold]
fn execute_large<P: Parser>(
    parser: &P,
    batch: &mut Batch<'_>,
    session: &mut Session,
    input: &[u8],
    index: usize,
    output: &mut Gather,
) -> (Flow, usize) {
    parser.with_large(input, index, |args| {
        let mut sink = P::sink(output, session);
        let flow = match args {
            Some(args) => batch.execute(session, args, &mut sink),
            None => {
                parser.with_command(input, index, |args| batch.refuse(session, args, Error::OUT_OF_MEMORY, &mut sink))
            }
        };
        (flow, sink.further_replies())
    })
}

/// See [`Conversation::incoming`].
fn incoming<'p, P: Parser>(
    parser: &'p mut P,
    state: &State,
    session: &Session,
    input: &mut Vec<u8>,
) -> Option<&'p mut Incoming> {
    let fits = parser.announced(input, |Announced { args, bytes, others_bytes }| {
        let result_bytes = if bytes < LARGE_BYTES { None } else { large_result_bytes(state, session, args, bytes) };
        result_bytes.map(|result_bytes| state.keyspace.can_hold(result_bytes + others_bytes, others_bytes))
    });
    if let Some(fits) = fits.flatten() {
        parser.begin_large(input, !fits);
    }
    parser.incoming()
}

fn execute<P: Parser>(
    parser: &mut P,
    batch: &mut Batch<'_>,
    session: &mut Session,
    input: &mut [u8],
    output: &mut Gather,
    output_max_bytes: usize,
) -> Progress {
    let state = batch.state();
    let authenticated = !state.requires_auth(&session.client);
    let (max_commands, mut error) = read(parser, state, authenticated, input);
    let (mut executed, mut replies) = (0, 0);
    let mut next = if parser.commands() >= max_commands { Next::Again } else { Next::Read };
    while executed < parser.commands() {
        if executed.is_multiple_of(LOOK_AHEAD_COMMANDS) {
            let count = LOOK_AHEAD_COMMANDS.min(parser.commands() - executed);
            // A command alone has nothing to overlap with.
            if count > 1 {
                batch.look_ahead(session, count, |number, look| parser.with_command(input, executed + number, look));
            }
        }
        // RESET came before it, and it was read by the limits of before.
        if authenticated && state.requires_auth(&session.client) {
            let refusal = parser.with_command(input, executed, |args| resp::refusal_of_unauthenticated(&args));
            if let Some(refusal) = refusal {
                error = Some(Error::owned(format!("ERR Protocol error: {refusal}")));
                next = Next::Again;
                break;
            }
        }
        let before = output.mark();
        let (flow, further_replies) = if parser.has_large(executed) {
            execute_large(parser, batch, session, input, executed, output)
        } else {
            parser.with_command(input, executed, |args| {
                let mut sink = P::sink(output, session);
                let flow = batch.execute(session, args, &mut sink);
                (flow, sink.further_replies())
            })
        };
        if let Flow::Wait(cause) = flow
            && cause.runs_again()
        {
            if cause == Cause::Cold && !session.requests_walk() {
                for later in executed + 1..parser.commands() {
                    parser.with_command(input, later, |args| batch.request_cold(session, args));
                }
            }
            next = Next::Wait(cause);
            break;
        }
        executed += 1;
        if session.take_mute() {
            output.truncate(before);
        }
        if output.mark() != before {
            replies += 1 + further_replies;
        }
        session.client.take_pushes(output, usize::MAX);
        match flow {
            Flow::Continue if output.len() <= output_max_bytes => continue,
            Flow::Continue | Flow::Close => next = Next::Close,
            Flow::Wait(cause) => next = Next::Wait(cause),
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
    if !matches!(next, Next::Wait(Cause::Cold)) {
        session.forget_cold();
    }
    Progress { consumed: parser.consume(executed), replies, next, commit: batch.take_commit() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::base::key_hash::HashSecret;
    use crate::command::clients::{Client, Peer};
    use crate::config::Settings;

    /// What is answered to `requests`, each received by itself, and how many replies that is.
    fn answer(protocol: Protocol, requests: &[&str]) -> (String, usize) {
        let state = State::new(Arc::new(Settings::default()), HashSecret::Xxh3(1), None);
        let mut session = Session::new(Arc::new(Client::new(1, Peer::default(), 0, true)));
        let (mut conversation, mut output, mut replies) = (Conversation::new(protocol), Gather::default(), 0);
        for request in requests {
            let input = &mut request.as_bytes().to_vec();
            let batch = &mut Batch::new(&state);
            let progress = conversation.execute(batch, None, &mut session, input, &mut output, usize::MAX);
            assert_eq!(progress.consumed, request.len());
            replies += progress.replies;
        }
        (String::from_utf8_lossy(&output.to_vec()).into_owned(), replies)
    }

    #[test]
    fn a_command_may_have_several_replies_or_none() {
        let several = answer(Protocol::Resp, &["PING\r\nSEVERAL 3\r\n\r\nSEVERAL 0\r\nSEVERAL 1\r\n"]);
        assert_eq!(several, ("+PONG\r\n:0\r\n:1\r\n:2\r\n:0\r\n".to_owned(), 5));
        let skipped = answer(Protocol::Resp, &["CLIENT REPLY SKIP\r\nSEVERAL 3\r\nSEVERAL 2\r\n"]);
        assert_eq!(skipped, (":0\r\n:1\r\n".to_owned(), 2), "one command was to be skipped, with all its replies");
        let off = answer(Protocol::Resp, &["CLIENT REPLY OFF\r\nSEVERAL 3\r\n", "CLIENT REPLY ON\r\nSEVERAL 2\r\n"]);
        assert_eq!(off, ("+OK\r\n:0\r\n:1\r\n".to_owned(), 3));
    }

    #[test]
    fn the_plain_protocol_has_one_response_to_each_command() {
        assert_eq!(answer(Protocol::Book, &["S1 1 kvG1 k", "D1 k"]), ("0 1 v0 ".to_owned(), 3));
    }
}

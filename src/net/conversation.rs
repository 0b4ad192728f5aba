//! What one connection speaks: turns received bytes into executed commands and bytes to send.

use super::listener::Kind;
use crate::command::dispatch::{Flow, Turn};
use crate::command::session::Session;
use crate::command::state::State;
use crate::protocol::resp::{Limits, ReplyWriter, RequestParser};
use crate::reply::{Error, Sink};

/// Commands executed at one time and under one passing of the gate; more that were read follow at once.
const TURN_COMMANDS: usize = 128;

/// What follows from a turn.
#[derive(Debug)]
pub struct Progress {
    /// Bytes to drop from the input's front.
    pub consumed: usize,
    pub next: Next,
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
    Resp(RequestParser),
}

impl Conversation {
    pub fn new(kind: Kind) -> Conversation {
        match kind {
            Kind::Resp => Conversation::Resp(RequestParser::default()),
        }
    }

    /// Executes the next complete commands of `input` and appends their replies to `output`, which may not grow past
    /// `output_max_bytes` by more than one reply.
    pub fn turn(
        &mut self,
        state: &State,
        session: &mut Session,
        input: &mut [u8],
        output: &mut Vec<u8>,
        output_max_bytes: usize,
    ) -> Progress {
        match self {
            Conversation::Resp(parser) => resp_turn(parser, state, session, input, output, output_max_bytes),
        }
    }

    /// Bytes from the input's front that are known to be needed before a turn can do anything.
    pub fn wanted_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.wanted_bytes(),
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Conversation::Resp(parser) => parser.memory_bytes(),
        }
    }
}

fn resp_turn(
    parser: &mut RequestParser,
    state: &State,
    session: &mut Session,
    input: &mut [u8],
    output: &mut Vec<u8>,
    output_max_bytes: usize,
) -> Progress {
    let authenticated = !state.requires_auth(&session.client);
    let limits = Limits { bulk_bytes: state.settings.proto_max_bulk_len.get(), authenticated };
    // What a command before AUTH may look like must not bind the one after it.
    let max_commands = if authenticated { TURN_COMMANDS } else { 1 };
    let error = parser.advance(input, &limits, max_commands).err();

    let mut turn = Turn::new(state);
    let mut executed = 0;
    let mut next = if parser.commands() >= max_commands { Next::Again } else { Next::Read };
    while executed < parser.commands() {
        let args = parser.command(input, executed);
        let old_bytes = output.len();
        let flow = turn.execute(session, args, &mut ReplyWriter::new(output, session.client.version()));
        if flow == Flow::Paused {
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
            Flow::Delay(_) | Flow::Paused => next = Next::Suspend(flow),
        }
        break;
    }
    if let (Next::Read | Next::Again, Some(error)) = (&next, error) {
        let line = format!("ERR Protocol error: {error}");
        ReplyWriter::new(output, session.client.version()).error(&Error::owned(line));
        next = Next::Close;
    }
    Progress { consumed: parser.consume(executed), next }
}

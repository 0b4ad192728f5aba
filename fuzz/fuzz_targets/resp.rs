//! The RESP request parser: any split of the input reads the same, and where a request is written as clients write
//! it, the redis-protocol crate reads the same from it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use rockpool::protocol::resp::{Limits, ProtocolError, RequestParser};

const LIMITS: Limits = Limits { bulk_bytes: 1 << 20, authenticated: true };
/// The oracle recurses for each nested array.
const ORACLE_MAX_ARRAYS: usize = 64;

type Command = Vec<Vec<u8>>;

/// Feeds `input` in pieces that end at `cuts`, taking `max_commands` at a time.
fn parse(input: &[u8], cuts: &[u8], max_commands: usize) -> (Vec<Command>, Option<ProtocolError>) {
    let (mut parser, mut buffer, mut commands) = (RequestParser::default(), Vec::new(), Vec::new());
    let mut offsets: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * input.len() / 256).collect();
    offsets.extend([0, input.len()]);
    offsets.sort_unstable();
    for piece in offsets.windows(2) {
        buffer.extend_from_slice(&input[piece[0]..piece[1]]);
        loop {
            let result = parser.advance(&mut buffer, &LIMITS, max_commands);
            let count = parser.commands();
            commands.extend(
                (0..count).map(|index| parser.command(&buffer, index).iter().map(<[u8]>::to_vec).collect::<Command>()),
            );
            buffer.drain(..parser.consume(count));
            if let Err(error) = result {
                return (commands, Some(error));
            }
            if count < max_commands {
                break;
            }
        }
    }
    (commands, None)
}

fn encode(command: &Command) -> Vec<u8> {
    let mut wire = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        wire.extend(format!("${}\r\n", argument.len()).bytes());
        wire.extend(argument);
        wire.extend(b"\r\n");
    }
    wire
}

/// What the oracle reads at the front of `input`, where that is a request in its usual form.
fn oracle(input: &[u8]) -> Option<(Command, usize)> {
    if input.iter().filter(|byte| **byte == b'*').count() > ORACLE_MAX_ARRAYS {
        return None;
    }
    let Ok(Some((OwnedFrame::Array(frames), used))) = decode(input) else { return None };
    let argument = |frame| if let OwnedFrame::BulkString(bytes) = frame { Some(bytes) } else { None };
    let command =
        frames.into_iter().map(argument).collect::<Option<Command>>().filter(|command| !command.is_empty())?;
    (encode(&command) == input[..used]).then_some((command, used))
}

fn compare_with_oracle(input: &[u8]) {
    let mut rest = input.to_vec();
    loop {
        let expected = oracle(&rest);
        let before = rest.clone();
        let mut parser = RequestParser::default();
        let result = parser.advance(&mut rest, &LIMITS, 1);
        let command: Option<Command> =
            (parser.commands() == 1).then(|| parser.command(&rest, 0).iter().map(<[u8]>::to_vec).collect());
        let consumed = parser.consume(1);
        match (command, expected) {
            (command, Some((expected, used))) => {
                assert_eq!((command.as_ref(), consumed), (Some(&expected), used));
            }
            (Some(command), None) if !command.is_empty() && before.iter().filter(|byte| **byte == b'*').count() <= ORACLE_MAX_ARRAYS => {
                assert_ne!(encode(&command), before[..consumed], "the oracle does not read a usual request");
            }
            (Some(_), None) => {}
            (None, None) => return,
        }
        if result.is_err() {
            return;
        }
        rest.drain(..consumed);
    }
}

fuzz_target!(|data: &[u8]| {
    // The first bytes say how the rest is split.
    let Some((&count, data)) = data.split_first() else { return };
    let Some((cuts, input)) = data.split_at_checked(usize::from(count % 8)) else { return };
    let whole = parse(input, &[], usize::MAX);
    assert_eq!(parse(input, cuts, 1 + usize::from(count / 8 % 4)), whole);
    compare_with_oracle(input);
});

//! The parser of the plain TCP cache protocol: any split of the input reads the same as a naive reader of the whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rockpool::protocol::book::{Operation, RequestParser};

const LIMIT_BYTES: u64 = 1 << 16;

type Command = (Operation, Vec<u8>, Vec<u8>);

/// Feeds `input` in pieces that end at `cuts`, taking `max_commands` at a time. Returns whether it is well-formed.
fn parse(input: &[u8], cuts: &[u8], max_commands: usize) -> (Vec<Command>, bool) {
    let (mut parser, mut buffer, mut commands) = (RequestParser::default(), Vec::new(), Vec::new());
    let mut offsets: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut) * input.len() / 256).collect();
    offsets.extend([0, input.len()]);
    offsets.sort_unstable();
    for piece in offsets.windows(2) {
        buffer.extend_from_slice(&input[piece[0]..piece[1]]);
        loop {
            let result = parser.advance(&buffer, LIMIT_BYTES, max_commands);
            let count = parser.commands();
            for index in 0..count {
                let (operation, key, value) = parser.command(&buffer, index).expect("a complete command");
                commands.push((operation, key.to_vec(), value.to_vec()));
            }
            buffer.drain(..parser.consume(count));
            if result.is_err() {
                return (commands, false);
            }
            if count < max_commands {
                break;
            }
        }
    }
    (commands, true)
}

enum Read<T> {
    Done(T),
    Incomplete,
    Malformed,
}

/// Takes a length and its space off `input`.
fn length(input: &mut &[u8]) -> Read<usize> {
    let digits = input.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = input.split_at(digits);
    let is_length = number == b"0" || (digits > 0 && digits <= 10 && number[0] != b'0');
    match rest.first() {
        _ if digits > 0 && !is_length => Read::Malformed,
        None => Read::Incomplete,
        Some(b' ') if is_length => {
            *input = &rest[1..];
            let length: u64 = String::from_utf8_lossy(number).parse().expect("digits");
            if length > LIMIT_BYTES { Read::Malformed } else { Read::Done(length as usize) }
        }
        Some(_) => Read::Malformed,
    }
}

fn next(input: &mut &[u8]) -> Read<Command> {
    let Some((&first, mut rest)) = input.split_first() else { return Read::Incomplete };
    let operation = match first {
        b'S' => Operation::Set,
        b'G' => Operation::Get,
        b'D' => Operation::Delete,
        _ => return Read::Malformed,
    };
    let mut lengths = [0, 0];
    for place in 0..if operation == Operation::Set { 2 } else { 1 } {
        lengths[place] = match length(&mut rest) {
            Read::Done(length) => length,
            Read::Incomplete => return Read::Incomplete,
            Read::Malformed => return Read::Malformed,
        };
    }
    let Some((key, rest)) = rest.split_at_checked(lengths[0]) else { return Read::Incomplete };
    let Some((value, rest)) = rest.split_at_checked(lengths[1]) else { return Read::Incomplete };
    *input = rest;
    Read::Done((operation, key.to_vec(), value.to_vec()))
}

fn naive(mut input: &[u8]) -> (Vec<Command>, bool) {
    let mut commands = Vec::new();
    loop {
        match next(&mut input) {
            Read::Done(command) => commands.push(command),
            Read::Incomplete => return (commands, true),
            Read::Malformed => return (commands, false),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    // The first bytes say how the rest is split.
    let Some((&count, data)) = data.split_first() else { return };
    let Some((cuts, input)) = data.split_at_checked(usize::from(count % 8)) else { return };
    let expected = naive(input);
    assert_eq!(parse(input, &[], usize::MAX), expected);
    assert_eq!(parse(input, cuts, 1 + usize::from(count / 8 % 4)), expected);
});

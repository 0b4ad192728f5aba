use std::fmt;

use crate::base::chunks::BytesRef;
use crate::protocol::args::LARGE;
use crate::protocol::large::LargeArguments;
use crate::protocol::{Announced, Args, Incoming, Range};

/// Digits of the longest length that can be meant; offsets in a buffer are 32 bits.
const LENGTH_MAX_DIGITS: u8 = 10;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To store a value.
    Set,
    /// To answer a value.
    Get,
    /// To delete a key.
    Delete,
}

/// Why a request cannot be read; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// The first byte, which stands for no operation.
    UnknownOperation(u8),
    /// A length that is empty, has a byte that is no digit, a leading zero or too many digits.
    InvalidLength,
    /// A length that is not allowed.
    TooLong {
        /// The longest that is.
        limit_bytes: u64,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::UnknownOperation(byte) => {
                write!(formatter, "unknown operation '{}'", byte.escape_ascii())
            }
            ProtocolError::InvalidLength => formatter.write_str("invalid length"),
            ProtocolError::TooLong { limit_bytes } => write!(formatter, "length above {limit_bytes}"),
        }
    }
}

/// A complete command.
#[derive(Clone, Copy)]
struct Request {
    operation: Operation,
    key: Range,
    /// Empty unless the operation is [`Operation::Set`].
    value: Range,
    /// Offset of the byte behind it.
    end: usize,
}

/// What was read of a command that is not complete.
#[derive(Clone, Copy)]
struct Header {
    operation: Operation,
    key_bytes: Option<u32>,
    value_bytes: Option<u32>,
    /// The length that is being read.
    number: u64,
    digits: u8,
}

impl Header {
    /// Bytes of key and value, once both lengths are known.
    fn body_bytes(&self) -> Option<usize> {
        Some(self.key_bytes? as usize + self.value_bytes? as usize)
    }
}

/// Splits a growing input buffer into commands without copying and without reading a byte twice.
///
/// Use: append what was received to the buffer, [`advance`](Self::advance), look at the
/// [`command`](Self::command)s, then [`consume`](Self::consume) and drop that many bytes from the buffer's front.
/// Nothing is allocated for what was only announced.
#[derive(Default)]
pub struct RequestParser {
    /// The complete commands, in order.
    complete: Vec<Request>,
    pending: Option<Header>,
    /// Offset of the next byte to read.
    position: usize,
    /// Large values, which are not in the buffer.
    large: LargeArguments,
}

impl RequestParser {
    /// Reads up to `max_commands` complete commands out of `buffer`, none with a key or a value above `limit_bytes`.
    /// Commands read before an error stay readable.
    pub fn advance(&mut self, buffer: &[u8], limit_bytes: u64, max_commands: usize) -> Result<(), ProtocolError> {
        while self.complete.len() < max_commands {
            let Some(header) = self.header(buffer, limit_bytes)? else { return Ok(()) };
            let Some(mut body_bytes) = header.body_bytes() else { return Ok(()) };
            let key = Range { start: self.position as u32, len: header.key_bytes.unwrap_or_default() };
            let mut value = Range { start: key.start + key.len, len: header.value_bytes.unwrap_or_default() };
            if self.large.has_incoming() {
                if !self.large.is_whole() {
                    return Ok(());
                }
                (value, body_bytes) = (LARGE, key.len as usize);
                self.large.end();
            } else if buffer.len() - self.position < body_bytes {
                return Ok(());
            }
            self.position += body_bytes;
            self.pending = None;
            self.complete.push(Request { operation: header.operation, key, value, end: self.position });
        }
        Ok(())
    }

    /// How many complete commands are there.
    pub fn commands(&self) -> usize {
        self.complete.len()
    }

    /// Operation, key and value of complete command `index`, a large one left out; `buffer` is what was given to `advance`.
    pub fn command<'a>(&self, buffer: &'a [u8], index: usize) -> Option<(Operation, &'a [u8], &'a [u8])> {
        let request = self.complete.get(index)?;
        let value = if request.value == LARGE { &[] } else { part(buffer, request.value)? };
        Some((request.operation, part(buffer, request.key)?, value))
    }

    /// Whether complete command `index` has a large value: [`RequestParser::large_value`] gives it.
    #[inline]
    pub fn has_large(&self, index: usize) -> bool {
        !self.large.is_empty() && self.complete.get(index).is_some_and(|request| request.value == LARGE)
    }

    /// Key and value of complete command `index`, which sets a large one; `None`: it was refused.
    pub fn large_value<'a>(&'a self, buffer: &'a [u8], index: usize) -> Option<(&'a [u8], BytesRef<'a>)> {
        let first = self.complete[..index].iter().filter(|request| request.value == LARGE).count();
        let value = self.large.after(first).next()??;
        Some((part(buffer, self.complete.get(index)?.key)?, BytesRef::Chunks(value)))
    }

    /// Shows `look` the pending value, if its length is known and it is not complete.
    pub fn announced<R>(&self, buffer: &[u8], look: impl FnOnce(Announced<'_>) -> R) -> Option<R> {
        let header = self.pending.filter(|_| !self.large.has_incoming())?;
        let key = Range { start: self.position as u32, len: header.key_bytes? };
        let args = [b"SET", part(buffer, key)?];
        let others_bytes = self.large.bytes() + self.position + key.len as usize;
        let bytes = header.value_bytes? as usize;
        Some(look(Announced { args: Args::from_slices(&args), bytes, others_bytes }))
    }

    /// Takes the announced value's bytes out of the buffer: what is to come of them goes to [`RequestParser::incoming`].
    /// Refused, it is only counted.
    pub fn begin_large(&mut self, buffer: &mut Vec<u8>, refused: bool) {
        let Some(Header { key_bytes: Some(key_bytes), value_bytes: Some(value_bytes), .. }) = self.pending else {
            return;
        };
        let begin = self.position + key_bytes as usize;
        self.large.begin(value_bytes as usize, &buffer[begin..], refused);
        buffer.truncate(begin);
    }

    /// The large value that is being received, as long as some of it is missing.
    pub fn incoming(&mut self) -> Option<&mut Incoming> {
        self.large.incoming()
    }

    /// How much of large values was received, in bytes.
    pub fn large_bytes(&self) -> usize {
        self.large.bytes()
    }

    /// Forgets the first `executed` complete commands; the caller drops as many bytes as this returns from the
    /// buffer's front. What was read behind them is not read again.
    pub fn consume(&mut self, executed: usize) -> usize {
        let executed = executed.min(self.complete.len());
        let bytes = self.complete[..executed].last().map_or(0, |request| request.end);
        if !self.large.is_empty() {
            let large = self.complete[..executed].iter().filter(|request| request.value == LARGE).count();
            self.large.forget(large);
        }
        self.complete.drain(..executed);
        for request in &mut self.complete {
            request.key.start -= bytes as u32;
            if request.value != LARGE {
                request.value.start -= bytes as u32;
            }
            request.end -= bytes;
        }
        self.position -= bytes;
        bytes
    }

    /// Bytes from the buffer's front that the pending command is known to need; 0 when that is not known.
    pub fn wanted_bytes(&self) -> usize {
        if self.large.has_incoming() {
            return 0;
        }
        self.pending.and_then(|header| header.body_bytes()).map_or(0, |body_bytes| self.position + body_bytes)
    }

    /// Memory held for commands that were read, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.complete.capacity() * size_of::<Request>() + self.large.bytes()
    }

    /// Reads on in the pending command's header and returns it as far as it is known; `None`: nothing is there.
    fn header(&mut self, buffer: &[u8], limit_bytes: u64) -> Result<Option<Header>, ProtocolError> {
        let mut header = match self.pending {
            Some(header) => header,
            None => {
                let Some(&first) = buffer.get(self.position) else { return Ok(None) };
                let operation = operation(first)?;
                self.position += 1;
                let value_bytes = if operation == Operation::Set { None } else { Some(0) };
                Header { operation, key_bytes: None, value_bytes, number: 0, digits: 0 }
            }
        };
        while header.body_bytes().is_none()
            && let Some(&byte) = buffer.get(self.position)
        {
            read_length(&mut header, byte, limit_bytes)?;
            self.position += 1;
        }
        self.pending = Some(header);
        Ok(self.pending)
    }
}

fn part(buffer: &[u8], range: Range) -> Option<&[u8]> {
    buffer.get(range.start as usize..range.start as usize + range.len as usize)
}

fn operation(byte: u8) -> Result<Operation, ProtocolError> {
    match byte {
        b'S' => Ok(Operation::Set),
        b'G' => Ok(Operation::Get),
        b'D' => Ok(Operation::Delete),
        byte => Err(ProtocolError::UnknownOperation(byte)),
    }
}

/// Takes the next byte of the lengths.
fn read_length(header: &mut Header, byte: u8, limit_bytes: u64) -> Result<(), ProtocolError> {
    match byte {
        b'0'..=b'9' if header.digits < LENGTH_MAX_DIGITS && (header.digits == 0 || header.number > 0) => {
            header.number = header.number * 10 + u64::from(byte - b'0');
            header.digits += 1;
        }
        b' ' if header.digits > 0 => {
            // Key and value together lie below 4 GiB, as offsets in a buffer do.
            let limit_bytes = limit_bytes.min(u64::from(u32::MAX / 4));
            if header.number > limit_bytes {
                return Err(ProtocolError::TooLong { limit_bytes });
            }
            let length = if header.key_bytes.is_none() { &mut header.key_bytes } else { &mut header.value_bytes };
            *length = Some(header.number as u32);
            (header.number, header.digits) = (0, 0);
        }
        _ => return Err(ProtocolError::InvalidLength),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT_BYTES: u64 = 1000;

    type Command = (Operation, Vec<u8>, Vec<u8>);

    fn parse_all(pieces: &[&[u8]]) -> (Vec<Command>, Option<ProtocolError>) {
        let (mut parser, mut buffer, mut commands) = (RequestParser::default(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let result = parser.advance(&buffer, LIMIT_BYTES, 3);
                let count = parser.commands();
                for index in 0..count {
                    let (operation, key, value) = parser.command(&buffer, index).unwrap();
                    commands.push((operation, key.to_vec(), value.to_vec()));
                }
                buffer.drain(..parser.consume(3));
                if let Err(error) = result {
                    return (commands, Some(error));
                }
                if count < 3 {
                    break;
                }
            }
        }
        (commands, None)
    }

    fn command(operation: Operation, key: &str, value: &str) -> Command {
        (operation, key.into(), value.into())
    }

    #[test]
    fn commands_follow_each_other_without_separators() {
        let (commands, error) = parse_all(&[b"S3 5 keyvalueG3 keyD0 S1 0 kG2 \x00\xff"]);
        let expected = [
            command(Operation::Set, "key", "value"),
            command(Operation::Get, "key", ""),
            command(Operation::Delete, "", ""),
            command(Operation::Set, "k", ""),
            (Operation::Get, vec![0, 0xff], vec![]),
        ];
        assert_eq!((commands.as_slice(), error), (expected.as_slice(), None));
    }

    #[test]
    fn malformed_input_is_refused_as_soon_as_it_is_seen() {
        let error = |input: &[u8]| parse_all(&[input]).1;
        assert_eq!(error(b"X"), Some(ProtocolError::UnknownOperation(b'X')));
        for input in [&b"G "[..], b"G+", b"G-", b"G01", b"Gx", b"G1\t", b"S1  ", b"S1 +", b"G12345678901", b"G1\n"] {
            assert_eq!(error(input), Some(ProtocolError::InvalidLength), "{}", input.escape_ascii());
        }
        let too_long = Some(ProtocolError::TooLong { limit_bytes: LIMIT_BYTES });
        assert_eq!((error(b"G1000 "), error(b"G1001 "), error(b"S1 1001 ")), (None, too_long, too_long));
        assert_eq!(
            parse_all(&[b"G1 kX"]),
            (vec![command(Operation::Get, "k", "")], Some(ProtocolError::UnknownOperation(b'X')))
        );
    }

    #[test]
    fn commands_that_were_not_executed_stay_as_they_were_read() {
        let mut buffer = b"G1 aS1 2 bccD1 dG1".to_vec();
        let mut parser = RequestParser::default();
        parser.advance(&buffer, LIMIT_BYTES, 10).unwrap();
        assert_eq!((parser.commands(), parser.wanted_bytes()), (3, 0));
        buffer.drain(..parser.consume(1));
        assert_eq!(parser.command(&buffer, 0), Some((Operation::Set, &b"b"[..], &b"cc"[..])));
        assert_eq!(parser.command(&buffer, 1), Some((Operation::Delete, &b"d"[..], &b""[..])));
        buffer.extend(b"0 ");
        parser.advance(&buffer, LIMIT_BYTES, 10).unwrap();
        assert_eq!(parser.wanted_bytes(), buffer.len() + 10);
        assert_eq!(parser.consume(9), 12);
    }

    #[test]
    fn announced_lengths_allocate_nothing() {
        let mut parser = RequestParser::default();
        parser.advance(b"S1000000000 1000000000 a", u64::MAX, 10).unwrap();
        assert_eq!((parser.memory_bytes(), parser.wanted_bytes()), (0, 2_000_000_023));
        assert_eq!(
            RequestParser::default().advance(b"S4294967295 ", u64::MAX, 1),
            Err(ProtocolError::TooLong { limit_bytes: u64::from(u32::MAX / 4) })
        );
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(
            commands in prop::collection::vec(
                (0..3u8, prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let (mut wire, mut expected) = (Vec::new(), Vec::new());
            for (kind, key, value) in commands {
                let operation = [Operation::Set, Operation::Get, Operation::Delete][usize::from(kind)];
                let value = if operation == Operation::Set { value } else { vec![] };
                wire.push([b'S', b'G', b'D'][usize::from(kind)]);
                wire.extend(format!("{} ", key.len()).bytes());
                if operation == Operation::Set {
                    wire.extend(format!("{} ", value.len()).bytes());
                }
                wire.extend(&key);
                wire.extend(&value);
                expected.push((operation, key, value));
            }
            let mut offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            offsets.extend([0, wire.len()]);
            offsets.sort();
            let pieces: Vec<&[u8]> = offsets.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse_all(&pieces), (expected, None));
        }

        #[test]
        fn no_input_panics(pieces in prop::collection::vec(prop::collection::vec(
            prop::sample::select(b"SGD 0123-x".to_vec()), 0..30), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            parse_all(&pieces);
        }
    }
}

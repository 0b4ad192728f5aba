use std::fmt;

use super::inline;
use crate::base::chunks::BytesRef;
use crate::base::number;
use crate::protocol::args::LARGE;
use crate::protocol::large::LargeArguments;
use crate::protocol::{Announced, Args, Incoming, Range};

/// Longest inline command, and longest `*N` or `$N` line, in bytes.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// What a client that has not authenticated may send in one command.
const UNAUTHENTICATED_MAX_ARGUMENTS: i64 = 10;
const UNAUTHENTICATED_MAX_BULK_BYTES: i64 = 16 * 1024;

/// How much a client may send at present.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`
    pub bulk_bytes: u64,
    /// Before AUTH, commands must be short.
    pub authenticated: bool,
}

/// Why a request cannot be read; the connection ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// An inline command is longer than 64 KiB.
    InlineTooLong,
    /// An inline command opens quotes that it does not close.
    UnbalancedQuotes,
    /// The line with the number of arguments has no end.
    CountLineTooLong,
    /// The number of arguments is no number, or too large.
    InvalidCount,
    /// There are more arguments than before AUTH are allowed.
    UnauthenticatedCount,
    /// The line with the length of an argument has no end.
    BulkLineTooLong,
    /// An argument begins with this byte instead of `$`.
    ExpectedBulk(u8),
    /// The length of an argument is no number, negative, or above `proto-max-bulk-len`.
    InvalidBulkLength,
    /// An argument is longer than before AUTH is allowed.
    UnauthenticatedBulkLength,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ProtocolError::InlineTooLong => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::CountLineTooLong => "too big mbulk count string",
            ProtocolError::InvalidCount => "invalid multibulk length",
            ProtocolError::UnauthenticatedCount => "unauthenticated multibulk length",
            ProtocolError::BulkLineTooLong => "too big bulk count string",
            ProtocolError::ExpectedBulk(byte) => {
                return write!(formatter, "expected '$', got '{}'", char::from(*byte));
            }
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::UnauthenticatedBulkLength => "unauthenticated bulk length",
        })
    }
}

/// Where a complete command ends.
#[derive(Clone, Copy)]
struct End {
    /// Its last argument's index in `ranges`, plus one.
    ranges: usize,
    /// Offset of the byte behind it.
    bytes: usize,
}

/// Splits a growing input buffer into commands without copying and without reading a byte twice.
///
/// Use: append what was received to the buffer, [`advance`](Self::advance), look at the
/// [`command`](Self::command)s, then [`consume`](Self::consume) and drop that many bytes from the buffer's front.
/// Nothing is allocated for what was only announced: memory follows the bytes that have arrived.
#[derive(Default)]
pub struct RequestParser {
    /// Arguments of the complete commands, then of the pending one.
    ranges: Vec<Range>,
    /// The complete commands, in order.
    complete: Vec<End>,
    /// Offset of the next byte to read.
    position: usize,
    /// Offset of the first byte that belongs to no complete command.
    complete_until: usize,
    /// Arguments of the pending command that are still to come; 0: none is pending.
    missing: usize,
    /// Length of the pending argument, once its header was read.
    bulk_bytes: Option<usize>,
    /// Bytes after `position` that hold no line end, so that they are not searched again.
    searched: usize,
    /// What is wrong with the command behind the complete ones. Nothing is read after it.
    error: Option<ProtocolError>,
    /// Large arguments, which are not in the buffer.
    large: LargeArguments,
}

impl RequestParser {
    /// Reads up to `max_commands` complete commands out of `buffer`; inline commands are unquoted in place.
    /// Commands read before an error stay readable, and the error is the same at every later call, whenever they are
    /// executed. One without arguments (an empty line, `*0`) is a command that does nothing.
    pub fn advance(&mut self, buffer: &mut [u8], limits: &Limits, max_commands: usize) -> Result<(), ProtocolError> {
        if self.error.is_none() {
            self.error = self.read(buffer, limits, max_commands).err();
        }
        self.error.map_or(Ok(()), Err)
    }

    fn read(&mut self, buffer: &mut [u8], limits: &Limits, max_commands: usize) -> Result<(), ProtocolError> {
        while self.complete.len() < max_commands {
            if self.missing == 0 {
                let Some(&first) = buffer.get(self.position) else { return Ok(()) };
                let read = if first == b'*' { self.count(buffer, limits)? } else { self.inline(buffer)? };
                if !read {
                    return Ok(());
                }
            }
            while self.missing > 0 {
                if !self.argument(buffer, limits)? {
                    return Ok(());
                }
            }
            self.complete.push(End { ranges: self.ranges.len(), bytes: self.position });
            self.complete_until = self.position;
        }
        Ok(())
    }

    /// How many complete commands are there.
    #[inline]
    pub fn commands(&self) -> usize {
        self.complete.len()
    }

    /// The arguments of complete command `index`; `buffer` is what was given to `advance`.
    #[inline]
    pub fn command<'a>(&'a self, buffer: &'a [u8], index: usize) -> Args<'a> {
        let end_of = |index: usize| self.complete.get(index).map_or(0, |end| end.ranges);
        let first = if index == 0 { 0 } else { end_of(index - 1) };
        Args::from_ranges(buffer, self.ranges.get(first..end_of(index)).unwrap_or_default())
    }

    /// Whether complete command `index` has large arguments: [`RequestParser::with_values`] gives them.
    #[inline]
    pub fn has_large(&self, index: usize) -> bool {
        !self.large.is_empty() && self.command(&[], index).has_large()
    }

    /// Gives the arguments of complete command `index` to `run`; `None`: one of them was refused.
    pub fn with_values<R>(&self, buffer: &[u8], index: usize, run: impl FnOnce(Option<Args<'_>>) -> R) -> R {
        let end = self.complete.get(index).map_or(0, |end| end.ranges);
        let args = self.command(buffer, index);
        let is_large = |range: &&Range| **range == LARGE;
        let first = self.ranges[..end - args.len()].iter().filter(is_large).count();
        let mut received = self.large.after(first);
        let value = |(index, range): (usize, &Range)| match *range {
            LARGE => received.next()?.map(BytesRef::Chunks),
            _ => Some(BytesRef::Slice(args.at(index))),
        };
        let values: Option<Vec<BytesRef<'_>>> =
            self.ranges[end - args.len()..end].iter().enumerate().map(value).collect();
        run(values.as_deref().map(Args::from_values))
    }

    /// Shows `look` the pending argument, if its length is known and it is not complete.
    pub fn announced<R>(&self, buffer: &[u8], look: impl FnOnce(Announced<'_>) -> R) -> Option<R> {
        let bytes = self.bulk_bytes.filter(|_| !self.large.has_incoming())?;
        let first = self.complete.last().map_or(0, |end| end.ranges);
        let args = Args::from_ranges(buffer, &self.ranges[first..]);
        Some(look(Announced { args, bytes, others_bytes: self.large.bytes() + self.position }))
    }

    /// Takes the announced argument's bytes out of the buffer, which has those behind its header and nothing else: what is to
    /// come of them goes to [`RequestParser::incoming`]. Refused, it is only counted, with all large ones of its command.
    pub fn begin_large(&mut self, buffer: &mut Vec<u8>, refused: bool) {
        let Some(bytes) = self.bulk_bytes else { return };
        let come = (buffer.len() - self.position).min(bytes);
        self.large.begin(bytes, &buffer[self.position..self.position + come], refused);
        buffer.drain(self.position..self.position + come);
    }

    /// The large argument that is being received, as long as some of it is missing.
    pub fn incoming(&mut self) -> Option<&mut Incoming> {
        self.large.incoming()
    }

    /// Forgets the first `executed` complete commands; the caller drops as many bytes as this returns from the
    /// buffer's front. Complete commands behind them stay, so they are not read a second time.
    pub fn consume(&mut self, executed: usize) -> usize {
        let all = executed >= self.complete.len();
        let last =
            if executed == 0 { None } else { self.complete.get(executed.min(self.complete.len()).wrapping_sub(1)) };
        let ranges = last.map_or(0, |end| end.ranges);
        let bytes = if all { self.complete_until } else { last.map_or(0, |end| end.bytes) };
        if !self.large.is_empty() {
            let large = self.ranges[..ranges].iter().filter(|range| **range == LARGE).count();
            self.large.forget(large);
        }
        self.ranges.drain(..ranges);
        for range in &mut self.ranges {
            range.start = if *range == LARGE { LARGE.start } else { range.start - bytes as u32 };
        }
        self.complete.drain(..executed.min(self.complete.len()));
        for end in &mut self.complete {
            end.ranges -= ranges;
            end.bytes -= bytes;
        }
        self.position -= bytes;
        self.complete_until -= bytes;
        bytes
    }

    /// Bytes from the buffer's front that the pending command is known to need; 0 when that is not known.
    pub fn wanted_bytes(&self) -> usize {
        let in_buffer = |bulk_bytes| if self.large.has_incoming() { 0 } else { bulk_bytes };
        self.bulk_bytes.map_or(0, |bulk_bytes| self.position + in_buffer(bulk_bytes) + 2)
    }

    /// Memory held for the pending command's arguments, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<Range>() + self.large_bytes()
    }

    /// How much of large arguments was received, in bytes.
    pub fn large_bytes(&self) -> usize {
        self.large.bytes()
    }

    /// Reads `*N\r\n`. False: it is incomplete.
    fn count(&mut self, buffer: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let Some((line_bytes, count)) = self.header(buffer, ProtocolError::CountLineTooLong)? else { return Ok(false) };
        let count = count.filter(|count| *count <= i64::from(i32::MAX)).ok_or(ProtocolError::InvalidCount)?;
        if count > UNAUTHENTICATED_MAX_ARGUMENTS && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        self.position += line_bytes + 2;
        self.missing = count.max(0) as usize;
        Ok(true)
    }

    /// Reads one `$N\r\n…\r\n`. False: it is incomplete.
    fn argument(&mut self, buffer: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let bulk_bytes = match self.bulk_bytes {
            Some(_) if self.large.has_incoming() => return Ok(self.end_of_large(buffer)),
            Some(bulk_bytes) => bulk_bytes,
            None => {
                let Some((line_bytes, bulk_bytes)) = self.header(buffer, ProtocolError::BulkLineTooLong)? else {
                    return Ok(false);
                };
                let first = buffer[self.position];
                if first != b'$' {
                    return Err(ProtocolError::ExpectedBulk(first));
                }
                let bulk_bytes = bulk_bytes
                    .filter(|bulk_bytes| *bulk_bytes >= 0 && *bulk_bytes as u64 <= limits.bulk_bytes)
                    .ok_or(ProtocolError::InvalidBulkLength)?;
                if bulk_bytes > UNAUTHENTICATED_MAX_BULK_BYTES && !limits.authenticated {
                    return Err(ProtocolError::UnauthenticatedBulkLength);
                }
                self.position += line_bytes + 2;
                self.bulk_bytes = Some(bulk_bytes as usize);
                bulk_bytes as usize
            }
        };
        if buffer.len() - self.position < bulk_bytes + 2 {
            return Ok(false);
        }
        self.ranges.push(Range { start: self.position as u32, len: bulk_bytes as u32 });
        self.position += bulk_bytes + 2;
        self.bulk_bytes = None;
        self.missing -= 1;
        Ok(true)
    }

    /// Reads what follows a large argument. False: it is incomplete.
    #[cold]
    fn end_of_large(&mut self, buffer: &[u8]) -> bool {
        if !self.large.is_whole() || buffer.len() - self.position < 2 {
            return false;
        }
        self.large.end();
        self.ranges.push(LARGE);
        self.position += 2;
        self.bulk_bytes = None;
        self.missing -= 1;
        true
    }

    /// Reads a line of words. False: it is incomplete.
    fn inline(&mut self, buffer: &mut [u8]) -> Result<bool, ProtocolError> {
        let Some(line_bytes) = self.line(buffer, b'\n', ProtocolError::InlineTooLong)? else { return Ok(false) };
        let line = &mut buffer[self.position..self.position + line_bytes];
        inline::split(line, self.position, &mut self.ranges).map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.position += line_bytes + 1;
        Ok(true)
    }

    /// Length of the line `*N` or `$N` at `position`, and N, if it is a number. `None`: it is incomplete.
    #[inline(always)]
    fn header(
        &mut self,
        buffer: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<(usize, Option<i64>)>, ProtocolError> {
        let digit = |byte: u8| i64::from(byte - b'0');
        // Nearly every one has at most three digits.
        let (line_bytes, number) = match buffer[self.position..] {
            [_, one @ b'0'..=b'9', b'\r', _, ..] => (2, digit(one)),
            [_, ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', _, ..] => (3, digit(ten) * 10 + digit(one)),
            [_, hundred @ b'1'..=b'9', ten @ b'0'..=b'9', one @ b'0'..=b'9', b'\r', _, ..] => {
                (4, digit(hundred) * 100 + digit(ten) * 10 + digit(one))
            }
            _ => return self.any_header(buffer, too_long),
        };
        self.searched = 0;
        Ok(Some((line_bytes, Some(number))))
    }

    #[inline(never)]
    fn any_header(
        &mut self,
        buffer: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<(usize, Option<i64>)>, ProtocolError> {
        let line_bytes = self.line(buffer, b'\r', too_long)?;
        Ok(line_bytes.map(|line_bytes| {
            let digits = &buffer[self.position + 1..self.position + line_bytes];
            (line_bytes, number::parse_i64(digits))
        }))
    }

    /// Length of the line at `position` up to its `end` byte. `\r` counts only once the byte after it has come.
    fn line(&mut self, buffer: &[u8], end: u8, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let unread = &buffer[self.position..];
        let found = memchr::memchr(end, &unread[self.searched..]).map(|offset| self.searched + offset);
        match found {
            Some(length) if end == b'\n' || length + 1 < unread.len() => {
                self.searched = 0;
                Ok(Some(length))
            }
            Some(length) => {
                self.searched = length;
                Ok(None)
            }
            None if unread.len() > LINE_MAX_BYTES => Err(too_long),
            None => {
                self.searched = unread.len();
                Ok(None)
            }
        }
    }
}

/// What is wrong with a complete request of a client that has not authenticated, if anything is.
pub fn refusal_of_unauthenticated(args: &Args<'_>) -> Option<ProtocolError> {
    if args.len() as i64 > UNAUTHENTICATED_MAX_ARGUMENTS {
        return Some(ProtocolError::UnauthenticatedCount);
    }
    let is_too_long = args.iter_from(0).any(|argument| argument.len() as i64 > UNAUTHENTICATED_MAX_BULK_BYTES);
    is_too_long.then_some(ProtocolError::UnauthenticatedBulkLength)
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::base::chunks::LARGE_BYTES;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { bulk_bytes: 512 << 20, authenticated: true };

    fn parse_all(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut parser, mut buffer, mut commands) = (RequestParser::default(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                let result = parser.advance(&mut buffer, limits, 3);
                for index in 0..parser.commands() {
                    commands.push(parser.command(&buffer, index).iter().map(<[u8]>::to_vec).collect());
                }
                let full = parser.commands() == 3;
                let consumed = parser.consume(3);
                buffer.drain(..consumed);
                if let Err(error) = result {
                    return (commands, Some(error));
                }
                if !full {
                    break;
                }
            }
        }
        (commands, None)
    }

    fn words(commands: &[&[&str]]) -> Vec<Vec<Vec<u8>>> {
        commands.iter().map(|command| command.iter().map(|word| word.as_bytes().to_vec()).collect()).collect()
    }

    fn error(input: &[u8]) -> Option<String> {
        parse_all(&[input], &LIMITS).1.map(|error| error.to_string())
    }

    #[test]
    fn commands_inline_and_empty_requests_in_one_buffer() {
        let input = b"*1\r\n$4\r\nPING\r\n*0\r\n\r\nset k  'a b'\r\n*-1\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n\n";
        assert_eq!(
            parse_all(&[input], &LIMITS),
            (words(&[&["PING"], &[], &[], &["set", "k", "a b"], &[], &["GET", ""], &[]]), None)
        );
    }

    #[test]
    fn errors_are_those_of_redis() {
        assert_eq!(error(b"*x\r\n").unwrap(), "invalid multibulk length");
        assert_eq!(error(b"*2147483648\r\n").unwrap(), "invalid multibulk length");
        assert_eq!(error(b"*1\r\n:1\r\n").unwrap(), "expected '$', got ':'");
        assert_eq!(error(b"*1\r\n$-1\r\n").unwrap(), "invalid bulk length");
        assert_eq!(error(b"*1\r\n$536870913\r\n").unwrap(), "invalid bulk length");
        assert_eq!(error(b"get \"a\r\n").unwrap(), "unbalanced quotes in request");
        assert_eq!(error(&[b'a'; 70_000]).unwrap(), "too big inline request");
        assert_eq!(error(&[b'*'; 70_000]).unwrap(), "too big mbulk count string");
        assert_eq!(error(&[b"*1\r\n".as_slice(), &[b'$'; 70_000]].concat()).unwrap(), "too big bulk count string");
        let unauthenticated = Limits { authenticated: false, ..LIMITS };
        assert_eq!(parse_all(&[b"*11\r\n"], &unauthenticated).1, Some(ProtocolError::UnauthenticatedCount));
        assert_eq!(
            parse_all(&[b"*1\r\n$16385\r\n"], &unauthenticated).1,
            Some(ProtocolError::UnauthenticatedBulkLength)
        );
    }

    #[test]
    fn an_error_stays_the_same_until_the_commands_before_it_are_executed() {
        let mut buffer = b"PING\r\nPING\r\nGET \\'a\r\nPING\r\n".to_vec();
        let mut parser = RequestParser::default();
        for left in [2, 1, 0] {
            assert_eq!(parser.advance(&mut buffer, &LIMITS, 100), Err(ProtocolError::UnbalancedQuotes));
            assert_eq!(parser.commands(), left);
            let consumed = parser.consume(1);
            buffer.drain(..consumed);
        }
    }

    #[test]
    fn lengths_of_any_number_of_digits_are_read_alike() {
        for bytes in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 10_000] {
            let argument = vec![b'x'; bytes];
            let wire = [format!("*1\r\n${bytes}\r\n").as_bytes(), &argument, b"\r\n"].concat();
            for cut in 1..12 {
                let expected = vec![vec![argument.clone()]];
                assert_eq!(
                    parse_all(&[&wire[..cut.min(wire.len())], &wire[cut.min(wire.len())..]], &LIMITS),
                    (expected, None)
                );
            }
        }
        for malformed in ["00", "01", "012", "+1", "1 ", " 1", "1a", "1a1", "a11", ""] {
            assert_eq!(
                error(format!("*1\r\n${malformed}\r\n").as_bytes()).unwrap(),
                "invalid bulk length",
                "{malformed:?}"
            );
            assert_eq!(
                error(format!("*{malformed}\r\n").as_bytes()).unwrap(),
                "invalid multibulk length",
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn announced_lengths_allocate_nothing() {
        let mut parser = RequestParser::default();
        parser.advance(&mut b"*2147483647\r\n$536870912\r\nabc".to_vec(), &LIMITS, 10).unwrap();
        assert!(parser.memory_bytes() < 1024);
        assert_eq!(parser.commands(), 0);
    }

    #[test]
    fn large_arguments_are_received_apart_from_the_buffer() {
        let (large, other) = (vec![b'l'; LARGE_BYTES + 3], vec![b'o'; LARGE_BYTES]);
        let wire = |bytes: &[u8]| [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        let command =
            [b"PING\r\n*5\r\n$4\r\nMSET\r\n$1\r\na\r\n", &wire(&large)[..], &wire(b"b"), &wire(&other)].concat();
        for refuses in [false, true] {
            let (mut parser, mut buffer) = (RequestParser::default(), Vec::new());
            let mut rest = &[&command[..], &command, b"ECHO c\r\n"].concat()[..];
            let mut seen: Vec<Option<Vec<Vec<u8>>>> = Vec::new();
            while !rest.is_empty() {
                let to_vec = |args: Args<'_>| (0..args.len()).map(|index| args.value(index).to_vec()).collect();
                if let Some(incoming) = parser.incoming() {
                    let read = incoming.read(|room| {
                        let count = room.len().min(rest.len()).min(50_001);
                        room[..count].copy_from_slice(&rest[..count]);
                        rest = &rest[count..];
                        Poll::Ready(Ok(count))
                    });
                    assert!(matches!(read, Poll::Ready(Ok(1..))));
                } else {
                    let (now, later) = rest.split_at(rest.len().min(1000));
                    buffer.extend_from_slice(now);
                    rest = later;
                }
                parser.advance(&mut buffer, &LIMITS, 10).unwrap();
                for index in 0..parser.commands() {
                    seen.push(match parser.has_large(index) {
                        true => parser.with_values(&buffer, index, |args| args.map(to_vec)),
                        false => Some(to_vec(parser.command(&buffer, index))),
                    });
                }
                let consumed = parser.consume(10);
                buffer.drain(..consumed);
                let is_large = parser.announced(&buffer, |announced| {
                    let is_large = announced.bytes >= LARGE_BYTES;
                    assert!(!is_large || announced.args.at(0).len() == 4 && announced.args.len().is_multiple_of(2));
                    is_large
                });
                if is_large == Some(true) {
                    parser.begin_large(&mut buffer, refuses);
                }
                assert!(buffer.len() < 1100, "it lies elsewhere");
            }
            let set = [b"MSET".to_vec(), b"a".to_vec(), large.clone(), b"b".to_vec(), other.clone()].to_vec();
            let set = (!refuses).then_some(set);
            let ping = || Some(vec![b"PING".to_vec()]);
            let echo = Some(vec![b"ECHO".to_vec(), b"c".to_vec()]);
            assert!(seen == [ping(), set.clone(), ping(), set, echo]);
            assert!(buffer.is_empty() && parser.large_bytes() == 0);
        }
    }

    #[test]
    fn commands_that_were_not_executed_stay_as_they_were_read() {
        let mut buffer = b"PING\r\nset k \"a b\"\r\n*1\r\n$4\r\nQU".to_vec();
        let mut parser = RequestParser::default();
        parser.advance(&mut buffer, &LIMITS, 10).unwrap();
        assert_eq!(parser.commands(), 2);
        let consumed = parser.consume(1);
        buffer.drain(..consumed);
        buffer.extend(b"IT\r\n");
        parser.advance(&mut buffer, &LIMITS, 10).unwrap();
        let read: Vec<Vec<Vec<u8>>> = (0..parser.commands())
            .map(|index| parser.command(&buffer, index).iter().map(<[u8]>::to_vec).collect())
            .collect();
        assert_eq!(read, words(&[&["set", "k", "a b"], &["QUIT"]]));
        assert_eq!(parser.consume(0), 0);
        assert_eq!(parser.consume(2), buffer.len());
    }

    #[test]
    fn commands_before_an_error_are_kept() {
        let (commands, error) = parse_all(&[b"PING\r\n*1\r\n!"], &LIMITS);
        assert_eq!((commands, error), (words(&[&["PING"]]), None));
        let (commands, error) = parse_all(&[b"PING\r\n*1\r\n!\r\n"], &LIMITS);
        assert_eq!((commands, error), (words(&[&["PING"]]), Some(ProtocolError::ExpectedBulk(b'!'))));
    }

    proptest! {
        #[test]
        fn any_split_reads_the_same(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut wire = Vec::new();
            for command in &commands {
                wire.extend(format!("*{}\r\n", command.len()).bytes());
                for argument in command {
                    wire.extend(format!("${}\r\n", argument.len()).bytes());
                    wire.extend(argument);
                    wire.extend(b"\r\n");
                }
            }
            let mut offsets: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            offsets.extend([0, wire.len()]);
            offsets.sort();
            let pieces: Vec<&[u8]> = offsets.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parse_all(&pieces, &LIMITS), (commands, None));
        }

        #[test]
        fn no_input_panics(pieces in prop::collection::vec(prop::collection::vec(
            prop::sample::select(b"*$\r\n0123-abc\"'\\x ".to_vec()), 0..30), 0..6)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            parse_all(&pieces, &LIMITS);
        }
    }
}

use crate::base::chunks::Chunks;
use crate::base::gather::Gather;
use crate::base::number;
use crate::reply::{Error, Sink};

/// A version of RESP, which a client chooses by HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What every client speaks at first.
    Resp2,
    /// The one with maps, sets and pushes.
    Resp3,
}

/// Appends replies in RESP to a buffer.
pub struct ReplyWriter<'a> {
    output: &'a mut Gather,
    version: Version,
    /// Replies behind the first one.
    further: usize,
}

impl<'a> ReplyWriter<'a> {
    /// Appends the replies to one command to `output`.
    pub fn new(output: &'a mut Gather, version: Version) -> Self {
        ReplyWriter { output, version, further: 0 }
    }

    /// How many replies were begun behind the first one.
    #[inline]
    pub fn further_replies(&self) -> usize {
        self.further
    }

    #[inline]
    fn header(&mut self, kind: u8, number: i64) {
        self.output.bytes().push(kind);
        number::write_i64(self.output.bytes(), number);
        self.output.bytes().extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.output.bytes().push(kind);
        self.output.bytes().extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.output.bytes().extend_from_slice(b"\r\n");
    }

    fn is_resp3(&self) -> bool {
        self.version == Version::Resp3
    }
}

impl Sink for ReplyWriter<'_> {
    #[inline]
    fn ok(&mut self) {
        self.output.bytes().extend_from_slice(b"+OK\r\n");
    }

    fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    #[inline]
    fn bulk(&mut self, bytes: &[u8]) {
        self.output.bytes().reserve(bytes.len() + 24);
        self.header(b'$', bytes.len() as i64);
        self.output.bytes().extend_from_slice(bytes);
        self.output.bytes().extend_from_slice(b"\r\n");
    }

    fn chunks(&mut self, chunks: Chunks) {
        self.header(b'$', chunks.len() as i64);
        self.output.share(chunks);
        self.output.bytes().extend_from_slice(b"\r\n");
    }

    fn null(&mut self) {
        let absent = if self.is_resp3() { &b"_\r\n"[..] } else { &b"$-1\r\n"[..] };
        self.output.bytes().extend_from_slice(absent);
    }

    fn null_array(&mut self) {
        let absent = if self.is_resp3() { &b"_\r\n"[..] } else { &b"*-1\r\n"[..] };
        self.output.bytes().extend_from_slice(absent);
    }

    #[inline]
    fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    fn double(&mut self, value: f64) {
        let digits = number::format_f64(value);
        if self.is_resp3() { self.line(b',', digits.as_bytes()) } else { self.bulk(digits.as_bytes()) }
    }

    fn boolean(&mut self, value: bool) {
        match (self.is_resp3(), value) {
            (true, true) => self.output.bytes().extend_from_slice(b"#t\r\n"),
            (true, false) => self.output.bytes().extend_from_slice(b"#f\r\n"),
            (false, value) => self.integer(i64::from(value)),
        }
    }

    fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.is_resp3() {
            self.header(b'=', (text.len() + format.len() + 1) as i64);
            self.output.bytes().extend_from_slice(format.as_bytes());
            self.output.bytes().push(b':');
            self.output.bytes().extend_from_slice(text);
            self.output.bytes().extend_from_slice(b"\r\n");
        } else {
            self.bulk(text);
        }
    }

    fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    fn map(&mut self, len: usize) {
        if self.is_resp3() { self.header(b'%', len as i64) } else { self.header(b'*', 2 * len as i64) }
    }

    fn set(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'~' } else { b'*' }, len as i64);
    }

    fn push(&mut self, len: usize) {
        self.header(if self.is_resp3() { b'>' } else { b'*' }, len as i64);
    }

    fn error(&mut self, error: &Error) {
        self.line(b'-', error.line());
    }

    fn big_number(&mut self, digits: &str) {
        if self.is_resp3() { self.line(b'(', digits.as_bytes()) } else { self.bulk(digits.as_bytes()) }
    }

    fn attribute(&mut self, len: usize) {
        self.header(b'|', len as i64);
    }

    fn next_reply(&mut self) {
        self.further += 1;
    }

    fn set_resp3(&mut self, resp3: bool) {
        self.version = if resp3 { Version::Resp3 } else { Version::Resp2 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(version: Version, describe: impl Fn(&mut dyn Sink)) -> String {
        let mut output = Gather::default();
        describe(&mut ReplyWriter::new(&mut output, version));
        String::from_utf8(output.to_vec()).unwrap()
    }

    #[test]
    fn shapes_of_both_versions() {
        let everything = |sink: &mut dyn Sink| {
            sink.map(1);
            sink.bulk(b"k");
            sink.double(1.5);
            sink.set(1);
            sink.boolean(true);
            sink.null();
            sink.null_array();
            sink.verbatim("txt", b"hi");
            sink.error(&Error::owned("ERR a\r\nb"));
        };
        assert_eq!(
            wire(Version::Resp2, everything),
            "*2\r\n$1\r\nk\r\n$3\r\n1.5\r\n*1\r\n:1\r\n$-1\r\n*-1\r\n$2\r\nhi\r\n-ERR a  b\r\n"
        );
        assert_eq!(
            wire(Version::Resp3, everything),
            "%1\r\n$1\r\nk\r\n,1.5\r\n~1\r\n#t\r\n_\r\n_\r\n=6\r\ntxt:hi\r\n-ERR a  b\r\n"
        );
    }
}

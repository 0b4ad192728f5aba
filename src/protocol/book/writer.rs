use crate::base::chunks::{BytesRef, Chunks};
use crate::base::gather::Gather;
use crate::base::number;
use crate::reply::{Error, Sink};

/// Appends one response. The protocol has room for a byte string or an error: whatever else a command answers (a
/// status, a count, nothing) is a success without content.
pub struct ReplyWriter<'a> {
    output: &'a mut Gather,
    answered: bool,
}

impl<'a> ReplyWriter<'a> {
    /// Appends the response to one command to `output`.
    pub fn new(output: &'a mut Gather) -> Self {
        ReplyWriter { output, answered: false }
    }

    /// Later elements of the same reply are not written, so that a command has exactly one response.
    #[inline]
    fn respond(&mut self, prefix: &[u8], content: BytesRef<'_>) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let output = self.output.bytes();
        output.reserve(content.slice().map_or(0, <[u8]>::len) + 24);
        output.extend_from_slice(prefix);
        number::write_i64(output, content.len() as i64);
        output.push(b' ');
        self.output.put(content);
    }

    /// What `respond` does with no content.
    #[inline]
    fn success(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.output.bytes().extend_from_slice(b"0 ");
        }
    }
}

impl Sink for ReplyWriter<'_> {
    fn simple(&mut self, _: &str) {
        self.success();
    }
    fn bulk(&mut self, bytes: &[u8]) {
        self.respond(b"", BytesRef::Slice(bytes));
    }
    fn chunks(&mut self, chunks: Chunks) {
        self.respond(b"", BytesRef::Chunks(&chunks));
    }
    fn null(&mut self) {
        self.success();
    }
    fn null_array(&mut self) {
        self.success();
    }
    fn integer(&mut self, _: i64) {
        self.success();
    }
    fn double(&mut self, _: f64) {
        self.success();
    }
    fn boolean(&mut self, _: bool) {
        self.success();
    }
    fn verbatim(&mut self, _: &str, text: &[u8]) {
        self.respond(b"", BytesRef::Slice(text));
    }
    fn array(&mut self, _: usize) {
        self.success();
    }
    fn map(&mut self, _: usize) {
        self.success();
    }
    fn set(&mut self, _: usize) {
        self.success();
    }
    fn push(&mut self, _: usize) {
        self.success();
    }
    fn error(&mut self, error: &Error) {
        self.respond(b"-", BytesRef::Slice(error.line()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(describe: impl Fn(&mut dyn Sink)) -> Vec<u8> {
        let mut output = Gather::default();
        describe(&mut ReplyWriter::new(&mut output));
        output.to_vec()
    }

    #[test]
    fn each_reply_is_one_response() {
        assert_eq!(wire(|sink| sink.bulk(b"a\r\n\x00")), b"4 a\r\n\x00");
        assert_eq!(wire(|sink| sink.bulk(b"")), b"0 ");
        assert_eq!(wire(|sink| sink.null()), b"0 ");
        assert_eq!(wire(|sink| sink.ok()), b"0 ");
        assert_eq!(wire(|sink| sink.integer(17)), b"0 ");
        assert_eq!(wire(|sink| sink.error(&Error::SYNTAX)), b"-16 ERR syntax error");
        let array = |sink: &mut dyn Sink| {
            sink.array(1);
            sink.bulk(b"element");
        };
        assert_eq!(wire(array), b"0 ");
    }
}

use std::borrow::Cow;
use std::fmt;

/// An error reply: the whole line as it goes over the wire, code word first, without the leading `-`.
///
/// It holds bytes, not text, because Redis quotes the client's arguments in some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

impl Error {
    /// The key holds a value of another type than the command works on.
    pub const WRONG_TYPE: Error = Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// An argument or a value is no 64-bit integer.
    pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
    /// An argument or a value is no number.
    pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
    /// The arguments make no sense together.
    pub const SYNTAX: Error = Error::new("ERR syntax error");
    /// The command needs a key that exists.
    pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
    /// There is no room for what the command may need.
    pub const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");
    /// There is no database of that number.
    pub const DB_INDEX_OUT_OF_RANGE: Error = Error::new("ERR DB index is out of range");
    /// The client has to give the password first.
    pub const NO_AUTH: Error = Error::new("NOAUTH Authentication required.");
    /// Of what may be long, as much is quoted as Redis quotes.
    pub const QUOTED_MAX_BYTES: usize = 128;

    /// Creates an error from its line, code word first, in which there is no line end.
    pub const fn new(line: &'static str) -> Self {
        Error(Cow::Borrowed(line.as_bytes()))
    }

    /// `line` may contain the client's bytes. As in Redis, line ends behind it are left out and those within become
    /// spaces, whatever protocol sends it.
    pub fn owned(line: impl Into<Vec<u8>>) -> Self {
        let mut line = line.into();
        let text_bytes = line.iter().rposition(|byte| !is_line_end(*byte)).map_or(0, |last| last + 1);
        line.truncate(text_bytes);
        Error::verbatim(line)
    }

    /// An error that quotes the client's words, up to a NUL byte as C does.
    pub fn quoting(before: &str, words: &[u8], after: &str) -> Self {
        let words = words.split(|byte| *byte == 0).next().unwrap_or_default();
        Error::owned([before.as_bytes(), words, after.as_bytes()].concat())
    }

    /// The same with the beginning of what may be long.
    pub fn quoting_start(before: &str, words: &[u8], after: &str) -> Self {
        Error::quoting(before, &words[..words.len().min(Error::QUOTED_MAX_BYTES)], after)
    }

    /// A line that is the client's own (DEBUG ERROR): each line end in it becomes a space.
    pub fn verbatim(line: impl Into<Vec<u8>>) -> Self {
        let mut line = line.into();
        line.iter_mut().filter(|byte| is_line_end(**byte)).for_each(|byte| *byte = b' ');
        Error(Cow::Owned(line))
    }

    /// The whole line, for example `ERR syntax error`.
    pub fn line(&self) -> &[u8] {
        &self.0
    }

    /// The code word: `ERR`, `WRONGTYPE`, `OOM`, …
    pub fn code(&self) -> &[u8] {
        self.0.split(|byte| *byte == b' ').next().unwrap_or_default()
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(Error::owned("ERR a\r\nb\n\r\n").line(), b"ERR a  b");
        assert_eq!(Error::owned("\r\n").line(), b"");
        assert_eq!(Error::quoting("ERR no '", b"\na\r\0b", "'").line(), b"ERR no ' a '");
        assert_eq!(Error::quoting("ERR no ", b" a \r\n", "").line(), b"ERR no  a ");
        assert_eq!(Error::verbatim(&b"\xff\r\n"[..]).line(), b"\xff  ");
    }
}

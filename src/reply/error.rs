use std::borrow::Cow;
use std::fmt;

/// An error reply: the whole line as it goes over the wire, code word first, without the leading `-`.
///
/// It holds bytes, not text, because Redis quotes the client's arguments in some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

impl Error {
    pub const WRONG_TYPE: Error = Error::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const NOT_AN_INTEGER: Error = Error::new("ERR value is not an integer or out of range");
    pub const NOT_A_FLOAT: Error = Error::new("ERR value is not a valid float");
    pub const SYNTAX: Error = Error::new("ERR syntax error");
    pub const NO_SUCH_KEY: Error = Error::new("ERR no such key");
    pub const OUT_OF_MEMORY: Error = Error::new("OOM command not allowed when used memory > 'maxmemory'.");
    pub const DB_INDEX_OUT_OF_RANGE: Error = Error::new("ERR DB index is out of range");
    pub const NO_AUTH: Error = Error::new("NOAUTH Authentication required.");
    /// Never sent: the command has done nothing yet and runs again once its keys are loaded.
    pub const COLD: Error = Error::new("COLD keys of the command are being loaded");

    /// Never sent: the command runs again in a moment.
    pub const STALLED: Error = Error::new("STALLED the command has to wait");

    pub const fn new(line: &'static str) -> Self {
        Error(Cow::Borrowed(line.as_bytes()))
    }

    /// `line` may contain the client's bytes; line ends in it become spaces when it is sent.
    pub fn owned(line: impl Into<Vec<u8>>) -> Self {
        Error(Cow::Owned(line.into()))
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

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for Error {}

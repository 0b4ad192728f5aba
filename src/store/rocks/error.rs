use std::fmt;

/// What kind of trouble the disk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    NoSpace,
    Io,
    Corruption,
    Locked,
    Missing,
    Other,
}

/// Why RocksDB did not do something: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksError {
    pub kind: Kind,
    message: String,
}

impl RocksError {
    pub fn corruption(message: String) -> RocksError {
        RocksError { kind: Kind::Corruption, message }
    }

    /// Of a failpoint.
    #[cfg_attr(not(feature = "failpoints"), allow(dead_code, reason = "failpoints are compiled out"))]
    pub(super) fn injected(what: &str) -> RocksError {
        RocksError { kind: Kind::Io, message: format!("IO error: injected into {what}") }
    }
}

impl fmt::Display for RocksError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for RocksError {}

impl From<rocksdb::Error> for RocksError {
    fn from(error: rocksdb::Error) -> RocksError {
        let message = error.to_string().replace(['\r', '\n'], " ");
        let has = |part: &str| message.contains(part);
        let kind = match error.kind() {
            rocksdb::ErrorKind::IOError if has("No space left") || has("no space") => Kind::NoSpace,
            rocksdb::ErrorKind::IOError if has("lock") => Kind::Locked,
            rocksdb::ErrorKind::IOError if has("No such file") => Kind::Missing,
            rocksdb::ErrorKind::IOError => Kind::Io,
            rocksdb::ErrorKind::Corruption => Kind::Corruption,
            rocksdb::ErrorKind::InvalidArgument if has("does not exist") => Kind::Missing,
            _ => Kind::Other,
        };
        RocksError { kind, message }
    }
}

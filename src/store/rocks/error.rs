//! What can go wrong in RocksDB, by what can be done about it.

use rocksdb::ErrorKind;

/// What can be done about an error depends on this alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RocksErrorKind {
    /// The file system, a quota or a limit is full: wait for room.
    NoSpace,
    /// The device or the file system failed.
    Io,
    /// Bytes on disk are not those that were written.
    Corruption,
    /// Another process has the directory open.
    Locked,
    /// A later program wrote the files.
    NewerFormat,
    /// There is no database, or a file of it is gone.
    Missing,
    /// Flushes and compactions have to catch up before more can be written.
    Stalled,
    /// Anything else: trying again may help.
    Other,
}

/// An error with RocksDB's words, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RocksError {
    /// What can be done about it.
    pub kind: RocksErrorKind,
    /// What happened, on one line.
    pub message: String,
}

impl RocksError {
    pub(super) fn new(kind: RocksErrorKind, message: impl Into<String>) -> RocksError {
        RocksError { kind, message: message.into() }
    }

    /// The error of bytes that no encoder of ours wrote.
    pub fn corruption(message: String) -> RocksError {
        RocksError { kind: RocksErrorKind::Corruption, message }
    }

    /// Something was not even tried, since the disk has failed.
    pub fn not_tried(failure: String) -> RocksError {
        RocksError { kind: RocksErrorKind::Io, message: failure }
    }

    /// Bytes that RocksDB gave back whole, but that no encoder of ours wrote.
    pub(super) fn damaged(what: &str, key: &[u8]) -> RocksError {
        RocksError::corruption(format!("{what} {} is damaged", key.escape_ascii()))
    }

    /// What a failpoint returns: its argument is RocksDB's message, "no space" where there is none.
    #[cfg(feature = "failpoints")]
    pub(super) fn injected(argument: Option<String>) -> RocksError {
        RocksError::told(argument.unwrap_or_else(|| "IO error: No space left on device".to_owned()))
    }

    /// What RocksDB itself says, whose first words are the status code.
    pub(super) fn told(message: String) -> RocksError {
        let reason = match message.split(':').next() {
            Some("Corruption") => ErrorKind::Corruption,
            Some("IO error") => ErrorKind::IOError,
            _ => ErrorKind::Unknown,
        };
        let message = message.replace(['\n', '\r'], " ");
        RocksError { kind: kind(reason, &message), message }
    }
}

impl From<rocksdb::Error> for RocksError {
    fn from(error: rocksdb::Error) -> RocksError {
        let reason = error.kind();
        let message = error.into_string().replace(['\n', '\r'], " ");
        RocksError { kind: kind(reason, &message), message }
    }
}

impl From<std::io::Error> for RocksError {
    /// In RocksDB's words, so that both are told apart in the same way.
    fn from(error: std::io::Error) -> RocksError {
        let message = format!("IO error: {error}");
        RocksError { kind: kind(ErrorKind::IOError, &message), message }
    }
}

/// The crate hands on the status code by its text alone; what lies below the code is in the rest of the message.
fn kind(reason: ErrorKind, message: &str) -> RocksErrorKind {
    let says = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if says(&["No space left", "Space limit reached", "Max allowed space was reached", "Disk quota exceeded"]) {
        return RocksErrorKind::NoSpace;
    }
    match reason {
        ErrorKind::IOError if says(&["lock hold by current process", "/LOCK: "]) => RocksErrorKind::Locked,
        ErrorKind::IOError if says(&["No such file or directory"]) => RocksErrorKind::Missing,
        ErrorKind::IOError => RocksErrorKind::Io,
        ErrorKind::InvalidArgument
            if says(&["does not exist (create_if_missing is false)", "Column family not found"]) =>
        {
            RocksErrorKind::Missing
        }
        ErrorKind::InvalidArgument if says(&["Column families not opened"]) => RocksErrorKind::NewerFormat,
        ErrorKind::NotSupported => RocksErrorKind::NewerFormat,
        ErrorKind::Incomplete if says(&["stall"]) => RocksErrorKind::Stalled,
        ErrorKind::Corruption if says(&["unknown checksum type", "format_version", "Unknown Footer version"]) => {
            RocksErrorKind::NewerFormat
        }
        // A file that the manifest names is not there, or shorter than it says.
        ErrorKind::Corruption if says(&["No such file or directory"]) => RocksErrorKind::Missing,
        ErrorKind::Corruption => RocksErrorKind::Corruption,
        _ => RocksErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_from_code_and_text() {
        use ErrorKind as E;
        use RocksErrorKind as K;
        for (code, message, expected) in [
            (E::IOError, "IO error: No space left on device: While appending to file: /x/1.log", K::NoSpace),
            (E::IOError, "IO error: While fsync: /x/1.log: Input/output error", K::Io),
            (E::IOError, "IO error: While lock file: /x/LOCK: Resource temporarily unavailable", K::Locked),
            (E::IOError, "IO error: lock hold by current process, acquire time 1", K::Locked),
            (E::IOError, "IO error: No such file or directory: While open a file: /x/CURRENT", K::Missing),
            (E::InvalidArgument, "Invalid argument: /x: does not exist (create_if_missing is false)", K::Missing),
            (E::InvalidArgument, "Invalid argument: Column families not opened: more", K::NewerFormat),
            (E::InvalidArgument, "Invalid argument: Column family not found: elements", K::Missing),
            (E::InvalidArgument, "Invalid argument: else", K::Other),
            (E::Corruption, "Corruption: block checksum mismatch", K::Corruption),
            (E::Corruption, "Corruption: Can't access /1.sst: IO error: No such file or directory", K::Missing),
            (E::Incomplete, "Result incomplete: Write stall", K::Stalled),
            (E::ShutdownInProgress, "Shutdown in progress: ", K::Other),
        ] {
            assert_eq!(kind(code, message), expected, "{message}");
        }
    }
}

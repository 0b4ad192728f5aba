//! What commands of strings share: looking at a value, and answering with it.

use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::command::state::State;
use crate::keyspace::entry::Entry;
use crate::protocol::Args;
use crate::reply::{Error, Sink};
use crate::types::string::StringError;

/// The bytes of an entry that must be a string.
#[inline]
pub fn string_of(entry: &Entry) -> Result<BytesRef<'_>, Error> {
    entry.string().ok_or(Error::WRONG_TYPE)
}

/// Answers a string: a large one by reference.
#[inline]
pub fn reply_bytes(reply: &mut dyn Sink, bytes: BytesRef<'_>) {
    match bytes {
        BytesRef::Slice(bytes) => reply.bulk(bytes),
        BytesRef::Chunks(chunks) => reply.chunks(chunks.clone()),
    }
}

/// Refuses a value larger than `maxmemory`: no eviction would make room for it.
pub fn check_fits(state: &State, args: &Args<'_>, bytes: usize) -> Result<(), Error> {
    let fits = || state.keyspace.can_hold(bytes, args.total_bytes());
    if bytes < LARGE_BYTES || fits() { Ok(()) } else { Err(Error::OUT_OF_MEMORY) }
}

/// Whether `option` is `name`, in any case.
pub fn is_option(option: &[u8], name: &str) -> bool {
    option.eq_ignore_ascii_case(name.as_bytes())
}

/// The error reply for an operation that was refused.
pub fn refusal(error: StringError) -> Error {
    Error::owned(format!("ERR {error}"))
}

//! How large buffers are made, and how large they are kept.

use crate::base::gather::Gather;

/// Read at once, in bytes.
pub const READ_BYTES: usize = 64 * 1024;
/// A connection's own buffers that grew past this are given back once they are empty.
pub const KEPT_BYTES: usize = 16 * 1024;
/// A worker's that grew past this is given back.
const WORKER_KEPT_BYTES: usize = 1024 * 1024;

/// Gives a worker's buffer back whose content has been sent, and that has become very large.
pub fn bound(buffer: &mut Gather) {
    if buffer.capacity() > WORKER_KEPT_BYTES {
        *buffer = Gather::default();
    }
}

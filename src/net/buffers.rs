//! A worker's buffers. Connections use them while they are being polled, so that an idle one holds no memory, and all of them
//! work in the same warm cache lines.

use crate::base::gather::Gather;

/// Read at once, in bytes.
pub const READ_BYTES: usize = 64 * 1024;
/// A connection's own buffers that grew past this are given back once they are empty.
pub const KEPT_BYTES: usize = 16 * 1024;
/// A worker's that grew past this is given back.
const WORKER_KEPT_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub struct Buffers {
    pub input: Vec<u8>,
    pub output: Gather,
}

impl Buffers {
    /// Gives a buffer back whose content has been sent, and that has become very large.
    pub fn bound(buffer: &mut Gather) {
        if buffer.capacity() > WORKER_KEPT_BYTES {
            *buffer = Gather::default();
        }
    }
}

//! A worker's buffers. Connections use them while they are being polled, so that an idle one holds no memory, and all of them
//! work in the same warm cache lines.

use crate::base::gather::Gather;

/// One that grew past this is given back.
const KEPT_BYTES: usize = 1024 * 1024;

#[derive(Default)]
pub struct Buffers {
    pub input: Vec<u8>,
    pub output: Gather,
}

impl Buffers {
    /// Gives a buffer back whose content has been sent, and that has become very large.
    pub fn bound(buffer: &mut Gather) {
        if buffer.capacity() > KEPT_BYTES {
            *buffer = Gather::default();
        }
    }
}

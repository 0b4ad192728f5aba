//! What a connection is to send and its socket has not taken yet.

use std::io;
use std::task::Poll;

use super::buffers::{KEPT_BYTES, READ_BYTES};
use super::transport::Transport;
use crate::base::gather::Gather;

/// A connection's output, and how much of it is sent.
#[derive(Default)]
pub struct Outgoing {
    buffer: Gather,
    /// So many bytes of the buffer are sent.
    sent: usize,
}

impl Outgoing {
    /// What it is appended to.
    #[inline]
    pub fn buffer(&mut self) -> &mut Gather {
        &mut self.buffer
    }

    /// How many bytes are to be sent.
    #[inline]
    pub fn unsent_bytes(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// Whether nothing is to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.unsent_bytes() == 0
    }

    /// What it holds in memory, in bytes.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Writes once, at most `most_bytes`. Pending: the socket takes nothing.
    pub fn write(&mut self, stream: &mut dyn Transport, most_bytes: usize) -> Poll<io::Result<usize>> {
        let polled = match self.buffer.plain() {
            Some(bytes) => stream.write(&bytes[self.sent..bytes.len().min(self.sent + most_bytes)]),
            None => stream.write_vectored(&self.buffer.slices(self.sent, most_bytes)),
        };
        if let Poll::Ready(Ok(count)) = polled {
            self.sent += count;
        }
        polled
    }

    /// Forgets all of it; a large buffer is given back.
    pub fn clear(&mut self) {
        self.sent = 0;
        self.buffer.clear();
        if self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Gather::default();
        }
    }

    /// A client that reads slowly and is sent more and more holds memory only for what it has not got yet. Moving at
    /// most half of the buffer makes the cost a constant for each byte sent.
    pub fn forget_sent(&mut self) {
        if self.sent > READ_BYTES && self.sent >= self.buffer.len() / 2 {
            self.buffer.drop_front(self.sent);
            self.sent = 0;
        }
    }
}

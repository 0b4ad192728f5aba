//! Arguments that are received apart from the input buffer: into what becomes the value.

use std::collections::VecDeque;
use std::io;
use std::task::Poll;

use super::Args;
use crate::base::chunks::{BytesRef, CHUNK_BYTES, Chunks};

/// An argument whose length is known, and that has not come as a whole.
pub struct Announced<'a> {
    /// Those before it, the command's name first.
    pub args: Args<'a>,
    /// Its length.
    pub bytes: usize,
    /// What was received beside it, in bytes.
    pub others_bytes: usize,
}

/// A large argument on its way.
pub struct Incoming {
    /// `None`: it was refused, and what comes of it is dropped.
    chunks: Option<Chunks>,
    missing: usize,
}

impl Incoming {
    /// Whether nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Adds the next bytes, which must be no more than are missing.
    fn take(&mut self, bytes: &[u8]) {
        self.missing -= bytes.len();
        if let Some(chunks) = &mut self.chunks {
            chunks.append(BytesRef::Slice(bytes));
        }
    }

    /// Has `read` give the next bytes. Returns what it returns: how many.
    pub fn read(&mut self, read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let polled = match &mut self.chunks {
            Some(chunks) => chunks.read_more(self.missing, read),
            None => read(&mut vec![0; self.missing.min(CHUNK_BYTES)]),
        };
        if let Poll::Ready(Ok(count)) = polled {
            self.missing -= count;
        }
        polled
    }
}

/// The large arguments of a connection's commands.
#[derive(Default)]
pub struct LargeArguments {
    /// Of the complete commands, then of the pending one, in order; `None`: it was refused.
    received: VecDeque<Option<Chunks>>,
    incoming: Option<Incoming>,
}

impl LargeArguments {
    /// The next argument has so many bytes, of which `come` are the first.
    pub fn begin(&mut self, bytes: usize, come: &[u8], refused: bool) {
        let mut incoming = Incoming { chunks: (!refused).then(Chunks::default), missing: bytes };
        incoming.take(come);
        self.incoming = Some(incoming);
    }

    /// The one on its way, as long as some of it is missing.
    pub fn incoming(&mut self) -> Option<&mut Incoming> {
        self.incoming.as_mut().filter(|incoming| !incoming.is_whole())
    }

    /// Whether the pending argument is one of these.
    #[inline]
    pub fn has_incoming(&self) -> bool {
        self.incoming.is_some()
    }

    /// Whether the one on its way has come as a whole.
    pub fn is_whole(&self) -> bool {
        self.incoming.as_ref().is_some_and(Incoming::is_whole)
    }

    /// It has, and belongs to its command now.
    pub fn end(&mut self) {
        self.received.extend(self.incoming.take().map(|incoming| incoming.chunks));
    }

    /// Whether none has come as a whole.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// Those that have come as a whole, without the first ones.
    pub fn after(&self, first: usize) -> impl Iterator<Item = Option<&Chunks>> {
        self.received.iter().skip(first).map(Option::as_ref)
    }

    /// Forgets the first ones.
    pub fn forget(&mut self, count: usize) {
        self.received.drain(..count);
    }

    /// What they hold, in bytes.
    pub fn bytes(&self) -> usize {
        let incoming = self.incoming.iter().map(|incoming| &incoming.chunks);
        self.received.iter().chain(incoming).flatten().map(Chunks::len).sum()
    }
}

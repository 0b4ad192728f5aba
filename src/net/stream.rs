//! A client's socket, and what it is ready for.
//!
//! The kernel is called without the C library: there each call is a point where a thread may be cancelled, and what it does
//! for that is a hundredth of what a command costs that comes alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::sockets::Readiness;

/// A connected socket that does not block. What it becomes ready for is told by the [`Sockets`](super::sockets::Sockets)
/// of its worker.
pub struct Stream {
    socket: OwnedFd,
    ready: Readiness,
}

impl Stream {
    pub fn new(socket: OwnedFd) -> Stream {
        Stream { socket, ready: Readiness::default() }
    }

    /// Notes what it has become ready for.
    #[inline]
    pub fn became(&mut self, ready: Readiness) {
        self.ready.read |= ready.read;
        self.ready.write |= ready.write;
    }

    /// Reads what has come in, at most as much as `buffer` takes. Pending: nothing has.
    pub fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.ready.read {
            return Poll::Pending;
        }
        let room = buffer.len();
        let received = recv(&self.socket, buffer, RecvFlags::empty()).map(|(count, _)| count);
        settle(received, room, &mut self.ready.read)
    }

    /// Writes as much of `bytes` as the socket takes. Pending: that is nothing.
    pub fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.ready.write {
            return Poll::Pending;
        }
        settle(send(&self.socket, bytes, SendFlags::NOSIGNAL), bytes.len(), &mut self.ready.write)
    }

    /// Writes the beginning of `bytes` that the socket takes at once, as the last that is sent.
    pub fn write_last(mut self, bytes: &[u8]) {
        self.ready.write = true;
        // Its client may have gone already.
        let _ = self.write(bytes);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What has come of reading or writing at most `most` bytes. When it was less, the socket has nothing left or takes nothing
/// more, and need not be asked: it will be told when that changes.
#[inline]
fn settle(result: Result<usize, Errno>, most: usize, is_ready: &mut bool) -> Poll<io::Result<usize>> {
    match result {
        Ok(count) => {
            // The end of the stream stays one.
            *is_ready = count == most || count == 0;
            Poll::Ready(Ok(count))
        }
        Err(Errno::AGAIN) => {
            *is_ready = false;
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

//! A connection's bytes, both ways, and what can be read and written of them at the moment.
//!
//! The kernel is called without the C library: there each call is a point where a thread may be cancelled, and what it does
//! for that is a hundredth of what a command costs that comes alone.

use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Poll;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

use super::sockets::Readiness;
use crate::command::clients::SocketPermit;

/// What carries a connection's bytes: a socket, or a layer over one, whose readiness is another than the socket's. It may hold
/// bytes that can be read although the socket has none, need a socket that takes bytes in order to read, and keep bytes that it
/// was given to write. Nothing here blocks, and nothing is awaited: who goes on once the socket has become ready asks again.
pub trait Transport: Send {
    /// The socket, for the selector.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Notes what the socket has become ready for.
    fn set_ready(&mut self, ready: Readiness);

    /// Has the next read and write ask the kernel, whatever it was told of.
    fn look_again(&mut self);

    /// Whether the other side is known to send nothing more; what it sent before may be unread.
    fn is_closed(&self) -> bool;

    /// Whether a read may bring something, or go on with something, without further news of the socket.
    fn is_readable(&self) -> bool;

    /// Reads what has come in, at most as much as `buffer` takes. Pending: nothing has.
    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes as much of `bytes` as it has room for. Pending: that is nothing.
    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Takes bytes of several slices, one behind the other.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Whether bytes that it has taken are not in the socket.
    fn has_unsent(&self) -> bool;

    /// Brings them there. Pending: not all of them are.
    fn flush(&mut self) -> Poll<io::Result<()>>;
}

/// A connected socket that does not block. What it becomes ready for is told by the [`Sockets`](super::sockets::Sockets)
/// of its worker.
struct Socket {
    socket: OwnedFd,
    ready: Readiness,
}

impl Transport for Socket {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    #[inline]
    fn set_ready(&mut self, ready: Readiness) {
        self.ready.read |= ready.read;
        self.ready.write |= ready.write;
        self.ready.closed |= ready.closed;
    }

    fn look_again(&mut self) {
        self.ready.read = true;
        self.ready.write = true;
    }

    fn is_closed(&self) -> bool {
        self.ready.closed
    }

    #[inline]
    fn is_readable(&self) -> bool {
        self.ready.read
    }

    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.ready.read {
            return Poll::Pending;
        }
        let room = buffer.len();
        let received = recv(&self.socket, buffer, RecvFlags::empty()).map(|(count, _)| count);
        // The end comes behind the last bytes, and was told together with them.
        update_readiness(received, room, self.ready.closed, &mut self.ready.read)
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.ready.write {
            return Poll::Pending;
        }
        update_readiness(send(&self.socket, bytes, SendFlags::NOSIGNAL), bytes.len(), false, &mut self.ready.write)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if !self.ready.write {
            return Poll::Pending;
        }
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        let sent = sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
        update_readiness(sent, bytes, false, &mut self.ready.write)
    }

    #[inline]
    fn has_unsent(&self) -> bool {
        false
    }

    #[inline]
    fn flush(&mut self) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The transport of a client's connection, and its permit among those of the limit.
pub struct Stream {
    // Dropped in this order: the permit is free once the socket is closed.
    carrier: Carrier,
    _permit: Option<SocketPermit>,
}

/// The transports that there are. A call to the one of nearly every connection is a direct one, since it is known here.
enum Carrier {
    Socket(Socket),
    #[cfg(test)]
    Layered(Box<dyn Transport>),
}

impl Stream {
    /// Creates a stream over a socket that is not counted among those of clients.
    pub fn new(socket: OwnedFd) -> Stream {
        Stream { carrier: Carrier::Socket(Socket { socket, ready: Readiness::default() }), _permit: None }
    }

    /// Creates a stream over a client's socket.
    pub fn with_permit(socket: OwnedFd, permit: SocketPermit) -> Stream {
        Stream { _permit: Some(permit), ..Stream::new(socket) }
    }

    /// Creates a stream over any transport.
    #[cfg(test)]
    pub fn over(transport: impl Transport + 'static) -> Stream {
        Stream { carrier: Carrier::Layered(Box::new(transport)), _permit: None }
    }

    /// Writes the beginning of `bytes` that the transport takes at once, as the last that is sent.
    pub fn write_last(mut self, bytes: &[u8]) {
        self.look_again();
        // Its client may have gone already.
        let _ = self.write(bytes);
        let _ = self.flush();
    }
}

impl Deref for Stream {
    type Target = dyn Transport;

    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        match &self.carrier {
            Carrier::Socket(socket) => socket,
            #[cfg(test)]
            Carrier::Layered(transport) => &**transport,
        }
    }
}

impl DerefMut for Stream {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket,
            #[cfg(test)]
            Carrier::Layered(transport) => &mut **transport,
        }
    }
}

/// What has come of reading or writing at most `most` bytes. When it was less, the socket has nothing left or takes nothing
/// more, and need not be asked: it will be told when that changes, unless its end `is_told`.
#[inline]
fn update_readiness(
    result: Result<usize, Errno>,
    most: usize,
    is_told: bool,
    is_ready: &mut bool,
) -> Poll<io::Result<usize>> {
    match result {
        Ok(count) => {
            // The end of the stream stays one.
            *is_ready = count == most || count == 0 || is_told;
            Poll::Ready(Ok(count))
        }
        Err(Errno::AGAIN) => {
            *is_ready = false;
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    const READABLE: Readiness = Readiness { read: true, write: false, closed: false };
    const WRITABLE: Readiness = Readiness { read: false, write: true, closed: false };
    const CLOSED: Readiness = Readiness { closed: true, ..READABLE };

    fn pair() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("a socket");
        (Stream::new(ours.into()), theirs)
    }

    /// How many bytes were read; `None`: there is nothing to read.
    fn read(stream: &mut Stream, most: usize) -> Option<usize> {
        match stream.read(&mut vec![0; most]) {
            Poll::Ready(result) => Some(result.expect("a whole connection")),
            Poll::Pending => None,
        }
    }

    #[test]
    fn reads_what_it_was_told_of_and_not_once_too_often() {
        let (mut stream, mut other) = pair();
        other.write_all(b"twelve bytes").expect("room");
        assert_eq!(read(&mut stream, 8), None, "nobody has told it");
        stream.set_ready(READABLE);
        assert_eq!(read(&mut stream, 8), Some(8));
        assert_eq!(read(&mut stream, 8), Some(4), "there may be more behind what was asked for");
        other.write_all(b"more").expect("room");
        assert_eq!(read(&mut stream, 8), None, "less came than was asked for: it will be told of more");
        stream.set_ready(WRITABLE);
        assert_eq!(read(&mut stream, 8), None);
        stream.set_ready(READABLE);
        assert_eq!(read(&mut stream, 4), Some(4));
        assert_eq!(read(&mut stream, 4), None, "the kernel was asked, and had nothing");
        drop(other);
        stream.set_ready(READABLE);
        assert_eq!((read(&mut stream, 4), read(&mut stream, 4)), (Some(0), Some(0)), "the end stays");
    }

    #[test]
    fn an_end_that_is_told_together_with_the_last_bytes_is_read() {
        let (mut stream, mut other) = pair();
        other.write_all(b"twelve bytes").expect("room");
        drop(other);
        stream.set_ready(CLOSED);
        assert_eq!((read(&mut stream, 8), read(&mut stream, 8)), (Some(8), Some(4)));
        assert_eq!((read(&mut stream, 8), read(&mut stream, 8)), (Some(0), Some(0)), "and it stays");
    }

    #[test]
    fn writes_until_it_is_full_and_goes_on_when_it_is_told() {
        let (mut stream, mut other) = pair();
        let bytes: Vec<u8> = (0..4_000_000_u32).map(|number| (number / 7) as u8).collect();
        assert!(stream.write(&bytes).is_pending(), "nobody has told it");
        let mut received = Vec::new();
        let mut sent = 0;
        while sent < bytes.len() {
            stream.set_ready(WRITABLE);
            while let Poll::Ready(result) = stream.write(&bytes[sent..]) {
                sent += result.expect("a whole connection");
                if sent == bytes.len() {
                    break;
                }
            }
            let mut buffer = vec![0; sent - received.len()];
            other.read_exact(&mut buffer).expect("what was sent");
            received.extend(buffer);
        }
        assert!(received == bytes);
        drop(other);
        stream.set_ready(WRITABLE);
        assert!(matches!(stream.write(&bytes), Poll::Ready(Err(_))), "and no signal ends the process");
    }
}

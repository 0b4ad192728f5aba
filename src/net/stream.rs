//! A connection's transport: the one module that knows which there are.

use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;

use super::sockets::Socket;
use super::transport::Transport;
use crate::command::clients::SocketPermit;

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
        Stream { carrier: Carrier::Socket(Socket::new(socket)), _permit: None }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::task::Poll;

    use crate::net::transport::Readiness;

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

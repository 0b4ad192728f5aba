//! A worker's sockets: which of them have become ready, and what they carry.
//!
//! They have a selector of their own, which the worker's runtime watches as if it were one socket. Asked once a cycle, it
//! tells of all of them: nothing is locked, woken or registered anew for each, as it is for a socket that the runtime itself
//! watches. With one command in flight on each of 50 connections that was an eighth of the time outside of the kernel.
//!
//! The kernel is called without the C library: there each call is a point where a thread may be cancelled, and what it does
//! for that is a hundredth of what a command costs that comes alone.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll as Selector, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::Interest as Watched;
use tokio::io::unix::AsyncFd;

use super::transport::{Readiness, Transport};

/// How many sockets are told of at a time; the others follow at once.
const EVENTS: usize = 1024;

/// The sockets of one worker, each known by a token.
pub struct Sockets {
    selector: AsyncFd<Selector>,
    events: Events,
}

impl Sockets {
    /// Watched by the runtime that has been entered.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> io::Result<Sockets> {
        // SAFETY: a selector owns its descriptor, always the same one, and closes it when it is dropped: that is with the
        // `AsyncFd`, as nothing here takes it out.
        let selector = unsafe { AsyncFd::register_with_interest(Selector::new()?, Watched::READABLE)? };
        Ok(Sockets { selector, events: Events::with_capacity(EVENTS) })
    }

    /// From now on tells when `socket` becomes ready, what it is ready for already included, until it is closed or removed.
    ///
    /// # Errors
    /// When the system watches no more sockets.
    pub fn add(&self, socket: impl AsFd, token: usize) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        let registry = self.selector.get_ref().registry();
        registry.register(&mut SourceFd(&descriptor), Token(token), Interest::READABLE | Interest::WRITABLE)
    }

    /// # Errors
    /// When it was not added.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        self.selector.get_ref().registry().deregister(&mut SourceFd(&socket.as_fd().as_raw_fd()))
    }

    /// Tells `tell` each token whose socket has become ready since the last time, and for what: one that was left by its
    /// connection meanwhile may be among them. Returns whether there were any; if not, the task is woken when there are.
    pub fn poll(&mut self, task: &mut Context<'_>, mut tell: impl FnMut(usize, Readiness)) -> io::Result<bool> {
        loop {
            let Poll::Ready(ready) = self.selector.poll_read_ready_mut(task) else { return Ok(false) };
            let mut ready = ready?;
            match ready.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            if !self.events.is_empty() {
                break;
            }
            ready.clear_ready();
        }
        for event in &self.events {
            tell(event.token().0, readiness(event));
        }
        Ok(true)
    }
}

#[inline]
fn readiness(event: &Event) -> Readiness {
    let closed = event.is_read_closed() || event.is_error();
    Readiness {
        read: event.is_readable() || closed,
        write: event.is_writable() || event.is_write_closed() || event.is_error(),
        closed,
    }
}

/// A connected socket that does not block. What it becomes ready for is told by the [`Sockets`] of its worker.
pub struct Socket {
    socket: OwnedFd,
    ready: Readiness,
}

impl Socket {
    /// Takes a socket of which nothing has been told.
    pub fn new(socket: OwnedFd) -> Socket {
        Socket { socket, ready: Readiness::default() }
    }
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
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// The tokens it tells of next, and whether they can be read.
    async fn told(sockets: &mut Sockets) -> Vec<(usize, bool)> {
        let next = poll_fn(|context| {
            let mut told = Vec::new();
            match sockets.poll(context, |token, ready| told.push((token, ready.read))) {
                Ok(true) => Poll::Ready(told),
                Ok(false) => Poll::Pending,
                Err(error) => panic!("{error}"),
            }
        });
        let mut told = tokio::time::timeout(Duration::from_secs(20), next).await.expect("news in time");
        told.sort_unstable();
        told
    }

    fn is_quiet(sockets: &mut Sockets) -> bool {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        !sockets.poll(context, |_, _| ()).expect("a selector")
    }

    #[tokio::test]
    async fn all_that_are_ready_are_told_of_together_once_for_each_change() {
        let mut sockets = Sockets::new().expect("a selector");
        let mut pairs: Vec<_> = (0..50).map(|_| UnixStream::pair().expect("a pair")).collect();
        pairs[7].1.write_all(b"early").expect("room");
        for (token, (ours, _)) in pairs.iter().enumerate() {
            sockets.add(ours, token).expect("room");
        }
        let first: Vec<_> = (0..50).map(|token| (token, token == 7)).collect();
        assert_eq!(told(&mut sockets).await, first, "what they are ready for already");
        assert!(is_quiet(&mut sockets));
        for token in [9, 3, 7] {
            pairs[token].1.write_all(b"x").expect("room");
        }
        assert_eq!(told(&mut sockets).await, [(3, true), (7, true), (9, true)]);
        assert!(is_quiet(&mut sockets), "though nobody has read it");
        pairs[3].0.read_exact(&mut [0]).expect("a byte");
        pairs[3].1.write_all(b"y").expect("room");
        assert_eq!(told(&mut sockets).await, [(3, true)]);
    }

    #[tokio::test]
    async fn a_removed_socket_can_go_to_another_and_an_end_is_told() {
        let (mut sockets, mut others) = (Sockets::new().expect("a selector"), Sockets::new().expect("a selector"));
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        sockets.add(&ours, 1).expect("room");
        assert_eq!(told(&mut sockets).await, [(1, false)]);
        theirs.write_all(b"on its way").expect("room");
        sockets.remove(&ours).expect("it was added");
        assert!(sockets.remove(&ours).is_err());
        others.add(&ours, 2).expect("room");
        assert_eq!(told(&mut others).await, [(2, true)], "what came before");
        assert!(is_quiet(&mut sockets));
        drop(theirs);
        assert_eq!(told(&mut others).await, [(2, true)]);
        drop(ours);
        assert!(is_quiet(&mut others));
    }
}

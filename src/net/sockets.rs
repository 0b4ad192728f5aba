//! Which of a worker's sockets have become ready.
//!
//! They have a selector of their own, which the worker's runtime watches as if it were one socket. Asked once a cycle, it
//! tells of all of them: nothing is locked, woken or registered anew for each, as it is for a socket that the runtime itself
//! watches. With one command in flight on each of 50 connections that was an eighth of the time outside of the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll as Selector, Token};
use tokio::io::Interest as Watched;
use tokio::io::unix::AsyncFd;

/// How many sockets are told of at a time; the others follow at once.
const EVENTS: usize = 1024;

/// What a socket is ready for. An error of its stream is found by reading and by writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    /// It has bytes, or its end.
    pub read: bool,
    /// It takes bytes.
    pub write: bool,
    /// Whether the other side sends nothing more: it has closed the connection or its half of it, or has reset it. That may
    /// be told together with the last bytes, and then it is not told again.
    pub closed: bool,
}

/// The sockets of one worker, each known by the place of its connection.
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
    pub fn add(&self, socket: impl AsFd, place: usize) -> io::Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        let registry = self.selector.get_ref().registry();
        registry.register(&mut SourceFd(&descriptor), Token(place), Interest::READABLE | Interest::WRITABLE)
    }

    /// # Errors
    /// When it was not added.
    pub fn remove(&self, socket: impl AsFd) -> io::Result<()> {
        self.selector.get_ref().registry().deregister(&mut SourceFd(&socket.as_fd().as_raw_fd()))
    }

    /// Tells `tell` each place whose socket has become ready since the last time, and for what: one that was left by its
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// The places it tells of next, and whether they can be read.
    async fn told(sockets: &mut Sockets) -> Vec<(usize, bool)> {
        let next = poll_fn(|context| {
            let mut told = Vec::new();
            match sockets.poll(context, |place, ready| told.push((place, ready.read))) {
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
        for (place, (ours, _)) in pairs.iter().enumerate() {
            sockets.add(ours, place).expect("room");
        }
        let first: Vec<_> = (0..50).map(|place| (place, place == 7)).collect();
        assert_eq!(told(&mut sockets).await, first, "what they are ready for already");
        assert!(is_quiet(&mut sockets));
        for place in [9, 3, 7] {
            pairs[place].1.write_all(b"x").expect("room");
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

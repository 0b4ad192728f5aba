//! The limit of open sockets of clients, those included that are about to be refused or closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Sockets that may be open for clients that are being refused, or closed, beside those that are served.
pub const LEAVING_MAX: usize = 8;

/// Counts the sockets of some listeners' clients, so that accepting never takes a file descriptor that is reserved for
/// something else: a permit is taken before a socket is accepted, and belongs to the socket until it is closed.
#[derive(Default)]
pub struct SocketLimit {
    taken: AtomicUsize,
    /// Each acceptor holds a permit before there is a socket for it.
    acceptors: AtomicUsize,
    freed: Notify,
}

impl SocketLimit {
    /// Adds a task that accepts.
    pub fn add_acceptor(&self) {
        self.acceptors.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a permit where `clients_max` clients may be served at the time of asking.
    pub async fn take(self: &Arc<SocketLimit>, clients_max: impl Fn() -> usize) -> SocketPermit {
        loop {
            let freed = self.freed.notified();
            let max = clients_max().saturating_add(LEAVING_MAX + self.acceptors.load(Ordering::Relaxed));
            let take = |taken| (taken < max).then_some(taken + 1);
            if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                return SocketPermit(self.clone());
            }
            freed.await;
        }
    }

    /// Wakes those who wait, since a limit may have changed.
    pub fn recheck(&self) {
        self.freed.notify_waiters();
    }
}

/// The permit of one socket; to be dropped after the socket.
pub struct SocketPermit(Arc<SocketLimit>);

impl Drop for SocketPermit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.recheck();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_place_is_taken_until_it_is_dropped_or_there_are_more() {
        let sockets = Arc::new(SocketLimit::default());
        sockets.add_acceptor();
        let limit = AtomicUsize::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let mut held = Vec::new();
        let mut take_all = |held: &mut Vec<SocketPermit>| {
            while let Poll::Ready(permit) = pin!(sockets.take(|| limit.load(Ordering::Relaxed))).poll(&mut context) {
                held.push(permit);
            }
            held.len()
        };
        assert_eq!(take_all(&mut held), 1 + LEAVING_MAX + 1);
        held.pop();
        assert_eq!(take_all(&mut held), 1 + LEAVING_MAX + 1);
        limit.store(3, Ordering::Relaxed);
        assert_eq!(take_all(&mut held), 3 + LEAVING_MAX + 1);
    }
}

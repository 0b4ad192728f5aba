//! How many sockets of clients may be open at a time, those included that are about to be refused or closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Sockets that may be open for clients that are being refused, or closed, beside those that are served.
pub const LEAVING_MAX: usize = 8;

/// Counts the sockets of some listeners' clients, so that accepting never takes a file descriptor that is set apart for
/// something else: who accepts takes a place first, and the socket keeps it until it is closed.
#[derive(Default)]
pub struct Places {
    taken: AtomicUsize,
    /// Who accepts has a place in hand before there is a socket for it.
    acceptors: AtomicUsize,
    freed: Notify,
}

impl Places {
    /// Tells of one more that accepts.
    pub fn add_acceptor(&self) {
        self.acceptors.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a place where `clients_max` clients may be served at the time of asking.
    pub async fn take(self: &Arc<Places>, clients_max: impl Fn() -> usize) -> Place {
        loop {
            let freed = self.freed.notified();
            let max = clients_max().saturating_add(LEAVING_MAX + self.acceptors.load(Ordering::Relaxed));
            let take = |taken| (taken < max).then_some(taken + 1);
            if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                return Place(self.clone());
            }
            freed.await;
        }
    }

    /// Has those who wait look again, since a limit may have changed.
    pub fn look_again(&self) {
        self.freed.notify_waiters();
    }
}

/// One socket's place, given back when it is dropped: after the socket.
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
        self.0.look_again();
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
        let places = Arc::new(Places::default());
        places.add_acceptor();
        let limit = AtomicUsize::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let mut held = Vec::new();
        let mut take_all = |held: &mut Vec<Place>| {
            while let Poll::Ready(place) = pin!(places.take(|| limit.load(Ordering::Relaxed))).poll(&mut context) {
                held.push(place);
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

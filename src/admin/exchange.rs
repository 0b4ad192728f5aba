//! What a connection is at: who waits for whom, and since when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::body::HttpBody;
use axum::extract::{Extension, Request};
use axum::middleware::Next;
use axum::response::Response;

use crate::base::clock;
use crate::command::clients::{BufferSizes, Client};

/// Nothing, or not all, of the next request's head has come.
const HEAD: u8 = 0;
/// The head has come; the body comes, or the request is being served.
const REQUEST: u8 = 1;
/// The reply is there to be read.
const REPLY: u8 = 2;

/// The exchange of requests and replies on one connection. It keeps the time since which the client has been idle in
/// [`Client::active_ms`]: since its head began, its body or its reading last went on. A head that comes in drops does not count as
/// activity, so that slow heads are cut in order of age.
pub struct Exchange {
    /// Whose connection it is.
    pub client: Arc<Client>,
    /// There were too many connections already: only its health is asked.
    pub is_extra: bool,
    stage: AtomicU8,
}

impl Exchange {
    /// Creates that of a connection on which nothing has come.
    pub fn new(client: Arc<Client>, is_extra: bool) -> Exchange {
        Exchange { client, is_extra, stage: AtomicU8::new(HEAD) }
    }

    fn enter(&self, stage: u8) {
        self.stage.store(stage, Ordering::Relaxed);
        self.note_activity();
    }

    fn note_activity(&self) {
        self.client.active_ms.store(clock::recent_ms(), Ordering::Relaxed);
    }

    /// Something has come in.
    pub fn received(&self) {
        match self.stage.load(Ordering::Relaxed) {
            HEAD => {}
            REQUEST => self.note_activity(),
            // It may be the next request's.
            _ => self.enter(HEAD),
        }
    }

    /// So many bytes were sent.
    pub fn sent(&self, bytes: usize) {
        self.note_activity();
        self.set_unsent(self.client.output_bytes().saturating_sub(bytes));
    }

    fn set_unsent(&self, bytes: usize) {
        self.client.set_buffer_sizes(BufferSizes { output: bytes, output_capacity: bytes, ..BufferSizes::default() });
    }

    /// So many bytes of a body are kept.
    pub fn keeps(&self, bytes: usize, capacity_bytes: usize) {
        self.client.set_input(bytes, capacity_bytes);
    }
}

/// Follows a request from its head to its reply.
pub async fn follow(Extension(exchange): Extension<Arc<Exchange>>, request: Request, next: Next) -> Response {
    exchange.enter(REQUEST);
    let response = next.run(request).await;
    exchange.enter(REPLY);
    exchange.set_unsent(response.body().size_hint().lower() as usize);
    response
}

/// Keeps a client from counting as idle while its command runs, or waits to.
pub struct Served<'c>(&'c Client);

impl Served<'_> {
    /// Has the client count as served until this is dropped.
    pub fn new(client: &Client) -> Served<'_> {
        client.set_blocked(true);
        Served(client)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.set_blocked(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::clients::Peer;

    #[test]
    fn only_what_goes_on_is_activity() {
        let exchange = Exchange::new(Arc::new(Client::new(1, Peer::default(), 0, true)), false);
        let is_active = || exchange.client.active_ms.swap(0, Ordering::Relaxed) > 0;
        exchange.received();
        assert!(!is_active(), "a head's pieces");
        exchange.enter(REQUEST);
        assert!(is_active());
        exchange.received();
        assert!(is_active(), "a body's");
        exchange.enter(REPLY);
        exchange.set_unsent(10);
        is_active();
        exchange.sent(4);
        assert!(is_active() && exchange.client.output_bytes() == 6);
        exchange.sent(100);
        assert_eq!(exchange.client.output_bytes(), 0);
        is_active();
        exchange.received();
        assert!(is_active(), "the next head begins");
        exchange.received();
        assert!(!is_active());
    }
}

//! Who is connected: the registry behind CLIENT LIST and CLIENT KILL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use atomic_waker::AtomicWaker;
use parking_lot::Mutex;

use crate::protocol::resp::Version;

/// A connected client, as others may see and touch it. Its connection writes most of it, without locks.
pub struct Client {
    pub id: u64,
    /// Peer's address, `IP:PORT`, or the path of the Unix socket with `:0`.
    pub address: String,
    /// The address it connected to.
    pub local_address: String,
    pub created_ms: u64,
    database: AtomicUsize,
    resp_version: AtomicU8,
    authenticated: AtomicBool,
    touches: AtomicBool,
    /// Unix milliseconds of its last command.
    pub active_ms: AtomicU64,
    /// Index of its last command in the table.
    pub last_command: AtomicUsize,
    closing: AtomicBool,
    waker: AtomicWaker,
}

impl Client {
    pub fn new(id: u64, address: String, local_address: String, now_ms: u64, authenticated: bool) -> Client {
        Client {
            id,
            address,
            local_address,
            created_ms: now_ms,
            database: AtomicUsize::new(0),
            resp_version: AtomicU8::new(2),
            authenticated: AtomicBool::new(authenticated),
            touches: AtomicBool::new(true),
            active_ms: AtomicU64::new(now_ms),
            last_command: AtomicUsize::new(usize::MAX),
            closing: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    #[inline]
    pub fn database(&self) -> usize {
        self.database.load(Ordering::Relaxed)
    }

    pub fn select(&self, database: usize) {
        self.database.store(database, Ordering::Relaxed);
    }

    #[inline]
    pub fn version(&self) -> Version {
        if self.resp_version.load(Ordering::Relaxed) == 3 { Version::Resp3 } else { Version::Resp2 }
    }

    pub fn set_version(&self, version: Version) {
        self.resp_version.store(if version == Version::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    pub fn set_authenticated(&self, authenticated: bool) {
        self.authenticated.store(authenticated, Ordering::Relaxed);
    }

    /// Whether its commands count as a use of the keys they look at (CLIENT NO-TOUCH).
    #[inline]
    pub fn touches(&self) -> bool {
        self.touches.load(Ordering::Relaxed)
    }

    pub fn set_touches(&self, touches: bool) {
        self.touches.store(touches, Ordering::Relaxed);
    }

    /// Makes its connection end, from any thread.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Has the connection's task woken when there is something to notice.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    /// Admits a client, unless there are `max` already.
    pub fn connect(&self, max: usize, create: impl FnOnce(u64) -> Client) -> Option<Arc<Client>> {
        let mut connected = self.connected.lock();
        if connected.len() >= max {
            return None;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(create(id));
        connected.insert(id, client.clone());
        Some(client)
    }

    pub fn disconnect(&self, id: u64) {
        self.connected.lock().remove(&id);
    }

    pub fn len(&self) -> usize {
        self.connected.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everyone, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }
}

//! Who is connected: the registry behind CLIENT LIST and CLIENT KILL, the pause of all clients, and who monitors.

mod entry;
mod memory;
mod pause;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

pub use entry::{BufferSizes, Client, Ending, Names, Peer};
pub use pause::{Pause, Scope};

/// All connected clients of the protocols that have sessions.
#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    monitors: RwLock<Vec<Arc<Client>>>,
    /// Length of `monitors`, so that nobody pays for it while nobody monitors.
    monitor_count: AtomicUsize,
    /// What clients take in memory together, as far as that is counted.
    memory_bytes: AtomicI64,
    /// Held by who cuts clients off for memory.
    evicting: Mutex<()>,
    pause: Pause,
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

    /// Forgets a client whose connection is over.
    pub fn disconnect(&self, client: &Client) {
        self.connected.lock().remove(&client.id);
        self.count_memory(client, 0);
        self.end_monitoring(client);
    }

    /// Cuts a client off: from now on it is not in the registry, it reads the end of the stream, and its connection ends
    /// without sending anything more.
    pub fn kill(&self, client: &Client) {
        let mut connected = self.connected.lock();
        if connected.remove(&client.id).is_some() {
            // SAFETY: who is in the registry has an open socket: a connection leaves it, under this lock, before it
            // closes its descriptor (`Registration` in `net::connection`).
            let socket = unsafe { BorrowedFd::borrow_raw(client.peer.descriptor) };
            // It fails only for a socket whose other end has gone already.
            let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
        }
        drop(connected);
        self.end_monitoring(client);
        client.kill();
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.connected.lock().len()
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everyone, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }

    /// The client with this id.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().get(&id).cloned()
    }

    /// How many are kept waiting by their command or a pause.
    pub fn blocked(&self) -> usize {
        self.connected.lock().values().filter(|client| client.is_blocked()).count()
    }

    /// The pause of CLIENT PAUSE.
    pub fn pause(&self) -> &Pause {
        &self.pause
    }

    /// Ends the pause at once, and lets everyone know who waits for that.
    pub fn lift_pause(&self) {
        self.pause.lift();
        for client in self.connected.lock().values() {
            client.wake();
        }
    }

    /// Has the client see what others do.
    pub fn monitor(&self, client: &Arc<Client>) {
        let mut monitors = self.monitors.write();
        if !client.is_monitor() {
            client.set_monitor(true);
            monitors.push(client.clone());
            self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        }
    }

    /// Undoes [`Clients::monitor`].
    pub fn end_monitoring(&self, client: &Client) {
        if client.is_monitor() {
            let mut monitors = self.monitors.write();
            client.set_monitor(false);
            monitors.retain(|monitor| monitor.id != client.id);
            self.monitor_count.store(monitors.len(), Ordering::Relaxed);
        }
    }

    /// Whether anybody monitors.
    #[inline]
    pub fn are_monitored(&self) -> bool {
        self.monitor_count.load(Ordering::Relaxed) > 0
    }

    /// Sends `line` to all monitors. Those that then have `hard_bytes` or more waiting are cut off (0: no limit); returns
    /// how many.
    pub fn feed_monitors(&self, line: &[u8], hard_bytes: u64) -> usize {
        let fed = self.monitors.read().clone();
        let mut cut = 0;
        for monitor in fed {
            if !monitor.push(line, hard_bytes) {
                tracing::warn!(client = monitor.id, "output buffer limit reached, monitor cut");
                self.kill(&monitor);
                cut += 1;
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64) -> Client {
        Client::new(id, Peer::default(), 0, true)
    }

    #[test]
    fn monitors_are_fed_until_they_are_full() {
        let clients = Clients::default();
        let monitor = clients.connect(1, client).unwrap();
        assert!(clients.connect(1, client).is_none());
        clients.monitor(&monitor);
        clients.monitor(&monitor);
        assert!(clients.are_monitored());
        assert_eq!(clients.feed_monitors(b"12345", 11), 0);
        assert_eq!(monitor.output_bytes(), 5);
        assert_eq!(clients.feed_monitors(b"12345", 11), 0);
        assert_eq!(clients.feed_monitors(b"12345", 11), 1);
        assert_eq!(monitor.ending(), Ending::Killed);
        assert!(!clients.are_monitored() && clients.is_empty());
    }

    #[test]
    fn pushes_are_taken_once() {
        let (client, mut output) = (client(1), b"+OK\r\n".to_vec());
        assert!(client.push(b"+a\r\n", 0) && client.push(b"+b\r\n", 0));
        client.take_pushes(&mut output);
        client.take_pushes(&mut output);
        assert_eq!(output, b"+OK\r\n+a\r\n+b\r\n");
        assert_eq!(client.output_bytes(), 0);
    }
}

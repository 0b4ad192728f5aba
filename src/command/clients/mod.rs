//! The connected clients: the registry behind CLIENT LIST and CLIENT KILL, the pause of all clients, the monitors, and the limits
//! of sockets.

mod blocking;
mod entry;
mod http;
mod memory;
mod pause;
mod push;
mod sockets;

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use self::http::HttpClients;
use crate::reply::Sink;

pub use blocking::Wake;
pub use entry::{BufferSizes, Client, Ending, Names, Peer};
pub use pause::{Pause, Scope};
pub use push::Push;
pub use sockets::{LEAVING_MAX, SocketLimit, SocketPermit};

/// All connected clients.
#[derive(Default)]
pub struct Clients {
    next_id: AtomicU64,
    /// Of the protocols that have sessions: RESP, the plain TCP protocol.
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// Of HTTP, which have sessions for as long as a request lasts.
    http: Mutex<HttpClients>,
    /// The limit of sockets of these protocols.
    pub session_sockets: Arc<SocketLimit>,
    /// The limit of sockets of HTTP, apart so that neither kind takes all.
    pub http_sockets: Arc<SocketLimit>,
    monitors: RwLock<Vec<Arc<Client>>>,
    /// Length of `monitors`: without monitors, a command reads no more than this.
    monitor_count: AtomicUsize,
    /// The sum of the clients' memory, in bytes, as they last counted it.
    memory_bytes: AtomicI64,
    /// Held while clients are disconnected for memory.
    evicting: Mutex<()>,
    pause: Pause,
}

impl Clients {
    fn create(&self, create: impl FnOnce(u64) -> Client) -> Arc<Client> {
        Arc::new(create(self.next_id.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Admits a client, unless there are `max` already of all protocols. Of HTTP, the one that has been idle for longest is cut
    /// off for it.
    pub fn connect(&self, max: usize, create: impl FnOnce(u64) -> Client) -> Option<Arc<Client>> {
        let (mut connected, mut http) = (self.connected.lock(), self.http.lock());
        if connected.len() >= max {
            return None;
        }
        while connected.len() + http.by_id.len() >= max {
            let idlest = http.take_idlest()?;
            cut_off(&idlest);
        }
        let client = self.create(create);
        connected.insert(client.id, client.clone());
        Some(client)
    }

    /// Admits a client of HTTP. Where there are `http_max` of these already, or `max` of all protocols, the one of HTTP that
    /// has been idle for longest is cut off for it. `None`: all of them are being served.
    pub fn connect_http(&self, http_max: usize, max: usize, create: impl FnOnce(u64) -> Client) -> Option<Arc<Client>> {
        let (connected, mut http) = (self.connected.lock(), self.http.lock());
        // More than one, where the limit was lowered.
        while http.by_id.len() >= http_max || connected.len() + http.by_id.len() >= max {
            let idlest = http.take_idlest()?;
            cut_off(&idlest);
        }
        let client = self.create(create);
        http.by_id.insert(client.id, client.clone());
        Some(client)
    }

    /// Removes a client whose connection has ended. To be called before its socket is closed: see [`Clients::kill`].
    pub fn disconnect(&self, client: &Client) {
        self.connected.lock().remove(&client.id);
        self.http.lock().by_id.remove(&client.id);
        self.count_memory(client, 0);
        self.end_monitoring(client);
    }

    /// Cuts a client off: from now on it is not in the registry, it reads the end of the stream, and its connection ends
    /// without sending anything more.
    pub fn kill(&self, client: &Client) {
        let (mut connected, mut http) = (self.connected.lock(), self.http.lock());
        if connected.remove(&client.id).or_else(|| http.by_id.remove(&client.id)).is_some() {
            cut_off(client);
        }
        drop((connected, http));
        self.end_monitoring(client);
        client.kill();
    }

    /// How many are connected that have sessions.
    pub fn len(&self) -> usize {
        self.connected.lock().len()
    }

    /// Whether no client with a session is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are connected by HTTP.
    pub fn http_len(&self) -> usize {
        self.http.lock().by_id.len()
    }

    /// Everyone, whatever the protocol, in the order of their ids.
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all = self.sessions();
        all.extend(self.http());
        all.sort_unstable_by_key(|client| client.id);
        all
    }

    /// Those of HTTP.
    pub fn http(&self) -> Vec<Arc<Client>> {
        self.http.lock().by_id.values().cloned().collect()
    }

    /// Those that have sessions, in the order of their ids.
    pub fn sessions(&self) -> Vec<Arc<Client>> {
        self.connected.lock().values().cloned().collect()
    }

    /// The client with this id, whatever its protocol.
    pub fn find(&self, id: u64) -> Option<Arc<Client>> {
        self.connected.lock().get(&id).or(self.http.lock().by_id.get(&id)).cloned()
    }

    /// How many are kept waiting by their command or a pause.
    pub fn blocked(&self) -> usize {
        self.connected.lock().values().filter(|client| client.is_blocked()).count()
    }

    /// The pause of CLIENT PAUSE.
    pub fn pause(&self) -> &Pause {
        &self.pause
    }

    /// Ends the pause at once, and wakes the clients that wait for that.
    pub fn lift_pause(&self) {
        self.pause.lift();
        self.all().iter().for_each(|client| client.wake());
    }

    /// Makes the client a monitor.
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

    /// Whether there are monitors.
    #[inline]
    pub fn are_monitored(&self) -> bool {
        self.monitor_count.load(Ordering::Relaxed) > 0
    }

    /// Sends a message to all monitors. Those that then have `hard_bytes` or more waiting are cut off (0: no limit); returns
    /// how many.
    pub fn feed_monitors<D: Fn(&mut dyn Sink)>(&self, message: &Push<D>, hard_bytes: u64) -> usize {
        let fed = self.monitors.read().clone();
        let mut cut = 0;
        for monitor in fed {
            if !monitor.push(message, hard_bytes) {
                tracing::warn!(client = monitor.id, "output buffer limit reached, monitor cut");
                self.kill(&monitor);
                cut += 1;
            }
        }
        cut
    }
}

/// Has both ends of a client's connection read the end of the stream. To be called by who holds the lock of the registry that
/// the client is, or was just, in.
fn cut_off(client: &Client) {
    // SAFETY: who is in a registry has an open socket: a connection leaves it, under its lock, before it closes its
    // descriptor (`command::registration`, which comes first in `net::connection` and `admin::socket`).
    let socket = unsafe { BorrowedFd::borrow_raw(client.peer.descriptor) };
    // It fails only for a socket whose other end has gone already.
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
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
        let five_bytes = Push::new(|sink| sink.simple("12"));
        assert_eq!(clients.feed_monitors(&five_bytes, 11), 0);
        assert_eq!(monitor.output_bytes(), 5);
        assert_eq!(clients.feed_monitors(&five_bytes, 11), 0);
        assert_eq!(clients.feed_monitors(&five_bytes, 11), 1);
        assert_eq!(monitor.ending(), Ending::Killed);
        assert!(!clients.are_monitored() && clients.is_empty());
    }

    /// A client with a socket of its own, which is cut off where the client is.
    fn with_socket(id: u64, socket: &std::os::unix::net::UnixStream) -> Client {
        use std::os::fd::AsRawFd;
        Client::new(id, Peer { descriptor: socket.as_raw_fd(), ..Peer::default() }, 0, true)
    }

    #[test]
    fn clients_of_http_count_and_give_way() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        let clients = Clients::default();
        let create = |id| with_socket(id, &socket);
        let first = clients.connect_http(9, 2, create).expect("there is room");
        assert!(clients.connect(2, create).is_some());
        assert_eq!(clients.all().iter().map(|client| client.id).collect::<Vec<_>>(), [1, 2]);
        assert!(clients.find(first.id).is_some());
        let second = clients.connect_http(9, 2, create).expect("an idle one gives way");
        assert!(clients.find(first.id).is_none() && (clients.len(), clients.http_len()) == (1, 1));
        second.set_blocked(true);
        assert!(
            clients.connect_http(9, 2, create).is_none() && clients.connect(2, create).is_none(),
            "it is being served"
        );
        second.set_blocked(false);
        assert!(clients.connect(2, create).is_some(), "it gives way to a session, too");
        assert!(clients.connect_http(9, 2, create).is_none(), "a session does not");
        assert_eq!((clients.len(), clients.http_len()), (2, 0));
    }
}

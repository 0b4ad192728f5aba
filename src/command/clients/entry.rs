use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::blocking::{Blocking, Wake};
use super::push::{Outbox, Push};
use crate::base::gather::Gather;
use crate::command::user::User;
use crate::protocol::resp::Version;
use crate::reply::Sink;

/// The two ends of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The other side's address, `IP:PORT`, or the path of the Unix socket with `:0`.
    pub address: String,
    /// The address it connected to.
    pub local_address: String,
    /// The socket's file descriptor, as CLIENT LIST shows it.
    pub descriptor: i32,
    /// Whether it came over a Unix socket.
    pub is_unix: bool,
    /// Whether it is on this machine: over loopback or a Unix socket.
    pub is_local: bool,
}

impl Peer {
    /// Of a connection over TCP from `address` to `local_address`.
    pub fn of_tcp(socket: &impl AsRawFd, address: SocketAddr, local_address: SocketAddr) -> Peer {
        Peer {
            address: address.to_string(),
            local_address: local_address.to_string(),
            descriptor: socket.as_raw_fd(),
            is_unix: false,
            is_local: address.ip().to_canonical().is_loopback(),
        }
    }

    /// Of a connection over the Unix socket at `path`.
    pub fn of_unix(socket: &impl AsRawFd, path: &str) -> Peer {
        let address = format!("{path}:0");
        let local_address = address.clone();
        Peer { address, local_address, descriptor: socket.as_raw_fd(), is_unix: true, is_local: true }
    }
}

/// Whether a connection has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It goes on.
    Not,
    /// The sweep suspects that it is idle or too slow, which its connection verifies.
    Suspected,
    /// Once its output is sent.
    Drained,
    /// At once.
    Killed,
}

const NOT: u8 = 0;
const SUSPECTED: u8 = 1;
const DRAINED: u8 = 2;
const KILLED: u8 = 3;

/// The names that a client has given; empty ones are not set.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What CLIENT SETNAME or HELLO set.
    pub name: Vec<u8>,
    /// The client library (CLIENT SETINFO LIB-NAME).
    pub library: Vec<u8>,
    /// The version of the library (CLIENT SETINFO LIB-VER).
    pub library_version: Vec<u8>,
}

/// The sizes of a connection's buffers, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSizes {
    /// Received and not executed.
    pub input: usize,
    /// What is allocated for input.
    pub input_capacity: usize,
    /// Waiting to be sent.
    pub output: usize,
    /// What is allocated for output.
    pub output_capacity: usize,
}

/// The part of a connected client that other threads see and change. Its connection writes most of it, without locks.
pub struct Client {
    /// Unique since the start of the server; the first is 1.
    pub id: u64,
    /// Where it came from, and its socket.
    pub peer: Peer,
    /// Unix milliseconds at which it connected.
    pub created_ms: u64,
    database: AtomicUsize,
    resp_version: AtomicU8,
    /// Whether it acts as the default user.
    authenticated: AtomicBool,
    /// How many times in a row it has given a wrong password.
    wrong_passwords: AtomicU32,
    touches: AtomicBool,
    evictable: AtomicBool,
    blocked: AtomicBool,
    monitor: AtomicBool,
    blocking: Blocking,
    /// Unix milliseconds of the last time that something was received from it, or sent late.
    pub active_ms: AtomicU64,
    /// Index of its last command in the table; `usize::MAX`: none, or one that does not exist.
    pub last_command: AtomicUsize,
    input: AtomicUsize,
    input_capacity: AtomicUsize,
    output: AtomicUsize,
    output_capacity: AtomicUsize,
    /// Its share in the registry's sum of memory, in bytes.
    pub(super) counted_bytes: AtomicUsize,
    /// How many sweeps in a row have found its output above the soft limit.
    pub sweeps_over_soft_limit: AtomicU64,
    names: Mutex<Names>,
    /// What others have to tell it.
    pub(super) outbox: Outbox,
    ending: AtomicU8,
    /// Wakes its connection.
    waker: Mutex<Waker>,
}

impl Client {
    /// Makes a client that speaks RESP2, is on database 0 and has run nothing; `now_ms` is Unix time in milliseconds.
    pub fn new(id: u64, peer: Peer, now_ms: u64, authenticated: bool) -> Client {
        Client {
            id,
            peer,
            created_ms: now_ms,
            database: AtomicUsize::new(0),
            resp_version: AtomicU8::new(2),
            authenticated: AtomicBool::new(authenticated),
            wrong_passwords: AtomicU32::new(0),
            touches: AtomicBool::new(true),
            evictable: AtomicBool::new(true),
            blocked: AtomicBool::new(false),
            monitor: AtomicBool::new(false),
            blocking: Blocking::default(),
            active_ms: AtomicU64::new(now_ms),
            last_command: AtomicUsize::new(usize::MAX),
            input: AtomicUsize::new(0),
            input_capacity: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            output_capacity: AtomicUsize::new(0),
            counted_bytes: AtomicUsize::new(0),
            sweeps_over_soft_limit: AtomicU64::new(0),
            names: Mutex::default(),
            outbox: Outbox::default(),
            ending: AtomicU8::new(NOT),
            waker: Mutex::new(Waker::noop().clone()),
        }
    }

    /// The number of its database (SELECT).
    #[inline]
    pub fn database(&self) -> usize {
        self.database.load(Ordering::Relaxed)
    }

    /// Sets the number of its database, which the caller has checked.
    pub fn select(&self, database: usize) {
        self.database.store(database, Ordering::Relaxed);
    }

    /// The version of RESP in which it is answered.
    #[inline]
    pub fn version(&self) -> Version {
        if self.resp_version.load(Ordering::Relaxed) == 3 { Version::Resp3 } else { Version::Resp2 }
    }

    /// Sets the version of RESP for replies that are yet to be written (HELLO).
    pub fn set_version(&self, version: Version) {
        self.resp_version.store(if version == Version::Resp3 { 3 } else { 2 }, Ordering::Relaxed);
    }

    /// As whom it acts.
    #[inline]
    pub fn user(&self) -> User {
        if self.authenticated.load(Ordering::Relaxed) { User::Default } else { User::Unauthenticated }
    }

    /// Sets as whom it acts. The right password resets the count of wrong ones.
    pub fn set_user(&self, user: User) {
        self.authenticated.store(user == User::Default, Ordering::Relaxed);
        if user == User::Default {
            self.wrong_passwords.store(0, Ordering::Relaxed);
        }
    }

    /// Counts a wrong password; returns how many there were in a row.
    pub(in crate::command) fn count_wrong_password(&self) -> u32 {
        self.wrong_passwords.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether its commands count as a use of the keys they look at (CLIENT NO-TOUCH).
    #[inline]
    pub fn touches(&self) -> bool {
        self.touches.load(Ordering::Relaxed)
    }

    /// Sets whether its commands count as a use of keys, for LRU and LFU.
    pub fn set_touches(&self, touches: bool) {
        self.touches.store(touches, Ordering::Relaxed);
    }

    /// Whether it may be disconnected when clients' buffers take too much memory (CLIENT NO-EVICT).
    pub fn is_evictable(&self) -> bool {
        self.evictable.load(Ordering::Relaxed)
    }

    /// Sets whether `maxmemory-clients` may end it.
    pub fn set_evictable(&self, evictable: bool) {
        self.evictable.store(evictable, Ordering::Relaxed);
    }

    /// Whether it is kept waiting by its command or by a pause.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Sets whether it is kept waiting; for HTTP, whether a request is being served.
    pub fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Has [`Client::unblock`] end the wait of its command from now on.
    pub(in crate::command) fn begin_block(&self) {
        self.blocking.begin();
    }

    /// Undoes [`Client::begin_block`].
    pub(in crate::command) fn end_block(&self) {
        self.blocking.end();
    }

    /// Has its blocked command go on, from any thread. False: it is not blocked, or something else has ended that already.
    pub fn unblock(&self, wake: Wake) -> bool {
        let was_blocked = self.blocking.wake(wake);
        if was_blocked {
            self.wake();
        }
        was_blocked
    }

    /// Takes what has ended the wait of its command, if anything has.
    pub(in crate::command) fn take_wake(&self) -> Option<Wake> {
        self.blocking.take()
    }

    /// Whether it monitors (MONITOR).
    #[inline]
    pub fn is_monitor(&self) -> bool {
        self.monitor.load(Ordering::Relaxed)
    }

    pub(super) fn set_monitor(&self, monitor: bool) {
        self.monitor.store(monitor, Ordering::Relaxed);
    }

    /// A copy of its names.
    pub fn names(&self) -> Names {
        self.names.lock().clone()
    }

    /// Changes its names under their lock.
    pub fn change_names(&self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names.lock());
    }

    /// The sizes that its connection set last. They are read one by one, so that some may be newer.
    pub fn buffer_sizes(&self) -> BufferSizes {
        BufferSizes {
            input: self.input.load(Ordering::Relaxed),
            input_capacity: self.input_capacity.load(Ordering::Relaxed),
            output: self.output.load(Ordering::Relaxed),
            output_capacity: self.output_capacity.load(Ordering::Relaxed),
        }
    }

    /// Sets the present sizes of the connection's buffers.
    #[inline]
    pub fn set_buffer_sizes(&self, sizes: BufferSizes) {
        self.set_input(sizes.input, sizes.input_capacity);
        self.output.store(sizes.output, Ordering::Relaxed);
        self.output_capacity.store(sizes.output_capacity, Ordering::Relaxed);
    }

    /// Sets how many bytes are received and not executed, and how many are allocated for input.
    #[inline]
    pub fn set_input(&self, bytes: usize, capacity_bytes: usize) {
        self.input.store(bytes, Ordering::Relaxed);
        self.input_capacity.store(capacity_bytes, Ordering::Relaxed);
    }

    /// What it takes in memory, in bytes: itself, its buffers, and what others have for it.
    pub fn memory_bytes(&self) -> usize {
        let sizes = self.buffer_sizes();
        size_of::<Client>()
            + sizes.input_capacity.max(sizes.input)
            + sizes.output_capacity.max(sizes.output)
            + self.outbox.len()
    }

    /// Everything that waits to be sent to it, in bytes.
    pub fn output_bytes(&self) -> usize {
        self.output.load(Ordering::Relaxed) + self.outbox.len()
    }

    /// Sends a message out of band, from any thread. False: with it `hard_bytes` or more would wait (0: no limit), and nothing
    /// more is kept for it.
    pub fn push<D: Fn(&mut dyn Sink)>(&self, message: &Push<D>, hard_bytes: u64) -> bool {
        let unsent_bytes = self.output.load(Ordering::Relaxed);
        let is_added = self.outbox.add(message.encoded(self.version()), unsent_bytes, hard_bytes);
        if is_added {
            self.wake();
        }
        is_added
    }

    /// Whether something was sent out of band that was not taken.
    #[inline]
    pub fn has_pushes(&self) -> bool {
        self.outbox.len() > 0
    }

    /// Moves what was sent out of band to the end of `output`, until that has `until_bytes` or more. What is left is shared
    /// with the others that it was sent to.
    #[inline]
    pub fn take_pushes(&self, output: &mut Gather, until_bytes: usize) {
        if self.has_pushes() {
            self.outbox.take(output, until_bytes);
        }
    }

    /// Has its connection find out whether it is idle or reads too slowly, and end then.
    pub fn suspect(&self) {
        self.ending.fetch_max(SUSPECTED, Ordering::Release);
        self.wake();
    }

    /// Takes [`Client::suspect`] back.
    pub fn clear_suspicion(&self) {
        // It fails where its end has been asked for meanwhile.
        let _ = self.ending.compare_exchange(SUSPECTED, NOT, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Has its connection end once it has sent what waits, from any thread.
    pub fn drain(&self) {
        self.ending.fetch_max(DRAINED, Ordering::Release);
        self.wake();
    }

    /// Has its connection end at once, from any thread.
    pub(super) fn kill(&self) {
        self.ending.fetch_max(KILLED, Ordering::Release);
        self.wake();
    }

    /// Whether, and how, its connection is to end.
    #[inline]
    pub fn ending(&self) -> Ending {
        match self.ending.load(Ordering::Acquire) {
            NOT => Ending::Not,
            SUSPECTED => Ending::Suspected,
            DRAINED => Ending::Drained,
            _ => Ending::Killed,
        }
    }

    /// Sets the waker for whatever other threads ask of it from now on; the caller looks for what they asked before.
    pub fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = waker;
    }

    /// Wakes its connection.
    pub(super) fn wake(&self) {
        self.waker.lock().wake_by_ref();
    }
}

//! One thread of a load: its clients, and the loop that serves them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use super::link::{Clock, Flight, Link, Writer};
use super::nodes::{HOPS_MAX, NODES_MAX, Nodes, Redirection};
use super::requests::{KeyNames, Requests};
use super::schedule::{Schedule, nanoseconds};
use super::tally::{Gauge, Tally};
use super::values::Values;
use super::{LoadError, Outcome};
use crate::wire::{Codec, Dialer, Reply};

const READ_BYTES: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// The timer's; a link's is its client's number times `NODES_MAX`, plus its node's.
const TIMER: Token = Token(usize::MAX);
/// How often a thread checks what causes no event: overdue replies, and whether it is to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The delay before a client connects again after it lost a connection, or got none.
const BACKOFF: Duration = Duration::from_millis(100);
/// The interval of checks while a client waits for that.
const BACKOFF_CHECK_INTERVAL: Duration = Duration::from_millis(10);
/// The least time between two requests for a cluster's slots.
const REFRESH: Duration = Duration::from_millis(500);

/// What a thread is made from.
pub struct Parts {
    /// Clients of this thread.
    pub clients: usize,
    /// Requests that each has under way.
    pub pipeline: usize,
    /// How long a reply may take.
    pub timeout: Duration,
    /// The servers.
    pub nodes: Nodes,
    /// Opens connections.
    pub dialer: Dialer,
    /// The protocol.
    pub codec: Codec,
    /// This thread's part of the requests.
    pub requests: Requests,
    /// The names of keys.
    pub names: KeyNames,
    /// The values that are set, and expected.
    pub values: Arc<Values>,
    /// Whether values that are read are compared.
    pub verify: bool,
    /// When requests are sent, and how many.
    pub schedule: Schedule,
    /// Where progress is shown.
    pub gauge: Arc<Gauge>,
    /// Set by a thread that fails, so that all end.
    pub stop: Arc<AtomicBool>,
}

/// One thread of a load.
pub struct Worker {
    parts: Parts,
    poll: Poll,
    timer: Timer,
    clients: Vec<Client>,
    tally: Tally,
    /// Requests under way, of all clients.
    outstanding: usize,
    /// Open loop: the clients that may send, each as often as it may.
    permits: VecDeque<usize>,
    resting: Vec<Rest>,
    redirected: Vec<(Flight, Redirection)>,
    refreshed: u64,
    /// When a node could not be reached last, and why, by its number.
    unreachable: Vec<Option<(Instant, String)>>,
    /// Since when nothing but failures happened, and the last of them.
    failing: Option<(u64, String)>,
    piece: Box<[u8]>,
    key: Vec<u8>,
}

/// One client: a connection, in a cluster one to each node that it needed.
#[derive(Debug, Default)]
struct Client {
    links: Vec<Option<Link>>,
    /// Requests under way.
    outstanding: usize,
    /// It lost a request together with its connection, or could not open one, and rests before it sends more.
    has_failed: bool,
}

#[derive(Debug)]
struct Rest {
    client: usize,
    until: u64,
    /// Open loop: how many permits the client gets back; closed loop: none.
    permits: usize,
}

impl Worker {
    /// Opens the connections to the first node, or to all of a cluster's.
    ///
    /// # Errors
    /// [`LoadError::Server`] when one cannot be opened; [`LoadError::Local`].
    pub fn new(parts: Parts) -> Result<Worker, LoadError> {
        let poll = Poll::new()?;
        let timer = Timer::new(&poll)?;
        let expected = parts.verify.then(|| parts.values.clone());
        let mut worker = Worker {
            poll,
            timer,
            clients: Vec::new(),
            tally: Tally::new(expected),
            outstanding: 0,
            permits: VecDeque::new(),
            resting: Vec::new(),
            redirected: Vec::new(),
            refreshed: 0,
            unreachable: Vec::new(),
            failing: None,
            piece: vec![0; READ_BYTES].into_boxed_slice(),
            key: Vec::new(),
            parts,
        };
        for client in 0..worker.parts.clients {
            worker.clients.push(Client::default());
            for node in worker.parts.nodes.serving() {
                worker
                    .open(client, node)
                    .map_err(|reason| LoadError::Server { address: worker.parts.nodes.get(node).name(), reason })?;
            }
        }
        Ok(worker)
    }

    /// Runs until the schedule is over and every request is completed.
    ///
    /// # Errors
    /// [`LoadError::Lost`] when for the plan's `timeout` nothing but failures happened; [`LoadError::Local`].
    pub fn run(&mut self, clock: Clock) -> Result<Outcome, LoadError> {
        let cpu_start = thread_cpu();
        if self.parts.schedule.is_open() {
            let clients = 0..self.clients.len();
            self.permits = (0..self.parts.pipeline).flat_map(|_| clients.clone()).collect();
        } else {
            (0..self.clients.len()).for_each(|client| self.fill(client, clock));
        }
        let mut events = Events::with_capacity(EVENTS);
        let mut next_look = nanoseconds(CHECK_INTERVAL);
        while !self.parts.stop.load(Relaxed) {
            self.send_due(clock);
            let now = clock.now();
            self.tally.show(&self.parts.gauge, self.parts.schedule.behind(now));
            if self.outstanding == 0 && self.parts.schedule.is_over(now) {
                break;
            }
            let due = self.parts.schedule.next_due().filter(|_| !self.permits.is_empty());
            let wait = if self.resting.is_empty() { CHECK_INTERVAL } else { BACKOFF_CHECK_INTERVAL };
            self.timer
                .arm(due, now)
                .and_then(|()| self.poll.poll(&mut events, Some(wait)))
                .or_else(|error| if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) })?;
            for event in &events {
                if event.token() == TIMER {
                    self.timer.has_fired();
                    continue;
                }
                let (client, node) = (event.token().0 / NODES_MAX, event.token().0 % NODES_MAX);
                if event.is_writable() {
                    self.flush(client, node, clock);
                }
                if event.is_readable() || event.is_error() {
                    self.receive(client, node, event.is_read_closed(), clock);
                }
                self.rest_if_failed(client, clock);
            }
            self.wake(clock);
            if now >= next_look {
                next_look = now + nanoseconds(CHECK_INTERVAL);
                self.look_for_overdue(clock);
                self.give_up_when_lost(now)?;
            }
        }
        let last_reply = self.tally.last_reply().unwrap_or_else(|| clock.now());
        // A server that has not answered towards the end was asked for the whole time nevertheless.
        let elapsed = Duration::from_nanos(last_reply.max(self.parts.schedule.end().unwrap_or(0)));
        let unsent = self.parts.schedule.unsent();
        Ok(self.tally.finish(elapsed, unsent, thread_cpu().saturating_sub(cpu_start)))
    }

    /// Closed loop: sends a client's next batch.
    fn fill(&mut self, client: usize, clock: Clock) {
        let now = clock.now();
        for _ in 0..self.parts.schedule.take(self.parts.pipeline, now) {
            let request = self.parts.requests.next();
            self.send(client, Flight { request, since: now, hops: 0, is_asking: false }, now);
        }
        // To make the requests is no part of their latency.
        let now = clock.now();
        self.clients[client].links.iter_mut().flatten().for_each(|link| link.stamp(now));
        self.flush_all(client, clock);
        self.rest_if_failed(client, clock);
    }

    /// Open loop: sends what is due, as long as a client is free.
    fn send_due(&mut self, clock: Clock) {
        let now = clock.now();
        let mut last = None;
        while let Some(&client) = self.permits.front()
            && let Some(due) = self.parts.schedule.take_due(now)
        {
            self.permits.pop_front();
            self.tally.sent_late(now - due);
            let request = self.parts.requests.next();
            if !self.send(client, Flight { request, since: due, hops: 0, is_asking: false }, now) {
                self.rest(client, 1, now);
            }
            if let Some(before) = last.replace(client).filter(|before| *before != client) {
                self.flush_all(before, clock);
            }
        }
        if let Some(last) = last {
            self.flush_all(last, clock);
        }
    }

    /// Puts a request into the output of the node that serves its key; whether that was possible.
    #[inline]
    fn send(&mut self, client: usize, flight: Flight, now: u64) -> bool {
        self.parts.names.write(flight.request.key, &mut self.key);
        let node = self.parts.nodes.route(&self.key);
        if !self.push(client, node, flight, false, now) {
            return false;
        }
        self.clients[client].outstanding += 1;
        self.outstanding += 1;
        true
    }

    /// Puts a request, whose key `self.key` holds, into the output of `node`; counts an error where that cannot be
    /// reached.
    #[inline]
    fn push(&mut self, client: usize, node: u16, flight: Flight, is_ask: bool, now: u64) -> bool {
        let index = usize::from(node);
        if !matches!(self.clients[client].links.get(index), Some(Some(_)))
            && let Err(reason) = self.open(client, node)
        {
            let reason = format!("{}: {reason}", self.parts.nodes.get(node).name());
            self.tally.error(|| reason.clone());
            self.clients[client].has_failed = true;
            self.note_failure(reason, now);
            self.refresh(now);
            return false;
        }
        let writer = Writer { codec: &self.parts.codec, values: &self.parts.values, names: &self.parts.names };
        if let Some(link) = &mut self.clients[client].links[index] {
            if is_ask {
                link.push_asking(flight, now);
            }
            link.push(flight, &self.key, &writer, now);
        }
        true
    }

    /// Opens a client's connection to a node, and blocks meanwhile; fails at once while the node rests after it could
    /// not be reached, so that it does not hold up the other nodes' requests.
    #[cold]
    fn open(&mut self, client: usize, node: u16) -> Result<(), String> {
        let index = usize::from(node);
        if let Some(Some((failed, reason))) = self.unreachable.get(index)
            && failed.elapsed() < BACKOFF
        {
            return Err(reason.clone());
        }
        let open = || -> io::Result<Link> {
            let stream = self.parts.dialer.dial(&self.parts.nodes.get(node).addresses)?;
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            let token = Token(client * NODES_MAX + index);
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(Link::new(stream))
        };
        let opened = open().map_err(|error| error.to_string());
        if self.unreachable.len() <= index {
            self.unreachable.resize_with(index + 1, || None);
        }
        self.unreachable[index] = opened.as_ref().err().map(|reason| (Instant::now(), reason.clone()));
        let link = opened?;
        let links = &mut self.clients[client].links;
        if links.len() <= index {
            links.resize_with(index + 1, || None);
        }
        links[index] = Some(link);
        Ok(())
    }

    fn flush_all(&mut self, client: usize, clock: Clock) {
        for node in 0..self.clients[client].links.len() {
            self.flush(client, node, clock);
        }
    }

    #[inline]
    fn flush(&mut self, client: usize, node: usize, clock: Clock) {
        if let Some(Some(link)) = self.clients[client].links.get_mut(node)
            && let Err(error) = link.flush()
        {
            self.lose(client, node, &error, clock);
        }
    }

    /// Reads the replies of a connection, and lets its client go on.
    fn receive(&mut self, client: usize, node: usize, is_closed: bool, clock: Clock) {
        let Some(Some(link)) = self.clients[client].links.get_mut(node) else { return };
        let mut completed = 0;
        let parts = &mut self.parts;
        let received = link.receive(&mut self.piece, is_closed, &parts.codec, clock, |flight, reply, now| {
            if flight.is_asking {
                return;
            }
            if let Reply::Failed(text) = reply
                && flight.hops < HOPS_MAX
                && let Some(redirection) = parts.nodes.redirection(text, node as u16)
            {
                self.redirected.push((Flight { hops: flight.hops + 1, ..flight }, redirection));
                return;
            }
            completed += 1;
            self.tally.reply(&flight.request, &reply, flight.since, now, &parts.names);
        });
        self.complete(client, completed);
        if let Err(error) = received {
            self.lose(client, node, &error, clock);
        }
        if !self.redirected.is_empty() {
            self.redirect(client, clock);
        }
        if self.parts.schedule.is_open() {
            self.permits.extend(std::iter::repeat_n(client, completed));
        } else if self.clients[client].outstanding == 0 && !self.clients[client].has_failed {
            self.fill(client, clock);
        }
    }

    fn complete(&mut self, client: usize, count: usize) {
        self.clients[client].outstanding -= count;
        self.outstanding -= count;
    }

    /// Sends requests on to where a cluster's node wants them.
    #[cold]
    fn redirect(&mut self, client: usize, clock: Clock) {
        let now = clock.now();
        for (flight, Redirection { node, is_ask }) in std::mem::take(&mut self.redirected) {
            self.tally.redirection();
            self.parts.names.write(flight.request.key, &mut self.key);
            if !self.push(client, node, flight, is_ask, now) {
                self.complete(client, 1);
                if self.parts.schedule.is_open() {
                    self.rest(client, 1, now);
                }
            }
        }
        self.flush_all(client, clock);
    }

    /// Closes a connection; what was under way on it has failed.
    #[cold]
    fn lose(&mut self, client: usize, node: usize, error: &io::Error, clock: Clock) {
        let Some(link) = self.clients[client].links.get_mut(node).and_then(Option::take) else { return };
        let reason = format!("{}: {error}", self.parts.nodes.get(node as u16).name());
        let unanswered = link.into_unanswered().count();
        self.tally.lost_connection();
        if unanswered == 0 {
            // A server may close what is idle.
            return;
        }
        (0..unanswered).for_each(|_| self.tally.error(|| reason.clone()));
        self.complete(client, unanswered);
        self.clients[client].has_failed = true;
        let now = clock.now();
        self.note_failure(reason, now);
        if self.parts.schedule.is_open() {
            self.rest(client, unanswered, now);
        }
    }

    /// Closed loop: a client that has failed and waits for nothing more begins to rest.
    fn rest_if_failed(&mut self, client: usize, clock: Clock) {
        let is_open = self.parts.schedule.is_open();
        let Client { outstanding, has_failed, .. } = &mut self.clients[client];
        if !is_open && *outstanding == 0 && std::mem::take(has_failed) {
            self.rest(client, 0, clock.now());
        }
    }

    fn rest(&mut self, client: usize, permits: usize, now: u64) {
        self.resting.push(Rest { client, until: now + nanoseconds(BACKOFF), permits });
    }

    /// Lets those go on that have rested.
    fn wake(&mut self, clock: Clock) {
        if self.resting.is_empty() {
            return;
        }
        let now = clock.now();
        for Rest { client, permits, .. } in self.resting.extract_if(.., |rest| rest.until <= now).collect::<Vec<_>>() {
            if self.parts.schedule.is_open() {
                self.permits.extend(std::iter::repeat_n(client, permits));
            } else if self.clients[client].outstanding == 0 {
                self.fill(client, clock);
            }
        }
    }

    /// Closes connections whose server has not answered for too long.
    fn look_for_overdue(&mut self, clock: Clock) {
        let Some(limit) = clock.now().checked_sub(nanoseconds(self.parts.timeout)) else { return };
        for client in 0..self.clients.len() {
            for node in 0..self.clients[client].links.len() {
                if self.clients[client].links[node].as_ref().is_some_and(|link| link.is_overdue(limit)) {
                    let error = io::Error::new(io::ErrorKind::TimedOut, "no reply in time");
                    self.lose(client, node, &error, clock);
                }
            }
            self.rest_if_failed(client, clock);
        }
    }

    fn note_failure(&mut self, reason: String, now: u64) {
        let since = self.failing.take().map_or(now, |(since, _)| since);
        self.failing = Some((since, reason));
    }

    fn give_up_when_lost(&mut self, now: u64) -> Result<(), LoadError> {
        let Some((since, reason)) = &self.failing else { return Ok(()) };
        if self.tally.last_reply().is_some_and(|last| last > *since) {
            self.failing = None;
        } else if now.saturating_sub(*since) > nanoseconds(self.parts.timeout) {
            return Err(LoadError::Lost(reason.clone()));
        }
        Ok(())
    }

    /// Asks a cluster for its slots again, if that was not just done.
    fn refresh(&mut self, now: u64) {
        if self.parts.nodes.is_cluster() && now.saturating_sub(self.refreshed) >= nanoseconds(REFRESH) {
            self.refreshed = now;
            // Where nobody answers, the slots stay where they are.
            let _ = self.parts.nodes.refresh(&self.parts.dialer);
        }
    }
}

/// Wakes the loop when a request is due: epoll's own timeout knows only milliseconds.
struct Timer {
    descriptor: OwnedFd,
    armed: Option<u64>,
}

impl Timer {
    fn new(poll: &Poll) -> io::Result<Timer> {
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&descriptor.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Timer { descriptor, armed: None })
    }

    /// Lets the loop wake at `due`, or not at all.
    fn arm(&mut self, due: Option<u64>, now: u64) -> io::Result<()> {
        if due == self.armed {
            return Ok(());
        }
        // Zero would stop it.
        let wait = due.map_or(0, |due| due.saturating_sub(now).max(1));
        let it_value = Timespec { tv_sec: (wait / 1_000_000_000) as i64, tv_nsec: (wait % 1_000_000_000) as _ };
        let once = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        self.armed = due;
        Ok(())
    }

    /// It is not read: the next arming starts it anew, and events tell of changes alone.
    fn has_fired(&mut self) {
        self.armed = None;
    }
}

/// CPU time of the calling thread, user and system.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

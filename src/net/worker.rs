//! A worker: its connections receive, execute, commit and deliver, one step for all of them before the next.
//!
//! With one command a connection at a time, most of a worker's time is the kernel's, and whatever the kernel has done in
//! between, the code and data of the next step are out of the processor's nearest caches. Step by step they stay there, the
//! keys of all connections are fetched from memory together, and one commit serves all.

use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::buffers::{READ_BYTES, bound};
use super::connection::{Connection, Status};
use super::conversation::Protocol;
use super::listener::Accepted;
use super::sockets::Sockets;
use super::stream::Stream;
use crate::base::clock;
use crate::base::gather::{Gather, Mark};
use crate::command::access::{NO_PASSWORD, PROTECTED};
use crate::command::clients::{Client, Peer, SocketPermit};
use crate::command::executor::{Ahead, Batch, LOOK_AHEAD_COMMANDS};
use crate::command::state::State;
use crate::keyspace::KeyHash;
use crate::protocol::{book, resp};
use crate::reply::{Error, Sink};

const MAX_CLIENTS: Error = Error::new("ERR max number of clients reached");
/// How long open connections may take to send what they have when the server ends.
const DRAIN: Duration = Duration::from_secs(2);
/// Once so many bytes have been received they are executed and answered, before more are: they should stay in the cache.
const RECEIVED_BYTES: usize = 16 * 1024;
/// Once so many bytes of replies wait they are sent, before more is executed.
const REPLIES_BYTES: usize = 256 * 1024;
/// So many connections wait for a commit at most while others may join them.
const UNCOMMITTED_MAX: usize = 256;
/// After so many cycles the worker's timers are looked at.
const CYCLES_A_POLL: usize = 8;

/// What comes to a worker.
pub enum Arrival {
    /// The socket of a new client, which takes a permit.
    Client { permit: SocketPermit, socket: Accepted, protocol: Protocol, ordinal: usize },
    /// A connection of another worker that this one is to go on with.
    Moved(Box<Connection>),
    /// Nobody any more: the server ends.
    Stop,
}

/// What goes to each of the workers.
pub type Queues = Arc<[mpsc::UnboundedSender<Arrival>]>;

/// A thread's connections, and how others come to it.
pub struct Worker {
    index: usize,
    state: Arc<State>,
    /// Of all workers.
    queues: Queues,
    cycle: Cycle,
}

impl Worker {
    /// Creates worker number `index` of those that `queues` lead to, for the runtime that has been entered.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new(index: usize, state: Arc<State>, queues: Queues) -> io::Result<Worker> {
        let cycle = Cycle::new(state.clone())?;
        Ok(Worker { index, state, queues, cycle })
    }

    /// Serves who arrives, until the server stops; then lets all have what they were about to get.
    pub async fn work(mut self, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
        poll_fn(|context| {
            self.cycle.poll(context, &self.queues);
            while let Poll::Ready(arrival) = arrivals.poll_recv(context) {
                match arrival {
                    Some(Arrival::Stop) | None => return Poll::Ready(()),
                    Some(arrival) => self.welcome_or_tell(arrival),
                }
            }
            Poll::Pending
        })
        .await;
        // Those on their way come in yet.
        arrivals.close();
        while let Some(arrival) = arrivals.recv().await {
            self.welcome_or_tell(arrival);
        }
        // Everybody's clients, not only this worker's: the others do the same.
        for client in self.state.clients.all() {
            client.drain();
        }
        let drained = poll_fn(|context| {
            self.cycle.poll(context, &self.queues);
            if self.cycle.len() == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(count = self.cycle.len(), "connections that did not read their replies were cut");
        }
    }

    fn welcome_or_tell(&mut self, arrival: Arrival) {
        if let Err(error) = self.welcome(arrival) {
            tracing::debug!(%error, "a connection ended before it began, or on its way to another worker");
        }
    }

    fn welcome(&mut self, arrival: Arrival) -> io::Result<()> {
        match arrival {
            Arrival::Client { permit, socket, protocol, ordinal } => {
                let (socket, peer) = socket.set_up(self.state.settings.tcp_keepalive.get().max(0) as u64)?;
                self.take_in(Stream::with_permit(socket, permit), peer, protocol, ordinal)
            }
            Arrival::Moved(mut connection) => {
                connection.assign_worker(self.index);
                self.cycle.add(connection)
            }
            Arrival::Stop => Ok(()),
        }
    }

    /// Serves a new client, or tells it why it may not come in.
    fn take_in(&mut self, stream: Stream, peer: Peer, protocol: Protocol, ordinal: usize) -> io::Result<()> {
        match admit(&self.state, peer, protocol) {
            Ok(client) => {
                let connection = Connection::new(stream, self.state.clone(), client, protocol, ordinal, self.index);
                self.cycle.add(Box::new(connection))
            }
            Err(error) => {
                refuse(stream, protocol, &error);
                Ok(())
            }
        }
    }
}

/// Registers a client, or says why it may not come in.
fn admit(state: &State, peer: Peer, protocol: Protocol) -> Result<Arc<Client>, Error> {
    let has_password = state.has_password();
    let refused = if state.is_protected_from(&peer) {
        PROTECTED
    } else if has_password && protocol == Protocol::Book {
        NO_PASSWORD
    } else {
        match state.clients.connect(state.max_clients(), |id| Client::new(id, peer, clock::now_ms(), !has_password)) {
            Some(client) => return Ok(client),
            None => MAX_CLIENTS,
        }
    };
    state.stats.shard().connections_rejected.add(1);
    Err(refused)
}

/// Tells a client why it may not come in, as far as its socket takes it at once.
fn refuse(stream: Stream, protocol: Protocol, error: &Error) {
    let mut bytes = Gather::default();
    match protocol {
        Protocol::Resp => resp::ReplyWriter::new(&mut bytes, resp::Version::Resp2).error(error),
        Protocol::Book => book::ReplyWriter::new(&mut bytes).error(error),
    }
    stream.write_last(bytes.own());
}

/// The connections that were woken since the last cycle, by something else than their sockets.
#[derive(Default)]
struct Woken {
    tokens: Vec<usize>,
    /// The waker of the task that goes through the cycles.
    task: Option<Waker>,
}

/// Wakes one connection.
struct ConnectionWaker {
    woken: Arc<Mutex<Woken>>,
    token: usize,
    /// Whether it is among the woken.
    is_woken: AtomicBool,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = self.woken.lock();
        woken.tokens.push(self.token);
        if let (1, Some(task)) = (woken.tokens.len(), &woken.task) {
            task.wake_by_ref();
        }
    }
}

/// What a worker is to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    /// Nothing.
    Idle,
    /// To take it through the next cycle.
    Due,
    /// To commit what it has executed; and to take it through another cycle then, if it has been woken meanwhile.
    Uncommitted { is_woken: bool },
    /// To drop it: it has panicked.
    Failed,
}

/// A connection, and what its worker knows of it.
struct Served {
    connection: Box<Connection>,
    connection_waker: Arc<ConnectionWaker>,
    waker: Waker,
    schedule: Schedule,
}

impl Served {
    /// Has it taken through the next cycle. Returns whether it must be put among those that are.
    #[inline]
    fn make_due(&mut self) -> bool {
        match self.schedule {
            Schedule::Idle => {
                self.schedule = Schedule::Due;
                true
            }
            Schedule::Due => false,
            Schedule::Uncommitted { .. } => {
                self.schedule = Schedule::Uncommitted { is_woken: true };
                false
            }
            Schedule::Failed => true,
        }
    }

    /// Takes a step, and survives it if the connection does not: a panic ends nobody else's connection.
    #[inline]
    fn step<R>(&mut self, step: impl FnOnce(&mut Connection, &mut Context<'_>) -> R) -> Option<R> {
        if self.schedule == Schedule::Failed {
            return None;
        }
        let (connection, waker) = (&mut *self.connection, &self.waker);
        let result = catch_unwind(AssertUnwindSafe(|| step(connection, &mut Context::from_waker(waker))));
        if result.is_err() {
            tracing::error!("a connection has panicked and is closed");
            self.schedule = Schedule::Failed;
        }
        result.ok()
    }
}

/// What one connection has received, and is answered: where that lies in [`Cycle::received`] and [`Cycle::replies`].
struct Exchange {
    token: usize,
    received: Range<usize>,
    is_to_execute: bool,
    /// Its command, if it is one alone.
    ahead: Option<Ahead>,
    replies: (Mark, Mark),
}

impl Exchange {
    fn new(token: usize) -> Exchange {
        Exchange { token, received: 0..0, is_to_execute: false, ahead: None, replies: Default::default() }
    }
}

/// The connections of a worker, and what they share.
struct Cycle {
    state: Arc<State>,
    served: Slab<Served>,
    sockets: Sockets,
    woken: Arc<Mutex<Woken>>,
    /// Those of the present cycle.
    present: Vec<usize>,
    /// Those of the next cycle, as far as they are known already.
    next: Vec<usize>,
    exchanges: Vec<Exchange>,
    received: Vec<u8>,
    replies: Gather,
    /// Those whose replies wait for the next commit.
    uncommitted: Vec<usize>,
}

impl Cycle {
    /// Creates a cycle without connections, whose sockets are watched by the runtime that has been entered.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new(state: Arc<State>) -> io::Result<Cycle> {
        Ok(Cycle {
            state,
            served: Slab::new(),
            sockets: Sockets::new()?,
            woken: Arc::default(),
            present: Vec::new(),
            next: Vec::new(),
            exchanges: Vec::new(),
            received: Vec::new(),
            replies: Gather::default(),
            uncommitted: Vec::new(),
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.served.len()
    }

    /// Adds a connection.
    ///
    /// # Errors
    /// When the system watches no more sockets.
    pub fn add(&mut self, mut connection: Box<Connection>) -> io::Result<()> {
        let vacant = self.served.vacant_entry();
        let (woken, token) = (self.woken.clone(), vacant.key());
        self.sockets.add(connection.stream().socket(), token)?;
        let connection_waker = Arc::new(ConnectionWaker { woken, token, is_woken: AtomicBool::new(false) });
        let waker = Waker::from(connection_waker.clone());
        connection.set_waker(&waker);
        waker.wake_by_ref();
        vacant.insert(Served { connection, connection_waker, waker, schedule: Schedule::Idle });
        Ok(())
    }

    /// Goes through cycles with those that are due, until nobody is, or that was long; the task is woken when the next cycle
    /// is due. Connections that go on with another worker are sent to its queue.
    pub fn poll(&mut self, task: &mut Context<'_>, queues: &[mpsc::UnboundedSender<Arrival>]) {
        for _ in 0..CYCLES_A_POLL {
            let is_told = self.gather(task);
            if !is_told && self.present.is_empty() && self.uncommitted.is_empty() {
                return;
            }
            let present = std::mem::take(&mut self.present);
            let uncommitted = self.uncommitted.len();
            let mut rest = &present[..];
            while !rest.is_empty() {
                rest = &rest[self.receive(rest)..];
                let mut delivered = 0;
                while delivered < self.exchanges.len() {
                    let executed = self.execute(delivered);
                    self.deliver(delivered..executed, queues);
                    delivered = executed;
                }
            }
            self.present = present;
            // Not before nobody joins any more: who has become ready meanwhile is looked for once more.
            if self.uncommitted.len() == uncommitted || self.uncommitted.len() >= UNCOMMITTED_MAX {
                self.commit(queues);
            }
        }
        task.waker().wake_by_ref();
    }

    /// Gathers those that are due. Returns whether the sockets told of any, and must be asked again.
    fn gather(&mut self, task: &mut Context<'_>) -> bool {
        self.present.clear();
        std::mem::swap(&mut self.present, &mut self.next);
        let (served, present) = (&mut self.served, &mut self.present);
        let mut woken = self.woken.lock();
        for token in woken.tokens.drain(..) {
            let Some(served) = served.get_mut(token) else { continue };
            // Before anything is looked at, so that no change is missed. Whose token this was before may have woken it, too.
            served.connection_waker.is_woken.swap(false, Ordering::SeqCst);
            if served.make_due() {
                present.push(token);
            }
        }
        if !woken.task.as_ref().is_some_and(|present| present.will_wake(task.waker())) {
            woken.task = Some(task.waker().clone());
        }
        drop(woken);
        let told = self.sockets.poll(task, |token, ready| {
            let Some(served) = served.get_mut(token) else { return };
            served.connection.stream().set_ready(ready);
            if served.make_due() {
                present.push(token);
            }
        });
        // The server then ends: this worker would serve nobody any more.
        told.expect("a selector can be asked")
    }

    /// Has the connections of these tokens receive, until that is much. Returns how many of them have.
    fn receive(&mut self, tokens: &[usize]) -> usize {
        self.exchanges.clear();
        let mut end = 0;
        for (index, &token) in tokens.iter().enumerate() {
            let Some(served) = self.served.get_mut(token) else { continue };
            if served.schedule == Schedule::Due {
                served.schedule = Schedule::Idle;
            }
            if self.received.len() < end + READ_BYTES {
                self.received.resize(end + READ_BYTES, 0);
            }
            let room = &mut self.received[end..end + READ_BYTES];
            let bytes = served.step(|connection, context| connection.receive(room, context)).unwrap_or_default();
            self.exchanges.push(Exchange {
                received: end..end + bytes,
                is_to_execute: served.connection.is_to_execute(),
                ..Exchange::new(token)
            });
            end += bytes;
            if end >= RECEIVED_BYTES {
                return index + 1;
            }
        }
        tokens.len()
    }

    /// Has the connections execute what they have received, from that exchange on, until there is much to send. Returns the
    /// first exchange that is left.
    fn execute(&mut self, first: usize) -> usize {
        self.replies.clear();
        let exchanges = &mut self.exchanges[first..];
        if !exchanges.iter().any(|exchange| exchange.is_to_execute) {
            return self.exchanges.len();
        }
        let mut executed = first;
        let mut batch = Batch::new(&self.state);
        for group in exchanges.chunks_mut(LOOK_AHEAD_COMMANDS) {
            // One alone has nothing to overlap with.
            if group.len() > 1 {
                look_ahead(&self.state, &mut self.served, group, &mut self.received);
            }
            for exchange in group {
                if self.replies.len() >= REPLIES_BYTES {
                    return executed;
                }
                executed += 1;
                let begin = self.replies.mark();
                if let Some(served) = self.served.get_mut(exchange.token).filter(|_| exchange.is_to_execute) {
                    if batch.is_long() {
                        batch = Batch::new(&self.state);
                    }
                    let (received, replies) = (&mut self.received[exchange.received.clone()], &mut self.replies);
                    let (batch, ahead) = (&mut batch, exchange.ahead);
                    served.step(|connection, context| connection.execute(batch, ahead, received, replies, context));
                }
                exchange.replies = (begin, self.replies.mark());
            }
        }
        executed
    }

    /// Has the connections of these exchanges deliver what they have executed, and does what they then need.
    fn deliver(&mut self, exchanges: Range<usize>, queues: &[mpsc::UnboundedSender<Arrival>]) {
        for &Exchange { token, replies: (from, to), .. } in &self.exchanges[exchanges] {
            let Some(served) = self.served.get_mut(token) else { continue };
            let replies = &mut self.replies;
            match served.step(|connection, _| connection.deliver(replies, from, to)) {
                Some(Status::Idle) => {}
                Some(Status::Busy) => {
                    if served.make_due() {
                        self.next.push(token);
                    }
                }
                // Whether it still has to wait is not asked: others commit, too, and nobody would wake it.
                Some(Status::Uncommitted) => {
                    served.schedule = Schedule::Uncommitted { is_woken: served.schedule == Schedule::Due };
                    self.uncommitted.push(token);
                }
                Some(Status::Moves(worker)) => {
                    let mut connection = self.served.remove(token).connection;
                    if let Err(error) = self.sockets.remove(connection.stream().socket()) {
                        tracing::warn!(%error, "a socket cannot be given to another worker");
                    }
                    self.state.stats.shard().connections_moved.add(1);
                    // That worker is gone only when the server ends.
                    let _ = queues[worker].send(Arrival::Moved(connection));
                }
                Some(Status::Over) | None => drop(self.served.remove(token)),
            }
        }
        bound(&mut self.replies);
    }

    /// Brings what was executed into the journal: the first one does that for all of them. Those that need not wait any more
    /// deliver.
    fn commit(&mut self, queues: &[mpsc::UnboundedSender<Arrival>]) {
        self.replies.clear();
        self.exchanges.clear();
        for token in self.uncommitted.drain(..) {
            let Some(served) = self.served.get_mut(token) else { continue };
            let is_committed = served.step(|connection, context| connection.poll_commit(context).is_ready());
            if let Schedule::Uncommitted { is_woken } = served.schedule {
                served.schedule = Schedule::Idle;
                if is_woken && served.make_due() {
                    self.next.push(token);
                }
            }
            if is_committed != Some(false) {
                self.exchanges.push(Exchange::new(token));
            }
        }
        self.deliver(0..self.exchanges.len(), queues);
    }
}

/// Looks at the commands of those that have sent one alone, and has their keys brought into the cache together.
fn look_ahead(state: &State, served: &mut Slab<Served>, group: &mut [Exchange], received: &mut [u8]) {
    let mut key_hashes = SmallVec::<[(usize, KeyHash); LOOK_AHEAD_COMMANDS]>::new();
    for exchange in &mut *group {
        let Some(served) = served.get_mut(exchange.token).filter(|_| !exchange.received.is_empty()) else { continue };
        let received = &mut received[exchange.received.clone()];
        exchange.ahead = served.step(|connection, _| connection.look_ahead(received)).flatten();
        key_hashes.extend(exchange.ahead.and_then(|ahead| served.connection.key_hash(&ahead)));
    }
    for alike in key_hashes.chunk_by(|(database, _), (other, _)| database == other) {
        state.keyspace.prefetch(alike[0].0, alike.iter().map(|&(_, key_hash)| key_hash));
    }
}

#[cfg(test)]
mod tests;

//! A worker's cycle: its connections receive, execute, commit and send, one step for all of them before the next.
//!
//! With one command a connection at a time, most of a worker's time is the kernel's, and whatever the kernel has done in
//! between, the code and data of the next step are out of the processor's nearest caches. Step by step they stay there, the
//! keys of all connections are fetched from memory together, and one commit serves all.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;

use super::buffers::{READ_BYTES, bound};
use super::connection::{Connection, Status};
use super::sockets::Sockets;
use crate::base::gather::{Gather, Mark};
use crate::command::executor::{Ahead, Batch, LOOK_AHEAD_COMMANDS};
use crate::command::state::State;
use crate::keyspace::KeyHash;

/// Once so many bytes have been received they are executed and answered, before more are: they should stay in the cache.
const RECEIVED_BYTES: usize = 16 * 1024;
/// Once so many bytes of replies wait they are sent, before more is executed.
const REPLIES_BYTES: usize = 256 * 1024;
/// So many connections wait for a commit at most while others may join them.
const UNCOMMITTED_MAX: usize = 256;
/// After so many cycles the worker's timers are looked at.
const CYCLES_A_POLL: usize = 8;

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
pub struct Cycle {
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
    /// Those that are to go on with another worker, of that number.
    leaving: Vec<(Box<Connection>, usize)>,
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
            leaving: Vec::new(),
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
    /// is due. Returns the connections that go on with another worker, and its number.
    pub fn poll(&mut self, task: &mut Context<'_>) -> Vec<(Box<Connection>, usize)> {
        for _ in 0..CYCLES_A_POLL {
            let is_told = self.gather(task);
            if !is_told && self.present.is_empty() && self.uncommitted.is_empty() {
                return std::mem::take(&mut self.leaving);
            }
            self.run();
        }
        task.waker().wake_by_ref();
        std::mem::take(&mut self.leaving)
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

    /// Goes through one cycle with those that were gathered.
    fn run(&mut self) {
        let present = std::mem::take(&mut self.present);
        let uncommitted = self.uncommitted.len();
        let mut rest = &present[..];
        while !rest.is_empty() {
            rest = &rest[self.receive(rest)..];
            let mut delivered = 0;
            while delivered < self.exchanges.len() {
                let executed = self.execute(delivered);
                self.deliver(delivered..executed);
                delivered = executed;
            }
        }
        self.present = present;
        // Not before nobody joins any more: who has become ready meanwhile is looked for once more.
        if self.uncommitted.len() == uncommitted || self.uncommitted.len() >= UNCOMMITTED_MAX {
            self.commit();
        }
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
    fn deliver(&mut self, exchanges: Range<usize>) {
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
                    self.leaving.push((connection, worker));
                }
                Some(Status::Over) | None => drop(self.served.remove(token)),
            }
        }
        bound(&mut self.replies);
    }

    /// Brings what was executed into the journal: the first one does that for all of them. Those that need not wait any more
    /// deliver.
    fn commit(&mut self) {
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
        self.deliver(0..self.exchanges.len());
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
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use crate::base::key_hash::HashSecret;
    use crate::command::clients::{Client, Peer};
    use crate::config::Settings;
    use crate::net::conversation::Protocol;
    use crate::net::stream::Stream;

    /// A cycle with so many connections, and their clients' ends.
    fn cycle(count: usize) -> (Cycle, Vec<UnixStream>) {
        let state = Arc::new(State::new(Arc::new(Settings::default()), HashSecret::Xxh3(1), None));
        let mut cycle = Cycle::new(state.clone()).expect("a selector");
        let add = |ordinal| {
            let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
            let client = state.clients.connect(count, |id| Client::new(id, Peer::default(), 0, true)).expect("room");
            let connection = Connection::new(stream(ours), state.clone(), client, Protocol::Resp, ordinal, 0);
            cycle.add(Box::new(connection)).expect("a place");
            theirs
        };
        let clients = (0..count).map(add).collect();
        (cycle, clients)
    }

    fn stream(socket: UnixStream) -> Stream {
        Stream::new(socket.into_std().expect("a socket").into())
    }

    /// Goes through cycles until `done` is.
    async fn run<R>(cycle: &mut Cycle, done: impl Future<Output = R>) -> R {
        let cycles = poll_fn(|context| {
            assert!(cycle.poll(context).is_empty(), "nobody leaves");
            Poll::<()>::Pending
        });
        let both = async {
            tokio::select! {
                result = done => result,
                () = cycles => unreachable!("cycles have no end"),
            }
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("an end in time")
    }

    /// Waits until all connections are, without going through a cycle.
    async fn all_are_due(cycle: &mut Cycle) {
        let gathered = async {
            while !cycle.served.iter().all(|(_, served)| served.schedule == Schedule::Due) {
                tokio::task::yield_now().await;
                cycle.gather(&mut Context::from_waker(Waker::noop()));
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gathered).await.expect("requests in time");
    }

    async fn ask(client: &mut UnixStream, request: &str) -> String {
        client.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut reply = [0; 64];
        let bytes = client.read(&mut reply).await.expect("a reply");
        String::from_utf8_lossy(&reply[..bytes]).into_owned()
    }

    #[tokio::test]
    async fn each_is_answered_what_it_asked() {
        let (mut cycle, mut clients) = cycle(100);
        for round in 0..3 {
            for (number, client) in clients.iter_mut().enumerate() {
                // Some of them several commands at once, some not a whole one.
                let more = if number % 7 == 0 { "INCR more\r\n" } else { "" };
                let request = format!("{more}INCRBY {number} {}\r\nPI", round + 1);
                client.write_all(request.as_bytes()).await.expect("a request is taken");
            }
            for (number, client) in clients.iter_mut().enumerate() {
                let expected = format!(":{}\r\n+PONG\r\n", (round + 1) * (round + 2) / 2);
                let reply = run(&mut cycle, async {
                    client.write_all(b"NG\r\n").await.expect("a request is taken");
                    let mut reply = String::new();
                    while !reply.ends_with("+PONG\r\n") {
                        let mut bytes = [0; 64];
                        let count = client.read(&mut bytes).await.expect("a reply");
                        assert!(count > 0, "not closed");
                        reply += &String::from_utf8_lossy(&bytes[..count]);
                    }
                    reply
                })
                .await;
                assert!(reply.ends_with(&expected), "client {number}: {reply:?}");
                assert_eq!(reply.len() > expected.len(), number % 7 == 0);
            }
        }
    }

    #[tokio::test]
    async fn large_replies_are_sent_before_more_are_made() {
        const VALUE_BYTES: usize = 100_000;
        let (mut cycle, mut clients) = cycle(20);
        let value = "v".repeat(VALUE_BYTES);
        assert_eq!(run(&mut cycle, ask(&mut clients[0], &format!("SET key {value}\r\n"))).await, "+OK\r\n");
        for client in &mut clients {
            client.write_all(b"GET key\r\n").await.expect("a request is taken");
        }
        all_are_due(&mut cycle).await;
        let tokens: Vec<usize> = (0..clients.len()).collect();
        assert_eq!(cycle.receive(&tokens), tokens.len());
        assert_eq!(cycle.exchanges.len(), clients.len());
        let mut executed = 0;
        let mut batches = 0;
        while executed < cycle.exchanges.len() {
            let next = cycle.execute(executed);
            assert!(cycle.replies.len() <= REPLIES_BYTES + VALUE_BYTES + 64);
            cycle.deliver(executed..next);
            executed = next;
            batches += 1;
        }
        assert_eq!(batches, 7);
        for client in &mut clients {
            let mut reply = vec![0; VALUE_BYTES + 11];
            run(&mut cycle, client.read_exact(&mut reply)).await.expect("a reply");
            assert_eq!(String::from_utf8_lossy(&reply), format!("${VALUE_BYTES}\r\n{value}\r\n"));
        }
    }

    #[tokio::test]
    async fn a_socket_that_breaks_before_its_reply_is_sent_ends_its_connection() {
        let (mut cycle, mut clients) = cycle(3);
        for client in &mut clients {
            assert_eq!(run(&mut cycle, ask(client, "PING\r\n")).await, "+PONG\r\n");
        }
        for client in &mut clients {
            client.write_all(b"INCR number\r\n").await.expect("a request is taken");
        }
        all_are_due(&mut cycle).await;
        assert_eq!(cycle.receive(&[0, 1, 2]), 3);
        drop(clients.remove(1));
        assert_eq!(cycle.execute(0), 3);
        cycle.deliver(0..3);
        assert_eq!((cycle.len(), cycle.state.clients.len()), (2, 2));
        for (client, reply) in clients.iter_mut().zip([":1\r\n", ":3\r\n"]) {
            let mut bytes = [0; 8];
            let count = client.read(&mut bytes).await.expect("a reply");
            assert_eq!(String::from_utf8_lossy(&bytes[..count]), reply);
            assert_eq!(run(&mut cycle, ask(client, "PING\r\n")).await, "+PONG\r\n");
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_connection() {
        let (mut cycle, mut clients) = cycle(3);
        for client in &mut clients {
            assert_eq!(run(&mut cycle, ask(client, "PING\r\n")).await, "+PONG\r\n");
        }
        cycle.served[1].step(|_, _| panic!("as it should"));
        cycle.served[1].waker.wake_by_ref();
        assert_eq!(run(&mut cycle, clients[1].read(&mut [0; 8])).await.expect("an orderly end"), 0);
        for client in [0, 2] {
            assert_eq!(run(&mut cycle, ask(&mut clients[client], "PING\r\n")).await, "+PONG\r\n");
        }
        assert_eq!(cycle.len(), 2);
    }

    #[tokio::test]
    async fn who_comes_later_takes_a_token_that_is_free_and_is_not_taken_for_who_left() {
        let (mut cycle, mut clients) = cycle(2);
        let left = cycle.served[0].waker.clone();
        drop(clients.remove(0));
        run(&mut cycle, ask(&mut clients[0], "PING\r\n")).await;
        while cycle.len() > 1 {
            run(&mut cycle, tokio::task::yield_now()).await;
        }
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let state = cycle.state.clone();
        let client = state.clients.connect(9, |id| Client::new(id, Peer::default(), 0, true)).expect("room");
        let connection = Connection::new(stream(ours), state, client, Protocol::Resp, 2, 0);
        cycle.add(Box::new(connection)).expect("a place");
        // Both wake it while more has come than is read at once: a command lies on the border.
        let requests = "INCR number\r\n".repeat(READ_BYTES / 10);
        theirs.write_all(requests.as_bytes()).await.expect("room for the requests");
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        left.wake_by_ref();
        let mut replies = String::new();
        while !replies.ends_with(&format!(":{}\r\n", READ_BYTES / 10)) {
            let mut bytes = [0; 4096];
            let count = run(&mut cycle, theirs.read(&mut bytes)).await.expect("a reply");
            assert!(count > 0, "not closed after {:?}", replies.lines().last());
            replies += &String::from_utf8_lossy(&bytes[..count]);
        }
        assert_eq!(replies.lines().count(), READ_BYTES / 10);
    }
}

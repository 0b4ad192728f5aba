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
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use slab::Slab;
use smallvec::SmallVec;

use super::buffers::{Buffers, READ_BYTES};
use super::connection::{Connection, End};
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
/// After so many cycles the worker's timers have their turn.
const CYCLES_A_POLL: usize = 8;

/// The connections that were woken since the last cycle, by something else than their sockets.
#[derive(Default)]
struct Woken {
    places: Vec<usize>,
    /// Of the task that goes through the cycles.
    task: Option<Waker>,
}

/// Wakes one connection.
struct Notice {
    woken: Arc<Mutex<Woken>>,
    place: usize,
    /// Whether it is among the woken.
    is_given: AtomicBool,
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_given.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = self.woken.lock();
        woken.places.push(self.place);
        if let (1, Some(task)) = (woken.places.len(), &woken.task) {
            task.wake_by_ref();
        }
    }
}

/// A connection and what belongs to its place.
struct Member {
    connection: Box<Connection>,
    notice: Arc<Notice>,
    waker: Waker,
    /// Whether it is among those of the present cycle whose turn has not come.
    is_due: bool,
    /// Whether it is among those whose replies await a commit.
    is_uncommitted: bool,
    has_failed: bool,
}

impl Member {
    /// Takes a step, and survives it if the connection does not: a panic ends nobody else's connection.
    #[inline]
    fn step<R>(&mut self, step: impl FnOnce(&mut Connection, &mut Context<'_>) -> R) -> Option<R> {
        if self.has_failed {
            return None;
        }
        let (connection, waker) = (&mut *self.connection, &self.waker);
        let result = catch_unwind(AssertUnwindSafe(|| step(connection, &mut Context::from_waker(waker))));
        if result.is_err() {
            tracing::error!("a connection has panicked and is closed");
            self.has_failed = true;
        }
        result.ok()
    }
}

/// What one connection has received, and is answered: places in [`Cycle::received`] and [`Cycle::replies`].
struct Exchange {
    place: usize,
    input: Range<usize>,
    /// Its command, if it is one alone.
    ahead: Option<Ahead>,
    output: (Mark, Mark),
}

pub struct Cycle {
    state: Arc<State>,
    members: Slab<Member>,
    sockets: Sockets,
    woken: Arc<Mutex<Woken>>,
    /// Those of the present cycle.
    places: Vec<usize>,
    exchanges: Vec<Exchange>,
    received: Vec<u8>,
    replies: Gather,
    /// Those whose replies wait for the next commit.
    uncommitted: Vec<usize>,
    /// Those that are to go on with another worker, of that number.
    leaving: Vec<(Box<Connection>, usize)>,
    buffers: Buffers,
}

impl Cycle {
    /// Its sockets are watched by the runtime that has been entered.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new(state: Arc<State>) -> io::Result<Cycle> {
        Ok(Cycle {
            state,
            members: Slab::new(),
            sockets: Sockets::new()?,
            woken: Arc::default(),
            places: Vec::new(),
            exchanges: Vec::new(),
            received: Vec::new(),
            replies: Gather::default(),
            uncommitted: Vec::new(),
            leaving: Vec::new(),
            buffers: Buffers::default(),
        })
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// One connection more.
    ///
    /// # Errors
    /// When the system watches no more sockets.
    pub fn add(&mut self, connection: Box<Connection>) -> io::Result<()> {
        let vacant = self.members.vacant_entry();
        let (woken, place) = (self.woken.clone(), vacant.key());
        self.sockets.add(connection.socket(), place)?;
        let notice = Arc::new(Notice { woken, place, is_given: AtomicBool::new(false) });
        let waker = Waker::from(notice.clone());
        connection.set_waker(&waker);
        waker.wake_by_ref();
        vacant.insert(Member { connection, notice, waker, is_due: false, is_uncommitted: false, has_failed: false });
        Ok(())
    }

    /// Goes through cycles with those that are due, until nobody is, or that was long; the task is woken when the next cycle
    /// is due. Returns the connections that go on with another worker, and its number.
    pub fn poll(&mut self, task: &mut Context<'_>) -> Vec<(Box<Connection>, usize)> {
        for _ in 0..CYCLES_A_POLL {
            let is_told = self.gather(task);
            if !is_told && self.places.is_empty() && self.uncommitted.is_empty() {
                return std::mem::take(&mut self.leaving);
            }
            self.run();
        }
        task.waker().wake_by_ref();
        std::mem::take(&mut self.leaving)
    }

    /// Gathers those that are due. Returns whether the sockets told of any, and must be asked again.
    fn gather(&mut self, task: &mut Context<'_>) -> bool {
        self.places.clear();
        let mut woken = self.woken.lock();
        std::mem::swap(&mut woken.places, &mut self.places);
        if !woken.task.as_ref().is_some_and(|present| present.will_wake(task.waker())) {
            woken.task = Some(task.waker().clone());
        }
        drop(woken);
        let members = &mut self.members;
        self.places.retain(|&place| {
            members.get_mut(place).is_some_and(|member| {
                // Before anything is looked at, so that no change is missed. Who had this place before may have woken it, too.
                member.notice.is_given.swap(false, Ordering::SeqCst);
                !std::mem::replace(&mut member.is_due, true)
            })
        });
        let told = self.sockets.poll(task, |place, ready| {
            let Some(member) = members.get_mut(place) else { return };
            member.connection.set_ready(ready);
            if !std::mem::replace(&mut member.is_due, true) {
                self.places.push(place);
            }
        });
        // The server then ends: this worker would serve nobody any more.
        told.expect("a selector can be asked")
    }

    /// Goes through one cycle with those that were gathered.
    fn run(&mut self) {
        let places = std::mem::take(&mut self.places);
        let uncommitted = self.uncommitted.len();
        let mut rest = &places[..];
        while !rest.is_empty() {
            let (present, later) = rest.split_at(self.receive(rest));
            let mut answered = 0;
            while answered < self.exchanges.len() {
                let executed = self.execute(answered);
                self.send(answered..executed);
                answered = executed;
            }
            present.iter().for_each(|&place| self.go_on(place));
            rest = later;
        }
        self.places = places;
        // Not before nobody joins any more: who has become ready meanwhile is looked for once more.
        if self.uncommitted.len() == uncommitted || self.uncommitted.len() >= UNCOMMITTED_MAX {
            self.commit();
        }
    }

    /// Reads from the sockets of `places`, until that is much. Returns how many of them had their turn.
    fn receive(&mut self, places: &[usize]) -> usize {
        self.exchanges.clear();
        let mut end = 0;
        for (index, &place) in places.iter().enumerate() {
            let Some(member) = self.members.get_mut(place) else { continue };
            member.is_due = false;
            if self.received.len() < end + READ_BYTES {
                self.received.resize(end + READ_BYTES, 0);
            }
            let room = &mut self.received[end..end + READ_BYTES];
            let bytes = member.step(|connection, _| connection.receive(room)).unwrap_or_default();
            if bytes > 0 {
                self.exchanges.push(Exchange {
                    place,
                    input: end..end + bytes,
                    ahead: None,
                    output: Default::default(),
                });
                end += bytes;
            }
            if end >= RECEIVED_BYTES {
                return index + 1;
            }
        }
        places.len()
    }

    /// Executes what was received, from that exchange on, until there is much to send. Returns the first exchange whose turn
    /// has not come.
    fn execute(&mut self, first: usize) -> usize {
        self.replies.clear();
        let mut executed = first;
        let mut batch = Batch::new(&self.state);
        for group in self.exchanges[first..].chunks_mut(LOOK_AHEAD_COMMANDS) {
            // One alone has nothing to overlap with.
            if group.len() > 1 {
                look_ahead(&self.state, &mut self.members, group, &mut self.received);
            }
            for exchange in group {
                if self.replies.len() >= REPLIES_BYTES {
                    return executed;
                }
                executed += 1;
                let Some(member) = self.members.get_mut(exchange.place) else { continue };
                if batch.is_long() {
                    batch = Batch::new(&self.state);
                }
                let (input, begin) = (&mut self.received[exchange.input.clone()], self.replies.mark());
                let (batch, replies) = (&mut batch, &mut self.replies);
                member.step(|connection, _| connection.execute(batch, exchange.ahead, input, replies));
                exchange.output = (begin, self.replies.mark());
            }
        }
        executed
    }

    fn send(&mut self, exchanges: Range<usize>) {
        for exchange in &self.exchanges[exchanges] {
            let Some(member) = self.members.get_mut(exchange.place) else { continue };
            let (replies, (from, to)) = (&mut self.replies, exchange.output);
            member.step(|connection, _| connection.deliver(replies, from, to));
        }
        Buffers::bound(&mut self.replies);
    }

    /// Lets a connection do what is left for it to do, and notes it if it has to wait for a commit.
    fn go_on(&mut self, place: usize) {
        let Some(member) = self.members.get_mut(place).filter(|member| !member.is_uncommitted) else { return };
        let buffers = &mut self.buffers;
        let end = match member.connection.awaits_commit() && !member.has_failed {
            true => Some(Poll::Pending),
            false => member.step(|connection, context| connection.poll(context, buffers)),
        };
        match end {
            Some(Poll::Ready(End::Moves(worker))) => self.leave(place, worker),
            Some(Poll::Ready(End::Over)) | None => drop(self.members.remove(place)),
            // Not whether it still has to wait: others commit, too, and nobody would wake it.
            Some(Poll::Pending) if member.connection.is_uncommitted() => {
                member.is_uncommitted = true;
                self.uncommitted.push(place);
            }
            Some(Poll::Pending) => {}
        }
    }

    fn leave(&mut self, place: usize, worker: usize) {
        let connection = self.members.remove(place).connection;
        if let Err(error) = self.sockets.remove(connection.socket()) {
            tracing::warn!(%error, "a socket cannot be given to another worker");
        }
        self.leaving.push((connection, worker));
    }

    /// Brings what was executed into the journal: the first one does that for all of them.
    fn commit(&mut self) {
        let mut uncommitted = std::mem::take(&mut self.uncommitted);
        for &place in &uncommitted {
            let Some(member) = self.members.get_mut(place) else { continue };
            member.is_uncommitted = false;
            if member.connection.poll_commit(&mut Context::from_waker(&member.waker)).is_ready() {
                self.go_on(place);
            }
        }
        uncommitted.clear();
        uncommitted.append(&mut self.uncommitted);
        self.uncommitted = uncommitted;
    }
}

/// Looks at the commands of those that have sent one alone, and has their keys brought into the cache together.
fn look_ahead(state: &State, members: &mut Slab<Member>, group: &mut [Exchange], received: &mut [u8]) {
    let mut key_hashes = SmallVec::<[(usize, KeyHash); LOOK_AHEAD_COMMANDS]>::new();
    for exchange in &mut *group {
        let Some(member) = members.get_mut(exchange.place) else { continue };
        let input = &mut received[exchange.input.clone()];
        exchange.ahead = member.step(|connection, _| connection.look_ahead(input)).flatten();
        key_hashes.extend(exchange.ahead.and_then(|ahead| member.connection.key_hash(&ahead)));
    }
    for alike in key_hashes.chunk_by(|(database, _), (other, _)| database == other) {
        state.keyspace.prefetch(alike[0].0, alike.iter().map(|&(_, key_hash)| key_hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
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
            while !cycle.members.iter().all(|(_, member)| member.is_due) {
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
        let places: Vec<usize> = (0..clients.len()).collect();
        assert_eq!(cycle.receive(&places), places.len());
        assert_eq!(cycle.exchanges.len(), clients.len());
        let mut executed = 0;
        let mut turns = 0;
        while executed < cycle.exchanges.len() {
            let next = cycle.execute(executed);
            assert!(cycle.replies.len() <= REPLIES_BYTES + VALUE_BYTES + 64);
            cycle.send(executed..next);
            executed = next;
            turns += 1;
        }
        assert_eq!(turns, 7);
        places.iter().for_each(|&place| cycle.go_on(place));
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
        cycle.send(0..3);
        for place in 0..3 {
            cycle.go_on(place);
        }
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
        cycle.members[1].step(|_, _| panic!("as it should"));
        cycle.members[1].waker.wake_by_ref();
        assert_eq!(run(&mut cycle, clients[1].read(&mut [0; 8])).await.expect("an orderly end"), 0);
        for client in [0, 2] {
            assert_eq!(run(&mut cycle, ask(&mut clients[client], "PING\r\n")).await, "+PONG\r\n");
        }
        assert_eq!(cycle.len(), 2);
    }

    #[tokio::test]
    async fn who_comes_later_takes_a_place_that_is_free_and_is_not_taken_for_who_left() {
        let (mut cycle, mut clients) = cycle(2);
        let left = cycle.members[0].waker.clone();
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

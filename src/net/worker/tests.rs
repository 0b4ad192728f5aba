use super::*;
use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::base::key_hash::HashSecret;
use crate::command::clients::Push;
use crate::config::Settings;
use crate::net::transport::{Readiness, Transport};

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
        cycle.poll(context, &[]);
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
        cycle.deliver(executed..next, &[]);
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
    cycle.deliver(0..3, &[]);
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

/// Goes through cycles until that is so.
async fn run_until(cycle: &mut Cycle, is_so: impl Fn(&State) -> bool) {
    let state = cycle.state.clone();
    let waiting = async {
        while !is_so(&state) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    run(cycle, waiting).await;
}

/// What a client is answered next, so many bytes.
async fn answer(cycle: &mut Cycle, client: &mut UnixStream, bytes: usize) -> String {
    let mut reply = vec![0; bytes];
    run(cycle, client.read_exact(&mut reply)).await.expect("a reply");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Has the first client wait for a key.
async fn block(cycle: &mut Cycle, clients: &mut [UnixStream], request: &str) {
    clients[0].write_all(request.as_bytes()).await.expect("a request is taken");
    run_until(cycle, |state| state.clients.blocked() == 1).await;
    // Whatever else happens meanwhile.
    assert_eq!(run(cycle, ask(&mut clients[1], "SET other v\r\n")).await, "+OK\r\n");
    assert_eq!(cycle.state.clients.blocked(), 1);
}

#[tokio::test]
async fn a_client_that_blocks_is_woken_by_what_another_changes() {
    let (mut cycle, mut clients) = cycle(2);
    let request = "PING\r\nAWAIT key 0\r\nGET key\r\nPING\r\n";
    for value in ["one", "two"] {
        block(&mut cycle, &mut clients, request).await;
        assert_eq!(answer(&mut cycle, &mut clients[0], 7).await, "+PONG\r\n", "what was answered before goes at once");
        assert_eq!(run(&mut cycle, ask(&mut clients[1], &format!("SET key {value}\r\n"))).await, "+OK\r\n");
        let expected = format!("+OK\r\n$3\r\n{value}\r\n+PONG\r\n");
        assert_eq!(answer(&mut cycle, &mut clients[0], expected.len()).await, expected);
        assert_eq!(run(&mut cycle, ask(&mut clients[1], "DEL key\r\n")).await, ":1\r\n");
    }
    assert_eq!(cycle.state.clients.blocked(), 0);
}

#[tokio::test]
async fn a_client_that_blocks_is_woken_by_its_time_limit_and_by_other_clients() {
    let (mut cycle, mut clients) = cycle(2);
    let reply = run(&mut cycle, ask(&mut clients[0], "AWAIT key 20\r\n")).await;
    assert_eq!(reply, "$-1\r\n");
    let id = cycle.state.clients.all()[0].id;
    for (reason, expected) in [("TIMEOUT", "$-1\r\n"), ("ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
    {
        block(&mut cycle, &mut clients, "AWAIT key 600000\r\nPING\r\n").await;
        let unblock = format!("CLIENT UNBLOCK {id} {reason}\r\n");
        assert_eq!(run(&mut cycle, ask(&mut clients[1], &unblock)).await, ":1\r\n");
        let expected = format!("{expected}+PONG\r\n");
        assert_eq!(answer(&mut cycle, &mut clients[0], expected.len()).await, expected);
        assert_eq!(run(&mut cycle, ask(&mut clients[1], &unblock)).await, ":0\r\n", "it is not blocked any more");
    }
    block(&mut cycle, &mut clients, "AWAIT key 0\r\nPING\r\n").await;
    assert_eq!(run(&mut cycle, ask(&mut clients[1], &format!("CLIENT KILL ID {id}\r\n"))).await, ":1\r\n");
    assert_eq!(run(&mut cycle, clients[0].read(&mut [0; 8])).await.expect("an end"), 0);
    assert_eq!((cycle.len(), cycle.state.clients.blocked()), (1, 0));
}

#[tokio::test]
async fn who_has_gone_blocks_no_longer() {
    let (mut cycle, mut clients) = cycle(2);
    block(&mut cycle, &mut clients, "AWAIT key 0\r\nSET key v\r\n").await;
    clients[0].shutdown().await.expect("a half of it is closed");
    let mut rest = String::new();
    run(&mut cycle, clients[0].read_to_string(&mut rest)).await.expect("an end in good order");
    assert_eq!(rest, "$-1\r\n", "its time is up, and nothing is executed any more");
    assert_eq!(run(&mut cycle, ask(&mut clients[1], "EXISTS key\r\n")).await, ":0\r\n");
    assert_eq!(cycle.len(), 1);
}

#[tokio::test]
async fn pushes_come_before_the_replies_to_what_is_executed_later() {
    let (mut cycle, mut clients) = cycle(2);
    assert_eq!(run(&mut cycle, ask(&mut clients[0], "PING\r\n")).await, "+PONG\r\n");
    let client = cycle.state.clients.all()[0].clone();
    clients[0].write_all(b"PING\r\n").await.expect("a request is taken");
    for number in 0..3 {
        assert!(client.push(&Push::new(|sink| sink.integer(number)), 0));
    }
    assert_eq!(answer(&mut cycle, &mut clients[0], 19).await, ":0\r\n:1\r\n:2\r\n+PONG\r\n");
    // Nobody but the push wakes it.
    assert!(client.push(&Push::new(|sink| sink.simple("news")), 0));
    assert_eq!(answer(&mut cycle, &mut clients[0], 7).await, "+news\r\n");
}

/// A layer over a socket, as one that encrypts is: it reads when the socket takes bytes, whether it has some or not, gives out
/// what it has read a few bytes at a time, and keeps what it is given until it is told to send it.
struct Layer {
    socket: std::os::unix::net::UnixStream,
    ready: Readiness,
    plain: VecDeque<u8>,
    sealed: Vec<u8>,
}

/// What the layer makes of each byte.
fn seal(byte: u8) -> u8 {
    byte ^ 0x2a
}

impl Layer {
    fn wait<R>(is_ready: &mut bool, result: io::Result<R>) -> Poll<io::Result<R>> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *is_ready = false;
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }
}

impl Transport for Layer {
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn set_ready(&mut self, ready: Readiness) {
        self.ready.read |= ready.write;
        self.ready.write |= ready.write;
        self.ready.closed |= ready.closed;
    }

    fn look_again(&mut self) {
        (self.ready.read, self.ready.write) = (true, true);
    }

    fn is_closed(&self) -> bool {
        self.ready.closed
    }

    fn is_readable(&self) -> bool {
        self.ready.read || !self.plain.is_empty()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.plain.is_empty() && self.ready.read {
            let mut read = [0; 1000];
            match Layer::wait(&mut self.ready.read, self.socket.read(&mut read)) {
                Poll::Ready(Ok(count)) if count > 0 => self.plain.extend(read[..count].iter().copied().map(seal)),
                ended => return ended,
            }
        }
        if self.plain.is_empty() {
            return Poll::Pending;
        }
        let count = self.plain.len().min(buffer.len()).min(7);
        self.plain.drain(..count).zip(buffer).for_each(|(byte, place)| *place = byte);
        Poll::Ready(Ok(count))
    }

    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(1000_usize.saturating_sub(self.sealed.len()));
        self.sealed.extend(bytes[..taken].iter().copied().map(seal));
        if taken == 0 {
            // As one that encrypts, it makes room itself.
            match self.flush() {
                Poll::Ready(Ok(())) => return self.write(bytes),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write(slices.first().map_or(&[], |slice| slice))
    }

    fn has_unsent(&self) -> bool {
        !self.sealed.is_empty()
    }

    fn flush(&mut self) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            if !self.ready.write {
                return Poll::Pending;
            }
            let Poll::Ready(sent) = Layer::wait(&mut self.ready.write, self.socket.write(&self.sealed)) else {
                return Poll::Pending;
            };
            match sent {
                Ok(count) => drop(self.sealed.drain(..count)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_transport_with_readiness_of_its_own_goes_through_the_same_cycle() {
    const VALUE_BYTES: usize = 300_000;
    let (mut cycle, mut clients) = cycle(1);
    let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    let socket = ours.into_std().expect("a socket");
    let layer = Layer { socket, ready: Readiness::default(), plain: VecDeque::new(), sealed: Vec::new() };
    let state = cycle.state.clone();
    let client = state.clients.connect(9, |id| Client::new(id, Peer::default(), 0, true)).expect("room");
    let connection = Connection::new(Stream::over(layer), state, client, Protocol::Resp, 1, 0);
    cycle.add(Box::new(connection)).expect("a token");
    // Short commands and long ones, replies that are kept and such that are referred to, and the end behind the last of them.
    let value = "v".repeat(VALUE_BYTES);
    let commands = format!(
        "{}*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${VALUE_BYTES}\r\n{value}\r\nGET key\r\nQUIT\r\n",
        "INCR number\r\n".repeat(500)
    );
    let numbers: String = (1..=500).map(|number| format!(":{number}\r\n")).collect();
    let expected = format!("{numbers}+OK\r\n${VALUE_BYTES}\r\n{value}\r\n+OK\r\n");
    let (mut from_server, mut to_server) = theirs.split();
    let exchange = async {
        let sealed: Vec<u8> = commands.bytes().map(seal).collect();
        let mut received = Vec::new();
        let (sent, read) =
            tokio::join!(to_server.write_all(&sealed), async { from_server.read_to_end(&mut received).await });
        sent.expect("all is taken");
        read.expect("an end in good order");
        received.into_iter().map(seal).collect::<Vec<u8>>()
    };
    let received = run(&mut cycle, exchange).await;
    assert!(received == expected.as_bytes(), "{} bytes of {}", received.len(), expected.len());
    assert_eq!(cycle.len(), 1);
    assert_eq!(run(&mut cycle, ask(&mut clients[0], "GET number\r\n")).await, "$3\r\n500\r\n");
}

//! Clients that go: in every state that a connection can be in, by every way there is to go, many at a time. Nothing of
//! them stays, and who has closed its half only is sent what it is owed first.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Client, Engine, PATIENCE, Server, Value, encode, eventually, on_every_engine};
use tempfile::TempDir;

const LARGE_VALUE: usize = 100 * 1024;
const MB: u64 = 1 << 20;
/// Keys that are on disk only when a matrix begins, if the engine has one.
const COLD_KEYS: usize = 4000;

/// What clients have sent when they go.
struct State {
    name: &'static str,
    /// Of the number of the client.
    request: fn(usize) -> Vec<u8>,
    /// What those are sent who close their half only.
    owed: fn() -> Vec<u8>,
    /// How many clients go at a time, each way.
    clients: usize,
    /// Commands of somebody else before and after.
    around: [&'static [&'static str]; 2],
}

impl State {
    const fn new(name: &'static str, request: fn(usize) -> Vec<u8>, owed: fn() -> Vec<u8>) -> State {
        State { name, request, owed, clients: 200, around: [&["PING"]; 2] }
    }

    const fn clients(self, clients: usize) -> State {
        State { clients, ..self }
    }

    const fn between(self, before: &'static [&'static str], after: &'static [&'static str]) -> State {
        State { around: [before, after], ..self }
    }
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// All of a SET but its last bytes.
fn half_a_large_value(_: usize) -> Vec<u8> {
    let mut request = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1048576\r\n".to_vec();
    request.resize(1 << 20, b'v');
    request
}

fn large_reply() -> Vec<u8> {
    [format!("${LARGE_VALUE}\r\n").as_bytes(), &[b'v'; LARGE_VALUE], b"\r\n"].concat()
}

const RESP: &[State] = &[
    State::new("idle", |_| Vec::new(), nothing),
    State::new("an empty line", |_| b"\r\n".to_vec(), nothing),
    State::new("half a request", |_| b"*1\r\n$4\r\nPI".to_vec(), nothing),
    State::new("half a head", |_| b"*1".to_vec(), nothing),
    State::new("half an inline line", |_| b"PI".to_vec(), nothing),
    State::new("half a large value", half_a_large_value, nothing).clients(40),
    State::new("answered", |_| b"PING\r\n".to_vec(), || b"+PONG\r\n".to_vec()),
    State::new("answered, and half a request", |_| b"PING\r\n*1\r\n$4".to_vec(), || b"+PONG\r\n".to_vec()),
    State::new(
        "answered with an error",
        |_| b"*1\r\n$1000000000000\r\nx".to_vec(),
        || b"-ERR Protocol error: invalid bulk length\r\n".to_vec(),
    ),
    State::new("delayed", |_| b"DEBUG SLEEP 0.2\r\nPING\r\n".to_vec(), || b"+OK\r\n+PONG\r\n".to_vec()),
    State::new("blocked", |_| b"PING\r\nWAIT 1 0\r\nPING\r\n".to_vec(), || b"+PONG\r\n:0\r\n".to_vec()),
    State::new(
        "paused",
        |_| [&b"PING\r\nSET paused v\r\n"[..], &b"PING\r\n".repeat(20_000)].concat(),
        || b"+PONG\r\n".to_vec(),
    )
    .clients(40)
    .between(&["CLIENT", "PAUSE", "600000", "WRITE"], &["CLIENT", "UNPAUSE"]),
    State::new(
        "waiting for a cold key",
        |number| format!("GET cold:{}\r\n", number % COLD_KEYS).into_bytes(),
        || b"$1\r\nv\r\n".to_vec(),
    ),
    State::new("waiting for a walk", |_| b"KEYS nothing:*\r\nPING\r\n".to_vec(), || b"*0\r\n+PONG\r\n".to_vec())
        .clients(8),
    State::new(
        "waiting for a commit",
        |number| format!("SET commit:{number} v\r\n").into_bytes(),
        || b"+OK\r\n".to_vec(),
    ),
    State::new("replies unread", |_| b"GET large\r\n".repeat(100), || large_reply().repeat(100)).clients(20),
    State::new(
        "closing with replies unread",
        |_| [b"GET large\r\n".repeat(50), b"QUIT\r\nPI".to_vec()].concat(),
        || [large_reply().repeat(50), b"+OK\r\n".to_vec()].concat(),
    )
    .clients(20),
    State::new("CLIENT REPLY OFF", |_| b"CLIENT REPLY OFF\r\nPING\r\n".to_vec(), nothing),
    State::new("MONITOR", |_| b"MONITOR\r\n".to_vec(), || b"+OK\r\n".to_vec()).clients(20),
];

const PLAIN_TCP: &[State] = &[
    State::new("idle", |_| Vec::new(), nothing),
    State::new("half a request", |_| b"S3 5 ke".to_vec(), nothing),
    State::new("half a number", |_| b"G1".to_vec(), nothing),
    State::new("half a large value", |_| [&b"S4 1048576 half"[..], &[b'v'; 1_000_000]].concat(), nothing).clients(40),
    State::new("answered", |_| b"G7 missing".to_vec(), || b"0 ".to_vec()),
    State::new("answered, and half a request", |_| b"G7 missingG7".to_vec(), || b"0 ".to_vec()),
    State::new("waiting for a commit", |_| b"S6 1 commitv".to_vec(), || b"0 ".to_vec()),
    State::new(
        "replies unread",
        |_| b"G5 large".repeat(100),
        || [format!("{LARGE_VALUE} ").as_bytes(), &[b'v'; LARGE_VALUE]].concat().repeat(100),
    )
    .clients(20),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Close,
    HalfClose,
    Reset,
    Killed,
}

impl Way {
    const ALL: [Way; 4] = [Way::Close, Way::HalfClose, Way::Reset, Way::Killed];

    /// Goes with all of them; returns those that have a half left.
    fn go(self, streams: Vec<TcpStream>) -> Vec<TcpStream> {
        match self {
            Way::Close => {}
            Way::HalfClose => {
                // A server that has answered and closed may have reset the connection already.
                streams.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Write)));
                return streams;
            }
            Way::Reset => streams.iter().for_each(|stream| {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("a socket that can be reset");
            }),
            Way::Killed => {
                // A process that ends has three sockets at most which it need not know of.
                let mut rest = streams.into_iter().map(|stream| Stdio::from(OwnedFd::from(stream))).peekable();
                let mut children = Vec::new();
                while rest.peek().is_some() {
                    let mut next = || rest.next().unwrap_or_else(Stdio::null);
                    let (stdin, stdout, stderr) = (next(), next(), next());
                    let mut command = Command::new("sleep");
                    let child = command.arg("600").stdin(stdin).stdout(stdout).stderr(stderr).spawn();
                    children.push(child.expect("a process"));
                }
                for child in &mut children {
                    child.kill().and_then(|()| child.wait()).expect("the end of the process");
                }
            }
        }
        Vec::new()
    }
}

/// The server, and who looks at it.
struct Scene {
    server: Server,
    observer: Client,
    /// The process's sockets when only the observer is there.
    sockets: usize,
    used_bytes: u64,
    /// Clients so far.
    count: usize,
    /// Of the data.
    _place: TempDir,
}

impl Scene {
    fn start(engine: Engine) -> Scene {
        let place = tempfile::tempdir().expect("a directory");
        let start = || {
            Server::options(engine)
                .directory(place.path())
                .flag("--enable-debug-command")
                .flag("yes")
                .flag("--appendfsync")
                .flag("always")
                .start()
        };
        let mut server = start();
        let fill = |server: &Server| {
            let keys: Vec<[String; 3]> =
                (0..COLD_KEYS).map(|number| ["SET".into(), format!("cold:{number}"), "v".into()]).collect();
            assert!(server.client().pipeline(&keys).iter().all(|reply| *reply == Value::ok()));
        };
        fill(&server);
        if engine == Engine::Rocksdb {
            assert!(server.terminate().success());
            server = start();
        }
        let mut observer = server.client();
        assert_eq!(observer.command(&["SET", "large", &"v".repeat(LARGE_VALUE)]), Value::ok());
        let connected = || observer.info_number("clients", "connected_clients") == 1;
        assert!(eventually(PATIENCE, connected));
        let (sockets, used_bytes) = (sockets_of(&server), observer.info_number("memory", "used_memory"));
        Scene { server, observer, sockets, used_bytes, count: 0, _place: place }
    }

    fn received_bytes(&mut self) -> u64 {
        self.observer.info_number("stats", "total_net_input_bytes")
    }

    fn connect(&mut self, address: SocketAddr, state: &State) -> TcpStream {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&(state.request)(self.count)).expect("the request is taken");
        self.count += 1;
        stream
    }

    fn try_way(&mut self, address: SocketAddr, state: &State, way: Way) {
        let what = format!("{}, {way:?}", state.name);
        let [before, after] = state.around;
        assert!(!self.observer.command(before).is_error(), "{what}");
        let mut left = Vec::new();
        // The first ones go while what they have sent is on its way, one by one.
        if way != Way::Killed {
            for _ in 0..state.clients / 2 {
                let stream = self.connect(address, state);
                left.extend(way.go(vec![stream]));
            }
        }
        // The others have been heard.
        let settled = if way == Way::Killed { 12 } else { state.clients / 2 };
        let received = self.received_bytes();
        let streams: Vec<TcpStream> = (0..settled).map(|_| self.connect(address, state)).collect();
        // Of a paused one nothing more is read than what came with the command that has to wait.
        let mut expected = received + (settled * (state.request)(0).len().min(1024)) as u64;
        let are_heard = || {
            expected += encode(&["INFO", "stats"]).len() as u64;
            self.received_bytes() >= expected
        };
        assert!(eventually(PATIENCE, are_heard), "{what}: not heard");
        left.extend(way.go(streams));
        let owed = (state.owed)();
        for stream in &mut left {
            let mut received = Vec::with_capacity(owed.len());
            stream.read_to_end(&mut received).unwrap_or_else(|error| panic!("{what}: {error}"));
            if state.name == "MONITOR" {
                received.truncate(owed.len());
            }
            assert!(
                received == owed,
                "{what}: {} bytes: {}",
                received.len(),
                received[..received.len().min(99)].escape_ascii()
            );
        }
        self.all_have_gone(&what);
        assert!(!self.observer.command(after).is_error(), "{what}");
    }

    fn all_have_gone(&mut self, what: &str) {
        let mut found = (0, 0, 0);
        let have_gone = eventually(PATIENCE, || {
            let clients = self.observer.info_number("clients", "connected_clients");
            let used_bytes = self.observer.info_number("memory", "used_memory");
            found = (clients, sockets_of(&self.server), used_bytes);
            clients == 1 && found.1 == self.sockets && used_bytes < self.used_bytes + 16 * MB
        });
        let expected = (1, self.sockets, self.used_bytes);
        assert!(have_gone, "{what}: clients, sockets and bytes are {found:?}, not {expected:?}");
    }
}

fn sockets_of(server: &Server) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("the server runs");
    let is_socket = |path: std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    entries.flatten().filter(|entry| is_socket(entry.path())).count()
}

fn try_all(engine: Engine, address: fn(&Server) -> SocketAddr, states: &[State]) {
    let mut scene = Scene::start(engine);
    let address = address(&scene.server);
    for state in states {
        for way in Way::ALL {
            scene.try_way(address, state, way);
        }
    }
}

#[test]
fn nothing_stays_of_who_spoke_resp_to_the_memory_engine() {
    try_all(Engine::Memory, Server::resp_address, RESP);
}

#[test]
fn nothing_stays_of_who_spoke_resp_to_rocksdb() {
    try_all(Engine::Rocksdb, Server::resp_address, RESP);
}

#[test]
fn nothing_stays_of_who_spoke_plain_tcp() {
    for &engine in Engine::all() {
        try_all(engine, Server::tcp_address, PLAIN_TCP);
    }
}

on_every_engine!(who_has_gone_takes_nobodys_place, ["--maxclients", "40"], |server| {
    for request in [&b"*1\r\n$4\r\nPI"[..], b"\r\n", b"PI", b"SET k v\r\nPI"] {
        for _ in 0..4 {
            for _ in 0..40 {
                let Ok(mut stream) = TcpStream::connect(server.resp_address()) else { continue };
                // One that comes too soon is refused.
                let _ = stream.write_all(request);
            }
            let comes_in = || {
                let mut client = server.client();
                client.try_raw_write(b"PING\r\n").is_ok()
                    && client.try_read_value().is_ok_and(|reply| !reply.is_error())
            };
            assert!(eventually(PATIENCE, comes_in), "after {}", request.escape_ascii());
        }
    }
});

//! Values of hundreds of megabytes: nobody else waits for them, whoever reads one is sent it as it was, and one that memory
//! cannot hold costs nobody else his key.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Client, Engine, Http, PATIENCE, Server, Value, encode, eventually, on_every_engine};

const MIB: usize = 1 << 20;
/// What no PING may wait beside them, on a machine that has other things to do. Alone it is a few milliseconds.
const PING_BOUND: Duration = Duration::from_millis(150);

/// Bytes that tell where they are.
fn filler(length: usize, number: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 4093 + index + number) as u8).collect()
}

/// A connection that leaves replies unread until they are asked for.
struct Reader(TcpStream);

impl Reader {
    fn connect(server: &Server) -> Reader {
        let stream = TcpStream::connect(server.resp_address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Reader(stream)
    }

    fn send(&mut self, arguments: &[&[u8]]) {
        self.0.write_all(&encode(arguments)).expect("the server reads");
    }

    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.0.read_exact(&mut read).expect("a reply");
        read
    }

    /// Reads bytes and forgets them, without room for all of them.
    fn skip(&mut self, mut bytes: usize) {
        let mut room = vec![0; MIB];
        while bytes > 0 {
            let count = self.0.read(&mut room[..bytes.min(MIB)]).expect("a reply");
            assert!(count > 0, "closed with {bytes} bytes missing");
            bytes -= count;
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.read(1));
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// The length of the byte string that comes.
    fn length(&mut self) -> usize {
        let line = self.line();
        line.strip_prefix('$')
            .and_then(|length| length.parse().ok())
            .unwrap_or_else(|| panic!("no byte string: {line}"))
    }

    /// Sends a command whose last argument has so many bytes of one kind, without a place for all of them.
    fn send_large(&mut self, arguments: &[&[u8]], length: usize) {
        let mut head = format!("*{}\r\n", arguments.len() + 1).into_bytes();
        for argument in arguments {
            head.extend(format!("${}\r\n", argument.len()).bytes());
            head.extend_from_slice(argument);
            head.extend_from_slice(b"\r\n");
        }
        head.extend(format!("${length}\r\n").bytes());
        self.0.write_all(&head).expect("the server reads");
        let part = vec![b'x'; MIB];
        for at in (0..length).step_by(MIB) {
            self.0.write_all(&part[..MIB.min(length - at)]).expect("the server reads");
        }
        self.0.write_all(b"\r\n").expect("the server reads");
    }
}

/// The longest that a PING waits while `act` goes on.
fn longest_ping(server: &Server, act: impl FnOnce()) -> Duration {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| {
            let (mut client, mut longest) = (server.client(), Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_micros(200));
            }
            longest
        });
        act();
        is_over.store(true, Ordering::Relaxed);
        pings.join().expect("the server answers")
    })
}

/// The shortest of three longest waits: what else goes on takes its turns on the processors, too.
fn assert_nobody_waits(server: &Server, what: &str, mut act: impl FnMut()) {
    let longest: Vec<Duration> = (0..3).map(|_| longest_ping(server, &mut act)).collect();
    println!("{what}: {longest:?}");
    let shortest = longest.iter().min().copied().unwrap_or_default();
    assert!(shortest <= PING_BOUND, "{what}: a PING waited {longest:?}");
}

on_every_engine!(nobody_waits_for_a_large_value, |server| {
    const BYTES: usize = 256 * MIB;
    let mut reader = Reader::connect(&server);
    assert_nobody_waits(&server, "SET", || {
        reader.send_large(&[b"SET", b"large"], BYTES);
        assert_eq!(reader.line(), "+OK");
    });
    let length = BYTES;
    assert_nobody_waits(&server, "GET", || {
        reader.send(&[b"GET", b"large"]);
        assert_eq!(reader.length(), length);
        reader.skip(length + 2);
    });
    assert_nobody_waits(&server, "GETRANGE", || {
        reader.send(&[b"GETRANGE", b"large", b"1000", b"-1000"]);
        assert_eq!(reader.length(), length - 1999);
        reader.skip(length - 1999 + 2);
    });
    assert_nobody_waits(&server, "COPY, APPEND, SETRANGE, RENAME, DEL", || {
        for (command, reply) in [
            (&["COPY", "large", "copy"][..], ":1".to_owned()),
            (&["APPEND", "copy", "more"], format!(":{}", length + 4)),
            (&["SETRANGE", "copy", "100000", "patch"], format!(":{}", length + 4)),
            (&["STRLEN", "copy"], format!(":{}", length + 4)),
            (&["RENAME", "copy", "renamed"], "+OK".to_owned()),
            (&["DEL", "renamed"], ":1".to_owned()),
            (&["SETRANGE", "zeros", "268435456", "end"], ":268435459".to_owned()),
            (&["SET", "zeros", "small"], "+OK".to_owned()),
        ] {
            reader.send(&command.iter().map(|argument| argument.as_bytes()).collect::<Vec<_>>());
            assert_eq!(reader.line(), reply, "{command:?}");
        }
    });
    assert_nobody_waits(&server, "APPEND and SETRANGE of much", || {
        reader.send_large(&[b"APPEND", b"grown"], BYTES / 4);
        reader.line();
        reader.send_large(&[b"SETRANGE", b"grown", b"70001"], BYTES / 4);
        reader.line();
        reader.send(&[b"UNLINK", b"grown"]);
        assert_eq!(reader.line(), ":1");
    });
});

on_every_engine!(memory only, nobody_waits_until_all_is_freed, [], |server| {
    let mut reader = Reader::connect(&server);
    assert_nobody_waits(&server, "FLUSHALL", || {
        reader.send_large(&[b"SET", b"large"], 256 * MIB);
        assert_eq!(reader.line(), "+OK");
        reader.send(&[b"FLUSHALL"]);
        assert_eq!(reader.line(), "+OK");
    });
});

on_every_engine!(a_value_is_sent_as_it_was_whatever_happens_to_its_key, |server| {
    const BYTES: usize = 24 * MIB;
    let value = filler(BYTES, 1);
    let client = &mut server.client();
    let changes: [&[&str]; 7] = [
        &["APPEND", "key", "more"],
        &["SETRANGE", "key", "1000", "other"],
        &["SET", "key", "small"],
        &["DEL", "key"],
        &["RENAME", "key", "elsewhere"],
        &["PEXPIRE", "key", "1"],
        &["FLUSHALL"],
    ];
    for change in changes {
        assert_eq!(client.command(&[b"SET", &b"key"[..], &value]), Value::ok());
        let mut reader = Reader::connect(&server);
        reader.send(&[b"GET", b"key"]);
        assert_eq!(reader.length(), BYTES);
        let begin = reader.read(MIB);
        assert!(!client.command(change).is_error(), "{change:?}");
        if change[0] == "PEXPIRE" {
            assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() <= 1), "it expires");
        }
        let rest = reader.read(BYTES - MIB);
        assert!([begin, rest].concat() == value, "{change:?}: another value was sent");
        assert_eq!(reader.read(2), b"\r\n");
        reader.send(&[b"PING"]);
        assert_eq!(reader.line(), "+PONG");
    }
});

#[test]
fn large_values_are_read_as_they_were_written() {
    for &engine in Engine::all() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = || match engine {
            Engine::Memory => Server::start(engine),
            Engine::Rocksdb => Server::options(engine).directory(directory.path()).start(),
        };
        written_and_read(engine, start);
    }
}

fn written_and_read(engine: Engine, start: impl Fn() -> Server) {
    let mut server = start();
    let client = &mut server.client();
    let (first, second) = (filler(3 * MIB + 17, 1), filler(MIB + 5, 2));
    assert_eq!(client.command(&[b"SET", &b"a"[..], &first]), Value::ok());
    assert_eq!(client.command(&[b"APPEND", &b"a"[..], &second]).integer() as usize, first.len() + second.len());
    let mut expected = [&first[..], &second].concat();
    assert_eq!(client.command(&[b"SETRANGE", &b"a"[..], b"131071", &second]).integer() as usize, expected.len());
    expected[131_071..131_071 + second.len()].copy_from_slice(&second);
    assert_eq!(client.command(&["COPY", "a", "b"]).integer(), 1);
    assert_eq!(client.command(&["SETRANGE", "b", "5000000", "end"]).integer(), 5_000_003);
    let mut padded = expected.clone();
    padded.resize(5_000_000, 0);
    padded.extend(b"end");
    let pairs: [&[u8]; 7] = [b"MSET", b"c", &first, b"d", b"small", b"e", &second];
    assert_eq!(client.command(&pairs), Value::ok());
    assert_eq!(client.command(&[b"SET", &b"f"[..], &first, b"GET", b"EX", b"1000"]), Value::Null);
    assert_eq!(client.command(&[b"GETSET", &b"f"[..], &second]), Value::bulk(&first));
    assert_eq!(client.command(&["SETNX", "f", "no"]).integer(), 0);
    // Ten at once, some large and some not, so that they lie in one buffer.
    let many: Vec<Vec<Vec<u8>>> = (0..10_usize)
        .map(|number| {
            let length = if number.is_multiple_of(3) { 200_000 } else { 100 };
            vec![b"SET".to_vec(), format!("many:{number}").into_bytes(), filler(length, number)]
        })
        .collect();
    assert!(client.pipeline(&many).iter().all(|reply| *reply == Value::ok()));
    let values =
        [("a", &expected), ("b", &padded), ("c", &first), ("d", &b"small".to_vec()), ("e", &second), ("f", &second)];
    let check = |client: &mut Client| {
        for (key, value) in values {
            assert!(client.command(&["GET", key]) == Value::bulk(value), "{key}");
            assert_eq!(client.command(&["STRLEN", key]).integer() as usize, value.len(), "{key}");
            let part = client.command(&["GETRANGE", key, "131000", "400000"]);
            let (from, to) = (131_000.min(value.len()), 400_001.min(value.len()));
            assert!(part == Value::bulk(&value[from..to]), "{key}");
        }
        for command in &many {
            assert!(client.command(&[&b"GET"[..], &command[1]]) == Value::bulk(&command[2]));
        }
        assert_eq!(client.command(&["OBJECT", "ENCODING", "a"]), Value::bulk("raw"));
        assert!(client.command(&["INCR", "a"]).is_error());
        assert!(client.command(&["MEMORY", "USAGE", "a"]).integer() as usize >= expected.len());
    };
    check(client);
    assert!(
        client.command(&["MGET", "a", "d", "none"])
            == Value::Array(vec![Value::bulk(&expected), Value::bulk("small"), Value::Null])
    );
    if engine == Engine::Rocksdb {
        server.kill();
        server = start();
        check(&mut server.client());
        assert!(eventually(PATIENCE, || server.client().is_merged()), "it is merged");
        server.terminate();
        server = start();
        check(&mut server.client());
    }
}

on_every_engine!(a_connection_that_ends_amid_a_large_argument_leaves_nothing, |server| {
    let client = &mut server.client();
    client.command(&["SET", "other", "1"]);
    let before = client.info_number("memory", "used_memory");
    for _ in 0..3 {
        let mut sender = Reader::connect(&server);
        sender.0.write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$67108864\r\n").expect("the server reads");
        sender.0.write_all(&vec![b'x'; 32 * MIB]).expect("the server reads");
    }
    let is_freed = || client.info_number("memory", "used_memory") < before + 8 * MIB as u64;
    assert!(eventually(PATIENCE, is_freed), "memory is given back");
    assert_eq!(client.command(&["DBSIZE"]).integer(), 1);
});

on_every_engine!(a_reader_that_reads_nothing_is_cut_at_the_output_limit, |server| {
    let client = &mut server.client();
    let limits = ["CONFIG", "SET", "client-output-buffer-limit", "normal 20mb 0 0"];
    assert_eq!(client.command(&limits), Value::ok());
    assert_eq!(client.command(&[b"SET", &b"key"[..], &filler(15 * MIB, 1)]), Value::ok());
    let mut reader = Reader::connect(&server);
    for _ in 0..4 {
        reader.send(&[b"GET", b"key"]);
    }
    let is_cut = || client.info_number("clients", "connected_clients") == 1;
    assert!(eventually(PATIENCE, is_cut), "the reader is cut");
});

const REFUSED: &str = "OOM command not allowed when used memory > 'maxmemory'.";

on_every_engine!(
    a_value_that_memory_cannot_hold_is_refused_and_evicts_nobody,
    ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"],
    |server| {
        const KEYS: usize = 20_000;
        let client = &mut server.client();
        for chunk in (0..KEYS).collect::<Vec<_>>().chunks(1000) {
            let commands: Vec<[String; 3]> =
                chunk.iter().map(|key| ["SET".to_owned(), format!("key:{key}"), "v".repeat(100)]).collect();
            client.pipeline(&commands);
        }
        assert_eq!(client.command(&[b"SET", &b"large"[..], &filler(20 * MIB, 1)]), Value::ok());
        let kept = client.command(&["DBSIZE"]).integer();
        let mut sender = Reader::connect(&server);
        let large = 200 * MIB;
        let refusals: [&[&[u8]]; 7] = [
            &[b"SET", b"huge"],
            &[b"SETEX", b"huge", b"100"],
            &[b"SETNX", b"huge"],
            &[b"GETSET", b"huge"],
            &[b"APPEND", b"large"],
            &[b"SETRANGE", b"large", b"0"],
            &[b"MSET", b"small", b"1", b"huge"],
        ];
        for command in refusals {
            sender.send_large(command, large);
            // Others go on meanwhile, and make no room for it.
            client.command(&["SET", "key:1", "other"]);
            assert_eq!(sender.line(), format!("-{REFUSED}"), "{}", String::from_utf8_lossy(command[0]));
        }
        // Each part fits, and all of them together do not.
        for command in [&[b"APPEND", &b"large"[..]][..], &[b"SETRANGE", b"large", b"30000000"]] {
            sender.send_large(command, 45 * MIB);
            assert_eq!(sender.line(), format!("-{REFUSED}"));
        }
        assert_eq!(client.command(&["SETRANGE", "large", "200000000", "x"]).error_text(), REFUSED);
        assert_eq!(client.command(&["SETRANGE", "new", "200000000", "x"]).error_text(), REFUSED);
        // With a disk, a key that was overwritten unseen is counted twice for a while.
        assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == kept), "nobody is evicted");
        assert_eq!(client.command(&["STRLEN", "large"]).integer() as usize, 20 * MIB);
        assert_eq!(client.command(&["EXISTS", "huge", "small", "new"]).integer(), 0);
        assert_eq!(client.info_number("stats", "evicted_keys"), 0);
        // One that fits is kept.
        assert_eq!(client.command(&[b"SET", &b"fits"[..], &filler(30 * MIB, 2)]), Value::ok());
        assert_eq!(client.command(&["STRLEN", "fits"]).integer() as usize, 30 * MIB);
    }
);

#[test]
fn other_protocols_take_and_refuse_large_values_as_well() {
    let options = Server::options(Engine::Memory).flag("--maxmemory").flag("64mb");
    let server = options.start();
    let client = &mut server.client();
    let value = filler(10 * MIB + 3, 4);
    let mut http = Http::connect(&server);
    assert_eq!(http.request("PUT", "/cache/rest", "", &value).status, 200);
    assert!(client.command(&["GET", "rest"]) == Value::bulk(&value));
    let response = http.request("GET", "/cache/rest", "", b"");
    assert_eq!(response.header("content-length"), Some(&*value.len().to_string()));
    assert!(response.body == value);
    http.write(b"PUT /cache/huge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 209715200\r\n\r\n");
    assert_eq!(http.response("PUT").status, 507);
    let mut book = Reader(TcpStream::connect(server.tcp_address()).expect("a connection"));
    book.0.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    book.0.write_all(&[format!("S4 {} book", value.len()).as_bytes(), &value, b"G4 book"].concat()).expect("it reads");
    let expected = [b"0 ", format!("{} ", value.len()).as_bytes(), &value].concat();
    assert!(book.read(expected.len()) == expected);
    book.0.write_all(format!("S4 {} huge", 200 * MIB).as_bytes()).expect("it reads");
    (0..200).for_each(|_| book.0.write_all(&[7; MIB]).expect("it reads"));
    let refusal = format!("-{} {REFUSED}", REFUSED.len());
    assert_eq!(String::from_utf8_lossy(&book.read(refusal.len())), refusal);
    assert_eq!(client.command(&["EXISTS", "huge"]).integer(), 0);
}

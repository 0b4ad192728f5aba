//! The test support itself, tried on redis-server and on made-up replies.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use support::{Client, Engine, Redis, Server, Value, decode, eventually, oracle_disagreement};

#[test]
fn every_type_of_reply_is_decoded_and_the_oracle_agrees() {
    let cases: [(&[u8], Value); 17] = [
        (b"+OK\r\n", Value::ok()),
        (b"-ERR bad \xff\r\n", Value::error(b"ERR bad \xff")),
        (b":-7\r\n", Value::Integer(-7)),
        (b"$3\r\n\r\n\0\r\n", Value::bulk(b"\r\n\0")),
        (b"$0\r\n\r\n", Value::bulk("")),
        (b"$-1\r\n", Value::Null),
        (b"_\r\n", Value::Null),
        (b"*-1\r\n", Value::NullArray),
        (b"*0\r\n", Value::Array(vec![])),
        (b"*2\r\n$1\r\na\r\n*1\r\n$-1\r\n", Value::Array(vec![Value::bulk("a"), Value::Array(vec![Value::Null])])),
        (
            b"%2\r\n+b\r\n:1\r\n+a\r\n_\r\n",
            Value::Map(vec![(Value::simple("b"), Value::Integer(1)), (Value::simple("a"), Value::Null)]),
        ),
        (b"~2\r\n:2\r\n:1\r\n", Value::Set(vec![Value::Integer(2), Value::Integer(1)])),
        (b",1.5\r\n", Value::Double(1.5)),
        (b",inf\r\n", Value::Double(f64::INFINITY)),
        (b"#t\r\n", Value::Boolean(true)),
        (b"=6\r\ntxt:ab\r\n", Value::Verbatim(b"txt".to_vec(), b"ab".to_vec())),
        (b">1\r\n(123\r\n", Value::Push(vec![Value::BigNumber(b"123".to_vec())])),
    ];
    for (bytes, value) in cases {
        assert_eq!(decode(bytes), Ok(Some((value.clone(), bytes.len()))));
        assert_eq!(oracle_disagreement(bytes, &value), None);
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Ok(None), "{:?}", &bytes[..end]);
        }
    }
    assert!(oracle_disagreement(b":1\r\n", &Value::Integer(2)).is_some());
    for malformed in [b"?\r\n".as_slice(), b":x\r\n", b"$1\r\nabc", b"#x\r\n", b"*-2\r\n", b"=2\r\nab\r\n"] {
        assert!(decode(malformed).is_err(), "{}", malformed.escape_ascii());
    }
}

#[test]
fn a_client_talks_to_redis_server() {
    let mut redis = Redis::start();
    let mut client = redis.client();
    assert_eq!(client.command(&["SET", "a", "b"]), Value::ok());
    let replies = client.pipeline(&[["GET", "a"], ["GET", "none"], ["INCR", "a"]]);
    assert_eq!(replies[..2], [Value::bulk("b"), Value::Null]);
    assert_eq!(replies[2].error_text(), "ERR value is not an integer or out of range");
    let large = vec![b'x'; 1 << 20];
    assert_eq!(client.command(&[b"SET".as_slice(), b"large", &large]), Value::ok());
    assert_eq!(client.command(&["GET", "large"]), Value::Bulk(large));
    assert_eq!(client.command(&["HELLO", "3"]).field("proto"), Some(&Value::Integer(3)));
    assert_eq!(client.command(&["GET", "none"]), Value::Null);
    client.raw_write(b"PING\r\n");
    assert_eq!(client.read_value(), Value::simple("PONG"));

    client.set_deadline(Duration::from_millis(20));
    assert!(client.try_read_value().is_err(), "the deadline ends a read");
    assert!(!client.at_end());
    client.set_deadline(support::PATIENCE);
    client.send(&["QUIT"]);
    assert_eq!(client.read_value(), Value::ok());
    assert!(client.at_end());
    assert!(redis.terminate().success());
    assert!(Client::try_connect(redis.resp_address()).is_err());
}

#[test]
fn eventually_tells_whether_the_condition_came_to_hold() {
    let mut calls = 0;
    assert!(eventually(support::PATIENCE, || {
        calls += 1;
        calls == 3
    }));
    let start = Instant::now();
    assert!(!eventually(Duration::from_millis(5), || false));
    assert!(start.elapsed() >= Duration::from_millis(5));
}

/// A shell script in the place of the server.
fn script(directory: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    let path = directory.path().join("server");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("an executable script");
    path
}

#[test]
fn a_server_is_started_when_it_says_that_it_is_ready() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let ready =
        r"printf '\033[32m INFO\033[0m ready \033[3mresp\033[0m=127.0.0.1:1 http=127.0.0.1:2 tcp=127.0.0.1:3\n'";
    let program = script(&directory, &format!("echo \"$@\" $COLOUR; echo starting >&2; {ready}; exec sleep 60"));
    let options = Server::options(Engine::Memory).program(program).flag("--maxmemory").flag("1mb");
    let mut server = options.environment("COLOUR", "red").start();
    let ports = [server.resp_address(), server.http_address(), server.tcp_address()].map(|address| address.port());
    assert_eq!(ports, [1, 2, 3]);
    let log = server.log();
    assert!(log.contains("--port 0 --http-port 0 --tcp-port 0 --type memory --dir"), "{log}");
    assert!(log.contains("--maxmemory 1mb red") && log.contains("starting"), "{log}");
    assert!(server.is_running());
    assert!(!server.terminate().success(), "sleep ends by the signal");
}

#[test]
fn a_server_that_does_not_start_is_told_with_its_log() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let program = script(&directory, "echo 'no such setting' >&2; exit 3");
    let failure = Server::options(Engine::Memory).program(program).try_start().expect_err("it exits with 3");
    assert!(failure.contains("exit status: 3") && failure.contains("no such setting"), "{failure}");
}

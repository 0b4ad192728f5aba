//! DEBUG, SHUTDOWN, TIME, WAIT and the like.

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use support::{Client, Engine, PATIENCE, Redis, Server, Value, eventually, on_every_engine};

const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn with_debug() -> Server {
    DEBUG.iter().fold(Server::options(Engine::Memory), |options, flag| options.flag(*flag)).start()
}

/// What both servers answer to the same commands, in both versions of the protocol.
fn assert_equal_replies(server: &Server, redis: &Redis, commands: &[&[&str]]) {
    for version in ["2", "3"] {
        let (mut ours, mut theirs) = (server.client(), redis.client());
        for client in [&mut ours, &mut theirs] {
            assert!(!client.command(&["HELLO", version]).is_error());
        }
        for command in commands {
            ours.send(command);
            theirs.send(command);
            let (ours, theirs) = (ours.try_read_reply(), theirs.try_read_reply());
            let (ours, theirs) = (ours.expect("a reply").1, theirs.expect("a reply").1);
            assert_eq!(ours.escape_ascii().to_string(), theirs.escape_ascii().to_string(), "{command:?}");
        }
    }
}

on_every_engine!(debug_is_off_unless_allowed, |server| {
    let redis = Redis::start();
    let commands: [&[&str]; 3] = [&["DEBUG", "SLEEP", "0"], &["DEBUG", "HELP"], &["DEBUG"]];
    let (mut ours, mut theirs) = (server.client(), redis.client());
    for command in commands {
        assert_eq!(ours.command(command), theirs.command(command), "{command:?}");
    }
});

on_every_engine!(debug_is_refused_before_a_password_is_asked_for, ["--requirepass", "secret"], |server| {
    let redis = Redis::start_with(&["--requirepass", "secret"]);
    for command in [&["DEBUG", "SLEEP", "0"][..], &["TIME"], &["NOSUCH"]] {
        assert_eq!(server.client().command(command), redis.client().command(command), "{command:?}");
    }
});

on_every_engine!(debug_is_on_for_this_machine, ["--enable-debug-command", "local"], |server| {
    assert_eq!(server.client().command(&["DEBUG", "SLEEP", "0"]), Value::ok());
});

#[test]
fn debug_answers_as_redis_does() {
    let (server, redis) = (with_debug(), Redis::start_with(&DEBUG));
    let types = ["string", "integer", "double", "bignum", "null", "array", "set", "map", "verbatim", "true", "FALSE"];
    let protocol: Vec<[&str; 3]> = types.iter().chain(&["nosuch"]).map(|kind| ["DEBUG", "PROTOCOL", kind]).collect();
    let protocol: Vec<&[&str]> = protocol.iter().map(|command| command.as_slice()).collect();
    assert_equal_replies(&server, &redis, &protocol);
    assert_equal_replies(
        &server,
        &redis,
        &[
            &["DEBUG", "NOSUCH"],
            &["DEBUG", "OBJECT"],
            &["DEBUG", "OBJECT", "missing"],
            &["DEBUG", "OBJECT", "missing", "fast"],
            &["DEBUG", "SLEEP"],
            &["DEBUG", "SLEEP", "abc"],
            &["DEBUG", "SLEEP", "-1"],
            &["DEBUG", "ERROR", "CODE what\r\nelse"],
            &["DEBUG", "LOG", "a message"],
            &["DEBUG", "LOG"],
            &["DEBUG", "REPLYBUFFER", "resizing", "0"],
            &["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b"],
            &["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "abc"],
            &["DEBUG", "POPULATE", "abc"],
            &["DEBUG", "POPULATE", "-1"],
            &["DEBUG", "POPULATE", "1", "p", "-1"],
            &["DEBUG", "POPULATE", "20"],
            &["DEBUG", "POPULATE", "20", "p", "3"],
            &["DEBUG", "POPULATE", "2", "q", "10"],
            &["GET", "key:19"],
            &["GET", "p:7"],
            &["GET", "q:1"],
            &["DBSIZE"],
            &["LOLWUT", "VERSION", "abc"],
            &["ROLE"],
            &["REPLICAOF", "no", "ONE"],
            &["REPLICAOF", "no", "two"],
            &["READONLY"],
            &["READWRITE"],
            &["ASKING"],
            &["CLUSTER", "INFO"],
            &["ACL", "WHOAMI"],
            &["ACL", "USERS"],
            &["ACL", "CAT"],
            &["ACL", "CAT", "nosuch"],
            &["ACL", "CAT", "string", "a"],
            &["WAIT", "0", "0"],
            &["WAIT", "-1", "5"],
            &["WAIT", "abc", "0"],
            &["WAIT", "0", "abc"],
            &["WAIT", "0", "-1"],
            &["WAIT", "1", "1"],
            &["SHUTDOWN", "NOSUCH"],
            &["SHUTDOWN", "SAVE", "NOSAVE"],
            &["SHUTDOWN", "ABORT", "NOW"],
            &["SHUTDOWN", "ABORT"],
        ],
    );
}

#[test]
fn attributes_and_pushes_are_sent_to_those_who_read_them() {
    let (server, redis) = (with_debug(), Redis::start_with(&DEBUG));
    let (mut ours, mut theirs) = (server.client(), redis.client());
    for kind in ["attrib", "push"] {
        let command = ["DEBUG", "PROTOCOL", kind];
        assert_eq!(ours.command(&command), theirs.command(&command), "{kind} in RESP2");
    }
    for client in [&mut ours, &mut theirs] {
        assert!(!client.command(&["HELLO", "3"]).is_error());
    }
    for kind in ["push", "attrib"] {
        ours.send(&["DEBUG", "PROTOCOL", kind]);
        theirs.send(&["DEBUG", "PROTOCOL", kind]);
        let expected: &[u8] = match kind {
            "push" => b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
            _ => {
                b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\n\
                  Some real reply following the attribute\r\n"
            }
        };
        assert_eq!(ours.read_bytes(expected.len()), expected);
        assert_eq!(theirs.read_bytes(expected.len()), expected);
    }
}

fn digest(client: &mut Client) -> String {
    client.command(&["DEBUG", "DIGEST"]).text()
}

#[test]
fn digests_are_those_of_redis_and_know_no_order() {
    let (server, redis) = (with_debug(), Redis::start_with(&DEBUG));
    let (mut ours, mut theirs) = (server.client(), redis.client());
    assert_eq!(digest(&mut ours), "0".repeat(40));
    let pairs = [("a", "1"), ("b", ""), ("{c}", "long".repeat(1000).leak()), ("d", "-17")];
    for (key, value) in pairs {
        ours.command(&["SET", key, value]);
    }
    for (key, value) in pairs.iter().rev() {
        theirs.command(&["SET", key, value]);
    }
    assert_eq!(digest(&mut ours), digest(&mut theirs));
    let before = digest(&mut ours);
    for client in [&mut ours, &mut theirs] {
        client.command(&["SELECT", "3"]);
        client.command(&["SET", "a", "2"]);
        client.command(&["EXPIRE", "a", "1000"]);
        client.command(&["APPEND", "a", "0"]);
    }
    assert_ne!(digest(&mut ours), before);
    assert_eq!(digest(&mut ours), digest(&mut theirs));
    let values = ["DEBUG", "DIGEST-VALUE", "a", "missing", "a"];
    assert_eq!(ours.command(&values), theirs.command(&values));
    ours.command(&["DEL", "a"]);
    assert_eq!(digest(&mut ours), before);
}

#[test]
fn debug_object_tells_how_a_value_is_kept() {
    let (server, redis) = (with_debug(), Redis::start_with(&DEBUG));
    let facts = |client: &mut Client, value: &str| -> Vec<String> {
        client.command(&["SET", "a", value]);
        let line = client.command(&["DEBUG", "OBJECT", "a"]).text();
        let is_compared = |word: &&str| word.starts_with("encoding:") || word.starts_with("serializedlength:");
        line.split(' ').filter(is_compared).map(str::to_owned).collect()
    };
    // Redis compresses what is longer and repeats itself.
    for value in [
        "",
        "5",
        "-300",
        "70000",
        "12345678901",
        "text",
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    ] {
        let (ours, theirs) = (facts(&mut server.client(), value), facts(&mut redis.client(), value));
        assert_eq!((ours.len(), &ours), (2, &theirs), "{value}");
    }
}

#[test]
fn only_the_sleeper_sleeps() {
    let server = with_debug();
    let (mut sleeper, mut other) = (server.client(), server.client());
    let begin = Instant::now();
    sleeper.send(&["DEBUG", "SLEEP", "1.5"]);
    assert_eq!(other.command(&["PING"]), Value::simple("PONG"));
    assert!(begin.elapsed() < Duration::from_millis(1400), "the other had to wait for {:?}", begin.elapsed());
    assert_eq!(sleeper.read_value(), Value::ok());
    assert!(begin.elapsed() >= Duration::from_millis(1500), "it slept for {:?}", begin.elapsed());
}

#[test]
fn without_active_expiry_keys_go_when_they_are_met() {
    let server = with_debug();
    let mut client = server.client();
    assert_eq!(client.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]), Value::ok());
    client.command(&["SET", "a", "1", "PX", "1"]);
    client.command(&["SET", "b", "1", "PX", "1"]);
    // The command that waits a second is many rounds of the background task long.
    assert_eq!(client.command(&["DEBUG", "SLEEP", "1"]), Value::ok());
    assert_eq!(client.command(&["DBSIZE"]), Value::Integer(2));
    assert_eq!(client.command(&["EXISTS", "a"]), Value::Integer(0));
    assert_eq!(client.command(&["DBSIZE"]), Value::Integer(1));
    assert_eq!(client.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]), Value::ok());
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]) == Value::Integer(0)));
}

on_every_engine!(wait_waits_for_nobody, |server| {
    let (mut waiting, mut forever) = (server.client(), server.client());
    let begin = Instant::now();
    forever.send(&["WAIT", "1", "0"]);
    assert_eq!(waiting.command(&["WAIT", "1", "300"]), Value::Integer(0));
    assert!(begin.elapsed() >= Duration::from_millis(300));
    forever.set_deadline(Duration::from_millis(100));
    assert!(forever.try_read_value().is_err(), "WAIT without a timeout was answered");
});

on_every_engine!(time_is_now, |server| {
    let mut client = server.client();
    let now_us = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let before = now_us();
    let reply = client.command(&["TIME"]);
    let parts: Vec<u128> = reply.items().iter().map(|part| part.text().parse().unwrap()).collect();
    assert!(parts[1] < 1_000_000, "{reply:?}");
    let told = parts[0] * 1_000_000 + parts[1];
    assert!((before..=now_us()).contains(&told), "{told} is not after {before}");
});

on_every_engine!(lolwut_draws_and_tells_the_version, |server| {
    let mut client = server.client();
    let text = client.command(&["LOLWUT", "VERSION", "1", "40", "8"]).text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[8]), (10, ""), "{text}");
    assert!(lines[9].starts_with("Rockpool ver. "), "{text}");
    assert!(lines[..8].iter().all(|line| line.len() <= 40) && lines[..8].iter().any(|line| !line.is_empty()));
    // A size that nobody can have meant costs no more memory than the largest picture.
    let widest = client.command(&["LOLWUT", "VERSION", "5", "9223372036854775807", "-5"]).text();
    assert!(widest.len() < 2000);
});

#[test]
fn shutdown_ends_the_server() {
    for options in [&["SHUTDOWN"][..], &["SHUTDOWN", "NOSAVE"], &["shutdown", "save", "now", "force"]] {
        let mut server = Server::start(Engine::Memory);
        let (mut client, mut idle) = (server.client(), server.client());
        assert_eq!(idle.command(&["PING"]), Value::simple("PONG"));
        client.send(options);
        assert!(client.at_end(), "{options:?} was answered");
        assert!(idle.at_end());
        assert!(server.wait().success(), "{options:?}");
    }
}

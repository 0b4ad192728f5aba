//! What may come over a RESP socket that no well-behaved client sends.

mod support;

use std::time::Duration;

use support::{Client, Engine, PATIENCE, Redis, Server, Value, encode, eventually, on_every_engine};

on_every_engine!(protocol_errors_are_those_of_redis, |server| {
    let mut bystander = server.client();
    let long = "a".repeat(66_000);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
        (b"*9223372036854775808\r\n".to_vec(), "invalid multibulk length"),
        (b"*+1\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n:1\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\n\n\r\n".to_vec(), "expected '$', got ' '"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n".to_vec(), "expected '$', got 'f'"),
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-9223372036854775808\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n$629145600\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$blah\r\n".to_vec(), "invalid bulk length"),
        (b"get \"a\r\n".to_vec(), "unbalanced quotes in request"),
        (b"get 'a'b\r\n".to_vec(), "unbalanced quotes in request"),
        (long.clone().into_bytes(), "too big inline request"),
        (format!("*{long}").into_bytes(), "too big mbulk count string"),
        (format!("*1\r\n${long}").into_bytes(), "too big bulk count string"),
    ];
    for (input, error) in cases {
        let shown = input[..input.len().min(40)].escape_ascii().to_string();
        let mut client = server.client();
        // What was complete before the error is executed and answered.
        client.raw_write(&[b"PING\r\n", &input[..]].concat());
        assert_eq!(client.read_value(), Value::simple("PONG"), "{shown}");
        let expected = format!("ERR Protocol error: {error}");
        assert_eq!(client.read_value(), Value::error(expected), "{shown}");
        assert!(client.at_end(), "{shown}");
        assert_eq!(bystander.command(&["PING"]), Value::simple("PONG"), "{shown}");
    }
});

on_every_engine!(empty_and_negative_counts_are_skipped, |server| {
    let mut client = server.client();
    client.raw_write(b"*0\r\n*-1\r\n*-2147483648\r\n\r\n  \r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.read_value(), Value::simple("PONG"));
});

on_every_engine!(announced_lengths_take_no_memory, |server| {
    assert_eq!(server.client().command(&["PING"]), Value::simple("PONG"));
    let before = server.resident_bytes();
    let mut clients: Vec<Client> = Vec::new();
    for announcement in ["*2147483647\r\n", "*2147483647\r\n$536870912\r\n", "*2\r\n$3\r\nGET\r\n$536870912\r\nabc"] {
        for _ in 0..50 {
            let mut client = server.client();
            client.raw_write(announcement.as_bytes());
            clients.push(client);
        }
    }
    let mut observer = server.client();
    let all_read = |observer: &mut Client| {
        let list = observer.command(&["CLIENT", "LIST"]).text();
        list.lines().filter(|line| !line.contains(" qbuf=0 ")).count() > 100 || list.lines().count() == 151
    };
    assert!(eventually(PATIENCE, || all_read(&mut observer)));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "150 announcements of hundreds of megabytes took {grown} bytes");
});

on_every_engine!(an_argument_count_is_bounded_by_the_query_buffer, ["--client-query-buffer-limit", "1mb"], |server| {
    let mut client = server.client();
    client.raw_write(b"*2147483647\r\n");
    let arguments = b"$0\r\n\r\n".repeat(10_000);
    let before = server.resident_bytes();
    let refused = (0..1000).any(|_| client.try_raw_write(&arguments).is_err());
    assert!(refused, "60 MB of one command were taken");
    assert!(server.resident_bytes().saturating_sub(before) < 40 << 20);
    assert!(server.log().contains("query buffer limit"), "{}", server.log());
});

on_every_engine!(memory_follows_what_has_come_and_is_given_back, |server| {
    let mut client = server.client();
    let value = vec![b'v'; 100 << 20];
    let before = server.resident_bytes();
    let bytes = encode(&[b"ECHO".as_slice(), &value]);
    let (half, rest) = bytes.split_at(bytes.len() / 2);
    client.raw_write(half);
    let mut observer = server.client();
    let held = |observer: &mut Client, field: &str| -> u64 {
        let list = observer.command(&["CLIENT", "LIST", "ID", "1"]).text();
        let value = list.split_whitespace().find_map(|word| word.strip_prefix(field)).expect("the field");
        value.parse().expect("a number")
    };
    assert!(eventually(PATIENCE, || held(&mut observer, "qbuf=") == half.len() as u64));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 3 * half.len() as u64, "{} bytes took {grown}", half.len());
    client.raw_write(rest);
    assert_eq!(client.read_value().bytes().len(), value.len());
    assert!(eventually(PATIENCE, || held(&mut observer, "tot-mem=") < 64 << 10), "it is not given back");
});

on_every_engine!(a_hundred_thousand_commands_before_any_reply_is_read, |server| {
    let mut client = server.client();
    let commands: Vec<u8> =
        (0..100_000).flat_map(|index| encode(&["SET", &format!("k{}", index % 100), &index.to_string()])).collect();
    client.raw_write(&commands);
    client.raw_write(&encode(&["GET", "k99"]));
    for index in 0..100_000 {
        assert_eq!(client.read_value(), Value::ok(), "reply {index}");
    }
    assert_eq!(client.read_value(), Value::bulk("99999"));
});

on_every_engine!(writes_torn_into_bytes, |server| {
    let mut client = server.client();
    let mut bytes = encode(&["SET", "key", "a\r\nb"]);
    bytes.extend_from_slice(b"GET key\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n \r\nECHO \"\\x41 b\"\r\n");
    for byte in bytes {
        client.raw_write(&[byte]);
    }
    for expected in [Value::ok(), Value::bulk("a\r\nb"), Value::bulk("a\r\nb"), Value::bulk("A b")] {
        assert_eq!(client.read_value(), expected);
    }
});

on_every_engine!(
    a_reader_that_is_stuck_is_cut_at_the_limit,
    ["--client-output-buffer-limit", "normal 8mb 0 0"],
    |server| {
        let mut client = server.client();
        assert_eq!(client.command(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
        client.set_deadline(Duration::from_secs(10));
        for _ in 0..200 {
            if client.try_raw_write(&encode(&["GET", "big"])).is_err() {
                break;
            }
        }
        let mut replies = 0;
        while client.try_read_value().is_ok() {
            replies += 1;
        }
        assert!(replies < 200, "all replies came");
        assert!(server.log().contains("output buffer limit"), "{}", server.log());
        assert_eq!(server.client().command(&["PING"]), Value::simple("PONG"));
    }
);

on_every_engine!(
    a_batch_over_the_limit_is_not_answered,
    ["--client-output-buffer-limit", "normal 100000 0 0"],
    |server| {
        let mut client = server.client();
        assert_eq!(client.command(&["SET", "big", &"x".repeat(10_000)]), Value::ok());
        client.raw_write(&encode(&["GET", "big"]).repeat(15));
        assert!(client.at_end());
    }
);

on_every_engine!(what_follows_reset_is_read_by_the_limits_of_a_stranger, ["--requirepass", "secret"], |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["AUTH", "secret"]), Value::ok());
    let long = encode(&["DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    client.raw_write(&[&b"*1\r\n$5\r\nRESET\r\n"[..], &long].concat());
    assert_eq!(client.read_value(), Value::simple("RESET"));
    assert_eq!(client.read_value().error_text(), "ERR Protocol error: unauthenticated multibulk length");
    assert!(client.at_end());
});

on_every_engine!(an_error_behind_commands_that_have_to_wait_is_answered_after_them, |server| {
    let mut other = server.client();
    assert_eq!(other.command(&["CLIENT", "PAUSE", "200", "ALL"]), Value::ok());
    let mut client = server.client();
    client.raw_write(b"SET a b\r\nGET a\r\nGET \\'a\r\nPING\r\n");
    assert_eq!(client.read_value(), Value::ok());
    assert_eq!(client.read_value(), Value::bulk("b"));
    assert_eq!(client.read_value(), Value::error("ERR Protocol error: unbalanced quotes in request"));
    assert!(client.at_end());
});

/// Commands that are refused with a message about the word in the place of `?`.
const QUOTING: &[&str] = &[
    "?",
    "? key",
    "? key ?",
    "get ? ?",
    "pexpire key 1000 ?",
    "expire key 1000 ?",
    "pexpireat key 1000 nx ?",
    "config ?",
    "config set ? 1",
    "config set maxmemory 1 ? 2",
    "config set ? 1 maxmemory",
    "client ?",
    "client kill ? 1",
    "client kill type ?",
    "client kill user ?",
    "client kill skipme ?",
    "client list type ?",
    "client setname ?",
    "client reply ?",
    "client no-evict ?",
    "client pause 1 ?",
    "hello ?",
    "hello 3 ?",
    "hello 3 setname ?",
    "hello 3 auth ? x",
    "hello 2 setname a ?",
    "auth ? x",
    "object ?",
    "object ? key",
    "command ?",
    "command list filterby aclcat ?",
    "command list filterby ? x",
    "acl ?",
    "acl cat ?",
    "latency ?",
    "latency graph ?",
    "slowlog ?",
    "slowlog get ?",
    "memory ?",
    "memory usage key ?",
    "debug ?",
    "debug error ?",
    "set key value ?",
    "getex key ?",
    "scan ?",
    "scan 0 ? x",
    "scan 0 count ?",
    "select ?",
    "incrby key ?",
    "lcs key key ?",
    "info ? ?",
];

#[test]
fn messages_that_quote_the_client_are_those_of_redis() {
    let server = Server::options(Engine::Memory).flag("--enable-debug-command").flag("yes").start();
    let redis = Redis::start_with(&["--enable-debug-command", "yes"]);
    let long = [&[b'x'; 200][..], b"\r\n"].concat();
    let words: [&[u8]; 12] = [
        b"a\r\n",
        b"\r\nb",
        b"c\r\nd",
        b"\n\r\n",
        b"\xff\xfe\r\n",
        b"e\0f\r\n",
        b"\0",
        b"g\n",
        b"\rh\r",
        b" i \r\n ",
        b"",
        &long,
    ];
    let (mut ours, mut theirs) = (server.client(), redis.client());
    for command in QUOTING {
        for word in words {
            let fill = |part: &'_ str| if part == "?" { word.to_vec() } else { part.as_bytes().to_vec() };
            let arguments: Vec<Vec<u8>> = command.split(' ').map(fill).collect();
            let expected = theirs.command(&arguments);
            let received = ours.command(&arguments);
            if expected.is_error() || received.is_error() {
                assert_eq!(received, expected, "{command} {}", word.escape_ascii());
            }
        }
    }
}

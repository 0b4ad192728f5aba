//! The string commands, from outside.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};
use support::{Client, PATIENCE, Server, Value, eventually, on_every_engine};

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";
const NOT_A_FLOAT: &str = "ERR value is not a valid float";
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/// Sends a command that is written with spaces between its arguments; `""` is an empty one.
fn send(client: &mut Client, command: &str) -> Value {
    let arguments: Vec<&str> = command.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
    client.command(&arguments)
}

/// Sends commands in turn and compares each reply; a TTL may be some seconds shorter, on a busy machine.
fn check(client: &mut Client, steps: &[(&str, Value)]) {
    const SLACK_S: i64 = 10;
    for (command, expected) in steps {
        let reply = send(client, command);
        match (&reply, expected) {
            (Value::Integer(left), Value::Integer(whole)) if command.starts_with("TTL ") && *whole > SLACK_S => {
                assert!((whole - SLACK_S..=*whole).contains(left), "{command}: {left} instead of {whole}");
            }
            _ => assert_eq!(reply, *expected, "{command}"),
        }
    }
}

/// Sends commands that must fail with these errors.
fn check_errors(client: &mut Client, steps: &[(&str, &str)]) {
    for (command, expected) in steps {
        let reply = send(client, command);
        assert!(reply.is_error(), "{command}: {reply:?}");
        assert_eq!(reply.error_text(), *expected, "{command}");
    }
}

fn bulk(text: &str) -> Value {
    Value::bulk(text)
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since_epoch.as_millis()).expect("milliseconds fit")
}

on_every_engine!(set_obeys_its_options, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("SET a 1", Value::ok()),
            ("SET a 2 NX", Value::Null),
            ("SET b 2 XX", Value::Null),
            ("GET b", Value::Null),
            ("SET a 3 xx", Value::ok()),
            ("SET a 4 GET", bulk("3")),
            ("SET a 5 NX GET", bulk("4")),
            ("GET a", bulk("4")),
            ("SET c 6 GET NX", Value::Null),
            ("GET c", bulk("6")),
            ("SET d 6 XX GET", Value::Null),
            ("EXISTS d", Value::Integer(0)),
            ("SET a 7 EX 1 ex 100", Value::ok()),
            ("TTL a", Value::Integer(100)),
            ("SET a 8 KEEPTTL", Value::ok()),
            ("TTL a", Value::Integer(100)),
            ("SET a 9", Value::ok()),
            ("TTL a", Value::Integer(-1)),
            ("SET a 10 EXAT 33177117420", Value::ok()),
            ("EXPIRETIME a", Value::Integer(33_177_117_420)),
            ("SET a 11 PXAT 33177117420123", Value::ok()),
            ("PEXPIRETIME a", Value::Integer(33_177_117_420_123)),
            ("SETEX e 100 v", Value::ok()),
            ("TTL e", Value::Integer(100)),
            ("SETNX e w", Value::Integer(0)),
            ("SETNX f w", Value::Integer(1)),
            ("GETSET e w", bulk("v")),
            ("TTL e", Value::Integer(-1)),
        ],
    );
    assert_eq!(send(client, "PSETEX e 100000 v"), Value::ok());
    assert!((90_000..=100_000).contains(&send(client, "PTTL e").integer()));
    let mixed =
        "SET a v NX XX|SET a v XX NX|SET a v EX 10 PX 10|SET a v KEEPTTL EX 10|SET a v EXAT 10 KEEPTTL|SET a v EX";
    for command in mixed.split('|') {
        check_errors(client, &[(command, SYNTAX)]);
    }
    assert_eq!(send(client, "GET a"), bulk("11"), "a refused SET changes nothing");
});

on_every_engine!(times_of_expiry_are_checked, |server| {
    let client = &mut server.client();
    assert_eq!(send(client, "SET a v"), Value::ok());
    for (command, name) in [
        ("SET a w EX TIME", "set"),
        ("SET a w PX TIME", "set"),
        ("SET a w EXAT TIME", "set"),
        ("SET a w PXAT TIME", "set"),
        ("GETEX a EX TIME", "getex"),
        ("GETEX a PXAT TIME", "getex"),
        ("SETEX a TIME w", "setex"),
        ("PSETEX a TIME w", "psetex"),
    ] {
        let invalid = format!("ERR invalid expire time in '{name}' command");
        for time in ["0", "-1", "-9223372036854775808"] {
            check_errors(client, &[(&command.replace("TIME", time), &invalid)]);
        }
        for time in ["1.5", "abc", "\"\"", "9223372036854775808"] {
            check_errors(client, &[(&command.replace("TIME", time), NOT_AN_INTEGER)]);
        }
    }
    for (command, name) in [
        ("SET a w EX 9223372036854775807", "set"),
        ("SET a w EX 9223372036854775", "set"),
        ("SET a w PX 9223372036854775807", "set"),
        ("SET a w EXAT 9223372036854776", "set"),
        ("SETEX a 9223372036854775 w", "setex"),
        ("GETEX a EX 9223372036854775", "getex"),
    ] {
        check_errors(client, &[(command, &format!("ERR invalid expire time in '{name}' command"))]);
    }
    check(
        client,
        &[
            ("GET a", bulk("v")),
            ("TTL a", Value::Integer(-1)),
            // The time is not even read where there is no key.
            ("GETEX none EX abc", Value::Null),
            ("SET a w PXAT 9223372036854775807", Value::ok()),
            ("GET a", bulk("w")),
        ],
    );
});

on_every_engine!(a_time_in_the_past_deletes, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("SET a v", Value::ok()),
            ("SET a w EXAT 1", Value::ok()),
            ("GET a", Value::Null),
            ("SET a w PXAT 1 NX GET", Value::Null),
            ("EXISTS a", Value::Integer(0)),
            ("SET a x", Value::ok()),
            ("GETEX a PXAT 1", bulk("x")),
            ("DBSIZE", Value::Integer(0)),
        ],
    );
    assert_eq!(send(client, "SET soon v PX 30"), Value::ok());
    assert!(eventually(PATIENCE, || send(client, "GET soon").is_null()), "it expires");
});

on_every_engine!(getex_and_getdel_get_first, |server| {
    let client = &mut server.client();
    let at_ms = now_ms() + 500_000;
    check(
        client,
        &[
            ("SET a v", Value::ok()),
            ("GETEX a", bulk("v")),
            ("GETEX a EX 100", bulk("v")),
            ("TTL a", Value::Integer(100)),
            ("GETEX a", bulk("v")),
            ("TTL a", Value::Integer(100)),
            ("GETEX a PERSIST", bulk("v")),
            ("TTL a", Value::Integer(-1)),
            ("GETEX a PERSIST", bulk("v")),
            (&format!("GETEX a PXAT {at_ms}"), bulk("v")),
            ("PEXPIRETIME a", Value::Integer(at_ms)),
            ("GETDEL a", bulk("v")),
            ("GETDEL a", Value::Null),
            ("EXISTS a", Value::Integer(0)),
        ],
    );
    for command in ["GETEX a PERSIST EX 10", "GETEX a EX 10 PERSIST", "GETEX a KEEPTTL", "GETEX a EX", "GETEX a NX"] {
        check_errors(client, &[(command, SYNTAX)]);
    }
});

on_every_engine!(integers_are_counted, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("INCR n", Value::Integer(1)),
            ("INCRBY n 9223372036854775806", Value::Integer(i64::MAX)),
            ("GET n", bulk("9223372036854775807")),
            ("SET n 100 EX 1000", Value::ok()),
            ("DECR n", Value::Integer(99)),
            ("DECRBY n -1", Value::Integer(100)),
            ("DECRBY n 100", Value::Integer(0)),
            ("DECR n", Value::Integer(-1)),
            ("TTL n", Value::Integer(1000)),
            ("SET max 9223372036854775807", Value::ok()),
            ("SET min -9223372036854775808", Value::ok()),
            ("DECRBY fresh 5", Value::Integer(-5)),
        ],
    );
    for value in ["abc", "\"\"", "1.0", "+1", "01", "-0", "9223372036854775808"] {
        assert_eq!(send(client, &format!("SET bad {value}")), Value::ok());
        check_errors(client, &[("INCR bad", NOT_AN_INTEGER)]);
    }
    assert_eq!(client.command(&["SET", "bad", " 1"]), Value::ok());
    check_errors(
        client,
        &[
            ("INCR bad", NOT_AN_INTEGER),
            ("INCR max", "ERR increment or decrement would overflow"),
            ("DECR min", "ERR increment or decrement would overflow"),
            ("INCRBY max 1.5", NOT_AN_INTEGER),
            ("DECRBY max abc", NOT_AN_INTEGER),
            ("DECRBY none -9223372036854775808", "ERR decrement would overflow"),
        ],
    );
    assert_eq!(send(client, "EXISTS none"), Value::Integer(0));
});

on_every_engine!(floats_are_added_as_long_doubles, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("INCRBYFLOAT f 0.1", bulk("0.1")),
            ("INCRBYFLOAT f 0.2", bulk("0.3")),
            ("INCRBYFLOAT f -0.3", bulk("0")),
            ("SET f 5.0e3 EX 1000", Value::ok()),
            ("INCRBYFLOAT f 2.0e2", bulk("5200")),
            ("TTL f", Value::Integer(1000)),
            ("GET f", bulk("5200")),
            ("INCR f", Value::Integer(5201)),
        ],
    );
    assert_eq!(client.command(&["SET", "bad", "1 "]), Value::ok());
    check_errors(
        client,
        &[
            ("INCRBYFLOAT bad 1", NOT_A_FLOAT),
            ("INCRBYFLOAT f abc", NOT_A_FLOAT),
            ("INCRBYFLOAT f nan", NOT_A_FLOAT),
            ("INCRBYFLOAT f inf", "ERR increment would produce NaN or Infinity"),
            ("INCRBYFLOAT f -inf", "ERR increment would produce NaN or Infinity"),
        ],
    );
});

on_every_engine!(parts_are_read_and_written, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("APPEND a Hello", Value::Integer(5)),
            ("APPEND a _World", Value::Integer(11)),
            ("STRLEN a", Value::Integer(11)),
            ("STRLEN none", Value::Integer(0)),
            ("GETRANGE a 0 4", bulk("Hello")),
            ("SUBSTR a -5 -1", bulk("World")),
            ("GETRANGE a 6 -100", bulk("")),
            ("GETRANGE none 0 -1", bulk("")),
            ("SETRANGE a 6 Redis", Value::Integer(11)),
            ("SETRANGE a 9 !!!!", Value::Integer(13)),
            ("GET a", bulk("Hello_Red!!!!")),
            ("SETRANGE new 2 x", Value::Integer(3)),
            ("GET new", bulk("\0\0x")),
            ("SETRANGE none 5 \"\"", Value::Integer(0)),
            ("EXISTS none", Value::Integer(0)),
            ("SETRANGE a 1000 \"\"", Value::Integer(13)),
            ("EXPIRE a 1000", Value::Integer(1)),
            ("APPEND a ?", Value::Integer(14)),
            ("SETRANGE a 0 h", Value::Integer(14)),
            ("TTL a", Value::Integer(1000)),
        ],
    );
    check_errors(
        client,
        &[
            ("GETRANGE a x 1", NOT_AN_INTEGER),
            ("GETRANGE a 1 1.5", NOT_AN_INTEGER),
            ("SETRANGE a -1 x", "ERR offset is out of range"),
            ("SETRANGE none -1 \"\"", "ERR offset is out of range"),
            ("SETRANGE a x x", NOT_AN_INTEGER),
            ("SETRANGE a 536870912 x", TOO_LONG),
            ("SETRANGE none 9223372036854775807 x", TOO_LONG),
        ],
    );
});

on_every_engine!(values_keep_to_the_limit_of_a_bulk, ["--proto-max-bulk-len", "1mb"], |server| {
    const MB: usize = 1 << 20;
    let client = &mut server.client();
    assert_eq!(client.command(&["SET".as_bytes(), b"a", &vec![b'x'; MB - 1]]), Value::ok());
    assert_eq!(send(client, "APPEND a y"), Value::Integer(MB as i64));
    check_errors(client, &[("APPEND a z", TOO_LONG), (&format!("SETRANGE a {MB} z"), TOO_LONG)]);
    check(client, &[("STRLEN a", Value::Integer(MB as i64)), ("APPEND a \"\"", Value::Integer(MB as i64))]);
    assert_eq!(send(client, &format!("SETRANGE a {} z", MB - 1)), Value::Integer(MB as i64));
    check_errors(
        client,
        &[("LCS a a", "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")],
    );
});

on_every_engine!(encodings_are_those_that_redis_would_choose, |server| {
    let client = &mut server.client();
    let (short, long) = ("s".repeat(44), "l".repeat(45));
    let encodings = [
        ("SET k 12", "int"),
        ("SET k 012", "embstr"),
        (&format!("SET k {short}"), "embstr"),
        (&format!("SET k {long}"), "raw"),
        ("GETSET k 5", "int"),
        ("APPEND k \"\"", "raw"),
        ("INCR k", "int"),
        ("SETRANGE k 0 7", "raw"),
        ("DECRBY k 2", "int"),
        ("SETRANGE k 0 \"\"", "int"),
        ("INCRBYFLOAT k 0.5", "embstr"),
        ("MSET k 1 j 2", "int"),
        ("DEL k", ""),
        ("APPEND k 77", "int"),
        ("DEL k", ""),
        ("SETRANGE k 0 77", "raw"),
    ];
    for (command, encoding) in encodings {
        assert!(!send(client, command).is_error(), "{command}");
        let expected = if encoding.is_empty() { Value::Null } else { bulk(encoding) };
        assert_eq!(send(client, "OBJECT ENCODING k"), expected, "after {command}");
    }
});

on_every_engine!(several_keys_are_set_and_got_together, |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("MSET a 1 b 2 a 3", Value::ok()),
            ("MGET a none b a", Value::Array(vec![bulk("3"), Value::Null, bulk("2"), bulk("3")])),
            ("MSETNX c 1 a 9", Value::Integer(0)),
            ("EXISTS c", Value::Integer(0)),
            ("MSETNX c 1 d 2 c 3", Value::Integer(1)),
            ("MGET c d", Value::bulks(["3", "2"])),
            ("EXPIRE a 100", Value::Integer(1)),
            ("MSET a 4", Value::ok()),
            ("TTL a", Value::Integer(-1)),
        ],
    );
    check_errors(
        client,
        &[
            ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
            ("MSETNX x 1 y", "ERR wrong number of arguments for 'msetnx' command"),
        ],
    );
    assert_eq!(send(client, "MGET a b x y"), Value::Array(vec![bulk("4"), bulk("2"), Value::Null, Value::Null]));
});

/// Writers set four keys of four slots to one value at a time; whoever reads all four must see one value.
#[test]
fn mset_and_mget_are_atomic_across_slots() {
    const ROUNDS: usize = 500;
    for &engine in support::Engine::all() {
        let server = Server::start(engine);
        assert_eq!(send(&mut server.client(), "MSET a 0 b 0 c 0 d 0"), Value::ok());
        std::thread::scope(|scope| {
            for (writer, keys) in [["a", "b", "c", "d"], ["d", "c", "b", "a"]].into_iter().enumerate() {
                let mut client = server.client();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let value = format!("{writer}-{round}");
                        let command: Vec<&str> =
                            std::iter::once("MSET").chain(keys.into_iter().flat_map(|key| [key, &value])).collect();
                        assert_eq!(client.command(&command), Value::ok());
                    }
                });
            }
            let mut reader = server.client();
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let reply = send(&mut reader, "MGET a b c d");
                    assert!(reply.items().iter().all(|value| value == &reply.items()[0]), "{reply:?}");
                }
            });
        });
    }
}

/// No increment of many at the same time is lost.
#[test]
fn concurrent_increments_add_up() {
    const CLIENTS: i64 = 4;
    const PIPELINES: i64 = 50;
    const COMMANDS: i64 = 40;
    for &engine in support::Engine::all() {
        let server = Server::start(engine);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let mut client = server.client();
                scope.spawn(move || {
                    let batch: Vec<[&str; 2]> = (0..COMMANDS).map(|_| ["INCR", "n"]).collect();
                    for _ in 0..PIPELINES {
                        assert!(client.pipeline(&batch).iter().all(|reply| !reply.is_error()));
                    }
                });
            }
        });
        let expected = (CLIENTS * PIPELINES * COMMANDS).to_string();
        assert_eq!(send(&mut server.client(), "GET n"), bulk(&expected));
    }
}

on_every_engine!(lcs_finds_what_two_values_share, |server| {
    let client = &mut server.client();
    let pair = |start: i64, end: i64| Value::Array(vec![Value::Integer(start), Value::Integer(end)]);
    let long = Value::Array(vec![pair(4, 7), pair(5, 8)]);
    let long_with_length = Value::Array(vec![pair(4, 7), pair(5, 8), Value::Integer(4)]);
    let short = Value::Array(vec![pair(2, 3), pair(0, 1)]);
    let indexes = |matches: Vec<Value>| {
        Value::Array(vec![bulk("matches"), Value::Array(matches), bulk("len"), Value::Integer(6)])
    };
    check(
        client,
        &[
            ("MSET a ohmytext b mynewtext", Value::ok()),
            ("LCS a b", bulk("mytext")),
            ("LCS a b LEN", Value::Integer(6)),
            ("LCS a b IDX", indexes(vec![long.clone(), short])),
            ("LCS a b IDX MINMATCHLEN 4", indexes(vec![long])),
            ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", indexes(vec![long_with_length])),
            ("LCS a none", bulk("")),
            ("LCS none none LEN", Value::Integer(0)),
        ],
    );
    check_errors(
        client,
        &[
            ("LCS a b LEN IDX", "ERR If you want both the length and indexes, please just use IDX."),
            ("LCS a b NOSUCH", SYNTAX),
            ("LCS a b MINMATCHLEN", SYNTAX),
            ("LCS a b MINMATCHLEN x", NOT_AN_INTEGER),
        ],
    );
});

on_every_engine!(values_of_any_bytes_and_length_come_back, |server| {
    let client = &mut server.client();
    let all_bytes: Vec<u8> = (0..=255).collect();
    for length in [0, 1, 15, 16, 17, 100, 4096, 1 << 20] {
        let value: Vec<u8> = all_bytes.iter().copied().cycle().take(length).collect();
        assert_eq!(client.command(&[b"SET".as_slice(), &all_bytes, &value]), Value::ok());
        assert_eq!(client.command(&[b"GET".as_slice(), &all_bytes]), Value::Bulk(value));
    }
    assert_eq!(client.command(&["SET", "", ""]), Value::ok());
    assert_eq!(client.command(&["GET", ""]), bulk(""));
});

on_every_engine!(default_ttl_leaves_an_expiry_that_is_there, ["--default-ttl", "500"], |server| {
    let client = &mut server.client();
    check(
        client,
        &[
            ("SET a 1", Value::ok()),
            ("TTL a", Value::Integer(500)),
            ("SET a 1 EX 900", Value::ok()),
            ("INCR a", Value::Integer(2)),
            ("TTL a", Value::Integer(900)),
            ("PERSIST a", Value::Integer(1)),
            ("INCR a", Value::Integer(3)),
            ("APPEND a 1", Value::Integer(2)),
            ("SET a 1 KEEPTTL", Value::ok()),
            ("TTL a", Value::Integer(-1)),
            ("INCR n", Value::Integer(1)),
            ("TTL n", Value::Integer(500)),
        ],
    );
});

//! Keys of any type: DEL to OBJECT, from outside.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use support::{Client, Engine, PATIENCE, Server, Value, eventually, on_every_engine};

fn text(client: &mut Client, line: &str) -> String {
    format!("{:?}", client.command(&line.split(' ').collect::<Vec<_>>())).replace("\\'", "'")
}

/// Runs commands and compares what they answer, shown as text.
fn check(client: &mut Client, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(text(client, line), *expected, "{line}");
    }
}

on_every_engine!(keys_are_counted_and_deleted, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("SET a 1", "+OK"),
            ("SET b 2", "+OK"),
            ("EXISTS a b c a", ":3"),
            ("TOUCH a b c", ":2"),
            ("TYPE a", "+string"),
            ("TYPE c", "+none"),
            ("DBSIZE", ":2"),
            ("DEL a c a", ":1"),
            ("UNLINK b c", ":1"),
            ("DBSIZE", ":0"),
            ("DEL", "-ERR wrong number of arguments for 'del' command"),
        ],
    );
});

on_every_engine!(rename_takes_value_and_expiry_along, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("RENAME none other", "-ERR no such key"),
            ("RENAMENX none none", "-ERR no such key"),
            ("SET a 1", "+OK"),
            ("PEXPIREAT a 33177117420000", ":1"),
            ("SET b 2", "+OK"),
            ("RENAMENX a b", ":0"),
            ("RENAME a b", "+OK"),
            ("EXISTS a", ":0"),
            ("GET b", "\"1\""),
            ("PEXPIRETIME b", ":33177117420000"),
            ("RENAME b b", "+OK"),
            ("RENAMENX b b", ":0"),
            ("SET c 3", "+OK"),
            ("RENAME c b", "+OK"),
            ("PEXPIRETIME b", ":-1"),
            ("RENAMENX b d", ":1"),
            ("DBSIZE", ":1"),
        ],
    );
});

on_every_engine!(copy_and_move_reach_other_databases, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("SET a 1", "+OK"),
            ("PEXPIREAT a 33177117420000", ":1"),
            ("COPY a a", "-ERR source and destination objects are the same"),
            ("COPY a b", ":1"),
            ("COPY a b", ":0"),
            ("COPY a a DB 3", ":1"),
            ("COPY none a DB 3 REPLACE", ":0"),
            ("COPY a b DB 16", "-ERR DB index is out of range"),
            ("COPY a b DB", "-ERR syntax error"),
            ("COPY a b DB 4294967296", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
            ("MOVE a 0", "-ERR source and destination objects are the same"),
            ("MOVE a 99", "-ERR DB index is out of range"),
            ("MOVE a x", "-ERR value is not an integer or out of range"),
            ("MOVE a 3", ":0"),
            ("MOVE none 3", ":0"),
            ("MOVE b 3", ":1"),
            ("EXISTS b", ":0"),
            ("SELECT 3", "+OK"),
            ("DBSIZE", ":2"),
            ("GET b", "\"1\""),
            ("PEXPIRETIME b", ":33177117420000"),
            ("PEXPIRETIME a", ":33177117420000"),
            ("SET b 2", "+OK"),
            ("COPY b a REPLACE", ":1"),
            ("GET a", "\"2\""),
            ("TTL a", ":-1"),
        ],
    );
});

on_every_engine!(a_copy_is_independent, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("SET a one", "+OK"),
            ("APPEND a two", ":6"),
            ("COPY a b", ":1"),
            ("APPEND a three", ":11"),
            ("GET b", "\"onetwo\""),
            ("GET a", "\"onetwothree\""),
            ("OBJECT ENCODING b", "\"raw\""),
        ],
    );
});

on_every_engine!(a_key_without_expiry_stays_so_when_it_moves, ["--default-ttl", "100"], |server| {
    let mut client = server.client();
    for key in ["a", "b", "c"] {
        check(&mut client, &[(&format!("SET {key} 1"), "+OK"), (&format!("PERSIST {key}"), ":1")]);
    }
    check(
        &mut client,
        &[
            ("RENAME a a2", "+OK"),
            ("TTL a2", ":-1"),
            ("COPY b b2", ":1"),
            ("TTL b2", ":-1"),
            ("MOVE c 1", ":1"),
            ("SELECT 1", "+OK"),
            ("TTL c", ":-1"),
        ],
    );
});

on_every_engine!(databases_are_flushed_and_swapped, |server| {
    let mut client = server.client();
    let mut other = server.client();
    check(&mut other, &[("SELECT 1", "+OK")]);
    for flush in ["FLUSHALL", "FLUSHALL SYNC", "FLUSHALL async", "FLUSHDB", "FLUSHDB sync", "FLUSHDB ASYNC"] {
        check(&mut client, &[("SET a 0", "+OK"), ("DBSIZE", ":1"), ("PEXPIRE a 10000000", ":1")]);
        check(&mut other, &[("SET a 1", "+OK")]);
        check(&mut client, &[(flush, "+OK"), ("DBSIZE", ":0"), ("GET a", "null")]);
        check(&mut other, &[("DBSIZE", if flush.starts_with("FLUSHALL") { ":0" } else { ":1" })]);
    }
    check(
        &mut client,
        &[
            ("FLUSHALL NOW", "-ERR syntax error"),
            ("FLUSHDB SYNC ASYNC", "-ERR syntax error"),
            ("SET a 0", "+OK"),
            ("SWAPDB 0 1", "+OK"),
            ("GET a", "\"1\""),
            ("SWAPDB 1 1", "+OK"),
            ("SWAPDB x 1", "-ERR invalid first DB index"),
            ("SWAPDB 1 4294967296", "-ERR invalid second DB index"),
            ("SWAPDB 0 16", "-ERR DB index is out of range"),
        ],
    );
    check(&mut other, &[("GET a", "\"0\"")]);
});

on_every_engine!(object_tells_how_values_are_kept, ["--maxmemory-policy", "allkeys-lru"], |server| {
    let mut client = server.client();
    let not_counted = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
                       when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    check(
        &mut client,
        &[
            ("SET i 12345", "+OK"),
            ("SET e short", "+OK"),
            ("SET r 012345678901234567890123456789012345678901234", "+OK"),
            ("SET shared 9999", "+OK"),
            ("OBJECT ENCODING i", "\"int\""),
            ("OBJECT encoding e", "\"embstr\""),
            ("OBJECT ENCODING r", "\"raw\""),
            ("OBJECT ENCODING none", "null"),
            ("OBJECT REFCOUNT i", ":1"),
            ("OBJECT REFCOUNT shared", ":2147483647"),
            ("OBJECT REFCOUNT none", "null"),
            ("OBJECT IDLETIME i", ":0"),
            ("OBJECT IDLETIME none", "null"),
            ("OBJECT FREQ i", not_counted),
            ("OBJECT FREQ none", "null"),
            ("OBJECT NOSUCH i", "-ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP."),
            ("OBJECT FREQ", "-ERR wrong number of arguments for 'object|freq' command"),
        ],
    );
    let help = client.command(&["OBJECT", "HELP"]);
    assert_eq!(help.items().len(), 15);
    assert_eq!(help.items()[0], Value::simple("OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    // Only a use sets the idle time back: TYPE, TTL, EXISTS and OBJECT are none.
    let idle = |client: &mut Client| client.command(&["OBJECT", "IDLETIME", "i"]).integer();
    assert!(eventually(PATIENCE, || idle(&mut client) >= 1));
    check(&mut client, &[("TYPE i", "+string"), ("TTL i", ":-1"), ("EXISTS i", ":1")]);
    assert!(idle(&mut client) >= 1);
    check(&mut client, &[("TOUCH i", ":1")]);
    assert_eq!(idle(&mut client), 0);
});

on_every_engine!(frequency_is_told_under_an_lfu_policy, ["--maxmemory-policy", "allkeys-lfu"], |server| {
    let mut client = server.client();
    let not_tracked = "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
                       switching between policies at runtime LRU and LFU data will take some time to adjust.";
    check(&mut client, &[("SET a 1", "+OK"), ("OBJECT IDLETIME a", not_tracked), ("OBJECT IDLETIME none", "null")]);
    assert!((5..=6).contains(&client.command(&["OBJECT", "FREQ", "a"]).integer()));
});

/// One key wanders between names and databases, in different slots; whoever looks at all of them at once sees it.
#[test]
fn a_key_that_is_renamed_is_never_gone() {
    for &engine in Engine::all() {
        let server = Server::start(engine);
        assert_eq!(server.client().command(&["SET", "one", "v"]), Value::ok());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = server.client();
                    while !done.load(Ordering::Relaxed) {
                        client.pipeline(&[["RENAME", "one", "two"], ["RENAME", "two", "three"]]);
                        client.pipeline(&[["RENAME", "three", "two"], ["RENAME", "two", "one"]]);
                    }
                });
            }
            let mut client = server.client();
            let counts = client.pipeline(&vec![["EXISTS", "one", "two", "three"]; 2_000]);
            done.store(true, Ordering::Relaxed);
            assert!(counts.iter().all(|count| *count == Value::Integer(1)));
        });
        assert_eq!(server.client().command(&["DBSIZE"]), Value::Integer(1));
    }
}

/// FLUSHALL and SWAPDB keep everyone else out; a count of two equal databases never tells them apart.
#[test]
fn whole_databases_change_at_once() {
    for &engine in Engine::all() {
        let server = Server::start(engine);
        let mut client = server.client();
        client.pipeline(&[["SET", "a", "1"], ["SET", "b", "1"]]);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = server.client();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(client.command(&["SWAPDB", "0", "1"]), Value::ok());
                }
            });
            for _ in 0..300 {
                let count = client.command(&["EXISTS", "a", "b"]).integer();
                assert!(count == 0 || count == 2, "{count}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

on_every_engine!(there_are_as_many_databases_as_are_set, ["--databases", "255"], |server| {
    let mut client = server.client();
    let select = |client: &mut Client, number: usize| client.command(&["SELECT", &number.to_string()]);
    let used = [0, 15, 16, 62, 63, 64, 254];
    for number in used {
        assert_eq!(select(&mut client, number), Value::ok());
        assert_eq!(client.command(&["SET", "k", &format!("of {number}")]), Value::ok());
        assert_eq!(client.command(&["SET", "brief", "v", "PX", "1"]), Value::ok());
    }
    for number in used {
        assert_eq!(select(&mut client, number), Value::ok());
        assert_eq!(client.command(&["GET", "k"]), Value::bulk(format!("of {number}")));
        assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]) == Value::Integer(1)), "{number}");
    }
    let keyspace = client.command(&["INFO", "keyspace"]).text();
    assert_eq!(keyspace.lines().filter(|line| line.starts_with("db")).count(), used.len(), "{keyspace}");
    assert!(keyspace.contains("db254:keys=1,expires=0"), "{keyspace}");
    let cases = &[
        ("SELECT 255", "-ERR DB index is out of range"),
        ("SELECT 254", "+OK"),
        ("COPY k copy DB 100", ":1"),
        ("MOVE k 101", ":1"),
        ("MOVE copy 255", "-ERR DB index is out of range"),
        ("SWAPDB 101 254", "+OK"),
        ("GET k", "\"of 254\""),
        ("SWAPDB 255 1", "-ERR DB index is out of range"),
        ("SWAPDB 0 64", "+OK"),
        ("SELECT 0", "+OK"),
        ("GET k", "\"of 64\""),
        ("FLUSHDB", "+OK"),
        ("SELECT 100", "+OK"),
        ("GET copy", "\"of 254\""),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
    ];
    check(&mut client, cases);
    assert!(!client.command(&["INFO", "keyspace"]).text().contains("db254"));
});

//! Walks over all keys: KEYS, SCAN and its guarantee, RANDOMKEY.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Client, Engine, Server, Value, on_every_engine};

fn run(client: &mut Client, line: &str) -> Value {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn fill(client: &mut Client, keys: impl Iterator<Item = String>) {
    let commands: Vec<[String; 3]> = keys.map(|key| ["SET".to_owned(), key, "v".to_owned()]).collect();
    for reply in commands.chunks(1000).flat_map(|chunk| client.pipeline(chunk)) {
        assert_eq!(reply, Value::ok());
    }
}

/// Every key of a whole walk in the order they came, and how many calls it took.
fn walk(client: &mut Client, options: &str) -> (Vec<String>, usize) {
    let (mut keys, mut cursor, mut calls) = (Vec::new(), "0".to_owned(), 0);
    loop {
        let page = run(client, format!("SCAN {cursor} {options}").trim_end());
        cursor = page.items()[0].text();
        keys.extend(page.items()[1].items().iter().map(Value::text));
        calls += 1;
        if cursor == "0" {
            return (keys, calls);
        }
    }
}

fn set(keys: Vec<String>) -> BTreeSet<String> {
    let count = keys.len();
    let set: BTreeSet<String> = keys.into_iter().collect();
    assert_eq!(set.len(), count, "a key came twice");
    set
}

on_every_engine!(a_walk_sees_every_key_once_in_pages, |server| {
    let mut client = server.client();
    assert_eq!(format!("{:?}", run(&mut client, "SCAN 0")), r#"["0", []]"#);
    let names: BTreeSet<String> = (0..3000)
        .map(|number| if number % 3 == 0 { format!("{{tag}}{number}") } else { format!("key:{number}") })
        .collect();
    fill(&mut client, names.iter().cloned());
    for (options, most_calls) in [("", 400), ("COUNT 1", 3100), ("COUNT 500", 20), ("COUNT 100000", 1)] {
        let (keys, calls) = walk(&mut client, options);
        assert_eq!(set(keys), names, "{options}");
        assert!(calls <= most_calls, "{options}: {calls} calls");
    }
    let page = run(&mut client, "SCAN 0 COUNT 10");
    assert!((10..100).contains(&page.items()[1].items().len()), "{page:?}");
    let tagged: BTreeSet<String> = names.iter().filter(|name| name.starts_with("{tag}1")).cloned().collect();
    assert_eq!(set(walk(&mut client, "MATCH {tag}1*").0), tagged);
    assert_eq!(set(walk(&mut client, "TYPE STRING COUNT 1000").0), names);
    assert_eq!(walk(&mut client, "TYPE list COUNT 1000").0, [""; 0]);
    let keys = run(&mut client, "KEYS {tag}1*").items().iter().map(Value::text).collect();
    assert_eq!(set(keys), tagged);
    assert_eq!(run(&mut client, "KEYS *").items().len(), 3000);
    assert_eq!(run(&mut client, "KEYS nosuch*"), Value::Array(vec![]));
});

on_every_engine!(arguments_of_scan_are_judged_as_redis_does, |server| {
    let mut client = server.client();
    for (line, expected) in [
        ("SCAN abc", "-ERR invalid cursor"),
        ("SCAN 1.5", "-ERR invalid cursor"),
        ("SCAN 99999999999999999999", "-ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ("SCAN 0 COUNT -1", "-ERR syntax error"),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SCAN 0 COUNT", "-ERR syntax error"),
        ("SCAN 0 LIMIT 1", "-ERR syntax error"),
        ("SCAN 18446744073709551615", r#"["0", []]"#),
        ("SCAN -1 COUNT 9223372036854775807", r#"["0", []]"#),
    ] {
        assert_eq!(format!("{:?}", run(&mut client, line)), expected, "{line}");
    }
});

/// What is there from the beginning of a walk to its end is seen, once, whatever others write, delete, rename and
/// expire meanwhile; what was never there is not.
#[test]
fn a_walk_sees_what_stays_while_others_write() {
    for &engine in Engine::all() {
        let server = Server::start(engine);
        let mut client = server.client();
        let stay: BTreeSet<String> = (0..2000)
            .map(|number| if number % 2 == 0 { format!("{{tag}}stay{number}") } else { format!("stay{number}") })
            .collect();
        fill(&mut client, stay.iter().cloned());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..3 {
                let (server, done) = (&server, &done);
                scope.spawn(move || {
                    let mut client = server.client();
                    let mut round = 0;
                    while !done.load(Ordering::Relaxed) {
                        // Enough keys in one slot that its table grows and shrinks under the walk.
                        let key = |number: usize| match number % 2 {
                            0 => format!("{{tag}}{writer}:{number}"),
                            _ => format!("{writer}:{number}"),
                        };
                        fill(&mut client, (0..1500).map(key));
                        let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
                        let changes: Vec<Vec<String>> = (0..1500)
                            .map(|number| match (number + round) % 4 {
                                0 => words(format!("PEXPIRE {} 1", key(number))),
                                1 => words(format!("RENAME {} {}", key(number), key(number + 2000))),
                                2 => words(format!("SET stay{} other", 2 * (number % 1000) + 1)),
                                _ => words(format!("DEL {}", key(number))),
                            })
                            .collect();
                        client.pipeline(&changes);
                        client.pipeline(
                            &(0..1500).map(|number| ["DEL".to_owned(), key(number + 2000)]).collect::<Vec<_>>(),
                        );
                        round += 1;
                    }
                });
            }
            for options in ["COUNT 7", "", "COUNT 100", "COUNT 1000", "COUNT 30"] {
                let (keys, _) = walk(&mut client, options);
                let stayed: Vec<String> = keys.iter().filter(|key| key.contains("stay")).cloned().collect();
                assert_eq!(set(stayed), stay, "{options:?}");
                assert!(keys.iter().all(|key| key.contains("stay") || key.contains(':')));
            }
            let keys: Vec<String> = run(&mut client, "KEYS *stay*").items().iter().map(Value::text).collect();
            assert_eq!(set(keys), stay);
            done.store(true, Ordering::Relaxed);
        });
    }
}

on_every_engine!(every_key_may_be_drawn, |server| {
    let mut client = server.client();
    assert_eq!(run(&mut client, "RANDOMKEY"), Value::Null);
    let names: BTreeSet<String> = (0..20).map(|number| format!("{}{number}", ["", "{tag}"][number % 2])).collect();
    fill(&mut client, names.iter().cloned());
    let mut drawn = BTreeSet::new();
    for _ in 0..100 {
        drawn.extend(client.pipeline(&vec![["RANDOMKEY"]; 20]).iter().map(Value::text));
    }
    assert_eq!(drawn, names);
});

/// The same where most keys are on disk alone, and all of them leave memory and come back during the walks.
#[test]
fn a_walk_sees_what_stays_while_keys_leave_memory() {
    let server = Server::options(Engine::Rocksdb).flag("--maxmemory").flag("24mb").start();
    let mut client = server.client();
    let name = |number: usize| {
        if number.is_multiple_of(20) { format!("{{tag}}stay{number}") } else { format!("stay{number}") }
    };
    let stay: BTreeSet<String> = (0..60_000).map(name).collect();
    let long = "v".repeat(500);
    let set_all = |client: &mut Client, names: &[String]| {
        for chunk in names.chunks(500) {
            let commands: Vec<[&str; 3]> = chunk.iter().map(|name| ["SET", name.as_str(), long.as_str()]).collect();
            assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
        }
    };
    set_all(&mut client, &stay.iter().cloned().collect::<Vec<_>>());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (server, done, set_all) = (&server, &done, &set_all);
        scope.spawn(move || {
            let mut client = server.client();
            for round in 0.. {
                let names: Vec<String> = (0..3000).map(|number| format!("{{tag}}{round}:{number}")).collect();
                set_all(&mut client, &names);
                let read: Vec<[String; 2]> =
                    (0..3000).map(|number| ["GET".to_owned(), name((number * 7 + round) % 60_000)]).collect();
                assert!(client.pipeline(&read).iter().all(|reply| *reply != Value::Null));
                client.pipeline(&names.iter().map(|name| ["DEL", name.as_str()]).collect::<Vec<_>>());
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for options in ["COUNT 100", "COUNT 1000", "COUNT 100000"] {
            let (keys, _) = walk(&mut client, options);
            assert_eq!(set(keys.into_iter().filter(|key| key.contains("stay")).collect()), stay, "{options:?}");
        }
        let keys: Vec<String> = run(&mut client, "KEYS *stay*").items().iter().map(Value::text).collect();
        assert_eq!(set(keys), stay);
        done.store(true, Ordering::Relaxed);
    });
    assert!(client.info_number("tiering", "resident_keys") < 50_000);
}

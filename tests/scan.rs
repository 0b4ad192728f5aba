//! Walks over all keys: KEYS, SCAN and its guarantee, RANDOMKEY.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Client, Engine, Http, PATIENCE, Server, Value, eventually, on_every_engine};

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

/// The processor time that the server has used, in seconds.
fn cpu_seconds(client: &mut Client) -> f64 {
    let info = run(client, "INFO cpu").text();
    let part = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok()).expect(name);
    part("used_cpu_user:") + part("used_cpu_sys:")
}

/// What `work` costs the server.
fn cost(client: &mut Client, work: impl FnOnce(&mut Client)) -> f64 {
    let before = cpu_seconds(client);
    work(client);
    cpu_seconds(client) - before
}

// SCAN tells in which order the keys of a slot lie, so anybody can pick some that lie side by side.
on_every_engine!(keys_picked_by_the_order_of_scan_cost_what_others_do, |server| {
    const PICKED: usize = 8_000;
    let mut client = server.client();
    fill(&mut client, (0..12 * PICKED).map(|number| format!("{{tag}}{number}")));
    let mut picked = walk(&mut client, "COUNT 1000").0;
    picked.truncate(PICKED);
    let mut costs = Vec::new();
    let others: Vec<String> = (0..PICKED).map(|number| format!("{{tag}}{number}")).collect();
    for names in [others, picked] {
        run(&mut client, "FLUSHALL");
        costs.push(cost(&mut client, |client| fill(client, names.iter().cloned())));
        let get = names.iter().map(|name| ["GET", name.as_str()]).collect::<Vec<_>>();
        assert!(client.pipeline(&get).iter().all(|reply| *reply == Value::bulk(b"v")));
        assert_eq!(set(walk(&mut client, "COUNT 100").0), names.iter().cloned().collect());
    }
    assert!(client.info_number("stats", "table_overflow_keys") > 0);
    let longest = client.info_number("stats", "table_longest_probe");
    assert!((2..=224).contains(&longest), "{longest}");
    let metrics = Http::connect(&server).get("/metrics").text();
    assert!(metrics.contains(&format!("\nrockpool_table_longest_probe {longest}")), "{metrics}");
    assert!(costs[1] < 4.0 * costs[0] + 0.1, "{costs:?} seconds");
    run(&mut client, "FLUSHALL");
    assert!(eventually(PATIENCE, || client.info_number("stats", "table_overflow_keys") == 0));
});

on_every_engine!(a_draw_costs_the_same_however_many_keys_a_slot_has, |server| {
    let mut client = server.client();
    let mut costs = Vec::new();
    for (database, keys) in [(0, 100), (1, 60_000)] {
        run(&mut client, &format!("SELECT {database}"));
        fill(&mut client, (0..keys).map(|number| format!("{{tag}}{number}")));
        costs.push(cost(&mut client, |client| {
            for _ in 0..10 {
                let drawn = client.pipeline(&vec![["RANDOMKEY"]; 20]);
                assert!(drawn.iter().all(|name| name.text().starts_with("{tag}")));
            }
        }));
    }
    assert!(costs[1] < 4.0 * costs[0] + 0.2, "{costs:?} seconds");
});

/// A server whose keys are all on disk alone: it was ended and started again on the same directory.
fn restarted(directory: &Path, flags: &[&str], fill: impl FnOnce(&mut Client)) -> Server {
    let start = || {
        let options = Server::options(Engine::Rocksdb).directory(directory);
        flags.iter().fold(options, |options, flag| options.flag(*flag)).start()
    };
    let mut server = start();
    fill(&mut server.client());
    assert!(server.terminate().success());
    start()
}

/// One cold key has a walk read the disk; that must not make each of its calls go over all keys of the slot.
#[test]
fn a_walk_goes_on_where_it_was_in_a_slot_with_a_cold_key() {
    const SIZES: [usize; 2] = [3_000, 15_000];
    let place = tempfile::tempdir().expect("a directory");
    let name = |number: usize| format!("{{tag}}{number}");
    let server = restarted(place.path(), &[], |client| {
        for (database, keys) in SIZES.into_iter().enumerate() {
            run(client, &format!("SELECT {database}"));
            fill(client, (0..keys).map(name));
        }
    });
    let mut client = server.client();
    let mut costs = Vec::new();
    for (database, keys) in SIZES.into_iter().enumerate() {
        run(&mut client, &format!("SELECT {database}"));
        let get = (1..keys).map(|number| ["GET".to_owned(), name(number)]).collect::<Vec<_>>();
        assert!(get.chunks(1000).flat_map(|chunk| client.pipeline(chunk)).all(|reply| reply == Value::bulk(b"v")));
        costs.push(cost(&mut client, |client| {
            let (names, calls) = walk(client, "COUNT 20");
            assert_eq!(set(names), (0..keys).map(name).collect());
            assert!((keys / 25..keys / 15).contains(&calls), "{calls} calls");
        }));
    }
    assert_eq!(client.info_number("tiering", "resident_keys"), (SIZES[0] + SIZES[1] - 2) as u64);
    assert!(costs[1] < 10.0 * costs[0], "{costs:?} seconds for {SIZES:?} keys");
}

/// Keys on disk are drawn from where they lie; the first and the last of a slot have to be drawn like others.
#[test]
fn each_cold_key_of_a_slot_is_drawn_about_as_often() {
    const DRAWS_A_KEY: usize = 80;
    let place = tempfile::tempdir().expect("a directory");
    let name = |number: usize| format!("{{tag}}{number}");
    let databases = [1, 3, 10, 17, 40, 100, 150];
    let server = restarted(place.path(), &[], |client| {
        for (database, keys) in databases.into_iter().enumerate() {
            run(client, &format!("SELECT {database}"));
            fill(client, (0..keys).map(name));
        }
    });
    let mut client = server.client();
    for (database, keys) in databases.into_iter().enumerate() {
        run(&mut client, &format!("SELECT {database}"));
        let mut draws: BTreeMap<String, usize> = (0..keys).map(|number| (name(number), 0)).collect();
        for drawn in (0..keys).flat_map(|_| client.pipeline(&vec![["RANDOMKEY"]; DRAWS_A_KEY])) {
            *draws.get_mut(&drawn.text()).expect("a key that there is") += 1;
        }
        let (in_order, _) = walk(&mut client, "COUNT 1000");
        let counts: Vec<usize> = in_order.iter().map(|name| draws[name]).collect();
        assert!(
            counts.iter().all(|count| (DRAWS_A_KEY / 8..DRAWS_A_KEY * 4).contains(count)),
            "{keys} keys: {counts:?}"
        );
    }
    assert_eq!(client.info_number("tiering", "resident_keys"), 0);
}

/// The most memory that a server ever had.
fn peak_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn walks_read_no_values_of_cold_keys() {
    const KEYS: usize = 160;
    let place = tempfile::tempdir().expect("a directory");
    let name = |number: usize| format!("{{tag}}{number}");
    let server = restarted(place.path(), &[], |client| {
        let long = "v".repeat(512 << 10);
        for number in 0..KEYS {
            let set = ["SET", &name(number), &long, "PX", if number == 0 { "1" } else { "10000000" }];
            assert_eq!(client.command(&set[..if number % 2 == 0 { 5 } else { 3 }]), Value::ok());
        }
    });
    let mut client = server.client();
    let names: BTreeSet<String> = (1..KEYS).map(name).collect();
    let before = peak_bytes(&server);
    assert_eq!(set(walk(&mut client, "COUNT 1000").0), names);
    assert_eq!(set(walk(&mut client, "COUNT 7 TYPE string").0), names);
    let keys = run(&mut client, "KEYS *").items().iter().map(Value::text).collect();
    assert_eq!(set(keys), names);
    let drawn: BTreeSet<String> =
        (0..50).flat_map(|_| client.pipeline(&vec![["RANDOMKEY"]; 100])).map(|name| name.text()).collect();
    assert_eq!(drawn, names);
    assert!(eventually(PATIENCE, || run(&mut client, "DBSIZE").integer() == KEYS as i64 - 1));
    let grown = peak_bytes(&server).saturating_sub(before);
    assert!(grown < 30 << 20, "{} MB for the names of {KEYS} keys", grown >> 20);
    // What has expired is not shown either while nobody deletes it, be it few keys or many.
    run(&mut client, "DEBUG SET-ACTIVE-EXPIRE 0");
    for number in (2..KEYS).step_by(2) {
        assert_eq!(run(&mut client, &format!("PEXPIREAT {} 1", name(number))).integer(), 1);
    }
    assert_eq!(set(walk(&mut client, "COUNT 1000").0), names.iter().filter(|name| is_odd(name)).cloned().collect());
}

fn is_odd(name: &str) -> bool {
    name.ends_with(['1', '3', '5', '7', '9'])
}

/// Keys leave the slot's memory all the time; a walk that begins anew for each of them never ends.
#[test]
fn walks_end_while_keys_leave_memory_all_the_time() {
    let place = tempfile::tempdir().expect("a directory");
    let name = |number: usize| format!("{{tag}}{number}");
    let server = restarted(place.path(), &["--maxmemory", "70mb"], |client| {
        let long = "v".repeat(100_000);
        for numbers in (0..1200).collect::<Vec<usize>>().chunks(50) {
            let commands: Vec<[String; 3]> =
                numbers.iter().map(|number| ["SET".to_owned(), name(*number), long.clone()]).collect();
            assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
        }
    });
    let names: BTreeSet<String> = (0..1200).map(name).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                for round in 0.. {
                    let get: Vec<[String; 2]> = (0..20)
                        .map(|number| ["GET".to_owned(), name((round * 20 + number) * 7 % 1200 + reader)])
                        .collect();
                    client.pipeline(&get);
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        let mut client = server.client();
        assert!(eventually(PATIENCE, || client.info_number("tiering", "demoted_keys") > 100));
        for _ in 0..30 {
            assert!(names.contains(&run(&mut client, "RANDOMKEY").text()));
        }
        assert_eq!(set(walk(&mut client, "COUNT 100").0), names);
        let keys = run(&mut client, "KEYS *").items().iter().map(Value::text).collect();
        assert_eq!(set(keys), names);
        done.store(true, Ordering::Relaxed);
    });
    // And then it is quiet.
    let mut client = server.client();
    assert!(eventually(PATIENCE, || cost(&mut client, |_| std::thread::sleep(Duration::from_millis(300))) < 0.1));
}

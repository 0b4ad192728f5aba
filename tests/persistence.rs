//! What is on disk: found again after the end, however it came, larger than memory, and refused where it is not whole.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use support::{Client, Engine, Http, PATIENCE, Server, Value, eventually};

/// A server on a directory that outlives it.
fn on(directory: &Path, flags: &[&str]) -> Server {
    flags
        .iter()
        .fold(Server::options(Engine::Rocksdb).directory(directory), |options, flag| options.flag(*flag))
        .start()
}

/// Why a server does not start there: its only line.
fn refusal(directory: &Path) -> String {
    let failure = Server::options(Engine::Rocksdb).directory(directory).try_start().expect_err("it is refused");
    let lines: Vec<&str> = failure.lines().skip(1).filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(lines.len(), 1, "{failure}");
    lines[0].to_owned()
}

fn wait_until_merged(client: &mut Client) {
    assert!(eventually(PATIENCE, || client.is_merged()), "{}", client.command(&["INFO", "tiering"]).text());
}

fn key(number: usize) -> String {
    format!("key:{number:06}")
}

fn value(number: usize) -> String {
    // Every hundredth one is long enough for a blob file.
    format!("value {number} ").repeat(if number.is_multiple_of(100) { 1000 } else { 8 })
}

fn fill(client: &mut Client, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let commands: Vec<[String; 3]> =
            chunk.iter().map(|number| ["SET".to_owned(), key(*number), value(*number)]).collect();
        assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
    }
}

/// Reads all of them, checks each, and returns how many replies there were.
fn check(client: &mut Client, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(200) {
        let commands: Vec<[String; 2]> = chunk.iter().map(|number| ["GET".to_owned(), key(*number)]).collect();
        for (number, reply) in chunk.iter().zip(client.pipeline(&commands)) {
            assert_eq!(reply, Value::bulk(value(*number).as_bytes()), "{}", key(*number));
        }
    }
}

fn scan_all(client: &mut Client) -> Vec<String> {
    let (mut cursor, mut names) = ("0".to_owned(), Vec::new());
    loop {
        let Value::Array(parts) = client.command(&["SCAN", &cursor, "COUNT", "100"]) else {
            panic!("SCAN is an array")
        };
        cursor = parts[0].text();
        let Value::Array(found) = &parts[1] else { panic!("names are an array") };
        names.extend(found.iter().map(Value::text));
        if cursor == "0" {
            return names;
        }
    }
}

/// A command that has to be run again has changed nothing, which the server asserts in debug builds; DEBUG POPULATE passes over
/// what it has made.
#[test]
fn populate_goes_on_where_it_comes_to_cold_keys() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.command(&["DEBUG", "POPULATE", "20"]), Value::ok());
    assert_eq!(client.command(&["DEL", "key:0", "key:7"]), Value::Integer(2));
    server.terminate();
    let server = on(place.path(), &["--enable-debug-command", "yes"]);
    let mut client = server.client();
    assert_eq!(client.command(&["DEBUG", "POPULATE", "40"]), Value::ok());
    assert_eq!(client.command(&["DBSIZE"]), Value::Integer(40));
    for number in [0, 1, 7, 39] {
        assert_eq!(client.command(&["GET", &format!("key:{number}")]), Value::bulk(format!("value:{number}")));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_every_end() {
    for (appendonly, sync) in [("yes", "everysec"), ("yes", "always"), ("yes", "no"), ("no", "everysec")] {
        let place = tempfile::tempdir().expect("a directory");
        let flags = ["--appendonly", appendonly, "--appendfsync", sync];
        let mut server = on(place.path(), &flags);
        let client = &mut server.client();
        fill(client, 0..3000);
        client.command(&["SET", "expires", "v", "PX", "100000000"]);
        client.command(&["APPEND", "expires", "w"]);
        client.command(&["SELECT", "3"]);
        client.command(&["SET", "elsewhere", "v"]);
        client.command(&["SWAPDB", "3", "5"]);
        if appendonly == "no" {
            wait_until_merged(client);
        }
        server.kill();
        let mut server = on(place.path(), &flags);
        let client = &mut server.client();
        check(client, 0..3000);
        assert_eq!(client.command(&["GET", "expires"]), Value::bulk(b"vw"));
        assert!(client.command(&["PTTL", "expires"]).integer() > 90_000_000);
        client.command(&["DEL", &key(7)]);
        client.command(&["SELECT", "5"]);
        assert_eq!(client.command(&["GET", "elsewhere"]), Value::bulk(b"v"));
        assert!(server.terminate().success(), "{}", server.log());
        let server = on(place.path(), &flags);
        let client = &mut server.client();
        assert!(server.log().contains("replayed=0"), "a good end leaves nothing to replay: {}", server.log());
        assert_eq!(client.command(&["DBSIZE"]).integer(), 3000);
        assert_eq!(client.command(&["GET", &key(7)]), Value::Null);
        check(client, 8..3000);
    }
}

#[test]
fn cold_keys_are_found_by_every_way() {
    // Read by the worker itself, and by others.
    for loader_threads in ["0", "2"] {
        find_cold_keys(loader_threads);
    }
}

fn find_cold_keys(loader_threads: &str) {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &[]);
    fill(&mut server.client(), 0..2000);
    assert!(server.terminate().success());
    let server = on(place.path(), &["--enable-debug-command", "yes", "--loader-threads", loader_threads]);
    let client = &mut server.client();
    assert_eq!(client.info_number("tiering", "resident_keys"), 0, "nothing is read ahead");
    assert_eq!(client.command(&["DBSIZE"]).integer(), 2000);
    let names = scan_all(client);
    let expected: BTreeSet<String> = (0..2000).map(key).collect();
    assert_eq!((names.len(), names.into_iter().collect::<BTreeSet<_>>()), (2000, expected.clone()));
    assert_eq!(client.command(&["KEYS", "key:00000?"]).items().len(), 10);
    for _ in 0..20 {
        assert!(expected.contains(&client.command(&["RANDOMKEY"]).text()));
    }
    assert_eq!(client.command(&["EXISTS", &key(1), "nothing", &key(2)]).integer(), 2);
    assert_eq!(client.command(&["STRLEN", &key(3)]).integer(), value(3).len() as i64);
    assert_eq!(client.command(&["APPEND", &key(4), "+"]).integer(), value(4).len() as i64 + 1);
    assert_eq!(client.command(&["RENAME", &key(5), "renamed"]), Value::ok());
    assert_eq!(client.command(&["GET", "renamed"]), Value::bulk(value(5).as_bytes()));
    assert_eq!(client.command(&["DEL", &key(6), &key(7), "nothing"]).integer(), 2);
    assert_eq!(client.command(&["SET", &key(8), "new", "NX"]), Value::Null);
    let by_rest = Http::connect(&server).get(&format!("/cache/{}", key(11)));
    assert_eq!((by_rest.status, by_rest.text()), (200, value(11)));
    // Without a look: the disk settles the count later.
    assert_eq!(client.command(&["SET", &key(9), "new"]), Value::ok());
    assert_eq!(client.command(&["MSET", &key(10), "new", "fresh", "new"]), Value::ok());
    wait_until_merged(client);
    // Nothing is dirty any more once a round has taken it; it settles the count before it is written.
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == 1999));
    assert_eq!(scan_all(client).len(), 1999);
    let commands: Vec<[String; 2]> = (100..1000).map(|number| ["GET".to_owned(), key(number)]).collect();
    assert!(
        client
            .pipeline(&commands)
            .iter()
            .zip(100..)
            .all(|(reply, number)| *reply == Value::bulk(value(number).as_bytes()))
    );
    assert!(client.info_number("tiering", "resident_keys") >= 900);
    let loads = client.info_number("tiering", "loads");
    for missing in 0..200 {
        assert_eq!(client.command(&["GET", &format!("missing:{missing}")]), Value::Null);
    }
    assert!(client.info_number("tiering", "loads") - loads < 10, "filters answer misses");
}

#[test]
fn data_may_be_larger_than_memory() {
    let place = tempfile::tempdir().expect("a directory");
    let server = on(place.path(), &["--maxmemory", "48mb", "--maxmemory-policy", "noeviction"]);
    let client = &mut server.client();
    // About 120 MB.
    fill(client, 0..400_000);
    check(client, 0..20_000);
    check(client, 390_000..400_000);
    wait_until_merged(client);
    assert_eq!(client.command(&["DBSIZE"]).integer(), 400_000);
    assert!(client.info_number("tiering", "demoted_keys") > 100_000);
    assert!(client.info_number("tiering", "resident_keys") < 250_000);
    let used = client.info_number("memory", "used_memory");
    assert!(used < 56 << 20, "{used} bytes");
}

/// However fast keys come: what is being written to disk does not keep the rest in memory.
#[test]
fn memory_stays_within_its_limit_while_keys_come_fast() {
    for limit_mib in [64, 128] {
        load_fast(limit_mib << 20);
    }
}

fn load_fast(limit_bytes: u64) {
    let place = tempfile::tempdir().expect("a directory");
    let server = on(place.path(), &["--maxmemory", &limit_bytes.to_string()]);
    let done = AtomicBool::new(false);
    let peak_bytes = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak_bytes = 0;
            while !done.load(Ordering::Relaxed) {
                peak_bytes = server.resident_bytes().max(peak_bytes);
                thread::sleep(Duration::from_millis(5));
            }
            peak_bytes
        });
        let loaders = [0, 1].map(|loader| {
            let mut client = server.client();
            scope.spawn(move || {
                for chunk in (0..750_000).collect::<Vec<usize>>().chunks(1000) {
                    let commands: Vec<[String; 3]> = chunk
                        .iter()
                        .map(|number| ["SET".to_owned(), format!("{loader}:{number:014}"), format!("{number:064}")])
                        .collect();
                    assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
                }
            })
        });
        for loader in loaders {
            loader.join().expect("no panic");
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().expect("no panic")
    });
    let client = &mut server.client();
    assert!(client.info_number("tiering", "demoted_keys") > 500_000);
    eprintln!("{peak_bytes} bytes resident, limit {limit_bytes}");
    assert!(peak_bytes < limit_bytes + limit_bytes / 4, "{peak_bytes} bytes");
    assert_eq!(client.command(&["GET", "1:00000000000007"]), Value::bulk(format!("{:064}", 7).as_bytes()));
}

/// Large rounds become tables, small ones go through RocksDB's log: which it was is nothing that shows.
#[test]
fn rounds_of_any_size_outlive_a_kill() {
    let place = tempfile::tempdir().expect("a directory");
    let flags = ["--maxdirty", "64kb", "--merge-interval", "20"];
    let mut expected = BTreeMap::new();
    for life in 0..3 {
        let mut server = on(place.path(), &flags);
        let client = &mut server.client();
        for round in 0..20 {
            let numbers = (0..2000).step_by(if round % 2 == 0 { 1 } else { 200 });
            let commands: Vec<Vec<String>> = numbers
                .map(|number| {
                    if (number + round) % 5 == 0 {
                        expected.remove(&number);
                        vec!["DEL".to_owned(), key(number)]
                    } else {
                        let value = format!("{life} {round} {number}");
                        expected.insert(number, value.clone());
                        vec!["SET".to_owned(), key(number), value]
                    }
                })
                .collect();
            client.pipeline(&commands);
            wait_until_merged(client);
        }
        let (rounds, tables) =
            (client.info_number("tiering", "merge_rounds"), client.info_number("tiering", "merge_tables"));
        assert!((10..rounds).contains(&tables), "{tables} tables of {rounds} rounds");
        server.kill();
        let server = on(place.path(), &flags);
        let client = &mut server.client();
        // What was replayed without a look at the disk is settled by then.
        wait_until_merged(client);
        assert_eq!(client.command(&["DBSIZE"]).integer(), expected.len() as i64);
        for (number, value) in &expected {
            assert_eq!(client.command(&["GET", &key(*number)]), Value::bulk(value.as_bytes()));
        }
    }
}

#[test]
fn cold_keys_expire_without_being_read() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &[]);
    let client = &mut server.client();
    for number in 0..500 {
        client.command(&["SET", &key(number), "v", "PX", "1500"]);
        client.command(&["SET", &format!("stays:{number}"), "v"]);
    }
    assert!(server.terminate().success());
    let server = on(place.path(), &[]);
    let client = &mut server.client();
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == 500));
    assert_eq!(client.info_number("tiering", "loaded_keys"), 0);
    assert_eq!(client.command(&["GET", &key(1)]), Value::Null);
    assert_eq!(scan_all(client).len(), 500);
}

#[test]
fn a_checkpoint_is_a_data_directory() {
    let place = tempfile::tempdir().expect("a directory");
    let server = on(&place.path().join("data"), &[]);
    let client = &mut server.client();
    fill(client, 0..1000);
    let before = client.command(&["LASTSAVE"]).integer();
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    assert!(client.command(&["LASTSAVE"]).integer() >= before);
    fill(client, 1000..1500);
    assert_eq!(client.command(&["BGSAVE"]), Value::simple("Background saving started"));
    assert!(eventually(PATIENCE, || client.info_number("persistence", "rdb_saves") == 2));
    client.command(&["FLUSHALL"]);
    let checkpoint = place.path().join("data/checkpoint");
    let restored = place.path().join("restored");
    let restore = Server::options(Engine::Rocksdb).directory(&restored).flag("--restore").flag(&checkpoint);
    let copy = restore.start();
    check(&mut copy.client(), 0..1500);
    drop(copy);
    check(&mut on(&checkpoint, &[]).client(), 0..1500);
    assert_eq!(client.command(&["DBSIZE"]).integer(), 0);
    let failure = Server::options(Engine::Rocksdb).directory(&checkpoint).flag("--restore").flag(&restored).try_start();
    assert!(failure.expect_err("it holds data").contains("is not empty"));
}

#[test]
fn flushed_databases_stay_empty() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &[]);
    let client = &mut server.client();
    fill(client, 0..1000);
    wait_until_merged(client);
    fill(client, 500..1200);
    client.command(&["FLUSHALL"]);
    assert_eq!(client.command(&["GET", &key(1)]), Value::Null);
    client.command(&["SET", "after", "v"]);
    server.kill();
    let server = on(place.path(), &[]);
    let client = &mut server.client();
    assert_eq!(client.command(&["DBSIZE"]).integer(), 1);
    assert_eq!(scan_all(client), ["after"]);
}

#[test]
fn settings_of_the_journal_change_at_run_time() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &["--appendonly", "no", "--merge-interval", "600000"]);
    let client = &mut server.client();
    client.command(&["SET", "before", "v"]);
    assert_eq!(client.command(&["CONFIG", "SET", "appendonly", "yes", "appendfsync", "always"]), Value::ok());
    wait_until_merged(client);
    client.command(&["SET", "after", "v"]);
    server.kill();
    let server = on(place.path(), &[]);
    assert_eq!(server.client().command(&["MGET", "before", "after"]).items(), [Value::bulk(b"v"), Value::bulk(b"v")]);
}

#[test]
fn a_directory_that_is_not_whole_is_refused_and_left_as_it_is() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &[]);
    fill(&mut server.client(), 0..100);
    assert!(refusal(place.path()).contains("is in use by another process"));
    assert!(server.terminate().success());
    let format = place.path().join("FORMAT");
    let text = std::fs::read_to_string(&format).expect("FORMAT");
    std::fs::write(&format, text.replace("format = 3", "format = 7")).expect("FORMAT");
    assert!(refusal(place.path()).contains("format 7"));
    std::fs::write(&format, &text).expect("FORMAT");
    let (database, away) = (place.path().join("rocksdb"), place.path().join("away"));
    std::fs::rename(&database, &away).expect("rename");
    assert!(refusal(place.path()).contains("is incomplete"));
    assert!(!database.exists());
    std::fs::rename(&away, &database).expect("rename");
    check(&mut on(place.path(), &[]).client(), 0..100);
}

/// The hash of keys has a secret of its own in each directory, which nobody else reads and which no clock tells.
#[test]
fn a_new_directory_has_a_secret_for_its_hash() {
    let secret = |place: &Path| {
        let text = std::fs::read_to_string(place.join("FORMAT")).expect("FORMAT");
        let line =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).map(str::to_owned);
        assert_eq!(line("hash").as_deref(), Some("\"aes-128-cmac\""), "{text}");
        let digits = line("secret").expect("a secret").trim_matches('"').to_owned();
        assert_eq!(digits.len(), 32, "{text}");
        u128::from_str_radix(&digits, 16).expect("a number")
    };
    let places = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
    let secrets = places.each_ref().map(|place| {
        let mut server = on(place.path(), &[]);
        let mode = std::fs::metadata(place.path().join("FORMAT")).expect("FORMAT").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let first = secret(place.path());
        assert!(server.terminate().success());
        drop(on(place.path(), &[]));
        assert_eq!(secret(place.path()), first, "it stays");
        first
    });
    assert!((secrets[0] ^ secrets[1]).count_ones() > 30, "{secrets:x?}");
    assert!(secrets.iter().all(|secret| (20..108).contains(&secret.count_ones())), "{secrets:x?}");
}

/// Makes a directory of format 1 as a start that ended early has left it. Returns what its `FORMAT` is to tell of it.
fn begin_format_1(place: &Path) -> [&'static str; 3] {
    let text = "format = 1\nseed = \"000643b1c0ffee00\"\ncreated-ms = 1764000000000\nprogram = \"0.1.0\"\n";
    std::fs::write(place.join("NEW"), text).expect("NEW");
    ["hash = \"xxh3\"", "secret = \"000643b1c0ffee00\"", "created-ms = 1764000000000"]
}

/// A directory of format 1 is served with its hash.
#[test]
fn a_directory_of_format_1_is_served_with_its_hash() {
    let place = tempfile::tempdir().expect("a directory");
    let kept = begin_format_1(place.path());
    let mut server = on(place.path(), &[]);
    fill(&mut server.client(), 0..2000);
    assert!(server.terminate().success());
    let server = on(place.path(), &[]);
    let mut client = server.client();
    check(&mut client, 0..2000);
    assert_eq!(scan_all(&mut client).len(), 2000);
    let text = std::fs::read_to_string(place.path().join("FORMAT")).expect("FORMAT");
    assert!(kept.iter().all(|line| text.lines().any(|found| found == *line)), "{text}");
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    assert_eq!(std::fs::read_to_string(place.path().join("checkpoint/FORMAT")).expect("FORMAT"), text);
}

/// Long keys by every way, in directories of this version and of those before.
#[test]
fn long_keys_are_keys_like_others() {
    for is_new in [true, false] {
        let place = tempfile::tempdir().expect("a directory");
        if !is_new {
            begin_format_1(place.path());
        }
        let long = |number: usize, length: usize| format!("{number:04}{}", "k".repeat(length - 4));
        let lengths = [5, 4080, 4095, 4096, 4097, 4098, 5000, 300_000];
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        let mut server = on(place.path(), &[]);
        let client = &mut server.client();
        // Those of a length differ in their beginnings, or only at the end.
        for (number, length) in lengths.into_iter().enumerate() {
            for name in [long(number, length), long(number + 100, length), long(number, length - 1) + "!"] {
                assert_eq!(client.command(&["SET", &name, &name[..4]]), Value::ok());
                expected.insert(name.clone(), name[..4].to_owned());
            }
        }
        client.command(&["SET", &long(7777, 6000), "v", "PX", "3000"]);
        server.kill();
        let mut server = on(place.path(), &[]);
        wait_until_merged(&mut server.client());
        assert!(server.terminate().success());
        let mut server = on(place.path(), &[]);
        let client = &mut server.client();
        assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == expected.len() as i64), "it expired");
        assert_eq!(client.info_number("tiering", "loaded_keys"), 0);
        let all = |client: &mut Client, expected: &BTreeMap<String, String>| {
            let names: BTreeSet<String> = scan_all(client).into_iter().collect();
            assert!(names == expected.keys().cloned().collect(), "{} of {}", names.len(), expected.len());
            for (name, value) in expected {
                assert_eq!(client.command(&["GET", name]), Value::bulk(value.as_bytes()), "{} bytes", name.len());
            }
            assert_eq!(client.command(&["DBSIZE"]).integer(), expected.len() as i64);
        };
        all(client, &expected);
        assert!(server.terminate().success());
        let mut server = on(place.path(), &[]);
        let client = &mut server.client();
        // Without a look at what is there, and with one.
        for (turn, name) in expected.keys().cloned().collect::<Vec<_>>().into_iter().enumerate() {
            match turn % 4 {
                0 => assert_eq!(client.command(&["SET", &name, "new"]), Value::ok()),
                1 => assert_eq!(client.command(&["APPEND", &name, "+"]).integer(), 5),
                2 => assert_eq!(client.command(&["DEL", &name]).integer(), 1),
                _ => assert_eq!(client.command(&["RENAME", &name, &format!("{name}renamed")]), Value::ok()),
            }
            let value = expected.remove(&name).expect("it was there");
            match turn % 4 {
                0 => drop(expected.insert(name, "new".to_owned())),
                1 => drop(expected.insert(name, value + "+")),
                2 => {}
                _ => drop(expected.insert(name + "renamed", value)),
            }
        }
        wait_until_merged(client);
        assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == expected.len() as i64));
        all(client, &expected);
        server.kill();
        all(&mut on(place.path(), &[]).client(), &expected);
    }
}

/// RocksDB would keep a large key at the end of a file in its manifest and its indexes, and write it again with each of these.
#[test]
fn a_large_key_is_written_no_oftener_than_a_large_value() {
    const LENGTH: usize = 24 << 20;
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &["--enable-debug-command", "yes"]);
    let client = &mut server.client();
    let large = vec![b'k'; LENGTH];
    assert_eq!(client.command(&[&b"SET"[..], &large, b"v"]), Value::ok());
    wait_until_merged(client);
    for _ in 0..2 {
        server.kill();
        server = on(place.path(), &[]);
        let client = &mut server.client();
        assert_eq!(client.command(&[&b"GET"[..], &large]), Value::bulk(b"v"));
        assert_eq!(client.command(&["SET", "small", "v"]), Value::ok());
        wait_until_merged(client);
    }
    let files = std::fs::read_dir(place.path().join("rocksdb")).expect("a directory").flatten();
    let bytes: u64 = files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
    assert!(bytes < 3 * LENGTH as u64, "{bytes} bytes for a key of {LENGTH}");
    let client = &mut server.client();
    assert_eq!(client.command(&[&b"DEL"[..], &large]).integer(), 1);
    assert_eq!(client.command(&["DBSIZE"]).integer(), 1);
}

#[test]
fn databases_beyond_the_sixteenth_outlive_the_end() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let options = || Server::options(Engine::Rocksdb).directory(directory.path());
    let value_in = |server: &Server, number: &str| {
        let mut client = server.client();
        assert_eq!(client.command(&["SELECT", number]), Value::ok());
        client.command(&["GET", "k"])
    };
    let mut server = options().flag("--databases").flag("200").start();
    let mut client = server.client();
    for number in ["0", "150", "199"] {
        assert_eq!(client.command(&["SELECT", number]), Value::ok());
        assert_eq!(client.command(&["SET", "k", number]), Value::ok());
    }
    // What is in the journal alone is refused where there are too few databases, and is there afterwards.
    server.kill();
    let refused = options().try_start().expect_err("it has a database 199");
    assert!(refused.contains("more than 16 databases: start with `databases"), "{refused}");
    let mut server = options().flag("--databases").flag("200").start();
    assert_eq!(value_in(&server, "199"), Value::bulk("199"));
    assert_eq!(server.client().command(&["SWAPDB", "0", "199"]), Value::ok());
    assert!(server.terminate().success());
    // So is what was merged.
    let refused = options().flag("--databases").flag("151").try_start().expect_err("it has a database 199");
    assert!(refused.contains("start with `databases 200` or more"), "{refused}");
    let server = options().flag("--databases").flag("255").start();
    for (number, value) in [("0", "199"), ("150", "150"), ("199", "0")] {
        assert_eq!(value_in(&server, number), Value::bulk(value), "{number}");
    }
}

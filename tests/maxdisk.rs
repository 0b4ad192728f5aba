//! `maxdisk`: the data directory stays within it, and what was written longest ago goes for what comes.

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use support::{Client, Engine, PATIENCE, Server, ServerOptions, Value, eventually};

const MIB: u64 = 1 << 20;
const LIMIT_BYTES: u64 = 64 * MIB;
/// What a server without keys keeps: RocksDB's manifest with what is reserved of it, its messages, the counts of slots.
const IDLE_BYTES: u64 = 12 * MIB;
/// What the directory may exceed the limit by for a moment: a compaction makes files before it deletes those that they
/// replace. At the least limit they are coarsest beside it.
const TOLERANCE_BYTES: u64 = LIMIT_BYTES / 10;

fn on(directory: &Path, flags: &[&str]) -> ServerOptions {
    // The order is exact up to a round, whose size this bounds.
    let options = Server::options(Engine::Rocksdb).directory(directory).flag("--maxdirty").flag("2mb");
    flags.iter().fold(options, |options, flag| options.flag(*flag))
}

fn limited(directory: &Path) -> Server {
    on(directory, &["--maxdisk", "64mb"]).start()
}

/// What the files take on disk.
fn disk_bytes(directory: &Path) -> u64 {
    let files = ["journal", "rocksdb"].map(|part| std::fs::read_dir(directory.join(part)).expect("a directory"));
    files
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

fn key(number: usize) -> String {
    format!("key:{number:07}")
}

/// Noise, which does not compress.
fn value(number: usize, length: usize) -> Vec<u8> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(length).collect()
}

/// SETs keys, and returns the most that the directory took meanwhile.
fn fill(client: &mut Client, directory: &Path, numbers: std::ops::Range<usize>, length: usize, ttl: bool) -> u64 {
    fill_with(client, directory, numbers, length, ttl, value)
}

fn fill_with(
    client: &mut Client,
    directory: &Path,
    numbers: std::ops::Range<usize>,
    length: usize,
    ttl: bool,
    value: fn(usize, usize) -> Vec<u8>,
) -> u64 {
    let mut most_bytes = 0;
    let step = (256 * 1024 / length).max(1);
    for first in numbers.clone().step_by(step) {
        let commands: Vec<Vec<Vec<u8>>> = (first..numbers.end.min(first + step))
            .map(|number| {
                let mut command = vec![b"SET".to_vec(), key(number).into_bytes(), value(number, length)];
                if ttl && number % 2 == 0 {
                    command.extend([b"EX".to_vec(), b"100000".to_vec()]);
                }
                command
            })
            .collect();
        assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
        most_bytes = most_bytes.max(disk_bytes(directory));
    }
    most_bytes
}

/// The numbers of all keys.
fn scan(client: &mut Client) -> BTreeSet<usize> {
    let (mut cursor, mut numbers) = ("0".to_owned(), Vec::new());
    loop {
        let parts = client.command(&["SCAN", &cursor, "COUNT", "1000"]).items().to_vec();
        numbers.extend(parts[1].items().iter().map(|name| name.text()[4..].parse::<usize>().expect("a number")));
        cursor = parts[0].text();
        if cursor == "0" {
            break;
        }
    }
    let set: BTreeSet<usize> = numbers.iter().copied().collect();
    assert_eq!(set.len(), numbers.len(), "SCAN names each key once");
    set
}

/// What there is at a time when nothing is being evicted.
struct Settled {
    numbers: BTreeSet<usize>,
    evicted_keys: u64,
    /// INFO's section.
    keyspace: String,
}

fn settled(client: &mut Client) -> Settled {
    let mut settled = None;
    let has_settled = eventually(PATIENCE, || {
        let evicted_keys = client.info_number("stats", "evicted_keys");
        let busy = ["disk_is_compacting", "disk_excess_bytes"];
        if busy.iter().any(|name| client.info_number("tiering", name) > 0) || !client.is_merged() {
            return false;
        }
        let (numbers, count) = (scan(client), client.command(&["DBSIZE"]).integer());
        let keyspace = client.command(&["INFO", "keyspace"]).text();
        if client.info_number("stats", "evicted_keys") != evicted_keys {
            return false;
        }
        assert_eq!(count as usize, numbers.len(), "DBSIZE is what SCAN finds");
        settled = Some(Settled { numbers, evicted_keys, keyspace });
        true
    });
    assert!(has_settled, "{}", client.command(&["INFO", "tiering"]).text());
    settled.expect("it came to hold")
}

/// All of the newest are there, none of the oldest, and what is between is less than a tenth of all.
fn check_order(numbers: &BTreeSet<usize>, written: std::ops::Range<usize>) {
    let first = *numbers.first().expect("some are left");
    let last_gone = written.clone().rev().find(|number| !numbers.contains(number)).expect("some are gone");
    assert!(last_gone.saturating_sub(first) < written.len() / 10, "{first} is there, {last_gone} is not");
}

fn check_values(client: &mut Client, numbers: &BTreeSet<usize>, length: usize) {
    // The newer half: more of the oldest may go, once a compaction shows what keys take.
    for number in numbers.iter().skip(numbers.len() / 2).step_by(numbers.len() / 500 + 1) {
        assert_eq!(client.command(&["GET", &key(*number)]), Value::bulk(value(*number, length)), "{number}");
    }
}

/// Several times the limit, with every other key expiring, through both ends.
fn keeps_the_limit(length: usize, count: usize) {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = limited(place.path());
    let client = &mut server.client();
    let most_bytes = fill(client, place.path(), 0..count, length, true);
    let Settled { numbers, evicted_keys, keyspace } = settled(client);
    let kept_bytes = numbers.len() as u64 * length as u64;
    eprintln!(
        "{count} values of {length}: most {most_bytes} on disk, {} kept of {} bytes, stalls {}, passes {}",
        numbers.len(),
        kept_bytes,
        client.info_number("tiering", "write_stalls"),
        client.info_number("tiering", "disk_compaction_passes"),
    );
    assert!(most_bytes <= LIMIT_BYTES + TOLERANCE_BYTES, "{most_bytes} bytes on disk");
    check_order(&numbers, 0..count);
    assert!(kept_bytes > LIMIT_BYTES / 4, "{kept_bytes} bytes are kept");
    assert_eq!(evicted_keys as usize, count - numbers.len());
    check_values(client, &numbers, length);
    let expiring = |numbers: &BTreeSet<usize>| numbers.iter().filter(|number| *number % 2 == 0).count();
    assert!(keyspace.contains(&format!("keys={},expires={},", numbers.len(), expiring(&numbers))), "{keyspace}");

    server.kill();
    let mut server = limited(place.path());
    let client = &mut server.client();
    let after_kill = settled(client).numbers;
    assert!(after_kill.is_subset(&numbers), "nothing comes back");
    check_order(&after_kill, 0..count);
    assert!(after_kill.len() * 10 > numbers.len() * 7, "{} of {} keys are left", after_kill.len(), numbers.len());
    assert!(server.terminate().success(), "{}", server.log());
    let server = limited(place.path());
    let client = &mut server.client();
    let most_bytes = fill(client, place.path(), count..count + count / 4, length, true);
    assert!(most_bytes <= LIMIT_BYTES + TOLERANCE_BYTES, "{most_bytes} bytes on disk");
    let numbers = settled(client).numbers;
    check_order(&numbers, 0..count + count / 4);
    check_values(client, &numbers, length);
}

#[test]
fn small_values_stay_within_the_limit() {
    keeps_the_limit(200, 400_000);
}

#[test]
fn large_values_stay_within_the_limit() {
    keeps_the_limit(16_000, 10_000);
}

/// What a byte takes on disk must not be learned from a keyspace that is next to empty.
#[test]
fn an_emptied_server_takes_as_many_keys_as_a_new_one() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = limited(place.path());
    let client = &mut server.client();
    let (length, count) = (1000, 80_000);
    fill(client, place.path(), 0..count, length, false);
    let before = settled(client).numbers.len();
    // Until a compaction meets an empty keyspace.
    let passed = |client: &mut Client| client.info_number("tiering", "disk_compaction_passes");
    let (start, mut round) = (passed(client), 0);
    while passed(client) == start && round < 20 {
        round += 1;
        fill(client, place.path(), 0..30_000, length, false);
        client.command(&["FLUSHALL"]);
        client.command(&["SET", &key(0), "v"]);
        // It begins with the next measure, or is not needed.
        let _began =
            eventually(Duration::from_millis(400), || client.info_number("tiering", "disk_is_compacting") == 1);
        assert!(eventually(PATIENCE, || client.info_number("tiering", "disk_is_compacting") == 0));
    }
    eprintln!("{} passes in {round} rounds", passed(client) - start);
    client.command(&["SET", &key(0), "w"]);
    assert!(server.terminate().success());
    let server = limited(place.path());
    let client = &mut server.client();
    fill(client, place.path(), 0..count, length, false);
    let kept = settled(client).numbers;
    eprintln!("{before} keys kept before, {} afterwards", kept.len());
    assert!(kept.len() * 10 > before * 8, "{} of {before}", kept.len());
    check_order(&kept, 0..count);
}

#[test]
fn more_keys_are_kept_once_they_compress() {
    let place = tempfile::tempdir().expect("a directory");
    let server = limited(place.path());
    let client = &mut server.client();
    let (length, count) = (1000, 80_000);
    fill(client, place.path(), 0..count, length, false);
    let noise = settled(client).numbers.len();
    // To about a sixth, keys included: more than one limit holds of them are written.
    let compresses = |number, length| [value(number, length / 8), vec![b'a'; length - length / 8]].concat();
    let most_bytes = fill_with(client, place.path(), 0..4 * count, length, false, compresses);
    let kept = settled(client).numbers;
    eprintln!("{noise} keys of noise, {} that compress", kept.len());
    assert!(most_bytes <= LIMIT_BYTES + TOLERANCE_BYTES, "{most_bytes} bytes on disk");
    assert!(kept.len() > 3 * noise, "{} and {noise}", kept.len());
    check_order(&kept, 0..4 * count);
}

#[test]
fn what_was_written_again_is_new() {
    let place = tempfile::tempdir().expect("a directory");
    let server = limited(place.path());
    let client = &mut server.client();
    let (length, count) = (1000, 80_000);
    fill(client, place.path(), 0..10_000, length, false);
    for first in (10_000..count).step_by(10_000) {
        fill(client, place.path(), first..first + 10_000, length, false);
        // In memory, and as they are on disk; other ones are read only.
        fill(client, place.path(), 0..100, length, false);
        for number in 100..200 {
            client.command(&["GET", &key(number)]);
        }
        for number in 200..300 {
            client.command(&["SET", &key(number), "0"]);
        }
    }
    let numbers = settled(client).numbers;
    assert!((0..100).chain(200..300).all(|number| numbers.contains(&number)), "they were written just now");
    assert!((100..200).chain(300..10_000).all(|number| !numbers.contains(&number)), "to be read does not make new");
    check_values(client, &(0..100).collect(), length);
    client.command(&["SELECT", "1"]);
    client.command(&["SET", "elsewhere", "v"]);
    client.command(&["SELECT", "0"]);
    client.command(&["SWAPDB", "0", "1"]);
    fill(client, place.path(), 0..40_000, length, false);
    client.command(&["SELECT", "1"]);
    assert!(scan(client).range(..count - 10_000).count() <= 200, "the oldest go first, wherever they are");
    client.command(&["FLUSHALL"]);
    let most_bytes = fill(client, place.path(), 0..70_000, length, false);
    assert!(most_bytes <= LIMIT_BYTES + TOLERANCE_BYTES, "{most_bytes} bytes on disk");
    check_order(&settled(client).numbers, 0..70_000);
}

#[test]
fn a_limit_that_comes_later_takes_the_oldest_too() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = limited(place.path());
    let client = &mut server.client();
    let length = 2000;
    fill(client, place.path(), 0..5000, length, true);
    assert_eq!(client.command(&["CONFIG", "SET", "maxdisk", "0"]), Value::ok());
    fill(client, place.path(), 5000..45_000, length, true);
    // What was written while nobody kept ages.
    fill(client, place.path(), 0..100, length, false);
    assert_eq!(settled(client).numbers.len(), 45_000);
    assert!(disk_bytes(place.path()) > LIMIT_BYTES * 5 / 4);
    assert_eq!(client.command(&["CONFIG", "SET", "maxdisk", "64mb"]), Value::ok());
    assert!(eventually(PATIENCE, || disk_bytes(place.path()) <= LIMIT_BYTES));
    let mut numbers = settled(client).numbers;
    assert!((0..100).all(|number| numbers.remove(&number)));
    check_order(&numbers, 100..45_000);
    check_values(client, &numbers, length);
    assert!(server.terminate().success());
    // And without a limit, it grows again, until the start that sets one.
    let mut server = on(place.path(), &[]).start();
    fill(&mut server.client(), place.path(), 45_000..70_000, length, false);
    server.kill();
    let server = limited(place.path());
    let client = &mut server.client();
    assert!(eventually(PATIENCE, || disk_bytes(place.path()) <= LIMIT_BYTES));
    check_order(&settled(client).numbers, 100..70_000);
}

/// SETs keys, from `first` on, until the server is gone. Returns what follows the last that was acknowledged.
fn write_until_killed(mut client: Client, first: usize, length: usize) -> usize {
    let mut next = first;
    loop {
        let numbers = next..next + 50;
        let commands = numbers
            .clone()
            .flat_map(|number| support::encode(&[b"SET".to_vec(), key(number).into_bytes(), value(number, length)]));
        if client.try_raw_write(&commands.collect::<Vec<u8>>()).is_err() {
            return next;
        }
        for _ in numbers {
            match client.try_read_value() {
                Ok(reply) => assert_eq!(reply, Value::ok()),
                Err(_) => return next,
            }
            next += 1;
        }
    }
}

/// Killed while the oldest go for what comes: what was acknowledged last is there, and what is gone was the oldest.
#[test]
fn kills_amid_evictions_lose_nothing_but_the_oldest() {
    const KILLS: u64 = 12;
    const LENGTH: usize = 1000;
    let place = tempfile::tempdir().expect("a directory");
    let start = |kill: u64| {
        let appendfsync = ["always", "everysec", "no"][kill as usize % 3];
        on(place.path(), &["--maxdisk", "64mb", "--appendonly", "yes", "--appendfsync", appendfsync]).start()
    };
    let (mut next, mut evicted) = (0, 0);
    for kill in 0..KILLS {
        let mut server = start(kill);
        let mut watcher = server.client();
        let (client, first) = (server.client(), next);
        let writer = std::thread::spawn(move || write_until_killed(client, first, LENGTH));
        let goes = |client: &mut Client| client.info_number("stats", "evicted_keys") > 0;
        assert!(eventually(PATIENCE, || goes(&mut watcher)), "{}", server.log());
        // Somewhere between two rounds' ends, a little further on each time.
        std::thread::sleep(Duration::from_millis(37 * kill));
        evicted += watcher.info_number("stats", "evicted_keys");
        server.kill();
        next = writer.join().expect("no panic");

        let mut server = start(kill + 1);
        let client = &mut server.client();
        let numbers = settled(client).numbers;
        // More may have come than was acknowledged.
        let end = next.max(numbers.last().expect("some are left") + 1);
        // At first it may be that no eviction got as far as the journal. Later, no limit holds so many.
        if kill > 0 || numbers.len() < end {
            check_order(&numbers, end.saturating_sub(60_000)..end);
        }
        assert_eq!(numbers.range(end - 10_000..).count(), 10_000, "kill {kill}: of the last 10,000");
        check_values(client, &numbers, LENGTH);
        assert!(server.terminate().success(), "{}", server.log());
        next = end;
    }
    eprintln!("{KILLS} kills, {next} keys written, {evicted} evicted at least");
}

#[test]
fn a_limit_that_leaves_no_room_is_refused() {
    let place = tempfile::tempdir().expect("a directory");
    let failure = on(place.path(), &["--maxdisk", "1mb"]).try_start().expect_err("it is refused");
    assert!(failure.contains("maxdisk 1048576 is too small: the least is 67108864 bytes"), "{failure}");
    let server = on(place.path(), &[]).start();
    let client = &mut server.client();
    let refusal = client.command(&["CONFIG", "SET", "maxdisk", "200mb"]).error_text();
    assert!(refusal.ends_with("- journal and log leave no room for keys: the least is 369098752 bytes"), "{refusal}");
    assert_eq!(client.command(&["CONFIG", "GET", "maxdisk"]).items()[1].text(), "0");
    assert_eq!(client.command(&["CONFIG", "SET", "maxdisk", "400mb"]), Value::ok());
}

/// How much lies in tables and blob files.
fn data_bytes(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory.join("rocksdb")).expect("a directory").flatten();
    let is_data = |path: &Path| path.extension().is_some_and(|extension| extension == "sst" || extension == "blob");
    files
        .filter(|file| is_data(&file.path()))
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.blocks() * 512)
        .sum()
}

/// However keys go, and whatever their size: no client has to write anything for their space to be free.
#[test]
fn a_server_without_keys_needs_no_space() {
    std::thread::scope(|scope| {
        for way in ["FLUSHALL", "FLUSHDB", "DEL", "expiry"] {
            scope.spawn(move || {
                for (keys, length) in [(40_000, 64), (20_000, 1000), (300, 100_000)] {
                    lose_all_keys(way, keys, length);
                }
            });
        }
    });
}

fn lose_all_keys(way: &str, keys: usize, length: usize) {
    let what = format!("{keys} keys of {length} bytes, {way}");
    let place = tempfile::tempdir().expect("a directory");
    let server = on(place.path(), &[]).start();
    let client = &mut server.client();
    fill(client, place.path(), 0..keys, length, false);
    assert!(eventually(PATIENCE, || client.is_merged()));
    let before = disk_bytes(place.path());
    assert!(before > (keys * length) as u64, "{what}: {before} bytes");
    let names: Vec<String> = (0..keys).map(key).collect();
    let commands: Vec<Vec<&str>> = match way {
        "DEL" => names.chunks(1000).map(|chunk| [&["DEL"][..], &as_texts(chunk)].concat()).collect(),
        "expiry" => names.iter().map(|name| vec!["PEXPIRE", name, "1"]).collect(),
        flush => vec![vec![flush]],
    };
    assert!(client.pipeline(&commands).iter().all(|reply| !reply.is_error()), "{what}");
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == 0), "{what}");
    let left = || (data_bytes(place.path()), disk_bytes(place.path()));
    let is_little = |(data, all): (u64, u64)| data < MIB && all < IDLE_BYTES;
    assert!(eventually(PATIENCE, || is_little(left())), "{what}: {:?} bytes are left", left());
    // What comes afterwards is kept.
    assert_eq!(client.command(&["SET", "after", "v"]), Value::ok());
    assert_eq!(client.command(&["GET", "after"]), Value::bulk("v"));
}

fn as_texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn an_end_right_after_a_flush_leaves_nothing() {
    for (keys, length) in [(100_000, 64), (300, 100_000)] {
        let place = tempfile::tempdir().expect("a directory");
        let mut server = on(place.path(), &[]).start();
        let client = &mut server.client();
        fill(client, place.path(), 0..keys, length, false);
        assert_eq!(client.command(&["FLUSHALL"]), Value::ok());
        assert!(server.terminate().success());
        assert!(data_bytes(place.path()) < MIB, "{} bytes", data_bytes(place.path()));
    }
}

/// What is flushed goes, what is not stays: databases share files, and keys come at once again.
#[test]
fn only_what_was_flushed_goes() {
    let place = tempfile::tempdir().expect("a directory");
    let mut server = on(place.path(), &[]).start();
    let client = &mut server.client();
    for database in ["0", "1", "2"] {
        assert_eq!(client.command(&["SELECT", database]), Value::ok());
        fill(client, place.path(), 0..20_000, 500, false);
    }
    assert!(eventually(PATIENCE, || client.is_merged()));
    client.command(&["SELECT", "1"]);
    assert_eq!(client.command(&["FLUSHDB"]), Value::ok());
    fill(client, place.path(), 30_000..32_000, 500, false);
    server.kill();
    let server = on(place.path(), &[]).start();
    let client = &mut server.client();
    for (database, numbers) in [("0", 0..20_000), ("1", 30_000..32_000), ("2", 0..20_000)] {
        client.command(&["SELECT", database]);
        assert_eq!(client.command(&["DBSIZE"]).integer(), numbers.len() as i64);
        for number in numbers.step_by(97) {
            assert_eq!(client.command(&["GET", &key(number)]), Value::bulk(value(number, 500)), "database {database}");
        }
    }
}

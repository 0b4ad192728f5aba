mod faults;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::*;
use crate::store::record::{Order, Record, RecordKey, STRING, SlotMeta, TimedKey};

/// A directory of its own for a test's database.
pub(super) struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch { directory: tempfile::tempdir().expect("a directory") }
    }

    pub fn options() -> RocksOptions {
        RocksOptions { create: true, ..RocksOptions::default() }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("rocksdb")
    }

    pub fn open(&self) -> Rocks {
        Rocks::open(&self.path(), &Scratch::options()).expect("a database")
    }
}

pub(super) fn key(database: u8, slot: u16, hash: u32, key: &[u8]) -> RecordKey<'_> {
    RecordKey { database, slot, hash, key }
}

pub(super) fn record(expiry_ms: Option<u64>, written_ms: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { kind: STRING, expiry_ms, written_ms, payload }.encode(&mut bytes);
    bytes
}

fn encoded(key: &RecordKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// The key of a number, spread over slots and hashes.
fn numbered(number: u32) -> Vec<u8> {
    let name = format!("key:{number}");
    encoded(&key(0, (number % 16_384) as u16, number.wrapping_mul(0x9e37_79b9), name.as_bytes()))
}

fn put(rocks: &Rocks, keys: &[&[u8]], value: &[u8]) {
    let mut batch = Batch::default();
    for bytes in keys {
        batch.put_record(&RecordKey::decode(bytes).expect("a key"), value);
    }
    rocks.write(&batch).expect("written");
}

fn get(rocks: &Rocks, key: &[u8]) -> Option<Vec<u8>> {
    rocks.reader().expect("open").get(key).expect("read").map(|value| value.to_vec())
}

#[test]
fn a_database_is_made_only_where_that_is_meant() {
    let scratch = Scratch::new();
    let options = RocksOptions { create: false, ..RocksOptions::default() };
    let error = Rocks::open(&scratch.path(), &options).err().expect("no database");
    assert_eq!(error.kind, RocksErrorKind::Missing, "{error}");
    drop(scratch.open());
    drop(Rocks::open(&scratch.path(), &options).expect("a database"));
    std::fs::remove_file(scratch.path().join("CURRENT")).expect("removed");
    let error = Rocks::open(&scratch.path(), &options).err().expect("no CURRENT");
    assert_eq!(error.kind, RocksErrorKind::Missing, "{error}");
}

#[test]
fn a_database_is_open_once() {
    let scratch = Scratch::new();
    let _first = scratch.open();
    let error = Rocks::open(&scratch.path(), &Scratch::options()).err().expect("a lock");
    assert_eq!(error.kind, RocksErrorKind::Locked, "{error}");
}

#[test]
fn damaged_and_missing_files_are_told_apart() {
    for (name, kind) in [("MANIFEST", RocksErrorKind::Corruption), ("sst", RocksErrorKind::Missing)] {
        let scratch = Scratch::new();
        let rocks = scratch.open();
        put(&rocks, &[&numbered(1)], &record(None, 1, b"value"));
        rocks.flush().expect("flushed");
        rocks.close().expect("closed");
        let files = std::fs::read_dir(scratch.path()).expect("files").map(|entry| entry.expect("a file").path());
        let file = files
            .filter(|path| path.to_string_lossy().contains(name))
            .max()
            .unwrap_or_else(|| panic!("no {name} in {}", scratch.path().display()));
        if name == "sst" {
            std::fs::remove_file(file).expect("removed");
        } else {
            std::fs::write(file, b"nothing that RocksDB would write").expect("overwritten");
        }
        let error = match Rocks::open(&scratch.path(), &Scratch::options()) {
            Ok(rocks) => rocks.reader().expect("open").get(&numbered(1)).err().expect("an error"),
            Err(error) => error,
        };
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(!error.message.contains('\n'), "{error}");
    }
}

#[test]
fn what_was_written_is_read_after_a_restart() {
    let scratch = Scratch::new();
    let blob = vec![b'b'; BLOB_BYTES * 3];
    let meta = SlotMeta { sequence: 1, keys: 2, expiring: 3, key_bytes: 4, value_bytes: 5 };
    let order: Order = std::array::from_fn(|index| 15 - index as u8);
    let keys: Vec<Vec<u8>> = (0..100).map(numbered).collect();
    {
        let rocks = scratch.open();
        let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        put(&rocks, &refs[..50], &record(None, 7, b"value"));
        put(&rocks, &refs[50..90], &record(Some(9), 7, &blob));
        let mut batch = Batch::default();
        batch.put_slot_meta(3, 4, &meta);
        batch.put_order(&order);
        rocks.write(&batch).expect("written");
        rocks.flush_wal(true).expect("synced");
    }
    let rocks = scratch.open();
    let reader = rocks.reader().expect("open");
    for (index, value) in reader.get_many(&keys).into_iter().enumerate() {
        let expected = match index {
            0..50 => Some(record(None, 7, b"value")),
            50..90 => Some(record(Some(9), 7, &blob)),
            _ => None,
        };
        assert_eq!(value.expect("read").as_deref(), expected.as_deref(), "{index}");
    }
    let mut metas = Vec::new();
    reader.scan_slot_metas(|database, slot, meta| metas.push((database, slot, meta))).expect("read");
    assert_eq!(metas, [(3, 4, meta)]);
    assert_eq!(reader.order().expect("read"), Some(order));
}

/// Every state a key can be in: in the memtable, in table files, as a blob, deleted, with a cache that holds nothing.
#[test]
fn a_look_never_denies_a_key_that_exists() {
    for memory_bytes in [0, 64 << 20] {
        let scratch = Scratch::new();
        let options = RocksOptions { memory_bytes, ..Scratch::options() };
        let mut rocks = Rocks::open(&scratch.path(), &options).expect("a database");
        let mut expected: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for step in 0..6_u32 {
            let value = |number: u32| {
                let length = if number % 7 == 0 { BLOB_BYTES * 2 } else { 40 };
                record(None, 1 + u64::from(step), &vec![number as u8; length])
            };
            let mut batch = Batch::default();
            for number in step * 500..step * 500 + 1500 {
                let bytes = numbered(number);
                let key = RecordKey::decode(&bytes).expect("a key");
                let present = (number + step) % 5 != 0;
                if present {
                    batch.put_record(&key, &value(number))
                } else {
                    batch.delete_record(&key)
                }
                expected.insert(bytes.clone(), present.then(|| value(number)));
            }
            rocks.write(&batch).expect("written");
            match step {
                1 | 3 => rocks.flush().expect("flushed"),
                2 => rocks.compact(None).expect("compacted"),
                4 => {
                    drop(rocks);
                    rocks = Rocks::open(&scratch.path(), &options).expect("a database");
                }
                _ => {}
            }
            let reader = rocks.reader().expect("open");
            let mut answers = [0; 3];
            for (key, value) in &expected {
                match (reader.look(key), value) {
                    (Look::Found(found), Some(value)) => {
                        assert!(*found == value[..], "step {step}");
                        answers[0] += 1;
                    }
                    (Look::Absent, None) => answers[1] += 1,
                    (Look::Unknown, _) => answers[2] += 1,
                    (Look::Absent, Some(_)) => panic!("step {step}: denied {}", key.escape_ascii()),
                    (Look::Found(_), None) => panic!("step {step}: found {}", key.escape_ascii()),
                }
            }
            assert!(step != 0 || answers[2] == 0, "memtables know all: {answers:?}");
            for (key, value) in &expected {
                assert_eq!(reader.get(key).expect("read").as_deref(), value.as_deref());
            }
            drop(reader);
        }
    }
}

#[test]
fn filters_answer_for_absent_keys_without_reading() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let keys: Vec<Vec<u8>> = (0..20_000).map(numbered).collect();
    put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, 1, &[7; 64]));
    rocks.flush().expect("flushed");
    let reader = rocks.reader().expect("open");
    let absent = || (20_000..40_000).map(numbered);
    // The first read brings each filter into the cache.
    for key in absent() {
        assert!(reader.get(&key).expect("read").is_none());
    }
    let unknown = absent().filter(|key| !matches!(reader.look(key), Look::Absent)).count();
    assert!(unknown < 20_000 / 25, "{unknown} of 20000 are not known to be absent");
}

#[test]
fn a_slot_is_scanned_in_the_order_of_hashes() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let mut batch = Batch::default();
    for (database, slot, hash) in [(0, 7, 1), (1, 6, 5), (1, 7, 9), (1, 7, 3), (1, 7, u32::MAX), (1, 8, 0), (2, 7, 1)] {
        batch.put_record(&key(database, slot, hash, b"k"), &record(None, 1, b"v"));
    }
    rocks.write(&batch).expect("written");
    let reader = rocks.reader().expect("open");
    for flushed in [false, true] {
        if flushed {
            rocks.flush().expect("flushed");
        }
        for (from, limit, stop_after, expected) in [
            (0, 10, 10, &[3, 9, u32::MAX][..]),
            (4, 10, 10, &[9, u32::MAX]),
            (0, 2, 10, &[3, 9]),
            (0, 10, 1, &[3]),
            (0, 0, 10, &[]),
        ] {
            let mut hashes = Vec::new();
            let visit = |record: &RecordKey, _: &[u8]| {
                assert_eq!((record.database, record.slot), (1, 7));
                hashes.push(record.hash);
                if hashes.len() == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            reader.scan_slot(1, 7, from, limit, visit).expect("scanned");
            assert_eq!(hashes, expected, "from {from}, at most {limit}, flushed: {flushed}");
        }
        let mut count = 0;
        let counted = reader.scan_all(|_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        counted.expect("scanned");
        assert_eq!(count, 7);
    }
}

#[test]
fn the_indexes_are_read_in_the_order_of_time() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let mut batch = Batch::default();
    for at_ms in [30, 10, 20, 40] {
        batch.put_expiry(at_ms, &key(1, 2, 3, b"k"), at_ms as u32 * 2);
        batch.put_age(at_ms, &key(1, 2, 3, b"k"));
    }
    batch.put_expiry(u64::MAX, &key(1, 2, 3, b"last"), 0);
    rocks.write(&batch).expect("written");
    let due = |from_ms: u64, to_ms: u64, limit: usize| {
        let mut times = Vec::new();
        let reader = rocks.reader().expect("open");
        let visited = reader.scan_expiry(from_ms, to_ms, limit, |timed: &TimedKey, length| {
            assert_eq!(u64::from(length), timed.at_ms * 2);
            times.push(timed.at_ms);
            ControlFlow::Continue(())
        });
        visited.expect("scanned");
        times
    };
    let aged = |from_ms: u64, limit: usize| {
        let mut times = Vec::new();
        let reader = rocks.reader().expect("open");
        let visited = reader.scan_age(from_ms, limit, |timed| {
            times.push(timed.at_ms);
            ControlFlow::Continue(())
        });
        visited.expect("scanned");
        times
    };
    assert_eq!(due(0, 30, 10), [10, 20, 30]);
    assert_eq!(due(11, 30, 1), [20]);
    assert!(due(41, 40, 10).is_empty());
    assert_eq!(aged(0, 2), [10, 20]);
    assert_eq!(aged(21, 10), [30, 40]);
    let mut batch = Batch::default();
    batch.delete_expiry_range(0, 21);
    batch.delete_expiry(40, &key(1, 2, 3, b"k"));
    batch.delete_age(10, &key(1, 2, 3, b"k"));
    batch.delete_age_range(20, 40);
    rocks.write(&batch).expect("written");
    assert_eq!((due(0, 100, 10), aged(0, 10)), (vec![30], vec![40]));
}

#[test]
fn a_database_is_deleted_with_its_files_and_no_other() {
    for drop_files in [false, true] {
        let scratch = Scratch::new();
        let rocks = scratch.open();
        let mut batch = Batch::default();
        for database in 0..3 {
            for number in 0..100 {
                batch.put_record(&key(database, number, 5, b"k"), &record(None, 1, b"old"));
            }
            batch.put_slot_meta(database, 16_383, &SlotMeta::default());
        }
        rocks.write(&batch).expect("written");
        rocks.compact(None).expect("compacted");
        if drop_files {
            rocks.drop_files(1).expect("dropped");
        }
        batch.clear();
        batch.delete_database(1);
        batch.put_record(&key(1, 1, 5, b"new"), &record(None, 2, b"new"));
        rocks.write(&batch).expect("written");
        rocks.compact(Some(1)).expect("compacted");
        let mut counts = [0; 3];
        let reader = rocks.reader().expect("open");
        let counted = reader.scan_all(|key, _| {
            counts[usize::from(key.database)] += 1;
            ControlFlow::Continue(())
        });
        counted.expect("scanned");
        assert_eq!(counts, [100, 1, 100]);
        let mut metas = Vec::new();
        reader.scan_slot_metas(|database, _, _| metas.push(database)).expect("read");
        assert_eq!(metas, [0, 2]);
        drop(reader);
        batch.clear();
        batch.put_order(&Order::default());
        batch.delete_all();
        rocks.write(&batch).expect("written");
        let reader = rocks.reader().expect("open");
        reader.scan_all(|key, _| panic!("{key:?}")).expect("nothing");
    }
}

#[test]
fn compaction_drops_what_is_swept_and_revives_nothing() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let keys: Vec<Vec<u8>> = (0..4).map(numbered).collect();
    // An older version of each that never expires, in the lowest level.
    put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, 1, b"older"));
    rocks.compact(None).expect("compacted");
    put(&rocks, &[&keys[0]], &record(Some(100), 2, b"swept"));
    put(&rocks, &[&keys[1]], &record(Some(101), 2, b"expired, not swept"));
    put(&rocks, &[&keys[2]], &record(None, 2, b"never expires"));
    put(&rocks, &[&keys[3]], &record(Some(99), 2, &[0; BLOB_BYTES]));
    rocks.flush().expect("flushed");
    rocks.set_swept_ms(100);
    rocks.set_swept_ms(50);
    rocks.compact(None).expect("compacted");
    let values: Vec<bool> = keys.iter().map(|key| get(&rocks, key).is_some()).collect();
    assert_eq!(values, [false, true, true, false]);
    assert_eq!(get(&rocks, &keys[1]), Some(record(Some(101), 2, b"expired, not swept")));
    assert_eq!(rocks.status().records_dropped, 2);
    drop(rocks);
    let rocks = scratch.open();
    assert_eq!((get(&rocks, &keys[0]), get(&rocks, &keys[3])), (None, None));
}

#[test]
fn compaction_reads_no_blobs_to_find_what_has_expired() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    assert!(rocks.drops_expired(100) && !rocks.drops_expired(BLOB_BYTES as u32 - 10));
    let noise: Vec<u8> =
        (0..BLOB_BYTES as u32 * 4).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 15) as u8).collect();
    put(&rocks, &[&numbered(1)], &record(Some(1), 1, &noise));
    put(&rocks, &[&numbered(2)], &record(Some(1), 1, b"small"));
    rocks.set_swept_ms(1);
    rocks.flush().expect("flushed");
    let dropped = rocks.status().records_dropped;
    put(&rocks, &[&numbered(3)], &record(None, 1, b"small"));
    assert!(!rocks.drops_expired(100), "most bytes are in blob files");
    rocks.compact(None).expect("compacted");
    assert_eq!(rocks.status().records_dropped, dropped);
    assert!(get(&rocks, &numbered(1)).is_some());
    let mut batch = Batch::default();
    batch.delete_record(&RecordKey::decode(&numbered(1)).expect("a key"));
    rocks.write(&batch).expect("written");
    rocks.compact(None).expect("compacted");
    put(&rocks, &[&numbered(3)], &record(None, 1, b"small"));
    assert!(rocks.drops_expired(100));
    rocks.compact(None).expect("compacted");
    assert_eq!((get(&rocks, &numbered(2)), rocks.status().records_dropped), (None, dropped + 1));
}

#[test]
fn a_checkpoint_is_a_database_of_its_own() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    put(&rocks, &[&numbered(1)], &record(None, 1, b"before"));
    let copy = scratch.directory.path().join("copy");
    rocks.checkpoint(&copy).expect("a checkpoint");
    put(&rocks, &[&numbered(1)], &record(None, 1, b"after"));
    assert!(rocks.checkpoint(&copy).is_err(), "it must not replace anything");
    let copy = Rocks::open(&copy, &RocksOptions { create: false, ..RocksOptions::default() }).expect("a database");
    assert_eq!(get(&copy, &numbered(1)), Some(record(None, 1, b"before")));
    put(&copy, &[&numbered(2)], &record(None, 1, b"new"));
    assert_eq!(get(&rocks, &numbered(1)), Some(record(None, 1, b"after")));
    assert_eq!(get(&rocks, &numbered(2)), None);
}

#[test]
fn a_status_counts_what_there_is() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let before = rocks.status();
    assert_eq!((before.table_bytes, before.blob_bytes, before.failure), (0, 0, None));
    let keys: Vec<Vec<u8>> = (0..1000).map(numbered).collect();
    put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, 1, &[1; 64]));
    put(&rocks, &[&keys[0]], &record(None, 1, &[1; BLOB_BYTES]));
    let written = rocks.status();
    assert!(written.memtable_bytes > 64_000, "{written:?}");
    assert!(written.log_bytes > 64_000, "{written:?}");
    rocks.flush().expect("flushed");
    let flushed = rocks.status();
    assert!(flushed.table_bytes > 0 && flushed.blob_bytes > 0 && flushed.level_0_files == 1, "{flushed:?}");
    assert!(rocks.memory_bytes() >= flushed.cache_bytes / 2, "{flushed:?}");
    rocks.set_memory_bytes(128 << 20);
    assert_eq!(
        rocks.reader().expect("open").get(&keys[5]).expect("read").as_deref(),
        Some(&record(None, 1, &[1; 64])[..])
    );
}

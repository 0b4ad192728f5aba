mod elements;
mod faults;
mod tables;
mod verify;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rocksdb::DB;

use super::families::*;
use super::options::Resources;
use super::*;
use crate::store::record::{LongKeys, Record, RecordKey, SlotMeta};

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

fn key(database: u8, slot: u16, hash: u32, key: &[u8]) -> Vec<u8> {
    RecordKey::encoded(LongKeys::Digest, database, slot, u64::from(hash) << 32, key)
}

pub(super) fn record(expiry_ms: Option<u64>, written_ms: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Record { kind: 0, expiry_ms, written_ms, long_key: None, payload }.encode(&mut bytes);
    bytes
}

/// The key of a number, spread over slots and hashes.
fn numbered(number: u32) -> Vec<u8> {
    let name = format!("key:{number}");
    key(0, (number % 16_384) as u16, number.wrapping_mul(0x9e37_79b9), name.as_bytes())
}

fn put(rocks: &Rocks, keys: &[&[u8]], value: &[u8]) {
    let mut batch = Batch::default();
    for bytes in keys {
        batch.put_record(bytes, value);
    }
    rocks.write(&batch).expect("written");
}

fn get(rocks: &Rocks, key: &[u8]) -> Option<Vec<u8>> {
    rocks.get_many(&[key]).remove(0).expect("read")
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
            Ok(rocks) => rocks.get_many(&[&numbered(1)]).remove(0).expect_err("an error"),
            Err(error) => error,
        };
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(!error.message.contains('\n'), "{error}");
    }
}

#[test]
fn compaction_waits_until_it_may_begin() {
    let scratch = Scratch::new();
    // With a limit, few files in level 0 are enough.
    let options = RocksOptions { compacts: false, create: true, ..RocksOptions::for_disk(1 << 30) };
    let rocks = Rocks::open(&scratch.path(), &options).expect("a database");
    for number in 0..10 {
        put(&rocks, &[&numbered(1), &numbered(2)], &record(None, number, b"value"));
        rocks.flush().expect("flushed");
    }
    // Also not when it is opened anew.
    rocks.reopen().expect("reopened");
    assert_eq!(rocks.status().level_0_files, 10);
    rocks.begin_compactions().expect("options");
    let began = Instant::now();
    while rocks.status().level_0_files > 4 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is compacted");
        std::thread::yield_now();
    }
    assert_eq!(get(&rocks, &numbered(2)), Some(record(None, 9, b"value")));
}

#[test]
fn what_was_written_is_read_after_a_restart() {
    let scratch = Scratch::new();
    let blob = vec![b'b'; BLOB_BYTES * 3];
    let meta = SlotMeta { sequence: 1, keys: 2, expiring: 3, key_bytes: 4, value_bytes: 5 };
    let order: [u8; 16] = std::array::from_fn(|index| 15 - index as u8);
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
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    for (index, value) in rocks.get_many(&refs).into_iter().enumerate() {
        let expected = match index {
            0..50 => Some(record(None, 7, b"value")),
            50..90 => Some(record(Some(9), 7, &blob)),
            _ => None,
        };
        assert_eq!(value.expect("read").as_deref(), expected.as_deref(), "{index}");
    }
    assert_eq!(rocks.slots().expect("read"), [(3, 4, meta)]);
    assert_eq!(rocks.order().expect("read"), Some(order.to_vec()));
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
                let length = if number.is_multiple_of(7) { BLOB_BYTES * 2 } else { 40 };
                record(None, 1 + u64::from(step), &vec![number as u8; length])
            };
            let mut batch = Batch::default();
            for number in step * 500..step * 500 + 1500 {
                let key = numbered(number);
                let present = (number + step) % 5 != 0;
                if present {
                    batch.put_record(&key, &value(number))
                } else {
                    batch.delete_record(&key)
                }
                expected.insert(key, present.then(|| value(number)));
            }
            rocks.write(&batch).expect("written");
            match step {
                1 | 3 => rocks.flush().expect("flushed"),
                2 => rocks.compact().expect("compacted"),
                4 => {
                    drop(rocks);
                    rocks = Rocks::open(&scratch.path(), &options).expect("a database");
                }
                _ => {}
            }
            let mut answers = [0; 3];
            for (key, value) in &expected {
                match (rocks.look(key), value) {
                    (Look::Found(found), Some(value)) => {
                        assert!(found == *value, "step {step}");
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
                assert_eq!(get(&rocks, key), *value);
            }
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
    let absent = || (20_000..40_000).map(numbered);
    // The first read brings each filter into the cache.
    for key in absent() {
        assert_eq!(get(&rocks, &key), None);
    }
    let unknown = absent().filter(|key| rocks.look(key) != Look::Absent).count();
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
    for flushed in [false, true] {
        if flushed {
            rocks.flush().expect("flushed");
        }
        for (from, most, expected) in [
            (0, 10, &[3, 9, u32::MAX][..]),
            (4, 10, &[9, u32::MAX]),
            (u32::MAX, 10, &[u32::MAX]),
            (0, 2, &[3, 9]),
            (0, 1, &[3]),
        ] {
            let mut hashes = Vec::new();
            let visit = |key: &RecordKey, _: &[u8]| {
                assert_eq!((key.database, key.slot), (1, 7));
                hashes.push(key.hash);
                Ok(if hashes.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            rocks.scan_slot(1, 7, from, visit).expect("scanned");
            assert_eq!(hashes, expected, "from {from}, at most {most}, flushed: {flushed}");
        }
        assert_eq!(counts(&rocks), [1, 5, 1]);
    }
}

/// How many records databases 0 to 2 have.
fn counts(rocks: &Rocks) -> [usize; 3] {
    let mut counts = [0; 3];
    let counted = rocks.scan_records(&[], |key, _| {
        counts[usize::from(key[0])] += 1;
        Ok(ControlFlow::Continue(()))
    });
    counted.expect("scanned");
    counts
}

#[test]
fn the_indexes_are_read_in_the_order_of_time() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let mut batch = Batch::default();
    for database in [0, 1, 2] {
        for at_ms in [30, 10, 20, 40, u64::MAX] {
            batch.put_expiry(at_ms, &key(database, 2, 3, b"k"), at_ms.min(1000) as usize * 2, 5);
            batch.put_age(at_ms, &key(database, 2, 3, b"k"), 6, (at_ms > 20).then_some(7));
        }
    }
    rocks.write(&batch).expect("written");
    let due = |after: &[u8], to_ms: u64, most: usize| {
        let due = rocks.due_expiries(1, after, to_ms, most).expect("scanned");
        for due in &due {
            assert_eq!((&due.record_key, due.value_bytes), (&key(1, 2, 3, b"k"), due.time_ms.min(1000) as usize * 2));
            assert_eq!(due.other_ms, Some(5));
        }
        due.iter().map(|due| due.time_ms).collect::<Vec<_>>()
    };
    let aged = |after: &[u8], to_ms: u64, most: usize| {
        let aged = rocks.oldest(1, after, to_ms, most).expect("scanned");
        for aged in &aged {
            assert_eq!((aged.value_bytes, aged.other_ms), (6, (aged.time_ms > 20).then_some(7)));
        }
        aged.iter().map(|aged| aged.time_ms).collect::<Vec<_>>()
    };
    assert_eq!(due(&[], 30, 10), [10, 20, 30]);
    assert_eq!(due(&[], u64::MAX, 10), [10, 20, 30, 40, u64::MAX]);
    let second = rocks.due_expiries(1, &[], 30, 2).expect("scanned").remove(1).index_key();
    assert_eq!((due(&second, 30, 10), due(&second, 30, 1), due(&second, 19, 10)), (vec![20, 30], vec![20], vec![]));
    assert_eq!((aged(&[], 100, 2), aged(&[], 10, 10), aged(&second, 30, 10)), (vec![10, 20], vec![10], vec![20, 30]));
    let mut batch = Batch::default();
    batch.delete_expiry(10, &key(1, 2, 3, b"k"));
    batch.delete_age(20, &key(1, 2, 3, b"k"));
    rocks.write(&batch).expect("written");
    assert_eq!((due(&[], 100, 10), aged(&[], 100, 10)), (vec![20, 30, 40], vec![10, 30, 40]));
    let mut batch = Batch::default();
    batch.delete_ages();
    rocks.write(&batch).expect("written");
    assert_eq!((due(&[], 100, 10), aged(&[], u64::MAX, 10)), (vec![20, 30, 40], vec![]));
}

/// A sweep that deletes an expired record while keys are walked over does not make it one without an expiry.
#[test]
fn what_has_expired_is_told_as_of_when_a_walk_over_keys_began() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let expired = key(0, 2, 3, b"k");
    let mut batch = Batch::default();
    batch.put_record(&expired, &record(Some(9), 1, &vec![b'b'; BLOB_BYTES * 3]));
    batch.put_expiry(9, &expired, BLOB_BYTES * 3, 1);
    batch.put_expiry(11, &key(0, 2, 4, b"later"), 1, 1);
    rocks.write(&batch).expect("written");
    rocks.flush().expect("flushed");
    let mut met = Vec::new();
    let due = rocks.scan_slot_keys(0, 2, 0, (10, 10), |key, record| {
        met.push((key.key.to_vec(), record.is_some()));
        let mut sweep = Batch::default();
        sweep.delete_record(&expired);
        sweep.delete_expiry(9, &expired);
        rocks.write(&sweep)?;
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(met, [(b"k".to_vec(), false)]);
    let due = due.expect("walked");
    assert_eq!(due.iter().map(|due| (due.time_ms, &due.record_key)).collect::<Vec<_>>(), [(9, &expired)]);
    let due = rocks.scan_slot_keys(0, 2, 0, (10, 10), |_, _| panic!("it was deleted"));
    assert_eq!(due, Ok(Vec::new()));
}

#[test]
fn a_database_is_deleted_and_no_other() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let mut batch = Batch::default();
    for database in 0..3 {
        for number in 0..100 {
            let key = key(database, number, 5, b"k");
            batch.put_record(&key, &record(None, 1, b"old"));
            batch.put_expiry(7, &key, 3, 1);
            batch.put_age(7, &key, 3, None);
        }
    }
    rocks.write(&batch).expect("written");
    rocks.compact().expect("compacted");
    let mut batch = Batch::default();
    batch.delete_database(1);
    batch.put_record(&key(1, 1, 5, b"new"), &record(None, 2, b"new"));
    batch.put_age(8, &key(1, 1, 5, b"new"), 3, None);
    rocks.write(&batch).expect("written");
    rocks.compact().expect("compacted");
    assert_eq!(counts(&rocks), [100, 1, 100]);
    for (database, expiring, aged) in [(0, 100, 100), (1, 0, 1), (2, 100, 100)] {
        assert_eq!(rocks.due_expiries(database, &[], u64::MAX, 1000).expect("scanned").len(), expiring);
        assert_eq!(rocks.oldest(database, &[], u64::MAX, 1000).expect("scanned").len(), aged);
    }
}

#[test]
fn compaction_drops_what_is_swept_and_revives_nothing() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let keys: Vec<Vec<u8>> = (0..4).map(numbered).collect();
    // An older version of each that never expires, in the lowest level.
    put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, 1, b"older"));
    rocks.compact().expect("compacted");
    put(&rocks, &[&keys[0]], &record(Some(100), 2, b"swept"));
    put(&rocks, &[&keys[1]], &record(Some(101), 2, b"expired, not swept"));
    put(&rocks, &[&keys[2]], &record(None, 2, b"never expires"));
    put(&rocks, &[&keys[3]], &record(Some(99), 2, &[0; BLOB_BYTES]));
    rocks.flush().expect("flushed");
    rocks.swept_up_to(100);
    rocks.swept_up_to(50);
    rocks.compact().expect("compacted");
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
    let noise: Vec<u8> =
        (0..BLOB_BYTES as u32 * 4).map(|index| (index.wrapping_mul(0x9e37_79b9) >> 15) as u8).collect();
    put(&rocks, &[&numbered(1)], &record(Some(1), 1, &noise));
    put(&rocks, &[&numbered(2)], &record(Some(1), 1, b"small"));
    rocks.swept_up_to(1);
    rocks.flush().expect("flushed");
    let dropped = rocks.status().records_dropped;
    put(&rocks, &[&numbered(3)], &record(None, 1, b"small"));
    rocks.compact().expect("compacted");
    assert_eq!(rocks.status().records_dropped, dropped);
    assert!(get(&rocks, &numbered(1)).is_some());
    let mut batch = Batch::default();
    batch.delete_record(&numbered(1));
    rocks.write(&batch).expect("written");
    rocks.compact().expect("compacted");
    put(&rocks, &[&numbered(3)], &record(None, 1, b"small"));
    rocks.compact().expect("compacted");
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
    assert_eq!((before.sst_bytes, before.blob_bytes, before.failure), (0, 0, None));
    let keys: Vec<Vec<u8>> = (0..1000).map(numbered).collect();
    put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, 1, &[1; 64]));
    put(&rocks, &[&keys[0]], &record(None, 1, &[1; BLOB_BYTES]));
    let written = rocks.status();
    assert!(written.memtable_bytes > 64_000, "{written:?}");
    assert!(written.log_bytes > 64_000, "{written:?}");
    rocks.flush().expect("flushed");
    let flushed = rocks.status();
    assert!(flushed.sst_bytes > 0 && flushed.blob_bytes > 0 && flushed.level_0_files == 1, "{flushed:?}");
    assert!(rocks.memory_bytes() >= flushed.cache_bytes / 2, "{flushed:?}");
    rocks.set_memory_bytes(128 << 20);
    assert_eq!(get(&rocks, &keys[5]), Some(record(None, 1, &[1; 64])));
}

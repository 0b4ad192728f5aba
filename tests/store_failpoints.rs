//! Every I/O of the store fails once: the error has its kind, says so, and is gone with its cause.

#![cfg(feature = "failpoints")]

use std::path::Path;

use fail::FailScenario;
use rockpool::base::key_hash::HashSecret;
use rockpool::store::directory::DataDirectory;
use rockpool::store::record::{LongKeys, RecordKey};
use rockpool::store::rocks::{Batch, Look, Recovery, Rocks, RocksError, RocksErrorKind, RocksOptions};

const SECRET: HashSecret = HashSecret::AesCmac([1; 16]);

const FAULTS: [(&str, RocksErrorKind); 3] = [
    ("return", RocksErrorKind::NoSpace),
    ("return(IO error: While fsync: Input/output error)", RocksErrorKind::Io),
    ("return(Corruption: block checksum mismatch)", RocksErrorKind::Corruption),
];

fn open(path: &Path) -> Rocks {
    Rocks::open(&path.join("rocksdb"), &RocksOptions { create: true, ..RocksOptions::default() }).expect("a database")
}

fn key() -> Vec<u8> {
    RecordKey::encoded(LongKeys::Digest, 0, 1, 2, b"key")
}

fn read(rocks: &Rocks) -> Result<Option<Vec<u8>>, RocksError> {
    rocks.look_at_many(&[&key()], |record| Ok(record.to_vec())).remove(0)
}

fn put(rocks: &Rocks) -> Result<(), RocksErrorKind> {
    let mut batch = Batch::default();
    batch.put_record(&key(), b"value");
    rocks.write(&batch).map_err(|error| error.kind)
}

#[test]
fn failing_writes_leave_reads_and_are_remembered() {
    type Act = fn(&Rocks, &Path) -> Result<(), RocksErrorKind>;
    let acts: [(&str, Act, bool); 4] = [
        ("rocks::write", |rocks, _| put(rocks), true),
        ("rocks::sync", |rocks, _| rocks.flush_wal(true).map_err(|error| error.kind), true),
        ("rocks::flush", |rocks, _| rocks.flush().map_err(|error| error.kind), true),
        ("rocks::checkpoint", |rocks, to| rocks.checkpoint(to).map_err(|error| error.kind), false),
    ];
    for (point, act, is_write) in acts {
        for (fault, kind) in FAULTS {
            let scenario = FailScenario::setup();
            let scratch = tempfile::tempdir().expect("a directory");
            let rocks = open(scratch.path());
            put(&rocks).expect("written");
            fail::cfg(point, fault).expect("a failpoint");
            let copy = scratch.path().join("copy");
            assert_eq!(act(&rocks, &copy), Err(kind), "{point}={fault}");
            assert_eq!(rocks.has_failed().is_some(), is_write, "{point}={fault}");
            assert_eq!(rocks.look(&key()), Look::Found(b"value".to_vec()), "{point}={fault}");
            assert_eq!(read(&rocks), Ok(Some(b"value".to_vec())), "{point}={fault}");
            fail::remove(point);
            assert_eq!(act(&rocks, &copy), Ok(()), "{point}={fault}");
            assert_eq!(rocks.has_failed(), None, "{point}={fault}");
            scenario.teardown();
        }
    }
}

#[test]
fn failing_reads_are_errors_and_no_absence() {
    for (fault, kind) in FAULTS {
        let scenario = FailScenario::setup();
        let scratch = tempfile::tempdir().expect("a directory");
        let rocks = open(scratch.path());
        put(&rocks).expect("written");
        fail::cfg("rocks::get", fault).expect("a failpoint");
        fail::cfg("rocks::scan", fault).expect("a failpoint");
        assert_eq!(read(&rocks).expect_err("an error").kind, kind);
        assert_eq!(rocks.slots().expect_err("an error").kind, kind);
        scenario.teardown();
    }
}

#[test]
fn a_database_that_cannot_be_reopened_is_tried_again() {
    let scenario = FailScenario::setup();
    let scratch = tempfile::tempdir().expect("a directory");
    let rocks = open(scratch.path());
    put(&rocks).expect("written");
    // The first look finds the device failing, and so does opening it again; then the device is back.
    fail::cfg("rocks::write", "1*return(IO error: While appending: Input/output error)").expect("a failpoint");
    fail::cfg("rocks::open", "1*return(IO error: While opening: Input/output error)").expect("a failpoint");
    assert_eq!(rocks.try_recover().expect_err("no database").kind, RocksErrorKind::Io);
    assert!(rocks.has_failed().expect("failed").contains("While opening"));
    assert_eq!(read(&rocks), Ok(Some(b"value".to_vec())), "it is open for reading");
    assert_eq!(rocks.try_recover(), Ok(Recovery::Reopened { has_lost_writes: false }));
    assert_eq!(rocks.has_failed(), None);
    scenario.teardown();
}

#[test]
fn a_full_disk_is_waited_for() {
    let scenario = FailScenario::setup();
    let scratch = tempfile::tempdir().expect("a directory");
    let rocks = open(scratch.path());
    fail::cfg("rocks::write", "2*return").expect("a failpoint");
    fail::cfg("rocks::open", "panic").expect("a failpoint");
    assert_eq!(put(&rocks), Err(RocksErrorKind::NoSpace));
    assert_eq!(rocks.try_recover().expect_err("no room").kind, RocksErrorKind::NoSpace);
    assert_eq!(rocks.try_recover(), Ok(Recovery::Working));
    scenario.teardown();
}

#[test]
fn a_directory_that_cannot_be_written_is_no_directory() {
    let scenario = FailScenario::setup();
    let scratch = tempfile::tempdir().expect("a directory");
    for (point, expected) in [("directory::lock", "cannot lock "), ("directory::format", "cannot write ")] {
        fail::cfg(point, "return").expect("a failpoint");
        let error = DataDirectory::open(scratch.path(), SECRET).expect_err("refused").to_string();
        assert!(error.starts_with(expected) && !error.contains('\n'), "{error}");
        fail::remove(point);
    }
    assert!(DataDirectory::open(scratch.path(), SECRET).expect("a new directory").1);
    scenario.teardown();
}

fn table(value: &[u8]) -> Batch {
    let mut batch = Batch::with_table();
    batch.put_record(&key(), value);
    batch
}

/// How many tables RocksDB has not taken over.
fn tables(path: &Path) -> usize {
    let entries = std::fs::read_dir(path.join("rocksdb")).expect("files");
    entries.filter(|entry| entry.as_ref().expect("a file").path().extension() == Some("table".as_ref())).count()
}

fn get(rocks: &Rocks) -> Option<Vec<u8>> {
    read(rocks).expect("read")
}

/// The log had the round when its table could not be taken over: it counts from then on.
#[test]
fn a_round_in_the_log_is_completed_by_the_next_start() {
    for is_reopened in [false, true] {
        let scenario = FailScenario::setup();
        let scratch = tempfile::tempdir().expect("a directory");
        let rocks = open(scratch.path());
        put(&rocks).expect("written");
        fail::cfg("rocks::ingest", "return(IO error: While linking: Input/output error)").expect("a failpoint");
        assert_eq!(rocks.write(&table(b"table")).expect_err("refused").kind, RocksErrorKind::Io);
        // What else is written before the round is tried again has no part in it.
        let mut other = Batch::default();
        other.put_order(&[0; 16]);
        rocks.write(&other).expect("written");
        assert_eq!(get(&rocks).as_deref(), Some(&b"value"[..]));
        let refused = rocks.checkpoint(&scratch.path().join("copy")).expect_err("half a round").to_string();
        assert!(refused.contains("what has changed last could not be written"), "{refused}");
        fail::remove("rocks::ingest");
        let rocks = if is_reopened {
            assert_eq!(rocks.reopen(), Ok(Recovery::Reopened { has_lost_writes: false }));
            rocks
        } else {
            drop(rocks);
            open(scratch.path())
        };
        assert_eq!(get(&rocks).as_deref(), Some(&b"table"[..]));
        rocks.checkpoint(&scratch.path().join("copy")).expect("a checkpoint");
        scenario.teardown();
    }
}

#[test]
fn a_round_that_is_tried_again_counts_once_and_leaves_nothing() {
    for (point, fault) in [
        ("rocks::table", "2*return"),
        ("rocks::write", "2*return"),
        ("rocks::sync", "2*return"),
        ("rocks::ingest", "2*return(IO error: While linking: Input/output error)"),
    ] {
        let scenario = FailScenario::setup();
        let scratch = tempfile::tempdir().expect("a directory");
        let rocks = open(scratch.path());
        put(&rocks).expect("written");
        fail::cfg(point, fault).expect("a failpoint");
        let batch = table(b"table");
        assert!(rocks.write(&batch).is_err() && rocks.write(&batch).is_err(), "{point}");
        assert_eq!(tables(scratch.path()), usize::from(point != "rocks::table"), "{point}: not one for each attempt");
        assert_eq!(rocks.write(&batch), Ok(()), "{point}");
        assert_eq!(get(&rocks).as_deref(), Some(&b"table"[..]), "{point}");
        assert_eq!(rocks.status().tables_made, 1, "{point}");
        assert_eq!(tables(scratch.path()), 0, "{point}");
        rocks.write(&table(b"next")).expect("written");
        drop(rocks);
        assert_eq!(get(&open(scratch.path())).as_deref(), Some(&b"next"[..]), "{point}");
        scenario.teardown();
    }
}

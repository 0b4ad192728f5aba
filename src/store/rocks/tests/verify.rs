//! What the mark tells is missed.

use super::*;
use crate::store::mark;

fn logs(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).expect("files").map(|entry| entry.expect("a file").path());
    let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|name| name == "log")).collect();
    logs.sort();
    logs
}

fn manifest(path: &Path) -> PathBuf {
    path.join(std::fs::read_to_string(path.join("CURRENT")).expect("a name").trim_end())
}

/// Two lives of a database, each ended without a flush, so that there are two logs. The second has a record that was synced
/// and one that was not.
fn two_logs() -> Scratch {
    let scratch = Scratch::new();
    for life in 0..2 {
        let rocks = scratch.open();
        put(&rocks, &[&numbered(life)], &record(None, 1, &[1; 50_000]));
        rocks.flush_wal(true).expect("synced");
        put(&rocks, &[&numbered(life + 10)], &record(None, 1, b"not synced"));
    }
    scratch
}

fn refusal(scratch: &Scratch) -> String {
    let refused = Rocks::open(&scratch.path(), &Scratch::options()).err().expect("it is refused");
    assert_eq!(refused.kind, RocksErrorKind::Corruption, "{refused}");
    assert!(!refused.message.contains('\n'), "{refused}");
    refused.message
}

#[test]
fn a_log_that_lost_what_was_synced_is_refused_until_it_is_repaired() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("it is gone", |log| std::fs::remove_file(log).expect("removed")),
        ("it is whole up to offset 0,", |log| std::fs::write(log, b"").expect("emptied")),
        ("it is whole up to offset 0,", |log| {
            let bytes = std::fs::read(log).expect("read");
            std::fs::write(log, &bytes[..40_000]).expect("cut");
        }),
        ("it is whole up to offset 0,", |log| {
            let mut bytes = std::fs::read(log).expect("read");
            bytes[45_000] ^= 1;
            std::fs::write(log, bytes).expect("changed");
        }),
    ];
    for which in 0..2 {
        for (expected, damage) in damages {
            let scratch = two_logs();
            let path = scratch.path();
            assert_eq!(logs(&path).len(), 2);
            damage(&logs(&path)[which]);
            let before = logs(&path);
            // Whatever the machine has been through: that was synced.
            for _ in 0..2 {
                let refusal = refusal(&scratch);
                assert!(refusal.contains(".log is damaged: ") && refusal.contains(expected), "{refusal}");
                assert_eq!(logs(&path), before, "nothing is changed");
                mark::end_boot(&path);
            }
            let lines = Rocks::repair(&path).expect("a repair");
            assert!(lines.len() == 1 && lines[0].ends_with("are dropped"), "{lines:?}");
            let rocks = scratch.open();
            assert!(which == 0 || get(&rocks, &numbered(0)).is_some(), "what is before the damage is kept");
            assert_eq!(get(&rocks, &numbered(which as u32)), None);
        }
    }
}

#[test]
fn a_log_that_was_left_since_the_last_sync_is_missed_up_to_its_end() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    put(&rocks, &[&numbered(1)], &record(None, 1, b"synced"));
    rocks.flush_wal(true).expect("synced");
    put(&rocks, &[&numbered(2)], &record(None, 1, &[1; 5000]));
    // The log is left, and its records are still needed.
    let flushed = rocks.with(|database| Ok(database.flush_cf(family(database, META)?)?));
    flushed.expect("flushed");
    put(&rocks, &[&numbered(3)], &record(None, 1, b"in the next log"));
    rocks.flush_wal(true).expect("synced");
    drop(rocks);
    let left = logs(&scratch.path());
    assert_eq!(left.len(), 2);
    let bytes = std::fs::read(&left[0]).expect("read");
    std::fs::write(&left[0], &bytes[..bytes.len() - 1]).expect("cut");
    assert!(refusal(&scratch).contains("it is whole up to offset "));
    std::fs::write(&left[0], &bytes).expect("whole");
    assert!((1..4).all(|number| get(&scratch.open(), &numbered(number)).is_some()));
}

#[test]
fn what_was_not_synced_may_be_torn() {
    let scratch = two_logs();
    let log = logs(&scratch.path()).pop().expect("a log");
    let bytes = std::fs::read(&log).expect("read");
    std::fs::write(&log, &bytes[..bytes.len() - 1]).expect("cut");
    mark::end_boot(&scratch.path());
    let rocks = scratch.open();
    let found: Vec<bool> = [0, 10, 1, 11].iter().map(|number| get(&rocks, &numbered(*number)).is_some()).collect();
    assert_eq!(found, [true, true, true, false]);
}

#[test]
fn logs_that_were_flushed_are_not_missed() {
    let scratch = two_logs();
    let rocks = scratch.open();
    rocks.flush().expect("flushed");
    drop(rocks);
    for log in logs(&scratch.path()) {
        std::fs::remove_file(log).expect("removed");
    }
    // The log that was begun last has nothing, and was never synced.
    let rocks = scratch.open();
    assert!([0, 10, 1, 11].iter().all(|number| get(&rocks, &numbered(*number)).is_some()));
}

#[test]
fn a_manifest_that_lost_its_end_is_refused() {
    let scratch = two_logs();
    let rocks = scratch.open();
    rocks.flush().expect("flushed");
    put(&rocks, &[&numbered(20)], &record(None, 1, b"later"));
    rocks.flush_wal(true).expect("synced");
    drop(rocks);
    let path = manifest(&scratch.path());
    let bytes = std::fs::read(&path).expect("read");
    for cut in [bytes.len() - 1, bytes.len() / 2] {
        std::fs::write(&path, &bytes[..cut]).expect("cut");
        let refusal = refusal(&scratch);
        assert!(refusal.contains("is damaged: it has "), "{refusal}");
    }
    std::fs::write(&path, &bytes).expect("whole");
    assert!(get(&scratch.open(), &numbered(20)).is_some());
}

#[test]
fn a_blob_file_that_is_gone_is_missed() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    put(&rocks, &[&numbered(1)], &record(None, 1, &[7; 20_000]));
    rocks.flush().expect("flushed");
    drop(rocks);
    let entries = std::fs::read_dir(scratch.path()).expect("files").map(|entry| entry.expect("a file").path());
    let blobs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|name| name == "blob")).collect();
    assert_eq!(blobs.len(), 1);
    std::fs::remove_file(&blobs[0]).expect("removed");
    for _ in 0..2 {
        assert!(refusal(&scratch).contains("its blob files have 0 bytes of "));
    }
}

#[test]
fn a_table_that_is_gone_before_it_was_taken_over_is_missed() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let mut batch = Batch::with_table();
    batch.put_record(&numbered(1), &record(None, 1, b"table"));
    // As far as a crash leaves it that comes before the table is taken over.
    let ingest_table = batch.table().expect("it has a table");
    let (number, table) = ingest_table.made(&scratch.path(), || 1, &rocks.table, &|| ()).expect("made");
    rocks.write_to_log(&batch, number).expect("written");
    rocks.flush_wal(true).expect("synced");
    drop((rocks, batch));
    let bytes = std::fs::read(&table).expect("a table");
    std::fs::remove_file(&table).expect("removed");
    for _ in 0..2 {
        assert!(refusal(&scratch).contains("is gone, and a round has to be completed by it"));
    }
    std::fs::write(&table, bytes).expect("back");
    assert!(get(&scratch.open(), &numbered(1)).is_some());
    // Now that it was taken over, nothing is missed.
    assert!(get(&scratch.open(), &numbered(1)).is_some());
}

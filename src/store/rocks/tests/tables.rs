//! Rounds whose records become a table.

use std::sync::atomic::Ordering;

use super::*;
use std::collections::BTreeMap;

/// Names of tables that are not RocksDB's yet, or will never be.
fn left(scratch: &Scratch) -> Vec<String> {
    let names = std::fs::read_dir(scratch.path()).expect("files").map(|entry| entry.expect("a file").file_name());
    let mut left: Vec<_> =
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".table")).collect();
    left.sort();
    left
}

/// One that puts `value` under some keys, deletes others, and says so in a slot's meta.
fn table(puts: &[&[u8]], deletes: &[&[u8]], value: &[u8], sequence: u64) -> Batch {
    let mut batch = Batch::with_table();
    puts.iter().for_each(|key| batch.put_record(key, &record(None, 1, value)));
    deletes.iter().for_each(|key| batch.delete_record(key));
    batch.put_slot_meta(0, 1, &SlotMeta { sequence, ..SlotMeta::default() });
    batch
}

fn sequence(rocks: &Rocks) -> u64 {
    rocks.slots().expect("read").first().map_or(0, |(_, _, meta)| meta.sequence)
}

#[test]
fn tables_and_logged_rounds_follow_each_other() {
    let scratch = Scratch::new();
    let mut rocks = scratch.open();
    let keys: Vec<Vec<u8>> = (0..500).map(numbered).collect();
    let mut expected = BTreeMap::new();
    // Each round overwrites and deletes what the ones before it left; some begin anew.
    for round in 0..40_u32 {
        let in_round = |(index, _): &(usize, &Vec<u8>)| (*index as u32).wrapping_mul(round + 7) % 5 < 2;
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate().filter(in_round) {
            if (index as u32 + round).is_multiple_of(4) {
                deletes.push(key.as_slice());
                expected.remove(key);
            } else {
                puts.push(key.as_slice());
                expected.insert(key.clone(), record(None, 1, &round.to_le_bytes()));
            }
        }
        let mut batch = if round % 3 == 0 { Batch::default() } else { Batch::with_table() };
        puts.iter().for_each(|key| batch.put_record(key, &record(None, 1, &round.to_le_bytes())));
        deletes.iter().for_each(|key| batch.delete_record(key));
        rocks.write(&batch).expect("written");
        if round % 7 == 0 {
            rocks.close().expect("closed");
            rocks = scratch.open();
        }
        if round % 11 == 0 {
            rocks.compact().expect("compacted");
        }
        for key in &keys {
            assert_eq!(get(&rocks, key).as_ref(), expected.get(key), "round {round}");
        }
        assert_eq!(left(&scratch), [""; 0]);
    }
    assert_eq!(rocks.status().tables_made, 2, "since it was opened last");
}

#[test]
fn a_flushed_database_stays_empty() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let (first, second) = (numbered(1), numbered(2));
    rocks.write(&table(&[&first], &[], b"old", 1)).expect("written");
    let mut batch = Batch::default();
    batch.delete_database(0);
    rocks.write(&batch).expect("written");
    rocks.write(&table(&[&second], &[], b"new", 2)).expect("written");
    rocks.close().expect("closed");
    let rocks = scratch.open();
    assert_eq!((get(&rocks, &first), get(&rocks, &second)), (None, Some(record(None, 1, b"new"))));
}

#[test]
fn a_table_whose_batch_is_not_the_last_never_counted() {
    let scratch = Scratch::new();
    let (first, second) = (numbered(1), numbered(2));
    let rocks = scratch.open();
    rocks.write(&table(&[&first], &[], b"first", 1)).expect("written");
    rocks.close().expect("closed");
    // As a crash leaves one that was made, and its batch not written.
    let mut never_taken = ingest::IngestTable::default();
    never_taken.put(&second, &record(None, 1, b"second"));
    never_taken.write(&scratch.path(), 2, &options::table_file(), &|| ()).expect("written");
    assert_eq!(left(&scratch), ["round-2.table"]);
    let rocks = scratch.open();
    assert_eq!((get(&rocks, &first).is_some(), get(&rocks, &second)), (true, None));
    assert_eq!(left(&scratch), [""; 0]);
    // Its number is taken again, and nothing is in the way.
    rocks.write(&table(&[&second], &[&first], b"again", 2)).expect("written");
    assert_eq!((get(&rocks, &first), sequence(&rocks)), (None, 2));
}

#[test]
fn a_table_that_was_taken_over_already_changes_nothing() {
    let scratch = Scratch::new();
    let (first, second) = (numbered(1), numbered(2));
    let rocks = scratch.open();
    let mut never_taken = ingest::IngestTable::default();
    never_taken.put(&first, &record(None, 1, b"old"));
    // A link that outlived its removal, since the directory was not synced: of the last batch, and of one before it.
    for (logged, expected) in [(None, b"old"), (Some(b"new"), b"new")] {
        rocks.write(&table(&[&first], &[], b"old", 1)).expect("written");
        let number = rocks.last_number.load(Ordering::Relaxed);
        if let Some(value) = logged {
            put(&rocks, &[&first, &second], &record(None, 1, value));
        }
        never_taken.write(&scratch.path(), number, &options::table_file(), &|| ()).expect("written");
        assert_eq!(left(&scratch), [format!("round-{number}.table")]);
        assert_eq!(rocks.reopen(), Ok(Recovery::Reopened { has_lost_writes: false }));
        assert_eq!(left(&scratch), [""; 0]);
        assert_eq!(get(&rocks, &first), Some(record(None, 1, expected)));
    }
}

#[test]
fn large_values_among_small_ones_get_to_blob_files() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let large: Vec<u8> = (0..BLOB_BYTES as u32 * 2).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    let keys: Vec<Vec<u8>> = (0..20).map(numbered).collect();
    let refs: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    rocks.write(&table(&refs[..10], &[], &large, 1)).expect("written");
    rocks.write(&table(&refs[10..], &[], b"small", 2)).expect("written");
    rocks.compact().expect("compacted");
    let status = rocks.status();
    assert!(status.blob_bytes > 2 * status.sst_bytes, "{status:?}");
    assert_eq!(get(&rocks, refs[3]), Some(record(None, 1, &large)));
    assert_eq!(get(&rocks, refs[13]), Some(record(None, 1, b"small")));
}

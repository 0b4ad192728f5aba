//! Leaves of large collections, the deletion of slots, and databases that were made without either.

use rocksdb::ColumnFamilyDescriptor;

use super::*;
use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};
use crate::base::gather::Gather;
use crate::store::collection::{HEAD, Head, LeafKey};
use crate::store::record::{self, AgeIndex, ValueSummary};
use crate::store::rocks::slot::Piece;

fn leaf_key(database: u8, slot: u16, collection: u64, leaf: &[u8]) -> Vec<u8> {
    LeafKey { database, slot, collection, leaf }.encoded()
}

fn leaf(bytes: &[u8]) -> Gather {
    let mut leaf = Gather::default();
    leaf.put(BytesRef::Slice(bytes));
    leaf
}

/// All leaves of a slot, by their whole keys.
fn leaves(rocks: &Rocks, database: u8, slot: u16) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let visited = rocks.scan_slot_leaves(database, slot, |key, leaf| {
        assert_eq!((key.database, key.slot), (database, slot));
        found.insert(key.encoded(), leaf.to_vec());
        Ok(ControlFlow::Continue(()))
    });
    visited.expect("scanned");
    found
}

#[test]
fn leaves_are_read_by_key_by_place_and_in_order() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let large = {
        let mut large = leaf(b"length");
        large.put(BytesRef::Chunks(&Chunks::from(&vec![b'l'; 3 * LARGE_BYTES][..])));
        large
    };
    let mut batch = Batch::default();
    for (database, slot, collection) in [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 2, u64::MAX)] {
        for place in [0_u32, 10, 20, u32::MAX] {
            let bytes = [&collection.to_be_bytes()[..], &place.to_be_bytes()].concat();
            batch.put_leaf(&leaf_key(database, slot, collection, &place.to_be_bytes()), &leaf(&bytes));
        }
    }
    batch.put_leaf(&leaf_key(1, 2, 5, b""), &large);
    rocks.write(&batch).expect("written");
    for flushed in [false, true] {
        if flushed {
            rocks.flush().expect("flushed");
        }
        let keys = [leaf_key(1, 2, 3, &20_u32.to_be_bytes()), leaf_key(1, 2, 5, b""), leaf_key(1, 2, 9, b"")];
        let read = rocks.look_at_leaves(&keys.each_ref().map(|key| &key[..]), |leaf| Ok(leaf.to_vec()));
        let read: Vec<_> = read.into_iter().map(|leaf| leaf.expect("read")).collect();
        let expected = [3_u64.to_be_bytes().as_slice(), &20_u32.to_be_bytes()].concat();
        assert!(read == [Some(expected), Some(large.to_vec()), None], "flushed: {flushed}");

        // Never one of another collection, slot or database.
        let place_up_to = |database, slot, collection, place: u32| {
            let key = LeafKey { database, slot, collection, leaf: &place.to_be_bytes() };
            let found = rocks.leaf_up_to(&key, |found, bytes| {
                assert_eq!((found.database, found.slot, found.collection), (database, slot, collection));
                assert_eq!(bytes, [&collection.to_be_bytes()[..], found.leaf].concat());
                Ok(u32::from_be_bytes(found.leaf.try_into().expect("four bytes")))
            });
            found.expect("read")
        };
        assert_eq!([0, 9, 10, 19, 25].map(|place| place_up_to(1, 2, 3, place)), [0, 0, 10, 10, 20].map(Some));
        assert_eq!(place_up_to(1, 2, u64::MAX, u32::MAX), Some(u32::MAX));
        assert_eq!((place_up_to(1, 2, 6, 7), place_up_to(0, 0, 0, 0), place_up_to(3, 0, 0, 0)), (None, None, None));

        let scanned = |from: u32, most: usize| {
            let (mut places, from) = (Vec::new(), from.to_be_bytes());
            let from = LeafKey { database: 1, slot: 2, collection: 3, leaf: &from };
            let visited = rocks.scan_leaves(&from, |key, _| {
                assert_eq!(key.collection, 3);
                places.push(u32::from_be_bytes(key.leaf.try_into().expect("four bytes")));
                Ok(if places.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            });
            visited.expect("scanned");
            places
        };
        assert_eq!(
            (scanned(0, 9), scanned(11, 9), scanned(0, 2)),
            (vec![0, 10, 20, u32::MAX], vec![20, u32::MAX], vec![0, 10])
        );
        assert_eq!(leaves(&rocks, 1, 2).len(), 13);
    }
    assert!(rocks.status().blob_bytes > 0, "a large leaf lies in a blob file");

    let mut batch = Batch::default();
    batch.delete_leaf(&leaf_key(1, 2, 3, &10_u32.to_be_bytes()));
    batch.delete_leaves(1, 2, u64::MAX);
    rocks.write(&batch).expect("written");
    let counts = || [(1, 2), (1, 3), (2, 2)].map(|(database, slot)| leaves(&rocks, database, slot).len());
    assert_eq!(counts(), [8, 4, 4], "the last collection's end is that of the slot");
    let mut batch = Batch::default();
    batch.delete_leaves(1, 2, 3);
    batch.put_leaf(&leaf_key(1, 2, 3, b"new"), &leaf(b"of the same id"));
    rocks.write(&batch).expect("written");
    assert_eq!(counts(), [6, 4, 4]);
    rocks.compact().expect("compacted");
    assert_eq!(counts(), [6, 4, 4]);
    let copy = scratch.directory.path().join("copy");
    rocks.checkpoint(&copy).expect("a checkpoint");
    let mut batch = Batch::default();
    batch.delete_database(1);
    rocks.write(&batch).expect("written");
    rocks.drop_database_files(1).expect("dropped");
    assert_eq!(counts(), [0, 0, 4]);
    let copy = Rocks::open(&copy, &RocksOptions::default()).expect("a database");
    assert_eq!(leaves(&copy, 1, 2).len(), 6);
}

/// What a slot has, as its records tell it, held against its counts, the indexes and the leaves. Returns how many records.
fn check_slot(rocks: &Rocks, database: u8, slot: u16) -> u64 {
    let mut counted = SlotMeta { sequence: 7, ..SlotMeta::default() };
    let (mut expiries, mut ages, mut collections) = (Vec::new(), Vec::new(), Vec::new());
    let visited = rocks.scan_slot(database, slot, 0, |key, bytes| {
        let record = Record::decode(bytes).expect("a record");
        let head = Head::of(&record).expect("a record");
        let record_key = RecordKey::encoded(LongKeys::Digest, database, slot, u64::from(key.hash) << 32, key.key);
        counted.keys += 1;
        counted.key_bytes += key.key.len() as u64;
        counted.value_bytes += record.payload.len() as u64 + head.map_or(0, |head| head.leaf_bytes);
        expiries.extend(record.expiry_ms.map(|expiry_ms| record::index_key(expiry_ms, &record_key)));
        counted.expiring += u64::from(record.expiry_ms.is_some());
        ages.push(record::index_key(record.written_ms, &record_key));
        collections.extend(head.map(|head| head.collection));
        Ok(ControlFlow::Continue(()))
    });
    visited.expect("scanned");
    let of_slot = |entries: Vec<IndexEntry>| {
        let of_slot = |entry: &&IndexEntry| RecordKey::decode(&entry.record_key).expect("a key").slot == slot;
        entries.iter().filter(of_slot).map(IndexEntry::index_key).collect::<Vec<_>>()
    };
    expiries.sort();
    ages.sort();
    assert!(of_slot(rocks.due_expiries(database, &[], u64::MAX, usize::MAX).expect("read")) == expiries);
    let has_ages = rocks.age_index().expect("read").is_some();
    let found_ages = of_slot(rocks.oldest(database, &[], u64::MAX, usize::MAX).expect("read"));
    assert!(found_ages == if has_ages { ages } else { Vec::new() });
    collections.sort_unstable();
    let leaves = leaves(rocks, database, slot);
    let of_leaves: Vec<u64> = leaves.keys().map(|key| LeafKey::decode(key).expect("a key").collection).collect();
    assert_eq!(of_leaves, collections);
    let meta = rocks.slot_meta(database, slot).expect("read");
    assert_eq!(meta, (counted.keys > 0 || meta.is_some()).then_some(counted), "slot {slot} of database {database}");
    counted.keys
}

const SLOT_KEYS: u64 = 300;

/// Three slots of two databases, with records of all kinds. Without `indexed`, nothing has an expiry, and there is no index of ages.
fn fill_slots(rocks: &Rocks, indexed: bool) {
    let mut batch = Batch::default();
    if indexed {
        batch.put_age_index(Some(AgeIndex { is_complete: true, disk_bytes_a_byte: 0.0 }));
    }
    for (database, slot) in [(0, 4), (0, 5), (0, 6), (1, 5)] {
        let mut meta = SlotMeta { sequence: 7, ..SlotMeta::default() };
        for number in 0..SLOT_KEYS {
            let name = match number % 50 {
                0 => format!("key:{number}").repeat(1000),
                _ => format!("key:{number}"),
            };
            let long_key = LongKeys::Digest.is_long(name.as_bytes()).then_some(name.as_bytes());
            let key = RecordKey::encoded(LongKeys::Digest, database, slot, number << 55, name.as_bytes());
            let expiry_ms = (indexed && number.is_multiple_of(3)).then_some(1_000 + number / 10);
            let written_ms = 500 + number % 20;
            let (kind, payload, leaf_bytes) = match number % 7 {
                0 => {
                    let mut head = Vec::new();
                    Head { collection: number, elements: 1, leaf_bytes: 40, metadata: b"more" }.encode(&mut head);
                    batch.put_leaf(&leaf_key(database, slot, number, b"only"), &leaf(&[7; 40]));
                    (HEAD | 1, head, 40)
                }
                1 => (0, vec![b'b'; BLOB_BYTES * 2], 0),
                _ => (0, b"value".to_vec(), 0),
            };
            let mut bytes = Vec::new();
            Record { kind, expiry_ms, written_ms, long_key, payload: &payload }.encode(&mut bytes);
            batch.put_record(&key, &bytes);
            let value_bytes = payload.len() as u64 + leaf_bytes;
            let value = ValueSummary { bytes: value_bytes, collection: (leaf_bytes > 0).then_some(number) };
            if let Some(expiry_ms) = expiry_ms {
                batch.put_expiry(expiry_ms, &key, value, written_ms);
                meta.expiring += 1;
            }
            if indexed {
                batch.put_age(written_ms, &key, value, expiry_ms);
            }
            meta.keys += 1;
            meta.key_bytes += name.len() as u64;
            meta.value_bytes += value_bytes;
        }
        batch.put_slot_meta(database, slot, &meta);
    }
    rocks.write(&batch).expect("written");
}

/// The indexes tell of a collection what is to be deleted with it.
#[test]
fn an_index_tells_the_leaves_of_what_it_tells_of() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    fill_slots(&rocks, true);
    let due = rocks.due_expiries(1, &[], u64::MAX, usize::MAX).expect("read");
    let heads: Vec<_> = due.iter().filter_map(|due| Some((due.collection?, due.value_bytes, due.other_ms))).collect();
    let expected: Vec<_> =
        (0..SLOT_KEYS).step_by(21).map(|number| (number, 24 + 4 + 40, Some(500 + number % 20))).collect();
    assert_eq!(heads, expected);
    let mut aged = rocks.oldest(1, &[], u64::MAX, usize::MAX).expect("read");
    aged.retain(|aged| aged.collection.is_some());
    aged.sort_by_key(|aged| aged.collection);
    let expected = (0..SLOT_KEYS).step_by(7).map(|number| number.is_multiple_of(3).then_some(1_000 + number / 10));
    assert!(aged.iter().map(|aged| aged.other_ms).eq(expected));
}

#[test]
fn a_slot_is_deleted_and_no_other_whole_after_each_piece() {
    for (indexed, flushed, sequence) in [(true, false, 7), (true, true, 0), (false, true, 7)] {
        let scratch = Scratch::new();
        let mut rocks = scratch.open();
        fill_slots(&rocks, indexed);
        if flushed {
            rocks.flush().expect("flushed");
        }
        let check =
            |rocks: &Rocks| [(0, 4), (0, 6), (1, 5), (0, 5)].map(|(database, slot)| check_slot(rocks, database, slot));
        assert_eq!(check(&rocks), [SLOT_KEYS; 4]);
        let mut left = vec![SLOT_KEYS];
        let piece = Piece { records: 70, bytes: usize::MAX };
        let deleted = rocks.delete_slot_by(piece, 0, 5, sequence, &mut || {
            let counts = check(&rocks);
            assert_eq!(counts[..3], [SLOT_KEYS; 3]);
            left.push(counts[3]);
        });
        deleted.expect("deleted");
        assert_eq!(
            left,
            if indexed { vec![300, 230, 160, 90, 20] } else { vec![300] },
            "where no index has it, at once"
        );
        for _ in 0..2 {
            let meta = rocks.slot_meta(0, 5).expect("read");
            assert_eq!(meta, (sequence > 0).then(|| SlotMeta { sequence, ..SlotMeta::default() }));
            assert_eq!(check(&rocks), [SLOT_KEYS, SLOT_KEYS, SLOT_KEYS, 0]);
            drop(rocks);
            rocks = scratch.open();
        }
        // What comes afterwards is not deleted with it, and a slot without anything can be deleted.
        put(&rocks, &[&key(0, 5, 1, b"new")], &record(None, 9, b"new"));
        rocks.compact().expect("compacted");
        assert!(get(&rocks, &key(0, 5, 1, b"new")).is_some());
        rocks.delete_slot(0, 5, sequence).expect("deleted");
        rocks.delete_slot(0, 16_383, 0).expect("nothing to delete");
        assert_eq!(check(&rocks), [SLOT_KEYS, SLOT_KEYS, SLOT_KEYS, 0]);
    }
}

/// A piece ends where its keys are long, too.
#[test]
fn a_piece_is_bounded_by_the_bytes_of_its_keys() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    fill_slots(&rocks, true);
    let mut pieces = 0;
    let piece = Piece { records: usize::MAX, bytes: 1000 };
    rocks.delete_slot_by(piece, 0, 5, 0, &mut || pieces += 1).expect("deleted");
    assert!((5..20).contains(&pieces), "{pieces}");
    assert_eq!(check_slot(&rocks, 0, 5), 0);
}

/// A database as a program made it that did not know the family of elements.
fn older(path: &Path) {
    let options = Scratch::options();
    let resources = Resources::new(options.memory_bytes);
    let families = options::families(&options, &resources).expect("options");
    let older = families.into_iter().filter(|(name, _)| *name != ELEMENTS);
    let older = older.map(|(name, family)| ColumnFamilyDescriptor::new(name, family));
    let database = options::database(&options, &resources).expect("options");
    let database = DB::open_cf_descriptors(&database, path, older).expect("a database");
    let mut batch = Batch::default();
    for number in 0..100 {
        batch.put_record(&numbered(number), &record(None, 1, b"value"));
    }
    database.write(batch.write_batch()).expect("written");
}

#[test]
fn an_older_database_gets_what_it_lacks_when_that_is_meant() {
    let scratch = Scratch::new();
    older(&scratch.path());
    let plain = RocksOptions::default();
    for _ in 0..2 {
        let error = Rocks::open(&scratch.path(), &plain).err().expect("no family of elements");
        assert_eq!(error.kind, RocksErrorKind::Missing, "{error}");
        assert!(error.message.contains(ELEMENTS), "{error}");
    }
    let adding = RocksOptions { adds_families: true, ..RocksOptions::default() };
    let missing = Scratch::new();
    let error = Rocks::open(&missing.path(), &adding).err().expect("no database");
    assert_eq!(error.kind, RocksErrorKind::Missing, "{error}");
    // As often as it takes: an end before the directory says so leaves it to the next start.
    for round in 0..3_u64 {
        let rocks = Rocks::open(&scratch.path(), &adding).expect("a database");
        assert_eq!(counts(&rocks), [100, 0, 0]);
        assert_eq!(leaves(&rocks, 0, 0).len() as u64, round);
        let mut batch = Batch::default();
        batch.put_leaf(&leaf_key(0, 0, round, b""), &leaf(b"leaf"));
        rocks.write(&batch).expect("written");
        rocks.reopen().expect("reopened");
    }
    let rocks = Rocks::open(&scratch.path(), &plain).expect("a database");
    assert_eq!((counts(&rocks), leaves(&rocks, 0, 0).len()), ([100, 0, 0], 3));
    drop(rocks);
    let options = Scratch::options();
    let names = DB::list_cf(&options::database(&options, &Resources::new(0)).expect("options"), scratch.path());
    assert_eq!(names.expect("families"), FAMILIES);
}

/// A log goes once all that is in it is in tables, whatever families have nothing there.
#[test]
fn a_family_without_anything_keeps_no_log() {
    let scratch = Scratch::new();
    let rocks = scratch.open();
    let value = vec![7; 1000];
    for round in 0..3 {
        let keys: Vec<Vec<u8>> = (0..1000).map(numbered).collect();
        put(&rocks, &keys.iter().map(Vec::as_slice).collect::<Vec<_>>(), &record(None, round, &value));
        assert!(rocks.status().log_bytes > 1_000_000, "{:?}", rocks.status());
        rocks.flush().expect("flushed");
        assert!(rocks.status().log_bytes < 100_000, "{:?}", rocks.status());
    }
}

//! The keyspace as a whole over a disk.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::residency_tests::open;
use super::tier::Tier;
use super::watch::effect::{ChangeId, Effect};
use super::*;
use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;
use crate::base::key_hash::HashSecret;
use crate::base::progress::Progress;
use crate::config::Settings;
use crate::stats::Stats;
use crate::store::collection::{HEAD, Head, LeafKey};
use crate::store::journal::{self, Journal, Replay};
use crate::store::record::{LongKeys, Record, RecordKey, SlotMeta, ValueSummary};
use crate::store::rocks::{Batch, Rocks, RocksOptions};
use crate::types::string::StringValue;
use crate::types::{Change, DataType, Encoded};

#[test]
fn what_is_journaled_and_not_merged_is_replayed_exactly_once() {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..50).map(|number| format!("{{{}}}k{number}", number % 7)).collect();
    let write = |keyspace: &Keyspace, from: usize, to: usize| {
        for name in &names[from..to] {
            let key = keyspace.key(name.as_bytes());
            let mut guard = keyspace.lock(Caller { now_ms: 1, touches: true }, 0, &key);
            guard.set_string(&key, b"a", NewExpiry::Clear);
            drop(guard);
            assert!(keyspace.lock(Caller { now_ms: 1, touches: true }, 0, &key).modify(
                &key,
                Change::append(BytesRef::Slice(b"b")),
                Event::Append
            ));
        }
    };
    {
        let keyspace = open(directory.path());
        write(&keyspace, 0, 30);
        keyspace.merge(1, || true).unwrap();
        write(&keyspace, 20, 50);
        let key = keyspace.key(names[3].as_bytes());
        // Of a key that is cold after the restart.
        assert!(keyspace.lock(Caller { now_ms: 1, touches: true }, 0, &key).modify(
            &key,
            Change::append(BytesRef::Slice(b"c")),
            Event::Append
        ));
        keyspace.tier().unwrap().opened_journal().unwrap().write_all().unwrap();
    }
    let store = Rocks::open(&directory.path().join("rocksdb"), &RocksOptions::default()).unwrap();
    let keyspace = Keyspace::new(
        HashSecret::AesCmac([7; 16]),
        Some(Tier::new(store)),
        Arc::new(Settings::default()),
        Arc::new(Stats::new(0)),
    );
    recovery::adopt(&keyspace, &keyspace.tier().unwrap().store).unwrap();
    let (journal, recovery) = recovery::replaying(&keyspace, 3, &Progress::default(), |replayer| {
        let options = journal::Options::default();
        (Journal::open(&directory.path().join("journal"), options, replayer).unwrap(), replayer.done())
    });
    keyspace.tier().unwrap().begin_journal(journal, true);
    assert_eq!(recovery.applied, 61);
    keyspace.merge(1, || true).unwrap();
    assert_eq!(keyspace.len(0), 50, "a blind overwrite of a cold key is counted once");
    let mut walk = keyspace.scan(Caller { now_ms: 1, touches: false }, 0, Cursor::START, usize::MAX, Seen::default());
    let halted = loop {
        match walk.step(&keyspace, false) {
            Ok(Step::More) => {}
            halted => break halted,
        }
    };
    assert_eq!(halted, Ok(Step::Cold), "a worker does not read");
    while walk.step(&keyspace, true).unwrap() != Step::Done {}
    let seen = walk.visitor.0;
    for (number, name) in names.iter().enumerate() {
        let expected: &[u8] = if number == 3 { b"abc" } else { b"ab" };
        assert_eq!(seen.get(name.as_bytes()).map(Vec::as_slice), Some(expected), "{name}");
    }
}

#[test]
fn what_cannot_be_replayed_is_told_once_all_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let keyspace = open(directory.path());
    let token = |name: &[u8]| ChangeId { database: 0, slot: crate::base::slot::slot(name), sequence: 1 };
    let put = |name: &[u8], kind: u8, into: &mut Gather| {
        Effect::Put { value: Encoded::read(kind, BytesRef::Slice(b"v")), expiry_ms: None }.encode(
            token(name),
            name,
            into,
        );
    };
    let mut block = Gather::default();
    (0..100).for_each(|number| put(format!("k{number}").as_bytes(), u8::from(number == 50) * 99, &mut block));
    let block = block.to_vec();
    let (refused, at_end) =
        recovery::replaying(&keyspace, 2, &Progress::default(), |replayer| (replayer.block(&block), replayer.end()));
    assert_eq!(refused, Ok(()), "the block makes sense");
    assert_eq!(at_end, Err("unknown type 99".to_owned()));
    // What makes no sense is refused with its block.
    let refused =
        recovery::replaying(&keyspace, 2, &Progress::default(), |replayer| replayer.block(&block[..block.len() - 1]));
    assert_eq!(refused, Err("a change in it cannot be read".to_owned()));
    let mut elsewhere = Gather::default();
    Effect::Delete.encode(ChangeId { database: 16, ..token(b"k") }, b"k", &mut elsewhere);
    let elsewhere = elsewhere.to_vec();
    let refused = recovery::replaying(&keyspace, 2, &Progress::default(), |replayer| replayer.block(&elsewhere));
    assert_eq!(refused, Err("it was used with more than 16 databases: start with `databases 17` or more".to_owned()));
}

#[test]
fn whole_databases_do_not_wait_for_a_round_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let keyspace = open(directory.path());
    let tier = keyspace.tier().unwrap();
    let key = keyspace.key(b"k");
    keyspace.lock(Caller { now_ms: 1, touches: true }, 0, &key).set_string(&key, b"v", NewExpiry::Clear);
    let round = keyspace.merger.state();
    tier.failed("no space", false);
    let failure = Some("no space".to_owned());
    assert_eq!(keyspace.swap(0, 1).err().map(|error| error.message), failure);
    assert_eq!(keyspace.flush(0..1).err().map(|error| error.message), failure);
    assert_eq!(keyspace.merge(1, || true).err().map(|error| error.message), failure);
    drop(round);
    tier.recovered();
    keyspace.swap(0, 1).unwrap();
    assert_eq!((keyspace.len(0), keyspace.len(1)), (0, 1));
}

#[test]
fn a_round_that_begins_while_a_command_holds_several_slots_has_all_its_changes_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let keyspace = open(directory.path());
    let tier = keyspace.tier().unwrap();
    let names: Vec<String> = (0..300).map(|number| format!("k{number}")).collect();
    let mut keys: Vec<Key> = names.iter().map(|name| keyspace.key(name.as_bytes())).collect();
    keys.sort_by_key(|key| key.slot);
    let (first, middle, last) = (keys[0], keys[150], keys[299]);
    let caller = Caller { now_ms: 1, touches: true };
    for key in [&middle, &last] {
        keyspace.lock(caller, 0, key).set_string(key, b"old", NewExpiry::Clear);
    }
    let mut guards = keyspace.lock_all(caller, [(0, first), (0, last)].into_iter());
    std::thread::scope(|scope| {
        let merger = scope.spawn(|| keyspace.merge(1, || true));
        // A round that does not wait for the command passes the first slot, where nothing differs yet, and goes on to the last.
        let deadline = Instant::now() + Duration::from_millis(100);
        while keyspace.dirty().0 == 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        for key in [&first, &last] {
            guards.of(0, key).set_string(key, b"new", NewExpiry::Clear);
        }
        drop(guards);
        merger.join().unwrap().unwrap();
    });
    let on_disk = |key: &Key| {
        let record_key = RecordKey::encoded(LongKeys::Digest, 0, key.slot, key.hash, key.bytes);
        let value = |record: &[u8]| Ok(Record::decode(record).unwrap().payload.to_vec());
        tier.store.look_at_many(&[&record_key[..]], value).swap_remove(0).unwrap()
    };
    let new = Some(b"new".to_vec());
    assert_eq!((on_disk(&first), on_disk(&last)), (new.clone(), new));
    assert_eq!(on_disk(&middle), Some(b"old".to_vec()));
}

/// What deletes a key that is on disk alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deletion {
    Expiry,
    Eviction,
    BlindSet,
}

const COLLECTION: u64 = 7;
const LEAF_BYTES: u64 = 30;

/// Puts a large collection on disk, as a type will write one, with its leaves, and a leaf of another collection of the slot.
/// Returns the name of its key.
fn put_collection(keyspace: &Keyspace, kind: u8, expiry_ms: Option<u64>) -> &'static [u8] {
    let name = b"collection";
    let key = keyspace.key(name);
    let store = &keyspace.tier().unwrap().store;
    let record_key = RecordKey::encoded(LongKeys::Digest, 0, key.slot, key.hash, key.bytes);
    let (mut payload, mut record) = (Vec::new(), Vec::new());
    let elements = 3;
    Head { collection: COLLECTION, elements, leaf_bytes: elements * LEAF_BYTES, metadata: b"more" }
        .encode(&mut payload);
    Record { kind: kind | HEAD, expiry_ms, written_ms: 1, long_key: None, payload: &payload }.encode(&mut record);
    let value_bytes = payload.len() as u64 + elements * LEAF_BYTES;
    let mut batch = Batch::default();
    batch.put_record(&record_key, &record);
    let mut leaf = Gather::default();
    leaf.put(BytesRef::Slice(&[9; LEAF_BYTES as usize]));
    for (collection, place) in [(COLLECTION, b"a"), (COLLECTION, b"b"), (COLLECTION, b"c"), (COLLECTION + 1, b"a")] {
        batch.put_leaf(&LeafKey { database: 0, slot: key.slot, collection, leaf: place }.encoded(), &leaf);
    }
    if let Some(expiry_ms) = expiry_ms {
        let value = ValueSummary { bytes: value_bytes, collection: Some(COLLECTION) };
        batch.put_expiry(expiry_ms, &record_key, value, 1);
    }
    let (expiring, key_bytes) = (u64::from(expiry_ms.is_some()), name.len() as u64);
    batch.put_slot_meta(0, key.slot, &SlotMeta { sequence: COLLECTION, keys: 1, expiring, key_bytes, value_bytes });
    store.write(&batch).unwrap();
    recovery::adopt(keyspace, store).unwrap();
    name
}

#[test]
fn leaves_go_with_their_collection_whatever_deletes_it() {
    for deletion in [Deletion::Expiry, Deletion::Eviction, Deletion::BlindSet] {
        let directory = tempfile::tempdir().unwrap();
        let keyspace = open(directory.path());
        let expiry_ms = (deletion == Deletion::Expiry).then_some(500);
        let name = put_collection(&keyspace, StringValue::RECORD_KIND, expiry_ms);
        let (key, store) = (keyspace.key(name), &keyspace.tier().unwrap().store);
        let collections = || {
            let mut found = Vec::new();
            let visited = store.scan_slot_leaves(0, key.slot(), |leaf, _| {
                found.push(leaf.collection);
                Ok(ControlFlow::Continue(()))
            });
            visited.unwrap();
            found
        };
        assert_eq!(collections(), [COLLECTION, COLLECTION, COLLECTION, COLLECTION + 1]);
        match deletion {
            Deletion::Expiry => {
                keyspace.merge(499, || true).unwrap();
                assert_eq!(collections().len(), 4, "it has not expired");
            }
            Deletion::Eviction => {
                keyspace.settings.set(&[(b"maxdisk", b"64mb")]).unwrap();
                // The index of ages is made from the records.
                while keyspace.merge(2, || true).unwrap().has_more {}
                assert_eq!(collections().len(), 4, "there is room");
                keyspace.merger.space.set_ratio(1e12);
            }
            Deletion::BlindSet => {
                keyspace.lock(Caller { now_ms: 2, touches: true }, 0, &key).set_string(&key, b"v", NewExpiry::Clear);
            }
        }
        while keyspace.merge(1000, || true).unwrap().has_more {}
        for compacted in [false, true] {
            assert_eq!(collections(), [COLLECTION + 1], "{deletion:?}, compacted: {compacted}");
            store.compact().unwrap();
        }
        let keys = u64::from(deletion == Deletion::BlindSet);
        let counted = store.slot_meta(0, key.slot()).unwrap().unwrap();
        assert_eq!((counted.keys, counted.expiring, counted.value_bytes), (keys, 0, keys), "{deletion:?}");
        assert_eq!(keyspace.len(0), keys);
    }
}

#[test]
fn a_walk_over_keys_tells_the_type_of_a_collection_and_reads_no_leaf() {
    for (kind, expected) in [(StringValue::RECORD_KIND, Some("string")), (0x7f, None)] {
        let directory = tempfile::tempdir().unwrap();
        let keyspace = open(directory.path());
        let name = put_collection(&keyspace, kind, None);
        let caller = Caller { now_ms: 1, touches: false };
        let mut walk = keyspace.scan(caller, 0, Cursor::START, usize::MAX, Types::default());
        let walked = loop {
            match walk.step(&keyspace, true) {
                Ok(Step::Done) => break Ok(walk.visitor.0),
                Ok(_) => {}
                Err(error) => break Err(error.message),
            }
        };
        match expected {
            Some(type_name) => assert_eq!(walked, Ok(vec![(name.to_vec(), type_name, 0)])),
            None => assert_eq!(walked, Err("unknown type 127".to_owned())),
        }
    }
}

/// Keys that a walk has come by, the names of their types, and how much data it was shown.
#[derive(Default)]
struct Types(Vec<(Vec<u8>, &'static str, usize)>);

impl Visitor for Types {
    fn visit(&mut self, entry: &Entry) {
        self.0.push((entry.key().to_vec(), entry.type_name(), entry.data_bytes()));
    }
}

/// Keys that a walk has come by, and their values.
#[derive(Default)]
struct Seen(BTreeMap<Vec<u8>, Vec<u8>>);

impl Visitor for Seen {
    const READS_VALUES: bool = true;

    fn visit(&mut self, entry: &Entry) {
        let before = self.0.insert(entry.key().to_vec(), entry.string().unwrap().to_vec());
        assert_eq!(before, None, "a key came twice");
    }
}

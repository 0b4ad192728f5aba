//! The keyspace as a whole over a disk.

use std::collections::BTreeMap;
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
use crate::store::journal::{self, Journal, Replay};
use crate::store::record::{LongKeys, Record, RecordKey};
use crate::store::rocks::{Rocks, RocksOptions};
use crate::types::{Change, Encoded};

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

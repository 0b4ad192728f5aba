use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::base::chunks::BytesRef;
use crate::base::key_hash::HashSecret;
use crate::config::Settings;
use crate::stats::Stats;
use crate::types::{Change, Value};

fn keyspace() -> Keyspace {
    Keyspace::new(HashSecret::AesCmac([1; 16]), None, Arc::new(Settings::default()), Arc::new(Stats::new(0)))
}

fn at(now_ms: u64) -> Caller {
    Caller { now_ms, touches: true }
}

fn set(keyspace: &Keyspace, now_ms: u64, key: &str, expiry: NewExpiry) {
    let key = keyspace.key(key.as_bytes());
    keyspace.lock(at(now_ms), 0, &key).set_string(&key, b"v", expiry);
}

fn exists(keyspace: &Keyspace, now_ms: u64, key: &str) -> bool {
    let key = keyspace.key(key.as_bytes());
    keyspace.lock(at(now_ms), 0, &key).peek(&key).is_some()
}

#[test]
fn a_key_ends_at_its_expiry_whoever_notices() {
    let keyspace = keyspace();
    for number in 0..1000 {
        set(&keyspace, 0, &format!("{{one-slot}}{number}"), NewExpiry::At(100 + number));
        set(&keyspace, 0, &format!("spread{number}"), NewExpiry::At(100 + number));
    }
    assert_eq!((keyspace.len(0), keyspace.expiring(0)), (2000, 2000));
    assert!(exists(&keyspace, 99, "spread0") && !exists(&keyspace, 100, "spread0"));
    let far = Instant::now() + Duration::from_secs(60);
    assert!(keyspace.expire_due(599, &mut ExpiryCursor::default(), far));
    assert_eq!((keyspace.len(0), keyspace.expiring(0)), (1000, 1000));
    assert!(exists(&keyspace, 599, "spread500") && exists(&keyspace, 599, "{one-slot}999"));
    assert!(keyspace.expire_due(2000, &mut ExpiryCursor::default(), far));
    assert_eq!((keyspace.len(0), keyspace.expiring(0)), (0, 0));
    assert_eq!(keyspace.stats.sum(|shard| &shard.expired_keys), 2000);
}

#[test]
fn a_changed_expiry_is_the_one_that_counts() {
    let keyspace = keyspace();
    let far = Instant::now() + Duration::from_secs(60);
    set(&keyspace, 0, "later", NewExpiry::At(100));
    set(&keyspace, 0, "later", NewExpiry::At(300));
    set(&keyspace, 0, "never", NewExpiry::At(100));
    set(&keyspace, 0, "never", NewExpiry::Clear);
    set(&keyspace, 0, "sooner", NewExpiry::At(300));
    set(&keyspace, 0, "sooner", NewExpiry::At(100));
    set(&keyspace, 0, "kept", NewExpiry::At(100));
    set(&keyspace, 0, "kept", NewExpiry::Keep);
    assert!(keyspace.expire_due(200, &mut ExpiryCursor::default(), far));
    let left: Vec<&str> =
        ["later", "never", "sooner", "kept"].into_iter().filter(|key| exists(&keyspace, 0, key)).collect();
    assert_eq!(left, ["later", "never"]);
    assert_eq!(keyspace.expiring(0), 1);
}

#[derive(Default)]
struct Names(Vec<String>);

impl Visitor for Names {
    fn visit(&mut self, entry: &entry::Entry) {
        self.0.push(String::from_utf8(entry.key().to_vec()).unwrap());
    }
}

#[test]
fn scan_visits_every_key_once_and_ends() {
    let keyspace = keyspace();
    let names: BTreeSet<String> =
        (0..5000).map(|number| if number % 2 == 0 { format!("{{tag}}{number}") } else { number.to_string() }).collect();
    for name in &names {
        set(&keyspace, 0, name, NewExpiry::Clear);
    }
    for count in [1, 10, 100_000] {
        let (mut seen, mut cursor) = (Vec::new(), Cursor::START);
        loop {
            let mut walk = keyspace.scan(at(0), 0, cursor, count, Names::default());
            while walk.step(&keyspace, false).unwrap() != super::Step::Done {}
            cursor = walk.cursor();
            seen.append(&mut walk.visitor.0);
            if cursor == Cursor::START {
                break;
            }
        }
        assert_eq!(seen.len(), names.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
    }
    let mut walk = keyspace.scan(at(0), 0, Cursor(u64::MAX), 10, Names::default());
    assert_eq!((walk.step(&keyspace, false), walk.cursor()), (Ok(super::Step::Done), Cursor::START));
}

#[test]
fn swap_and_flush_act_on_whole_databases() {
    let keyspace = keyspace();
    set(&keyspace, 0, "a", NewExpiry::At(50));
    keyspace.swap(0, 3).unwrap();
    assert_eq!((keyspace.len(0), keyspace.len(3)), (0, 1));
    drop(keyspace.flush(3..4).unwrap());
    assert_eq!((keyspace.len(3), keyspace.expiring(3)), (0, 0));
}

#[test]
fn an_expiry_cycle_without_time_goes_on_where_it_stopped() {
    let keyspace = keyspace();
    for number in 0..5000 {
        set(&keyspace, 0, &number.to_string(), NewExpiry::At(100));
    }
    keyspace.swap(0, 15).unwrap();
    set(&keyspace, 0, "in another database", NewExpiry::At(100));
    let (mut cursor, mut rounds, past) = (ExpiryCursor::default(), 0, Instant::now());
    while !keyspace.expire_due(100, &mut cursor, past) {
        rounds += 1;
        assert!(rounds <= 5001, "a round makes progress");
    }
    assert_eq!((keyspace.len(0), keyspace.len(15)), (0, 0));
    assert!(rounds > 1000, "each visit of a slot ends the round: {rounds}");
}

#[derive(Clone, Debug)]
enum Step {
    Set { key: u8, value: Vec<u8>, expiry: NewExpiry },
    Put { key: u8, value: Vec<u8> },
    Append { key: u8, value: Vec<u8> },
    Expiry { key: u8, expiry_ms: Option<u64> },
    Remove { key: u8 },
    Cycle,
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let key = 0..12u8;
    let value = || prop::collection::vec(any::<u8>(), 0..50);
    let expiry = prop_oneof![
        Just(NewExpiry::Clear),
        Just(NewExpiry::Never),
        Just(NewExpiry::Keep),
        (0..400u64).prop_map(NewExpiry::At)
    ];
    let step = prop_oneof![
        8 => (key.clone(), value(), expiry).prop_map(|(key, value, expiry)| Step::Set { key, value, expiry }),
        4 => (key.clone(), value()).prop_map(|(key, value)| Step::Put { key, value }),
        4 => (key.clone(), value()).prop_map(|(key, value)| Step::Append { key, value }),
        3 => (key.clone(), prop::option::of(0..400u64)).prop_map(|(key, expiry_ms)| Step::Expiry { key, expiry_ms }),
        3 => key.prop_map(|key| Step::Remove { key }),
        2 => Just(Step::Cycle),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec((0..20u64, step), 0..80)
}

proptest! {
    /// The counts against a plain map.
    #[test]
    fn the_size_is_that_of_what_is_there(steps in steps()) {
        let keyspace = keyspace();
        let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)> = BTreeMap::new();
        let mut now_ms = 0;
        for (pause_ms, step) in steps {
            now_ms += pause_ms;
            let name = |key: u8| vec![key; usize::from(key)];
            let alive = |entry: &(Vec<u8>, Option<u64>)| entry.1.is_none_or(|expiry_ms| expiry_ms > now_ms);
            if let Step::Set { key, .. } | Step::Put { key, .. } | Step::Append { key, .. }
                | Step::Expiry { key, .. } | Step::Remove { key } = &step
                && model.get(&name(*key)).is_some_and(|entry| !alive(entry))
            {
                model.remove(&name(*key));
            }
            match step {
                Step::Set { key, value, expiry } => {
                    let name = name(key);
                    let key = keyspace.key(&name);
                    keyspace.lock(at(now_ms), 0, &key).set_string(&key, &value, expiry);
                    let old_ms = model.get(&name).and_then(|entry| entry.1);
                    let new_ms = match expiry {
                        NewExpiry::Clear | NewExpiry::Never => None,
                        NewExpiry::Keep => old_ms,
                        NewExpiry::At(expiry_ms) => Some(expiry_ms),
                    };
                    model.insert(name, (value, new_ms));
                }
                Step::Put { key, value } => {
                    let name = name(key);
                    let key = keyspace.key(&name);
                    let boxed = Owned::Boxed(Box::new(Value::String(value.clone().into())));
                    keyspace.lock(at(now_ms), 0, &key).put(&key, boxed, NewExpiry::Clear, Event::Set);
                    model.insert(name, (value, None));
                }
                Step::Append { key, value } => {
                    let name = name(key);
                    let key = keyspace.key(&name);
                    keyspace.lock(at(now_ms), 0, &key).modify(&key, Change::append(BytesRef::Slice(&value)), Event::Append);
                    model.entry(name).and_modify(|entry| entry.0.extend(value));
                }
                Step::Expiry { key, expiry_ms } => {
                    let name = name(key);
                    let key = keyspace.key(&name);
                    keyspace.lock(at(now_ms), 0, &key).set_expiry(&key, expiry_ms);
                    model.entry(name).and_modify(|entry| entry.1 = expiry_ms);
                }
                Step::Remove { key } => {
                    let name = name(key);
                    let key = keyspace.key(&name);
                    keyspace.lock(at(now_ms), 0, &key).remove(&key);
                    model.remove(&name);
                }
                Step::Cycle => {
                    let far = Instant::now() + Duration::from_secs(60);
                    prop_assert!(keyspace.expire_due(now_ms, &mut ExpiryCursor::default(), far));
                    model.retain(|_, entry| alive(entry));
                }
                Step::Flush => {
                    drop(keyspace.flush(0..1).unwrap());
                    model.clear();
                }
            }
            let expected = Size {
                keys: model.len() as u64,
                expiring: model.values().filter(|entry| entry.1.is_some()).count() as u64,
                key_bytes: model.keys().map(|key| key.len() as u64).sum(),
                value_bytes: model.values().map(|entry| entry.0.len() as u64).sum(),
            };
            prop_assert_eq!(keyspace.size(0), expected);
        }
    }
}

#[test]
fn locks_of_several_keys_exclude_deadlock_and_count_shared_slots_once() {
    let keyspace = keyspace();
    let names: Vec<String> = (0..20).map(|number| format!("{{{}}}k{number}", number % 5)).collect();
    std::thread::scope(|scope| {
        for backwards in [false, true] {
            let (keyspace, names) = (&keyspace, &names);
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut keys: Vec<Key> = names.iter().map(|name| keyspace.key(name.as_bytes())).collect();
                    if backwards {
                        keys.reverse();
                    }
                    let mut guards = keyspace.lock_all(at(0), keys.iter().map(|key| (0, *key)));
                    for key in &keys {
                        guards.of(0, key).set_string(key, b"v", NewExpiry::Clear);
                    }
                }
            });
        }
    });
    assert_eq!(keyspace.len(0), 20);
}

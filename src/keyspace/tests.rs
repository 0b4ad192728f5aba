use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

fn keyspace() -> Keyspace {
    Keyspace::new(1, Arc::new(Settings::default()), Arc::new(Stats::new(0)))
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
    assert!(keyspace.expire_due(599, far));
    assert_eq!((keyspace.len(0), keyspace.expiring(0)), (1000, 1000));
    assert!(exists(&keyspace, 599, "spread500") && exists(&keyspace, 599, "{one-slot}999"));
    assert!(keyspace.expire_due(2000, far));
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
    assert!(keyspace.expire_due(200, far));
    let left: Vec<&str> =
        ["later", "never", "sooner", "kept"].into_iter().filter(|key| exists(&keyspace, 0, key)).collect();
    assert_eq!(left, ["later", "never"]);
    assert_eq!(keyspace.expiring(0), 1);
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
            let visit = |entry: &entry::Entry| seen.push(String::from_utf8(entry.key().to_vec()).unwrap());
            cursor = keyspace.scan(at(0), 0, cursor, count, |_| true, visit);
            if cursor == Cursor::START {
                break;
            }
        }
        assert_eq!(seen.len(), names.len());
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), names);
    }
    assert_eq!(keyspace.scan(at(0), 0, Cursor(u64::MAX), 10, |_| true, |_| {}), Cursor::START);
}

#[test]
fn swap_and_flush_act_on_whole_databases() {
    let keyspace = keyspace();
    set(&keyspace, 0, "a", NewExpiry::At(50));
    keyspace.swap(0, 3);
    assert_eq!((keyspace.len(0), keyspace.len(3)), (0, 1));
    drop(keyspace.flush(3));
    assert_eq!((keyspace.len(3), keyspace.expiring(3)), (0, 0));
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

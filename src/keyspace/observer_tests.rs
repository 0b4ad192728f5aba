//! An observer is told exactly the changes that a model makes, whoever makes them: commands, expiry, eviction, whole databases;
//! and from the effects that it is told of it can make a copy of the databases.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::effect::Effect;
use super::loader::Cold;
use super::memory::entry::Entry;
use super::memory::table::token;
use super::observer::{DatabaseChange, KeyChange, Observer};
use super::residency::resident::Residence;
use super::residency_tests::open;
use super::tier::Tier;
use super::*;
use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;
use crate::base::key_hash::HashSecret;
use crate::base::progress::Progress;
use crate::base::slot::SLOTS;
use crate::config::Settings;
use crate::stats::Stats;
use crate::store::journal::{self, Journal};
use crate::store::rocks::{Rocks, RocksOptions};
use crate::types::{Change, Value};

const SECRET: HashSecret = HashSecret::AesCmac([7; 16]);
/// Of these, half share one slot.
const KEYS: u64 = 24;
const STEPS: usize = 4_000;

type Held = (Vec<u8>, Option<u64>);

/// What was told, and what follows from it.
#[derive(Default)]
struct Told {
    /// Not looked at yet: databases as they lie on disk.
    events: VecDeque<(u8, Vec<u8>, Event)>,
    databases: VecDeque<DatabaseChange>,
    copy: BTreeMap<(u8, Vec<u8>), Held>,
    /// The last number of each slot.
    sequences: BTreeMap<(u8, u16), u64>,
    /// What the numbers of a slot that never had one begin with.
    floor: u64,
}

#[derive(Default)]
struct Recorder(Mutex<Told>);

impl Recorder {
    /// Follows databases that have begun a boot, after the end of those before.
    fn follow(self: &Arc<Recorder>, keyspace: &Keyspace, boot: u64) {
        let mut told = self.0.lock();
        told.floor = boot << 32;
        let floor = told.floor;
        for last in told.sequences.values_mut() {
            assert!(*last < floor, "no number comes again");
            *last = floor;
        }
        keyspace.watch(0..SLOTS, self.clone());
    }
}

impl Observer for Recorder {
    fn key_changed(&self, change: &KeyChange<'_>) {
        let mut told = self.0.lock();
        let floor = told.floor;
        let last = told.sequences.entry((change.id.database, change.id.slot)).or_insert(floor);
        assert_eq!(change.id.sequence, *last + 1, "{change:?}");
        *last += 1;
        assert_eq!(change.id.slot, crate::base::slot::slot(change.key));
        let name = (change.id.database, change.key.to_vec());
        match change.effect {
            Effect::Put { value, expiry_ms } => {
                let mut bytes = Gather::default();
                value.write(&mut bytes);
                told.copy.insert(name, (bytes.to_vec(), expiry_ms));
            }
            Effect::Delete | Effect::Expired | Effect::Evicted => {
                assert!(told.copy.remove(&name).is_some(), "{change:?}");
            }
            Effect::Expire(expiry_ms) => told.copy.get_mut(&name).expect("a key").1 = expiry_ms,
            Effect::Modify(modification) => {
                let (bytes, _) = told.copy.get_mut(&name).expect("a key");
                let mut value = Value::String(bytes.clone().into());
                modification.apply(&mut value);
                *bytes = value.string().expect("a string").to_vec();
            }
        }
        told.events.push_back((change.id.database, change.key.to_vec(), change.event));
    }

    fn databases_changed(&self, change: DatabaseChange) {
        let mut told = self.0.lock();
        if let DatabaseChange::Flushed(physical) = change {
            told.copy.retain(|(database, _), _| *database != physical);
        }
        told.databases.push_back(change);
    }
}

/// All keys of a database and what they hold.
#[derive(Default)]
struct Contents(BTreeMap<Vec<u8>, Held>);

impl Visitor for Contents {
    const READS_VALUES: bool = true;

    fn visit(&mut self, entry: &Entry) {
        self.0.insert(entry.key().to_vec(), (entry.string().unwrap().to_vec(), entry.expiry_ms()));
    }
}

struct World {
    keyspace: Keyspace,
    recorder: Arc<Recorder>,
    now_ms: u64,
    /// By the number of the database. Keys whose expiry has passed stay until somebody notices.
    model: BTreeMap<(usize, Vec<u8>), Held>,
    /// Which database, as it lies on disk, a number means.
    order: [u8; 2],
    random: u64,
    seen: BTreeMap<Event, usize>,
}

impl World {
    fn new(keyspace: Keyspace, recorder: Arc<Recorder>) -> World {
        keyspace.watch(0..SLOTS, recorder.clone());
        let (model, seen) = Default::default();
        World { keyspace, recorder, now_ms: 1_000, model, order: [0, 1], random: 1, seen }
    }

    fn draw(&mut self, below: u64) -> u64 {
        // Xorshift: the same each time.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.draw(KEYS);
        if number.is_multiple_of(2) { format!("{{one}}{number}") } else { number.to_string() }.into_bytes()
    }

    fn caller(&self) -> Caller {
        Caller { now_ms: self.now_ms, touches: true }
    }

    fn live(&self, database: usize, name: &[u8]) -> Option<Held> {
        let held = self.model.get(&(database, name.to_vec()));
        held.filter(|(_, expiry_ms)| expiry_ms.is_none_or(|expiry_ms| expiry_ms > self.now_ms)).cloned()
    }

    /// Has `act` change keys, all there is of them being in memory.
    fn with<R>(&self, keys: &[(usize, &[u8])], act: impl FnOnce(&mut SlotGuards<'_>, &[(usize, Key<'_>)]) -> R) -> R {
        let keys: Vec<(usize, Key<'_>)> =
            keys.iter().map(|(database, name)| (*database, self.keyspace.key(name))).collect();
        let mut cold = Cold::default();
        loop {
            let mut guards = self.keyspace.lock_all(self.caller(), keys.iter().copied());
            let residence =
                |(database, key): &(usize, Key<'_>)| guards.of(*database, key).make_resident(key, &mut cold);
            if keys.iter().map(residence).filter(|residence| *residence == Residence::Cold).count() == 0 {
                return act(&mut guards, &keys);
            }
            drop(guards);
            Loader::load_here(&self.keyspace.tier().unwrap().store, &mut cold);
        }
    }

    /// Takes what was told since: keys whose expiry has passed may have gone, evicted ones if `evicts`; all else is `expected`.
    fn expect(&mut self, evicts: bool, expected: &[(usize, &[u8], Event)]) {
        let recorder = self.recorder.clone();
        let mut told = recorder.0.lock();
        let mut others = Vec::new();
        for (physical, name, event) in std::mem::take(&mut told.events) {
            *self.seen.entry(event).or_default() += 1;
            let database = self.order.iter().position(|other| *other == physical).unwrap();
            match event {
                Event::Expired => {
                    let (_, expiry_ms) = self.model.remove(&(database, name)).expect("a key");
                    assert!(expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.now_ms));
                }
                Event::Evicted if evicts => assert!(self.model.remove(&(database, name)).is_some()),
                _ => others.push((database, name, event)),
            }
        }
        let expected: Vec<_> =
            expected.iter().map(|(database, name, event)| (*database, name.to_vec(), *event)).collect();
        assert_eq!(others, expected);
    }

    fn step(&mut self) {
        let (database, name) = (self.draw(2) as usize, self.name());
        let (at, now_ms) = ((database, name.clone()), self.now_ms);
        let one: &[(usize, &[u8])] = &[(database, &name)];
        let live = self.live(database, &name);
        match self.draw(40) {
            0..8 => {
                let expiry_ms = (self.draw(2) == 0).then(|| now_ms + 1 + self.draw(500));
                let expiry = expiry_ms.map_or(NewExpiry::Clear, NewExpiry::At);
                let key = self.keyspace.key(&name);
                // Without a look at what was there.
                self.keyspace.lock(self.caller(), database, &key).set(&key, BytesRef::Slice(b"value"), expiry);
                self.expect(false, &[(database, &name, Event::Set)]);
                self.model.insert(at, (b"value".to_vec(), expiry_ms));
            }
            8..14 => {
                let (change, event) = if self.draw(2) == 0 {
                    (Change::append(BytesRef::Slice(b"+")), Event::Append)
                } else {
                    (Change::set_range(2, BytesRef::Slice(b"--")), Event::SetRange)
                };
                let modify = |guards: &mut SlotGuards<'_>, keys: &[(usize, Key<'_>)]| {
                    guards.of(database, &keys[0].1).modify(&keys[0].1, change, event)
                };
                let exists = self.with(one, modify);
                assert_eq!(exists, live.is_some());
                let Some((bytes, expiry_ms)) = live else { return self.expect(false, &[]) };
                let mut value = Value::String(bytes.into());
                change.apply(&mut value);
                self.expect(false, &[(database, &name, event)]);
                self.model.insert(at, (value.string().expect("a string").to_vec(), expiry_ms));
            }
            14..17 => {
                let exists = self.with(one, |guards, keys| guards.of(database, &keys[0].1).remove(&keys[0].1));
                assert_eq!(exists, live.is_some());
                let expected = [(database, &name[..], Event::Del)];
                self.expect(false, &expected[..usize::from(exists)]);
                if exists {
                    self.model.remove(&at);
                }
            }
            17..21 => {
                let expiry_ms = (self.draw(2) == 0).then(|| now_ms + 1 + self.draw(500));
                let event = if expiry_ms.is_some() { Event::Expire } else { Event::Persist };
                let set = |guards: &mut SlotGuards<'_>, keys: &[(usize, Key<'_>)]| {
                    guards.of(database, &keys[0].1).set_expiry(&keys[0].1, expiry_ms)
                };
                let exists = self.with(one, set);
                assert_eq!(exists, live.is_some());
                let expected = [(database, &name[..], event)];
                self.expect(false, &expected[..usize::from(exists)]);
                if let Some((bytes, _)) = live {
                    self.model.insert(at, (bytes, expiry_ms));
                }
            }
            21..25 => self.rename(database, &name),
            25..28 => {
                // Incremented: what it is called is not to be seen from the effect.
                self.with(one, |guards, keys| {
                    let key = &keys[0].1;
                    guards.of(database, key).set_string_as(key, b"7", NewExpiry::Keep, Event::IncrBy);
                });
                self.expect(false, &[(database, &name, Event::IncrBy)]);
                self.model.insert(at, (b"7".to_vec(), live.and_then(|(_, expiry_ms)| expiry_ms)));
            }
            28..32 => {
                self.now_ms += self.draw(200);
                if self.draw(2) == 0 {
                    self.expire_all();
                } else {
                    let found =
                        self.with(one, |guards, keys| guards.of(database, &keys[0].1).read(&keys[0].1).is_some());
                    assert_eq!(found, self.live(database, &name).is_some());
                    self.expect(false, &[]);
                }
            }
            32..35 => self.evict(database, &name),
            35..38 => {
                let is_full = self.draw(4) == 0;
                self.merge(is_full);
            }
            _ => match self.draw(8) {
                0 => self.flush(database),
                1 => self.swap(),
                _ => {}
            },
        }
    }

    fn rename(&mut self, database: usize, name: &[u8]) {
        let (to, target) = (self.draw(2) as usize, self.name());
        if (database, name) == (to, &target) {
            return;
        }
        let live = self.live(database, name);
        let renamed = self.with(&[(database, name), (to, &target)], |guards, keys| {
            let Some((value, expiry_ms)) = guards.of(database, &keys[0].1).take(&keys[0].1, Event::RenameFrom) else {
                return false;
            };
            let expiry = expiry_ms.map_or(NewExpiry::Never, NewExpiry::At);
            guards.of(to, &keys[1].1).put(&keys[1].1, value, expiry, Event::RenameTo);
            true
        });
        assert_eq!(renamed, live.is_some());
        let expected = [(database, name, Event::RenameFrom), (to, &target[..], Event::RenameTo)];
        self.expect(false, if renamed { &expected } else { &[] });
        if let Some(held) = live {
            self.model.remove(&(database, name.to_vec()));
            self.model.insert((to, target), held);
        }
    }

    fn expire_all(&mut self) {
        let far = Instant::now() + Duration::from_secs(60);
        self.keyspace.expire_due(self.now_ms, &mut ExpiryCursor::default(), far);
        self.expect(false, &[]);
    }

    /// Takes a key out of memory, which is a change only where there is nothing below.
    fn evict(&mut self, database: usize, name: &[u8]) {
        let key = self.keyspace.key(name);
        let mut guard = self.keyspace.lock(self.caller(), database, &key);
        let Some(index) = guard.entry(&key) else { return };
        let (recency, expiry_ms) = {
            let entry = guard.table().get(index);
            (entry.recency(), entry.expiry_ms())
        };
        let evicted = guard.evict(token(key.hash), recency, expiry_ms);
        drop(guard);
        let was = self.model.len();
        self.expect(self.keyspace.tier().is_none(), &[]);
        if self.keyspace.tier().is_none() {
            assert_eq!(self.model.len(), was - usize::from(evicted.is_some()));
        }
    }

    /// Runs a round; where the disk `is_full`, all that is not newer in memory has to make room.
    fn merge(&mut self, is_full: bool) {
        let Some(_) = self.keyspace.tier() else { return };
        self.keyspace.merger.space.set_ratio(if is_full { 1e12 } else { 0.0 });
        self.keyspace.merge(self.now_ms, || true).unwrap();
        self.keyspace.merger.space.set_ratio(0.0);
        self.expect(is_full, &[]);
    }

    fn flush(&mut self, database: usize) {
        drop(self.keyspace.flush(database..database + 1).unwrap());
        // What came before it may be told before it.
        self.expect(false, &[]);
        self.model.retain(|(other, _), _| *other != database);
        let told = self.recorder.0.lock().databases.pop_front();
        let expected = DatabaseChange::Flushed(self.order[database]);
        // A database that never had a key has nothing to lose.
        assert!(told == Some(expected) || told.is_none() && self.keyspace.is_empty(database), "{told:?}");
    }

    fn swap(&mut self) {
        self.keyspace.swap(0, 1).unwrap();
        self.expect(false, &[]);
        assert_eq!(self.recorder.0.lock().databases.pop_front(), Some(DatabaseChange::Swapped(0, 1)));
        self.order.swap(0, 1);
        self.model = std::mem::take(&mut self.model)
            .into_iter()
            .map(|((database, name), held)| ((1 - database, name), held))
            .collect();
    }

    /// All that has expired is noticed: the model, the observer's copy and the databases are the same.
    fn check(&mut self) {
        self.expire_all();
        self.merge(false);
        self.merge(false);
        assert_eq!(self.recorder.0.lock().databases, [], "all was looked at");
        for database in 0..2 {
            let of_model: BTreeMap<Vec<u8>, Held> = self
                .model
                .iter()
                .filter(|((other, _), _)| *other == database)
                .map(|((_, name), held)| (name.clone(), held.clone()))
                .collect();
            let copy = self.recorder.0.lock().copy.clone();
            let of_copy: BTreeMap<Vec<u8>, Held> = copy
                .into_iter()
                .filter(|((physical, _), _)| *physical == self.order[database])
                .map(|((_, name), held)| (name, held))
                .collect();
            assert_eq!(of_copy, of_model, "the observer's copy");
            let caller = Caller { now_ms: self.now_ms, touches: false };
            let mut walk = self.keyspace.scan(caller, database, Cursor::START, usize::MAX, Contents::default());
            while walk.step(&self.keyspace, true).unwrap() != Step::Done {}
            assert_eq!(walk.visitor.0, of_model, "what is there");
        }
    }
}

#[test]
fn an_observer_is_told_exactly_the_changes_of_a_model_in_memory() {
    let settings = Arc::new(Settings::default());
    let keyspace = Keyspace::new(SECRET, None, settings, Arc::new(Stats::new(0)));
    let mut world = World::new(keyspace, Arc::default());
    for number in 0..STEPS {
        world.step();
        if number % 500 == 0 {
            world.check();
        }
    }
    world.check();
    for event in [Event::Set, Event::Expired, Event::Evicted, Event::RenameTo, Event::IncrBy, Event::Persist] {
        assert!(world.seen.get(&event).is_some_and(|times| *times > 10), "{event:?}: {:?}", world.seen);
    }
}

#[test]
fn an_observer_is_told_exactly_the_changes_of_a_model_over_a_disk_and_restarts() {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let full_disk = |keyspace: &Keyspace, now_ms: u64| {
        keyspace.settings.set(&[(b"maxdisk", b"64mb")]).unwrap();
        while keyspace.merge(now_ms, || true).unwrap().has_more {}
    };
    let keyspace = open(directory.path());
    full_disk(&keyspace, 1);
    let mut world = World::new(keyspace, Arc::default());
    for number in 1..=STEPS / 4 {
        world.step();
        if number % 250 > 0 {
            continue;
        }
        world.check();
        // What is in the journal alone is replayed, and has its numbers.
        let key = world.keyspace.key(b"journaled");
        world.keyspace.lock(world.caller(), 0, &key).set_string(&key, b"last", NewExpiry::Clear);
        world.expect(false, &[(0, b"journaled", Event::Set)]);
        world.model.insert((0, b"journaled".to_vec()), (b"last".to_vec(), None));
        world.keyspace.tier().unwrap().opened_journal().unwrap().write_all().unwrap();
        let World { keyspace, recorder, now_ms, model, order, random, seen } = world;
        drop(keyspace);
        let (keyspace, boot) = reopen(directory.path());
        full_disk(&keyspace, now_ms);
        recorder.follow(&keyspace, boot);
        world = World { keyspace, recorder, now_ms, model, order, random, seen };
        world.check();
    }
    for event in [Event::Set, Event::Expired, Event::Evicted, Event::RenameTo, Event::IncrBy, Event::Persist] {
        assert!(world.seen.get(&event).is_some_and(|times| *times > 3), "{event:?}: {:?}", world.seen);
    }
}

/// Opens what was left, by the journal, and begins a boot.
fn reopen(directory: &Path) -> (Keyspace, u64) {
    let store = Rocks::open(&directory.join("rocksdb"), &RocksOptions::default()).unwrap();
    let (settings, stats) = (Arc::new(Settings::default()), Arc::new(Stats::new(0)));
    let keyspace = Keyspace::new(SECRET, Some(Tier::new(store)), settings, stats);
    recovery::adopt(&keyspace, &keyspace.tier().unwrap().store).unwrap();
    let (journal, _) = recovery::replaying(&keyspace, 2, &Progress::default(), |replayer| {
        let options = journal::Options::default();
        (Journal::open(&directory.join("journal"), options, replayer).unwrap(), replayer.done())
    });
    let boot = recovery::begin_boot(&keyspace, &keyspace.tier().unwrap().store).unwrap();
    keyspace.tier().unwrap().begin_journal(journal, true);
    (keyspace, boot)
}

/// The databases are dropped as a killed process leaves them, with changes in each that were told and are in no file: in a
/// journal that has written nothing, as an expiry, in a database that has nothing on disk, and with nothing of the boot.
#[test]
fn no_two_changes_that_were_told_have_the_same_number_across_kills() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let recorder = Arc::<Recorder>::default();
    let (mut keyspace, mut last_boot) = (None, 0);
    for round in 0..6 {
        drop(keyspace.take());
        let (opened, boot) = reopen(directory.path());
        assert!(boot > last_boot);
        last_boot = boot;
        recorder.follow(&opened, boot);
        let merged_ms = 10 * round;
        let caller = |now_ms: u64| Caller { now_ms, touches: true };
        let (expiring, other) = (opened.key(b"{k}expiring"), opened.key(b"{k}other"));
        if round < 4 {
            opened.lock(caller(merged_ms), 0, &expiring).set_string(&expiring, b"v", NewExpiry::At(merged_ms + 5));
            // With it and without is what the disk has of the slot.
            if round % 2 == 0 {
                opened.merge(merged_ms, || true).unwrap();
            }
            let gone = opened.lock(caller(merged_ms + 5), 0, &expiring).read(&expiring).is_none();
            assert!(gone, "it has expired, and no journal says so");
            for database in [0, 3] {
                opened.lock(caller(merged_ms + 5), database, &other).set_string(&other, b"v", NewExpiry::Clear);
            }
        }
        let told = recorder.0.lock();
        let numbers: Vec<u64> = told.sequences.values().copied().collect();
        assert_eq!(numbers.len(), 2, "of one slot in two databases");
        assert_eq!(numbers, if round < 4 { [(boot << 32) + 3, (boot << 32) + 1] } else { [boot << 32; 2] });
        drop(told);
        keyspace = Some(opened);
    }
    // Numbers that are beyond their boot's are no others' either.
    drop(keyspace);
    let (opened, _) = reopen(directory.path());
    let key = opened.key(b"k");
    let last = (last_boot + 9) << 32 | 7;
    {
        let mut guard = opened.lock(Caller { now_ms: 1, touches: true }, 0, &key);
        guard.slot.sequence = last - 1;
        guard.set_string(&key, b"v", NewExpiry::Clear);
    }
    opened.merge(100, || true).unwrap();
    drop(opened);
    let (opened, boot) = reopen(directory.path());
    assert_eq!(boot, last_boot + 10);
    let key = opened.key(b"unlike");
    assert_eq!(opened.lock(Caller { now_ms: 1, touches: true }, 7, &key).slot.sequence, boot << 32);
}

#[test]
fn who_has_ceased_to_watch_or_watches_other_slots_is_told_nothing() {
    let keyspace = Keyspace::new(SECRET, None, Arc::new(Settings::default()), Arc::new(Stats::new(0)));
    let caller = Caller { now_ms: 1, touches: true };
    let key = keyspace.key(b"k");
    let set = |database: usize| keyspace.lock(caller, database, &key).set_string(&key, b"v", NewExpiry::Clear);
    let told = |recorder: &Recorder| recorder.0.lock().events.len();
    let [here, elsewhere] = [Arc::<Recorder>::default(), Arc::<Recorder>::default()];
    // Before there is any slot, and where there are some.
    let watch = keyspace.watch(key.slot()..key.slot() + 1, here.clone());
    keyspace.watch(0..key.slot(), elsewhere.clone());
    set(0);
    set(1);
    set(1);
    assert_eq!((told(&here), told(&elsewhere)), (3, 0));
    keyspace.unwatch(watch);
    set(0);
    set(2);
    assert_eq!((told(&here), told(&elsewhere)), (3, 0));
    let late = Arc::<Recorder>::default();
    late.0.lock().sequences.extend([((0, key.slot()), 2), ((2, key.slot()), 1)]);
    keyspace.watch(0..SLOTS, late.clone());
    set(0);
    set(2);
    assert_eq!(told(&late), 2, "numbers count whether anybody watches or not");
}

//! Walks through interleavings of what may happen to one key: commands, loads, rounds of the merger, demotion, expiry.
//! Each actor is a list of steps that are atomic in the real program too (they hold the slot's lock, or are done by the
//! only thread that does them); every schedule of the steps is run against a plain model, on a real RocksDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::loader::Cold;
use super::memory::entry::Marks;
use super::merge::merger::{MergerState, Merging};
use super::merge::round::Round;
use super::residency::resident::Residence;
use super::tier::Tier;
use super::*;
use crate::base::chunks::BytesRef;
use crate::base::key_hash::HashSecret;
use crate::config::Settings;
use crate::stats::Stats;
use crate::store::journal::{self, Journal};
use crate::store::record::Record;
use crate::store::rocks::{Rocks, RocksOptions};
use crate::types::Change;

const EARLY: u64 = 1_000;
const EXPIRY: u64 = 5_000;
const LATE: u64 = 9_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Command {
    /// Without a look at the old value.
    Set(&'static str),
    SetExpiring(&'static str),
    Append(&'static str),
    Get,
    Delete,
    Persist,
}

/// One actor's program.
#[derive(Clone, Copy, Debug)]
enum Actor {
    Client(&'static [Command]),
    /// So many rounds, of four steps each.
    Merger(usize),
    /// The same, and the disk is so full that all may go.
    FullMerger(usize),
    /// Tries so many times to take the key out of memory.
    Evictor(usize),
    /// Writes what the neighbour has so many times.
    Neighbour(usize),
    /// Lets time pass [`EXPIRY`], then has the expiry cycle look.
    Clock,
}

impl Actor {
    fn is_done(self, progress: &Progress) -> bool {
        let steps = match self {
            Actor::Client(commands) => commands.len(),
            Actor::Merger(rounds) | Actor::FullMerger(rounds) => rounds,
            Actor::Evictor(attempts) => attempts,
            Actor::Neighbour(writes) => writes,
            Actor::Clock => 2,
        };
        progress.done == steps
    }
}

/// Where an actor is.
#[derive(Default)]
struct Progress {
    done: usize,
    cold: Cold,
    is_loading: bool,
    round: Option<(Round, Stage)>,
}

/// What has happened to a round.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Begun,
    Collected,
    Written,
}

struct World<'w> {
    keyspace: &'w Keyspace,
    merger: MergerState,
    name: Vec<u8>,
    now_ms: u64,
    model: Option<(Vec<u8>, Option<u64>)>,
    /// There is another key in the slot, on disk alone.
    has_neighbour: bool,
}

const NEIGHBOUR: &[u8] = b"neighbour";

pub(super) fn open(directory: &std::path::Path) -> Keyspace {
    let store =
        Rocks::open(&directory.join("rocksdb"), &RocksOptions { create: true, ..RocksOptions::default() }).unwrap();
    let keyspace = Keyspace::new(
        HashSecret::AesCmac([7; 16]),
        Some(Tier::new(store)),
        Arc::new(Settings::default()),
        Arc::new(Stats::new(0)),
    );
    let options = journal::Options { create: true, ..journal::Options::default() };
    let journal = Journal::open(&directory.join("journal"), options, &mut |_: &[u8]| Ok(())).unwrap();
    keyspace.tier().unwrap().begin_journal(journal, true);
    keyspace
}

impl World<'_> {
    fn key(&self) -> Key<'_> {
        self.keyspace.key(&self.name)
    }

    fn merging(&self) -> Merging<'_> {
        self.keyspace.merging().unwrap()
    }

    fn caller(&self) -> Caller {
        Caller { now_ms: self.now_ms, touches: true }
    }

    fn live(&mut self) -> Option<(Vec<u8>, Option<u64>)> {
        let now_ms = self.now_ms;
        self.model = self.model.take().filter(|(_, expiry_ms)| expiry_ms.is_none_or(|expiry_ms| expiry_ms > now_ms));
        self.model.clone()
    }

    /// Tries a command. False: its key has to be loaded first.
    fn command(&mut self, command: Command, cold: &mut Cold) -> bool {
        let key = self.keyspace.key(&self.name);
        let mut guard = self.keyspace.lock(self.caller(), 0, &key);
        let is_blind = matches!(command, Command::Set(_) | Command::SetExpiring(_));
        if !is_blind {
            match guard.make_resident(&key, cold) {
                Residence::Here => {}
                Residence::Cold => return false,
                Residence::Failed(error) => panic!("{error}"),
            }
        }
        let now_ms = self.now_ms;
        let was = self.model.take().filter(|(_, expiry_ms)| expiry_ms.is_none_or(|expiry_ms| expiry_ms > now_ms));
        match command {
            Command::Set(value) => {
                guard.set_string(&key, value.as_bytes(), NewExpiry::Clear);
                self.model = Some((value.as_bytes().to_vec(), None));
            }
            Command::SetExpiring(value) => {
                guard.set_string(&key, value.as_bytes(), NewExpiry::At(EXPIRY));
                let model = Some((value.as_bytes().to_vec(), Some(EXPIRY)));
                self.model = model.filter(|_| now_ms < EXPIRY);
            }
            Command::Append(value) => {
                assert_eq!(
                    guard.modify(&key, Change::append(BytesRef::Slice(value.as_bytes())), Event::Append),
                    was.is_some()
                );
                self.model = was.map(|(bytes, expiry_ms)| ([&bytes[..], value.as_bytes()].concat(), expiry_ms));
            }
            Command::Get => {
                let found = guard.read(&key).map(|entry| entry.string().unwrap().to_vec());
                assert_eq!(found, was.as_ref().map(|(bytes, _)| bytes.clone()), "GET at {now_ms}");
                self.model = was;
            }
            Command::Delete => {
                assert_eq!(guard.remove(&key), was.is_some(), "DEL at {now_ms}");
                self.model = None;
            }
            Command::Persist => {
                assert_eq!(guard.set_expiry(&key, None), was.is_some());
                self.model = was.map(|(bytes, _)| (bytes, None));
            }
        }
        true
    }

    /// Takes an actor's next step. False: it has none.
    fn step(&mut self, actor: Actor, progress: &mut Progress) -> bool {
        let tier = self.keyspace.tier().unwrap();
        match actor {
            Actor::Client(commands) => {
                let Some(command) = commands.get(progress.done) else { return false };
                if progress.is_loading {
                    progress.is_loading = false;
                    Loader::load_here(&tier.store, &mut progress.cold);
                } else if self.command(*command, &mut progress.cold) {
                    progress.done += 1;
                    progress.cold.clear();
                } else {
                    progress.is_loading = true;
                }
            }
            Actor::Merger(rounds) | Actor::FullMerger(rounds) => match progress.round.take() {
                None if progress.done == rounds => return false,
                None => {
                    let evicts = matches!(actor, Actor::FullMerger(_));
                    progress.round = Some((self.begin_round(evicts), Stage::Begun));
                }
                Some((round, Stage::Begun)) => {
                    progress.round = Some((self.merging().collect_all(round), Stage::Collected));
                }
                Some((mut round, Stage::Collected)) => {
                    self.merging().write_round(&mut round, &|| true).unwrap();
                    progress.round = Some((round, Stage::Written));
                }
                Some((round, Stage::Written)) => {
                    self.merging().end_round(round);
                    progress.done += 1;
                }
            },
            Actor::Evictor(attempts) => {
                if progress.done == attempts {
                    return false;
                }
                progress.done += 1;
                let key = self.key();
                let mut guard = self.keyspace.lock(self.caller(), 0, &key);
                if let Some(index) = guard.entry(&key) {
                    drop(guard.demote(index));
                }
            }
            Actor::Neighbour(writes) => {
                if progress.done == writes {
                    return false;
                }
                progress.done += 1;
                let neighbour = self.neighbour();
                let key = self.keyspace.key(&neighbour);
                self.keyspace.lock(self.caller(), 0, &key).set_string(&key, b"old", NewExpiry::Clear);
            }
            Actor::Clock => match progress.done {
                0 => {
                    self.now_ms = LATE;
                    progress.done = 1;
                }
                1 => {
                    let far = std::time::Instant::now() + std::time::Duration::from_secs(60);
                    self.keyspace.expire_due(self.now_ms, &mut ExpiryCursor::default(), far);
                    progress.done = 2;
                }
                _ => return false,
            },
        }
        true
    }

    fn begin_round(&mut self, evicts: bool) -> Round {
        let evicted = || self.keyspace.stats.sum(|shard| &shard.evicted_keys);
        let (key, before) = (self.key(), evicted());
        // What is not in memory, or is there as it is on disk, may go; what is newer in memory may not.
        let entry_marks = {
            let guard = self.keyspace.lock(self.caller(), 0, &key);
            guard.entry(&key).map(|index| guard.table().get(index).marks())
        };
        let is_newer = entry_marks.is_some_and(|marks| marks.has(Marks::DIRTY) || marks.has(Marks::DELETED));
        self.keyspace.merger.space.set_ratio(if evicts { 1e12 } else { 0.0 });
        let round = self.keyspace.merging().unwrap().begin_round(&mut self.merger, self.now_ms, &|| true).unwrap();
        let is_evicted = evicted() > before;
        if is_evicted {
            self.model = None;
        }
        assert!(!is_evicted || evicts && !is_newer, "evicted: {entry_marks:?}");
        assert!(!evicts || is_newer || self.live().is_none(), "not evicted: {entry_marks:?}");
        round
    }

    fn merge(&mut self) {
        let mut progress = Progress::default();
        while !Actor::Merger(1).is_done(&progress) {
            assert!(self.step(Actor::Merger(1), &mut progress));
        }
    }

    /// Everything is merged: counts, records and indexes must be those of the model, in memory, cold, and on disk.
    fn check(&mut self) {
        self.merge();
        self.merge();
        self.live();
        self.demote_neighbour();
        let name = self.name.clone();
        let key = self.keyspace.key(&name);
        let position = (self.keyspace.physical(0), key.slot());
        {
            let mut guard = self.keyspace.lock(self.caller(), 0, &key);
            if let Some(index) = guard.entry(&key) {
                // It expired unnoticed: nobody has counted it off yet.
                if guard.peek(&key).is_some() {
                    assert!(guard.demote(index).is_some(), "what is merged may leave memory");
                }
            }
        }
        self.merge();
        let tier = self.keyspace.tier().unwrap();
        let guard = self.keyspace.lock(self.caller(), 0, &key);
        assert_eq!(guard.entry(&key), None, "nothing stands for the key in memory");
        let expected = Size {
            keys: u64::from(self.model.is_some()),
            expiring: u64::from(self.model.as_ref().is_some_and(|(_, expiry_ms)| expiry_ms.is_some())),
            key_bytes: self.model.as_ref().map_or(0, |_| self.name.len() as u64),
            value_bytes: self.model.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64),
        };
        let mut expected = expected;
        if self.has_neighbour {
            expected.add(memory::counts::SizeChange {
                keys: 1,
                expiring: 0,
                key_bytes: self.neighbour().len() as i64,
                value_bytes: 3,
            });
        }
        assert_eq!(Size::from(guard.slot.size), expected, "the slot's counts");
        assert_eq!(u64::from(guard.slot.cold), expected.keys, "its cold keys");
        drop(guard);
        assert_eq!(self.keyspace.size(0), expected, "the database's counts");
        let metas: BTreeMap<(u8, u16), _> =
            tier.store.slots().unwrap().into_iter().map(|(database, slot, meta)| ((database, slot), meta)).collect();
        let meta = metas.get(&position).copied().unwrap_or_default();
        assert_eq!(
            (meta.keys, meta.expiring, meta.key_bytes, meta.value_bytes),
            (expected.keys, expected.expiring, expected.key_bytes, expected.value_bytes),
            "the counts on disk"
        );
        let (mut records, mut ages) = (Vec::new(), Vec::new());
        tier.store
            .scan_slot(position.0, position.1, 0, |record_key, value| {
                let record = Record::decode(value).unwrap();
                if record_key.key == name {
                    records.push((record.payload.to_vec(), record.expiry_ms));
                }
                ages.push((record.written_ms, record.payload.len(), record.expiry_ms));
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .unwrap();
        assert_eq!(records, self.model.clone().into_iter().collect::<Vec<_>>(), "the records on disk");
        let index = tier.store.due_expiries(position.0, &[], u64::MAX, 10).unwrap();
        let index: Vec<u64> = index.iter().map(|due| due.time_ms).collect();
        assert_eq!(index, self.model.iter().filter_map(|(_, expiry_ms)| *expiry_ms).collect::<Vec<_>>(), "the index");
        let index = tier.store.oldest(position.0, &[], u64::MAX, 10).unwrap();
        let index: Vec<_> = index.iter().map(|aged| (aged.time_ms, aged.value_bytes, aged.other_ms)).collect();
        ages.sort_unstable();
        ages.retain(|_| self.merger.ages.is_kept());
        assert_eq!(index, ages, "the index of ages");
    }

    /// The name of a key in the same slot.
    fn neighbour(&self) -> Vec<u8> {
        [b"{", &self.name[..], b"}", NEIGHBOUR].concat()
    }

    /// Puts the neighbour there, or takes it away.
    fn settle_neighbour(&mut self, is_there: bool) {
        if !self.has_neighbour {
            return;
        }
        let name = self.neighbour();
        let key = self.keyspace.key(&name);
        let mut cold = Cold::default();
        loop {
            let mut guard = self.keyspace.lock(self.caller(), 0, &key);
            match guard.make_resident(&key, &mut cold) {
                Residence::Here if is_there => guard.set_string(&key, b"old", NewExpiry::Clear),
                Residence::Here => assert!(guard.remove(&key)),
                _ => {
                    drop(guard);
                    Loader::load_here(&self.keyspace.tier().unwrap().store, &mut cold);
                    continue;
                }
            }
            break;
        }
        self.merge();
        self.demote_neighbour();
    }

    /// It is merged, so it may leave memory.
    fn demote_neighbour(&self) {
        let name = self.neighbour();
        let key = self.keyspace.key(&name);
        let mut guard = self.keyspace.lock(self.caller(), 0, &key);
        if let Some(index) = guard.entry(&key) {
            assert!(guard.demote(index).is_some());
        }
    }
}

/// Runs every schedule of the actors, each on a key of its own that begins as `start` says. Returns how many there were.
fn explore(keyspace: &Keyspace, start: Start, has_neighbour: bool, actors: &[Actor]) -> usize {
    // The choice at each step of the present schedule, and of how many.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    loop {
        schedules += 1;
        let name = format!("key:{start:?}:{}:{schedules}", actors.len()).into_bytes();
        let mut world =
            World { keyspace, merger: MergerState::default(), name, now_ms: EARLY, model: None, has_neighbour };
        world.begin(start);
        let mut progress: Vec<Progress> = actors.iter().map(|_| Progress::default()).collect();
        let mut live: Vec<usize> = (0..actors.len()).collect();
        let (mut depth, mut trace) = (0, Vec::new());
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while !live.is_empty() {
                if depth == choices.len() {
                    choices.push((0, live.len()));
                }
                choices[depth].1 = live.len();
                let chosen = live[choices[depth].0];
                depth += 1;
                trace.push(actors[chosen]);
                assert!(world.step(actors[chosen], &mut progress[chosen]));
                if actors[chosen].is_done(&progress[chosen]) {
                    live.retain(|actor| *actor != chosen);
                }
            }
            world.check();
            world.end();
        }));
        if let Err(panic) = outcome {
            eprintln!("start {start:?}, schedule {trace:#?}");
            std::panic::resume_unwind(panic);
        }
        choices.truncate(depth);
        while let Some((choice, of)) = choices.pop() {
            if choice + 1 < of {
                choices.push((choice + 1, of));
                break;
            }
        }
        if choices.is_empty() {
            return schedules;
        }
    }
}

/// How the key is before the actors begin.
#[derive(Clone, Copy, Debug)]
enum Start {
    Absent,
    /// On disk alone.
    Cold,
    ColdExpiring,
    /// In memory and on disk.
    Clean,
}

impl World<'_> {
    fn begin(&mut self, start: Start) {
        let command = match start {
            Start::Absent => return,
            Start::Cold | Start::Clean => Command::Set("old"),
            Start::ColdExpiring => Command::SetExpiring("old"),
        };
        self.settle_neighbour(true);
        assert!(self.command(command, &mut Cold::default()));
        self.merge();
        if !matches!(start, Start::Clean) {
            assert!(self.step(Actor::Evictor(1), &mut Progress::default()));
        }
    }

    fn end(&mut self) {
        let mut progress = Progress::default();
        while self.step(Actor::Client(&[Command::Delete]), &mut progress) {}
        self.model = None;
        self.merge();
        self.settle_neighbour(false);
        assert_eq!(self.keyspace.size(0), Size::default());
    }
}

#[test]
fn every_schedule_of_small_programs_keeps_the_key() {
    use Command::*;
    let programs: &[&[Actor]] = &[
        &[Actor::Client(&[Get, Get]), Actor::Client(&[Delete]), Actor::Merger(1)],
        &[Actor::Client(&[Set("new"), Delete]), Actor::Client(&[Get]), Actor::Merger(1)],
        &[Actor::Client(&[Append("x")]), Actor::Merger(1), Actor::Evictor(2)],
        &[Actor::Client(&[Set("new"), Get]), Actor::Merger(2), Actor::Evictor(1)],
        &[Actor::Client(&[Delete, Set("new")]), Actor::Merger(2)],
        &[Actor::Client(&[SetExpiring("new"), Get]), Actor::Merger(1), Actor::Clock],
        &[Actor::Client(&[Persist, Get]), Actor::Merger(1), Actor::Clock],
        &[Actor::Client(&[Get]), Actor::Merger(1), Actor::Clock, Actor::Evictor(1)],
        &[Actor::Client(&[Delete]), Actor::Client(&[Append("x")]), Actor::Evictor(1), Actor::Merger(1)],
    ];
    let directory = scratch();
    let keyspace = open(directory.path());
    let mut schedules = 0;
    for program in programs {
        for start in [Start::Absent, Start::Cold, Start::ColdExpiring, Start::Clean] {
            schedules += explore(&keyspace, start, false, program);
        }
    }
    assert!(schedules > 5_000, "{schedules}");
}

/// Each schedule syncs a dozen times, and none of that is looked at: best in memory.
fn scratch() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// A key that the round in flight has not taken may leave memory, and be loaded, and set again.
#[test]
fn every_schedule_beside_a_round_of_another_key_keeps_the_key() {
    use Command::*;
    let directory = scratch();
    let keyspace = open(directory.path());
    let programs: &[&[Actor]] = &[
        &[Actor::Client(&[Append("x")]), Actor::Neighbour(1), Actor::Merger(1), Actor::Evictor(1)],
        &[Actor::Client(&[Set("new"), Get]), Actor::Neighbour(1), Actor::Merger(1), Actor::Evictor(1)],
        &[Actor::Client(&[Delete]), Actor::Neighbour(1), Actor::Merger(1), Actor::Evictor(1)],
    ];
    let demoted = || keyspace.stats.sum(|shard| &shard.demoted_keys);
    let mut schedules = 0;
    for program in programs {
        for start in [Start::Cold, Start::ColdExpiring, Start::Clean] {
            schedules += explore(&keyspace, start, true, program);
        }
    }
    assert!(schedules > 3_000, "{schedules}");

    // The one that matters: clean, and its neighbour in flight.
    let (name, merger) = (b"last".to_vec(), MergerState::default());
    let mut world = World { keyspace: &keyspace, merger, name, now_ms: EARLY, model: None, has_neighbour: true };
    world.begin(Start::Clean);
    assert!(world.step(Actor::Neighbour(1), &mut Progress::default()));
    let mut round = Progress::default();
    assert!(world.step(Actor::Merger(1), &mut round) && world.step(Actor::Merger(1), &mut round));
    let before = demoted();
    assert!(world.step(Actor::Evictor(1), &mut Progress::default()));
    assert_eq!(demoted(), before + 1, "no round has taken it");
    while world.step(Actor::Merger(1), &mut round) {}
    world.check();
}

/// A key that was swept, and set again before the round is collected, is looked up: what is found was counted off.
#[test]
fn every_schedule_beside_a_cold_key_keeps_the_counts() {
    use Command::*;
    let directory = scratch();
    let keyspace = open(directory.path());
    let programs: &[&[Actor]] = &[
        &[Actor::Client(&[Set("new")]), Actor::Merger(2), Actor::Clock],
        &[Actor::Client(&[SetExpiring("new"), Delete]), Actor::Merger(1), Actor::Clock],
    ];
    let starts = [Start::Cold, Start::ColdExpiring, Start::Clean];
    let schedules: usize =
        programs.iter().flat_map(|program| starts.map(|start| explore(&keyspace, start, true, program))).sum();
    assert!(schedules > 500, "{schedules}");
}

#[test]
fn every_schedule_with_a_full_disk_keeps_what_is_new() {
    use Command::*;
    let directory = scratch();
    let keyspace = open(directory.path());
    keyspace.settings.set(&[(b"maxdisk", b"64mb")]).unwrap();
    while keyspace.merge(1, || true).unwrap().has_more {}
    let programs: &[&[Actor]] = &[
        &[Actor::Client(&[Get, Get]), Actor::FullMerger(1), Actor::Evictor(1)],
        &[Actor::Client(&[Set("new"), Get]), Actor::FullMerger(2)],
        &[Actor::Client(&[Append("x"), Delete]), Actor::FullMerger(2)],
        &[Actor::Client(&[SetExpiring("new"), Persist]), Actor::FullMerger(1), Actor::Clock],
        &[Actor::Client(&[Get]), Actor::Client(&[Delete, Set("new")]), Actor::FullMerger(1)],
    ];
    let mut schedules = 0;
    for program in programs {
        for start in [Start::Absent, Start::Cold, Start::ColdExpiring, Start::Clean] {
            schedules += explore(&keyspace, start, false, program);
        }
    }
    assert!(schedules > 2_000, "{schedules}");
}

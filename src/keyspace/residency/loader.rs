//! Reading cold keys, off the threads that serve clients.
//!
//! A command that needs keys which are only on disk leaves their names in its session's [`Cold`] and gives way. The
//! loader reads them, all that wait at the moment with one MultiGet, and wakes the connection; the command runs again
//! and takes the records into memory under the locks that it holds. A record counts only if no entry of its slot has
//! left memory since the name was noted, see `residency`.
//!
//! A command that walks over keys leaves its walk there when it comes to cold ones. The loader takes its steps, some of
//! one walk between two reads of keys, so that neither keeps the other waiting for long; the command then runs again
//! and finds the walk done.
//!
//! With `loader-threads 0` the thread that serves the client does all that itself, as the book's server did before its
//! chapter 6, and its other clients wait.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use super::super::disk::tier::Tier;
use super::super::memory::databases::Databases;
use super::super::memory::key::Key;
use super::scan::{Step, Walk};
use crate::stats::{Counter, Histogram};
use crate::store::record::{RecordKey, StoredRecord};
use crate::store::rocks::{Rocks, RocksError};

/// Keys read together at most; more wait for the next read.
const KEYS_A_READ: usize = 4096;
/// How long one walk goes on before others do; a step may be longer, but it is not followed by another.
const WALK_SLICE: Duration = Duration::from_millis(1);

/// A key to load.
#[derive(Debug)]
pub struct ColdKey {
    /// Database and slot.
    pub position: (u8, u16),
    /// Of the slot, when it had no entry of the key.
    pub departures: u32,
    /// The key's hash, whole.
    pub hash: u64,
    /// The key of its record.
    pub record_key: Vec<u8>,
}

/// What the disk had of a key: its record, nothing, or why it could not be read.
type Found = Result<Option<StoredRecord>, String>;

/// A walk that is done, or why it could not be.
type Walked = Result<Box<dyn Walk>, RocksError>;

/// A session's keys that are not in memory.
#[derive(Default)]
pub struct Cold {
    /// To be loaded before the command can go on.
    requested: Vec<ColdKey>,
    /// Loaded: in the order of position and hash.
    loaded: Vec<(ColdKey, Found)>,
    /// To be gone on with before the command can; then nothing is loaded.
    walk: Option<Box<dyn Walk>>,
    walked: Option<Walked>,
}

impl Cold {
    /// Has the key loaded before the command runs again.
    pub fn request(&mut self, key: ColdKey) {
        self.requested.push(key);
    }

    /// Whether anything has to be read before the command can run again.
    pub fn requests_any(&self) -> bool {
        !self.requested.is_empty() || self.requests_walk()
    }

    /// Leaves a walk to the loader.
    pub fn request_walk(&mut self, walk: Box<dyn Walk>) {
        self.walk = Some(walk);
    }

    /// Whether a walk waits for the loader.
    pub fn requests_walk(&self) -> bool {
        self.walk.is_some()
    }

    /// The walk that the loader has done.
    pub fn take_walked(&mut self) -> Option<Walked> {
        self.walked.take()
    }

    /// Whether nothing is asked for, and nothing that was loaded is left.
    pub fn is_empty(&self) -> bool {
        !self.requests_any() && self.loaded.is_empty() && self.walked.is_none()
    }

    /// Forgets what is asked for and what was loaded, for the next command.
    pub fn clear(&mut self) {
        *self = Cold::default();
    }

    /// What was loaded of the key, if that still counts.
    pub fn loaded(&self, position: (u8, u16), key: &Key<'_>, departures: u32) -> Option<&Found> {
        let token = (position, key.hash);
        let first = self.loaded.partition_point(|(cold, _)| (cold.position, cold.hash) < token);
        self.loaded[first..]
            .iter()
            .take_while(|(cold, _)| (cold.position, cold.hash) == token)
            .find(|(cold, _)| cold.departures == departures && RecordKey::is_of(&cold.record_key, key.bytes))
            .map(|(_, found)| found)
    }

    fn take_loaded(&mut self, load: &Load) {
        self.loaded = std::mem::take(&mut *load.results.lock());
        self.loaded.sort_by_key(|(cold, _)| (cold.position, cold.hash));
        self.walked = load.walked.lock().take();
    }
}

/// One session's keys on their way, or its walk.
#[derive(Default)]
struct Load {
    results: Mutex<Vec<(ColdKey, Found)>>,
    walked: Mutex<Option<Walked>>,
    is_done: AtomicBool,
    waker: AtomicWaker,
}

impl Load {
    fn finish_walk(&self, walked: Walked) {
        *self.walked.lock() = Some(walked);
        self.finish();
    }

    fn finish(&self) {
        self.is_done.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Waits for a load; gives the records to the session's [`Cold`]. Without it, the load's walk ends.
pub struct Loading(Arc<Load>);

impl Loading {
    /// Takes what was loaded, once it is.
    pub fn poll(&self, cold: &mut Cold, context: &mut Context<'_>) -> Poll<()> {
        self.0.waker.register(context.waker());
        if !self.0.is_done.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        cold.take_loaded(&self.0);
        Poll::Ready(())
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Arc<Load>, Vec<ColdKey>)>,
    /// The one that goes on next comes first.
    walks: VecDeque<(Arc<Load>, Box<dyn Walk>)>,
    is_closed: bool,
}

/// The queue that the loader's threads serve.
#[derive(Default)]
pub struct Loader {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// How long reads took, each of many keys.
    pub latencies: Histogram,
    /// Reads of RocksDB.
    pub reads: Counter,
    /// Keys that were asked for in them.
    pub keys: Counter,
    /// Of these, keys that had a record.
    pub found: Counter,
}

impl Loader {
    /// Loads what `cold` asks for. Without the loader's threads it is, when this returns.
    pub fn load(&self, databases: &Databases, tier: &Tier, cold: &mut Cold) -> Loading {
        let load = Arc::<Load>::default();
        let Cold { requested, walk, .. } = std::mem::take(cold);
        if databases.settings.loader_threads.get() > 0 {
            self.ask(load.clone(), requested, walk);
        } else if let Some(walk) = walk {
            load.finish_walk(take_all_steps(databases, walk));
        } else {
            let keys = requested.into_iter().map(|key| (0, key)).collect();
            self.load_keys(&tier.store, slice::from_ref(&load), keys);
        }
        Loading(load)
    }

    /// Leaves it to the threads.
    fn ask(&self, load: Arc<Load>, requested: Vec<ColdKey>, walk: Option<Box<dyn Walk>>) {
        match walk {
            Some(walk) => self.queue.lock().walks.push_back((load, walk)),
            None => self.queue.lock().waiting.push_back((load, requested)),
        }
        self.arrived.notify_one();
    }

    /// Loads what `cold` requests in this thread, for who has nobody to keep waiting.
    pub fn load_here(store: &Rocks, cold: &mut Cold) {
        let requested = std::mem::take(&mut cold.requested);
        let found = read(store, requested.iter());
        cold.loaded = requested.into_iter().zip(found).collect();
        cold.loaded.sort_by_key(|(cold, _)| (cold.position, cold.hash));
    }

    /// Serves until it is closed and nobody waits any more; several threads may.
    pub fn run(&self, databases: &Databases, store: &Rocks) {
        while self.serve(databases, store) {}
    }

    /// Makes the threads end.
    pub fn close(&self) {
        self.queue.lock().is_closed = true;
        self.arrived.notify_all();
    }

    /// Serves the keys that wait, together, and one walk for a slice of time. False: there will be nobody any more.
    fn serve(&self, databases: &Databases, store: &Rocks) -> bool {
        let (mut loads, mut keys) = (Vec::new(), Vec::new());
        let walk = {
            let mut queue = self.queue.lock();
            while queue.waiting.is_empty() && queue.walks.is_empty() {
                if queue.is_closed {
                    return false;
                }
                self.arrived.wait(&mut queue);
            }
            while keys.len() < KEYS_A_READ
                && let Some((load, requested)) = queue.waiting.pop_front()
            {
                keys.extend(requested.into_iter().map(|key| (loads.len(), key)));
                loads.push(load);
            }
            queue.walks.pop_front()
        };
        if !loads.is_empty() {
            self.load_keys(store, &loads, keys);
        }
        if let Some((load, walk)) = walk {
            self.go_on(databases, load, walk);
        }
        true
    }

    /// Reads keys, each for the load that its number names.
    fn load_keys(&self, store: &Rocks, loads: &[Arc<Load>], mut keys: Vec<(usize, ColdKey)>) {
        let began = Instant::now();
        keys.sort_by(|(_, one), (_, other)| one.record_key.cmp(&other.record_key));
        let found = read(store, keys.iter().map(|(_, key)| key));
        self.reads.add(1);
        self.keys.add(keys.len() as u64);
        self.found.add(found.iter().filter(|found| matches!(found, Ok(Some(_)))).count() as u64);
        self.latencies.record(began.elapsed().as_nanos() as u64);
        for ((load, key), found) in keys.into_iter().zip(found) {
            loads[load].results.lock().push((key, found));
        }
        loads.iter().for_each(|load| load.finish());
    }

    /// Goes on with a walk for a slice of time, unless nobody waits for it any more.
    fn go_on(&self, databases: &Databases, load: Arc<Load>, walk: Box<dyn Walk>) {
        if Arc::strong_count(&load) == 1 {
            return;
        }
        match take_steps(databases, walk) {
            ControlFlow::Break(walked) => load.finish_walk(walked),
            ControlFlow::Continue(walk) => self.queue.lock().walks.push_back((load, walk)),
        }
    }
}

/// Takes a walk to its end.
fn take_all_steps(databases: &Databases, mut walk: Box<dyn Walk>) -> Walked {
    loop {
        match take_steps(databases, walk) {
            ControlFlow::Break(walked) => return walked,
            ControlFlow::Continue(unfinished) => walk = unfinished,
        }
    }
}

/// Goes on with a walk for a slice of time; it may have to go on further.
fn take_steps(databases: &Databases, mut walk: Box<dyn Walk>) -> ControlFlow<Walked, Box<dyn Walk>> {
    let began = Instant::now();
    loop {
        match walk.step(databases, true) {
            Ok(Step::Done) => return ControlFlow::Break(Ok(walk)),
            Err(error) => return ControlFlow::Break(Err(error)),
            Ok(_) if began.elapsed() < WALK_SLICE => {}
            Ok(_) => return ControlFlow::Continue(walk),
        }
    }
}

/// Reads keys, best in the order of their records.
fn read<'k>(store: &Rocks, keys: impl Iterator<Item = &'k ColdKey>) -> Vec<Found> {
    let names: Vec<&[u8]> = keys.map(|key| &key.record_key[..]).collect();
    let found = store.look_at_many(&names, |record| Ok(StoredRecord::new(record))).into_iter();
    found.map(|found| found.map_err(|error| error.to_string())).collect()
}

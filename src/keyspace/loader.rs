//! Reading cold keys, off the threads that serve clients.
//!
//! A command that needs keys which are only on disk leaves their names in its session's [`Cold`] and gives way. The
//! loader reads them, all that wait at the moment with one MultiGet, and wakes the connection; the command runs again
//! and takes the records into memory under the locks that it holds. A record counts only if no entry of its slot has
//! left memory since the name was noted, see `residency`.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use atomic_waker::AtomicWaker;
use parking_lot::{Condvar, Mutex};

use super::Key;
use crate::stats::{Counter, Histogram};
use crate::store::rocks::Rocks;

/// Keys read together at most; more wait for the next turn.
const KEYS_A_READ: usize = 4096;

/// A key to load.
#[derive(Debug)]
pub struct ColdKey {
    /// Database and slot.
    pub position: (u8, u16),
    /// Of the slot, when it had no entry of the key.
    pub departures: u32,
    pub hash: u64,
    pub record_key: Vec<u8>,
}

/// What the disk had of a key: its record, nothing, or why it could not be read.
type Found = Result<Option<Vec<u8>>, String>;

/// A session's keys that are not in memory.
#[derive(Default)]
pub struct Cold {
    /// To be loaded before the command can go on.
    wanted: Vec<ColdKey>,
    /// Loaded: in the order of position and hash.
    loaded: Vec<(ColdKey, Found)>,
}

impl Cold {
    pub fn want(&mut self, key: ColdKey) {
        self.wanted.push(key);
    }

    pub fn wants_any(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.loaded.is_empty()
    }

    pub fn clear(&mut self) {
        self.wanted.clear();
        self.loaded.clear();
    }

    /// What was loaded of the key, if that still counts.
    pub(super) fn loaded(&self, position: (u8, u16), key: &Key<'_>, departures: u32) -> Option<&Found> {
        let place = (position, key.hash);
        let first = self.loaded.partition_point(|(cold, _)| (cold.position, cold.hash) < place);
        self.loaded[first..]
            .iter()
            .take_while(|(cold, _)| (cold.position, cold.hash) == place)
            .find(|(cold, _)| cold.departures == departures && cold.record_key.ends_with(key.bytes))
            .map(|(_, found)| found)
    }

    fn take_loaded(&mut self, load: &Load) {
        self.loaded = std::mem::take(&mut *load.results.lock());
        self.loaded.sort_by_key(|(cold, _)| (cold.position, cold.hash));
    }
}

/// One session's keys on their way.
struct Load {
    results: Mutex<Vec<(ColdKey, Found)>>,
    is_done: AtomicBool,
    waker: AtomicWaker,
}

/// Waits for a load; gives the records to the session's [`Cold`].
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

    /// The same as a future.
    pub fn finish<'c>(self, cold: &'c mut Cold) -> impl Future<Output = ()> + 'c {
        struct Finish<'c>(Loading, &'c mut Cold);
        impl Future for Finish<'_> {
            type Output = ();
            fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
                let Finish(loading, cold) = &mut *self;
                loading.poll(cold, context)
            }
        }
        Finish(self, cold)
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Arc<Load>, Vec<ColdKey>)>,
    is_closed: bool,
}

/// The queue that the loader's threads serve.
#[derive(Default)]
pub struct Loader {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// How long reads took, each of many keys.
    pub latencies: Histogram,
    pub reads: Counter,
    pub keys: Counter,
    pub found: Counter,
}

impl Loader {
    /// Asks for what `cold` wants.
    pub fn load(&self, cold: &mut Cold) -> Loading {
        let load =
            Arc::new(Load { results: Mutex::default(), is_done: AtomicBool::new(false), waker: AtomicWaker::new() });
        cold.loaded.clear();
        self.queue.lock().waiting.push_back((load.clone(), std::mem::take(&mut cold.wanted)));
        self.arrived.notify_one();
        Loading(load)
    }

    /// Loads what `cold` wants in this thread, for who has nobody to keep waiting.
    pub(super) fn load_here(store: &Rocks, cold: &mut Cold) {
        let wanted = std::mem::take(&mut cold.wanted);
        let found = read(store, wanted.iter());
        cold.loaded = wanted.into_iter().zip(found).collect();
    }

    /// Serves until it is closed and nobody waits any more; several threads may.
    pub fn run(&self, store: &Rocks) {
        while self.serve(store) {}
    }

    /// Has the threads end.
    pub fn close(&self) {
        self.queue.lock().is_closed = true;
        self.arrived.notify_all();
    }

    /// Serves those that wait, together. False: there will be nobody any more.
    fn serve(&self, store: &Rocks) -> bool {
        let (mut loads, mut keys) = (Vec::new(), Vec::new());
        {
            let mut queue = self.queue.lock();
            while queue.waiting.is_empty() {
                if queue.is_closed {
                    return false;
                }
                self.arrived.wait(&mut queue);
            }
            while keys.len() < KEYS_A_READ
                && let Some((load, wanted)) = queue.waiting.pop_front()
            {
                keys.extend(wanted.into_iter().map(|key| (loads.len(), key)));
                loads.push(load);
            }
        }
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
        for load in loads {
            load.is_done.store(true, Ordering::Release);
            load.waker.wake();
        }
        true
    }
}

/// Reads keys, best in the order of their records.
fn read<'k>(store: &Rocks, keys: impl Iterator<Item = &'k ColdKey>) -> Vec<Found> {
    let names: Vec<&[u8]> = keys.map(|key| &key.record_key[..]).collect();
    let found = store.get_many(&names).into_iter();
    found.map(|found| found.map_err(|error| error.to_string())).collect()
}

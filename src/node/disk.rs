//! The disk's part of a start and an end, and the threads in between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::schedule::{Changes, Schedule};
use super::startup::Startup;
use crate::base::clock;
use crate::base::key_hash::HashSecret;
use crate::command::alarm::Alarm;
use crate::command::state::State;
use crate::config::Settings;
use crate::keyspace::garbage::Garbage;
use crate::keyspace::recovery;
use crate::keyspace::space::{DISK_MIN_BYTES, segment_bytes};
use crate::keyspace::tier::{Tier, set_up_allocator, store_memory_bytes, sync_policy};
use crate::store::directory::{self, DataDirectory, Restored};
use crate::store::journal::{self, Journal};
use crate::store::rocks::{Rocks, RocksOptions};

/// With a smaller `maxmemory`, code, caches and buffers alone make resident memory exceed it by more than 15%.
const MEMORY_NEEDED_BYTES: u64 = 64 << 20;
/// Threads that replay the journal, at most.
const REPLAY_THREADS_MAX: usize = 8;
/// How often the merger's thread polls for requests and checks the disk.
const STEP: Duration = Duration::from_millis(100);
/// Measuring the data directory takes at most one part in so many of the time.
const MEASURE_SHARE: u32 = 50;
/// How often the reserve of disk space for the next start is checked.
const RESERVE_INTERVAL: Duration = Duration::from_secs(1);
/// The largest store that a shutdown compacts, in bytes.
const END_COMPACTION_MAX_BYTES: u64 = 1 << 30;
/// The wait after a full compaction that failed.
const FAILED_PASS_PAUSE: Duration = Duration::from_secs(1);
/// The merger's niceness, so that workers come first where processors are few. It cannot starve: its backlog is bounded, and
/// writes wait for it then. Twice as much raised the p99 of deep pipelines.
const MERGER_NICENESS: i32 = 5;

/// An open data directory, before its journal is replayed.
pub struct Opened {
    directory: DataDirectory,
    is_new: bool,
    has_little_room: bool,
    startup: Startup,
}

/// Opens the data directory and the database in it; RocksDB may hold `max_open_files` tables open at a time.
///
/// # Errors
/// When one cannot be opened, with one line for the operator; nothing was changed then.
pub fn open(settings: &Settings, max_open_files: i32) -> io::Result<(Opened, Tier, HashSecret)> {
    let startup = Startup::begin()?;
    let maxdisk = settings.maxdisk.get();
    if maxdisk > 0 && maxdisk < DISK_MIN_BYTES {
        return Err(io::Error::other(format!("maxdisk {maxdisk} is too small: the least is {DISK_MIN_BYTES} bytes")));
    }
    if (1..MEMORY_NEEDED_BYTES).contains(&settings.maxmemory.get()) {
        tracing::warn!("maxmemory below 64 MB is less than what the program needs besides keys: it takes more");
    }
    let path = PathBuf::from(&*settings.dir.get());
    let checkpoint = settings.restore.get();
    if !checkpoint.is_empty() {
        let progress = startup.step("restoring");
        match directory::restore(Path::new(&*checkpoint), &path, progress).map_err(io::Error::other)? {
            Restored::Now => tracing::info!(%checkpoint, directory = %path.display(), "restored"),
            Restored::Before => tracing::info!(
                %checkpoint,
                directory = %path.display(),
                "restored from it before: goes on with the data that is there"
            ),
        }
    }
    let (mut directory, is_new) = DataDirectory::open(&path, HashSecret::random()?).map_err(io::Error::other)?;
    if settings.repair.get() && !is_new {
        startup.step("looking for damage");
        repair(&directory)?;
    }
    let has_little_room = directory.make_room(directory::reserve_bytes(maxdisk))?;
    set_up_allocator(settings);
    let memory_bytes = store_memory_bytes(settings, 0);
    let options = RocksOptions {
        memory_bytes,
        max_open_files,
        create: is_new,
        adds_families: directory.is_older(),
        compacts: false,
        allocates_ahead: !has_little_room,
        long_keys: directory.long_keys(),
        ..RocksOptions::for_disk(maxdisk)
    };
    startup.step("opening RocksDB, which replays its log");
    let store = Rocks::open(&directory.rocksdb(), &options).map_err(io::Error::other)?;
    if is_new {
        directory.finish().map_err(io::Error::other)?;
        tracing::info!(directory = %path.display(), "a new data directory");
    }
    if directory.is_older() {
        directory.upgrade().map_err(io::Error::other)?;
        tracing::info!(directory = %path.display(), "a data directory of an older format is one of the present format now");
    }
    let secret = directory.secret();
    Ok((Opened { directory, is_new, has_little_room, startup }, Tier::new(store), secret))
}

/// Drops what is damaged, and logs what that was.
fn repair(directory: &DataDirectory) -> io::Result<()> {
    let mut lines = Rocks::repair(&directory.rocksdb()).map_err(io::Error::other)?;
    if !directory.has_no_journal() {
        lines.extend(journal::repair(&directory.journal(), true).map_err(io::Error::other)?);
    }
    if lines.is_empty() {
        tracing::warn!("repair: nothing is damaged; leave it out, or what is damaged later is dropped unasked");
    }
    lines.iter().for_each(|line| tracing::warn!("repair: {line}"));
    Ok(())
}

/// The disk's threads.
pub struct Disk {
    merger: JoinHandle<()>,
    loaders: Vec<JoinHandle<()>>,
    compactor: JoinHandle<()>,
    state: Arc<State>,
    /// Locked for the life of the process.
    _directory: Arc<DataDirectory>,
}

impl Disk {
    /// Recovers the keyspace from the store and the journal, and starts the threads. `None`: the engine is `memory`.
    ///
    /// # Errors
    /// When the journal or the store cannot be read.
    pub fn start(opened: Opened, state: &Arc<State>) -> io::Result<Option<Disk>> {
        let Opened { directory, is_new, has_little_room, startup } = opened;
        let Some(tier) = state.keyspace.tier() else { return Ok(None) };
        startup.step("reading what the slots hold");
        recovery::adopt(&state.keyspace, &tier.store).map_err(io::Error::other)?;
        let defaults = journal::Options::default();
        let options = journal::Options {
            segment_bytes: segment_bytes(state.settings.maxdisk.get(), defaults.segment_bytes),
            sync: sync_policy(&state.settings),
            // What was never written to may have been left half-made by a crash.
            create: is_new || directory.has_no_journal() || !state.keyspace.was_ever_written(),
            ..defaults
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(REPLAY_THREADS_MAX);
        let progress = startup.step("replaying the journal");
        let (journal, recovery) = recovery::replaying(&state.keyspace, threads, progress, |replayer| {
            (Journal::open(&directory.journal(), options, replayer), replayer.done())
        });
        let journal = journal.map_err(io::Error::other)?;
        recovery::begin_boot(&state.keyspace, &tier.store).map_err(io::Error::other)?;
        directory.journal_begins()?;
        tier.begin_journal(journal, state.settings.appendonly.get());
        let keys = state.keyspace.total_keys();
        tracing::info!(
            keys,
            replayed = recovery.applied,
            known = recovery.known,
            blocks = recovery.blocks,
            took_ms = startup.elapsed().as_millis() as u64,
            "the data is there"
        );
        if has_little_room {
            // The next start may find the disk as full, and what comes now must not take all of it.
            let reserve_bytes = directory::reserve_bytes(state.settings.maxdisk.get());
            if let Err(error) = directory.keep_reserve(reserve_bytes, true) {
                tracing::warn!(%error, "no room is reserved for the next start");
            }
            tier.short_of_room();
        }
        let directory = Arc::new(directory);
        let mut loaders = Vec::new();
        for index in 0..state.settings.loader_threads.get() {
            loaders.push(spawn(state, format!("loader-{index}"), move |state| {
                if let Some(tier) = state.keyspace.tier() {
                    state.keyspace.loader.run(&state.keyspace, &tier.store);
                }
            })?);
        }
        let compactor = spawn(state, "compactor".to_owned(), run_compactor)?;
        let merger = spawn(state, "merger".to_owned(), {
            let directory = directory.clone();
            move |state| run_merger(state, &directory)
        })?;
        Ok(Some(Disk { merger, loaders, compactor, state: state.clone(), _directory: directory }))
    }

    /// Merges what is dirty, closes journal and store, and ends the threads.
    ///
    /// # Errors
    /// When not everything got there.
    pub fn stop(self) -> io::Result<()> {
        let Some(tier) = self.state.keyspace.tier() else { return Ok(()) };
        self.state.keyspace.loader.close();
        self.state.keyspace.merger.space.end();
        tier.requests.end();
        let has_panicked = |thread: JoinHandle<()>| thread.join().is_err();
        let mut panicked = false;
        for thread in [self.merger].into_iter().chain(self.loaders) {
            panicked |= has_panicked(thread);
        }
        compact_if_empty(&self.state, tier);
        let closed = tier.opened_journal().map_or(Ok(()), Journal::close);
        let store_closed = tier.store.close().map_err(io::Error::other);
        // A compaction under way ends with the store.
        panicked |= has_panicked(self.compactor);
        if panicked {
            return Err(io::Error::other("a thread of the disk panicked"));
        }
        closed?;
        store_closed?;
        match tier.failure() {
            None => Ok(()),
            Some(failure) => Err(io::Error::other(format!("not everything could be merged: {failure}"))),
        }
    }
}

/// Compacts a store without keys, so that deleted data does not outlive the end; more than a moment's work is left to the next
/// start.
fn compact_if_empty(state: &State, tier: &Tier) {
    let has_keys = state.keyspace.total_keys() > 0;
    if !has_keys
        && tier.failure().is_none()
        && (1..END_COMPACTION_MAX_BYTES).contains(&tier.store.file_bytes())
        && let Err(error) = tier.store.compact()
    {
        tracing::warn!(%error, "what was deleted takes its place on disk until the next start");
    }
}

fn spawn(state: &Arc<State>, name: String, run: impl FnOnce(&State) + Send + 'static) -> io::Result<JoinHandle<()>> {
    let state = state.clone();
    thread::Builder::new().name(name).spawn(move || {
        let _alarm = Alarm::new(&state, "disk");
        run(&state);
    })
}

/// Merges when [`Schedule`] says so, and whenever it is asked to, until it is told to end.
fn run_merger(state: &State, directory: &DataDirectory) {
    let Some(merging) = state.keyspace.merging() else { return };
    let tier = merging.tier;
    if let Err(error) = rustix::process::nice(MERGER_NICENESS) {
        tracing::debug!(%error, "the merger keeps the niceness of the process");
    }
    if let Err(error) = tier.store.begin_compactions() {
        tracing::warn!(%error, "nothing is compacted");
    }
    let mut schedule = Schedule::new(Instant::now());
    let mut measured_next = Instant::now();
    let mut reserved_next = Instant::now();
    let mut garbage = Garbage::new(Instant::now());
    loop {
        let interval = Duration::from_millis(state.settings.merge_interval.get().max(1) as u64);
        let requested = tier.requests.wait(interval.min(STEP));
        match directory.check_place() {
            Ok(()) => tier.found(),
            Err(error) => {
                tier.lost(&error.to_string());
                if requested.save {
                    tier.save_failed();
                }
                // The last round still goes to the files that are open.
                if !requested.end {
                    continue;
                }
            }
        }
        reserve(state, tier, directory, &mut reserved_next);
        measure(state, directory, &mut measured_next);
        if requested.end {
            // No client is left from whom space is kept: the last round tells whether everything got to disk.
            tier.enough_room();
        }
        let now = Instant::now();
        merging.look_for_garbage(&mut garbage, now);
        let changes = Changes {
            count: state.stats.sum(|shard| &shard.changes),
            received_bytes: state.stats.sum(|shard| &shard.network_input_bytes),
        };
        let is_due = schedule.is_due(now, interval, changes, tier.is_journaling());
        if requested.round || requested.save || requested.end || is_due {
            let merged_bytes = merge(state, directory, requested.end, &mut measured_next);
            schedule.record(now, Instant::now(), merged_bytes, changes);
        }
        if requested.save {
            save(state, directory);
        }
        if requested.end {
            return;
        }
    }
}

/// Makes rounds until none is due at once. Returns about how many bytes they wrote.
fn merge(state: &State, directory: &DataDirectory, is_last: bool, measured_next: &mut Instant) -> u64 {
    let mut bytes = 0;
    loop {
        match state.keyspace.merge(clock::now_ms(), || state.is_shutting_down()) {
            Ok(merged) => {
                bytes += merged.bytes;
                if !merged.has_more || is_last {
                    return bytes;
                }
            }
            Err(error) => {
                tracing::error!(%error, "what has changed last is not merged");
                return bytes;
            }
        }
        measure(state, directory, measured_next);
    }
}

/// Keeps a reserve of disk space, so that a start succeeds on a full disk.
fn reserve(state: &State, tier: &Tier, directory: &DataDirectory, next: &mut Instant) {
    if Instant::now() < *next {
        return;
    }
    *next = Instant::now() + RESERVE_INTERVAL;
    match directory.keep_reserve(directory::reserve_bytes(state.settings.maxdisk.get()), false) {
        Ok(true) => tier.enough_room(),
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "no room is reserved for a start"),
    }
}

/// Measures the size of the data directory for the keyspace, where `maxdisk` is set and the time `next` has come.
fn measure(state: &State, directory: &DataDirectory, next: &mut Instant) {
    if state.settings.maxdisk.get() == 0 || Instant::now() < *next {
        return;
    }
    let began = Instant::now();
    let Some(merging) = state.keyspace.merging() else { return };
    match directory.usage() {
        Ok(usage) => merging.note_usage(usage),
        Err(error) => tracing::warn!(%error, "the data directory cannot be measured"),
    }
    *next = Instant::now() + STEP.max(began.elapsed() * MEASURE_SHARE);
}

/// Compacts everything when that is asked for, until it is told to end.
fn run_compactor(state: &State) {
    let Some(merging) = state.keyspace.merging() else { return };
    while merging.merger.space.wait_for_pass() {
        if let Err(error) = merging.compact_for_space() {
            tracing::error!(%error, "what is deleted still takes its place on disk");
            std::thread::sleep(FAILED_PASS_PAUSE);
        }
    }
}

/// Makes a checkpoint of what the last round has written.
fn save(state: &State, directory: &DataDirectory) {
    let Some(tier) = state.keyspace.tier() else { return };
    let saved = directory.save_checkpoint(|to: &Path| tier.store.checkpoint(to));
    match &saved {
        Ok(path) => tracing::info!(path = %path.display(), "checkpoint made"),
        Err(error) => tracing::error!(%error, "no checkpoint could be made"),
    }
    tier.saves.finished(clock::now_ms() / 1000, saved.map(drop).map_err(|error| error.to_string()));
}

//! Counters. INFO, `/status` and `/metrics` only render them.
//!
//! Each thread writes its own shard, so that counting costs no shared cache line; readers sum the shards. Nothing
//! ever sets a shard back, because its thread may be about to write it: what CONFIG RESETSTAT forgets is remembered
//! as a baseline, and readers subtract it.

#![deny(missing_docs)]

mod errors;
mod histogram;
mod latency;
mod sampler;
mod slow_log;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::RwLock;

use crate::base::thread;
use crate::base::ticks::Ticker;

pub use errors::ErrorCounts;
pub use histogram::{Distribution, Histogram};
pub use latency::{LatencyEvents, Series, Spike, Summary};
pub use sampler::{Readings, Sampler};
pub use slow_log::{SlowCommand, SlowLog, shortened};

/// Threads have a shard each; only the last shard is shared, by all threads for which there is none.
const SHARDS: usize = 64;

/// A count that only grows.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it, from any thread.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Adds to a counter. One that no other thread writes is spared the locked instruction, which costs as much as all
/// else that is recorded of a command but its time.
#[inline]
fn add(counter: &AtomicU64, amount: u64, alone: bool) {
    if alone {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    } else {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

macro_rules! shard {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One thread's counts.
        #[derive(Default)]
        pub struct Shard {
            $($(#[$doc])* pub $name: Counter,)*
            commands: Box<[CommandCounters]>,
        }

        impl Shard {
            /// Adds all that `other` has counted.
            fn merge(&self, other: &Shard) {
                $(self.$name.add(other.$name.get());)*
                for (own, others) in self.commands.iter().zip(&other.commands) {
                    own.merge(others);
                }
            }
        }
    };
}

shard! {
    /// Connections that were accepted.
    connections_received,
    /// Refused for `maxclients` or protected mode.
    connections_rejected,
    /// Given to another worker, for balance.
    connections_moved,
    /// AUTH and HELLO with a password that is wrong.
    wrong_passwords,
    /// Commands that were executed.
    commands_processed,
    /// Complete batches executed; with `commands_processed` the mean batch size.
    batches,
    /// Bytes from clients.
    network_input_bytes,
    /// Bytes to clients.
    network_output_bytes,
    /// Replies that are errors.
    error_replies,
    /// Lookups for a read that found their key.
    keyspace_hits,
    /// Lookups for a read that did not.
    keyspace_misses,
    /// Keys deleted since their expiry had passed.
    expired_keys,
    /// Active expiry cycles that ran out of their time budget.
    expire_cycles_capped,
    /// Microseconds spent in active expiry cycles.
    expire_cycles_us,
    /// Keys deleted to make room, in memory or on disk.
    evicted_keys,
    /// Keys that left memory and stayed on disk.
    demoted_keys,
    /// Microseconds with memory over `maxmemory`.
    eviction_exceeded_us,
    /// Clients cut since their output was over its limit.
    clients_cut_for_output,
    /// Clients cut since their input was over its limit.
    clients_cut_for_input,
    /// Cut for `maxmemory-clients`.
    evicted_clients,
    /// Changes to keys, since the start: CONFIG RESETSTAT leaves them.
    changes,
}

/// What INFO's commandstats tells of one command.
#[derive(Default)]
pub struct CommandCounters {
    /// Calls that ran.
    pub calls: Counter,
    /// How long they ran altogether, in nanoseconds.
    pub duration_ns: Counter,
    /// Refused before execution.
    pub rejected: Counter,
    /// Answered with an error by the command itself.
    pub failed: Counter,
    latencies: OnceLock<Box<Histogram>>,
}

impl CommandCounters {
    fn latencies(&self) -> &Histogram {
        self.latencies.get_or_init(Box::default)
    }

    fn merge(&self, other: &CommandCounters) {
        self.calls.add(other.calls.get());
        self.duration_ns.add(other.duration_ns.get());
        self.rejected.add(other.rejected.get());
        self.failed.add(other.failed.get());
        if let Some(latencies) = other.latencies.get() {
            self.latencies().merge(latencies);
        }
    }
}

/// All counters of a server, and what is kept of slow commands, errors and latency beside them.
pub struct Stats {
    shards: Box<[OnceLock<Box<CachePadded<Shard>>>]>,
    commands: usize,
    /// What was counted before the last CONFIG RESETSTAT.
    baseline: RwLock<Box<Shard>>,
    /// Error replies by their code word.
    pub errors: ErrorCounts,
    /// The commands that took longest.
    pub slow_log: SlowLog,
    /// Latency spikes by event.
    pub latency_events: LatencyEvents,
    /// Rates a second.
    pub sampler: Sampler,
    /// Times commands.
    pub ticker: Ticker,
}

impl Stats {
    /// `commands`: how many entries the command table has.
    pub fn new(commands: usize) -> Stats {
        Stats {
            shards: std::iter::repeat_with(OnceLock::new).take(SHARDS).collect(),
            commands,
            baseline: RwLock::new(Box::new(new_shard(commands))),
            errors: ErrorCounts::default(),
            slow_log: SlowLog::default(),
            latency_events: LatencyEvents::default(),
            sampler: Sampler::default(),
            ticker: Ticker::calibrate(),
        }
    }

    /// This thread's shard.
    #[inline]
    pub fn shard(&self) -> &Shard {
        self.own_shard().0
    }

    /// This thread's shard, and whether no other thread has the same.
    #[inline]
    fn own_shard(&self) -> (&Shard, bool) {
        let index = thread::index();
        let shard = self.shards[index.min(SHARDS - 1)].get_or_init(|| Box::new(new_shard(self.commands).into()));
        (shard, index < SHARDS - 1)
    }

    /// Adds one to this thread's counter, for example `stats.count(|shard| &shard.keyspace_hits)`.
    #[inline]
    pub fn count(&self, counter: impl Fn(&Shard) -> &Counter) {
        self.add(counter, 1);
    }

    /// Adds to this thread's counter.
    #[inline]
    pub fn add(&self, counter: impl Fn(&Shard) -> &Counter, addend: u64) {
        let (shard, alone) = self.own_shard();
        add(&counter(shard).0, addend, alone);
    }

    fn all_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(OnceLock::get).map(|shard| &***shard)
    }

    /// The counter of all threads together, for example `stats.sum(|shard| &shard.keyspace_hits)`.
    pub fn sum(&self, counter: impl Fn(&Shard) -> &Counter) -> u64 {
        let forgotten = counter(&self.baseline.read()).get();
        self.all_shards().map(|shard| counter(shard).get()).sum::<u64>().saturating_sub(forgotten)
    }

    /// This thread's counters of the command with that index in the table.
    #[inline]
    pub fn command(&self, index: usize) -> Option<&CommandCounters> {
        self.shard().commands.get(index)
    }

    /// A command's counter of all threads together.
    pub fn sum_command(&self, index: usize, counter: impl Fn(&CommandCounters) -> &Counter) -> u64 {
        let of = |shard: &Shard| shard.commands.get(index).map_or(0, |command| counter(command).get());
        let forgotten = of(&self.baseline.read());
        self.all_shards().map(of).sum::<u64>().saturating_sub(forgotten)
    }

    /// How long a command's calls took; `None` if there were none while latencies were tracked.
    pub fn latencies(&self, index: usize) -> Option<Distribution> {
        let baseline = self.baseline.read();
        let mut distribution: Option<Distribution> = None;
        for histogram in self.all_shards().filter_map(|shard| shard.commands.get(index)?.latencies.get()) {
            distribution.get_or_insert_default().add(histogram);
        }
        let mut distribution = distribution?;
        if let Some(forgotten) = baseline.commands.get(index).and_then(|command| command.latencies.get()) {
            distribution.subtract(forgotten);
        }
        (distribution.total() > 0).then_some(distribution)
    }

    /// Counts a command that has run.
    #[inline(always)]
    pub fn record(&self, index: usize, duration_ns: u64, failed: bool, tracks_latency: bool) {
        let (shard, alone) = self.own_shard();
        let Some(command) = shard.commands.get(index) else { return };
        add(&command.calls.0, 1, alone);
        add(&command.duration_ns.0, duration_ns, alone);
        if failed {
            command.failed.add(1);
        }
        if tracks_latency {
            add(command.latencies().counter(duration_ns), 1, alone);
        }
    }

    /// Counts commands that ran together.
    pub fn record_batch(&self, commands: u64) {
        let (shard, alone) = self.own_shard();
        add(&shard.commands_processed.0, commands, alone);
        add(&shard.batches.0, 1, alone);
    }

    /// Counts an error reply by its code word.
    pub fn record_error(&self, code: &[u8]) {
        self.shard().error_replies.add(1);
        self.errors.add(code);
    }

    /// Takes a sample of the rates if one is due; to be called at least every 100 ms.
    pub fn sample(&self, now: std::time::Instant) {
        self.sampler.sample(now, || Readings {
            commands: self.sum(|shard| &shard.commands_processed),
            input_bytes: self.sum(|shard| &shard.network_input_bytes),
            output_bytes: self.sum(|shard| &shard.network_output_bytes),
        });
    }

    /// CONFIG RESETSTAT: forgets all counts. The slow log and the latency events have commands of their own for that.
    pub fn reset(&self) {
        let mut baseline = self.baseline.write();
        let mut present = new_shard(self.commands);
        for shard in self.all_shards() {
            present.merge(shard);
        }
        present.changes = Counter::default();
        **baseline = present;
        drop(baseline);
        self.errors.reset();
        self.sampler.reset();
    }
}

fn new_shard(commands: usize) -> Shard {
    let commands = std::iter::repeat_with(CommandCounters::default).take(commands).collect();
    Shard { commands, ..Shard::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_and_reset_clears_all() {
        let stats = Stats::new(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    stats.shard().keyspace_hits.add(1);
                    stats.count(|shard| &shard.keyspace_hits);
                    stats.command(1).unwrap().calls.add(1);
                });
            }
        });
        assert_eq!(stats.sum(|shard| &shard.keyspace_hits), 6);
        assert_eq!(stats.sum_command(1, |command| &command.calls), 3);
        assert!(stats.command(2).is_none());
        stats.record(1, 5_000, true, true);
        assert_eq!(stats.latencies(1).unwrap().total(), 1);
        stats.shard().changes.add(1);
        stats.reset();
        assert!(stats.latencies(1).is_none());
        assert_eq!(stats.sum(|shard| &shard.changes), 1);
        stats.record(1, 7_000, false, true);
        let command = |counter: fn(&CommandCounters) -> &Counter| stats.sum_command(1, counter);
        assert_eq!((command(|c| &c.calls), command(|c| &c.failed), command(|c| &c.duration_ns)), (1, 0, 7_000));
        assert_eq!(stats.latencies(1).unwrap().cumulative_us(), [(8, 1)]);
        stats.reset();
        assert_eq!(stats.sum(|shard| &shard.keyspace_hits) + stats.sum_command(1, |command| &command.calls), 0);
    }
}

//! Counters. INFO, `/status` and `/metrics` only render them.
//!
//! Each thread writes its own shard, so that counting costs no shared cache line; readers sum the shards.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::base::thread;

const SHARDS: usize = 64;

#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
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
            fn reset(&self) {
                $(self.$name.reset();)*
                for command in &self.commands {
                    command.reset();
                }
            }
        }
    };
}

shard! {
    connections_received,
    /// Refused for `maxclients` or protected mode.
    connections_rejected,
    commands_processed,
    /// Complete batches executed; with `commands_processed` the mean batch size.
    batches,
    network_input_bytes,
    network_output_bytes,
    error_replies,
    keyspace_hits,
    keyspace_misses,
    expired_keys,
    /// Active expiry cycles that ran out of their time budget.
    expire_cycles_capped,
    evicted_keys,
    /// Microseconds with memory over `maxmemory`.
    eviction_exceeded_us,
    clients_cut_for_output,
    clients_cut_for_input,
    /// Changes to keys.
    changes,
}

/// What INFO's commandstats tells of one command.
#[derive(Default)]
pub struct CommandCounters {
    pub calls: Counter,
    pub duration_us: Counter,
    /// Refused before execution.
    pub rejected: Counter,
    /// Answered with an error by the command itself.
    pub failed: Counter,
}

impl CommandCounters {
    fn reset(&self) {
        self.calls.reset();
        self.duration_us.reset();
        self.rejected.reset();
        self.failed.reset();
    }
}

pub struct Stats {
    shards: Box<[CachePadded<Shard>]>,
}

impl Stats {
    /// `commands`: how many entries the command table has.
    pub fn new(commands: usize) -> Stats {
        let shard = || {
            let commands = std::iter::repeat_with(CommandCounters::default).take(commands).collect();
            CachePadded::new(Shard { commands, ..Shard::default() })
        };
        Stats { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }

    /// This thread's shard.
    #[inline]
    pub fn shard(&self) -> &Shard {
        &self.shards[thread::index() % SHARDS]
    }

    /// The counter of all threads together, for example `stats.sum(|shard| &shard.keyspace_hits)`.
    pub fn sum(&self, counter: impl Fn(&Shard) -> &Counter) -> u64 {
        self.shards.iter().map(|shard| counter(shard).get()).sum()
    }

    /// This thread's counters of the command with that index in the table.
    #[inline]
    pub fn command(&self, index: usize) -> Option<&CommandCounters> {
        self.shard().commands.get(index)
    }

    /// A command's counter of all threads together.
    pub fn sum_command(&self, index: usize, counter: impl Fn(&CommandCounters) -> &Counter) -> u64 {
        self.shards.iter().filter_map(|shard| shard.commands.get(index)).map(|command| counter(command).get()).sum()
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for shard in &self.shards {
            shard.reset();
        }
    }
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
                    stats.shard().keyspace_hits.add(2);
                    stats.command(1).unwrap().calls.add(1);
                });
            }
        });
        assert_eq!(stats.sum(|shard| &shard.keyspace_hits), 6);
        assert_eq!(stats.sum_command(1, |command| &command.calls), 3);
        assert!(stats.command(2).is_none());
        stats.reset();
        assert_eq!(stats.sum(|shard| &shard.keyspace_hits) + stats.sum_command(1, |command| &command.calls), 0);
    }
}

//! INFO's sections on the disk: Redis's names in the first, what only Rockpool has in the second.

use super::lines::{line, lines};
use crate::command::context::Context;
use crate::stats::{Counter, Distribution, Histogram};

pub fn persistence(context: &Context<'_>, text: &mut String) {
    let state = context.state;
    let tier = state.keyspace.tier();
    let saves = tier.map(|tier| tier.saves.state()).unwrap_or_default();
    let status = |failed: bool| if failed { "err" } else { "ok" };
    lines!(text,
        "loading": 0,
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": "0.00",
        "current_save_keys_processed": 0,
        "current_save_keys_total": 0,
        "rdb_changes_since_last_save": state.stats.sum(|shard| &shard.changes),
        "rdb_bgsave_in_progress": u8::from(saves.is_running),
        "rdb_last_save_time": state.last_save_s(),
        "rdb_last_bgsave_status": status(saves.last_error.is_some()),
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        "rdb_saves": saves.count,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_last_load_keys_loaded": 0,
        "aof_enabled": u8::from(tier.is_some_and(|tier| tier.is_journaling())),
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": status(tier.is_some_and(|tier| tier.has_failed())),
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    );
}

/// The state of the memory tier over the disk. Latencies are in microseconds.
pub fn tiering(context: &Context<'_>, text: &mut String) {
    let state = context.state;
    let Some(merging) = state.keyspace.merging() else {
        line(text, "engine", "memory");
        return;
    };
    let tier = merging.tier;
    let keys = state.keyspace.total_keys();
    let cold = state.keyspace.cold_keys();
    let (dirty_keys, dirty_bytes) = state.keyspace.dirty();
    let journal = tier.opened_journal().map(|journal| journal.status()).unwrap_or_default();
    let rocks = tier.store.status();
    let (counters, loader) = (&tier.counters, &state.keyspace.loader);
    let hits = state.stats.sum(|shard| &shard.keyspace_hits);
    let from_disk = counters.cached.get() + loader.found.get();
    let ratio = |sum: &Counter, count: &Counter| sum.get() as f64 / count.get().max(1) as f64;
    lines!(text,
        "engine": "rocksdb",
        "total_keys": keys,
        "resident_keys": keys.saturating_sub(cold),
        "dirty_keys": dirty_keys,
        "dirty_bytes": dirty_bytes,
        "demoted_keys": state.stats.sum(|shard| &shard.demoted_keys),
        "hits_memory": hits.saturating_sub(from_disk),
        "hits_disk_cached": counters.cached.get(),
        "hits_disk": loader.found.get(),
        "misses_by_filter": counters.absent.get(),
        "misses": state.stats.sum(|shard| &shard.keyspace_misses),
        "loads": loader.reads.get(),
        "loaded_keys": loader.keys.get(),
        "load_batch_mean": format_args!("{:.1}", ratio(&loader.keys, &loader.reads)),
        "load_latency_usec": percentiles(&loader.latencies),
        // Asked after `dirty_keys`: a round takes those away before it has written them.
        "merge_in_progress": u8::from(merging.merger.is_merging()),
        "merge_rounds": counters.rounds.get(),
        "merged_entries": counters.merged_entries.get(),
        "merge_batch_mean": format_args!("{:.1}", ratio(&counters.merged_entries, &counters.rounds)),
        "merge_tables": rocks.tables_made,
        "merge_latency_usec": percentiles(&counters.round_latencies),
        "disk_limit_bytes": state.settings.maxdisk.get(),
        "disk_used_bytes": merging.merger.space.used_bytes(),
        "disk_live_bytes": merging.live_disk_bytes(),
        "disk_excess_bytes": merging.excess_bytes(),
        "disk_is_compacting": u8::from(merging.merger.space.is_compacting()),
        "disk_evicted_keys": merging.merger.space.evicted.get(),
        "disk_compaction_passes": merging.merger.space.passes.get(),
        "write_delays": counters.delays.get(),
        "write_stalls": counters.stalls.get(),
        "journal_bytes": journal.unreleased_bytes,
        "journal_disk_bytes": journal.bytes_on_disk,
        "journal_segments": journal.segments,
        "journal_blocks": journal.blocks_written,
        "journal_written_bytes": journal.bytes_written,
        "journal_write_mean_usec": mean_us(journal.write_latency.sum_us, journal.write_latency.count),
        "journal_syncs": journal.sync_latency.count,
        "journal_sync_mean_usec": mean_us(journal.sync_latency.sum_us, journal.sync_latency.count),
        "journal_sync_last_usec": journal.sync_latency.last_us,
        "journal_sync_max_usec": journal.sync_latency.max_us,
        "rocksdb_memtable_bytes": rocks.memtable_bytes,
        "rocksdb_cache_bytes": rocks.cache_bytes,
        "rocksdb_table_readers_bytes": rocks.table_readers_bytes,
        "rocksdb_sst_bytes": rocks.sst_bytes,
        "rocksdb_blob_bytes": rocks.blob_bytes,
        "rocksdb_compaction_debt_bytes": rocks.pending_compaction_bytes,
        "rocksdb_level_0_files": rocks.level_0_files,
        "rocksdb_is_write_stopped": u8::from(rocks.is_write_stopped),
        "rocksdb_background_errors": rocks.background_errors,
        "failure": tier.failure().unwrap_or_default(),
    );
}

fn mean_us(sum_us: u64, count: u64) -> u64 {
    sum_us.checked_div(count).unwrap_or(0)
}

/// As INFO gives those of commands.
fn percentiles(latencies: &Histogram) -> String {
    let mut distribution = Distribution::default();
    distribution.add(latencies);
    let value = |percentile: f64| distribution.percentile_ns(percentile) as f64 / 1000.0;
    format!("p50={:.3},p99={:.3},p99.9={:.3}", value(50.0), value(99.0), value(99.9))
}

//! `/metrics`: the counters, read when they are asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::failure::Failure;
use crate::base::memory;
use crate::command::state::State;
use crate::command::table::{Command, Table};
use crate::keyspace::{Size, table_strain};
use crate::stats::{CommandCounters, Counter};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers the metrics as OpenMetrics text.
pub async fn metrics(Shared(state): Shared<Arc<State>>) -> Result<Response, Failure> {
    let mut registry = Registry::with_prefix("rockpool");
    registry.register_collector(Box::new(Server(state)));
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

struct Server(Arc<State>);

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Server")
    }
}

impl Collector for Server {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let state = &*self.0;
        let mut page = Page(&mut encoder);
        page.about(state)?;
        page.traffic(state)?;
        page.keys(state)?;
        page.tiering(state)?;
        page.commands(state)
    }
}

/// Labels of one sample: a name and a value.
type Label<'a> = [(&'static str, &'a str); 1];

struct Page<'p, 'e>(&'p mut DescriptorEncoder<'e>);

impl Page<'_, '_> {
    fn about(&mut self, state: &State) -> fmt::Result {
        self.0
            .encode_descriptor("build", "The program.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        let uptime = state.started.elapsed().as_secs_f64();
        self.0
            .encode_descriptor("uptime", "Time since the start.", Some(&Unit::Seconds), MetricType::Gauge)?
            .encode_gauge(&uptime)?;
        self.gauge("memory_used", "Memory allocated.", Some(Unit::Bytes), memory::used_bytes())?;
        self.gauge("memory_max", "maxmemory; 0: no limit.", Some(Unit::Bytes), state.settings.maxmemory.get())
    }

    fn traffic(&mut self, state: &State) -> fmt::Result {
        let stats = &state.stats;
        self.gauge("connected_clients", "Clients of RESP and the TCP protocol.", None, state.clients.len() as u64)?;
        let active = state.active_workers.load(Ordering::Relaxed) as u64;
        self.gauge("workers_active", "Worker threads that serve them.", None, active)?;
        let max = state.settings.maxclients.get().max(0) as u64;
        self.gauge("connected_clients_max", "maxclients.", None, max)?;
        self.gauge("http_connections", "Connections of HTTP.", None, state.clients.http_len() as u64)?;
        let max = state.settings.http_maxclients.get().max(0) as u64;
        self.gauge("http_connections_max", "http-maxclients.", None, max)?;
        let received = stats.sum(|shard| &shard.connections_received);
        self.counter("connections", "Connections accepted.", None, received)?;
        let rejected = stats.sum(|shard| &shard.connections_rejected);
        self.counter("connections_rejected", "Connections sent away.", None, rejected)?;
        let wrong_passwords = stats.sum(|shard| &shard.wrong_passwords);
        self.counter("wrong_passwords", "Times a client gave a wrong password.", None, wrong_passwords)?;
        let moved = stats.sum(|shard| &shard.connections_moved);
        self.counter("connections_moved", "Times a connection went to another worker.", None, moved)?;
        let cut = stats.sum(|shard| &shard.clients_cut_for_input) + stats.sum(|shard| &shard.clients_cut_for_output);
        self.counter("clients_cut", "Clients cut for a buffer over its limit.", None, cut)?;
        let evicted = stats.sum(|shard| &shard.evicted_clients);
        self.counter("evicted_clients", "Clients cut for maxmemory-clients.", None, evicted)?;
        let input = stats.sum(|shard| &shard.network_input_bytes);
        self.counter("network_input", "Received by RESP and the TCP protocol.", Some(Unit::Bytes), input)?;
        let output = stats.sum(|shard| &shard.network_output_bytes);
        self.counter("network_output", "Sent by RESP and the TCP protocol.", Some(Unit::Bytes), output)?;
        let errors = stats.sum(|shard| &shard.error_replies);
        self.counter("error_replies", "Commands answered with an error.", None, errors)
    }

    fn keys(&mut self, state: &State) -> fmt::Result {
        let stats = &state.stats;
        let sizes: Vec<_> = (0..state.keyspace.databases())
            .map(|database| (database.to_string(), state.keyspace.size(database)))
            .filter(|(database, size)| size.keys > 0 || database == "0")
            .collect();
        let of = |value: fn(&Size) -> u64| {
            sizes.iter().map(move |(database, size)| ([("db", database.as_str())], value(size)))
        };
        self.gauges("keys", "Keys.", None, of(|size| size.keys))?;
        self.gauges("keys_expiring", "Keys that have an expiry.", None, of(|size| size.expiring))?;
        self.gauges("keys_size", "The lengths of all keys.", Some(Unit::Bytes), of(|size| size.key_bytes))?;
        self.gauges("values_size", "What all values hold.", Some(Unit::Bytes), of(|size| size.value_bytes))?;
        let hits = stats.sum(|shard| &shard.keyspace_hits);
        self.counter("keyspace_hits", "Keys looked up and found.", None, hits)?;
        let misses = stats.sum(|shard| &shard.keyspace_misses);
        self.counter("keyspace_misses", "Keys looked up and not found.", None, misses)?;
        let (longest_probe, overflowing) = table_strain();
        self.gauge(
            "table_longest_probe",
            "The most cells that adding a key has looked at.",
            None,
            longest_probe as u64,
        )?;
        self.gauge("table_overflow_keys", "Keys that found no cell in their slot's table.", None, overflowing)?;
        let expired = stats.sum(|shard| &shard.expired_keys);
        self.counter("expired_keys", "Keys deleted at their expiry.", None, expired)?;
        let capped = stats.sum(|shard| &shard.expire_cycles_capped);
        self.counter("expire_cycles_capped", "Expiry cycles that ran out of time.", None, capped)?;
        let evicted = stats.sum(|shard| &shard.evicted_keys);
        self.counter("evicted_keys", "Keys that had to go for memory, or disk.", None, evicted)?;
        let changes = stats.sum(|shard| &shard.changes);
        self.counter("changes", "Changes to keys.", None, changes)
    }

    /// What moves between memory and disk; nothing with the memory engine.
    fn tiering(&mut self, state: &State) -> fmt::Result {
        let Some(tier) = state.keyspace.tier() else { return Ok(()) };
        let (dirty_keys, dirty_bytes) = state.keyspace.dirty();
        let keys: u64 = (0..state.keyspace.databases()).map(|database| state.keyspace.len(database)).sum();
        let resident = keys.saturating_sub(state.keyspace.cold_keys());
        let journal = tier.opened_journal().map(|journal| journal.status()).unwrap_or_default();
        let rocks = tier.store.status();
        let (counters, loader) = (&tier.counters, &state.keyspace.loader);
        self.gauge("keys_resident", "Keys in memory.", None, resident)?;
        self.gauge("keys_dirty", "Keys that differ from the disk.", None, dirty_keys)?;
        self.gauge("dirty", "What those take.", Some(Unit::Bytes), dirty_bytes)?;
        let demoted = state.stats.sum(|shard| &shard.demoted_keys);
        self.counter("demoted_keys", "Keys that left memory and stayed on disk.", None, demoted)?;
        self.counter("hits_cached", "Cold keys found in RocksDB's memory.", None, counters.cached.get())?;
        self.counter("hits_disk", "Cold keys read from disk.", None, loader.found.get())?;
        self.counter("misses_filtered", "Misses answered by filters.", None, counters.absent.get())?;
        self.counter("loads", "Reads of cold keys, each of many.", None, loader.reads.get())?;
        self.counter("loaded_keys", "Cold keys read for.", None, loader.keys.get())?;
        self.counter("merge_rounds", "Rounds that brought changes to disk.", None, counters.rounds.get())?;
        self.counter("merged_entries", "Entries they wrote.", None, counters.merged_entries.get())?;
        self.counter("merge_tables", "Rounds that RocksDB took as a table.", None, rocks.tables_made)?;
        self.counter("write_delays", "Turns that waited a little for the disk.", None, counters.delays.get())?;
        self.counter("write_stalls", "Turns that found the disk too far behind.", None, counters.stalls.get())?;
        self.gauge("disk_max", "maxdisk; 0: no limit.", Some(Unit::Bytes), state.settings.maxdisk.get())?;
        let space = &state.keyspace.merger.space;
        let used = space.used_bytes();
        self.gauge("disk_used", "What counts towards maxdisk; 0: no limit.", Some(Unit::Bytes), used)?;
        let live = state.keyspace.merging().map_or(0, |merging| merging.live_disk_bytes());
        self.gauge("disk_live", "Of that, about what keys take that are there.", Some(Unit::Bytes), live)?;
        self.counter("disk_evicted_keys", "Keys deleted to stay within maxdisk.", None, space.evicted.get())?;
        self.counter("disk_passes", "Compactions made to stay within maxdisk.", None, space.passes.get())?;
        self.gauge("journal", "What a replay would read.", Some(Unit::Bytes), journal.unreleased_bytes)?;
        self.counter("journal_blocks", "Blocks written.", None, journal.blocks_written)?;
        self.counter("journal_written", "Bytes written.", Some(Unit::Bytes), journal.bytes_written)?;
        for (name, help, latency) in [
            ("journal_write", "Time spent writing the journal.", journal.write_latency),
            ("journal_sync", "Time spent syncing the journal.", journal.sync_latency),
        ] {
            let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
            family.encode_counter::<NoLabelSet, _, f64>(&(latency.sum_us as f64 / 1e6), None)?;
        }
        self.counter("journal_syncs", "Syncs of the journal.", None, journal.sync_latency.count)?;
        self.gauge("rocksdb_memtable", "RocksDB's write buffers.", Some(Unit::Bytes), rocks.memtable_bytes)?;
        self.gauge("rocksdb_cache", "RocksDB's block cache.", Some(Unit::Bytes), rocks.cache_bytes)?;
        self.gauge("rocksdb_sst", "Live table files.", Some(Unit::Bytes), rocks.sst_bytes)?;
        self.gauge("rocksdb_blob", "Live blob files.", Some(Unit::Bytes), rocks.blob_bytes)?;
        let debt = rocks.pending_compaction_bytes;
        self.gauge("rocksdb_compaction_debt", "What compactions have to rewrite.", Some(Unit::Bytes), debt)?;
        self.gauge("rocksdb_level_0_files", "Tables that wait for compaction.", None, rocks.level_0_files)?;
        self.gauge("rocksdb_write_stopped", "1: RocksDB takes no writes.", None, u64::from(rocks.is_write_stopped))?;
        self.gauge("disk_failed", "1: the disk does not take writes.", None, u64::from(tier.has_failed()))
    }

    fn commands(&mut self, state: &State) -> fmt::Result {
        let stats = &state.stats;
        let seen: Vec<_> = Table::get()
            .commands()
            .iter()
            .filter(|command| {
                let executed = stats.sum_command(command.index, |counters| &counters.calls);
                executed + stats.sum_command(command.index, |counters| &counters.rejected) > 0
            })
            .collect();
        let of = |counter: fn(&CommandCounters) -> &Counter| {
            let sample = move |command: &&'static Command| {
                ([("command", command.full_name.as_str())], stats.sum_command(command.index, counter))
            };
            seen.iter().map(sample)
        };
        self.counters("commands", "Commands executed.", None, of(|counters| &counters.calls))?;
        self.counters("commands_failed", "Commands that failed.", None, of(|counters| &counters.failed))?;
        self.counters("commands_rejected", "Commands not executed.", None, of(|counters| &counters.rejected))?;
        let seconds = of(|counters| &counters.duration_ns).map(|(label, ns)| (label, ns as f64 / 1e9));
        self.counters("command_duration", "Time spent in commands.", Some(Unit::Seconds), seconds)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<Unit>, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?.encode_gauge(&(value as f64))
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<Unit>, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl Iterator<Item = (Label<'a>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (label, value) in samples {
            family.encode_family(&label)?.encode_gauge(&(value as f64))?;
        }
        Ok(())
    }

    fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl Iterator<Item = (Label<'a>, impl EncodeCounterValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (label, value) in samples {
            family.encode_family(&label)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }
}

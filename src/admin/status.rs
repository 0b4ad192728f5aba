//! What the node is and how it does, as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;

use crate::base::memory;
use crate::command::state::State;
use crate::config::Options;
use crate::keyspace::Size;

/// The first three fields have the names, and the meaning, of the cache server in Hu Shijie's *Distributed Cache*.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Keys in all databases.
    count: u64,
    /// The lengths of all keys together, in bytes.
    key_size: u64,
    /// What all values hold together, in bytes.
    value_size: u64,
    /// Keys that have an expiry.
    expiring: u64,
    /// `rocksdb` or `memory`.
    engine: &'static str,
    /// Keys that differ from the disk, and about how many bytes they take; 0 with the memory engine.
    dirty: u64,
    dirty_size: u64,
    /// What a replay of the journal would read, in bytes.
    journal_size: u64,
    /// Keys that left memory and stayed on disk.
    demoted: u64,
    /// What the data directory takes, in bytes, and `maxdisk`; both 0: no limit.
    used_disk: u64,
    max_disk: u64,
    /// Keys deleted for their age, to stay within `maxdisk`.
    evicted_from_disk: u64,
    /// Why the disk takes no writes; empty: it does.
    disk_failure: String,
    /// Memory allocated, in bytes.
    used_memory: u64,
    /// `maxmemory`, in bytes; 0: no limit.
    max_memory: u64,
    /// Clients of RESP and the plain TCP protocol.
    connected_clients: usize,
    commands_processed: u64,
    hits: u64,
    misses: u64,
    expired: u64,
    evicted: u64,
    uptime_seconds: u64,
    version: &'static str,
}

/// What all databases hold.
fn total(state: &State) -> Size {
    (0..state.keyspace.databases()).map(|database| state.keyspace.size(database)).fold(Size::default(), |sum, size| {
        Size {
            keys: sum.keys + size.keys,
            expiring: sum.expiring + size.expiring,
            key_bytes: sum.key_bytes + size.key_bytes,
            value_bytes: sum.value_bytes + size.value_bytes,
        }
    })
}

/// Answers sizes and counters as JSON.
pub async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    let size = total(&state);
    let tier = state.keyspace.tier();
    let (dirty, dirty_size) = state.keyspace.dirty();
    let journal = tier.and_then(|tier| tier.opened_journal());
    Json(Status {
        count: size.keys,
        key_size: size.key_bytes,
        value_size: size.value_bytes,
        expiring: size.expiring,
        engine: state.settings.r#type.get().name(),
        dirty,
        dirty_size,
        journal_size: journal.map_or(0, |journal| journal.unreleased_bytes()),
        demoted: state.stats.sum(|shard| &shard.demoted_keys),
        used_disk: state.keyspace.merger.space.used_bytes(),
        max_disk: state.settings.maxdisk.get(),
        evicted_from_disk: state.keyspace.merger.space.evicted.get(),
        disk_failure: tier.and_then(|tier| tier.failure()).unwrap_or_default(),
        used_memory: memory::used_bytes(),
        max_memory: state.settings.maxmemory.get(),
        connected_clients: state.clients.len(),
        commands_processed: state.stats.sum(|shard| &shard.commands_processed),
        hits: state.stats.sum(|shard| &shard.keyspace_hits),
        misses: state.stats.sum(|shard| &shard.keyspace_misses),
        expired: state.stats.sum(|shard| &shard.expired_keys),
        evicted: state.stats.sum(|shard| &shard.evicted_keys),
        uptime_seconds: state.started.elapsed().as_secs(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// The members' addresses: this node alone.
pub async fn cluster(Shared(state): Shared<Arc<State>>) -> Json<Vec<String>> {
    let node = state.settings.node.get();
    let address = if node.is_empty() {
        let bind = state.settings.bind.get();
        bind.first().map_or(String::new(), |first| first.trim_start_matches('-').to_owned())
    } else {
        node.to_string()
    };
    Json(vec![address])
}

/// A node that is alone holds every key it should.
pub async fn rebalance() -> StatusCode {
    StatusCode::OK
}

/// Answers whether the node serves: 200, or 503.
pub async fn health(Shared(state): Shared<Arc<State>>) -> (StatusCode, &'static str) {
    if state.is_shutting_down() { (StatusCode::SERVICE_UNAVAILABLE, "ending\n") } else { (StatusCode::OK, "ok\n") }
}

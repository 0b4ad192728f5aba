//! `/metrics`: the counters, read when they are asked for.

use std::fmt;
use std::sync::Arc;

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
use crate::keyspace::{DATABASES, Size};
use crate::stats::{CommandCounters, Counter};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
        let max = state.settings.maxclients.get().max(0) as u64;
        self.gauge("connected_clients_max", "maxclients.", None, max)?;
        let received = stats.sum(|shard| &shard.connections_received);
        self.counter("connections", "Connections accepted.", None, received)?;
        let rejected = stats.sum(|shard| &shard.connections_rejected);
        self.counter("connections_rejected", "Connections sent away.", None, rejected)?;
        let cut = stats.sum(|shard| &shard.clients_cut_for_input) + stats.sum(|shard| &shard.clients_cut_for_output);
        self.counter("clients_cut", "Clients cut for a buffer over its limit.", None, cut)?;
        let input = stats.sum(|shard| &shard.network_input_bytes);
        self.counter("network_input", "Received by RESP and the TCP protocol.", Some(Unit::Bytes), input)?;
        let output = stats.sum(|shard| &shard.network_output_bytes);
        self.counter("network_output", "Sent by RESP and the TCP protocol.", Some(Unit::Bytes), output)?;
        let errors = stats.sum(|shard| &shard.error_replies);
        self.counter("error_replies", "Commands answered with an error.", None, errors)
    }

    fn keys(&mut self, state: &State) -> fmt::Result {
        let stats = &state.stats;
        let sizes: Vec<_> = (0..DATABASES)
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
        let expired = stats.sum(|shard| &shard.expired_keys);
        self.counter("expired_keys", "Keys deleted at their expiry.", None, expired)?;
        let capped = stats.sum(|shard| &shard.expire_cycles_capped);
        self.counter("expire_cycles_capped", "Expiry cycles that ran out of time.", None, capped)?;
        let evicted = stats.sum(|shard| &shard.evicted_keys);
        self.counter("evicted_keys", "Keys that had to go for memory.", None, evicted)?;
        let changes = stats.sum(|shard| &shard.changes);
        self.counter("changes", "Changes to keys.", None, changes)
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

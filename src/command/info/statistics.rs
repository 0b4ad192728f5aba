//! INFO's sections that have a line for each command, code word or database.

use std::fmt::Write;

use crate::command::context::Context;
use crate::command::table::Table;

pub fn command_statistics(context: &Context<'_>, text: &mut String) {
    let stats = &context.state.stats;
    for command in Table::get().commands() {
        let calls = stats.sum_command(command.index, |counters| &counters.calls);
        let rejected = stats.sum_command(command.index, |counters| &counters.rejected);
        let failed = stats.sum_command(command.index, |counters| &counters.failed);
        if calls + rejected + failed == 0 {
            continue;
        }
        let duration_us = stats.sum_command(command.index, |counters| &counters.duration_ns) as f64 / 1000.0;
        let _ = write!(
            text,
            "cmdstat_{}:calls={calls},usec={duration_us:.0},usec_per_call={:.2},rejected_calls={rejected},\
             failed_calls={failed}\r\n",
            command.full_name,
            duration_us / calls.max(1) as f64
        );
    }
}

pub fn error_statistics(context: &Context<'_>, text: &mut String) {
    for (code, count) in context.state.stats.errors.all() {
        let safe: Vec<u8> =
            code.iter().map(|byte| if matches!(byte, b'#' | b':' | b'\r' | b'\n') { b'_' } else { *byte }).collect();
        let _ = write!(text, "errorstat_{}:count={count}\r\n", String::from_utf8_lossy(&safe));
    }
}

pub fn latency_statistics(context: &Context<'_>, text: &mut String) {
    let settings = &context.state.settings;
    if !settings.latency_tracking.get() {
        return;
    }
    let percentiles = settings.latency_tracking_info_percentiles.get();
    for command in Table::get().commands() {
        let Some(latencies) = context.state.stats.latencies(command.index) else { continue };
        let values: Vec<String> = percentiles
            .iter()
            .map(|percentile| {
                let name = format!("{percentile:.6}");
                let name = name.trim_end_matches('0').trim_end_matches('.');
                format!("p{name}={:.3}", latencies.percentile_ns(*percentile) as f64 / 1000.0)
            })
            .collect();
        let _ = write!(text, "latency_percentiles_usec_{}:{}\r\n", command.full_name, values.join(","));
    }
}

pub fn keyspace(context: &Context<'_>, text: &mut String) {
    for number in 0..context.keyspace().databases() {
        let (keys, expires) = (context.keyspace().len(number), context.keyspace().expiring(number));
        if keys == 0 {
            continue;
        }
        let average_ttl_ms = match expires {
            0 => 0,
            _ => context.keyspace().average_ttl_ms(context.caller(), number),
        };
        let _ = write!(text, "db{number}:keys={keys},expires={expires},avg_ttl={average_ttl_ms}\r\n");
    }
}

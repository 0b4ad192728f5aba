//! For people.

use std::io::{self, Write};

use super::{Latency, Summary};

/// Writes what the book's tool does, and what it does not.
pub fn write(summary: &Summary, output: &mut impl Write) -> io::Result<()> {
    let Summary { reads, writes, .. } = summary;
    writeln!(output, "{} requests in {:.3} s", summary.requests, summary.elapsed_s)?;
    writeln!(
        output,
        "{:.0} requests a second, {:.3} MB of values a second",
        summary.requests_per_s, summary.megabytes_per_s
    )?;
    if reads.requests > 0 {
        writeln!(output, "{} read: {} hits, {} misses", reads.requests, summary.hits, summary.misses)?;
    }
    if writes.requests > 0 {
        writeln!(output, "{} written", writes.requests)?;
    }
    writeln!(output, "client: {:.3} µs of CPU time a request", summary.client_cpu_us_per_request)?;
    if let Some(rate) = summary.plan.rate_per_s {
        writeln!(
            output,
            "open loop at {rate} requests a second: at most {:.1} µs behind, {} not sent before the end",
            summary.behind_max_us, summary.unsent
        )?;
    }
    if summary.redirections > 0 || summary.lost_connections > 0 {
        writeln!(output, "{} redirections, {} lost connections", summary.redirections, summary.lost_connections)?;
    }
    let sides = [("reads", reads), ("writes", writes)];
    let latencies = sides.map(|(name, side)| side.latency_us.map(|latency| (name, latency)));
    if latencies.iter().any(Option::is_some) {
        writeln!(
            output,
            "\n{:<8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "µs", "min", "mean", "p50", "p90", "p95", "p99", "p99.9", "p99.99", "max"
        )?;
    }
    for (name, latency) in latencies.into_iter().flatten() {
        let Latency { min, mean, p50, p90, p95, p99, p99_9, p99_99, max, .. } = latency;
        write!(output, "{name:<8}")?;
        for figure in [min, mean, p50, p90, p95, p99, p99_9, p99_99, max] {
            write!(output, "{figure:>10.1}")?;
        }
        writeln!(output)?;
    }
    if let Some(first) = &summary.first_error {
        writeln!(output, "\n{} ERRORS, the first: {first}", summary.errors)?;
    }
    if let Some(first) = &summary.first_mismatch {
        writeln!(output, "\n{} WRONG VALUES, the first under the key {first}", summary.mismatches)?;
    }
    Ok(())
}

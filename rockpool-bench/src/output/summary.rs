//! The figures of an outcome: what JSON shows as it is, and all other forms pick from.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{Outcome, Plan, Side};

const NS_PER_US: f64 = 1e3;

/// The figures of an outcome. Times are in the unit that the name ends with.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What was asked for.
    pub plan: Plan,
    /// How long it took.
    pub elapsed_s: f64,
    /// Answered without an error.
    pub requests: u64,
    /// Requests answered each second, errors excluded.
    pub requests_per_s: f64,
    /// Of values, read and written, in millions.
    pub megabytes_per_s: f64,
    /// GET.
    pub reads: SideSummary,
    /// SET, and what a trace deletes.
    pub writes: SideSummary,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Requests that were answered with an error or not at all.
    pub errors: u64,
    /// The first error, in the server's words.
    pub first_error: Option<String>,
    /// Values that differ from what was expected; counted only with `--verify`.
    pub mismatches: u64,
    /// The first key that had one.
    pub first_mismatch: Option<String>,
    /// MOVED and ASK that were followed.
    pub redirections: u64,
    /// Connections that broke or were closed.
    pub lost_connections: u64,
    /// Open loop: how late a request was sent at most.
    pub behind_max_us: f64,
    /// Open loop, by time: requests that were due and could not be sent before the end.
    pub unsent: u64,
    /// CPU time of the client, user and system.
    pub client_cpu_s: f64,
    /// The same for one request.
    pub client_cpu_us_per_request: f64,
}

/// Requests of one kind that were answered, errors excluded.
#[derive(Clone, Debug, Serialize)]
pub struct SideSummary {
    /// How many.
    pub requests: u64,
    /// The sum of their values.
    pub bytes: u64,
    /// None without requests.
    pub latency_us: Option<Latency>,
}

/// In microseconds, one part in a thousand exact.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The shortest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation.
    pub standard_deviation: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p99_9: f64,
    /// The 99.99th percentile.
    pub p99_99: f64,
    /// The longest.
    pub max: f64,
}

impl Summary {
    /// Computes the figures of an outcome.
    pub fn new(plan: &Plan, outcome: &Outcome) -> Summary {
        let bytes = outcome.reads.bytes + outcome.writes.bytes;
        Summary {
            plan: plan.clone(),
            elapsed_s: outcome.elapsed.as_secs_f64(),
            requests: outcome.requests(),
            requests_per_s: outcome.requests_per_s(),
            megabytes_per_s: bytes as f64 / 1e6 / outcome.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            reads: SideSummary::new(&outcome.reads),
            writes: SideSummary::new(&outcome.writes),
            hits: outcome.hits,
            misses: outcome.misses,
            errors: outcome.errors,
            first_error: outcome.first_error.clone(),
            mismatches: outcome.mismatches,
            first_mismatch: outcome.first_mismatch.clone(),
            redirections: outcome.redirections,
            lost_connections: outcome.lost_connections,
            behind_max_us: outcome.behind_max.as_secs_f64() * 1e6,
            unsent: outcome.unsent,
            client_cpu_s: outcome.client_cpu.as_secs_f64(),
            client_cpu_us_per_request: outcome.client_cpu_us_per_request(),
        }
    }
}

impl SideSummary {
    fn new(side: &Side) -> SideSummary {
        SideSummary { requests: side.requests, bytes: side.bytes, latency_us: Latency::new(&side.latency) }
    }
}

impl Latency {
    /// From nanoseconds.
    fn new(histogram: &Histogram<u64>) -> Option<Latency> {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / NS_PER_US;
        (!histogram.is_empty()).then(|| Latency {
            min: histogram.min() as f64 / NS_PER_US,
            mean: histogram.mean() / NS_PER_US,
            standard_deviation: histogram.stdev() / NS_PER_US,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / NS_PER_US,
        })
    }
}

//! What came of a load.

use std::time::Duration;

use hdrhistogram::Histogram;

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the first request until the last reply, or until the end of the time that requests were sent for, if that is later.
    pub elapsed: Duration,
    /// GET.
    pub reads: Side,
    /// SET, and what a trace deletes.
    pub writes: Side,
    /// Reads that found a value.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Requests that were answered with an error or not at all.
    pub errors: u64,
    /// The first error, in the server's words.
    pub first_error: Option<String>,
    /// Values that differ from what is written under their keys; counted only with `verify`.
    pub mismatches: u64,
    /// The first key that had one.
    pub first_mismatch: Option<String>,
    /// MOVED and ASK that were followed.
    pub redirections: u64,
    /// Connections that broke, or that the server closed; they are opened again when they are needed.
    pub lost_connections: u64,
    /// Open loop: how late the latest request was sent, the time that it was due subtracted.
    pub behind_max: Duration,
    /// Open loop, by time: requests that were due and could not be sent before the end.
    pub unsent: u64,
    /// CPU time of the threads that made the load, user and system.
    pub client_cpu: Duration,
}

/// Requests of one kind that were answered, errors excluded.
#[derive(Clone, Debug)]
pub struct Side {
    /// Answered without an error.
    pub requests: u64,
    /// Of values.
    pub bytes: u64,
    /// Nanoseconds from when a request was sent (closed loop) or due (open loop) until its reply was read.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// Requests that were answered, errors excluded.
    pub fn requests(&self) -> u64 {
        self.reads.requests + self.writes.requests
    }

    /// Requests answered each second, errors excluded.
    pub fn requests_per_s(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The generator's own CPU time for each request, in microseconds.
    pub fn client_cpu_us_per_request(&self) -> f64 {
        self.client_cpu.as_secs_f64() * 1e6 / (self.requests() + self.errors).max(1) as f64
    }

    /// Whether every request was answered without an error, and no value was wrong.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.mismatches == 0
    }
}

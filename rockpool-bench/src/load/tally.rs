//! What one thread counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::outcome::{Outcome, Side};
use super::requests::{KeyNames, Request};
use super::values::Values;
use crate::wire::{Kind, MANY_KEYS, Reply};

/// The longest latency that is told from longer ones: an hour.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// One part in a thousand.
const LATENCY_DIGITS: u8 = 3;

/// What a thread shows of itself while it runs.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Answered without an error.
    pub requests: AtomicU64,
    /// Errors.
    pub errors: AtomicU64,
    /// Wrong values.
    pub mismatches: AtomicU64,
    /// How late the next request is, in nanoseconds.
    pub behind_ns: AtomicU64,
}

/// What one thread counts.
#[derive(Debug)]
pub struct Tally {
    outcome: Outcome,
    /// Replies of a batch that came together have the same latency: they are recorded at once.
    run: Run,
    /// Nanoseconds since the start.
    last_reply: Option<u64>,
    expected: Option<Arc<Values>>,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Run {
    is_read: bool,
    latency: u64,
    count: u64,
}

impl Tally {
    /// `expected`: the values to compare with, if any.
    pub fn new(expected: Option<Arc<Values>>) -> Tally {
        Tally { outcome: Outcome::empty(), run: Run::default(), last_reply: None, expected, key: Vec::new() }
    }

    /// Counts the reply to `request`, which waited since `since` and was read at `now`.
    #[inline]
    pub fn reply(&mut self, request: &Request, reply: &Reply, since: u64, now: u64, names: &KeyNames) {
        self.last_reply = Some(now);
        let outcome = &mut self.outcome;
        let is_read = matches!(request.kind, Kind::Get | Kind::GetMany);
        match (is_read, reply) {
            (true, Reply::Value(value)) => {
                outcome.hits += 1;
                outcome.reads.bytes += value.len() as u64;
                if let Some(values) = &self.expected {
                    names.write(request.key, &mut self.key);
                    if !values.is_right(&self.key, value) {
                        outcome.mismatches += 1;
                        let key = &self.key;
                        outcome.first_mismatch.get_or_insert_with(|| key.escape_ascii().to_string());
                    }
                }
            }
            (true, Reply::Values { found, bytes, missing }) => {
                outcome.hits += found;
                outcome.misses += missing;
                outcome.reads.bytes += bytes;
            }
            (true, Reply::Missing) => outcome.misses += 1,
            (false, Reply::Done) if request.kind == Kind::SetMany => {
                outcome.writes.bytes += (request.bytes * MANY_KEYS) as u64;
            }
            (false, Reply::Done) => outcome.writes.bytes += request.bytes as u64,
            (_, Reply::Failed(text)) => return self.error(|| String::from_utf8_lossy(text).into_owned()),
            (_, other) => return self.error(|| format!("{:?} was answered with {other:?}", request.kind)),
        }
        let latency = now.saturating_sub(since);
        if self.run.is_read != is_read || self.run.latency != latency {
            self.record_run();
            self.run = Run { is_read, latency, count: 0 };
        }
        self.run.count += 1;
    }

    fn record_run(&mut self) {
        let Run { is_read, latency, count } = std::mem::take(&mut self.run);
        if count > 0 {
            let side = if is_read { &mut self.outcome.reads } else { &mut self.outcome.writes };
            side.requests += count;
            side.latency.saturating_record_n(latency, count);
        }
    }

    /// Counts a request that failed.
    #[cold]
    pub fn error(&mut self, text: impl FnOnce() -> String) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(text);
    }

    /// Counts a MOVED or ASK that is followed.
    pub fn redirection(&mut self) {
        self.outcome.redirections += 1;
    }

    /// Counts a connection that broke or was closed.
    pub fn lost_connection(&mut self) {
        self.outcome.lost_connections += 1;
    }

    /// A request was sent so many nanoseconds after it was due.
    pub fn sent_late(&mut self, by: u64) {
        self.outcome.behind_max = self.outcome.behind_max.max(Duration::from_nanos(by));
    }

    /// When the last reply came.
    pub fn last_reply(&self) -> Option<u64> {
        self.last_reply
    }

    /// Copies the counts to `gauge`; `behind` is in nanoseconds.
    pub fn show(&self, gauge: &Gauge, behind: u64) {
        let outcome = &self.outcome;
        let requests = outcome.requests() + self.run.count;
        gauge.requests.store(requests, Relaxed);
        gauge.errors.store(outcome.errors, Relaxed);
        gauge.mismatches.store(outcome.mismatches, Relaxed);
        gauge.behind_ns.store(behind, Relaxed);
    }

    /// What was counted; it begins anew.
    pub fn finish(&mut self, elapsed: Duration, unsent: u64, client_cpu: Duration) -> Outcome {
        self.record_run();
        Outcome { elapsed, unsent, client_cpu, ..std::mem::replace(&mut self.outcome, Outcome::empty()) }
    }
}

impl Outcome {
    /// Of no requests at all.
    pub fn empty() -> Outcome {
        Outcome {
            elapsed: Duration::ZERO,
            reads: Side::empty(),
            writes: Side::empty(),
            hits: 0,
            misses: 0,
            errors: 0,
            first_error: None,
            mismatches: 0,
            first_mismatch: None,
            redirections: 0,
            lost_connections: 0,
            behind_max: Duration::ZERO,
            unsent: 0,
            client_cpu: Duration::ZERO,
        }
    }

    /// Takes in what another thread has counted meanwhile.
    pub fn merge(&mut self, other: Outcome) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.reads.merge(&other.reads);
        self.writes.merge(&other.writes);
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.mismatches += other.mismatches;
        self.first_mismatch = self.first_mismatch.take().or(other.first_mismatch);
        self.redirections += other.redirections;
        self.lost_connections += other.lost_connections;
        self.behind_max = self.behind_max.max(other.behind_max);
        self.unsent += other.unsent;
        self.client_cpu += other.client_cpu;
    }
}

impl Side {
    fn empty() -> Side {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_NS, LATENCY_DIGITS)
            .expect("the bounds and the digits are constants that the histogram takes");
        Side { requests: 0, bytes: 0, latency }
    }

    fn merge(&mut self, other: &Side) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.latency.add(&other.latency).expect("all latencies have the same bounds");
    }
}

#[cfg(test)]
mod tests {
    use super::super::requests::Scatter;
    use super::*;

    #[test]
    fn replies_that_came_together_count_each() {
        let names = KeyNames::Numbered { prefix: b"k".to_vec(), digits: 2, scatter: Scatter::new(1) };
        let request = |kind| Request { kind, key: 1, bytes: 10, ttl_ms: None };
        let values = Values::new(1);
        let mut right = Vec::new();
        values.append(b"k01", 12, &mut right);
        let mut tally = Tally::new(Some(Arc::new(values)));
        for _ in 0..5 {
            tally.reply(&request(Kind::Set), &Reply::Done, 1_000, 3_000, &names);
        }
        tally.reply(&request(Kind::Get), &Reply::Value(&right), 1_000, 3_000, &names);
        tally.reply(&request(Kind::Get), &Reply::Value(b"something else"), 1_000, 5_000, &names);
        tally.reply(&request(Kind::Get), &Reply::Missing, 1_000, 6_000, &names);
        tally.reply(&request(Kind::Get), &Reply::Failed(b"ERR no"), 1_000, 7_000, &names);
        tally.reply(&request(Kind::Get), &Reply::Done, 1_000, 8_000, &names);
        let mut outcome = Outcome::empty();
        outcome.merge(tally.finish(Duration::from_secs(1), 0, Duration::ZERO));
        assert_eq!((outcome.writes.requests, outcome.writes.bytes), (5, 50));
        assert_eq!((outcome.reads.requests, outcome.reads.bytes), (3, 26));
        assert_eq!((outcome.hits, outcome.misses, outcome.mismatches, outcome.errors), (2, 1, 1, 2));
        assert_eq!(outcome.first_error.as_deref(), Some("ERR no"));
        assert_eq!(outcome.first_mismatch.as_deref(), Some("k01"));
        assert_eq!(outcome.writes.latency.len(), 5);
        assert!(outcome.writes.latency.equivalent(outcome.writes.latency.max(), 2_000));
        assert!(outcome.reads.latency.equivalent(outcome.reads.latency.max(), 5_000));
    }
}

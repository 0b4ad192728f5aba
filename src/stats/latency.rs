//! Latency spikes by event: <https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor/>.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Spikes that are kept of each event.
const MAX_SPIKES: usize = 160;

/// The longest delay in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spike {
    /// Unix seconds.
    pub time_s: u64,
    /// The delay, in milliseconds.
    pub latency_ms: u64,
}

/// The spikes of one event, the oldest first; never empty.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// One a second at most.
    pub spikes: VecDeque<Spike>,
    /// The worst since the event was forgotten last.
    pub worst_ms: u64,
}

/// What DOCTOR tells of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many spikes there are.
    pub count: usize,
    /// Their mean, in milliseconds.
    pub average_ms: u64,
    /// Mean absolute deviation from the average.
    pub deviation_ms: u64,
    /// Seconds between two spikes.
    pub period_s: f64,
    /// The shortest, in milliseconds.
    pub lowest_ms: u64,
    /// The longest, in milliseconds.
    pub highest_ms: u64,
}

impl Series {
    fn add(&mut self, spike: Spike) {
        self.worst_ms = self.worst_ms.max(spike.latency_ms);
        match self.spikes.back_mut() {
            Some(last) if last.time_s == spike.time_s => last.latency_ms = last.latency_ms.max(spike.latency_ms),
            _ => {
                if self.spikes.len() == MAX_SPIKES {
                    self.spikes.pop_front();
                }
                self.spikes.push_back(spike);
            }
        }
    }

    /// Sums the spikes up, at a time in Unix seconds.
    pub fn summary(&self, now_s: u64) -> Summary {
        let count = self.spikes.len();
        let divisor = count.max(1) as u64;
        let latencies = || self.spikes.iter().map(|spike| spike.latency_ms);
        let average_ms = latencies().sum::<u64>() / divisor;
        let oldest_s = self.spikes.iter().map(|spike| spike.time_s).min().unwrap_or(now_s);
        Summary {
            count,
            average_ms,
            deviation_ms: latencies().map(|latency_ms| latency_ms.abs_diff(average_ms)).sum::<u64>() / divisor,
            period_s: now_s.saturating_sub(oldest_s).max(1) as f64 / divisor as f64,
            lowest_ms: latencies().min().unwrap_or(0),
            highest_ms: latencies().max().unwrap_or(0),
        }
    }
}

/// The spikes of all events, by the names that LATENCY has for them.
#[derive(Default)]
pub struct LatencyEvents(Mutex<BTreeMap<&'static str, Series>>);

impl LatencyEvents {
    /// Adds a spike, if there is a threshold and the latency reaches it.
    pub fn add(&self, event: &'static str, latency_ms: u64, threshold_ms: i64, time_s: u64) {
        if threshold_ms > 0 && latency_ms >= threshold_ms as u64 {
            self.0.lock().entry(event).or_default().add(Spike { time_s, latency_ms });
        }
    }

    /// The spikes of the event with exactly this name.
    pub fn get(&self, event: &[u8]) -> Option<Series> {
        std::str::from_utf8(event).ok().and_then(|event| self.0.lock().get(event).cloned())
    }

    /// All events, in the order of their names, and their spikes.
    pub fn all(&self) -> Vec<(&'static str, Series)> {
        self.0.lock().iter().map(|(event, series)| (*event, series.clone())).collect()
    }

    /// Forgets the event with this name in any case, or all of them. Returns how many were forgotten.
    pub fn forget(&self, event: Option<&[u8]>) -> usize {
        let mut events = self.0.lock();
        let before = events.len();
        events.retain(|name, _| event.is_some_and(|event| !name.as_bytes().eq_ignore_ascii_case(event)));
        before - events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_spike_and_old_ones_go() {
        let events = LatencyEvents::default();
        for (latency_ms, time_s) in [(9, 1), (10, 1), (30, 1), (20, 1), (12, 2)] {
            events.add("command", latency_ms, 10, time_s);
        }
        let series = events.get(b"command").unwrap();
        let (first, second) = (Spike { time_s: 1, latency_ms: 30 }, Spike { time_s: 2, latency_ms: 12 });
        assert_eq!((series.spikes, series.worst_ms), (VecDeque::from([first, second]), 30));
        for time_s in 3..400 {
            events.add("command", 11, 10, time_s);
        }
        let series = events.get(b"command").unwrap();
        assert_eq!((series.spikes.len(), series.spikes[0].time_s, series.worst_ms), (MAX_SPIKES, 240, 30));
        events.add("fork", 50, 0, 1);
        assert_eq!((events.all().len(), events.forget(Some(b"other")), events.forget(Some(b"COMMAND"))), (1, 0, 1));
    }

    #[test]
    fn a_summary_tells_the_spread() {
        let events = LatencyEvents::default();
        for (latency_ms, time_s) in [(100, 10), (200, 12), (300, 14)] {
            events.add("command", latency_ms, 1, time_s);
        }
        let summary = events.get(b"command").unwrap().summary(16);
        assert_eq!((summary.average_ms, summary.deviation_ms, summary.period_s), (200, 66, 2.0));
        assert_eq!((summary.lowest_ms, summary.highest_ms, summary.count), (100, 300, 3));
    }
}

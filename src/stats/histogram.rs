//! Distributions of latencies, in buckets whose width grows with the value (the scheme of HdrHistogram,
//! <http://hdrhistogram.org>): two decimal digits are exact, from 1 ns to 1 s, with the bounds that Redis has.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets of equal width in each power of two.
const STEP: usize = 128;
const STEP_BITS: u32 = STEP.trailing_zeros();
/// Longer durations count as this.
const MAX_NS: u64 = 1_000_000_000;
/// Powers of two up to `MAX_NS`; the first one stands for all values below `STEP`.
const POWERS: usize = (MAX_NS.ilog2() - STEP_BITS) as usize + 2;
/// The first bound of a cumulative distribution.
const FIRST_BOUND_NS: u64 = 1024;

/// Counts durations. Room for a power of two is allocated when a value falls into it: commands take similar times,
/// so most need a few kilobytes.
#[derive(Default)]
pub struct Histogram([OnceLock<Box<[AtomicU64; STEP]>>; POWERS]);

/// The power of two and the bucket in it.
#[inline]
fn bucket(value_ns: u64) -> (usize, usize) {
    let value_ns = value_ns.min(MAX_NS);
    if value_ns < STEP as u64 {
        return (0, value_ns as usize);
    }
    let shift = value_ns.ilog2() - STEP_BITS;
    (shift as usize + 1, (value_ns >> shift) as usize - STEP)
}

/// The highest value that falls into a bucket.
fn highest_ns(power: usize, index: usize) -> u64 {
    match power {
        0 => index as u64,
        power => (((STEP + index + 1) as u64) << (power - 1)) - 1,
    }
}

impl Histogram {
    /// The counter of the values around this one.
    #[inline]
    pub fn counter(&self, value_ns: u64) -> &AtomicU64 {
        let (power, index) = bucket(value_ns);
        &self.0[power].get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))))[index]
    }

    /// Counts one.
    pub fn record(&self, value_ns: u64) {
        self.counter(value_ns).fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> impl Iterator<Item = (usize, usize, u64)> + '_ {
        self.0.iter().enumerate().flat_map(|(power, counts)| {
            let counts = counts.get().map_or(&[][..], |counts| &counts[..]);
            counts.iter().enumerate().map(move |(index, count)| (power, index, count.load(Ordering::Relaxed)))
        })
    }

    /// Adds what `other` has counted.
    pub fn merge(&self, other: &Histogram) {
        for (power, index, count) in other.counts().filter(|(.., count)| *count > 0) {
            self.counter(highest_ns(power, index)).fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// What histograms have counted, at one time.
#[derive(Clone, Debug)]
pub struct Distribution {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { counts: vec![0; POWERS * STEP].into(), total: 0 }
    }
}

impl Distribution {
    /// Adds what a histogram has counted.
    pub fn add(&mut self, histogram: &Histogram) {
        for (power, index, count) in histogram.counts() {
            self.counts[power * STEP + index] += count;
            self.total += count;
        }
    }

    /// Takes off what a histogram has counted; no count goes below 0.
    pub fn subtract(&mut self, histogram: &Histogram) {
        for (power, index, count) in histogram.counts() {
            let slot = &mut self.counts[power * STEP + index];
            let count = count.min(*slot);
            *slot -= count;
            self.total -= count;
        }
    }

    /// How many durations there are in it.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn bounds_and_counts(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.counts.iter().enumerate().map(|(place, count)| (highest_ns(place / STEP, place % STEP), *count))
    }

    /// The duration that `percentile` of 100 do not exceed, in nanoseconds; 0 if there is none.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        let wanted = ((percentile.clamp(0.0, 100.0) / 100.0 * self.total as f64 + 0.5) as u64).max(1);
        let mut seen = 0;
        self.bounds_and_counts()
            .find(|(_, count)| {
                seen += count;
                seen >= wanted
            })
            .map_or(0, |(bound_ns, _)| bound_ns)
    }

    /// Upper bounds in microseconds, each about twice the one before, and how many durations do not exceed them;
    /// bounds that add nothing are left out.
    pub fn cumulative_us(&self) -> Vec<(u64, u64)> {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        let (mut seen, mut reported, mut next_bound_ns) = (0, 0, FIRST_BOUND_NS);
        for (bound_ns, count) in self.bounds_and_counts() {
            seen += count;
            if bound_ns >= next_bound_ns {
                next_bound_ns *= 2;
                if seen > reported {
                    rows.push((bound_ns / 1000, seen));
                    reported = seen;
                }
            }
        }
        if seen > reported {
            rows.push((highest_ns(POWERS - 1, STEP - 1) / 1000, seen));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(values_ns: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        for value_ns in values_ns {
            histogram.counter(*value_ns).fetch_add(1, Ordering::Relaxed);
        }
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    #[test]
    fn every_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        let mut value_ns = 0_u64;
        while value_ns <= MAX_NS {
            let (power, index) = bucket(value_ns);
            let highest = highest_ns(power, index);
            assert!(highest >= value_ns && highest - value_ns <= value_ns / 128, "{value_ns} in a bucket to {highest}");
            assert_eq!(bucket(highest.min(MAX_NS)), (power, index));
            value_ns += 1 + value_ns / 300;
        }
        assert_eq!(bucket(u64::MAX), bucket(MAX_NS));
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let values: Vec<u64> = (1..=1000).map(|us| us * 1000).collect();
        let distribution = distribution(&values);
        for (percentile, value_ns) in [(0.0, 1_000), (50.0, 500_000), (99.0, 990_000), (100.0, 1_000_000)] {
            let found = distribution.percentile_ns(percentile);
            assert!(found.abs_diff(value_ns) <= value_ns / 100, "p{percentile}: {found}");
        }
        assert_eq!(Distribution::default().percentile_ns(50.0), 0);
    }

    #[test]
    fn cumulative_bounds_are_those_of_redis() {
        let rows = distribution(&[500, 900, 30_000, 60_000, 130_000, 2_000_000]).cumulative_us();
        assert_eq!(rows, [(1, 2), (33, 3), (66, 4), (132, 5), (2113, 6)]);
        assert_eq!(distribution(&[MAX_NS * 5]).cumulative_us().len(), 1);
    }

    #[test]
    fn what_was_merged_can_be_subtracted() {
        let (histogram, baseline) = (Histogram::default(), Histogram::default());
        histogram.counter(5_000).fetch_add(3, Ordering::Relaxed);
        baseline.merge(&histogram);
        histogram.counter(5_000).fetch_add(1, Ordering::Relaxed);
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution.subtract(&baseline);
        assert_eq!((distribution.total(), distribution.percentile_ns(50.0) / 100), (1, 50));
    }
}

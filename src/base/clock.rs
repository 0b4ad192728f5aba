//! The time: of day, which expiry is told in and which may jump, and since a start, which only grows.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by the clock of the day.
pub fn now_ms() -> u64 {
    saturate(since_epoch().as_millis())
}

/// Microseconds since 1970 by the clock of the day.
pub fn now_us() -> u64 {
    saturate(since_epoch().as_micros())
}

/// A clock set before 1970 reads as 1970.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn saturate(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A moment from which elapsed time is measured; no change of the clock of the day reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Microseconds since the start.
    pub fn elapsed_us(&self) -> u64 {
        saturate(self.0.elapsed().as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_agree() {
        let before_ms = now_ms();
        let now_us = now_us();
        let after_ms = now_ms();
        assert!((before_ms..=after_ms).contains(&(now_us / 1000)));
        assert!(before_ms > 1_700_000_000_000);
    }

    #[test]
    fn monotonic_only_grows() {
        let first = Monotonic::start();
        let second = Monotonic::start();
        assert!(second >= first);
    }
}

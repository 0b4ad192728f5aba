//! The time: of day, which expiry is told in and which may jump, and since a start, which only grows.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970 by the clock of the day.
pub fn now_ms() -> u64 {
    saturate(since_epoch().as_millis())
}

/// Microseconds since 1970 by the clock of the day.
pub fn now_us() -> u64 {
    saturate(since_epoch().as_micros())
}

/// The same, up to a few milliseconds ago: what the kernel last wrote down, at a quarter of the cost.
pub fn recent_ms() -> u64 {
    let time = clock_gettime(ClockId::RealtimeCoarse);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0).saturating_mul(1000) + nanoseconds.unwrap_or(0) / 1_000_000
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
        let recent_ms = recent_ms();
        assert!((before_ms - 100..=self::now_ms()).contains(&recent_ms), "{recent_ms}");
    }

    #[test]
    fn monotonic_only_grows() {
        let first = Monotonic::start();
        let second = Monotonic::start();
        assert!(second >= first);
    }
}

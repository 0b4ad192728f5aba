//! When the merger makes a round that nobody asks for.
//!
//! Keys that are written again and again are written to disk once a round, so the rarer rounds are, the less there is to do.
//! While writes go on, a round that took long is therefore followed by a longer pause. Once they have ceased, the next comes
//! after the interval, as it does where rounds are short.
//!
//! A round writes whole values, however little of them has changed. Where it wrote far more than clients had sent, as after an
//! APPEND to a large value, the next is delayed until the rate of writing is bounded.

use std::time::{Duration, Instant};

/// While writes go on, rounds take one part in so many of the time.
const PAUSE_SHARE: u32 = 50;
/// The longest pause, in intervals.
const PAUSE_INTERVALS: u32 = 10;
/// The write amplification that delays nothing: bytes written by rounds for each byte received.
const AMPLIFICATION: u64 = 4;
/// The rate at which bytes beyond that are written, in bytes a second.
const EXCESS_BYTES_A_SECOND: u64 = 8 << 20;
/// The longest delay for that, in intervals, where the journal already has what waits.
const JOURNALED_PAUSE_INTERVALS: u32 = 60;

/// What has come from clients since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Changes of keys.
    pub count: u64,
    /// All that was received, in bytes.
    pub received_bytes: u64,
}

/// Decides when the next round is due, from what the last one cost and wrote.
pub struct Schedule {
    /// When the last round began, and how long it took.
    began: Instant,
    took: Duration,
    /// By how much the bytes it wrote delay the next.
    delay: Duration,
    /// What had been received before it.
    received_bytes: u64,
    /// How many changes there had been when somebody last looked, and when they last grew.
    changes: u64,
    changed: Instant,
}

impl Schedule {
    /// Begins as if a round that cost nothing had just ended.
    pub fn new(now: Instant) -> Schedule {
        Schedule {
            began: now,
            took: Duration::ZERO,
            delay: Duration::ZERO,
            received_bytes: 0,
            changes: 0,
            changed: now,
        }
    }

    /// Whether the next round is due, given what has come from clients so far; `is_journaling` allows a longer delay.
    pub fn is_due(&mut self, now: Instant, interval: Duration, changes: Changes, is_journaling: bool) -> bool {
        if self.changes != changes.count {
            (self.changes, self.changed) = (changes.count, now);
        }
        let delay_max = interval * if is_journaling { JOURNALED_PAUSE_INTERVALS } else { PAUSE_INTERVALS };
        let pause = interval.max(self.took * PAUSE_SHARE).min(interval * PAUSE_INTERVALS);
        let (since_round, since_change) = (now - self.began, now - self.changed);
        let is_calm = since_round >= interval && since_change >= interval;
        since_round >= self.delay.min(delay_max) && (since_round >= pause || is_calm)
    }

    /// Records a round that wrote `bytes`, whatever caused it, and what had come from clients before it.
    pub fn record(&mut self, began: Instant, ended: Instant, bytes: u64, changes: Changes) {
        (self.began, self.took) = (began, ended - began);
        // CONFIG RESETSTAT begins anew.
        let received_bytes = changes.received_bytes.saturating_sub(self.received_bytes);
        self.received_bytes = changes.received_bytes;
        let excess_bytes = bytes.saturating_sub(received_bytes.saturating_mul(AMPLIFICATION));
        self.delay = Duration::from_secs_f64(excess_bytes as f64 / EXCESS_BYTES_A_SECOND as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    /// After how many milliseconds the next round comes, with a look each 100, if the last took so long and there were
    /// changes for so long.
    fn next_ms(took_ms: u64, changes_for_ms: u64) -> u64 {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut schedule = Schedule::new(start);
        schedule.record(start, at(took_ms), 0, Changes::default());
        let mut is_due = |ms: u64| {
            let changes = Changes { count: 1 + changes_for_ms.min(ms), received_bytes: 0 };
            schedule.is_due(at(ms), INTERVAL, changes, false)
        };
        (0..).map(|look| look * 100).find(|ms| is_due(*ms)).expect("it comes")
    }

    #[test]
    fn a_round_that_took_long_is_followed_by_a_longer_pause_while_writes_go_on() {
        for (took_ms, changes_for_ms, expected_ms) in [
            (0, 10_000, 500),
            (10, 10_000, 500),
            (40, 10_000, 2000),
            (100, 10_000, 5000),
            (9000, 10_000, 5000),
            (100, 0, 500),
            (100, 300, 800),
            (40, 1800, 2000),
        ] {
            assert_eq!(next_ms(took_ms, changes_for_ms), expected_ms, "{took_ms}, {changes_for_ms}");
        }
    }

    #[test]
    fn a_round_that_wrote_far_more_than_was_received_puts_the_next_off() {
        const MB: u64 = 1 << 20;
        for (bytes, received_bytes, is_journaling, expected_ms) in [
            (0, 0, true, 500),
            (2 * MB, 0, true, 500),
            (50 * MB, 1000, true, 6300),
            (50 * MB, 1000, false, 5000),
            (50 * MB, 12 * MB, true, 500),
            (50 * MB, 50 * MB, true, 500),
            (512 * MB, 1000, true, 30_000),
        ] {
            let start = Instant::now();
            let mut schedule = Schedule::new(start);
            let changes = Changes { count: 1, received_bytes };
            schedule.record(start, start, bytes, changes);
            let mut is_due =
                |ms: u64| schedule.is_due(start + Duration::from_millis(ms), INTERVAL, changes, is_journaling);
            let next_ms = (0..).map(|look| look * 100).find(|ms| is_due(*ms)).expect("it comes");
            assert_eq!(next_ms, expected_ms, "{bytes}, {received_bytes}, {is_journaling}");
        }
    }
}

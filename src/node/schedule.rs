//! When the merger makes a round that nobody asks for.
//!
//! Keys that are written again and again are written to disk once a round, so the rarer rounds are, the less there is to do.
//! While writes go on, a round that took long is therefore followed by a longer pause. Once they have ceased, the next comes
//! after the interval, as it does where rounds are short.

use std::time::{Duration, Instant};

/// Rounds take one part in so many of the time, as long as nothing presses.
const PAUSE_SHARE: u32 = 50;
/// A pause is so many intervals at most.
const PAUSE_INTERVALS: u32 = 10;

pub struct Schedule {
    /// When the last round began, and how long it took.
    began: Instant,
    took: Duration,
    /// How many changes there had been when somebody last looked, and when they last grew.
    changes: u64,
    changed: Instant,
}

impl Schedule {
    pub fn new(now: Instant) -> Schedule {
        Schedule { began: now, took: Duration::ZERO, changes: 0, changed: now }
    }

    /// Whether it is time, given how many changes there have been so far.
    pub fn is_due(&mut self, now: Instant, interval: Duration, changes: u64) -> bool {
        if self.changes != changes {
            (self.changes, self.changed) = (changes, now);
        }
        let pause = interval.max(self.took * PAUSE_SHARE).min(interval * PAUSE_INTERVALS);
        let (since_round, since_change) = (now - self.began, now - self.changed);
        since_round >= pause || since_round >= interval && since_change >= interval
    }

    /// A round has been made, for whatever reason.
    pub fn made(&mut self, began: Instant, ended: Instant) {
        (self.began, self.took) = (began, ended - began);
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
        schedule.made(start, at(took_ms));
        let mut is_due = |ms: u64| schedule.is_due(at(ms), INTERVAL, 1 + changes_for_ms.min(ms));
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
}

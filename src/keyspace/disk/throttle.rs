//! How fast writes may come, where they come faster than the merger goes.
//!
//! What is not on disk is bounded. If only the bound held writes back, they would come at full speed until it is reached, and
//! then all wait for the round under way: for a tenth of a second and more. So each waits a little, the longer the nearer
//! the bound is, and what is not on disk settles where writes come as fast as the merger goes. For that it must not come
//! down in steps: what a round has written of what it took is counted off while it goes on.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::base::thread;

/// The journal may hold so many times `maxdirty`: it keeps what a round has written until the round's end, and a key that is
/// written again and again is in it each time. It bounds a replay.
pub const JOURNAL_SHARE: u64 = 3;
/// What is not on disk may be so many times `maxdirty`: what differs, and what a round has taken.
const BACKLOG_SHARE: u64 = 2;
/// How long a write waits, in milliseconds, when half of the way from `maxdirty` to that bound is left.
const WAIT_MS: f64 = 3.0;
/// What the part of a round that is written is counted in.
const WHOLE: u32 = 1000;

/// The round under way, as far as it concerns how fast writes may come.
#[derive(Default)]
pub struct Throttle {
    /// About what the round has taken: bytes of entries.
    taken_bytes: AtomicU64,
    /// Bytes of the journal that can go with the round's end.
    journal_bytes: AtomicU64,
    /// How much of the round is written.
    written: AtomicU32,
    /// What rounds before it have taken.
    earlier_bytes: AtomicU64,
}

impl Throttle {
    /// Begins a round that takes what the journal holds by now.
    pub fn begin(&self, journal_bytes: u64) {
        self.written.store(0, Ordering::Relaxed);
        self.earlier_bytes.fetch_add(self.taken_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        self.journal_bytes.store(journal_bytes, Ordering::Relaxed);
    }

    /// Takes note of all that the round has taken so far.
    pub fn took(&self, bytes: u64) {
        self.taken_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Takes note that `part` of `all` its entries are written.
    pub fn wrote(&self, part: u64, all: u64) {
        self.written.store((part.min(all) * u64::from(WHOLE) / all.max(1)) as u32, Ordering::Relaxed);
    }

    /// Ends the round: it is written.
    pub fn end(&self) {
        self.begin(0);
    }

    /// About how many bytes have ever been written by clients, given what differs now.
    pub fn total_bytes(&self, dirty_bytes: u64) -> u64 {
        self.earlier_bytes.load(Ordering::Relaxed) + self.taken_bytes.load(Ordering::Relaxed) + dirty_bytes
    }

    /// What has to be written yet, in bytes: of what differs now and was taken before, or what of the journal waits for that.
    pub fn backlog_bytes(&self, dirty_bytes: u64, journal_bytes: u64) -> u64 {
        let written = u64::from(self.written.load(Ordering::Relaxed));
        let share = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed) / u64::from(WHOLE);
        let unwritten_bytes = share(&self.taken_bytes) * (u64::from(WHOLE) - written);
        let released_bytes = share(&self.journal_bytes) * written;
        (dirty_bytes + unwritten_bytes).max(journal_bytes.saturating_sub(released_bytes))
    }
}

/// How long a write should wait, in milliseconds; `None`: until there is less. Of writes that should wait 0.3, three of ten
/// wait 1.
#[inline]
pub fn wait_ms(backlog_bytes: u64, maxdirty: u64) -> Option<u32> {
    if backlog_bytes <= maxdirty {
        return Some(0);
    }
    if backlog_bytes >= maxdirty.saturating_mul(BACKLOG_SHARE) {
        return None;
    }
    let ahead = (backlog_bytes - maxdirty) as f64 / (maxdirty / 2).max(1) as f64;
    Some((WAIT_MS * ahead.powi(3) + thread::random_fraction()) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_a_round_has_written_is_counted_off() {
        let throttle = Throttle::default();
        assert_eq!(throttle.backlog_bytes(7, 5), 7);
        throttle.begin(40 * MIB);
        throttle.took(30 * MIB);
        let near = |bytes: u64, expected: u64| assert!(bytes.abs_diff(expected) < MIB / 10, "{bytes}, not {expected}");
        near(throttle.backlog_bytes(MIB, 0), 31 * MIB);
        near(throttle.backlog_bytes(MIB, 42 * MIB), 42 * MIB);
        throttle.wrote(50, 200);
        near(throttle.backlog_bytes(MIB, 0), 23 * MIB + MIB / 2);
        near(throttle.backlog_bytes(MIB, 42 * MIB), 32 * MIB);
        throttle.wrote(201, 200);
        near(throttle.backlog_bytes(MIB, 42 * MIB), 2 * MIB);
        assert_eq!(throttle.total_bytes(MIB), 31 * MIB);
        throttle.end();
        assert_eq!(throttle.backlog_bytes(7, 5), 7);
        assert_eq!(throttle.total_bytes(2 * MIB), 32 * MIB);
    }

    #[test]
    fn writes_wait_the_longer_the_more_there_is() {
        let mean_ms = |backlog_bytes: u64| {
            let waits = (0..10_000).map(|_| wait_ms(backlog_bytes, 32 * MIB).expect("below the bound"));
            waits.map(f64::from).sum::<f64>() / 10_000.0
        };
        assert_eq!(mean_ms(0), 0.0);
        assert_eq!(mean_ms(32 * MIB), 0.0);
        for (backlog_bytes, expected_ms) in [(36 * MIB, 0.047), (40 * MIB, 0.375), (48 * MIB, 3.0), (63 * MIB, 21.8)] {
            let found_ms = mean_ms(backlog_bytes);
            assert!((found_ms - expected_ms).abs() < 0.1 + expected_ms / 50.0, "{backlog_bytes}: {found_ms}");
        }
        assert_eq!(wait_ms(64 * MIB, 32 * MIB), None);
    }
}

//! Eviction's 7 bytes an entry: when it was used last, how much, and since when it waits in its queue.

use crate::base::thread;
use crate::config::EvictionPolicy;

/// The counter of a key that is new, under LFU: not the first to go (Redis's `LFU_INIT_VAL`).
const LFU_FRESH: u8 = 5;
/// Under S3-FIFO the counter is two bits of uses and the bit that tells the main queue from the probationary one.
const USES_MAX: u8 = 3;
const MAIN: u8 = 0x80;
/// One tick of the queue's clock, in milliseconds; 24 bits of them are 12 days.
const TICK_MS: u64 = 64;
const MASK_24: u64 = 0xff_ffff;

/// `used_s` (24 bits, seconds) | `counter` (8 bits) | `queued` (24 bits, ticks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recency(u64);

/// What recency goes by, read once a command.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub policy: EvictionPolicy,
    /// `lfu-log-factor`
    pub log_factor: u32,
    /// `lfu-decay-time`; 0: never
    pub decay_minutes: u32,
}

impl Rules {
    pub fn is_lfu(&self) -> bool {
        matches!(self.policy, EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu)
    }
}

impl Recency {
    /// The lower 56 bits of `bits`.
    pub fn from_bits(bits: u64) -> Recency {
        Recency(bits & ((1 << 56) - 1))
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    fn new(used_s: u64, counter: u8, queued: u64) -> Recency {
        Recency((used_s & MASK_24) << 32 | u64::from(counter) << 24 | queued & MASK_24)
    }

    /// Of a key that is new. `is_known`: it was evicted not long ago, so it skips the probationary queue.
    pub fn fresh(now_ms: u64, rules: &Rules, is_known: bool) -> Recency {
        let counter = match (rules.is_lfu(), is_known) {
            (true, _) => LFU_FRESH,
            (false, true) => MAIN,
            (false, false) => 0,
        };
        Recency::new(now_ms / 1000, counter, now_ms / TICK_MS)
    }

    /// Of a key that is used again.
    #[inline]
    pub fn touched(self, now_ms: u64, rules: &Rules) -> Recency {
        let counter = if rules.is_lfu() {
            grown(self.frequency(now_ms, rules), rules.log_factor)
        } else {
            let uses = self.counter() & !MAIN;
            self.counter() & MAIN | (uses + 1).min(USES_MAX)
        };
        Recency::new(now_ms / 1000, counter, self.0)
    }

    /// Back to the end of the main queue, with so many uses to its credit.
    pub fn requeued(self, now_ms: u64, uses: u8) -> Recency {
        Recency::new(self.0 >> 32, MAIN | uses.min(USES_MAX), now_ms / TICK_MS)
    }

    fn counter(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// Seconds since the last use, modulo 194 days.
    pub fn idle_seconds(self, now_ms: u64) -> u64 {
        (now_ms / 1000).wrapping_sub(self.0 >> 32) & MASK_24
    }

    /// LFU's logarithmic counter, less a point for each `lfu-decay-time` without use.
    pub fn frequency(self, now_ms: u64, rules: &Rules) -> u8 {
        let idle_minutes = self.idle_seconds(now_ms) / 60;
        let lost = idle_minutes.checked_div(u64::from(rules.decay_minutes)).unwrap_or(0);
        self.counter().saturating_sub(lost.min(255) as u8)
    }

    /// Ticks since it joined its queue.
    pub fn queued_ticks(self, now_ms: u64) -> u64 {
        (now_ms / TICK_MS).wrapping_sub(self.0) & MASK_24
    }

    pub fn is_in_main(self) -> bool {
        self.counter() & MAIN != 0
    }

    pub fn uses(self) -> u8 {
        (self.counter() & !MAIN).min(USES_MAX)
    }
}

/// The counter after one more use: the larger it is, the less likely it grows
/// (<https://redis.io/docs/latest/develop/reference/eviction/>, approximate counting after Morris).
fn grown(counter: u8, log_factor: u32) -> u8 {
    let base = f64::from(counter.saturating_sub(LFU_FRESH));
    let chance = 1.0 / (base * f64::from(log_factor) + 1.0);
    if thread::random_fraction() < chance { counter.saturating_add(1) } else { counter }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LFU: Rules = Rules { policy: EvictionPolicy::AllkeysLfu, log_factor: 10, decay_minutes: 1 };
    const S3: Rules = Rules { policy: EvictionPolicy::AllkeysS3fifo, ..LFU };

    #[test]
    fn idle_time_survives_the_clock_turning_over() {
        let old = Recency::fresh(MASK_24 * 1000, &S3, false);
        assert_eq!(old.idle_seconds((MASK_24 + 5) * 1000), 5);
        assert_eq!(old.touched((MASK_24 + 5) * 1000, &S3).idle_seconds((MASK_24 + 7) * 1000), 2);
    }

    #[test]
    fn lfu_counts_by_logarithm_and_forgets_by_minutes() {
        let mut recency = Recency::fresh(0, &LFU, false);
        for _ in 0..1000 {
            recency = recency.touched(0, &LFU);
        }
        let frequency = recency.frequency(0, &LFU);
        assert!((12..=28).contains(&frequency), "{frequency}");
        assert_eq!(recency.frequency(3 * 60_000, &LFU), frequency - 3);
        assert_eq!(recency.frequency(3 * 60_000, &Rules { decay_minutes: 0, ..LFU }), frequency);
        assert_eq!(recency.frequency(600 * 60_000, &LFU), 0);
    }

    #[test]
    fn queues_keep_their_place_while_uses_count() {
        let recency = Recency::fresh(64_000, &S3, false).touched(128_000, &S3).touched(128_000, &S3);
        assert_eq!((recency.uses(), recency.is_in_main(), recency.queued_ticks(128_000)), (2, false, 1000));
        let moved = recency.requeued(192_000, 0);
        assert_eq!((moved.uses(), moved.is_in_main(), moved.queued_ticks(192_000)), (0, true, 0));
        assert_eq!(moved.idle_seconds(192_000), 64);
        assert!(Recency::fresh(0, &S3, true).is_in_main());
    }
}

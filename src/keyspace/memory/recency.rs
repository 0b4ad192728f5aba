//! Eviction's 6 bytes an entry: when it was used last, by two clocks, and how much.

use crate::base::thread;
use crate::config::EvictionPolicy;

/// The counter of a key that is new, under LFU: not the first to go (Redis's `LFU_INIT_VAL`).
const LFU_FRESH: u8 = 5;
/// The counter of a key that was used once, under LIRS. Otherwise it is the logarithm of the key's reuse interval.
pub const USED_ONCE: u8 = u8::MAX;
/// Uses that follow each other faster than this, in ticks, are one use under LIRS: a client that reads what it has just written
/// tells nothing of whether the key will be wanted again.
const SAME_USE_TICKS: u16 = 3;
/// An interval twice as long has a logarithm so much larger.
pub const DOUBLED: u8 = 1 << STEP_BITS;
const STEP_BITS: u32 = 3;
/// Of draws by chance, one in a hundred takes eight times as long as the logarithms' mean says.
const OVERDUE: u8 = 3 * DOUBLED;
const MASK_24: u64 = 0xff_ffff;

/// `used_s` (24 bits, seconds) | `counter` (8 bits) | `used_at` (16 bits, ticks of eviction's clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recency(u64);

/// What recency goes by, read once a command.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `maxmemory-policy`.
    pub policy: EvictionPolicy,
    /// `lfu-log-factor`; read under LFU alone, as what follows.
    pub log_factor: u32,
    /// `lfu-decay-time`; 0: never
    pub decay_minutes: u32,
    /// Eviction's clock, which `lirs` keeps.
    pub clock: u16,
}

impl Rules {
    /// Whether uses are counted, as LFU has it, and not timed.
    pub fn is_lfu(&self) -> bool {
        self.policy.is_lfu()
    }
}

impl Recency {
    /// The lower 48 bits of `bits`.
    pub fn from_bits(bits: u64) -> Recency {
        Recency(bits & ((1 << 48) - 1))
    }

    /// The 56 bits that an entry keeps.
    pub fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    fn new(used_s: u64, counter: u8, used_at: u16) -> Recency {
        Recency((used_s & MASK_24) << 24 | u64::from(counter) << 16 | u64::from(used_at))
    }

    /// The recency of a key that is new. `interval` is what LIRS expects of it.
    pub fn fresh(now_ms: u64, rules: &Rules, interval: u8) -> Recency {
        let counter = if rules.is_lfu() { LFU_FRESH } else { interval };
        Recency::new(now_ms / 1000, counter, rules.clock)
    }

    /// The recency of a key that is used again.
    #[inline]
    pub fn touched(self, now_ms: u64, rules: &Rules) -> Recency {
        let used_s = now_ms / 1000;
        if rules.is_lfu() {
            return Recency::new(used_s, grown(self.frequency(now_ms, rules), rules.log_factor), rules.clock);
        }
        let ticks = self.unused_ticks(rules.clock);
        if ticks < SAME_USE_TICKS {
            return Recency::new(used_s, self.counter(), self.used_at());
        }
        let interval = match (self.counter(), logarithm(ticks)) {
            (USED_ONCE, first) => first,
            (earlier, last) => (u16::from(earlier) + u16::from(last)).div_ceil(2) as u8,
        };
        Recency::new(used_s, interval, rules.clock)
    }

    fn counter(self) -> u8 {
        (self.0 >> 16) as u8
    }

    fn used_at(self) -> u16 {
        self.0 as u16
    }

    /// Seconds since the last use, modulo 194 days.
    pub fn idle_seconds(self, now_ms: u64) -> u64 {
        (now_ms / 1000).wrapping_sub(self.0 >> 24) & MASK_24
    }

    /// LFU's logarithmic counter, less a point for each `lfu-decay-time` without use.
    pub fn frequency(self, now_ms: u64, rules: &Rules) -> u8 {
        let idle_minutes = self.idle_seconds(now_ms) / 60;
        let lost = idle_minutes.checked_div(u64::from(rules.decay_minutes)).unwrap_or(0);
        self.counter().saturating_sub(lost.min(255) as u8)
    }

    /// Whether its key was used once, under LIRS.
    pub fn is_used_once(self) -> bool {
        self.counter() == USED_ONCE
    }

    /// Ticks since the last use.
    #[inline]
    pub fn unused_ticks(self, clock: u16) -> u16 {
        clock.wrapping_sub(self.used_at())
    }

    /// Whether it has been unused for so many times as long as it was from one use to the next that no other is likely.
    pub fn is_overdue(self, clock: u16) -> bool {
        let overdue = self.counter().saturating_add(OVERDUE);
        !self.is_used_once() && logarithm(self.unused_ticks(clock)) >= overdue
    }

    /// The logarithm of how long it is from one use to the next: the mean so far, or longer if it is longer already. Of a key
    /// that was used once, since that use.
    pub fn reuse(self, clock: u16) -> u8 {
        let unused = logarithm(self.unused_ticks(clock));
        if self.is_used_once() { unused } else { unused.max(self.counter()) }
    }
}

/// The counter after one more use: the larger it is, the less likely it grows
/// (<https://redis.io/docs/latest/develop/reference/eviction/>, approximate counting after Morris).
fn grown(counter: u8, log_factor: u32) -> u8 {
    let base = f64::from(counter.saturating_sub(LFU_FRESH));
    let chance = 1.0 / (base * f64::from(log_factor) + 1.0);
    if thread::random_fraction() < chance { counter.saturating_add(1) } else { counter }
}

/// The logarithm of a number of ticks, in steps of an eighth of what it is about: 111 at most.
#[inline]
pub fn logarithm(ticks: u16) -> u8 {
    match ticks.checked_ilog2() {
        Some(exponent) if exponent >= STEP_BITS => {
            let step = ticks >> (exponent - STEP_BITS) & (u16::from(DOUBLED) - 1);
            (exponent - STEP_BITS + 1) as u8 * DOUBLED + step as u8
        }
        _ => ticks as u8,
    }
}

/// About the number that has this logarithm.
pub fn ticks(logarithm: u8) -> u32 {
    let (exponent, step) = (logarithm / DOUBLED, logarithm % DOUBLED);
    if exponent == 0 { u32::from(step) } else { u32::from(DOUBLED + step) << (exponent - 1).min(16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LFU: Rules = Rules { policy: EvictionPolicy::AllkeysLfu, log_factor: 10, decay_minutes: 1, clock: 0 };
    const LIRS: Rules = Rules { policy: EvictionPolicy::AllkeysLirs, ..LFU };

    fn lirs_at(clock: u16) -> Rules {
        Rules { clock, ..LIRS }
    }

    #[test]
    fn idle_time_survives_the_clock_turning_over() {
        let old = Recency::fresh(MASK_24 * 1000, &LIRS, USED_ONCE);
        assert_eq!(old.idle_seconds((MASK_24 + 5) * 1000), 5);
        assert_eq!(old.touched((MASK_24 + 5) * 1000, &LIRS).idle_seconds((MASK_24 + 7) * 1000), 2);
    }

    #[test]
    fn lfu_counts_by_logarithm_and_forgets_by_minutes() {
        let mut recency = Recency::fresh(0, &LFU, 0);
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
    fn logarithms_are_exact_within_an_eighth() {
        for number in 0..=u16::MAX {
            let about = ticks(logarithm(number));
            assert!(
                about <= u32::from(number) && u32::from(number) - about <= u32::from(number) / 8,
                "{number}: {about}"
            );
            assert!(number == u16::MAX || logarithm(number) <= logarithm(number + 1));
        }
        assert_eq!(logarithm(400), logarithm(200) + DOUBLED);
        assert_eq!(logarithm(u16::MAX), 111);
        assert!(ticks(USED_ONCE) > u32::from(u16::MAX));
    }

    #[test]
    fn the_interval_is_the_mean_of_what_was_and_what_is() {
        let once = Recency::fresh(0, &lirs_at(u16::MAX - 10), USED_ONCE);
        assert!(once.is_used_once() && once.reuse(89) == logarithm(100));
        // The clock turns over meanwhile.
        let twice = once.touched(0, &lirs_at(89));
        assert_eq!((twice.is_used_once(), twice.reuse(89)), (false, logarithm(100)));
        let thrice = twice.touched(0, &lirs_at(89 + 400));
        assert_eq!(thrice.reuse(89 + 400), logarithm(200));
        assert_eq!(thrice.reuse(89 + 400 + 800), logarithm(800));
    }

    #[test]
    fn uses_at_the_same_time_are_one() {
        let once = Recency::fresh(0, &lirs_at(10), USED_ONCE);
        let again = once.touched(7000, &lirs_at(10 + SAME_USE_TICKS - 1));
        assert!(again.is_used_once() && again.idle_seconds(7000) == 0);
        assert!(!again.touched(7000, &lirs_at(10 + SAME_USE_TICKS)).is_used_once());
    }
}

//! Eviction's 4 bytes an entry: a use counter of 8 bits above 24 bits of the time, in seconds modulo 2²⁴, at which a
//! key was used last.

const SECONDS_BITS: u32 = 24;
const SECONDS_MASK: u32 = (1 << SECONDS_BITS) - 1;
/// The counter of a new key, so that it is not the first to go.
const FRESH_COUNTER: u32 = 5;

fn seconds(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & SECONDS_MASK
}

/// For a key that is new.
pub fn fresh(now_ms: u64) -> u32 {
    FRESH_COUNTER << SECONDS_BITS | seconds(now_ms)
}

/// For a key that is used again.
pub fn touched(recency: u32, now_ms: u64) -> u32 {
    recency & !SECONDS_MASK | seconds(now_ms)
}

/// For how long a key was not used, in seconds, up to the 194 days after which the count starts again.
pub fn idle_seconds(recency: u32, now_ms: u64) -> u32 {
    seconds(now_ms).wrapping_sub(recency) & SECONDS_MASK
}

/// How often a key is used, on a logarithmic scale up to 255.
pub fn frequency(recency: u32, _now_ms: u64) -> u8 {
    (recency >> SECONDS_BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_counted_across_the_wrap() {
        let wrap_ms = (1_u64 << SECONDS_BITS) * 1000;
        let recency = fresh(wrap_ms - 3_000);
        assert_eq!(idle_seconds(recency, wrap_ms - 3_000), 0);
        assert_eq!(idle_seconds(recency, wrap_ms + 4_000), 7);
        assert_eq!(idle_seconds(touched(recency, wrap_ms + 4_000), wrap_ms + 4_999), 0);
        assert_eq!(frequency(touched(recency, wrap_ms), wrap_ms), 5);
    }
}

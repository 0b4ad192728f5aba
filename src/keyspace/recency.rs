//! Eviction's 4 bytes an entry: when a key was used last, in seconds modulo 2²⁴, above a use counter of 8 bits.

/// For a key that is new.
pub fn fresh(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & 0xff_ffff
}

/// For a key that is used again.
pub fn touched(_recency: u32, now_ms: u64) -> u32 {
    fresh(now_ms)
}

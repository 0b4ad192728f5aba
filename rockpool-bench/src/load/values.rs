//! Values, and what tells a right one from a wrong one.

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A power of two.
const POOL_BYTES: usize = 64 * 1024;

/// A value is a pure function of its key, its size and the seed, so that any process can check what another has
/// written: eight bytes of hash, then pieces of a pool of random bytes at places that the hash decides. No two keys
/// share a value (of eight bytes or more), and none is compressed by much.
#[derive(Debug)]
pub struct Values {
    seed: u64,
    /// Twice as long as a piece may be, so that a piece can begin anywhere in the first half.
    pool: Vec<u8>,
}

impl Values {
    /// Fills the pool; the same seed gives the same values in every process.
    pub fn new(seed: u64) -> Values {
        let mut pool = vec![0; 2 * POOL_BYTES];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut pool);
        Values { seed, pool }
    }

    /// Appends the value of `key` that has `bytes` bytes.
    #[inline]
    pub fn append(&self, key: &[u8], bytes: usize, output: &mut Vec<u8>) {
        let hash = self.hash(key, bytes);
        let head = hash.to_le_bytes();
        output.extend_from_slice(&head[..bytes.min(head.len())]);
        for piece in self.pieces(hash, bytes.saturating_sub(head.len())) {
            output.extend_from_slice(piece);
        }
    }

    /// Whether `value` is what [`Values::append`] gives a value of its size under `key`.
    #[inline]
    pub fn is_right(&self, key: &[u8], value: &[u8]) -> bool {
        let hash = self.hash(key, value.len());
        let head = hash.to_le_bytes();
        let (start, mut rest) = value.split_at(value.len().min(head.len()));
        start == &head[..start.len()]
            && self.pieces(hash, rest.len()).all(|piece| {
                let (part, after) = rest.split_at(piece.len());
                rest = after;
                part == piece
            })
    }

    fn hash(&self, key: &[u8], bytes: usize) -> u64 {
        xxh3_64_with_seed(key, self.seed.wrapping_add(bytes as u64))
    }

    fn pieces(&self, hash: u64, bytes: usize) -> impl Iterator<Item = &[u8]> {
        let (mut state, mut rest) = (hash, bytes);
        std::iter::from_fn(move || {
            let length = rest.min(POOL_BYTES);
            // Knuth's linear congruential generator; its upper half is random enough for a place.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = (state >> 32) as usize % POOL_BYTES;
            rest -= length;
            (length > 0).then(|| &self.pool[start..start + length])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(values: &Values, key: &[u8], bytes: usize) -> Vec<u8> {
        let mut output = Vec::new();
        values.append(key, bytes, &mut output);
        output
    }

    #[test]
    fn a_value_is_known_again_and_no_other_is_taken_for_it() {
        let (values, same, other) = (Values::new(1), Values::new(1), Values::new(2));
        for bytes in [0, 1, 7, 8, 9, 64, 1000, POOL_BYTES + 8, 3 * POOL_BYTES + 17] {
            let right = value(&values, b"key:1", bytes);
            assert_eq!(right.len(), bytes);
            assert!(same.is_right(b"key:1", &right), "{bytes}");
            if bytes >= 8 {
                assert!(!values.is_right(b"key:2", &right) && !other.is_right(b"key:1", &right), "{bytes}");
                assert!(!values.is_right(b"key:1", &right[..bytes - 1]), "{bytes}");
                for place in [0, bytes / 2, bytes - 1] {
                    let mut wrong = right.clone();
                    wrong[place] ^= 1;
                    assert!(!values.is_right(b"key:1", &wrong), "{place} of {bytes}");
                }
            }
        }
    }

    #[test]
    fn values_use_all_bytes() {
        let bytes = value(&Values::new(1), b"key", 100_000);
        let mut counts = [0u32; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 250 && *most < 550, "{least} to {most}, about 390 expected");
    }
}

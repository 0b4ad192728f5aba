//! Error replies by their code word, as INFO's errorstats tells them.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Scripts make code words of their own choice: words beyond this many are counted together.
const MAX_CODES: usize = 128;
/// A code word is at most this long; what seems to be a longer one is no code word.
const MAX_CODE_BYTES: usize = 31;
const OVERFLOW: &[u8] = b"OTHER";
const FALLBACK: &[u8] = b"ERR";

/// How many error replies there were of each code word.
#[derive(Default)]
pub struct ErrorCounts(Mutex<BTreeMap<Box<[u8]>, u64>>);

impl ErrorCounts {
    /// Counts an error reply.
    pub fn add(&self, code: &[u8]) {
        let code = if code.is_empty() || code.len() > MAX_CODE_BYTES { FALLBACK } else { code };
        let mut counts = self.0.lock();
        if let Some(count) = counts.get_mut(code) {
            *count += 1;
            return;
        }
        let code = if counts.len() < MAX_CODES { code } else { OVERFLOW };
        *counts.entry(code.into()).or_default() += 1;
    }

    /// Code words and counts, in the order of the words.
    pub fn all(&self) -> Vec<(Box<[u8]>, u64)> {
        self.0.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    pub(super) fn reset(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_no_error_is_lost() {
        let errors = ErrorCounts::default();
        for number in 0..1000 {
            errors.add(format!("E{number}").as_bytes());
        }
        errors.add(b"E1");
        errors.add(&[b'x'; 40]);
        let all = errors.all();
        assert_eq!(all.len(), MAX_CODES + 1);
        assert_eq!(all.iter().map(|(_, count)| count).sum::<u64>(), 1002);
        assert!(all.iter().any(|(code, count)| **code == *b"E1" && *count == 2));
    }
}

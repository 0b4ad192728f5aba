use crate::base::words::{self, UnbalancedQuotes};
use crate::protocol::Range;

/// Splits a line into words, which are unquoted in place; `ranges` gets their offsets plus `base`.
pub fn split(line: &mut [u8], base: usize, ranges: &mut Vec<Range>) -> Result<(), UnbalancedQuotes> {
    let first_range = ranges.len();
    let result = words::split(line, |word| {
        ranges.push(Range { start: (base + word.start) as u32, len: word.len() as u32 });
    });
    if result.is_err() {
        ranges.truncate(first_range);
    }
    result
}

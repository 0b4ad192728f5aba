//! Strings: operations of the string commands on plain bytes, and what a string is as a value.

mod value;

pub use value::{StringChange, StringValue};

use std::ops::{Range, RangeInclusive};
use thiserror::Error;

use crate::base::number;

/// `LCS` cannot index strings of this length or more.
const LCS_REFUSED_FROM_LENGTH: usize = u32::MAX as usize - 1;

/// What one cell of a full `LCS` table takes; limits are set by that table, though none is built.
const LCS_CELL_BYTES: u64 = 4;

/// What OBJECT ENCODING calls a string that is the text of an `i64`.
pub const INTEGER: &str = "int";
/// What it calls another short one.
const SHORT: &str = "embstr";
/// What it calls a long one, and one that APPEND, SETRANGE and the like have touched.
pub const RAW: &str = "raw";

/// Redis keeps longer strings apart from their headers, in bytes.
const SHORT_MAX_LENGTH: usize = 44;

const WORD_BITS: usize = u64::BITS as usize;

/// Why an operation is refused, in the words of the error reply (which puts "ERR " in front).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StringError {
    /// A sum is beyond 64 bits.
    #[error("increment or decrement would overflow")]
    IncrementOverflow,
    /// A decrement is the smallest number, which has no opposite.
    #[error("decrement would overflow")]
    DecrementOverflow,
    /// SETRANGE has a negative offset.
    #[error("offset is out of range")]
    OffsetOutOfRange,
    /// The string would be longer than `proto-max-bulk-len`.
    #[error("string exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLong,
    /// LCS cannot count so many bytes.
    #[error("String too long for LCS")]
    LcsTooLong,
    /// The table of an LCS would be larger than `proto-max-bulk-len`.
    #[error("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsOverLimit,
    /// There is no memory for the table of an LCS.
    #[error("Insufficient memory, failed allocating transient memory for LCS")]
    LcsAllocation,
}

/// The encoding that Redis would choose for a string as it is set.
pub fn encoding(value: &[u8]) -> &'static str {
    if number::parse_i64(value).is_some() {
        INTEGER
    } else if value.len() <= SHORT_MAX_LENGTH {
        SHORT
    } else {
        RAW
    }
}

/// `INCRBY`: the sum, if it is an `i64`.
pub fn increment(value: i64, by: i64) -> Result<i64, StringError> {
    value.checked_add(by).ok_or(StringError::IncrementOverflow)
}

/// `DECRBY`: the increment that stands for a decrement; the smallest `i64` has none.
pub fn increment_of_decrement(by: i64) -> Result<i64, StringError> {
    by.checked_neg().ok_or(StringError::DecrementOverflow)
}

/// `GETRANGE`: where in a value of `length` bytes those from index `start` to index `end` are, both included. Negative
/// indexes count from the end; what is outside of the value is cut off.
pub fn range(length: usize, start: i64, end: i64) -> Range<usize> {
    // Told apart before the indexes are cut to the value, or "-1 -100" would give the first byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let start = index(length, start);
    let end = index(length, end).saturating_add(1).min(length);
    if start < end { start..end } else { 0..0 }
}

/// Counts a negative index from the end, not going before the start.
fn index(length: usize, index: i64) -> usize {
    let distance = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { length.saturating_sub(distance) } else { distance }
}

/// `SETRANGE`: the offset as an index.
pub fn offset(offset: i64) -> Result<usize, StringError> {
    usize::try_from(offset).map_err(|_| StringError::OffsetOutOfRange)
}

/// `SETRANGE` and `APPEND`: the length of `length` bytes and `added` more, if `limit_bytes` (`proto-max-bulk-len`)
/// allows for it. `SETRANGE` passes its offset as `length`; it does not ask when it has nothing to set.
pub fn grown_length(length: usize, added: usize, limit_bytes: u64) -> Result<usize, StringError> {
    length.checked_add(added).filter(|&total| total as u64 <= limit_bytes).ok_or(StringError::TooLong)
}

/// `SETRANGE`: writes `patch` at `offset`, with zero bytes between the old end and the offset. Nothing is padded for
/// an empty patch. The caller has asked [`grown_length`].
pub fn set_range(value: &mut Vec<u8>, offset: usize, patch: &[u8]) {
    if patch.is_empty() {
        return;
    }
    let end = offset.saturating_add(patch.len());
    if value.len() < end {
        value.reserve_exact(end - value.len());
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(patch);
}

/// A run of bytes that both strings of an `LCS` have; the ranges are of the same length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LcsMatch {
    /// Where it is in the first string, in bytes.
    pub first: RangeInclusive<usize>,
    /// Where it is in the second string, in bytes.
    pub second: RangeInclusive<usize>,
}

impl LcsMatch {
    /// The bytes in the run: what `WITHMATCHLEN` shows.
    pub fn length(&self) -> usize {
        self.first.end() - self.first.start() + 1
    }
}

/// The longest common subsequence of two strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lcs {
    /// Its bytes.
    pub sequence: Vec<u8>,
    matches: Vec<LcsMatch>,
}

impl Lcs {
    /// The runs the sequence is made of, from the last to the first, those of fewer than `minimum_length` bytes
    /// (`MINMATCHLEN`; negative is as 0) left out.
    pub fn matches(&self, minimum_length: i64) -> impl Iterator<Item = &LcsMatch> {
        let minimum_length = u64::try_from(minimum_length).unwrap_or(0);
        self.matches.iter().filter(move |found| found.length() as u64 >= minimum_length)
    }
}

/// `LCS`: the longest common subsequence; of several, the one Redis finds. `limit_bytes` (`proto-max-bulk-len`) bounds
/// the table of four bytes a pair of bytes that Redis would build. What is built here takes less: for long strings a
/// sixteenth of that memory, and a step for every 64 pairs.
pub fn lcs(first: &[u8], second: &[u8], limit_bytes: u64) -> Result<Lcs, StringError> {
    check_lcs_limit(first.len(), second.len(), limit_bytes)?;
    let mut rows = LcsRows::new(first, second)?;
    let words = rows.words;
    let mut table: Vec<u64> = reserved(first.len() * words)?;
    for &byte in first {
        table.extend_from_slice(rows.next(byte));
    }

    let mut found = Lcs { sequence: Vec::with_capacity(rows.length()), matches: Vec::new() };
    let (mut first_left, mut second_left) = (first.len(), second.len());
    // The ends (exclusive) of the run that is being followed back.
    let mut run_ends = None;
    while first_left > 0 && second_left > 0 {
        let (row, column) = (first_left - 1, second_left - 1);
        if first[row] == second[column] {
            run_ends.get_or_insert((first_left, second_left));
            found.sequence.push(first[row]);
            (first_left, second_left) = (row, column);
            continue;
        }
        found.close_run(run_ends.take(), first_left, second_left);
        let word = table[row * words + column / WORD_BITS];
        if word >> (column % WORD_BITS) & 1 == 0 {
            first_left = row;
        } else {
            second_left = column;
        }
    }
    found.close_run(run_ends, first_left, second_left);
    found.sequence.reverse();
    Ok(found)
}

/// `LCS … LEN`: the length of the longest common subsequence alone, with the limit of [`lcs`].
pub fn lcs_length(first: &[u8], second: &[u8], limit_bytes: u64) -> Result<usize, StringError> {
    check_lcs_limit(first.len(), second.len(), limit_bytes)?;
    let mut rows = LcsRows::new(first, second)?;
    for &byte in first {
        rows.next(byte);
    }
    Ok(rows.length())
}

impl Lcs {
    /// Notes the run from the given starts to `ends`, if there is one.
    fn close_run(&mut self, ends: Option<(usize, usize)>, first_start: usize, second_start: usize) {
        if let Some((first_end, second_end)) = ends {
            self.matches.push(LcsMatch { first: first_start..=first_end - 1, second: second_start..=second_end - 1 });
        }
    }
}

/// Whether `LCS` takes strings of these lengths.
///
/// # Errors
/// Why not.
pub fn check_lcs_limit(first_length: usize, second_length: usize, limit_bytes: u64) -> Result<(), StringError> {
    if first_length.max(second_length) >= LCS_REFUSED_FROM_LENGTH {
        return Err(StringError::LcsTooLong);
    }
    let cells = (first_length as u64 + 1) * (second_length as u64 + 1);
    match cells.checked_mul(LCS_CELL_BYTES) {
        None => Err(StringError::LcsAllocation),
        Some(table_bytes) if table_bytes > limit_bytes => Err(StringError::LcsOverLimit),
        Some(_) => Ok(()),
    }
}

/// The rows of an `LCS` table, as bits: bit `j` of row `i` is 0 where the length of the subsequence of the first `i`
/// bytes of one string and the first `j` of the other is one more with byte `j` than without. That is all that
/// finding the way back needs: where two bytes differ, a 0 says that the row above holds the longer sequence.
///
/// Computed 64 columns at a time (H. Hyyrö, "Bit-parallel LCS-length computation revisited", 2004).
struct LcsRows {
    /// Words in a row.
    words: usize,
    row: Vec<u64>,
    /// For each distinct byte of the first string, a row with the bits set where the second string has it.
    places: Vec<u64>,
    /// Where in `places` a byte's row begins.
    place_of: [usize; 256],
}

impl LcsRows {
    fn new(first: &[u8], second: &[u8]) -> Result<Self, StringError> {
        let words = second.len().div_ceil(WORD_BITS);
        let mut place_of = [usize::MAX; 256];
        let mut distinct = 0;
        for &byte in first {
            let place = &mut place_of[usize::from(byte)];
            if *place == usize::MAX {
                *place = distinct * words;
                distinct += 1;
            }
        }
        let mut places = reserved(distinct * words)?;
        places.resize(distinct * words, 0u64);
        for (column, &byte) in second.iter().enumerate() {
            let place = place_of[usize::from(byte)];
            if place != usize::MAX {
                places[place + column / WORD_BITS] |= 1 << (column % WORD_BITS);
            }
        }
        let mut row = reserved(words)?;
        row.resize(words, u64::MAX);
        Ok(Self { words, row, places, place_of })
    }

    /// The row after the present one, for `byte`, which is one of the first string.
    fn next(&mut self, byte: u8) -> &[u64] {
        let place = self.place_of[usize::from(byte)];
        let places = &self.places[place..place + self.words];
        let mut carry = false;
        for (word, &places) in self.row.iter_mut().zip(places) {
            let taken = *word & places;
            let (sum, overflow) = word.overflowing_add(taken);
            let (sum, carry_overflow) = sum.overflowing_add(u64::from(carry));
            carry = overflow | carry_overflow;
            *word = sum | (*word & !places);
        }
        &self.row
    }

    /// The length of the subsequence up to the present row.
    fn length(&self) -> usize {
        self.row.iter().map(|word| word.count_zeros() as usize).sum()
    }
}

/// An empty vector with room for `capacity`, or the error of an allocation that failed.
fn reserved(capacity: usize) -> Result<Vec<u64>, StringError> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(capacity).map_err(|_| StringError::LcsAllocation)?;
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT_BYTES: u64 = 512 << 20;

    #[test]
    fn increments() {
        assert_eq!(increment(i64::MAX - 1, 1), Ok(i64::MAX));
        assert_eq!(increment(i64::MAX, 1), Err(StringError::IncrementOverflow));
        assert_eq!(increment(i64::MIN, -1), Err(StringError::IncrementOverflow));
        assert_eq!(increment_of_decrement(i64::MAX), Ok(-i64::MAX));
        assert_eq!(increment_of_decrement(i64::MIN), Err(StringError::DecrementOverflow));
    }

    #[test]
    fn ranges() {
        let cases: [(i64, i64, &[u8]); 13] = [
            (0, -1, b"abc"),
            (-1, -100, b""),
            (-100, -1, b"abc"),
            (5, 9, b""),
            (1, 0, b""),
            (-2, 1, b"b"),
            (1, 1, b"b"),
            (3, 3, b""),
            (-5, -4, b"a"),
            (0, i64::MAX, b"abc"),
            (i64::MIN, i64::MIN, b"a"),
            (i64::MIN, 0, b"a"),
            (i64::MAX, i64::MIN, b""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(&b"abc"[range(3, start, end)], expected, "{start} {end}");
            assert!(range(0, start, end).is_empty(), "{start} {end}");
        }
    }

    #[test]
    fn encodings() {
        let cases: [(&[u8], &str); 8] = [
            (b"", SHORT),
            (b"0", INTEGER),
            (b"-9223372036854775808", INTEGER),
            (b"9223372036854775808", SHORT),
            (b"01", SHORT),
            (b"1 ", SHORT),
            (&[b'x'; 44], SHORT),
            (&[b'x'; 45], RAW),
        ];
        for (value, expected) in cases {
            assert_eq!(encoding(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn growth() {
        assert_eq!(offset(5), Ok(5));
        assert_eq!(offset(-1), Err(StringError::OffsetOutOfRange));
        assert_eq!(grown_length(10, 6, 16), Ok(16));
        assert_eq!(grown_length(10, 7, 16), Err(StringError::TooLong));
        assert_eq!(grown_length(usize::MAX, 1, u64::MAX), Err(StringError::TooLong));
    }

    #[test]
    fn patches() {
        let patched = |value: &[u8], offset, patch| {
            let mut value = value.to_vec();
            set_range(&mut value, offset, patch);
            value
        };
        assert_eq!(patched(b"Hello World", 6, b"Redis"), b"Hello Redis");
        assert_eq!(patched(b"", 3, b"x"), b"\0\0\0x");
        assert_eq!(patched(b"ab", 1, b"xyz"), b"axyz");
        assert_eq!(patched(b"ab", 9, b""), b"ab");
    }

    #[test]
    fn lcs_of_two_texts() {
        let found = lcs(b"ohmytext", b"mynewtext", LIMIT_BYTES).unwrap();
        assert_eq!(found.sequence, b"mytext");
        let text = LcsMatch { first: 4..=7, second: 5..=8 };
        let my = LcsMatch { first: 2..=3, second: 0..=1 };
        assert_eq!(found.matches(0).collect::<Vec<_>>(), [&text, &my]);
        assert_eq!(found.matches(-1).count(), 2);
        assert_eq!(found.matches(4).collect::<Vec<_>>(), [&text]);
        assert_eq!(found.matches(5).count(), 0);
        assert_eq!(text.length(), 4);
    }

    #[test]
    fn lcs_of_nothing() {
        assert_eq!(lcs(b"", b"abc", LIMIT_BYTES), Ok(Lcs::default()));
        assert_eq!(lcs(b"abc", b"", LIMIT_BYTES), Ok(Lcs::default()));
        assert_eq!(lcs_length(b"", b"", LIMIT_BYTES), Ok(0));
    }

    #[test]
    fn lcs_is_limited() {
        let (first, second) = ([b'a'; 9], [b'b'; 4]);
        assert_eq!(lcs_length(&first, &second, 10 * 5 * 4), Ok(0));
        assert_eq!(lcs_length(&first, &second, 10 * 5 * 4 - 1), Err(StringError::LcsOverLimit));
        assert_eq!(lcs(&first, &second, 10 * 5 * 4 - 1), Err(StringError::LcsOverLimit));
    }

    /// The table as it is usually told of, and the way back through it: right, then up unless left is as good.
    fn lcs_by_table(first: &[u8], second: &[u8]) -> (Vec<u8>, Vec<(usize, usize)>) {
        let mut table = vec![vec![0; second.len() + 1]; first.len() + 1];
        for row in 1..=first.len() {
            for column in 1..=second.len() {
                table[row][column] = if first[row - 1] == second[column - 1] {
                    table[row - 1][column - 1] + 1
                } else {
                    table[row - 1][column].max(table[row][column - 1])
                };
            }
        }
        let (mut row, mut column) = (first.len(), second.len());
        let (mut sequence, mut places) = (Vec::new(), Vec::new());
        while row > 0 && column > 0 {
            if first[row - 1] == second[column - 1] {
                (row, column) = (row - 1, column - 1);
                sequence.insert(0, first[row]);
                places.push((row, column));
            } else if table[row - 1][column] > table[row][column - 1] {
                row -= 1;
            } else {
                column -= 1;
            }
        }
        (sequence, places)
    }

    proptest! {
        #[test]
        fn lcs_equals_the_table(first in "[a-d]{0,90}", second in "[a-e]{0,200}") {
            let (first, second) = (first.as_bytes(), second.as_bytes());
            let (sequence, places) = lcs_by_table(first, second);
            let found = lcs(first, second, LIMIT_BYTES).unwrap();
            prop_assert_eq!(&found.sequence, &sequence);
            prop_assert_eq!(lcs_length(first, second, LIMIT_BYTES), Ok(sequence.len()));
            let found_places: Vec<_> =
                found.matches(0).flat_map(|run| run.first.clone().rev().zip(run.second.clone().rev())).collect();
            prop_assert_eq!(found_places, places);
        }

        #[test]
        fn ranges_are_slices(value in prop::collection::vec(any::<u8>(), 0..20), start in -25i64..25, end in -25i64..25) {
            let length = value.len() as i64;
            let absolute = |index: i64| if index < 0 { (index + length).max(0) } else { index };
            let backwards = start < 0 && end < 0 && start > end;
            let expected: Vec<u8> = (0..length)
                .filter(|index| !backwards && (absolute(start)..=absolute(end)).contains(index))
                .map(|index| value[index as usize])
                .collect();
            prop_assert_eq!(&value[range(value.len(), start, end)], expected);
        }

        #[test]
        fn patches_are_read_back(
            value in prop::collection::vec(any::<u8>(), 0..20),
            offset in 0usize..30,
            patch in prop::collection::vec(any::<u8>(), 1..10),
        ) {
            let mut patched = value.clone();
            set_range(&mut patched, offset, &patch);
            prop_assert_eq!(patched.len(), value.len().max(offset + patch.len()));
            prop_assert_eq!(&patched[offset..offset + patch.len()], patch);
            let kept = value.len().min(offset);
            prop_assert_eq!(&patched[..kept], &value[..kept]);
        }
    }
}

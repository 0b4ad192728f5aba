//! Operations of the string commands on plain bytes.

use std::ops::RangeInclusive;
use thiserror::Error;

/// `LCS` cannot index strings of this length or more.
const LCS_REFUSED_FROM_LENGTH: usize = u32::MAX as usize - 1;

/// What one cell of a full `LCS` table takes; limits are set by that table, though none is built.
const LCS_CELL_BYTES: u64 = 4;

const WORD_BITS: usize = u64::BITS as usize;

/// Why an operation is refused, in the words of the error reply (which puts "ERR " in front).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StringError {
    #[error("increment or decrement would overflow")]
    IncrementOverflow,
    #[error("decrement would overflow")]
    DecrementOverflow,
    #[error("offset is out of range")]
    OffsetOutOfRange,
    #[error("string exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLong,
    #[error("String too long for LCS")]
    LcsTooLong,
    #[error("Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsOverLimit,
    #[error("Insufficient memory, failed allocating transient memory for LCS")]
    LcsAllocation,
}

/// `INCRBY`: the sum, if it is an `i64`.
pub fn increment(value: i64, by: i64) -> Result<i64, StringError> {
    value.checked_add(by).ok_or(StringError::IncrementOverflow)
}

/// `DECRBY`: the increment that stands for a decrement; the smallest `i64` has none.
pub fn increment_of_decrement(by: i64) -> Result<i64, StringError> {
    by.checked_neg().ok_or(StringError::DecrementOverflow)
}

/// `GETRANGE`: the bytes from index `start` to index `end`, both included. Negative indexes count from the end; what
/// is outside of the value is cut off.
pub fn range(value: &[u8], start: i64, end: i64) -> &[u8] {
    // Told apart before the indexes are cut to the value, or "-1 -100" would give the first byte.
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let start = index(value.len(), start);
    let end = index(value.len(), end).saturating_add(1).min(value.len());
    value.get(start..end).unwrap_or_default()
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
    pub first: RangeInclusive<usize>,
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
    check_lcs_limit(first, second, limit_bytes)?;
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
    check_lcs_limit(first, second, limit_bytes)?;
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

fn check_lcs_limit(first: &[u8], second: &[u8], limit_bytes: u64) -> Result<(), StringError> {
    if first.len().max(second.len()) >= LCS_REFUSED_FROM_LENGTH {
        return Err(StringError::LcsTooLong);
    }
    let cells = (first.len() as u64 + 1) * (second.len() as u64 + 1);
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

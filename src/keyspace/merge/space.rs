//! What the data directory takes, and how it stays within `maxdisk`.
//!
//! Deleting a key frees nothing until compaction has met its record, so the directory's size alone cannot tell how much is
//! to be evicted. What can is the keyspace's own count of bytes, which an eviction lowers at once: what these take in
//! files, compacted, is learned after each *pass*, a compaction of everything, piece by piece. Eviction keeps that
//! estimate at a share of the limit. Passes are made while the files hold much more than the estimate and the directory
//! comes near its limit; where it comes too near, writes wait. Amid writes a pass ends with garbage in the tables again, so
//! it tells a range only.
//!
//! An estimate that is too low lets the directory grow, which has a pass made, which corrects it. One that is too high
//! (garbage was taken for keys, or keys come that compress better) would keep the directory small, and no pass would come:
//! but what tables, log and memory hold is always a bound from above, which comes down as keys are evicted and compacted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::disk_throttle::DiskThrottle;
use crate::stats::Counter;
use crate::store::disk_share;

/// `maxdisk` below this cannot be kept.
pub const DISK_MIN_BYTES: u64 = 64 << 20;
/// Before there was a pass, the tables tell what a byte takes once they take so much.
const KNOWN_PERCENT: u64 = 50;
/// Less than one part in so many of the limit tells nothing of what a byte takes: next to what slots take it is lost.
const TELLING_SHARE: u64 = 16;
/// Of what is written over or deleted while a pass goes on, at most one part in so many is in the tables at its end.
const LEFTOVER_SHARE: f64 = 6.0;
/// A byte of a key is in its record and in two indexes, so it never takes more, garbage apart.
const RATIO_MAX: f64 = 4.0;
/// Of a segment of the journal, a part of `maxdisk`: see [`segment_bytes`].
const SEGMENT_SHARE: u64 = 64;
const SEGMENT_MIN_BYTES: u64 = 1 << 20;
/// What a key takes besides itself and its value: heads, and the indexes' entries.
const KEY_OVERHEAD_BYTES: u64 = 64;
/// What keys of that length together, and values, count as.
pub fn content_bytes(keys: u64, key_bytes: usize, value_bytes: usize) -> u64 {
    keys * KEY_OVERHEAD_BYTES + (key_bytes + value_bytes) as u64
}

/// How large the journal's segments are to be on a disk with this limit, where `most` would be taken without.
pub fn segment_bytes(maxdisk: u64, most: u64) -> u64 {
    disk_share(maxdisk, SEGMENT_SHARE, SEGMENT_MIN_BYTES, most)
}

/// What the directory takes, and what is to be done about it.
pub struct Space {
    /// As it was measured last.
    pub journal_bytes: AtomicU64,
    /// Of RocksDB's log.
    pub log_bytes: AtomicU64,
    /// Of RocksDB's other files, and of the reserve.
    pub file_bytes: AtomicU64,
    /// Of these, what are neither tables nor blob files.
    pub other_file_bytes: AtomicU64,
    /// All that clients had written by then.
    pub measured_total_bytes: AtomicU64,
    /// A float's bits: how many bytes of files a byte of keys and values takes. 0: not known.
    ratio: AtomicU64,
    /// A pass has ended, and nobody has drawn the conclusions.
    pub has_passed: AtomicBool,
    /// What was written over or deleted while it went on, as keys and values count.
    pub superseded_bytes: AtomicU64,
    /// How many rounds there had been when the last whole pass began; `u64::MAX`: there was none.
    pub passed_rounds: AtomicU64,
    /// When the last pass ended, whole or not, and how long it took.
    pub passed: Mutex<Option<(Instant, Duration)>>,
    /// What it left in files beside keys and values.
    pub garbage_left_bytes: AtomicU64,
    /// Held while figures are taken over, so that none comes back once they were forgotten.
    pub taking_over: Mutex<()>,
    /// Whether a pass is to be made, or is.
    pub pass: Mutex<Pass>,
    changed: Condvar,
    /// What lets some writes through while the directory is nearly full.
    pub throttle: DiskThrottle,
    /// Keys that were deleted for their age.
    pub evicted: Counter,
    /// Passes that came to their end.
    pub passes: Counter,
}

/// How the compaction of everything stands.
#[derive(Default)]
pub struct Pass {
    is_requested: bool,
    /// One is under way.
    pub is_running: bool,
    is_ended: bool,
}

impl Default for Space {
    fn default() -> Space {
        Space {
            journal_bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
            other_file_bytes: AtomicU64::new(0),
            measured_total_bytes: AtomicU64::new(0),
            ratio: AtomicU64::new(0),
            has_passed: AtomicBool::new(false),
            superseded_bytes: AtomicU64::new(0),
            passed_rounds: AtomicU64::new(u64::MAX),
            passed: Mutex::default(),
            garbage_left_bytes: AtomicU64::new(0),
            taking_over: Mutex::default(),
            pass: Mutex::default(),
            changed: Condvar::new(),
            throttle: DiskThrottle::default(),
            evicted: Counter::default(),
            passes: Counter::default(),
        }
    }
}

impl Space {
    /// All that counts towards `maxdisk`, as it was measured last; 0: there is no limit.
    pub fn used_bytes(&self) -> u64 {
        [&self.journal_bytes, &self.log_bytes, &self.file_bytes].iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// The same by now, given all that clients have written: at the least that much more, since a round that takes long
    /// has nobody measure meanwhile. 0: nobody has measured yet.
    pub fn present_bytes(&self, total_bytes: u64) -> u64 {
        match self.used_bytes() {
            0 => 0,
            used => used + total_bytes.saturating_sub(self.measured_total_bytes.load(Ordering::Relaxed)),
        }
    }

    /// Forgets all figures where there is no limit any more: nobody measures, and what was learned is void by the time there is one
    /// again.
    pub fn forget(&self) {
        let _taking_over = self.taking_over.lock();
        [&self.journal_bytes, &self.log_bytes, &self.file_bytes, &self.other_file_bytes, &self.ratio]
            .iter()
            .for_each(|figure| figure.store(0, Ordering::Relaxed));
        self.has_passed.store(false, Ordering::Release);
    }

    /// How many bytes of files a byte of keys and values takes; 0: not known.
    pub fn ratio(&self) -> f64 {
        f64::from_bits(self.ratio.load(Ordering::Relaxed))
    }

    /// Notes how many bytes of files a byte of keys and values takes.
    pub fn set_ratio(&self, ratio: f64) {
        self.ratio.store(ratio.to_bits(), Ordering::Relaxed);
    }

    /// Takes over what an earlier run has learned.
    pub fn restore_ratio(&self, ratio: f64) {
        self.set_ratio(ratio.clamp(0.0, RATIO_MAX));
    }

    /// Takes over what a byte takes, as far as it can be told. Returns it where a pass has told.
    pub fn learn(&self, limit_bytes: u64, content_bytes: u64, table_bytes: u64, unwritten_bytes: u64) -> Option<f64> {
        let has_passed = self.has_passed.swap(false, Ordering::AcqRel);
        if content_bytes <= limit_bytes / TELLING_SHARE {
            return None;
        }
        let ratio = |bytes: u64| (bytes as f64 / content_bytes as f64).min(RATIO_MAX);
        let found = ratio(table_bytes);
        let is_known = self.ratio() > 0.0;
        // Next to full tables, what is in none yet is little, and taken for garbage.
        let are_full = table_bytes > limit_bytes / 100 * KNOWN_PERCENT;
        let most = if are_full { found } else { ratio(table_bytes + unwritten_bytes) };
        if has_passed {
            self.set_ratio(self.ratio_after_pass(found, content_bytes));
        } else if !is_known && are_full {
            self.set_ratio(found);
        } else if is_known && self.ratio() > most {
            self.set_ratio(most);
        }
        has_passed.then(|| self.ratio())
    }

    /// What a byte takes, where the tables hold so much a byte of `content_bytes` after a pass. Amid writes some of it is
    /// garbage again, nobody knows how much: what was known before stays unless it cannot be.
    fn ratio_after_pass(&self, found: f64, content_bytes: u64) -> f64 {
        let superseded_bytes = self.superseded_bytes.load(Ordering::Relaxed);
        let garbage_share = (superseded_bytes as f64 / LEFTOVER_SHARE / content_bytes as f64).min(1.0);
        match self.ratio() {
            known if known > 0.0 && (found * (1.0 - garbage_share)..=found).contains(&known) => known,
            _ => found * (1.0 - garbage_share / 2.0),
        }
    }

    /// Whether everything was compacted since the last of so many rounds.
    pub fn has_passed_since_round(&self, rounds: u64) -> bool {
        self.passed_rounds.load(Ordering::Relaxed) == rounds
    }

    /// Whether the last pass ended so lately that another would make passes more than one part in `share` of the time.
    pub fn rests_from_pass(&self, share: u32) -> bool {
        self.passed.lock().is_some_and(|(ended, took)| ended.elapsed() < took * share)
    }

    /// What the last pass left in files beside keys and values, in bytes.
    pub fn garbage_left_bytes(&self) -> u64 {
        self.garbage_left_bytes.load(Ordering::Relaxed)
    }

    /// Asks for a pass, unless one is under way or there will be none any more.
    pub fn request_pass(&self) {
        let mut pass = self.pass.lock();
        if !pass.is_running && !pass.is_requested && !pass.is_ended {
            pass.is_requested = true;
            self.changed.notify_all();
        }
    }

    /// Waits until a pass is requested; false: none will be any more.
    pub fn wait_for_pass(&self) -> bool {
        let mut pass = self.pass.lock();
        while !pass.is_requested && !pass.is_ended {
            self.changed.wait(&mut pass);
        }
        pass.is_running = !pass.is_ended;
        pass.is_requested = false;
        pass.is_running
    }

    /// Ends passes for ever; the one under way breaks off.
    pub fn end(&self) {
        let mut pass = self.pass.lock();
        (pass.is_requested, pass.is_ended) = (false, true);
        self.changed.notify_all();
    }

    /// Whether a pass is under way, or has ended and was not made use of yet.
    pub fn is_compacting(&self) -> bool {
        let pass = self.pass.lock();
        !pass.is_ended && (pass.is_requested || pass.is_running || self.has_passed.load(Ordering::Acquire))
    }

    /// Whether there will be no pass any more.
    pub fn is_ended(&self) -> bool {
        self.pass.lock().is_ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_BYTES: u64 = 64 << 20;
    const MIB: u64 = 1 << 20;

    fn passed() -> Space {
        let space = Space::default();
        space.has_passed.store(true, Ordering::Release);
        space
    }

    #[test]
    fn next_to_nothing_tells_nothing() {
        let space = passed();
        space.set_ratio(0.5);
        for content_bytes in [0, 100, LIMIT_BYTES / TELLING_SHARE] {
            assert_eq!(space.learn(LIMIT_BYTES, content_bytes, 40 * MIB, 0), None);
            assert_eq!(space.ratio(), 0.5, "{content_bytes}");
            assert!(!space.is_compacting());
        }
        let space = Space::default();
        space.learn(LIMIT_BYTES, 5 * MIB, 40 * MIB, 0);
        assert_eq!(space.ratio(), RATIO_MAX, "that is garbage");
        space.restore_ratio(1e4);
        assert_eq!(space.ratio(), RATIO_MAX);
    }

    #[test]
    fn a_pass_tells_exactly_and_files_tell_a_bound() {
        let space = passed();
        assert_eq!(space.learn(LIMIT_BYTES, 20 * MIB, 10 * MIB, 5 * MIB), Some(0.5));
        assert_eq!(space.ratio(), 0.5);
        // More files may be garbage; fewer cannot be.
        assert_eq!(space.learn(LIMIT_BYTES, 20 * MIB, 40 * MIB, 0), None);
        assert_eq!(space.ratio(), 0.5);
        space.learn(LIMIT_BYTES, 40 * MIB, 9 * MIB, MIB);
        assert_eq!(space.ratio(), 0.25);
        space.forget();
        space.learn(LIMIT_BYTES, 20 * MIB, 30 * MIB, 0);
        assert_eq!(space.ratio(), 0.0, "less than half of the limit");
    }

    #[test]
    fn a_pass_amid_writes_tells_a_range() {
        let learned = |known: f64, superseded_bytes: u64| {
            let space = passed();
            space.set_ratio(known);
            space.superseded_bytes.store(superseded_bytes, Ordering::Relaxed);
            let learned = space.learn(LIMIT_BYTES, 20 * MIB, 10 * MIB, 0).expect("a pass has told");
            assert_eq!(space.ratio(), learned);
            learned
        };
        // Of 48 MiB a sixth, 8 of 20, may be garbage: 0.3 to 0.5.
        for (known, expected) in [(0.0, 0.4), (0.29, 0.4), (0.31, 0.31), (0.49, 0.49), (0.51, 0.4)] {
            assert!((learned(known, 48 * MIB) - expected).abs() < 1e-9, "{known}");
        }
        assert_eq!((learned(0.0, u64::MAX), learned(1e-3, u64::MAX)), (0.25, 1e-3));
        assert_eq!(learned(0.49, 0), 0.5);
    }

    #[test]
    fn what_is_written_counts_from_the_first_measurement_on() {
        let space = Space::default();
        assert_eq!(space.present_bytes(9 * MIB), 0);
        space.file_bytes.store(40 * MIB, Ordering::Relaxed);
        space.measured_total_bytes.store(9 * MIB, Ordering::Relaxed);
        assert_eq!(space.present_bytes(11 * MIB), 42 * MIB);
        space.forget();
        assert_eq!(space.present_bytes(500 * MIB), 0);
    }

    #[test]
    fn after_the_end_no_pass_is_requested() {
        let space = Space::default();
        space.request_pass();
        assert!(space.is_compacting());
        space.end();
        space.request_pass();
        assert!(!space.is_compacting());
        assert!(!space.wait_for_pass());
    }
}

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

use super::tier::Tier;
use super::trickle::Trickle;
use super::{Keyspace, Size};
use crate::base::clock;
use crate::base::slot::SLOTS;
use crate::stats::Counter;
use crate::store::directory::Usage;
use crate::store::disk_share;
use crate::store::record::{AgeIndex, prefix};
use crate::store::rocks::{Batch, RocksError};

/// `maxdisk` below this cannot be kept.
pub const DISK_MIN_BYTES: u64 = 64 << 20;
/// Of `maxdisk`, in percent: what is left of it besides journal and log is filled with keys up to the first; a pass begins
/// at the second, and from the third on writes wait, but for a [`Trickle`].
const KEYS_PERCENT: u64 = 60;
const PASS_PERCENT: u64 = 65;
const STALL_PERCENT: u64 = 78;
/// Once it has to, eviction goes so far below the bound.
const EVICTED_PERCENT: u64 = 2;
/// One that failed counts as if it had taken so long.
const FAILED_PASS: Duration = Duration::from_secs(3);
/// A pass has to be worth so much.
const GARBAGE_PERCENT: u64 = 5;
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
/// Segments that hold nothing, or little, that is not on disk otherwise: the present one, those about to be freed, spares.
const IDLE_SEGMENTS: u64 = 4;
/// What a key takes besides itself and its value: heads, and the indexes' entries.
const KEY_OVERHEAD_BYTES: u64 = 64;
/// A pass compacts about so many tables at a time, in so many pieces of a database at most.
const PIECE_TABLES: u64 = 2;
const PIECES_MAX: u64 = 256;

/// What keys of that length together, and values, count as.
pub(super) fn content_bytes(keys: u64, key_bytes: usize, value_bytes: usize) -> u64 {
    keys * KEY_OVERHEAD_BYTES + (key_bytes + value_bytes) as u64
}

/// How large the journal's segments are to be on a disk with this limit, where `most` would be taken without.
pub fn segment_bytes(maxdisk: u64, most: u64) -> u64 {
    disk_share(maxdisk, SEGMENT_SHARE, SEGMENT_MIN_BYTES, most)
}

/// What the directory takes, and what is to be done about it.
pub struct Space {
    /// As it was measured last.
    journal_bytes: AtomicU64,
    log_bytes: AtomicU64,
    file_bytes: AtomicU64,
    /// Of these, what are neither tables nor blob files.
    other_file_bytes: AtomicU64,
    /// All that clients had written by then.
    measured_total_bytes: AtomicU64,
    /// A float's bits: how many bytes of files a byte of keys and values takes. 0: not known.
    ratio: AtomicU64,
    /// A pass has ended, and nobody has drawn the conclusions.
    has_passed: AtomicBool,
    /// What was written over or deleted while it went on, as keys and values count.
    superseded_bytes: AtomicU64,
    /// How many rounds there had been when the last whole pass began; `u64::MAX`: there was none.
    passed_rounds: AtomicU64,
    /// When the last pass ended, whole or not, and how long it took.
    passed: Mutex<Option<(Instant, Duration)>>,
    /// What it left in files beside keys and values.
    garbage_left_bytes: AtomicU64,
    /// Held while figures are taken over, so that none comes back once they were forgotten.
    taking_over: Mutex<()>,
    pass: Mutex<Pass>,
    changed: Condvar,
    trickle: Trickle,
    /// Keys that were deleted for their age.
    pub evicted: Counter,
    pub passes: Counter,
}

#[derive(Default)]
struct Pass {
    is_wanted: bool,
    is_running: bool,
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
            trickle: Trickle::default(),
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
    fn present_bytes(&self, total_bytes: u64) -> u64 {
        match self.used_bytes() {
            0 => 0,
            used => used + total_bytes.saturating_sub(self.measured_total_bytes.load(Ordering::Relaxed)),
        }
    }

    /// There is no limit any more: nobody measures, and what was learned is void by the time there is one again.
    pub(super) fn forget(&self) {
        let _taking_over = self.taking_over.lock();
        [&self.journal_bytes, &self.log_bytes, &self.file_bytes, &self.other_file_bytes, &self.ratio]
            .iter()
            .for_each(|figure| figure.store(0, Ordering::Relaxed));
        self.has_passed.store(false, Ordering::Release);
    }

    fn ratio(&self) -> f64 {
        f64::from_bits(self.ratio.load(Ordering::Relaxed))
    }

    pub(super) fn set_ratio(&self, ratio: f64) {
        self.ratio.store(ratio.to_bits(), Ordering::Relaxed);
    }

    /// What an earlier run has learned.
    pub(super) fn restore_ratio(&self, ratio: f64) {
        self.set_ratio(ratio.clamp(0.0, RATIO_MAX));
    }

    /// Takes over what a byte takes, as far as it can be told. Returns it where a pass has told.
    fn learn(&self, limit_bytes: u64, content_bytes: u64, table_bytes: u64, unwritten_bytes: u64) -> Option<f64> {
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
    pub(super) fn has_passed_since_round(&self, rounds: u64) -> bool {
        self.passed_rounds.load(Ordering::Relaxed) == rounds
    }

    /// Whether the last pass ended so lately that another would make passes more than one part in `share` of the time.
    pub(super) fn rests_from_pass(&self, share: u32) -> bool {
        self.passed.lock().is_some_and(|(ended, took)| ended.elapsed() < took * share)
    }

    pub(super) fn garbage_left_bytes(&self) -> u64 {
        self.garbage_left_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn want_pass(&self) {
        let mut pass = self.pass.lock();
        if !pass.is_running && !pass.is_wanted && !pass.is_ended {
            pass.is_wanted = true;
            self.changed.notify_all();
        }
    }

    /// Waits until a pass is wanted; false: none will be any more.
    pub fn wait_for_pass(&self) -> bool {
        let mut pass = self.pass.lock();
        while !pass.is_wanted && !pass.is_ended {
            self.changed.wait(&mut pass);
        }
        pass.is_running = !pass.is_ended;
        pass.is_wanted = false;
        pass.is_running
    }

    /// No more passes; the one under way breaks off.
    pub fn end(&self) {
        let mut pass = self.pass.lock();
        (pass.is_wanted, pass.is_ended) = (false, true);
        self.changed.notify_all();
    }

    /// Whether a pass is under way, or has ended and was not made use of yet.
    pub fn is_compacting(&self) -> bool {
        let pass = self.pass.lock();
        !pass.is_ended && (pass.is_wanted || pass.is_running || self.has_passed.load(Ordering::Acquire))
    }

    fn is_ended(&self) -> bool {
        self.pass.lock().is_ended
    }
}

impl Keyspace {
    /// What keys and values hold, in memory and on disk.
    pub(super) fn content_bytes(&self) -> u64 {
        let total = self.used().map(|database| database.tally.size()).fold(Size::default(), |mut sum, size| {
            sum.add(size.as_change());
            sum
        });
        content_bytes(total.keys, total.key_bytes as usize, total.value_bytes as usize)
    }

    /// About what the keys take in files, what is deleted apart.
    pub fn live_disk_bytes(&self) -> u64 {
        self.tier().map_or(0, |tier| (self.content_bytes() as f64 * tier.space.ratio()) as u64)
    }

    /// By how much keys and values have to shrink, in their own bytes.
    pub fn excess_bytes(&self, tier: &Tier) -> u64 {
        let (limit_bytes, space) = (self.settings.maxdisk.get(), &tier.space);
        if limit_bytes == 0 || space.ratio() == 0.0 {
            return 0;
        }
        let journals = space.journal_bytes.load(Ordering::Relaxed) + space.log_bytes.load(Ordering::Relaxed);
        let others = journals + space.other_file_bytes.load(Ordering::Relaxed);
        let room_bytes = limit_bytes.saturating_sub(others);
        let live_bytes = self.live_disk_bytes();
        if live_bytes <= room_bytes / 100 * KEYS_PERCENT {
            return 0;
        }
        let excess_bytes = live_bytes - room_bytes / 100 * (KEYS_PERCENT - EVICTED_PERCENT);
        (excess_bytes as f64 / space.ratio()) as u64
    }

    /// Takes over what the data directory takes, and asks for what follows from it. To be called by the merger's thread,
    /// between its rounds.
    pub fn note_usage(&self, usage: Usage) {
        let Some(tier) = self.tier() else { return };
        let space = &tier.space;
        let taking_over = space.taking_over.lock();
        let limit_bytes = self.settings.maxdisk.get();
        if limit_bytes == 0 {
            return;
        }
        space.measured_total_bytes.store(tier.pace.total_bytes(self.dirty_bytes()), Ordering::Relaxed);
        let (table_bytes, other_file_bytes) = (tier.store.file_bytes(), tier.store.other_file_bytes());
        space.journal_bytes.store(usage.journal_bytes, Ordering::Relaxed);
        space.log_bytes.store(usage.log_bytes, Ordering::Relaxed);
        space.file_bytes.store(usage.file_bytes + usage.reserve_bytes, Ordering::Relaxed);
        space.other_file_bytes.store(other_file_bytes + usage.reserve_bytes, Ordering::Relaxed);
        let unwritten_bytes = usage.log_bytes + self.dirty_bytes();
        let learned = space.learn(limit_bytes, self.content_bytes(), table_bytes, unwritten_bytes);
        drop(taking_over);
        if let Some(ratio) = learned {
            self.note_ratio(tier, ratio);
        }
        let garbage_bytes = table_bytes.saturating_sub(self.live_disk_bytes());
        let is_near = space.used_bytes() > limit_bytes / 100 * PASS_PERCENT;
        // Without another round there is nothing new to drop but what one pass leaves of blob files: it is worth a pass
        // only while writes wait.
        let is_worth_it =
            !space.has_passed_since_round(tier.counters.rounds.get()) || self.is_disk_full(tier, self.dirty_bytes());
        if is_near && is_worth_it && garbage_bytes > limit_bytes / 100 * GARBAGE_PERCENT {
            space.want_pass();
        }
    }

    /// For the next start, which would have to take garbage for keys.
    fn note_ratio(&self, tier: &Tier, ratio: f64) {
        if !tier.merger.lock().ages.is_complete() {
            return;
        }
        let mut batch = Batch::default();
        batch.put_age_index(Some(AgeIndex { is_complete: true, disk_bytes_a_byte: ratio }));
        if let Err(error) = tier.store.write(&batch) {
            tracing::warn!(%error, "what a byte takes on disk is not noted for the next start");
        }
    }

    /// Compacts everything, piece by piece, unless it is to end before.
    ///
    /// # Errors
    /// When the store is not open, or a compaction has failed.
    pub fn compact_for_space(&self) -> Result<(), RocksError> {
        let Some(tier) = self.tier() else { return Ok(()) };
        let (began, rounds) = (Instant::now(), tier.counters.rounds.get());
        // Falls as what is written over or deleted grows.
        let kept_less_written = || self.content_bytes() as i64 - tier.pace.total_bytes(self.dirty_bytes()) as i64;
        let before = kept_less_written();
        let result = match self.compact_all(tier) {
            // The store was closed under it.
            Err(_) if tier.space.is_ended() => Ok(false),
            result => result,
        };
        if let Ok(true) = result {
            tier.space.passes.add(1);
            tier.space.passed_rounds.store(rounds, Ordering::Relaxed);
            let superseded_bytes = (before - kept_less_written()).max(0) as u64;
            tier.space.superseded_bytes.store(superseded_bytes, Ordering::Relaxed);
            tier.space.garbage_left_bytes.store(self.garbage_bytes(tier), Ordering::Relaxed);
            // Without a limit nobody draws conclusions, and later ones would be wrong.
            tier.space.has_passed.store(self.settings.maxdisk.get() > 0, Ordering::Release);
        }
        let least = if result.is_err() { FAILED_PASS } else { Duration::ZERO };
        *tier.space.passed.lock() = Some((Instant::now(), began.elapsed().max(least)));
        tier.space.pass.lock().is_running = false;
        result.map(drop)
    }

    /// False: it was broken off.
    fn compact_all(&self, tier: &Tier) -> Result<bool, RocksError> {
        let (record_bytes, table_bytes) = tier.store.record_table_bytes();
        let pieces = (record_bytes / (table_bytes * PIECE_TABLES)).clamp(1, PIECES_MAX) as u32;
        for physical in (0..self.databases()).filter(|physical| self.databases[*physical].slots.get().is_some()) {
            let from = |piece: u32| match (u32::from(SLOTS) * piece / pieces) as u16 {
                SLOTS => prefix(physical as u8 + 1, 0, 0),
                slot => prefix(physical as u8, slot, 0),
            };
            for piece in 0..pieces {
                if tier.space.is_ended() {
                    return Ok(false);
                }
                tier.store.compact_records(&from(piece), &from(piece + 1))?;
            }
        }
        tier.store.compact_indexes()?;
        // The log holds nothing then that is not in tables.
        tier.store.flush()?;
        Ok(!tier.space.is_ended())
    }

    /// Whether a write may go on although the directory is so near to `maxdisk`.
    pub(super) fn trickles(&self, tier: &Tier, dirty_bytes: u64) -> bool {
        let (limit_bytes, total_bytes) = (self.settings.maxdisk.get(), tier.pace.total_bytes(dirty_bytes));
        tier.space.trickle.lets_through(
            clock::now_ms(),
            total_bytes,
            tier.space.present_bytes(total_bytes),
            limit_bytes,
        )
    }

    /// Whether the directory is so near to `maxdisk` that writes have to wait.
    #[inline]
    pub(super) fn is_disk_full(&self, tier: &Tier, dirty_bytes: u64) -> bool {
        let limit_bytes = self.settings.maxdisk.get();
        let present_bytes = || tier.space.present_bytes(tier.pace.total_bytes(dirty_bytes));
        limit_bytes > 0 && present_bytes() > limit_bytes / 100 * STALL_PERCENT
    }

    /// The least that `maxdisk` can be set to now: twice what journal and log may take as this start has made them.
    pub fn disk_min_bytes(&self) -> u64 {
        let Some(tier) = self.tier() else { return 0 };
        let segment_bytes = tier.opened_journal().map_or(0, |journal| journal.segment_bytes());
        (2 * (IDLE_SEGMENTS * segment_bytes + 2 * tier.store.log_max_bytes())).max(DISK_MIN_BYTES)
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
    fn after_the_end_no_pass_is_wanted() {
        let space = Space::default();
        space.want_pass();
        assert!(space.is_compacting());
        space.end();
        space.want_pass();
        assert!(!space.is_compacting());
        assert!(!space.wait_for_pass());
    }
}

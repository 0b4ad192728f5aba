//! Keeping the data directory within `maxdisk`: what it takes is measured and learned from, and passes are made.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::memory::counts::Size;
use super::merger::Merging;
use super::space::{DISK_MIN_BYTES, content_bytes};
use crate::base::clock;
use crate::base::slot::SLOTS;
use crate::store::directory::Usage;
use crate::store::record::{AgeIndex, prefix};
use crate::store::rocks::{Batch, RocksError};

/// Of `maxdisk`, in percent: what is left of it besides journal and log is filled with keys up to the first; a pass begins
/// at the second, and from the third on writes wait, but for what a [`DiskThrottle`](super::disk_throttle::DiskThrottle) lets through.
const KEYS_PERCENT: u64 = 60;
const PASS_PERCENT: u64 = 65;
const STALL_PERCENT: u64 = 78;
/// Once it has to, eviction goes so far below the bound.
const EVICTED_PERCENT: u64 = 2;
/// One that failed counts as if it had taken so long.
const FAILED_PASS: Duration = Duration::from_secs(3);
/// A pass has to be worth so much.
const GARBAGE_PERCENT: u64 = 5;
/// Segments that hold nothing, or little, that is not on disk otherwise: the present one, those about to be freed, spares.
const IDLE_SEGMENTS: u64 = 4;
/// A pass compacts about so many tables at a time, in so many pieces of a database at most.
const PIECE_TABLES: u64 = 2;
const PIECES_MAX: u64 = 256;

impl Merging<'_> {
    /// What keys and values hold, in memory and on disk.
    pub fn content_bytes(&self) -> u64 {
        let total = self.used().map(|database| database.counts.size()).fold(Size::default(), |mut sum, size| {
            sum.add(size.as_change());
            sum
        });
        content_bytes(total.keys, total.key_bytes as usize, total.value_bytes as usize)
    }

    /// About what the keys take in files, what is deleted apart.
    pub fn live_disk_bytes(&self) -> u64 {
        (self.content_bytes() as f64 * self.merger.space.ratio()) as u64
    }

    /// How much less keys and values have to be, in their own bytes.
    pub fn excess_bytes(&self) -> u64 {
        let (limit_bytes, space) = (self.settings.maxdisk.get(), &self.merger.space);
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
        let space = &self.merger.space;
        let taking_over = space.taking_over.lock();
        let limit_bytes = self.settings.maxdisk.get();
        if limit_bytes == 0 {
            return;
        }
        space.measured_total_bytes.store(self.tier.throttle.total_bytes(self.dirty_bytes()), Ordering::Relaxed);
        let (table_bytes, other_file_bytes) = (self.tier.store.file_bytes(), self.tier.store.other_file_bytes());
        space.journal_bytes.store(usage.journal_bytes, Ordering::Relaxed);
        space.log_bytes.store(usage.log_bytes, Ordering::Relaxed);
        space.file_bytes.store(usage.file_bytes + usage.reserve_bytes, Ordering::Relaxed);
        space.other_file_bytes.store(other_file_bytes + usage.reserve_bytes, Ordering::Relaxed);
        let unwritten_bytes = usage.log_bytes + self.dirty_bytes();
        let learned = space.learn(limit_bytes, self.content_bytes(), table_bytes, unwritten_bytes);
        drop(taking_over);
        if let Some(ratio) = learned {
            self.note_ratio(ratio);
        }
        let garbage_bytes = table_bytes.saturating_sub(self.live_disk_bytes());
        let is_near = space.used_bytes() > limit_bytes / 100 * PASS_PERCENT;
        // Without another round there is nothing new to drop but what one pass leaves of blob files: it is worth a pass
        // only while writes wait.
        let is_worth_it =
            !space.has_passed_since_round(self.tier.counters.rounds.get()) || self.is_disk_full(self.dirty_bytes());
        if is_near && is_worth_it && garbage_bytes > limit_bytes / 100 * GARBAGE_PERCENT {
            space.request_pass();
        }
    }

    /// Writes down what a byte takes for the next start, which would have to take garbage for keys.
    fn note_ratio(&self, ratio: f64) {
        if !self.merger.state().ages.is_complete() {
            return;
        }
        let mut batch = Batch::default();
        batch.put_age_index(Some(AgeIndex { is_complete: true, disk_bytes_a_byte: ratio }));
        if let Err(error) = self.tier.store.write(&batch) {
            tracing::warn!(%error, "what a byte takes on disk is not noted for the next start");
        }
    }

    /// Compacts everything, piece by piece, unless it is to end before.
    ///
    /// # Errors
    /// When the store is not open, or a compaction has failed.
    pub fn compact_for_space(&self) -> Result<(), RocksError> {
        let (began, rounds) = (Instant::now(), self.tier.counters.rounds.get());
        // Falls as what is written over or deleted grows.
        let kept_less_written =
            || self.content_bytes() as i64 - self.tier.throttle.total_bytes(self.dirty_bytes()) as i64;
        let before = kept_less_written();
        let result = match self.compact_all() {
            // The store was closed under it.
            Err(_) if self.merger.space.is_ended() => Ok(false),
            result => result,
        };
        if let Ok(true) = result {
            self.merger.space.passes.add(1);
            self.merger.space.passed_rounds.store(rounds, Ordering::Relaxed);
            let superseded_bytes = (before - kept_less_written()).max(0) as u64;
            self.merger.space.superseded_bytes.store(superseded_bytes, Ordering::Relaxed);
            self.merger.space.garbage_left_bytes.store(self.garbage_bytes(), Ordering::Relaxed);
            // Without a limit nobody draws conclusions, and later ones would be wrong.
            self.merger.space.has_passed.store(self.settings.maxdisk.get() > 0, Ordering::Release);
        }
        let least = if result.is_err() { FAILED_PASS } else { Duration::ZERO };
        *self.merger.space.passed.lock() = Some((Instant::now(), began.elapsed().max(least)));
        self.merger.space.pass.lock().is_running = false;
        result.map(drop)
    }

    /// False: it was broken off.
    fn compact_all(&self) -> Result<bool, RocksError> {
        let (record_bytes, table_bytes) = self.tier.store.record_table_bytes();
        let pieces = (record_bytes / (table_bytes * PIECE_TABLES)).clamp(1, PIECES_MAX) as u32;
        for physical in (0..self.databases()).filter(|physical| self.databases.all[*physical].slots.get().is_some()) {
            let from = |piece: u32| match (u32::from(SLOTS) * piece / pieces) as u16 {
                SLOTS => prefix(physical as u8 + 1, 0, 0),
                slot => prefix(physical as u8, slot, 0),
            };
            for piece in 0..pieces {
                if self.merger.space.is_ended() {
                    return Ok(false);
                }
                self.tier.store.compact_records(&from(piece), &from(piece + 1))?;
            }
        }
        self.tier.store.compact_indexes()?;
        // The log holds nothing then that is not in tables.
        self.tier.store.flush()?;
        Ok(!self.merger.space.is_ended())
    }

    /// Whether a write may go on although the directory is so near to `maxdisk`.
    pub fn is_throttled_through(&self, dirty_bytes: u64) -> bool {
        let (limit_bytes, total_bytes) = (self.settings.maxdisk.get(), self.tier.throttle.total_bytes(dirty_bytes));
        self.merger.space.throttle.lets_through(
            clock::now_ms(),
            total_bytes,
            self.merger.space.present_bytes(total_bytes),
            limit_bytes,
        )
    }

    /// Whether the directory is so near to `maxdisk` that writes have to wait.
    #[inline]
    pub fn is_disk_full(&self, dirty_bytes: u64) -> bool {
        let limit_bytes = self.settings.maxdisk.get();
        let present_bytes = || self.merger.space.present_bytes(self.tier.throttle.total_bytes(dirty_bytes));
        limit_bytes > 0 && present_bytes() > limit_bytes / 100 * STALL_PERCENT
    }

    /// The least that `maxdisk` can be set to now: twice what journal and log may take as this start has made them.
    pub fn disk_min_bytes(&self) -> u64 {
        let segment_bytes = self.tier.opened_journal().map_or(0, |journal| journal.segment_bytes());
        (2 * (IDLE_SEGMENTS * segment_bytes + 2 * self.tier.store.log_max_bytes())).max(DISK_MIN_BYTES)
    }
}

//! How the disk stands to writes, by how far the merger is behind them.

use super::super::disk::throttle::{JOURNAL_SHARE, wait_ms};
use super::super::disk::tier::Pressure;
use super::merger::Merging;

impl Merging<'_> {
    /// Whether the disk can take more writes; asks for a round in good time before it cannot.
    pub fn pressure(&self) -> Pressure {
        if self.tier.has_failed() {
            // The next round tells when it does no longer.
            self.tier.requests.round();
            return Pressure::Broken;
        }
        let limit_bytes = self.dirty_limit_bytes();
        let (dirty_bytes, journal_bytes) = (self.dirty_bytes(), self.tier.journal_bytes());
        let is_disk_full = self.is_disk_full(dirty_bytes);
        if dirty_bytes >= limit_bytes / 2 || journal_bytes >= limit_bytes || is_disk_full {
            self.tier.requests.round();
        }
        let is_journal_full = journal_bytes >= limit_bytes.saturating_mul(JOURNAL_SHARE);
        let is_full = is_journal_full || is_disk_full && !self.is_throttled_through(dirty_bytes);
        match wait_ms(self.tier.throttle.backlog_bytes(dirty_bytes, journal_bytes), limit_bytes).filter(|_| !is_full) {
            None => {
                self.tier.counters.stalls.add(1);
                Pressure::Behind
            }
            Some(0) => Pressure::None,
            Some(wait_ms) => Pressure::Ahead(wait_ms),
        }
    }

    /// Whether a disk that is full takes what only removes keys: that needs room in the journal's present segment at most, and
    /// in memory up to the bound.
    pub fn admits_removals(&self) -> bool {
        let limit_bytes = self.dirty_limit_bytes();
        self.tier.is_full()
            && self.tier.opened_journal().is_none_or(|journal| !journal.has_failed())
            && self.dirty_bytes() < limit_bytes
            && self.tier.journal_bytes() < limit_bytes.saturating_mul(JOURNAL_SHARE)
    }

    /// Whether writes are made to wait for the round under way.
    pub fn is_nearly_behind(&self) -> bool {
        self.tier.throttle.backlog_bytes(self.dirty_bytes(), self.tier.journal_bytes()) >= self.dirty_limit_bytes()
    }
}

//! What is deleted and still takes its place on disk.
//!
//! RocksDB compacts where much is written. Where much was deleted and little is written, what was deleted would stay; and
//! `maxdisk`, which has a server compact, may be far away or not set. So the merger's thread looks at what the files hold
//! beside what the keys may take, and has a pass made (see `space`) where most of it is garbage, and clients write so little
//! that RocksDB would be long in coming to it. Files that hold nothing but flushed keys go at once, unread.

use std::time::{Duration, Instant};

use super::merger::{MergerState, Merging};

/// Beside keys and values, so much may lie in files; and without any.
const GARBAGE_MIN_BYTES: u64 = 8 << 20;
const GARBAGE_ALONE_MIN_BYTES: u64 = 256 << 10;
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What clients write from one look to the next is little if it is less than one part in so many of the garbage.
const QUIET_SHARE: u64 = 32;
/// Of a server without keys, the logs rest once nothing was written for so many looks.
const RESTING_LOOKS: u32 = 4;
/// Passes take one part in so many of the time at most.
const PASS_SHARE: u32 = 20;

/// What is remembered from one look to the next.
pub struct Garbage {
    next: Instant,
    /// All that clients had written then.
    total_bytes: u64,
    /// The rounds that there had been, and how many looks ago there were fewer.
    rounds: u64,
    looks: u32,
}

impl Garbage {
    /// Begins to look a second after `now`.
    pub fn new(now: Instant) -> Garbage {
        Garbage { next: now + LOOK_INTERVAL, total_bytes: 0, rounds: 0, looks: 0 }
    }
}

impl Merging<'_> {
    /// Asks for a pass where it is worth one, if it is time to look.
    pub fn look_for_garbage(&self, last: &mut Garbage, now: Instant) {
        if now < last.next {
            return;
        }
        last.next = now + LOOK_INTERVAL;
        let total_bytes = self.tier.throttle.total_bytes(self.dirty_bytes());
        let written_bytes = total_bytes.saturating_sub(last.total_bytes);
        last.total_bytes = total_bytes;
        let rounds = self.tier.counters.rounds.get();
        last.looks = if (rounds, written_bytes) == (last.rounds, 0) { last.looks.saturating_add(1) } else { 0 };
        last.rounds = rounds;
        self.let_logs_rest(last.looks);
        let space = &self.merger.space;
        if space.has_passed_since_round(rounds) || space.rests_from_pass(PASS_SHARE) {
            return;
        }
        let content_bytes = self.content_bytes();
        let garbage_bytes = self.garbage_bytes();
        // What a pass could not take away last time, it will not take away now, unless it still belonged to keys then.
        let worth_bytes = match content_bytes {
            0 => GARBAGE_ALONE_MIN_BYTES,
            _ => (content_bytes + GARBAGE_MIN_BYTES).max(2 * space.garbage_left_bytes()),
        };
        if garbage_bytes > worth_bytes && written_bytes < garbage_bytes / QUIET_SHARE {
            space.request_pass();
        }
    }

    /// Without keys, neither the journal nor RocksDB's log keeps files ready for what nobody writes.
    fn let_logs_rest(&self, quiet_looks: u32) {
        let Some(journal) = self.tier.opened_journal().filter(|_| quiet_looks == RESTING_LOOKS) else { return };
        if self.total_keys() > 0 {
            return;
        }
        let flushed = self.tier.store.flush().map_err(|error| error.to_string());
        if let Err(error) = flushed.and_then(|()| journal.rest().map_err(|error| error.to_string())) {
            tracing::warn!(%error, "what is kept ready for writes takes its place on disk");
        }
    }

    /// What lies in files beside keys and values, if those take there what they are long.
    pub fn garbage_bytes(&self) -> u64 {
        self.tier.store.file_bytes().saturating_sub(self.content_bytes())
    }

    /// Drops the files that held nothing but flushed databases, before a round writes anything into these.
    pub fn drop_flushed(&self, state: &mut MergerState) {
        for physical in std::mem::take(&mut state.flushed) {
            if let Err(error) = self.tier.store.drop_database_files(physical) {
                tracing::warn!(%error, "what was flushed takes its place on disk until it is compacted");
            }
        }
    }
}

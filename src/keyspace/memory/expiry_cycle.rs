//! The active expiry cycle: deleting keys whose expiry has passed before anybody looks for them.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::databases::Databases;
use super::entry::Entry;
use super::key::Caller;
use super::locked::LockedSlot;
use crate::base::slot::SLOTS;

/// How many due keys one visit of the active cycle deletes before it lets go of the lock.
const EXPIRE_STEP: usize = 64;

/// Where the active expiry cycle goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryCursor(usize);

impl Databases {
    /// Deletes keys whose expiry has passed, until `deadline` at the latest. It begins at `cursor` and leaves there
    /// where to go on, so that no slot waits for ever behind others. Returns whether it got through all of them.
    pub fn expire_due(&self, now_ms: u64, cursor: &mut ExpiryCursor, deadline: Instant) -> bool {
        if !self.expires_actively.load(Ordering::Relaxed) {
            return true;
        }
        let caller = Caller { now_ms, touches: false };
        let slots = usize::from(SLOTS);
        for _ in 0..self.all.len() + 1 {
            let physical = cursor.0 / slots % self.all.len();
            let first = cursor.0 % slots;
            let deadlines_ms =
                self.all[physical].slots.get().map_or([].as_slice(), |slots| &slots.deadlines_ms[first..]);
            for (offset, next_ms) in deadlines_ms.iter().enumerate() {
                while next_ms.load(Ordering::Relaxed) <= now_ms {
                    let number = (first + offset) as u16;
                    if self.lock_slot(caller, physical as u8, number).expire_due() == 0 {
                        break;
                    }
                    if Instant::now() >= deadline {
                        cursor.0 = physical * slots + first + offset;
                        return false;
                    }
                }
            }
            cursor.0 = (physical + 1) % self.all.len() * slots;
        }
        true
    }
}

impl LockedSlot<'_> {
    /// Deletes up to [`EXPIRE_STEP`] keys whose expiry has passed. Returns how many records it went through.
    pub(in crate::keyspace) fn expire_due(&mut self) -> usize {
        let now_ms = self.caller.now_ms;
        let mut records = 0;
        while records < EXPIRE_STEP {
            let Some(token) = self.slot.expiries.pop_due(now_ms) else { break };
            records += 1;
            let is_due = |entry: &Entry| entry.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= now_ms);
            if let Some(index) = self.slot.table.find(token, is_due) {
                self.expire(index);
            }
        }
        self.publish_deadline();
        records
    }
}

//! What the slots take beside the keys and values in them, and how long keys still have to live: estimates from a
//! few slots, so that asking costs little.

use super::databases::Databases;
use super::key::Caller;
use super::slots::Slots;
use crate::base::slot::SLOTS;

/// Slots looked at for an estimate of memory.
const SLOT_SAMPLES: u16 = 64;
/// Keys with an expiry looked at for an estimate of their time to live.
const TTL_SAMPLES: u64 = 256;
/// Keys of one slot looked at for it, however many of them have an expiry.
const SLOT_TTL_SAMPLES: usize = 4096;
impl Slots {
    /// Bytes of the slots (first) and of what is known of their deadlines (second), however many keys there are.
    fn fixed_bytes(&self) -> (u64, u64) {
        let slots = size_of_val(&*self.slots) + self.entries.memory_bytes();
        let deadlines = size_of_val(&*self.deadlines_ms) + self.expiring.memory_bytes();
        (slots as u64, deadlines as u64)
    }
}

impl Databases {
    /// Bytes that the slots of all databases that are in use take without any key: none of that can be evicted.
    pub(in crate::keyspace) fn slots_bytes(&self) -> u64 {
        let slots = self.all.iter().filter_map(|database| database.slots.get());
        slots.map(Slots::fixed_bytes).map(|(slots, deadlines)| slots + deadlines).sum()
    }

    /// Bytes of a database's slots and their tables (first) and of the deadlines in them (second), without keys and
    /// values.
    pub fn overhead_bytes(&self, database: usize) -> (u64, u64) {
        let slots = &self.database(database).slots;
        let Some(slots) = slots.get() else { return (0, 0) };
        let (fixed, deadlines) = slots.fixed_bytes();
        let step = SLOTS / SLOT_SAMPLES;
        let (mut tables, mut records) = (0, 0);
        for slot in slots.slots.iter().step_by(usize::from(step)) {
            let (table, expiries) = slot.lock().overhead_bytes();
            tables += table as u64;
            records += expiries as u64;
        }
        (fixed + tables * u64::from(step), deadlines + records * u64::from(step))
    }

    /// The mean time that keys with an expiry still have, in milliseconds; 0 if there are none. The sample starts at
    /// another slot each time.
    pub fn average_ttl_ms(&self, caller: Caller, database: usize) -> u64 {
        let physical = self.physical(database);
        let Some(slots) = self.all[usize::from(physical)].slots.get() else { return 0 };
        let first = (caller.now_ms.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u16 % SLOTS;
        let (mut keys, mut sum_ms) = (0, 0_u64);
        for number in (first..SLOTS).chain(0..first) {
            if slots.deadlines_ms[usize::from(number)].load(std::sync::atomic::Ordering::Relaxed) == u64::MAX {
                continue;
            }
            let guard = self.lock_slot(caller, physical, number);
            let left = guard.table().iter().take(SLOT_TTL_SAMPLES);
            let left = left.filter_map(|entry| entry.expiry_ms()?.checked_sub(caller.now_ms));
            for left_ms in left {
                keys += 1;
                sum_ms = sum_ms.saturating_add(left_ms);
            }
            if keys >= TTL_SAMPLES {
                break;
            }
        }
        sum_ms.checked_div(keys).unwrap_or(0)
    }
}

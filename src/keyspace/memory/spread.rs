//! How a database's entries are spread over its slots, so that eviction finds them wherever they are.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::base::slot::SLOTS;

/// Slots whose weights are summed up.
const BLOCK: usize = 128;

/// A weight a slot, written under the slot's lock.
pub struct Spread {
    slots: Box<[AtomicU32]>,
    blocks: Box<[AtomicU64]>,
}

impl Default for Spread {
    fn default() -> Spread {
        let slots = usize::from(SLOTS);
        Spread {
            slots: std::iter::repeat_with(AtomicU32::default).take(slots).collect(),
            blocks: std::iter::repeat_with(AtomicU64::default).take(slots.div_ceil(BLOCK)).collect(),
        }
    }
}

impl Spread {
    #[inline]
    pub fn set(&self, slot: u16, weight: u32) {
        let slot = usize::from(slot);
        let before = self.slots[slot].load(Ordering::Relaxed);
        if before != weight {
            self.slots[slot].store(weight, Ordering::Relaxed);
            let grown = u64::from(weight).wrapping_sub(u64::from(before));
            self.blocks[slot / BLOCK].fetch_add(grown, Ordering::Relaxed);
        }
    }

    pub fn total(&self) -> u64 {
        self.blocks.iter().map(|block| block.load(Ordering::Relaxed)).sum()
    }

    /// The slot at that place, where each takes as many places as its weight. `None` is behind all of them, which happens below
    /// `total` too while weights change.
    pub fn slot_at(&self, mut place: u64) -> Option<u16> {
        let within = |weight: u64, place: &mut u64| match place.checked_sub(weight) {
            Some(behind) => {
                *place = behind;
                false
            }
            None => true,
        };
        let block = self.blocks.iter().position(|block| within(block.load(Ordering::Relaxed), &mut place))?;
        let slots = &self.slots[block * BLOCK..];
        let slot = slots.iter().position(|slot| within(u64::from(slot.load(Ordering::Relaxed)), &mut place))?;
        u16::try_from(block * BLOCK + slot).ok()
    }

    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_takes_as_many_places_as_its_weight() {
        let spread = Spread::default();
        assert_eq!((spread.total(), spread.slot_at(0)), (0, None));
        for (slot, weight) in [(5, 100), (6, 1), (127, 2), (128, 3), (SLOTS - 1, 7), (5, 4)] {
            spread.set(slot, weight);
        }
        let all: Vec<Option<u16>> = (0..=spread.total()).map(|place| spread.slot_at(place)).collect();
        let places = [(5, 4), (6, 1), (127, 2), (128, 3), (SLOTS - 1, 7)];
        let expected = places.iter().flat_map(|(slot, weight)| vec![Some(*slot); *weight]);
        assert_eq!(all, expected.chain([None]).collect::<Vec<_>>());
    }
}

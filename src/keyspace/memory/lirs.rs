//! The default policy: LIRS (Jiang and Zhang, SIGMETRICS 2002, <https://dl.acm.org/doi/10.1145/511399.511340>) on samples,
//! where the original has stacks.
//!
//! What counts of a key is how long it is from one use to the next, not when it was used last: a key whose interval is longer than
//! that of all others goes, even if it was used just now. So a scan leaves no trace, and of keys that go round in a
//! cycle larger than memory a part stays and is hit, where LRU and FIFO lose each shortly before its turn. Keys that were
//! used once have no interval yet; they are on *probation*, the oldest go first. That share of memory adapts, as in DLIRS
//! and ARC: it grows while a key that was evicted on probation is more likely to come back soon than one of the main queue.
//!
//! Time is counted in keys that come into memory, so that intervals mean the same at any load: in one *turnover* as many come as
//! there are.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::ghosts::Ghosts;
use super::recency::{DOUBLED, Recency, USED_ONCE, logarithm, ticks};
use crate::base::thread;

/// The clock's resolution. An entry that stayed unused for 256 turnovers would look young, but none does: in each, it is ten
/// times in a sample.
const TURNOVER_TICKS: u64 = 256;
/// Of the clock between two ticks.
const FRACTION_BITS: u32 = 32;
/// While memory fills for the first time, as many have room as have come, but so many at least.
const ENTRIES_MIN: u64 = 1 << 10;
/// What is longer counts as this: what is assumed of new keys by the mean of those that were evicted would raise that mean.
const REUSE_MAX_TICKS: u32 = 8 * TURNOVER_TICKS as u32;
/// What is overdue has a chance so long.
const DONE_TICKS: u16 = 4 * TURNOVER_TICKS as u16;
/// Keys that come back this soon tell whether they went too early.
const SOON_TICKS: u16 = TURNOVER_TICKS as u16 / 4;
/// One of so many new keys skips probation, so that intervals longer than what ghosts remember can be found out.
const EXPLORERS: u64 = 64;
/// What probation may take of the entries. More than this, and keys of a long cycle would get no second turn.
const PROBATION_MIN: f32 = 0.02;
const PROBATION_MAX: f32 = 0.3;
const PROBATION_BEGIN: f32 = 0.1;
/// How fast that adapts: at most so much of itself, so many times a turnover.
const STEP: f32 = 0.3;
const STEPS: u64 = 16;
/// Steps are not taken on fewer evictions than this.
const STEP_EVICTIONS: u32 = 64;
/// What is left of a count after each step.
const MEMORY: f32 = 0.8;
/// A mean moves by one part in so many with each eviction.
const MEAN_OF: f32 = 64.0;

/// What happened to keys of one queue.
#[derive(Default)]
struct Queue {
    /// How many were evicted and how many of those came back soon; earlier ones count less.
    evicted: f32,
    returned: f32,
    /// The mean reuse of those that were evicted, in ticks.
    reuse_ticks: f32,
}

struct Adaptation {
    probation: Queue,
    main: Queue,
    probation_share: f32,
    /// Evictions since the last step.
    evicted: u32,
}

/// What the policy knows beside the entries' own recency.
pub struct Lirs {
    ghosts: Ghosts,
    clock: AtomicU16,
    /// Ticks, with `FRACTION_BITS` more.
    elapsed: AtomicU64,
    /// How many have room: as of the last step, and before the first eviction as many as have come.
    entries: AtomicU64,
    adaptation: Mutex<Adaptation>,
    /// As in `adaptation`, for who does not lock it: the share as a float's bits, the logarithms of both means.
    probation_share: AtomicU32,
    probation_reuse: AtomicU16,
    main_reuse: AtomicU16,
    /// Keys that came back soon since the last step, of those evicted on probation and from the main queue.
    returned: [AtomicU32; 2],
}

impl Default for Lirs {
    fn default() -> Lirs {
        let (probation_ticks, main_ticks) = (TURNOVER_TICKS as f32 * PROBATION_BEGIN, TURNOVER_TICKS as f32);
        let queue = |reuse_ticks: f32| Queue { reuse_ticks, ..Queue::default() };
        Lirs {
            ghosts: Ghosts::default(),
            clock: AtomicU16::new(0),
            elapsed: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            adaptation: Mutex::new(Adaptation {
                probation: queue(probation_ticks),
                main: queue(main_ticks),
                probation_share: PROBATION_BEGIN,
                evicted: 0,
            }),
            probation_share: AtomicU32::new(PROBATION_BEGIN.to_bits()),
            probation_reuse: AtomicU16::new(probation_ticks as u16),
            main_reuse: AtomicU16::new(main_ticks as u16),
            returned: Default::default(),
        }
    }
}

impl Lirs {
    /// The present tick.
    #[inline]
    pub fn clock(&self) -> u16 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Takes account of a key that comes into memory. Returns what to expect of it: the logarithm of its reuse interval, or
    /// [`USED_ONCE`].
    pub fn came(&self, hash: u64) -> u8 {
        let fills_first = self.ghosts.is_empty();
        let entries = if fills_first {
            self.entries.fetch_add(1, Ordering::Relaxed)
        } else {
            self.entries.load(Ordering::Relaxed)
        };
        let step = (TURNOVER_TICKS << FRACTION_BITS) / entries.max(ENTRIES_MIN);
        let before = self.elapsed.fetch_add(step, Ordering::Relaxed);
        self.clock.store((before >> FRACTION_BITS) as u16, Ordering::Relaxed);
        if fills_first {
            return USED_ONCE;
        }
        let main_ticks = self.main_reuse.load(Ordering::Relaxed);
        match self.ghosts.take(hash, self.clock()) {
            Some(ghost) => {
                if ghost.ticks < SOON_TICKS {
                    self.returned[usize::from(ghost.was_in_main)].fetch_add(1, Ordering::Relaxed);
                }
                let before_ticks =
                    if ghost.was_in_main { main_ticks } else { self.probation_reuse.load(Ordering::Relaxed) };
                // Only short intervals are seen here, since ghosts are forgotten; so one that is too long for memory, twice
                // what is evicted, counts as much. In a cycle, that keeps who is there.
                let seen = logarithm(before_ticks.saturating_add(ghost.ticks));
                (seen + logarithm(main_ticks) + DOUBLED) / 2
            }
            None if thread::random().is_multiple_of(EXPLORERS) => logarithm(main_ticks),
            None => USED_ONCE,
        }
    }

    /// Whether an entry should go before all others. So what was in use before clients turned to other keys does not stay as
    /// long as these are all on probation.
    pub fn is_done_with(&self, recency: Recency) -> bool {
        let clock = self.clock();
        recency.unused_ticks(clock) >= DONE_TICKS && recency.is_overdue(clock)
    }

    /// How many of `victims` go from probation, where so many of a sample are.
    pub fn victims_on_probation(&self, on_probation: usize, sample: usize, victims: usize) -> usize {
        let share = f32::from_bits(self.probation_share.load(Ordering::Relaxed));
        let excess = (on_probation as f32 - share * sample as f32).max(0.0);
        let rounded_by_chance = excess + thread::random_fraction() as f32;
        let main = sample - on_probation;
        (rounded_by_chance as usize).min(victims).min(on_probation).max(victims.saturating_sub(main))
    }

    /// Takes account of an eviction, of one of so many entries.
    pub fn evicted(&self, hash: u64, recency: Recency, entries: u64) {
        let clock = self.clock();
        self.ghosts.put(hash, !recency.is_used_once(), clock);

        let mut adaptation = self.adaptation.lock();
        let (queue, mean) = if recency.is_used_once() {
            (&mut adaptation.probation, &self.probation_reuse)
        } else {
            (&mut adaptation.main, &self.main_reuse)
        };
        queue.evicted += 1.0;
        queue.reuse_ticks += (ticks(recency.reuse(clock)).min(REUSE_MAX_TICKS) as f32 - queue.reuse_ticks) / MEAN_OF;
        mean.store(queue.reuse_ticks as u16, Ordering::Relaxed);
        adaptation.evicted += 1;
        let is_due = adaptation.evicted >= STEP_EVICTIONS && u64::from(adaptation.evicted) >= entries / STEPS;
        if is_due || self.ghosts.is_empty() {
            self.entries.store(entries, Ordering::Relaxed);
            self.ghosts.resize(entries);
            let share = adaptation.step(self.returned.each_ref().map(|count| count.swap(0, Ordering::Relaxed)));
            self.probation_share.store(share.to_bits(), Ordering::Relaxed);
        }
    }
}

impl Adaptation {
    /// Adapts the share of probation to what came back, and returns it.
    fn step(&mut self, [probation, main]: [u32; 2]) -> f32 {
        self.evicted = 0;
        let [probation, main] = [(&mut self.probation, probation), (&mut self.main, main)].map(|(queue, returned)| {
            queue.returned += returned as f32;
            let chance = queue.returned / queue.evicted.max(1.0);
            queue.returned *= MEMORY;
            queue.evicted *= MEMORY;
            chance
        });
        if probation + main > 0.0 {
            let direction = (probation - main) / (probation + main);
            let share = self.probation_share * (1.0 + STEP * direction);
            self.probation_share = share.clamp(PROBATION_MIN, PROBATION_MAX);
        }
        self.probation_share
    }
}

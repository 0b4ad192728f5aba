//! The thread that deletes expired keys.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::command::alarm::Alarm;
use crate::command::state::State;
use crate::config::Settings;
use crate::keyspace::ExpiryCursor;

/// Cycles follow each other at least so often, so that a small `hz` does not make keys late.
const CYCLE_MAX: Duration = Duration::from_millis(100);
/// Of the thread's time: the share of a cycle that keeps up, and what `active-expire-effort` adds for each step. A
/// share this small is not felt; Redis gives as much of its only thread.
const SHARE: f64 = 0.25;
const SHARE_STEP: f64 = 0.02;
/// The same for a cycle that is behind: it deletes most of the time, but lets go of each slot after a few keys.
const SHARE_BEHIND: f64 = 0.70;
const SHARE_BEHIND_STEP: f64 = 0.025;
/// A cycle that is behind takes so much more than the one before.
const GROWTH: f64 = 1.5;

/// How much of its time the thread spends on expiry: more the longer it is behind, and little again once it is not.
struct Pace {
    share: f64,
}

impl Pace {
    /// Of one cycle: how long it is, and how much of that may be spent.
    fn cycle(&self, hz: i64) -> (Duration, Duration) {
        let length = Duration::from_secs_f64(1.0 / hz.max(1) as f64).min(CYCLE_MAX);
        (length, length.mul_f64(self.share))
    }

    /// `effort` is `active-expire-effort`, 1 to 10.
    fn adapt(&mut self, kept_up: bool, effort: i64) {
        let steps = (effort.clamp(1, 10) - 1) as f64;
        let least = SHARE + SHARE_STEP * steps;
        let most = SHARE_BEHIND + SHARE_BEHIND_STEP * steps;
        self.share = if kept_up { least } else { (self.share * GROWTH).clamp(least, most) };
    }
}

/// Starts the thread; it ends when the server does.
pub fn start(state: &Arc<State>) -> io::Result<JoinHandle<()>> {
    let state = state.clone();
    std::thread::Builder::new().name("expiry".to_owned()).spawn(move || {
        let _alarm = Alarm::new(&state, "expiry");
        run(&state);
    })
}

fn run(state: &State) {
    let settings: &Settings = &state.settings;
    let mut cursor = ExpiryCursor::default();
    let mut pace = Pace { share: SHARE };
    while !state.is_shutting_down() {
        let begun = Instant::now();
        let (length, budget) = pace.cycle(settings.hz.get());
        let kept_up = state.keyspace.expire_due(clock::now_ms(), &mut cursor, begun + budget);
        state.note_expire_cycle(begun.elapsed(), kept_up);
        state.sample();
        pace.adapt(kept_up, settings.active_expire_effort.get());
        std::thread::sleep(length.saturating_sub(begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_while_behind_and_stays_below_all() {
        let mut pace = Pace { share: SHARE };
        assert_eq!(pace.cycle(10), (Duration::from_millis(100), Duration::from_millis(25)));
        for _ in 0..10 {
            let before = pace.share;
            pace.adapt(false, 1);
            assert!(pace.share > before || pace.share == SHARE_BEHIND);
        }
        assert_eq!(pace.share, SHARE_BEHIND);
        pace.adapt(true, 1);
        assert_eq!(pace.share, SHARE);
        for _ in 0..10 {
            pace.adapt(false, 10);
        }
        assert!(pace.share > 0.9 && pace.share < 1.0);
    }

    #[test]
    fn cycles_are_short_whatever_hz_says() {
        let pace = Pace { share: 0.5 };
        assert_eq!(pace.cycle(1).0, CYCLE_MAX);
        assert_eq!(pace.cycle(0).0, CYCLE_MAX);
        assert_eq!(pace.cycle(500), (Duration::from_millis(2), Duration::from_millis(1)));
    }
}

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

/// The longest cycle: a small `hz` must not leave keys long past their expiry.
const CYCLE_MAX: Duration = Duration::from_millis(100);
/// The share of the thread's time while it keeps up, and what each step of `active-expire-effort` above 1 adds; Redis spends as
/// much of its main thread.
const SHARE: f64 = 0.25;
const SHARE_STEP: f64 = 0.02;
/// The same while it is behind: it deletes most of the time, but releases each slot's lock after a few keys.
const SHARE_BEHIND: f64 = 0.70;
const SHARE_BEHIND_STEP: f64 = 0.025;
/// The factor by which the share grows from one cycle that is behind to the next.
const GROWTH: f64 = 1.5;

/// The share of its time that the thread spends on expiry: it grows while the thread is behind, and falls back once it is not.
struct CpuBudget {
    share: f64,
}

impl CpuBudget {
    /// The length of one cycle, and how much of it may be spent on expiry.
    fn cycle(&self, hz: i64) -> (Duration, Duration) {
        let length = Duration::from_secs_f64(1.0 / hz.max(1) as f64).min(CYCLE_MAX);
        (length, length.mul_f64(self.share))
    }

    /// Sets the share for the next cycle, given whether the last one got through; `effort` is `active-expire-effort`, 1 to 10.
    fn adapt(&mut self, kept_up: bool, effort: i64) {
        let steps = (effort.clamp(1, 10) - 1) as f64;
        let least = SHARE + SHARE_STEP * steps;
        let most = SHARE_BEHIND + SHARE_BEHIND_STEP * steps;
        self.share = if kept_up { least } else { (self.share * GROWTH).clamp(least, most) };
    }
}

/// Starts the thread; it ends when the server does.
///
/// # Errors
/// When the system refuses a thread.
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
    let mut budget = CpuBudget { share: SHARE };
    while !state.is_shutting_down() {
        let begun = Instant::now();
        let (length, allowed) = budget.cycle(settings.hz.get());
        let kept_up = state.keyspace.expire_due(clock::now_ms(), &mut cursor, begun + allowed);
        state.note_expire_cycle(begun.elapsed(), kept_up);
        state.sample();
        budget.adapt(kept_up, settings.active_expire_effort.get());
        std::thread::sleep(length.saturating_sub(begun.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_while_behind_and_stays_below_all() {
        let mut budget = CpuBudget { share: SHARE };
        assert_eq!(budget.cycle(10), (Duration::from_millis(100), Duration::from_millis(25)));
        for _ in 0..10 {
            let before = budget.share;
            budget.adapt(false, 1);
            assert!(budget.share > before || budget.share == SHARE_BEHIND);
        }
        assert_eq!(budget.share, SHARE_BEHIND);
        budget.adapt(true, 1);
        assert_eq!(budget.share, SHARE);
        for _ in 0..10 {
            budget.adapt(false, 10);
        }
        assert!(budget.share > 0.9 && budget.share < 1.0);
    }

    #[test]
    fn cycles_are_short_whatever_hz_says() {
        let budget = CpuBudget { share: 0.5 };
        assert_eq!(budget.cycle(1).0, CYCLE_MAX);
        assert_eq!(budget.cycle(0).0, CYCLE_MAX);
        assert_eq!(budget.cycle(500), (Duration::from_millis(2), Duration::from_millis(1)));
    }
}

//! CLIENT PAUSE (<https://redis.io/docs/latest/commands/client-pause/>).

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::command::flags::Flags;

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those that may change something.
    Write,
    /// Every command, but those with [`Flags::IGNORES_PAUSE`].
    All,
}

#[derive(Clone, Copy)]
struct Current {
    scope: Scope,
    end_ms: u64,
}

/// The pause that is in force, if any.
#[derive(Default)]
pub struct Pause {
    /// Whether `current` may hold a pause: the check without a lock.
    is_set: AtomicBool,
    current: Mutex<Option<Current>>,
}

impl Pause {
    /// Pauses until `end_ms`, in Unix milliseconds. A pause that is in force is neither narrowed nor shortened.
    pub fn begin(&self, scope: Scope, end_ms: u64, now_ms: u64) {
        let mut current = self.current.lock();
        let old = current.filter(|old| old.end_ms > now_ms).unwrap_or(Current { scope, end_ms });
        *current = Some(Current { scope: scope.max(old.scope), end_ms: end_ms.max(old.end_ms) });
        self.is_set.store(true, Ordering::Relaxed);
    }

    pub(super) fn lift(&self) {
        let mut current = self.current.lock();
        *current = None;
        self.is_set.store(false, Ordering::Relaxed);
    }

    /// Whether a command with these flags has to wait.
    #[inline]
    pub fn holds(&self, flags: Flags, now_ms: u64) -> bool {
        self.is_set.load(Ordering::Relaxed) && self.holds_now(flags, now_ms)
    }

    #[cold]
    fn holds_now(&self, flags: Flags, now_ms: u64) -> bool {
        let Some(current) = self.current(now_ms) else { return false };
        let writes = flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE);
        !flags.has(Flags::IGNORES_PAUSE) && (current.scope == Scope::All || writes)
    }

    /// When the pause ends, in Unix milliseconds; `None`: there is none.
    pub fn end_ms(&self, now_ms: u64) -> Option<u64> {
        self.current(now_ms).map(|current| current.end_ms)
    }

    fn current(&self, now_ms: u64) -> Option<Current> {
        let mut current = self.current.lock();
        if current.is_some_and(|current| current.end_ms <= now_ms) {
            *current = None;
            self.is_set.store(false, Ordering::Relaxed);
        }
        *current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_and_ends() {
        let pause = Pause::default();
        assert!(!pause.holds(Flags::WRITE, 1));
        pause.begin(Scope::Write, 100, 1);
        assert!(pause.holds(Flags::WRITE, 99) && pause.holds(Flags::MAY_REPLICATE, 99));
        assert!(!pause.holds(Flags::READONLY, 99));
        pause.begin(Scope::All, 50, 1);
        assert!(pause.holds(Flags::READONLY, 99) && !pause.holds(Flags::IGNORES_PAUSE, 99));
        assert_eq!(pause.end_ms(99), Some(100));
        assert!(!pause.holds(Flags::WRITE, 100));
        pause.begin(Scope::Write, 200, 150);
        assert!(!pause.holds(Flags::READONLY, 160), "the one before is over");
        pause.lift();
        assert_eq!(pause.end_ms(160), None);
    }
}

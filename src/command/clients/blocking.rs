//! Whether a client's command is blocked, and what has ended that.

use std::sync::atomic::{AtomicU8, Ordering};

/// What ends the wait of a client whose command is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Something that it waits for has changed.
    Changed,
    /// Its time is up, or CLIENT UNBLOCK says so.
    TimedOut,
    /// CLIENT UNBLOCK has it answered an error.
    Unblocked,
    /// It has closed its half of the connection, or all of it.
    Left,
}

const NOT_BLOCKED: u8 = 0;
const BLOCKED: u8 = 1;
/// Those that end it, in the order of their numbers from 2 on.
const WAKES: [Wake; 4] = [Wake::Changed, Wake::TimedOut, Wake::Unblocked, Wake::Left];

/// Of all that would end a wait the first one counts.
#[derive(Default)]
pub(super) struct Blocking(AtomicU8);

impl Blocking {
    pub fn begin(&self) {
        self.0.store(BLOCKED, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.0.store(NOT_BLOCKED, Ordering::SeqCst);
    }

    /// Whether it was blocked until now, and is no more.
    pub fn wake(&self, wake: Wake) -> bool {
        let number = WAKES.iter().position(|other| *other == wake).map_or(BLOCKED, |index| index as u8 + 2);
        self.0.compare_exchange(BLOCKED, number, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Takes what has ended it.
    pub fn take(&self) -> Option<Wake> {
        let number = self.0.load(Ordering::SeqCst);
        let wake = WAKES.get(usize::from(number).checked_sub(2)?).copied();
        self.end();
        wake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_ends_a_wait_counts() {
        let blocking = Blocking::default();
        assert!(!blocking.wake(Wake::Changed), "it is not blocked");
        for wake in WAKES {
            blocking.begin();
            assert_eq!(blocking.take(), None);
            assert!(blocking.wake(wake) && !blocking.wake(Wake::Changed));
            assert_eq!((blocking.take(), blocking.take()), (Some(wake), None));
            assert!(!blocking.wake(Wake::Changed), "it has ended");
        }
    }
}

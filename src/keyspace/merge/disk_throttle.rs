//! Writes while the data directory is nearly full.
//!
//! Room comes in steps, with the end of a compaction, and the next may be seconds away. If writes waited for it, each client
//! would stand still as long. So a few go on all the time: in each window as many bytes as a small part of the room that is
//! left, and as next to nothing of the limit where none is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long a window is, in milliseconds.
const WINDOW_MS: u64 = 20;
/// In this time writes would take up the room that is left, if it stayed as it is.
const ROOM_MS: u64 = 4000;
/// In this time they take up the limit where there is none.
const LIMIT_MS: u64 = 512_000;
/// What may be used of the limit, in percent: up to here there is room, and from there on no write goes on.
const ROOM_PERCENT: u64 = 85;
const STOP_PERCENT: u64 = 97;

#[derive(Default)]
pub struct DiskThrottle {
    /// The number of the present window, since the epoch.
    window: AtomicU64,
    /// All that had been written when it began.
    begun_bytes: AtomicU64,
}

impl DiskThrottle {
    /// Whether a write may go on now. `total_bytes` is all that has been written by now. Two threads that begin a window at
    /// the same time let through a little more.
    pub fn lets_through(&self, now_ms: u64, total_bytes: u64, used_bytes: u64, limit_bytes: u64) -> bool {
        let window = now_ms / WINDOW_MS;
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.begun_bytes.store(total_bytes, Ordering::Relaxed);
        }
        let written_bytes = total_bytes.saturating_sub(self.begun_bytes.load(Ordering::Relaxed));
        written_bytes < window_bytes(used_bytes, limit_bytes)
    }
}

/// What may be written in one window.
fn window_bytes(used_bytes: u64, limit_bytes: u64) -> u64 {
    let percent = |percent: u64| limit_bytes / 100 * percent;
    if used_bytes >= percent(STOP_PERCENT) {
        return 0;
    }
    let room_bytes = percent(ROOM_PERCENT).saturating_sub(used_bytes);
    (room_bytes * WINDOW_MS / ROOM_MS).max(limit_bytes * WINDOW_MS / LIMIT_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT_BYTES: u64 = 1 << 30;

    #[test]
    fn a_window_has_so_many_bytes() {
        let at = |percent: u64| window_bytes(LIMIT_BYTES / 100 * percent, LIMIT_BYTES);
        assert_eq!(at(75), LIMIT_BYTES / 100 * 10 / 200);
        assert_eq!(at(85), LIMIT_BYTES / 25_600);
        assert_eq!((at(96), at(97), at(120)), (at(85), 0, 0));
    }

    #[test]
    fn writes_go_on_until_their_window_is_used_up() {
        let (throttle, used_bytes) = (DiskThrottle::default(), LIMIT_BYTES / 100 * 80);
        let most = window_bytes(used_bytes, LIMIT_BYTES);
        let lets = |now_ms: u64, total_bytes: u64| throttle.lets_through(now_ms, total_bytes, used_bytes, LIMIT_BYTES);
        assert!(lets(1000, 5 << 30), "however much there was before");
        assert!(lets(1019, (5 << 30) + most - 1));
        assert!(!lets(1019, (5 << 30) + most));
        assert!(lets(1020, (5 << 30) + most));
        assert!(!lets(1021, (5 << 30) + 3 * most));
        assert!(lets(9000, 0), "a count that comes back");
    }
}

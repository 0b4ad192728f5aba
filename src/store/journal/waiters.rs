//! Who waits for an acknowledgement.
//!
//! No wake-up is lost: a waiter registers first and looks at the journal's progress after that, the journal makes
//! progress first and looks for waiters after that, and both pass the same mutex.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Two wakers with the same key wake the same task; so a task is registered once, however often it is polled.
type Key = (usize, usize);

#[derive(Default)]
pub struct Waiters {
    waiting: Mutex<HashMap<Key, (u64, Waker), RandomState>>,
    count: AtomicUsize,
}

fn key(waker: &Waker) -> Key {
    (waker.data() as usize, std::ptr::from_ref(waker.vtable()) as usize)
}

impl Waiters {
    /// Wakes the task once `block` is acknowledged; if it waits for several, with the first.
    pub fn register(&self, block: u64, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        waiting
            .entry(key(waker))
            .and_modify(|(earlier, _)| *earlier = block.min(*earlier))
            .or_insert_with(|| (block, waker.clone()));
        self.count.store(waiting.len(), Ordering::Relaxed);
    }

    pub fn wake_up_to(&self, block: u64) {
        let mut woken = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_empty() {
                return;
            }
            woken.extend(waiting.extract_if(|_, (waits_for, _)| *waits_for <= block).map(|(_, (_, waker))| waker));
            self.count.store(waiting.len(), Ordering::Relaxed);
        }
        // Outside of the lock: a waker may run anything.
        woken.into_iter().for_each(Waker::wake);
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

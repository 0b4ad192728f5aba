//! What the merger's thread is asked for, and how checkpoints stand.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// SAVE and BGSAVE.
#[derive(Default)]
pub struct Saves {
    state: Mutex<SaveState>,
}

/// How checkpoints stand.
#[derive(Clone, Debug, Default)]
pub struct SaveState {
    pub is_running: bool,
    /// Unix seconds of the last one that succeeded since the start; 0: none did.
    pub last_s: u64,
    /// Whether the last one failed, and why.
    pub last_error: Option<String>,
    /// Ended ones.
    pub count: u64,
}

impl Saves {
    pub fn state(&self) -> SaveState {
        self.state.lock().clone()
    }

    pub fn finished(&self, now_s: u64, result: Result<(), String>) {
        let mut state = self.state.lock();
        state.is_running = false;
        state.count += 1;
        match result {
            Ok(()) => {
                state.last_s = now_s;
                state.last_error = None;
            }
            Err(error) => state.last_error = Some(error),
        }
    }
}

/// What the merger's thread is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    /// A round now, without waiting for the interval.
    pub round: bool,
    /// A checkpoint.
    pub save: bool,
    /// The last round, and the end.
    pub end: bool,
}

/// The requests that the merger's thread has not taken yet.
#[derive(Default)]
pub struct Requests {
    requested: Mutex<Requested>,
    arrived: Condvar,
}

impl Requests {
    fn add(&self, add: impl FnOnce(&mut Requested)) {
        add(&mut self.requested.lock());
        self.arrived.notify_one();
    }

    /// Asks for a round now.
    pub fn round(&self) {
        self.add(|requested| requested.round = true);
    }

    /// Asks for a checkpoint; false: one is being made.
    pub fn save(&self, saves: &Saves) -> bool {
        if std::mem::replace(&mut saves.state.lock().is_running, true) {
            return false;
        }
        self.add(|requested| requested.save = true);
        true
    }

    /// Takes the request for a checkpoint back.
    pub fn withdraw_save(&self) {
        self.requested.lock().save = false;
    }

    /// Asks for the last round, and the end.
    pub fn end(&self) {
        self.add(|requested| requested.end = true);
    }

    /// Waits for a request, `interval` at most, and takes what is requested.
    pub fn wait(&self, interval: Duration) -> Requested {
        let mut requested = self.requested.lock();
        if *requested == Requested::default() {
            self.arrived.wait_for(&mut requested, interval);
        }
        std::mem::take(&mut *requested)
    }
}

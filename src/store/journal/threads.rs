//! Waking the journal's two threads, and what they are asked to do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

#[derive(Default)]
pub struct Threads {
    pub sync: OnceLock<Thread>,
    pub files: OnceLock<Thread>,
    pub sync_requested: AtomicBool,
    pub write_requested: AtomicBool,
}

impl Threads {
    pub fn wake_sync(&self) {
        if let Some(thread) = self.sync.get() {
            thread.unpark();
        }
    }

    pub fn wake_files(&self) {
        if let Some(thread) = self.files.get() {
            thread.unpark();
        }
    }

    /// A sync that covers what was appended before the call will be made soon.
    pub fn request_sync(&self) {
        if !self.sync_requested.swap(true, Ordering::SeqCst) {
            self.wake_sync();
        }
    }

    /// What was appended before the call will be written soon, and who waits for it woken.
    pub fn request_write(&self) {
        if !self.write_requested.swap(true, Ordering::SeqCst) {
            self.wake_sync();
        }
    }
}

//! What the log says while a start takes long: which step it is at, how far, and how long that may take yet.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::progress::Progress;

/// A start that is quicker says nothing, and a longer one a line each time.
const INTERVAL: Duration = Duration::from_secs(2);
/// With less done, nobody knows how long the rest takes.
const KNOWN_PERCENT: f64 = 1.0;
const MIB: u64 = 1 << 20;

/// A start that is under way; when this is dropped, it is over.
pub struct Startup {
    shared: Arc<Shared>,
    teller: Option<JoinHandle<()>>,
}

struct Shared {
    began: Instant,
    progress: Progress,
    step: Mutex<Step>,
    changed: Condvar,
}

struct Step {
    name: &'static str,
    began: Instant,
    is_last_over: bool,
}

impl Startup {
    /// Begins to watch a start.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn begin() -> io::Result<Startup> {
        let began = Instant::now();
        let step = Mutex::new(Step { name: "beginning", began, is_last_over: false });
        let shared = Arc::new(Shared { began, progress: Progress::default(), step, changed: Condvar::new() });
        let teller = thread::Builder::new().name("startup".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.tell()
        })?;
        Ok(Startup { shared, teller: Some(teller) })
    }

    /// The next step, which may say how far it is.
    pub fn step(&self, name: &'static str) -> &Progress {
        let mut step = self.shared.step.lock();
        (step.name, step.began) = (name, Instant::now());
        self.shared.progress.begin(0);
        &self.shared.progress
    }

    /// How long it takes so far.
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.shared.step.lock().is_last_over = true;
        self.shared.changed.notify_all();
        if let Some(teller) = self.teller.take() {
            // It cannot have panicked but while it wrote to the log.
            let _ = teller.join();
        }
    }
}

impl Shared {
    fn tell(&self) {
        let mut step = self.step.lock();
        while !step.is_last_over {
            if self.changed.wait_for(&mut step, INTERVAL).timed_out() {
                let (done_bytes, total_bytes) = self.progress.get();
                let far = far(done_bytes, total_bytes, step.began.elapsed());
                tracing::info!("starting for {} s: {}{far}", self.began.elapsed().as_secs(), step.name);
            }
        }
    }
}

/// How far a step is that has taken so long, and how long it takes yet if it goes on like that; nothing if nobody knows.
fn far(done_bytes: u64, total_bytes: u64, elapsed: Duration) -> String {
    if total_bytes == 0 {
        return String::new();
    }
    let percent = 100.0 * done_bytes as f64 / total_bytes as f64;
    let mut text = format!(", {percent:.0}% of {} MB", total_bytes.div_ceil(MIB));
    if percent >= KNOWN_PERCENT {
        let left = elapsed.mul_f64((total_bytes - done_bytes) as f64 / done_bytes as f64);
        text += &format!(", about {} s to go", left.as_secs() + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_told() {
        let elapsed = Duration::from_secs(4);
        assert_eq!(far(0, 0, elapsed), "");
        assert_eq!(far(0, 80 * MIB, elapsed), ", 0% of 80 MB");
        assert_eq!(far(4096, 80 * MIB, elapsed), ", 0% of 80 MB");
        assert_eq!(far(20 * MIB, 80 * MIB, elapsed), ", 25% of 80 MB, about 13 s to go");
        assert_eq!(far(80 * MIB, 80 * MIB, elapsed), ", 100% of 80 MB, about 1 s to go");
    }
}

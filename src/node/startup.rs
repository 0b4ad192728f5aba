//! Progress of a start that takes long, in the log: the step, how far it is, and an estimate of the time left.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::progress::Progress;

/// The interval of the lines; a start that is quicker logs none.
const INTERVAL: Duration = Duration::from_secs(2);
/// With less done, no time left is estimated.
const KNOWN_PERCENT: f64 = 1.0;
const MIB: u64 = 1 << 20;

/// A start that is under way; when this is dropped, it is over.
pub struct Startup {
    shared: Arc<Shared>,
    reporter: Option<JoinHandle<()>>,
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
    is_over: bool,
}

impl Startup {
    /// Begins to report on a start.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn begin() -> io::Result<Startup> {
        let began = Instant::now();
        let step = Mutex::new(Step { name: "beginning", began, is_over: false });
        let shared = Arc::new(Shared { began, progress: Progress::default(), step, changed: Condvar::new() });
        let reporter = thread::Builder::new().name("startup".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.report()
        })?;
        Ok(Startup { shared, reporter: Some(reporter) })
    }

    /// Begins the next step; the caller updates the progress that is returned, if it can.
    pub fn step(&self, name: &'static str) -> &Progress {
        let mut step = self.shared.step.lock();
        (step.name, step.began) = (name, Instant::now());
        self.shared.progress.begin(0);
        &self.shared.progress
    }

    /// The time since the start began.
    pub fn elapsed(&self) -> Duration {
        self.shared.began.elapsed()
    }
}

impl Drop for Startup {
    fn drop(&mut self) {
        self.shared.step.lock().is_over = true;
        self.shared.changed.notify_all();
        if let Some(reporter) = self.reporter.take() {
            // It cannot have panicked but while it wrote to the log.
            let _ = reporter.join();
        }
    }
}

impl Shared {
    fn report(&self) {
        let mut step = self.step.lock();
        while !step.is_over {
            if self.changed.wait_for(&mut step, INTERVAL).timed_out() {
                let (done_bytes, total_bytes) = self.progress.get();
                let state = describe(done_bytes, total_bytes, step.began.elapsed());
                tracing::info!("starting for {} s: {}{state}", self.began.elapsed().as_secs(), step.name);
            }
        }
    }
}

/// The share that is done and the time left at that rate, as the log line ends; empty where the total is not known.
fn describe(done_bytes: u64, total_bytes: u64, elapsed: Duration) -> String {
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
        assert_eq!(describe(0, 0, elapsed), "");
        assert_eq!(describe(0, 80 * MIB, elapsed), ", 0% of 80 MB");
        assert_eq!(describe(4096, 80 * MIB, elapsed), ", 0% of 80 MB");
        assert_eq!(describe(20 * MIB, 80 * MIB, elapsed), ", 25% of 80 MB, about 13 s to go");
        assert_eq!(describe(80 * MIB, 80 * MIB, elapsed), ", 100% of 80 MB, about 1 s to go");
    }
}

//! How a run goes on, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::Duration;

use crate::load::{Progress, Snapshot};

/// A line that is written over and over on a terminal, and one line after the other elsewhere.
pub struct ProgressLine {
    is_terminal: bool,
    /// The time and the requests of the last report.
    last: Mutex<(Duration, u64)>,
}

impl ProgressLine {
    /// A line that is yet to be written; whether standard error is a terminal is looked up once.
    pub fn new() -> ProgressLine {
        ProgressLine { is_terminal: stderr().is_terminal(), last: Mutex::default() }
    }

    /// Removes the line from the terminal.
    pub fn clear(&self) {
        if self.is_terminal {
            show("\r\x1b[K");
        }
    }
}

impl Progress for ProgressLine {
    fn report(&self, snapshot: &Snapshot) {
        let Snapshot { elapsed, requests, errors, mismatches, behind } = *snapshot;
        let Ok(mut last) = self.last.lock() else { return };
        let (elapsed_before, requests_before) = std::mem::replace(&mut *last, (elapsed, requests));
        let since_s = (elapsed - elapsed_before).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = (requests - requests_before) as f64 / since_s;
        let mut line = format!("{:6.1} s {requests:>12} requests {rate:>10.0} a second", elapsed.as_secs_f64());
        for (count, name) in [(errors, "errors"), (mismatches, "wrong values")] {
            if count > 0 {
                line.push_str(&format!(", {count} {name}"));
            }
        }
        if behind >= Duration::from_millis(1) {
            line.push_str(&format!(", {:.3} s behind", behind.as_secs_f64()));
        }
        if self.is_terminal { show(&format!("\r{line}\x1b[K")) } else { show(&format!("{line}\n")) }
    }
}

/// A progress that cannot be shown is no reason to stop.
fn show(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

//! What a process has cost so far, as Linux tells in `/proc`.

use std::io;
use std::ops::{Add, Sub};

/// Processor time, of all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessorTime {
    /// User and system time of the process itself, in seconds.
    pub own_s: f64,
    /// That of its children which have ended and been waited for, in seconds: such as rewrite a log.
    pub children_s: f64,
}

impl ProcessorTime {
    /// Its own and its children's, in seconds.
    pub fn all_s(self) -> f64 {
        self.own_s + self.children_s
    }
}

impl Add for ProcessorTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { own_s: self.own_s + other.own_s, children_s: self.children_s + other.children_s }
    }
}

impl Sub for ProcessorTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { own_s: self.own_s - earlier.own_s, children_s: self.children_s - earlier.children_s }
    }
}

/// Resident memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// What it takes now (VmRSS).
    pub now_bytes: u64,
    /// The most that it has taken (VmHWM).
    pub peak_bytes: u64,
}

impl Add for Resident {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { now_bytes: self.now_bytes + other.now_bytes, peak_bytes: self.peak_bytes + other.peak_bytes }
    }
}

/// Processor time of a process so far.
///
/// # Errors
/// When there is no such process, or the file is not as proc(5) describes it.
pub fn processor_time(pid: u32) -> io::Result<ProcessorTime> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    stat(&text, ticks_per_second).ok_or_else(|| unreadable(&path))
}

/// Resident memory of a process.
///
/// # Errors
/// As [`processor_time`]; also when the process has ended and waits for its parent: then it has no memory.
pub fn resident(pid: u32) -> io::Result<Resident> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)?;
    status(&text).ok_or_else(|| unreadable(&path))
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected"))
}

/// The name of the program stands in brackets and may itself hold brackets and spaces: what counts begins after the
/// last bracket, with field 3.
fn stat(text: &str, ticks_per_second: u64) -> Option<ProcessorTime> {
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |user: u64, system: u64| (user + system) as f64 / ticks_per_second as f64;
    Some(ProcessorTime { own_s: seconds(ticks(14)?, ticks(15)?), children_s: seconds(ticks(16)?, ticks(17)?) })
}

fn status(text: &str) -> Option<Resident> {
    let bytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let kilobytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Resident { now_bytes: bytes("VmRSS")?, peak_bytes: bytes("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_with_brackets() {
        let text = "4711 (odd) name) S 1 4711 4711 0 -1 4194560 5000 7 0 0 250 150 30 20 20 0 5 0 100 1000 200 18446744073709551615\n";
        assert_eq!(stat(text, 100), Some(ProcessorTime { own_s: 4.0, children_s: 0.5 }));
        assert_eq!(stat("4711 (cut) S 1 4711", 100), None);
        assert_eq!(stat("", 100), None);
    }

    #[test]
    fn memory_is_in_kilobytes() {
        let text = "Name:\tserver\nVmPeak:\t  900 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\nThreads:\t1\n";
        assert_eq!(status(text), Some(Resident { now_bytes: 200 * 1024, peak_bytes: 300 * 1024 }));
        assert_eq!(status("Name:\tended\nState:\tZ (zombie)\n"), None);
        assert_eq!(status("VmHWM:\tmany kB\nVmRSS:\t1 kB\n"), None);
    }

    #[test]
    fn this_process_has_figures_of_its_own() {
        let before = processor_time(std::process::id()).expect("its own figures");
        let start = std::time::Instant::now();
        let mut sum = 0u64;
        while start.elapsed() < std::time::Duration::from_millis(60) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        let after = processor_time(std::process::id()).expect("its own figures");
        assert!((after - before).own_s >= 0.02, "{before:?} {after:?}");
        let resident = resident(std::process::id()).expect("its own figures");
        assert!(resident.now_bytes > 100_000 && resident.peak_bytes >= resident.now_bytes, "{resident:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(processor_time(u32::MAX).is_err());
        assert!(resident(u32::MAX).is_err());
    }
}

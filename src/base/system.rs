//! What the kernel tells of the process and the machine, from `/proc` mostly. A file that cannot be read tells 0.

use std::fs::{read_dir, read_to_string};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Ticks a second in `/proc/<pid>/stat`: Linux has shown user space no other number since 2.6.
const TICKS_PER_SECOND: u64 = 100;

/// The number behind `name` in a file of lines `name: number kB`, in bytes.
fn kilobytes(path: &str, name: &str) -> u64 {
    let find = |text: String| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.to_owned();
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    read_to_string(path).ok().and_then(find).unwrap_or(0) * 1024
}

/// Memory of the process that is in RAM.
pub fn resident_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmRSS")
}

/// Memory of the process in transparent huge pages.
pub fn huge_pages_bytes() -> u64 {
    kilobytes("/proc/self/smaps_rollup", "AnonHugePages")
}

/// Memory of the machine.
pub fn total_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal")
}

/// File descriptors of the process that are open.
pub fn open_descriptors() -> u64 {
    // One of them reads the directory.
    read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64)
}

/// Has the process allowed to open `wanted` file descriptors, if the system lets it. Returns how many it may open now.
pub fn raise_descriptor_limit(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let present = limit.current.unwrap_or(u64::MAX);
    if present >= wanted {
        return present;
    }
    let hard = limit.maximum;
    // The superuser may raise the hard limit as well.
    let attempts = [(wanted, hard.map(|hard| hard.max(wanted))), (hard.map_or(wanted, |hard| hard.min(wanted)), hard)];
    let raised = attempts.into_iter().find_map(|(current, maximum)| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).ok().map(|()| current)
    });
    raised.unwrap_or(present)
}

/// The kernel's name and version, and the CPU's architecture.
pub fn operating_system() -> String {
    let read = |name: &str| read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

/// CPU time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In the program itself.
    pub user_us: u64,
    /// In the kernel, on its behalf.
    pub system_us: u64,
    /// Of children that have ended.
    pub children_user_us: u64,
    /// In the kernel, on behalf of those.
    pub children_system_us: u64,
}

/// Of the whole process.
pub fn process_times() -> CpuTimes {
    times("/proc/self/stat")
}

/// Of the process's first thread.
pub fn main_thread_times() -> CpuTimes {
    times(&format!("/proc/self/task/{}/stat", std::process::id()))
}

fn times(path: &str) -> CpuTimes {
    read_to_string(path).ok().and_then(|text| parse_times(&text)).unwrap_or_default()
}

/// The second field, a name in parentheses, may hold spaces and parentheses.
fn parse_times(text: &str) -> Option<CpuTimes> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next_us = || Some(fields.next()?.parse::<u64>().ok()? * (1_000_000 / TICKS_PER_SECOND));
    Some(CpuTimes {
        user_us: next_us()?,
        system_us: next_us()?,
        children_user_us: next_us()?,
        children_system_us: next_us()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 123 45 6 7 20 0";
        let expected =
            CpuTimes { user_us: 1_230_000, system_us: 450_000, children_user_us: 60_000, children_system_us: 70_000 };
        assert_eq!(parse_times(text), Some(expected));
        assert_eq!(parse_times("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_in_memory() {
        assert!(resident_bytes() > 100_000 && total_bytes() > resident_bytes());
        assert!(operating_system().starts_with("Linux "));
    }
}

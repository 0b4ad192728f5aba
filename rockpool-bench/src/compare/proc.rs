//! What processes have cost so far, as Linux tells in `/proc`.

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

impl Sub for ProcessorTime {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { own_s: self.own_s - earlier.own_s, children_s: self.children_s - earlier.children_s }
    }
}

/// Processor time of all processes of a process group: a server, and what it forked to rewrite its log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupTime {
    /// User and system time of all of them, and of their children that have ended, in seconds.
    pub seconds: f64,
    /// How many of them have not ended.
    pub processes: usize,
}

impl Add for GroupTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { seconds: self.seconds + other.seconds, processes: self.processes + other.processes }
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
    let stat = Stat::parse(&text, rustix::param::clock_ticks_per_second());
    stat.map(|stat| stat.time).ok_or_else(|| unreadable(&path))
}

/// Processor time so far of the processes of a group.
///
/// # Errors
/// When there is no process of that group.
pub fn group_time(group: u32) -> io::Result<GroupTime> {
    let mut sum = GroupTime::default();
    for (_, stat) in members(group)? {
        let processes = usize::from(!stat.has_ended);
        sum = sum + GroupTime { seconds: stat.time.all_s(), processes };
    }
    Ok(sum)
}

/// Resident memory of the processes of a group; pages that a process shares with the one that forked it count twice.
///
/// # Errors
/// When there is no process of that group that has memory.
pub fn group_resident(group: u32) -> io::Result<Resident> {
    // One that has ended meanwhile has no memory any more.
    let known = members(group)?.into_iter().filter_map(|(pid, _)| resident(pid).ok());
    known.reduce(Add::add).ok_or_else(|| ended(group))
}

/// Bytes that the processes of a group have had written to devices so far, or will have: a page that is made dirty counts at once,
/// and what children wrote counts when they have ended. File systems in memory have no device.
///
/// # Errors
/// When there is no process of that group, or the kernel does not count (`CONFIG_TASK_IO_ACCOUNTING`).
pub fn group_written_bytes(group: u32) -> io::Result<u64> {
    let mut sum = None;
    for (pid, _) in members(group)? {
        // One that has ended meanwhile is no more to be asked.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/io")) else { continue };
        let bytes = written_bytes(&text).ok_or_else(|| unreadable(&format!("/proc/{pid}/io")))?;
        sum = Some(sum.unwrap_or(0) + bytes);
    }
    sum.ok_or_else(|| ended(group))
}

fn written_bytes(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
}

/// The processes of a group.
fn members(group: u32) -> io::Result<Vec<(u32, Stat)>> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let mut members = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes end while they are looked through.
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        members.extend(Stat::parse(&text, ticks_per_second).filter(|stat| stat.group == group).map(|stat| (pid, stat)));
    }
    if members.is_empty() { Err(ended(group)) } else { Ok(members) }
}

fn ended(group: u32) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("the process group {group} has ended"))
}

/// Resident memory of a process.
///
/// # Errors
/// As [`processor_time`]; also when the process has ended and waits for its parent: then it has no memory.
fn resident(pid: u32) -> io::Result<Resident> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path)?;
    status(&text).ok_or_else(|| unreadable(&path))
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected"))
}

/// What is of interest in `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    /// It waits for its parent to ask how it ended.
    has_ended: bool,
    /// The number of its process group.
    group: u32,
    time: ProcessorTime,
}

impl Stat {
    /// The name of the program stands in brackets and may itself hold brackets and spaces: what counts begins after the
    /// last bracket, with field 3.
    fn parse(text: &str, ticks_per_second: u64) -> Option<Self> {
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let ticks = |number: usize| field(number)?.parse::<u64>().ok();
        let seconds = |user: u64, system: u64| (user + system) as f64 / ticks_per_second as f64;
        Some(Self {
            has_ended: matches!(field(3)?, "Z" | "X"),
            group: field(5)?.parse().ok()?,
            time: ProcessorTime { own_s: seconds(ticks(14)?, ticks(15)?), children_s: seconds(ticks(16)?, ticks(17)?) },
        })
    }
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
        let text = "4711 (odd) name) S 1 4700 4711 0 -1 4194560 5000 7 0 0 250 150 30 20 20 0 5 0 100 1000 200 18446744073709551615\n";
        let time = ProcessorTime { own_s: 4.0, children_s: 0.5 };
        assert_eq!(Stat::parse(text, 100), Some(Stat { has_ended: false, group: 4700, time }));
        assert!(Stat::parse(&text.replace(" S ", " Z "), 100).is_some_and(|stat| stat.has_ended));
        assert_eq!(Stat::parse("4711 (cut) S 1 4711", 100), None);
        assert_eq!(Stat::parse("", 100), None);
    }

    #[test]
    fn memory_is_in_kilobytes() {
        let text = "Name:\tserver\nVmPeak:\t  900 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\nThreads:\t1\n";
        assert_eq!(status(text), Some(Resident { now_bytes: 200 * 1024, peak_bytes: 300 * 1024 }));
        assert_eq!(status("Name:\tended\nState:\tZ (zombie)\n"), None);
        assert_eq!(status("VmHWM:\tmany kB\nVmRSS:\t1 kB\n"), None);
    }

    #[test]
    fn what_goes_to_the_device_is_counted() {
        let text =
            "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(written_bytes(text), Some(4096));
        assert_eq!(written_bytes("wchar: 2\n"), None);
        assert!(group_written_bytes(u32::MAX).is_err());
    }

    #[test]
    fn this_process_has_figures_of_its_own() {
        let before = processor_time(std::process::id()).expect("its own figures");
        let start = std::time::Instant::now();
        let mut after = before;
        while (after - before).own_s < 0.02 && start.elapsed() < std::time::Duration::from_secs(10) {
            after = processor_time(std::process::id()).expect("its own figures");
        }
        assert!((after - before).own_s >= 0.02, "{before:?} {after:?}");
        let resident = resident(std::process::id()).expect("its own figures");
        assert!(resident.now_bytes > 100_000 && resident.peak_bytes >= resident.now_bytes, "{resident:?}");
    }

    #[test]
    fn a_group_is_its_leader_and_what_that_starts() {
        use std::io::{BufRead, BufReader, Read};
        use std::process::{Command, Stdio};
        // One child that has ended after it has worked, and one that goes on until its standard input ends.
        let script = "i=0; (while [ $i -lt 200000 ]; do i=$((i+1)); done); cat <&3 & echo ready; wait";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 3<&0; {script}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = crate::compare::interrupt::Group::spawn(&mut command).expect("a shell");
        let number = group.pid();
        let (stdin, stdout) = group.pipes();
        let (stdin, mut stdout) = (stdin.expect("a pipe"), BufReader::new(stdout.expect("a pipe")));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says that it is ready");
        let time = group_time(number).expect("it runs");
        assert_eq!(time.processes, 2, "{time:?}");
        assert!(time.seconds >= 0.02, "what its child did counts: {time:?}");
        let alone = resident(number).expect("it runs");
        assert!(group_resident(number).expect("it runs").now_bytes > alone.now_bytes);
        drop(stdin);
        stdout.read_to_string(&mut line).expect("it ends");
        drop(group);
        assert!(group_time(number).is_err() && group_resident(number).is_err());
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(processor_time(u32::MAX).is_err());
        assert!(resident(u32::MAX).is_err());
    }
}

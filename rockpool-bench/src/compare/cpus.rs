//! Which CPUs servers and clients may use.

use std::io;
use std::process::Command;
use std::str::FromStr;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::interrupt::Group;

/// A set of CPUs; empty for all that this process has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

impl FromStr for Cpus {
    type Err = String;

    /// As taskset takes them: `0,2-3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number: usize = text.parse().map_err(|_| format!("{text:?} is no number of a CPU"))?;
            if number < CpuSet::MAX_CPU { Ok(number) } else { Err(format!("there is no CPU {number}")) }
        };
        let mut cpus = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
                None => cpus.push(number(part)?),
            }
        }
        if cpus.is_empty() { Err(format!("{text:?} has no CPU in it")) } else { Ok(Self(cpus)) }
    }
}

impl std::fmt::Display for Cpus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&numbers.join(","))
    }
}

impl Cpus {
    /// Those that this thread may use.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn of_this_thread() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
    }

    /// Whether none was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn set(&self) -> CpuSet {
        let mut set = CpuSet::new();
        for cpu in &self.0 {
            set.set(*cpu);
        }
        set
    }

    /// Keeps this thread, and threads that it starts from now on, to these CPUs.
    ///
    /// # Errors
    /// When this process may use none of them.
    pub fn keep_this_thread(&self) -> io::Result<()> {
        if !self.0.is_empty() {
            sched_setaffinity(None, &self.set())?;
        }
        Ok(())
    }

    /// Starts a process on these CPUs.
    ///
    /// # Errors
    /// As [`Cpus::keep_this_thread`], or when it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Group> {
        if self.0.is_empty() {
            return Group::spawn(command);
        }
        // A process begins with the CPUs of the thread that starts it: so not even its first threads run elsewhere.
        let own = sched_getaffinity(None)?;
        sched_setaffinity(None, &self.set())?;
        let group = Group::spawn(command);
        sched_setaffinity(None, &own)?;
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!("0".parse(), Ok(Cpus(vec![0])));
        assert_eq!("1,4-6".parse(), Ok(Cpus(vec![1, 4, 5, 6])));
        assert_eq!(Cpus(vec![1, 4]).to_string(), "1,4");
        for text in ["", "a", "1,", "3-1", "1-b", "4096000"] {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_process_runs_where_it_is_told_and_its_parent_stays() {
        let own = sched_getaffinity(None).expect("its own CPUs");
        let cpu = (0..CpuSet::MAX_CPU).rev().find(|cpu| own.is_set(*cpu)).expect("a CPU");
        let mut command = Command::new("grep");
        command.args(["Cpus_allowed_list", "/proc/self/status"]).stdout(std::process::Stdio::piped());
        let output = Cpus(vec![cpu]).spawn(&mut command).and_then(Group::output).expect("grep runs");
        assert_eq!(output.split_whitespace().last(), Some(cpu.to_string().as_str()), "{output}");
        assert_eq!(sched_getaffinity(None).expect("its own CPUs"), own);
    }
}

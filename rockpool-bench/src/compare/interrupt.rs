//! No server outlives the comparison: whoever starts one enters it here, and what stands here is ended when the
//! comparison is asked to end.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use tokio::signal::unix::{SignalKind, signal};

struct Held {
    /// Process groups; none of their leaders has been waited for, so that the numbers are still theirs.
    groups: Vec<Pid>,
    directories: Vec<PathBuf>,
}

static HELD: Mutex<Held> = Mutex::new(Held { groups: Vec::new(), directories: Vec::new() });

/// From now on SIGINT, SIGTERM and SIGHUP kill every process that is held, remove every directory that is held, and
/// end this process with 128 and the number of the signal.
///
/// # Errors
/// When the signals cannot be caught.
pub fn watch() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(guard);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Signal::INT,
                _ = terminate.recv() => Signal::TERM,
                _ = hang_up.recv() => Signal::HUP,
            }
        });
        // Never given back: nothing starts any more.
        let held = HELD.lock();
        for group in &held.groups {
            let _ = kill_process_group(*group, Signal::KILL);
            // So that it writes no more into what is removed next.
            let _ = waitpid(Some(*group), WaitOptions::empty());
        }
        for directory in &held.directories {
            let _ = std::fs::remove_dir_all(directory);
        }
        eprintln!("rockpool-bench: ended by a signal; the servers are ended, too");
        std::process::exit(128 + number.as_raw());
    })?;
    Ok(())
}

/// A process that leads a group of its own; the group is killed when this is dropped.
#[derive(Debug)]
pub struct Group {
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let mut held = HELD.lock();
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        held.groups.push(pid);
        Ok(Self { child, pid, ended: None })
    }

    /// The number of the process that leads it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the leader has ended, if it has.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let mut held = HELD.lock();
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                held.groups.retain(|pid| *pid != self.pid);
            }
        }
        Ok(self.ended)
    }

    /// Its standard input and output, where they are pipes and nobody has taken them.
    #[cfg(test)]
    pub fn pipes(&mut self) -> (Option<std::process::ChildStdin>, Option<std::process::ChildStdout>) {
        (self.child.stdin.take(), self.child.stdout.take())
    }

    /// What it writes to its standard output, if that is a pipe, until it ends; an error when it ends with one.
    ///
    /// # Errors
    /// When it cannot be read, or does not end well.
    pub fn output(mut self) -> io::Result<String> {
        let mut text = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut text)?;
        }
        loop {
            match self.ended()? {
                Some(status) if status.success() => return Ok(text),
                Some(status) => return Err(io::Error::other(format!("it ended with {status}: {}", text.trim()))),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn kill(&mut self) {
        if self.ended.is_none() {
            let mut held = HELD.lock();
            let _ = kill_process_group(self.pid, Signal::KILL);
            self.ended = self.child.wait().ok();
            held.groups.retain(|pid| *pid != self.pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A temporary directory that is removed also when a signal ends the comparison.
#[derive(Debug)]
pub struct Directory(tempfile::TempDir);

impl Directory {
    /// A new one below `parent`, or where the system keeps such.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(parent: Option<&Path>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("rockpool-bench-");
        let mut held = HELD.lock();
        let directory = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        }?;
        held.directories.push(directory.path().to_owned());
        Ok(Self(directory))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        HELD.lock().directories.retain(|path| path != self.0.path());
    }
}

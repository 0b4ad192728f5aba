//! How the process is run: in the background, under a supervisor, with a PID file.

use std::fs::{self, Permissions};
use std::io::{self, PipeWriter, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fork::Fork;
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};

use crate::base::file;
use crate::config::{Settings, Supervision};

/// The variable that names systemd's socket of notifications, and the one by which upstart is known.
const SYSTEMD_VARIABLE: &str = "NOTIFY_SOCKET";
const UPSTART_VARIABLE: &str = "UPSTART_JOB";

/// How often systemd is asked to extend its timeout while a start or an end goes on, and by how much. Replaying a large journal
/// may exceed its default, and a server that is killed meanwhile would begin anew.
const EXTENSION_INTERVAL: Duration = Duration::from_secs(10);
const EXTENSION: Duration = Duration::from_secs(60);

/// Whoever started the process, and is told when it is ready and when it ends.
pub struct Launch {
    /// To the process that was called and returns once this one is ready.
    caller: Option<PipeWriter>,
    supervisor: Option<Supervisor>,
    /// Whether neither a start nor an end is under way.
    is_steady: Arc<AtomicBool>,
    pid_file: Arc<PidFile>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Supervisor {
    Systemd,
    Upstart,
}

impl Supervisor {
    /// The one that `supervised` allows and whose variable is in the environment.
    fn of(settings: &Settings) -> Option<Supervisor> {
        let has = |variable| std::env::var_os(variable).is_some();
        let mode = settings.supervised.get();
        let may_be = |one| mode == one || mode == Supervision::Auto;
        if may_be(Supervision::Systemd) && has(SYSTEMD_VARIABLE) {
            Some(Supervisor::Systemd)
        } else if may_be(Supervision::Upstart) && has(UPSTART_VARIABLE) {
            Some(Supervisor::Upstart)
        } else {
            None
        }
    }
}

impl Launch {
    /// Goes on in the background if `daemonize` says so and nobody supervises the process. Then it returns in a process of
    /// its own; the one that was called waits until that is ready, or passes on the code with which it has failed. Until
    /// it is ready, it writes where the caller's output goes.
    ///
    /// There must be no other thread yet: it would not be in the new process.
    ///
    /// # Errors
    /// When the system refuses a process.
    pub fn begin(settings: &Settings) -> io::Result<Launch> {
        let supervisor = Supervisor::of(settings);
        let in_background = settings.daemonize.get() && supervisor.is_none();
        let caller = if in_background { Some(go_into_background()?) } else { None };
        Ok(Launch { caller, supervisor, is_steady: Arc::default(), pid_file: Arc::default() })
    }

    /// Writes the PID file. As in Redis, a failure is logged and no more. To be called once the ports and the data are held:
    /// another server with the same PID file may be running until then.
    pub fn write_pid_file(&self, settings: &Settings) {
        let path = settings.pidfile.get();
        if path.is_empty() {
            return;
        }
        if let Err(error) = self.pid_file.write(&path) {
            tracing::warn!(%error, path = &*path, "the PID file cannot be written");
        }
    }

    /// The PID file, which is removed when the last copy of this is dropped.
    pub fn pid_file(&self) -> Arc<PidFile> {
        self.pid_file.clone()
    }

    /// Keeps extending systemd's timeout (`EXTEND_TIMEOUT_USEC`) for as long as the start takes, and later the end.
    pub fn extend_systemd_timeouts(&self) {
        if self.supervisor != Some(Supervisor::Systemd) {
            return;
        }
        let is_steady = self.is_steady.clone();
        tokio::spawn(async move {
            loop {
                if !is_steady.load(Ordering::Relaxed) {
                    tell_systemd(&format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
                }
                tokio::time::sleep(EXTENSION_INTERVAL).await;
            }
        });
    }

    /// Tells the supervisor, and whoever started the process in the background, that the server is ready.
    pub fn ready(&mut self, settings: &Settings) {
        self.is_steady.store(true, Ordering::Relaxed);
        match self.supervisor {
            Some(Supervisor::Systemd) => {
                tell_systemd("STATUS=Ready to accept connections\nREADY=1");
            }
            // It goes on once upstart has seen it stop.
            Some(Supervisor::Upstart) => {
                if let Err(error) = kill_process(getpid(), Signal::STOP) {
                    tracing::warn!(%error, "upstart is not told that the server is ready");
                }
            }
            None if matches!(settings.supervised.get(), Supervision::Systemd | Supervision::Upstart) => {
                tracing::warn!(
                    "supervised is set, but there is no supervisor (neither NOTIFY_SOCKET nor UPSTART_JOB): nobody is \
                     told that the server is ready"
                );
            }
            None => {}
        }
        if let Some(mut caller) = self.caller.take() {
            let told = fork::redirect_stdio().and_then(|()| caller.write_all(b"1"));
            if let Err(error) = told {
                tracing::warn!(%error, "who started the server is not told that it is ready");
            }
        }
    }

    /// Tells the supervisor that the server is ending.
    pub fn ending(&self) {
        self.is_steady.store(false, Ordering::Relaxed);
        if self.supervisor == Some(Supervisor::Systemd) {
            tell_systemd("STOPPING=1");
        }
    }
}

fn tell_systemd(state: &str) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "systemd is not told how the server does");
    }
}

/// Sends one message of <https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html>. The crate sd-notify does
/// not know names that begin with `@`, which are no paths.
fn notify(state: &str) -> io::Result<()> {
    let name = std::env::var_os(SYSTEMD_VARIABLE).unwrap_or_default();
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// Forks; returns in the new process alone, with the pipe over which it says that it is ready.
fn go_into_background() -> io::Result<PipeWriter> {
    let (mut from_server, to_caller) = io::pipe()?;
    match fork::fork()? {
        Fork::Child => {
            drop(from_server);
            fork::setsid()?;
            Ok(to_caller)
        }
        Fork::Parent(server) => {
            drop(to_caller);
            let is_ready = from_server.read_exact(&mut [0]).is_ok();
            if is_ready {
                process::exit(0);
            }
            // It has ended, since its end of the pipe is closed.
            let code = fork::waitpid(server).map(|status| fork::WEXITSTATUS(status));
            process::exit(code.ok().filter(|code| *code != 0).unwrap_or(1));
        }
    }
}

/// A file with the process's id, once it is written; dropping this removes it.
#[derive(Default)]
pub struct PidFile(Mutex<Option<PathBuf>>);

impl PidFile {
    fn write(&self, path: &str) -> io::Result<()> {
        // The working directory may change later.
        let path = std::path::absolute(path)?;
        // Programs of other users read it.
        file::replace(&path, PidFile::content().as_bytes(), Some(Permissions::from_mode(0o644)))?;
        *self.0.lock() = Some(path);
        Ok(())
    }

    fn content() -> String {
        format!("{}\n", process::id())
    }

    /// Removes the file unless another process has written it since. For an exit that runs no destructors.
    pub fn remove(&self) {
        let Some(path) = self.0.lock().take() else { return };
        if fs::read_to_string(&path).is_ok_and(|content| content != PidFile::content()) {
            return;
        }
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "the PID file cannot be removed");
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        self.remove();
    }
}

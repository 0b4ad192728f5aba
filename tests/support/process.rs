//! Starts and ends the servers that tests talk to.

use super::{Client, PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

macro_rules! engines {
    ($($engine:ident = $name:literal),+ $(,)?) => {
        /// A storage engine that the server can run on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Engine {
            $($engine),+
        }

        impl Engine {
            /// Every engine that the suites have to pass on.
            pub fn all() -> &'static [Engine] {
                &[$(Engine::$engine),+]
            }

            /// The value of `--type`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Engine::$engine => $name),+
                }
            }
        }
    };
}

engines! {
    Memory = "memory",
    Rocksdb = "rocksdb",
}

/// A child process whose output goes to a file, so that it can be read while the process runs and after.
#[derive(Debug)]
struct Process {
    what: String,
    child: Child,
    log_path: PathBuf,
    exit: Option<ExitStatus>,
}

impl Process {
    fn spawn(what: String, command: &mut Command, log_path: PathBuf) -> std::io::Result<Process> {
        let log = File::create(&log_path)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Process { what, child, log_path, exit: None })
    }

    fn log(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        without_colours(&String::from_utf8_lossy(&bytes))
    }

    fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("the child can be waited for");
        }
        self.exit
    }

    fn signal(&self, signal: Signal) {
        assert!(self.exit.is_none(), "{} has ended, its pid is no longer its own", self.what);
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits")).expect("a pid is not 0");
        kill_process(pid, signal).expect("the child can be signalled");
    }

    fn terminate(&mut self) -> ExitStatus {
        if self.exited().is_none() {
            self.signal(Signal::TERM);
        }
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let ended = eventually(PATIENCE, || self.exited().is_some());
        assert!(ended, "{} did not end within {PATIENCE:?}", self.what);
        self.exit.expect("it has ended")
    }

    fn kill(&mut self) {
        if self.exited().is_none() {
            // It may end by itself in this very moment, and then there is nothing left to do.
            let _ = self.child.kill();
            self.exit = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}--- end of log ---", self.what, self.log());
        }
    }
}

/// Removes terminal colour sequences (`ESC [ … m`).
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..start]);
        let sequence = &rest[start + 2..];
        match sequence.find(|character: char| character.is_ascii_alphabetic()) {
            Some(end) => rest = &sequence[end + 1..],
            None => return plain,
        }
    }
    plain.push_str(rest);
    plain
}

/// How to start the server under test.
#[derive(Debug)]
pub struct ServerOptions {
    engine: Engine,
    program: PathBuf,
    directory: Option<PathBuf>,
    flags: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    open_files: Option<u32>,
}

impl ServerOptions {
    /// How many files it may open, which it cannot raise.
    #[must_use]
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Another program than the one that was built with the tests, or that `ROCKPOOL_BIN` names.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// One more argument of the command line: `.flag("--maxmemory").flag("1mb")`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Self {
        self.flags.push(flag.into());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Keeps the data in `directory`, which outlives the server: for tests that start it again on the same data.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Starts the server and waits until it says that it is ready; a panic with its log when it does not.
    pub fn start(self) -> Server {
        self.try_start().unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// Like [`ServerOptions::start`], for tests that expect the start to fail: the error holds the exit status and
    /// the log.
    pub fn try_start(self) -> Result<Server, String> {
        let (mut process, directory, temporary) = self.spawn()?;
        let mut ready = None;
        let _ = eventually(PATIENCE, || {
            // The exit is looked at first: what a process that has ended wrote is all in its log.
            let ended = process.exited().is_some();
            ready = process.log().lines().find_map(Addresses::from_ready_line);
            ready.is_some() || ended
        });
        match ready {
            Some(addresses) => Ok(Server { process, addresses, directory, temporary }),
            None => {
                let state = match process.exit {
                    Some(status) => format!("ended with {status}"),
                    None => format!("was not ready after {PATIENCE:?}"),
                };
                Err(format!("{} {state}; its log:\n{}", process.what, process.log()))
            }
        }
    }

    /// Starts the server and ends it with SIGKILL as soon as `is_time` says so, or when it has ended by itself.
    pub fn start_and_kill(self, mut is_time: impl FnMut() -> bool) {
        let (mut process, _directory, _temporary) = self.spawn().unwrap_or_else(|failure| panic!("{failure}"));
        let _ = eventually(PATIENCE, || process.exited().is_some() || is_time());
        process.kill();
    }

    fn spawn(self) -> Result<(Process, PathBuf, TempDir), String> {
        let temporary = TempDir::new().expect("a temporary directory");
        let directory = self.directory.unwrap_or_else(|| temporary.path().join("data"));
        std::fs::create_dir_all(&directory).expect("a data directory");
        let mut command = match self.open_files {
            None => Command::new(&self.program),
            Some(limit) => limited(&self.program, limit),
        };
        command.args(["--port", "0", "--http-port", "0", "--tcp-port", "0", "--type", self.engine.name(), "--dir"]);
        // Those of the tests themselves are no settings, and those of whoever runs them must not reach the server.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ROCKPOOL_")) {
            command.env_remove(name);
        }
        command.arg(&directory).args(&self.flags).envs(self.environment).current_dir(temporary.path());
        let what = format!("rockpool on {:?} {:?}", self.engine, self.flags);
        let process = Process::spawn(what, &mut command, temporary.path().join("log"))
            .map_err(|error| format!("{} cannot be started: {error}", self.program.display()))?;
        Ok((process, directory, temporary))
    }
}

/// A command that runs `program` with a limit of open files. The superuser gives up the right to raise it.
fn limited(program: &Path, limit: u32) -> Command {
    let script = "ulimit -n $0; test $(id -u) != 0 || set -- setpriv --bounding-set -sys_resource \"$@\"; exec \"$@\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, &limit.to_string()]).arg(program);
    command
}

/// Where the server listens; none for a protocol that it does not serve, which it writes as `-`.
#[derive(Debug)]
struct Addresses {
    resp: Option<SocketAddr>,
    http: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
}

impl Addresses {
    fn from_ready_line(line: &str) -> Option<Addresses> {
        line.split_whitespace().find(|word| word.trim_end_matches([':', ',']) == "ready")?;
        let address = |name: &str| -> Option<Option<SocketAddr>> {
            let token = line.split_whitespace().find_map(|token| token.strip_prefix(name)?.strip_prefix('='))?;
            match token.trim_matches(['"', ',']) {
                "-" => Some(None),
                address => Some(Some(address.to_socket_addrs().ok()?.next()?)),
            }
        };
        Some(Addresses { resp: address("resp")?, http: address("http")?, tcp: address("tcp")? })
    }
}

/// The server under test: `ROCKPOOL_BIN`, or the one that was built with the test. Cargo names that only to the tests of the
/// server's own package; those of another find it where cargo puts the programs, if all packages were built.
fn server_program() -> PathBuf {
    let named = std::env::var_os("ROCKPOOL_BIN").or_else(|| option_env!("CARGO_BIN_EXE_rockpool").map(OsString::from));
    named.map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().expect("this program has a path");
        let folder = test.parent().and_then(Path::parent).expect("tests are built two folders below the programs");
        let program = folder.join("rockpool");
        assert!(program.is_file(), "there is no server at {}: `cargo build` makes it", program.display());
        program
    })
}

/// The server under test, on ports of its own choice and a directory of its own; ended when it is dropped.
#[derive(Debug)]
pub struct Server {
    // Fields drop in this order: the process ends before its directory goes.
    process: Process,
    addresses: Addresses,
    directory: PathBuf,
    temporary: TempDir,
}

impl Server {
    pub fn options(engine: Engine) -> ServerOptions {
        ServerOptions {
            engine,
            program: server_program(),
            directory: None,
            flags: Vec::new(),
            environment: Vec::new(),
            open_files: None,
        }
    }

    /// Starts with no flags but those that every test needs.
    pub fn start(engine: Engine) -> Server {
        Server::options(engine).start()
    }

    pub fn resp_address(&self) -> SocketAddr {
        self.addresses.resp.expect("the server listens for resp")
    }

    pub fn http_address(&self) -> SocketAddr {
        self.addresses.http.expect("the server listens for http")
    }

    /// The port of the length-prefixed `S`/`G`/`D` protocol.
    pub fn tcp_address(&self) -> SocketAddr {
        self.addresses.tcp.expect("the server listens for tcp")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.resp_address())
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A directory for this server's other files, such as a unix socket; it goes with the server.
    pub fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// All that the server wrote to its standard output and error so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.exited().is_none()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }

    /// Waits until it ends by itself, as after SHUTDOWN.
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// SIGKILL: a crash.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// A throw-away redis-server to compare with, without persistence, on a free loopback port.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    address: SocketAddr,
    _temporary: TempDir,
    /// The data, where they go with the server.
    _directory: Option<TempDir>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// Starts with more flags, as `&["--requirepass", "secret"]`.
    pub fn start_with(flags: &[&str]) -> Redis {
        let directory = TempDir::new().expect("a temporary directory");
        let mut redis = Redis::try_start_in(directory.path(), flags, &[]).unwrap_or_else(|failure| panic!("{failure}"));
        redis._directory = Some(directory);
        redis
    }

    /// Starts on data that outlive it.
    pub fn try_start_in(directory: &Path, flags: &[&str], environment: &[(String, String)]) -> Result<Redis, String> {
        std::fs::create_dir_all(directory).expect("a data directory");
        let mut last_log = String::new();
        // Another process may take the port between its choice and redis-server's bind.
        for _ in 0..5 {
            let temporary = TempDir::new().expect("a temporary directory");
            let port = free_port();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.arg("--dir").arg(directory).args(flags);
            command.envs(environment.iter().map(|(name, value)| (name, value)));
            let log_path = temporary.path().join("log");
            let mut process =
                Process::spawn(format!("redis-server {flags:?}"), &mut command, log_path).unwrap_or_else(|error| {
                    panic!("redis-server cannot be started ({error}); install it: apt-get install redis-server")
                });
            let mut ready = false;
            let _ = eventually(PATIENCE, || {
                let ended = process.exited().is_some();
                ready = process.log().contains("Ready to accept connections");
                ready || ended
            });
            if ready {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                return Ok(Redis { process, address, _temporary: temporary, _directory: None });
            }
            last_log = process.log();
        }
        Err(format!("redis-server {flags:?} did not start; its last log:\n{last_log}"))
    }

    pub fn resp_address(&self) -> SocketAddr {
        self.address
    }

    pub fn client(&self) -> Client {
        Client::connect(self.resp_address())
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// SIGKILL: a crash.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("the listener's address").port()
}

//! The start and the end of the server, as an operator sees them.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{Client, Engine, Server, Value, eventually, on_every_engine};

/// Runs the program to its end.
fn run(flags: &[&str]) -> Output {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let program = std::env::var_os("ROCKPOOL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_rockpool").into());
    Command::new(program).args(flags).current_dir(directory.path()).output().expect("the program runs")
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

fn signal(server: &Server, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a pid fits")).expect("a pid is not 0");
    kill_process(pid, signal).expect("the server can be signalled");
}

on_every_engine!(one_line_says_ready_and_names_what_listens, |server| {
    let log = server.log();
    let ready: Vec<&str> = log.lines().filter(|line| line.contains("ready ")).collect();
    assert_eq!(ready.len(), 1, "{log}");
    let expected =
        format!("ready resp={} http={} tcp={}", server.resp_address(), server.http_address(), server.tcp_address());
    assert!(ready[0].contains(&expected), "{log}");
    for address in [server.resp_address(), server.http_address(), server.tcp_address()] {
        assert!(address.ip().is_loopback() && address.port() != 0);
        Client::connect(address);
    }
});

on_every_engine!(sigterm_ends_it_with_code_0, |server| {
    let mut idle = server.client();
    let mut http = Client::connect(server.http_address());
    assert_eq!(idle.command(&["PING"]), Value::simple("PONG"));
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(idle.at_end() && http.at_end());
    assert!(Client::try_connect(server.resp_address()).is_err());
});

on_every_engine!(sigint_ends_it_with_code_0, |server| {
    signal(&server, Signal::INT);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
});

on_every_engine!(what_was_received_before_the_end_is_answered, |server| {
    let mut client = server.client();
    let commands: Vec<[String; 3]> =
        (0..1_000).map(|number| ["SET".to_owned(), format!("k{number}"), "v".to_owned()]).collect();
    for command in &commands {
        client.send(command);
    }
    assert_eq!(client.read_value(), Value::ok());
    signal(&server, Signal::TERM);
    let mut answered = 1;
    while let Ok(value) = client.try_read_value() {
        assert_eq!(value, Value::ok(), "a reply is whole or not there");
        answered += 1;
    }
    assert!(answered <= commands.len());
    assert_eq!(server.wait().code(), Some(0));
});

#[test]
fn a_client_that_reads_nothing_does_not_hold_up_the_end() {
    let mut server = Server::start(Engine::Memory);
    let mut client = server.client();
    assert_eq!(client.command(&["SET", "k", &"v".repeat(1_000_000)]), Value::ok());
    // Far more than the buffers of both sockets hold, and none of it is read.
    client.raw_write(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(50));
    let mut other = server.client();
    assert_eq!(other.command(&["PING"]), Value::simple("PONG"));
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    drop(client);
}

#[test]
fn a_wrong_setting_is_one_line() {
    for (flags, named) in [
        (&["--prot", "1"][..], "--prot"),
        (&["--port", "65536"], "port"),
        (&["--maxmemory", "much"], "maxmemory"),
        (&["--config", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let output = run(flags);
        let errors = lines(&output.stderr);
        assert_eq!((errors.len(), output.stdout.len()), (1, 0), "{flags:?}: {output:?}");
        assert!(errors[0].starts_with("rockpool: ") && errors[0].contains(named), "{errors:?}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn idle_settings_are_told_in_one_line() {
    // Whatever the value: it is not what has the server do so.
    let options = Server::options(Engine::Memory).flag("--rdbcompression").flag("yes").flag("--save").flag("");
    let server = options.start();
    let expected = "accepted, but without effect in this version: save, rdbcompression";
    assert!(server.log().contains(expected), "{}", server.log());
    assert_eq!(server.client().command(&["CONFIG", "SET", "timeout", "1", "acllog-max-len", "7"]), Value::ok());
    let is_told = || server.log().contains("without effect in this version: acllog-max-len");
    assert!(eventually(support::PATIENCE, is_told), "{}", server.log());
    assert!(!Server::start(Engine::Memory).log().contains("without effect"));
}

#[test]
fn a_port_in_use_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for flag in ["--port", "--http-port", "--tcp-port"] {
        let mut flags = vec!["--bind", "127.0.0.1"];
        for other in ["--port", "--http-port", "--tcp-port"] {
            flags.extend([other, if other == flag { &port } else { "0" }]);
        }
        let output = run(&flags);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = [lines(&output.stdout), lines(&output.stderr)].concat();
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].contains(&format!("cannot listen on 127.0.0.1:{port}")), "{all:?}");
    }
}

#[test]
fn a_log_file_that_cannot_be_written_is_one_line() {
    let output = run(&["--port", "0", "--logfile", "/no-such-directory/log"]);
    assert_eq!((output.status.code(), lines(&output.stderr).len()), (Some(1), 1), "{output:?}");
    assert!(lines(&output.stderr)[0].contains("/no-such-directory/log"), "{output:?}");
}

#[test]
fn a_unix_socket_is_served_and_goes_with_the_server() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("socket");
    let start = || {
        let options = Server::options(Engine::Memory).flag("--unixsocket").flag(&path);
        options.flag("--unixsocketperm").flag("700").start()
    };
    let mut server = start();
    let metadata = std::fs::metadata(&path).expect("the socket file");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
    let mut client = Client::connect_unix(&path);
    assert_eq!(client.command(&["SET", "k", "v"]), Value::ok());
    assert_eq!(server.client().command(&["GET", "k"]), Value::bulk("v"));

    // Another server may not take it over while it is served …
    let refused = Server::options(Engine::Memory).flag("--unixsocket").flag(&path).try_start().expect_err("in use");
    assert!(refused.contains("cannot listen on") && refused.contains("exit status: 1"), "{refused}");
    assert_eq!(client.command(&["GET", "k"]), Value::bulk("v"));

    // … but what a crash left is replaced, and an ordered end leaves nothing.
    server.kill();
    assert!(path.exists());
    let mut server = start();
    assert_eq!(Client::connect_unix(&path).command(&["GET", "k"]), Value::Null);
    assert!(server.terminate().success());
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_takes_no_other_files_place() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let [file, link, folder] = ["file", "link", "folder"].map(|name| directory.path().join(name));
    std::fs::write(&file, "precious").expect("a file");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    std::fs::create_dir(&folder).expect("a folder");
    for path in [&file, &link, &folder] {
        let options = Server::options(Engine::Memory).flag("--unixsocket").flag(path);
        let refused = options.try_start().expect_err("something is there");
        let expected = format!("cannot listen on {}: there is a file that is no socket", path.display());
        assert!(refused.contains(&expected) && refused.contains("exit status: 1"), "{refused}");
    }
    assert_eq!(std::fs::read_to_string(&link).expect("the file, by its link"), "precious");
    assert!(folder.is_dir());
}

#[test]
fn the_log_goes_to_its_file_in_json_and_by_level() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_rockpool"))
        .args(["--port", "0", "--http-port", "0", "--tcp-port", "0", "--log-format", "json", "--logfile"])
        .arg(&path)
        .current_dir(directory.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program runs");
    let log = || std::fs::read_to_string(&path).unwrap_or_default();
    let is_ready = eventually(support::PATIENCE, || log().contains("ready resp="));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits")).expect("a pid is not 0");
    kill_process(pid, Signal::TERM).expect("the server can be signalled");
    let status = child.wait().expect("it ends");
    assert!(is_ready && status.success(), "{}", log());
    for line in log().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(value["level"], "INFO", "{line}");
        assert!(value["fields"]["message"].is_string() && value["timestamp"].is_string(), "{line}");
    }
    let mut printed = String::new();
    child.stdout.take().expect("its output").read_to_string(&mut printed).expect("text");
    assert_eq!(printed, "", "nothing but the file is written to");
}

on_every_engine!(signals_that_ask_for_nothing_change_nothing, |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["SET", "k", "v"]), Value::ok());
    for number in [Signal::HUP, Signal::PIPE, Signal::USR1, Signal::USR2, Signal::XFSZ, Signal::HUP] {
        signal(&server, number);
        assert_eq!(client.command(&["GET", "k"]), Value::bulk("v"), "{number:?}");
    }
    assert_eq!(server.client().command(&["GET", "k"]), Value::bulk("v"));
    assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
});

/// Has a client that reads nothing, so that the end waits for it.
fn with_unread_replies(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.command(&["SET", "k", &"v".repeat(1_000_000)]), Value::ok());
    client.raw_write(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(50));
    assert_eq!(server.client().command(&["PING"]), Value::simple("PONG"));
    client
}

on_every_engine!(a_second_sigint_ends_it_at_once, |server| {
    for first in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(Engine::Memory);
        let client = with_unread_replies(&server);
        signal(&server, first);
        assert!(eventually(support::PATIENCE, || server.log().contains("ending: ")), "{}", server.log());
        signal(&server, Signal::INT);
        assert_eq!(server.wait().code(), Some(1), "{}", server.log());
        drop(client);
    }
    // Supervisors repeat themselves: that hurries nothing.
    let client = with_unread_replies(&server);
    signal(&server, Signal::TERM);
    assert!(eventually(support::PATIENCE, || server.log().contains("ending: ")), "{}", server.log());
    signal(&server, Signal::TERM);
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    assert!(server.log().contains("bye"), "{}", server.log());
    drop(client);
});

#[test]
fn the_end_may_come_amid_the_start() {
    // Waiting for its settings …
    for number in [Signal::TERM, Signal::INT] {
        let mut child = program().arg("-").stdin(Stdio::piped()).spawn().expect("the program runs");
        let pid = pid_of(child.id());
        assert!(eventually(support::PATIENCE, || catches(child.id(), number)));
        kill_process(pid, number).expect("it can be signalled");
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }
    // … and replaying a journal.
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let options = || Server::options(Engine::Rocksdb).directory(directory.path().join("data"));
    {
        let mut server = options().flag("--merge-interval").flag("3600000").flag("--maxdirty").flag("1gb").start();
        let mut client = server.client();
        for number in 0..40_000 {
            client.send(&["SET", &format!("key:{number}"), &"v".repeat(1000)]);
        }
        for _ in 0..40_000 {
            assert_eq!(client.read_value(), Value::ok());
        }
        server.kill();
    }
    for _ in 0..3 {
        let mut child = program()
            .args(["--port", "0", "--http-port", "0", "--tcp-port", "0", "--dir"])
            .arg(directory.path().join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        assert!(eventually(support::PATIENCE, || catches(child.id(), Signal::TERM)));
        kill_process(pid_of(child.id()), Signal::TERM).expect("it can be signalled");
        let mut log = String::new();
        child.stdout.take().expect("its output").read_to_string(&mut log).expect("text");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{log}");
    }
    assert_eq!(options().start().client().command(&["DBSIZE"]), Value::Integer(40_000));
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rockpool"));
    command.current_dir(std::env::temp_dir());
    command
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a pid fits")).expect("a pid is not 0")
}

/// Whether the process has a handler for the signal.
fn catches(id: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    caught & (1 << (signal.as_raw() - 1)) != 0
}

#[test]
fn process_1_can_be_ended() {
    // In a container, what has no handler does not reach the process at all.
    let namespace = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("not tested: this system has no namespaces for its users");
        return;
    }
    for number in [Signal::TERM, Signal::INT] {
        let directory = tempfile::TempDir::new().expect("a temporary directory");
        let mut child = Command::new("unshare")
            .args(namespace)
            .arg(env!("CARGO_BIN_EXE_rockpool"))
            .args(["--port", "0", "--http-port", "0", "--tcp-port", "0", "--type", "memory", "--pidfile", "pid"])
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut log = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while !line.contains("ready ") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("text"), 0, "it has ended");
        }
        let written = std::fs::read_to_string(directory.path().join("pid")).expect("its number");
        assert_eq!(written, "1\n");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("its child");
        let server = pid_of(children.trim().parse().expect("one number"));
        kill_process(server, Signal::HUP).expect("it can be signalled");
        kill_process(server, number).expect("it can be signalled");
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
    }
}

#[test]
fn it_outlives_the_terminal_that_it_logs_to() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let mut child = program()
        .args([
            "--port",
            "0",
            "--http-port",
            "0",
            "--tcp-port",
            "0",
            "--type",
            "memory",
            "--loglevel",
            "debug",
            "--dir",
        ])
        .arg(directory.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut log = BufReader::new(child.stdout.take().expect("its output"));
    let address = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("text"), 0, "it has ended");
        if let Some(address) = resp_address(&line) {
            break address;
        }
    };
    // As where the terminal is closed: nobody reads what it writes any more.
    drop((log, child.stderr.take()));
    kill_process(pid_of(child.id()), Signal::HUP).expect("it can be signalled");
    let mut client = Client::connect(address);
    for timeout in 100..110 {
        // Each is told in the log.
        assert_eq!(client.command(&["CONFIG", "SET", "timeout", &timeout.to_string()]), Value::ok());
    }
    kill_process(pid_of(child.id()), Signal::TERM).expect("it can be signalled");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn resp_address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("ready "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("resp="))?.parse().ok()
}

/// A second start with the same files fails, and takes nothing away from the first.
#[test]
fn who_does_not_start_leaves_the_file_of_the_number_alone() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let pid_file = directory.path().join("pid");
    let options = || Server::options(Engine::Rocksdb).directory(directory.path()).flag("--pidfile").flag(&pid_file);
    let mut server = options().start();
    let content = std::fs::read_to_string(&pid_file).expect("its number");
    let refused = options().try_start().expect_err("the directory is in use");
    assert!(refused.contains("is in use by another process"), "{refused}");
    assert_eq!(std::fs::read_to_string(&pid_file).expect("still there"), content);
    // Nor does an end take away what another has written since.
    std::fs::write(&pid_file, "1\n").expect("written");
    assert!(server.terminate().success());
    assert_eq!(std::fs::read_to_string(&pid_file).expect("still there"), "1\n");
}

#[test]
fn in_the_background_it_returns_when_it_is_ready() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (log, pid_file) = (path("log"), path("pid"));
    let flags = ["--port", "0", "--http-port", "0", "--tcp-port", "0", "--daemonize", "yes"];
    let paths = ["--dir", directory.path().to_str().expect("text"), "--logfile", &log, "--pidfile", &pid_file];
    let output = run(&[&flags[..], &paths].concat());
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0), "{output:?}");
    // It is ready now, and not only later.
    let text = std::fs::read_to_string(&log).expect("a log");
    let id: u32 = std::fs::read_to_string(&pid_file).expect("its number").trim().parse().expect("a number");
    let mut client = Client::connect(resp_address(&text).expect("it is ready"));
    assert_eq!(client.command(&["SET", "k", "v"]), Value::ok());
    let information = client.command(&["INFO", "server"]).text();
    assert!(information.contains(&format!("process_id:{id}\r\n")), "{information}");
    // It has a session of its own, and nothing of the caller's.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    let session = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3));
    assert_eq!(session, Some(id.to_string().as_str()));
    for number in 0..3 {
        let target = std::fs::read_link(format!("/proc/{id}/fd/{number}")).expect("it is open");
        assert_eq!(target, Path::new("/dev/null"));
    }
    // A log that is renamed, as logrotate does, is begun anew.
    std::fs::rename(&log, path("log.1")).expect("it can be renamed");
    assert_eq!(client.command(&["CONFIG", "SET", "timeout", "1234"]), Value::ok());
    let begun = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("settings changed"));
    assert!(eventually(support::PATIENCE, begun));
    assert!(!std::fs::read_to_string(path("log.1")).expect("the old log").contains("settings changed"));
    kill_process(pid_of(id), Signal::TERM).expect("it can be signalled");
    assert!(eventually(support::PATIENCE, || !Path::new(&format!("/proc/{id}")).exists()));
    assert!(!Path::new(&pid_file).exists());
    assert!(std::fs::read_to_string(&log).expect("a log").contains("bye"));
}

#[test]
fn who_starts_it_in_the_background_is_told_why_it_does_not() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for (flags, code, reason) in [
        (["--bind", "127.0.0.1", "--port", &port], 1, "cannot listen on 127.0.0.1"),
        (["--port", "0", "--logfile", "/no-such-directory/log"], 1, "/no-such-directory/log"),
        (["--port", "0", "--maxmemory", "lots"], 2, "maxmemory"),
    ] {
        let common = ["--daemonize", "yes", "--http-port", "0", "--tcp-port", "0", "--type", "memory"];
        let output = run(&[&common[..], &flags].concat());
        let errors = lines(&output.stderr);
        assert_eq!((output.status.code(), errors.len()), (Some(code), 1), "{output:?}");
        assert!(errors[0].contains(reason), "{errors:?}");
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_ends() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("notify");
    let name = format!("rockpool-test-{}", std::process::id());
    let of_name = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
    for (socket, address) in [
        (UnixDatagram::bind(&path), path.to_str().expect("text").to_owned()),
        (UnixDatagram::bind_addr(&of_name), format!("@{name}")),
    ] {
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(support::PATIENCE)).expect("a deadline");
        for mode in ["systemd", "auto"] {
            // A supervisor keeps the process where it is.
            let options =
                Server::options(Engine::Rocksdb).flag("--supervised").flag(mode).flag("--daemonize").flag("yes");
            let mut server = options.environment("NOTIFY_SOCKET", &address).start();
            let until = |wanted: &str| {
                let mut bytes = [0; 4096];
                loop {
                    let length = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
                    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                    if text.lines().any(|line| line == wanted) {
                        break;
                    }
                    assert!(text.starts_with("EXTEND_TIMEOUT_USEC="), "{text}");
                }
            };
            until("READY=1");
            assert_eq!(server.client().command(&["PING"]), Value::simple("PONG"));
            assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
            until("STOPPING=1");
        }
    }
    // Where nobody supervises it, it is as if nothing had been set, but for a line of the log.
    let server = Server::options(Engine::Memory).flag("--supervised").flag("systemd").start();
    assert!(server.log().contains("WARN supervised is set"), "{}", server.log());
    assert!(!Server::options(Engine::Memory).flag("--supervised").flag("auto").start().log().contains("WARN"));
}

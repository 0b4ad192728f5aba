//! The start and the end of the server, as an operator sees them.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Output};
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
fn an_idle_setting_is_told() {
    let server = Server::options(Engine::Memory).flag("--rdbcompression").flag("no").start();
    assert!(server.log().contains("rdbcompression is accepted, but has no effect"), "{}", server.log());
    assert!(!Server::start(Engine::Memory).log().contains("no effect"));
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

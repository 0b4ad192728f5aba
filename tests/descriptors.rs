//! File descriptors: however few there are and whoever floods the server, the disk has what it needs.

mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{Client, Engine, Http, PATIENCE, Server, Value, encode, eventually};

/// What the server may open.
fn open_files_limit(server: &Server) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("the limit of open files");
    line.split_whitespace().nth(3).expect("the soft limit").parse().expect("a number")
}

fn open_files(server: &Server) -> u64 {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors").count() as u64
}

fn setting(client: &mut Client, name: &str) -> u64 {
    let value = client.command(&["CONFIG", "GET", name]);
    let Value::Array(pair) = value else { panic!("{value:?}") };
    pair[1].text().parse().expect("a number")
}

/// Holds as many connections to each port as the kernel lets wait, while `act` runs.
fn flooded(server: &Server, each: usize, act: impl FnOnce()) {
    let flood: Vec<TcpStream> = [server.http_address(), server.resp_address(), server.tcp_address()]
        .into_iter()
        .flat_map(|address| {
            (0..each).map_while(move |_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok())
        })
        .collect();
    act();
    drop(flood);
}

/// Writes for a while, with flushes and compactions, and reads it again.
fn writes_and_reads(server: &Server, client: &mut Client) {
    let value = "v".repeat(2000);
    let end = Instant::now() + Duration::from_secs(2);
    let mut written = 0;
    while Instant::now() < end {
        for _ in 0..200 {
            client.send(&["SET", &format!("key:{written}"), &value]);
            written += 1;
        }
        for _ in 0..200 {
            assert_eq!(client.read_value(), Value::ok(), "{}", server.log());
        }
    }
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    assert_eq!(client.command(&["GET", "key:0"]), Value::bulk(&value));
    assert_eq!(client.command(&["DBSIZE"]), Value::Integer(written));
}

#[test]
fn the_disk_has_its_own_whoever_floods() {
    for limit in [200, 300, 1024] {
        let mut server = Server::options(Engine::Rocksdb).open_files(limit).start();
        assert_eq!(open_files_limit(&server), u64::from(limit));
        let mut client = server.client();
        let (clients, http) = (setting(&mut client, "maxclients"), setting(&mut client, "http-maxclients"));
        assert!(clients + http < u64::from(limit) / 4 * 3 && clients > 0 && http > 0, "{limit}: {clients}, {http}");
        let reduced = format!("maxclients has been reduced to {clients} and http-maxclients to {http} ");
        let is_warning = |line: &str| line.contains("WARN") && line.contains(&reduced);
        assert!(server.log().lines().any(is_warning), "{}", server.log());
        flooded(&server, limit as usize + 50, || {
            writes_and_reads(&server, &mut client);
            assert_eq!(Http::connect(&server).get("/healthz").status, 200, "{limit}");
            assert!(open_files(&server) < u64::from(limit), "{limit}");
        });
        assert!(!server.log().contains("Too many open files"), "{}", server.log());
        let answers = || {
            Client::try_connect(server.resp_address()).is_ok_and(|mut client| {
                client.try_raw_write(&encode(&["PING"])).is_ok()
                    && client.try_read_value().is_ok_and(|pong| pong == Value::simple("PONG"))
            })
        };
        assert!(eventually(PATIENCE, answers), "it serves on");
        assert!(server.terminate().success());
    }
}

#[test]
fn too_few_are_one_clear_line() {
    for engine in Engine::all() {
        for limit in [40, 64] {
            if *engine == Engine::Memory && limit > 40 {
                continue;
            }
            let failure = Server::options(*engine).open_files(limit).try_start().expect_err("it cannot serve");
            let lines: Vec<&str> = failure.lines().filter(|line| line.contains("open files")).collect();
            assert_eq!(lines.len(), 1, "{failure}");
            assert!(lines[0].contains(&format!("the limit of open files is {limit}, and at least ")), "{failure}");
        }
    }
}

#[test]
fn more_clients_than_fit_are_refused_as_in_redis() {
    let server = Server::options(Engine::Memory).open_files(300).flag("--maxclients").flag("50").start();
    let mut client = server.client();
    let http = setting(&mut client, "http-maxclients");
    for (name, number) in [("maxclients", "100000"), ("http-maxclients", "100000")] {
        let before = setting(&mut client, name);
        let refused = client.command(&["CONFIG", "SET", name, number]);
        let start = format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - The operating system is not able to \
             handle the specified number of clients, try with "
        );
        let Value::Error(line) = refused else { panic!("{refused:?}") };
        let line = String::from_utf8(line).expect("text");
        let most: u64 = line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")).parse().expect("a number");
        assert_eq!(setting(&mut client, name), before);
        assert!(most >= before && most < 300, "{name}: {most}");
        // What it says is so.
        assert_eq!(client.command(&["CONFIG", "SET", name, &most.to_string()]), Value::ok());
        assert!(client.command(&["CONFIG", "SET", name, &(most + 1).to_string()]).is_error());
        assert_eq!(client.command(&["CONFIG", "SET", name, &before.to_string()]), Value::ok());
    }
    assert_eq!(client.command(&["CONFIG", "SET", "http-maxclients", "10", "maxclients", "60"]), Value::ok());
    assert!(http > 10);
    flooded(&server, 400, || {
        assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
        assert!(open_files(&server) < 300);
    });
    assert!(!server.log().contains("Too many open files"), "{}", server.log());
}

//! Connections as such: who may come in, how long they stay, how they end.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Client, Engine, PATIENCE, Server, Value, encode, eventually, on_every_engine};

on_every_engine!(ping_echo_select_quit, |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
    assert_eq!(client.command(&["PING", "a\r\nb"]), Value::bulk("a\r\nb"));
    assert_eq!(client.command(&["PING", "a", "b"]), Value::error("ERR wrong number of arguments for 'ping' command"));
    assert_eq!(client.command(&["SET", "k", "zero"]), Value::ok());
    assert_eq!(client.command(&["SELECT", "15"]), Value::ok());
    assert_eq!(client.command(&["GET", "k"]), Value::Null);
    for (index, error) in [
        ("16", "ERR DB index is out of range"),
        ("-1", "ERR DB index is out of range"),
        ("x", "ERR value is not an integer or out of range"),
        ("3000000000", "ERR value is out of range, value must between -2147483648 and 2147483647"),
    ] {
        assert_eq!(client.command(&["SELECT", index]), Value::error(error));
    }
    // What stands behind QUIT is not executed.
    let replies = client.pipeline(&[&["ECHO", "last"][..], &["QUIT"]]);
    assert_eq!(replies, [Value::bulk("last"), Value::ok()]);
    assert!(client.at_end());
    let mut client = server.client();
    client.raw_write(b"PING\r\nQUIT\r\nSET k never\r\nPING\r\n");
    assert_eq!([client.read_value(), client.read_value()], [Value::simple("PONG"), Value::ok()]);
    assert!(client.at_end());
    assert_eq!(server.client().command(&["GET", "k"]), Value::bulk("zero"));
});

on_every_engine!(a_half_closed_client_gets_its_replies, |server| {
    let mut stream = TcpStream::connect(server.resp_address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&encode(&["SET", "big", &"x".repeat(4 << 20)])).unwrap();
    for _ in 0..8 {
        stream.write_all(&encode(&["GET", "big"])).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), "+OK\r\n".len() + 8 * ("$4194304\r\n\r\n".len() + (4 << 20)));
});

on_every_engine!(http_is_refused, |server| {
    for request in ["POST / HTTP/1.1\r\nHost: a\r\n\r\nSET k v\r\n", "host: a\r\nSET k v\r\n"] {
        let mut client = server.client();
        client.raw_write(request.as_bytes());
        assert!(client.at_end(), "{request}");
    }
    assert_eq!(server.client().command(&["GET", "k"]), Value::Null);
    assert_eq!(server.log().matches("possible attack").count(), 1, "it is logged once a minute");
});

on_every_engine!(maxclients_is_kept, ["--maxclients", "3"], |server| {
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.command(&["PING"]), Value::simple("PONG")));
    let mut refused = server.client();
    assert_eq!(refused.read_value(), Value::error("ERR max number of clients reached"));
    assert!(refused.at_end());
    clients.pop();
    let comes_in = || {
        let mut client = server.client();
        client.try_raw_write(b"PING\r\n").is_ok() && client.try_read_value().is_ok_and(|value| !value.is_error())
    };
    assert!(eventually(PATIENCE, comes_in), "the place of one who went is free");
});

on_every_engine!(idle_clients_are_closed, ["--timeout", "1"], |server| {
    let mut monitor = server.client();
    assert_eq!(monitor.command(&["MONITOR"]), Value::ok());
    let (mut idle, mut busy) = (server.client(), server.client());
    let start = Instant::now();
    assert_eq!(idle.command(&["PING"]), Value::simple("PONG"));
    idle.set_deadline(Duration::from_millis(1));
    let closed = eventually(PATIENCE, || {
        assert_eq!(busy.command(&["PING"]), Value::simple("PONG"));
        idle.at_end()
    });
    assert!(closed && start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(busy.command(&["PING"]), Value::simple("PONG"));
    assert!(monitor.read_value().text().contains("PING"), "monitors may be idle");
});

/// An address of this machine that is not loopback, if it has one. Nothing is sent.
fn outer_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(address) if !address.ip().is_loopback() && !address.ip().is_unspecified() => Some(*address.ip()),
        _ => None,
    }
}

#[test]
fn protected_mode_admits_only_this_machine() {
    let Some(outer) = outer_address() else {
        eprintln!("this machine has loopback addresses only: nothing to try");
        return;
    };
    for &engine in Engine::all() {
        let start = |flags: &[&str]| {
            flags
                .iter()
                .fold(Server::options(engine).flag("--bind").flag("0.0.0.0"), |options, flag| options.flag(*flag))
                .start()
        };
        let at = |server: &Server, address: Ipv4Addr| Client::connect((address, server.resp_address().port()).into());
        let server = start(&[]);
        let mut refused = at(&server, outer);
        assert!(refused.read_value().error_text().starts_with("DENIED "));
        assert!(refused.at_end());
        assert_eq!(at(&server, Ipv4Addr::LOCALHOST).command(&["PING"]), Value::simple("PONG"));
        let server = start(&["--protected-mode", "no"]);
        assert_eq!(at(&server, outer).command(&["PING"]), Value::simple("PONG"));
        let server = start(&["--requirepass", "secret"]);
        assert_eq!(at(&server, outer).command(&["AUTH", "secret"]), Value::ok());
    }
}

on_every_engine!(sigterm_drains_and_ends_with_success, ["--io-threads", "2"], |server| {
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    let value = "x".repeat(4 << 20);
    assert_eq!(clients[0].command(&["SET", "big", &value]), Value::ok());
    for client in &mut clients {
        client.send(&["GET", "big"]);
        client.send(&["GET", "big"]);
    }
    // All have been answered as far as the server is concerned; the kernel has not taken everything yet.
    let mut observer = server.client();
    let all_executed = |observer: &mut Client| {
        observer.command(&["CLIENT", "LIST"]).text().lines().filter(|line| line.contains("cmd=get")).count() == 8
    };
    assert!(eventually(PATIENCE, || all_executed(&mut observer)));
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let lengths = [client.read_value().bytes().len(), client.read_value().bytes().len()];
                (lengths, client.at_end())
            })
        })
        .collect();
    let status = server.terminate();
    for reader in readers {
        assert_eq!(reader.join().unwrap(), ([value.len(); 2], true));
    }
    assert_eq!(status.code(), Some(0), "{}", server.log());
});

on_every_engine!(sigterm_does_not_wait_for_a_stuck_reader, |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["SET", "big", &"x".repeat(4 << 20)]), Value::ok());
    for _ in 0..16 {
        client.send(&["GET", "big"]);
    }
    let mut paused = server.client();
    assert_eq!(paused.command(&["CLIENT", "PAUSE", "60000"]), Value::ok());
    paused.send(&["PING"]);
    let start = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
});

on_every_engine!(an_endless_pipeline_starves_nobody, ["--io-threads", "1"], |server| {
    let address = server.resp_address();
    let mut flood = TcpStream::connect(address).unwrap();
    let mut drain = flood.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while drain.read(&mut buffer).is_ok_and(|count| count > 0) {}
    });
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let commands = b"PING\r\n".repeat(20_000);
        while stopped.try_recv().is_err() {
            flood.write_all(&commands).unwrap();
        }
        flood.shutdown(Shutdown::Both).unwrap();
    });
    let mut client = server.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
        slowest = slowest.max(start.elapsed());
    }
    stop.send(()).unwrap();
    writer.join().unwrap();
    reader.join().unwrap();
    assert!(slowest < Duration::from_secs(1), "another client waited {slowest:?}");
});

on_every_engine!(limits_change_at_run_time, |server| {
    let mut admin = server.client();
    let set = |admin: &mut Client, name: &str, value: &str| {
        assert_eq!(admin.command(&["CONFIG", "SET", name, value]), Value::ok(), "{name}");
    };
    let mut other = server.client();
    assert_eq!(other.command(&["PING"]), Value::simple("PONG"));
    set(&mut admin, "maxclients", "2");
    assert_eq!(server.client().read_value(), Value::error("ERR max number of clients reached"));
    set(&mut admin, "maxclients", "100");
    // Who is connected stays in when a password is set; who comes then must give it.
    set(&mut admin, "requirepass", "secret");
    assert_eq!(other.command(&["PING"]), Value::simple("PONG"));
    let mut stranger = server.client();
    assert_eq!(stranger.command(&["PING"]), Value::error("NOAUTH Authentication required."));
    set(&mut admin, "requirepass", "");
    assert_eq!(stranger.command(&["PING"]), Value::simple("PONG"));
    set(&mut admin, "timeout", "1");
    other.set_deadline(Duration::from_millis(1));
    assert!(eventually(PATIENCE, || {
        assert_eq!(admin.command(&["PING"]), Value::simple("PONG"));
        other.at_end()
    }));
});

/// How many seconds the server's end of `client`'s connection stays without traffic before it is probed; `None`: for ever.
fn keepalive_s(client: &TcpStream) -> Option<u64> {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let ends = (port(client.peer_addr().unwrap()), port(client.local_addr().unwrap()));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[1].ends_with(&ends.0) && line[2].ends_with(&ends.1)).expect("a connection");
    let (timer, hundredths) = line[5].split_once(':').unwrap();
    (timer == "02").then(|| u64::from_str_radix(hundredths, 16).unwrap() / 100)
}

on_every_engine!(no_keepalive_costs_a_connection, ["--tcp-keepalive", "86400"], |server| {
    let mut admin = server.client();
    for (seconds, probed_s) in [
        (None, Some(32_767)),
        (Some("2147483647"), Some(32_767)),
        (Some("32768"), Some(32_767)),
        (Some("32767"), Some(32_767)),
        (Some("1"), Some(1)),
        (Some("3000"), Some(3000)),
        (Some("0"), None),
    ] {
        if let Some(seconds) = seconds {
            assert_eq!(admin.command(&["CONFIG", "SET", "tcp-keepalive", seconds]), Value::ok(), "{seconds}");
        }
        let mut stream = TcpStream::connect(server.resp_address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap_or_else(|error| panic!("{seconds:?}: {error}"));
        // The timer of what was just sent may still be seen in its place.
        let mut found = None;
        let is_probed = eventually(PATIENCE, || {
            found = keepalive_s(&stream);
            match (found, probed_s) {
                (Some(found), Some(expected)) => found <= expected && expected - found <= 5,
                (found, expected) => found == expected,
            }
        });
        assert!(is_probed, "{seconds:?}: {found:?}");
    }
    assert_eq!(admin.command(&["CONFIG", "GET", "tcp-keepalive"]).items()[1], Value::bulk("0"));
    assert!(!server.log().contains("WARN"), "{}", server.log());
});

/// What clients do while the process stands still lies in the kernel when it goes on: nobody is cut before it was looked at.
#[test]
fn who_has_done_something_while_the_process_stood_still_is_not_cut() {
    const VALUE: usize = 1 << 20;
    let stand_still = |engine: Engine| {
        let mut server = Server::options(engine)
            .flag("--timeout")
            .flag("3")
            .flag("--client-output-buffer-limit")
            .flag("normal 0 1mb 3")
            .start();
        let mut reader = server.client();
        assert_eq!(reader.command(&["SET", "large", &"v".repeat(VALUE)]), Value::ok());
        (0..40).for_each(|_| reader.send(&["GET", "large"]));
        // It has left more than the soft limit unread for a while.
        std::thread::sleep(Duration::from_millis(1500));
        let mut talkers: Vec<Client> = (0..200).map(|_| server.client()).collect();
        let mut silent = server.client();
        for client in talkers.iter_mut().chain([&mut silent]) {
            assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
        }
        server.signal(Signal::STOP);
        let replies = std::thread::spawn(move || (0..40).map(|_| reader.read_value().bytes().len()).sum::<usize>());
        talkers.iter_mut().for_each(|client| client.send(&["PING"]));
        // Longer than each limit.
        std::thread::sleep(Duration::from_millis(5000));
        server.signal(Signal::CONT);
        for (number, client) in talkers.iter_mut().enumerate() {
            let reply = client.try_read_value();
            assert!(reply.as_ref().is_ok_and(|reply| *reply == Value::simple("PONG")), "client {number}: {reply:?}");
        }
        assert_eq!(replies.join().expect("all replies"), 40 * VALUE);
        assert!(silent.at_end(), "who did nothing is cut, as by Redis");
        assert!(server.terminate().success());
    };
    std::thread::scope(|scope| {
        for &engine in Engine::all() {
            scope.spawn(move || stand_still(engine));
        }
    });
}

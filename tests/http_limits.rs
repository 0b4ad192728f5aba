//! What clients of HTTP may take: connections, and memory for what they leave unread.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Engine, Http, PATIENCE, Server, Value, eventually, on_every_engine};

const PLACES: usize = 8;

/// Whether a new client is told that the node serves.
fn is_healthy(server: &Server) -> bool {
    let health = Http::connect(server).get("/healthz");
    (health.status, health.text().as_str()) == (200, "ok\n")
}

/// How many connections of HTTP there are, by its own account.
fn connections(server: &Server) -> usize {
    let page = Http::connect(server).get("/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix("rockpool_http_connections ")).expect("the gauge");
    line.parse::<f64>().expect("a number") as usize
}

on_every_engine!(whatever_clients_leave_undone_the_health_is_told, ["--http-maxclients", "8"], |server| {
    let mut resp = server.client();
    resp.command(&["SET", "large", &"x".repeat(30 << 20)]);
    let states: [(&str, &[u8]); 6] = [
        ("nothing sent", b""),
        ("half a head", b"GET /cache/k HTTP/1.1\r\nHost: local"),
        ("between requests", b"GET /cache/none HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("half a body", b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"),
        (
            "a body that is waited for",
            b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        ),
        ("a reply unread", b"GET /cache/large HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ];
    for (state, bytes) in states {
        let mut idle: Vec<Http> = (0..4 * PLACES).map(|_| Http::connect(&server)).collect();
        for http in &mut idle {
            // Those that had to go for others need not take it.
            let _ = http.0.get_mut().write_all(bytes);
        }
        for number in 0..3 * PLACES {
            assert!(is_healthy(&server), "{state}, {number}");
        }
        assert!(connections(&server) <= PLACES, "{state}");
    }
    assert_eq!(Http::connect(&server).put("/cache/k", b"v"), 200);
    assert_eq!(resp.command(&["GET", "k"]), Value::bulk("v"));
});

on_every_engine!(the_one_that_is_idle_for_longest_goes_first, ["--http-maxclients", "4"], |server| {
    let mut all: Vec<Http> = Vec::new();
    let pause = || std::thread::sleep(Duration::from_millis(30));
    for _ in 0..4 {
        let mut http = Http::connect(&server);
        assert_eq!(http.get("/cache/none").status, 404);
        all.push(http);
        pause();
    }
    // The first is the last to have done something, but for the second.
    assert_eq!(all[0].get("/cache/none").status, 404);
    pause();
    assert_eq!(all[1].get("/cache/none").status, 404);
    pause();
    let mut newest: Vec<Http> = Vec::new();
    for _ in 0..2 {
        let mut http = Http::connect(&server);
        assert_eq!(http.get("/cache/none").status, 404);
        newest.push(http);
        pause();
    }
    assert!(all[2].at_end() && all[3].at_end());
    for http in all[..2].iter_mut().chain(&mut newest) {
        assert_eq!(http.get("/cache/none").status, 404, "who did something last stays");
    }
});

on_every_engine!(heads_that_come_in_drops_go_in_order_of_age, ["--http-maxclients", "4"], |server| {
    let is_over = AtomicBool::new(false);
    let server = &server;
    std::thread::scope(|scope| {
        let mut ends = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(server.http_address()).expect("a connection");
            stream.write_all(b"GET /cache/k HTTP/1.1\r\nX: ").expect("it is taken");
            let is_over = &is_over;
            ends.push(scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    if stream.write_all(b"x").is_err() {
                        return Some(Instant::now());
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                None
            }));
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut newer: Vec<Http> = Vec::new();
        for _ in 0..2 {
            let mut http = Http::connect(server);
            assert_eq!(http.get("/healthz").status, 200);
            newer.push(http);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(eventually(PATIENCE, || ends[0].is_finished() && ends[1].is_finished()), "the oldest two go");
        assert!(!ends[2].is_finished() && !ends[3].is_finished(), "the others have time");
        assert!(newer.iter_mut().all(|http| http.get("/healthz").status == 200));
        is_over.store(true, Ordering::Relaxed);
    });
});

on_every_engine!(requests_under_way_are_not_cut, |server| {
    let mut resp = server.client();
    assert_eq!(resp.command(&["CLIENT", "PAUSE", "60000", "WRITE"]), Value::ok());
    let mut writers: Vec<Http> = Vec::new();
    let mut attempts = 0;
    while writers.len() < PLACES {
        // With one place for each writer, and one more who asks: until the last writer waits, it is idle, and goes.
        let places = (writers.len() + 1).to_string();
        assert_eq!(resp.command(&["CONFIG", "SET", "http-maxclients", &places]), Value::ok());
        let mut http = Http::connect(&server);
        let head = format!("PUT /cache/k{places} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv");
        http.write(head.as_bytes());
        std::thread::sleep(Duration::from_millis(attempts));
        let response = Http::connect(&server).get("/cache/k");
        if response.status == 503 {
            assert_eq!((response.header("retry-after"), response.header("connection")), (Some("1"), Some("close")));
            assert!(response.json()["error"].is_string());
            writers.push(http);
        } else {
            assert_eq!(response.status, 404);
        }
        attempts += 1;
        assert!(attempts < 1000, "only {} wait", writers.len());
    }
    for _ in 0..50 {
        assert!(is_healthy(&server));
    }
    assert_eq!(resp.command(&["CLIENT", "UNPAUSE"]), Value::ok());
    for http in &mut writers {
        assert_eq!(http.response("PUT").status, 200);
    }
    assert_eq!(resp.command(&["DBSIZE"]), Value::Integer(PLACES as i64));
});

on_every_engine!(connections_of_http_are_clients_among_others, ["--maxclients", "3"], |server| {
    let mut resp = server.client();
    let mut all: Vec<Http> = (0..2).map(|_| Http::connect(&server)).collect();
    assert!(all.iter_mut().all(|http| http.get("/cache/none").status == 404));
    let list = resp.command(&["CLIENT", "LIST"]).text();
    let local_address = format!(" laddr={} ", server.http_address());
    assert_eq!(list.lines().filter(|line| line.contains(&local_address)).count(), 2, "{list}");
    assert_eq!(list.lines().count(), 3, "{list}");
    // The one that has been idle for longer gives way to a session.
    let mut second = server.client();
    assert_eq!(second.command(&["PING"]), Value::simple("PONG"));
    assert!(all[0].at_end());
    assert_eq!(all[1].get("/cache/none").status, 404);
    let kill = ["CLIENT", "KILL", "LADDR", &server.http_address().to_string()];
    assert_eq!(resp.command(&kill), Value::Integer(1));
    assert!(all[1].at_end());
    let mut third = server.client();
    assert_eq!(third.command(&["PING"]), Value::simple("PONG"));
    assert_eq!(server.client().read_value(), Value::error("ERR max number of clients reached"));
    assert_eq!(Http::connect(&server).get("/cache/none").status, 503);
    assert!(is_healthy(&server));
});

on_every_engine!(the_limit_can_be_changed, ["--http-maxclients", "2"], |server| {
    let mut resp = server.client();
    assert_eq!(resp.command(&["CONFIG", "SET", "http-maxclients", "20"]), Value::ok());
    let mut all: Vec<Http> = (0..20).map(|_| Http::connect(&server)).collect();
    assert!(all.iter_mut().all(|http| http.get("/healthz").status == 200));
    assert!(all.iter_mut().all(|http| http.get("/healthz").status == 200), "nobody had to go");
    assert_eq!(resp.command(&["CONFIG", "SET", "http-maxclients", "3"]), Value::ok());
    assert_eq!(connections(&server), 3);
    let refused = resp.command(&["CONFIG", "SET", "http-maxclients", "0"]);
    assert!(refused.is_error(), "{refused:?}");
});

on_every_engine!(a_flood_of_new_connections_leaves_health_and_others_alone, ["--http-maxclients", "64"], |server| {
    let is_over = AtomicBool::new(false);
    let server = &server;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut kept: Vec<TcpStream> = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    if let Ok(mut stream) = TcpStream::connect(server.http_address()) {
                        let _ = stream.write_all(b"GET /cache/k HTT");
                        kept.push(stream);
                    }
                    if kept.len() > 500 {
                        kept.drain(..400);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        let mut resp = server.client();
        let end = Instant::now() + Duration::from_secs(2);
        let mut asked = 0;
        while Instant::now() < end {
            assert!(is_healthy(server), "after {asked}");
            assert_eq!(resp.command(&["SET", "k", "v"]), Value::ok());
            asked += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(asked > 10, "{asked}");
    });
});

on_every_engine!(
    replies_that_nobody_reads_are_bounded,
    ["--client-output-buffer-limit", "normal 10mb 0 0"],
    |server| {
        let mut resp = server.client();
        assert_eq!(resp.command(&["SET", "large", &"x".repeat(20 << 20)]), Value::ok());
        assert_eq!(resp.command(&["SET", "fitting", &"x".repeat(9 << 20)]), Value::ok());
        let before = server.resident_bytes();
        let mut unread: Vec<Http> = (0..30).map(|_| Http::connect(&server)).collect();
        for http in &mut unread {
            http.write(b"GET /cache/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        for http in &mut unread {
            let refused = http.response("GET");
            assert_eq!(refused.status, 507, "{}", refused.text());
            assert!(refused.json()["error"].as_str().is_some_and(|error| error.contains("client-output-buffer-limit")));
        }
        let grown = || server.resident_bytes().saturating_sub(before);
        assert!(eventually(PATIENCE, || grown() < 80 << 20), "30 replies of 20 MB take {}", grown());
        assert_eq!(unread[0].get("/cache/fitting").body.len(), 9 << 20);
    }
);

on_every_engine!(
    who_leaves_a_reply_unread_for_too_long_is_cut,
    ["--client-output-buffer-limit", "normal 0 1mb 1"],
    |server| {
        let mut resp = server.client();
        assert_eq!(resp.command(&["SET", "large", &"x".repeat(30 << 20)]), Value::ok());
        let mut http = Http::connect(&server);
        http.write(b"GET /cache/large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(http.head().status, 200);
        assert!(eventually(PATIENCE, || connections(&server) == 1), "it is not cut");
        let mut received = Vec::new();
        // It may be reset.
        let _ = http.0.read_to_end(&mut received);
        assert!(received.len() < 30 << 20);
        assert!(server.log().contains("soft limit"), "{}", server.log());
        // Who reads gets all of it.
        assert_eq!(Http::connect(&server).get("/cache/large").body.len(), 30 << 20);
    }
);

#[test]
fn a_body_is_bounded_by_the_query_buffer() {
    let server = Server::options(Engine::Memory).flag("--client-query-buffer-limit").flag("1mb").start();
    let mut http = Http::connect(&server);
    assert_eq!(http.put("/cache/k", &vec![b'v'; 1 << 20]), 200);
    http.write(b"PUT /cache/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.response("PUT").status, 413);
}

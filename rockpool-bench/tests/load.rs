//! `rockpool-bench` from outside: loads over each protocol, what it counts, and how it says so.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use support::{Client, Engine, PATIENCE, Redis, Server, Value, eventually};

/// The protocols by their names, and where `server` speaks them.
fn protocols(server: &Server) -> [(&'static str, SocketAddr); 3] {
    [("redis", server.resp_address()), ("tcp", server.tcp_address()), ("http", server.http_address())]
}

fn bench(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rockpool-bench"));
    command.args(["-h", &address.to_string()]).args(arguments).env_remove("REDISCLI_AUTH");
    command
}

fn run(address: SocketAddr, arguments: &[&str]) -> Output {
    bench(address, arguments).output().expect("the tool starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a load; its exit status and what it tells as JSON.
fn load(address: SocketAddr, arguments: &[&str]) -> (i32, Json) {
    let output = run(address, &[arguments, &["--format", "json"]].concat());
    let json = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)));
    (output.status.code().expect("no signal"), json)
}

/// Runs a load that must be clean.
fn clean_load(address: SocketAddr, arguments: &[&str]) -> Json {
    let (status, json) = load(address, arguments);
    assert_eq!((status, &json["errors"], &json["mismatches"]), (0, &Json::from(0), &Json::from(0)), "{json:#}");
    json
}

fn count(json: &Json, name: &str) -> u64 {
    json[name].as_u64().unwrap_or_else(|| panic!("no {name} in {json:#}"))
}

#[test]
fn what_one_protocol_writes_every_other_reads() {
    let server = Server::start(Engine::Memory);
    for (writer, written_at) in protocols(&server) {
        assert_eq!(server.client().command(&["FLUSHALL"]), Value::ok());
        let sizes = ["-d", "0-3000", "-c", "7", "-P", "3", "--threads", "2"];
        let set = clean_load(written_at, &[&["-type", writer, "-n", "5000"], &sizes[..]].concat());
        assert_eq!((count(&set["writes"], "requests"), count(&set["reads"], "requests")), (5000, 0));
        assert_eq!(server.client().command(&["DBSIZE"]), Value::Integer(5000));
        for (reader, read_at) in protocols(&server) {
            let flags = ["-type", reader, "-n", "6000", "-t", "get", "--verify"];
            let get = clean_load(read_at, &[&flags[..], &sizes].concat());
            // In the book's protocol an empty value is like none.
            let most_empty = if reader == "tcp" { 20 } else { 0 };
            assert!((5000 - most_empty..=5000).contains(&count(&get, "hits")), "{reader} of {writer}: {get:#}");
            assert_eq!(count(&get, "hits") + count(&get, "misses"), 6000);
            let difference = count(&get["reads"], "bytes").abs_diff(count(&set["writes"], "bytes"));
            assert_eq!(difference, 0, "{reader} of {writer}");
        }
    }
}

#[test]
fn values_larger_than_a_read_come_back_whole() {
    let server = Server::start(Engine::Memory);
    for (protocol, address) in protocols(&server) {
        let flags = ["-type", protocol, "-n", "30", "-d", "1000000", "-P", "4", "-c", "2"];
        clean_load(address, &flags);
        let get = clean_load(address, &[&flags[..], &["-t", "get", "--verify"]].concat());
        assert_eq!((count(&get, "hits"), count(&get["reads"], "bytes")), (30, 30_000_000), "{protocol}");
    }
}

#[test]
fn many_keys_of_a_command_count_each() {
    let server = Server::start(Engine::Memory);
    let address = server.resp_address();
    let flags = ["-n", "200", "-r", "50", "-d", "64", "-c", "4", "-P", "5"];
    let get = clean_load(address, &[&flags[..], &["-t", "mget"]].concat());
    assert_eq!((count(&get, "hits"), count(&get, "misses")), (0, 2000));
    let set = clean_load(address, &[&flags[..], &["-t", "mset"]].concat());
    assert_eq!((count(&set["writes"], "requests"), count(&set["writes"], "bytes")), (200, 200 * 10 * 64));
    assert_eq!(server.client().command(&["DBSIZE"]), Value::Integer(50));
    let get = clean_load(address, &[&flags[..], &["-t", "mget"]].concat());
    assert_eq!((count(&get, "hits"), count(&get, "misses")), (2000, 0));
    assert_eq!((count(&get["reads"], "requests"), count(&get["reads"], "bytes")), (200, 200 * 10 * 64));
    // What one command sets of many, others read right.
    clean_load(address, &["-n", "50", "-r", "50", "-d", "64", "-t", "get", "--distribution", "sequential", "--verify"]);
    for arguments in [&["-type", "http", "-r", "50"][..], &["-r", "9"], &["-n", "50"], &["-r", "50", "--verify"]] {
        let output = run(address, &[arguments, &["-t", "mget"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_wrong_value_is_found() {
    let server = Server::start(Engine::Memory);
    clean_load(server.resp_address(), &["-n", "1000", "-d", "100"]);
    let mut client = server.client();
    for number in [3, 500, 999] {
        let key = format!("key:{number:012}");
        assert_eq!(client.command(&["SETRANGE", &key, "50", "?"]), Value::Integer(100));
    }
    assert_eq!(client.command(&["DEL", "key:000000000700"]), Value::Integer(1));
    for (protocol, address) in protocols(&server) {
        let (status, json) =
            load(address, &["-type", protocol, "-n", "1000", "-d", "100", "-t", "get", "-P", "5", "--verify"]);
        assert_eq!((status, count(&json, "mismatches"), count(&json, "errors")), (1, 3, 0), "{protocol}: {json:#}");
        assert_eq!((count(&json, "hits"), count(&json, "misses")), (999, 1));
        assert_eq!(json["first_mismatch"], "key:000000000003");
    }
    let other_seed = load(server.resp_address(), &["-n", "1000", "-t", "get", "--verify", "--seed", "2"]);
    assert_eq!((other_seed.0, count(&other_seed.1, "mismatches")), (1, 999));
    let unverified = clean_load(server.resp_address(), &["-n", "1000", "-t", "get"]);
    assert_eq!(count(&unverified, "hits"), 999);
}

#[test]
fn an_error_is_counted_and_shown() {
    let redis = Redis::start();
    assert_eq!(redis.client().command(&["RPUSH", "key:000000000005", "element"]), Value::Integer(1));
    let (status, json) = load(redis.resp_address(), &["-n", "10", "-t", "get", "-P", "4"]);
    assert_eq!((status, count(&json, "errors"), count(&json, "misses")), (1, 1, 9));
    assert!(json["first_error"].as_str().is_some_and(|error| error.starts_with("WRONGTYPE")), "{json:#}");
    let output = run(redis.resp_address(), &["-n", "10", "-t", "get"]);
    assert!(text(&output.stdout).contains("1 ERRORS, the first: WRONGTYPE"), "{}", text(&output.stdout));
}

#[test]
fn lifetimes_are_given_to_keys() {
    let server = Server::start(Engine::Memory);
    for (protocol, address) in [("redis", server.resp_address()), ("http", server.http_address())] {
        assert_eq!(server.client().command(&["FLUSHALL"]), Value::ok());
        clean_load(address, &["-type", protocol, "-n", "50", "--ttl", "100s-200s"]);
        let mut client = server.client();
        let mut lifetimes = Vec::new();
        for number in 0..50 {
            match client.command(&["PTTL", &format!("key:{number:012}")]) {
                Value::Integer(ttl_ms) => lifetimes.push(ttl_ms),
                other => panic!("{other:?}"),
            }
        }
        lifetimes.sort_unstable();
        assert!(lifetimes[0] > 70_000 && lifetimes[49] <= 200_000, "{protocol}: {lifetimes:?}");
        assert!(lifetimes[49] - lifetimes[0] > 50_000, "{protocol}: {lifetimes:?}");
    }
}

#[test]
fn a_trace_is_followed_line_by_line() {
    let server = Server::start(Engine::Memory);
    let path = server.temporary().join("trace");
    std::fs::write(&path, "set,a b,10\nGET,a b\nplain,with,commas\nget,none\ndel,a b\nget,a b\n").expect("a file");
    let path = path.to_str().expect("a path of characters");
    for (protocol, address) in protocols(&server) {
        let json = clean_load(address, &["-type", protocol, "--trace", path, "-d", "20", "--verify"]);
        assert_eq!((count(&json["reads"], "requests"), count(&json["writes"], "requests")), (3, 3), "{protocol}");
        assert_eq!((count(&json, "hits"), count(&json, "misses")), (1, 2), "{protocol}");
        assert_eq!(server.client().command(&["STRLEN", "plain,with,commas"]), Value::Integer(20));
        assert_eq!(server.client().command(&["DBSIZE"]), Value::Integer(1));
    }
    let repeated = clean_load(server.resp_address(), &["--trace", path, "-n", "60"]);
    assert_eq!(count(&repeated, "hits"), 10);
}

#[test]
fn a_run_may_be_as_long_as_a_time() {
    let server = Server::start(Engine::Memory);
    let json = clean_load(
        server.resp_address(),
        &["--duration", "300ms", "-t", "mixed", "--reads", "0.8", "-r", "100", "-c", "4", "--distribution", "zipf"],
    );
    let elapsed_s = json["elapsed_s"].as_f64().expect("a number");
    assert!((0.29..2.0).contains(&elapsed_s), "{elapsed_s}");
    let share = count(&json["reads"], "requests") as f64 / count(&json, "requests") as f64;
    assert!(count(&json, "requests") > 100 && (0.6..0.95).contains(&share), "{json:#}");
    assert!(json["client_cpu_us_per_request"].as_f64().is_some_and(|cpu| cpu > 0.0), "{json:#}");
}

/// Answers each GET after `pause`, one connection at a time, until the listener's last client has gone.
fn slow_server(pause: Duration) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        stream.set_nodelay(true).expect("a socket");
        let request_bytes = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n".len();
        let mut request = vec![0; request_bytes];
        while stream.read_exact(&mut request).is_ok() {
            thread::sleep(pause);
            if stream.write_all(b"$-1\r\n").is_err() {
                break;
            }
        }
    });
    (address, serving)
}

#[test]
fn an_open_loop_counts_the_wait_of_requests_that_were_due() {
    let (address, serving) = slow_server(Duration::from_millis(5));
    let json = clean_load(address, &["-t", "get", "--rate", "1000", "--duration", "1s"]);
    serving.join().expect("no panic");
    let requests = count(&json, "requests");
    // At most 200 are answered in the second that a thousand are due in.
    assert!((20..=201).contains(&requests), "{json:#}");
    assert_eq!(requests + count(&json, "unsent"), 1000);
    let behind_s = json["behind_max_us"].as_f64().expect("a number") / 1e6;
    assert!((0.5..=1.0).contains(&behind_s), "{json:#}");
    // Request number k is due at k ms and answered at 5 k ms, or later.
    let median_s = json["reads"]["latency_us"]["p50"].as_f64().expect("a number") / 1e6;
    assert!((0.25..0.9).contains(&median_s), "{json:#}");

    let (address, serving) = slow_server(Duration::from_millis(5));
    let closed = clean_load(address, &["-t", "get", "-n", "40"]);
    serving.join().expect("no panic");
    let median_s = closed["reads"]["latency_us"]["p50"].as_f64().expect("a number") / 1e6;
    assert!((0.005..0.1).contains(&median_s), "{closed:#}");
    assert_eq!(count(&closed, "unsent"), 0);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let server = Server::start(Engine::Memory);
    let flags = ["-n", "1000", "--rate", "2000", "-c", "8", "--threads", "2", "-d", "10"];
    for (protocol, address) in protocols(&server) {
        let json = clean_load(address, &[&["-type", protocol], &flags[..]].concat());
        let elapsed_s = json["elapsed_s"].as_f64().expect("a number");
        assert!((0.49..5.0).contains(&elapsed_s), "{protocol}: {elapsed_s}");
        assert_eq!((count(&json, "requests"), count(&json, "unsent")), (1000, 0));
    }
}

#[test]
fn a_lost_server_ends_the_run() {
    let mut redis = Redis::start();
    let flags = ["--duration", "1h", "-c", "3", "-P", "2", "--timeout", "1s", "--format", "json"];
    let child = bench(redis.resp_address(), &flags)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut client = redis.client();
    assert!(eventually(PATIENCE, || client.command(&["EXISTS", "key:000000000100"]) == Value::Integer(1)));
    redis.kill();
    let ended = Instant::now();
    let output = child.wait_with_output().expect("it ends");
    assert!(ended.elapsed() < PATIENCE, "{:?}", ended.elapsed());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&redis.resp_address().to_string()), "{}", text(&output.stderr));
}

#[test]
fn a_connection_that_breaks_is_opened_again() {
    let redis = Redis::start();
    for rate in [&[][..], &["--rate", "2000"]] {
        let mut client = redis.client();
        assert_eq!(client.command(&["FLUSHALL"]), Value::ok());
        let child = bench(redis.resp_address(), &["--duration", "1500ms", "-c", "4", "-P", "2", "--format", "json"])
            .args(rate)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        assert!(eventually(PATIENCE, || client.command(&["EXISTS", "key:000000000100"]) == Value::Integer(1)));
        assert_eq!(client.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), Value::Integer(4));
        let output = child.wait_with_output().expect("it ends");
        let json: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(count(&json, "lost_connections"), 4, "{json:#}");
        let (errors, requests) = (count(&json, "errors"), count(&json, "requests"));
        assert!(errors <= 8 && requests > 500, "{json:#}");
        assert_eq!(output.status.code(), Some(i32::from(errors > 0)));
    }
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let output = run(address, &["-n", "1", "--timeout", "300ms", "--format", "json"]);
    let json: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), count(&json, "errors")), (Some(1), 1));
    assert!(json["first_error"].as_str().is_some_and(|error| error.contains("no reply in time")), "{json:#}");
    drop(listener);
    let output = run(address, &["-n", "1"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text(&output.stderr).contains("refused"), "{}", text(&output.stderr));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    for arguments in [
        &["-t", "put"][..],
        &["-type", "smtp"],
        &["-d", "20-10"],
        &["-d", "x"],
        &["-c", "0"],
        &["-P", "0"],
        &["--rate", "0"],
        &["-t", "mixed", "--reads", "1.5"],
        &["--distribution", "zipf"],
        &["-type", "tcp", "--ttl", "1s"],
        &["-type", "tcp", "-a", "secret"],
        &["-type", "http", "--cluster"],
        &["-h", "127.0.0.1:1,127.0.0.1:2"],
        &["-n", "1", "--duration", "1s"],
        &["--key-size", "100000000000"],
        &["-c", "1000", "-P", "1000000000"],
        &["-P", "1000000", "-d", "1000000"],
        &["--rate", "1e300"],
        &["get"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rockpool-bench"));
        let output = command.args(["-p", &nowhere.port().to_string()]).args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn passwords_are_brought_along() {
    let server = Server::options(Engine::Memory).flag("--requirepass").flag("open sesame").start();
    for (protocol, address) in [("redis", server.resp_address()), ("http", server.http_address())] {
        clean_load(address, &["-type", protocol, "-n", "100", "-c", "2", "-a", "open sesame"]);
        let by_environment = bench(address, &["-type", protocol, "get", "key:000000000001"])
            .env("REDISCLI_AUTH", "open sesame")
            .output()
            .expect("the tool starts");
        assert_eq!((by_environment.status.code(), by_environment.stdout.len()), (Some(0), 1000));
        for arguments in [&["-a", "wrong"][..], &[]] {
            let output = run(address, &[&["-type", protocol, "-n", "10"], arguments].concat());
            assert_eq!(output.status.code(), Some(1), "{protocol} {arguments:?}");
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(said.contains("WRONGPASS") || said.contains("NOAUTH"), "{protocol}: {said}");
        }
    }
}

#[test]
fn the_little_client_speaks_three_protocols() {
    let server = Server::start(Engine::Memory);
    for (protocol, address) in protocols(&server) {
        let ask = |arguments: &[&str]| {
            let output = run(address, &[&["-type", protocol], arguments].concat());
            (output.status.code(), text(&output.stdout))
        };
        let key = "a key/with ünusual?characters%20";
        assert_eq!(ask(&["get", key]), (Some(1), String::new()), "{protocol}");
        assert_eq!(ask(&["set", key, "a value\r\n"]), (Some(0), "OK\n".to_owned()), "{protocol}");
        assert_eq!(server.client().command(&["GET", key]), Value::bulk("a value\r\n"), "{protocol}");
        assert_eq!(ask(&["get", key]), (Some(0), "a value\r\n".to_owned()), "{protocol}");
        assert_eq!(ask(&["del", key]), (Some(0), "OK\n".to_owned()), "{protocol}");
        assert_eq!(ask(&["get", key]), (Some(1), String::new()), "{protocol}");

        let mut child = bench(address, &["set", "piped", "-type", protocol])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the tool starts");
        let value: Vec<u8> = (0..=255).cycle().take(200_000).collect();
        child.stdin.take().expect("a pipe").write_all(&value).expect("it reads");
        assert!(child.wait().expect("it ends").success());
        assert_eq!(run(address, &["get", "piped", "-type", protocol]).stdout, value, "{protocol}");
    }
    let with_ttl = run(server.resp_address(), &["set", "brief", "value", "--ttl", "100s"]);
    assert!(with_ttl.status.success());
    assert!(matches!(server.client().command(&["TTL", "brief"]), Value::Integer(90..=100)));
}

#[test]
fn csv_has_a_header_and_a_row() {
    let server = Server::start(Engine::Memory);
    let output = run(server.resp_address(), &["-n", "100", "-t", "mixed", "--format", "csv"]);
    let mut reader = csv::Reader::from_reader(&output.stdout[..]);
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 1);
    let field = |name: &str| {
        let index = header.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"));
        &rows[0][index]
    };
    assert_eq!((field("protocol"), field("operation"), field("requests")), ("resp", "mixed 0.5", "100"));
    for name in ["requests_per_s", "client_cpu_us_per_request", "read_p99_us", "write_max_us"] {
        assert!(field(name).parse::<f64>().is_ok_and(|figure| figure > 0.0), "{name}: {}", field(name));
    }
}

#[test]
fn text_tells_the_figures_and_progress_goes_to_standard_error() {
    let server = Server::start(Engine::Memory);
    let hdr = server.temporary().join("latency.hgrm");
    let flags = ["--duration", "1200ms", "-t", "mixed", "-r", "10", "--progress", "--hdr"];
    let output = run(server.resp_address(), &[&flags[..], &[hdr.to_str().expect("characters")]].concat());
    assert_eq!(output.status.code(), Some(0));
    let (said, progress) = (text(&output.stdout), text(&output.stderr));
    for part in [" requests in 1.", " requests a second", " hits, ", " written", "µs of CPU time", "p99.9", "reads "] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(progress.lines().filter(|line| line.contains("a second")).count() >= 2, "{progress}");
    let distribution = std::fs::read_to_string(hdr).expect("a file");
    let quantiles: Vec<f64> =
        distribution.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok()).collect();
    assert!(quantiles.len() > 10 && quantiles.is_sorted() && quantiles.last() == Some(&1.0), "{distribution}");
    assert!(distribution.contains("#[Max"), "{distribution}");
    let counts: Vec<u64> = distribution
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())
        .collect();
    let last = distribution.lines().last().and_then(|line| line.rsplit(['=', ']']).find(|part| !part.is_empty()));
    let total: u64 = last.and_then(|count| count.trim().parse().ok()).expect("the total count");
    assert!(counts.is_sorted() && counts.last() == Some(&total), "{distribution}");
}

/// Three nodes of redis-server that serve all slots between them.
fn redis_cluster() -> Vec<Redis> {
    let nodes: Vec<Redis> = (0..3)
        .map(|_| {
            let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address");
            let bus = bus.port().to_string();
            Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "5000"])
        })
        .collect();
    let addresses = nodes.iter().map(|node| node.resp_address().to_string());
    let created = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .expect("redis-cli starts");
    assert!(created.status.success(), "{}{}", text(&created.stdout), text(&created.stderr));
    for node in &nodes {
        let mut client = node.client();
        let is_up = || match client.command(&["CLUSTER", "INFO"]) {
            Value::Bulk(info) => text(&info).contains("cluster_state:ok"),
            other => panic!("{other:?}"),
        };
        assert!(eventually(PATIENCE, is_up));
    }
    nodes
}

fn database_size(node: &Redis) -> i64 {
    match node.client().command(&["DBSIZE"]) {
        Value::Integer(size) => size,
        other => panic!("{other:?}"),
    }
}

fn word(client: &mut Client, command: &[&str]) -> String {
    match client.command(command) {
        Value::Bulk(bytes) => text(&bytes),
        other => panic!("{command:?}: {other:?}"),
    }
}

#[test]
fn a_cluster_is_asked_by_slot_and_its_redirections_are_followed() {
    let nodes = redis_cluster();
    let seed = nodes[0].resp_address();
    let flags = ["--cluster", "-n", "3000", "-c", "5", "-P", "8", "-d", "50", "--threads", "2"];
    let set = clean_load(seed, &flags);
    assert_eq!((count(&set, "requests"), count(&set, "redirections")), (3000, 0));
    let sizes: Vec<i64> = nodes.iter().map(database_size).collect();
    assert!(sizes.iter().sum::<i64>() == 3000 && sizes.iter().all(|size| *size > 700), "{sizes:?}");
    let get = clean_load(nodes[2].resp_address(), &[&flags[..], &["-t", "get", "--verify"]].concat());
    assert_eq!((count(&get, "hits"), count(&get, "redirections")), (3000, 0));

    // The first key's slot moves from one node to another, and the second one stops half-way.
    let mut clients: Vec<Client> = nodes.iter().map(Redis::client).collect();
    let slots = [0, 1].map(|number| match clients[0].command(&["CLUSTER", "KEYSLOT", &format!("key:{number:012}")]) {
        Value::Integer(slot) => slot,
        other => panic!("{other:?}"),
    });
    let identities: Vec<String> = clients.iter_mut().map(|client| word(client, &["CLUSTER", "MYID"])).collect();
    let mut asked = 0;
    for (slot, is_finished) in [(slots[0], true), (slots[1], false)] {
        let slot = slot.to_string();
        // Cluster slots are dealt out in thirds.
        let owner =
            (0..3).find(|node| clients[*node].command(&["CLUSTER", "COUNTKEYSINSLOT", &slot]) != Value::Integer(0));
        let owner = owner.expect("a node with the slot's key");
        let target = (owner + 1) % 3;
        let (owner_id, target_id) = (identities[owner].clone(), identities[target].clone());
        let set_slot = |client: &mut Client, state: &[&str]| {
            let command = [&["CLUSTER", "SETSLOT", &slot], state].concat();
            assert_eq!(client.command(&command), Value::ok(), "{command:?}");
        };
        set_slot(&mut clients[target], &["IMPORTING", &owner_id]);
        set_slot(&mut clients[owner], &["MIGRATING", &target_id]);
        let Value::Array(keys) = clients[owner].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]) else {
            panic!("no keys");
        };
        asked = keys.len() as u64;
        let address = nodes[target].resp_address();
        for key in keys {
            let Value::Bulk(key) = key else { panic!("{key:?}") };
            let moved = clients[owner].command(&[
                "MIGRATE",
                "127.0.0.1",
                &address.port().to_string(),
                &text(&key),
                "0",
                "5000",
            ]);
            assert_eq!(moved, Value::ok());
        }
        if is_finished {
            set_slot(&mut clients[target], &["NODE", &target_id]);
            set_slot(&mut clients[owner], &["NODE", &target_id]);
        }
    }
    let one = ["--cluster", "-t", "get", "--verify", "-n", "3000", "-d", "50", "-P", "8"];
    let get = clean_load(seed, &one);
    assert_eq!(count(&get, "hits"), 3000);
    assert_eq!(count(&get, "redirections"), asked, "{get:#}");
    let little = run(seed, &["--cluster", "get", "key:000000000001"]);
    assert_eq!((little.status.code(), little.stdout.len()), (Some(0), 50));
}

#[test]
fn a_slot_that_moves_under_the_load_is_followed() {
    let nodes = redis_cluster();
    let flags = ["--cluster", "--duration", "4s", "-t", "mixed", "-r", "1000", "-d", "50", "-c", "3", "--verify"];
    let child = bench(nodes[0].resp_address(), &[&flags[..], &["--format", "json"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    assert!(eventually(PATIENCE, || nodes.iter().map(database_size).sum::<i64>() > 500));
    let moved = Command::new("redis-cli")
        .args(["--cluster", "reshard", &nodes[0].resp_address().to_string(), "--cluster-yes", "--cluster-slots", "20"])
        .args(["--cluster-from", &word(&mut nodes[0].client(), &["CLUSTER", "MYID"])])
        .args(["--cluster-to", &word(&mut nodes[1].client(), &["CLUSTER", "MYID"])])
        .output()
        .expect("redis-cli starts");
    assert!(moved.status.success(), "{}{}", text(&moved.stdout), text(&moved.stderr));
    let output = child.wait_with_output().expect("it ends");
    let json: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), count(&json, "mismatches")), (Some(0), 0), "{json:#}");
    assert!(count(&json, "redirections") > 0, "{json:#}");
}

#[test]
fn a_cluster_that_loses_a_node_is_used_as_far_as_it_serves() {
    let mut nodes = redis_cluster();
    let flags = ["--cluster", "--duration", "2s", "-r", "1000", "-d", "50", "-c", "3", "-P", "4", "--format", "json"];
    let child = bench(nodes[0].resp_address(), &flags).stdout(Stdio::piped()).spawn().expect("the tool starts");
    assert!(eventually(PATIENCE, || database_size(&nodes[2]) > 100));
    nodes[2].kill();
    let output = child.wait_with_output().expect("it ends");
    let json: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(output.status.code(), Some(1));
    assert!(count(&json, "errors") > 12 && count(&json, "lost_connections") == 3, "{json:#}");
    let lost = nodes[2].resp_address().to_string();
    assert!(json["first_error"].as_str().is_some_and(|error| error.contains(&lost)), "{json:#}");
    // Until the end there were replies, and each client's requests to the lost node failed many times.
    assert!(json["elapsed_s"].as_f64().is_some_and(|elapsed_s| elapsed_s > 1.5), "{json:#}");
}

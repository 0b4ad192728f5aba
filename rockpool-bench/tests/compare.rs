//! `rockpool-bench compare` from outside: what it reports, what it refuses, and that no server outlives it.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use support::{PATIENCE, Redis, Value, eventually};
use tempfile::TempDir;

/// A comparison with its servers' data and its report below a directory of its own.
struct Comparison {
    directory: TempDir,
}

impl Comparison {
    fn new() -> Self {
        let comparison = Self { directory: TempDir::new().expect("a temporary directory") };
        std::fs::create_dir(comparison.data()).expect("a directory for the data");
        comparison
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("reports/out")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rockpool-bench"));
        command.arg("compare").args(arguments).arg("--directory").arg(self.data()).arg("--out").arg(self.out());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the tool starts");
        assert_eq!(self.processes(), Vec::<u32>::new(), "servers are left behind");
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new(), "data is left behind");
        output
    }

    fn run_well(&self, arguments: &[&str]) -> Json {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.json()
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.written("json")).expect("the JSON parses")
    }

    fn written(&self, ending: &str) -> String {
        let path = self.out().with_extension(ending);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Processes that work below the directory of the data, as every server does.
    fn processes(&self) -> Vec<u32> {
        let data = self.data();
        let pids = std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            std::fs::read_link(entry.path().join("cwd")).ok()?.starts_with(&data).then_some(pid)
        });
        pids.collect()
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data()).expect("the directory of the data");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn array(json: &Json) -> &[Json] {
    json.as_array().unwrap_or_else(|| panic!("no list: {json}"))
}

fn labels(group: &Json) -> Vec<&str> {
    array(&group["contenders"]).iter().map(|contender| contender["label"].as_str().expect("a label")).collect()
}

fn number(json: &Json) -> f64 {
    json.as_f64().unwrap_or_else(|| panic!("no number: {json}"))
}

/// The median of a figure over a server's runs, found anew.
fn median(cell: &Json, label: &str, figure: &str) -> f64 {
    let runs = array(&cell["runs"]).iter().filter(|run| run["label"] == label);
    let mut values: Vec<f64> = runs.map(|run| number(&run[figure])).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

fn is_near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * other.abs().max(1.0)
}

#[test]
fn a_report_has_every_cell_and_the_ratios_of_the_medians() {
    let comparison = Comparison::new();
    let arguments =
        ["--durability", "none", "--keys", "500", "--pipelines", "1,8", "--rounds", "2", "--seconds", "0.1"];
    let json = comparison.run_well(&arguments);
    assert_eq!(json["baseline"], "redis");
    let [group] = array(&json["groups"]) else { panic!("one group: {json}") };
    let servers = ["rockpool memory", "rockpool rocksdb", "redis"];
    assert_eq!(labels(group), servers);
    for contender in array(&group["contenders"]) {
        let memory = &contender["memory"];
        assert!(number(&memory["peak_bytes"]) >= number(&memory["filled_bytes"]), "{contender}");
        assert!(number(&memory["empty_bytes"]) > 1_000_000.0, "{contender}");
        let checks = array(&contender["checks"]);
        let moments: Vec<&str> = checks.iter().filter_map(|check| check["moment"].as_str()).collect();
        assert_eq!(moments, ["filled", "end", "overwritten"]);
        for check in checks {
            assert_eq!(
                (number(&check["values"]), number(&check["wrong"]), number(&check["missing"])),
                (500.0, 0.0, 0.0)
            );
        }
    }
    let cells = array(&group["cells"]);
    let loads: Vec<(&str, u64)> = cells
        .iter()
        .map(|cell| (cell["title"].as_str().expect("a title"), cell["pipeline"].as_u64().expect("a depth")))
        .collect();
    assert_eq!(loads, [("SET", 1), ("GET", 1), ("SET", 8), ("GET", 8)]);
    for cell in cells {
        let order: Vec<&str> = array(&cell["runs"]).iter().map(|run| run["label"].as_str().expect("a label")).collect();
        let [first, second, third] = servers;
        assert_eq!(order, [first, second, third, second, third, first], "they take turns, and begin in turn");
        for run in array(&cell["runs"]) {
            let requests = number(&run["requests"]);
            assert!(requests > 0.0 && number(&run["total_cpu_us"]) >= number(&run["cpu_us"]), "{run}");
            let latency = &run["latency_ms"];
            assert!(number(&latency["p50"]) > 0.0 && number(&latency["p50"]) <= number(&latency["p99_9"]), "{run}");
            assert_eq!((number(&run["misses"]), number(&run["errors"])), (0.0, 0.0));
        }
        for summary in array(&cell["summaries"]) {
            let label = summary["label"].as_str().expect("a label");
            let (ours, theirs) = (median(cell, label, "requests_per_s"), median(cell, "redis", "requests_per_s"));
            assert!(is_near(number(&summary["requests_per_s"]["median"]), ours), "{summary}");
            assert!(is_near(number(&summary["ratio"]["requests_per_s"]), ours / theirs), "{summary}");
        }
    }

    let markdown = comparison.written("md");
    let rows = markdown.lines().filter(|line| line.starts_with("| SET |") || line.starts_with("| GET |"));
    assert_eq!(rows.count(), 4 * 3, "{markdown}");
    assert!(!markdown.contains(&*comparison.directory.path().to_string_lossy()), "a path of this machine: {markdown}");
    let html = comparison.written("html");
    // Two of throughput, two of CPU, four of latency and one of memory.
    assert_eq!(html.matches("<svg viewBox=\"0 0 400").count(), 9);
    assert_eq!((html.matches("<table>").count(), html.matches("</table>").count()), (11, 11));
    assert!(
        !html.contains("http://") && !html.contains("https://") && !html.contains("<script src"),
        "it needs a network"
    );

    std::fs::remove_file(comparison.out().with_extension("html")).expect("it is there");
    let report = Command::new(env!("CARGO_BIN_EXE_rockpool-bench"))
        .arg("report")
        .arg(comparison.out().with_extension("json"))
        .status()
        .expect("the tool starts");
    assert!(report.success());
    assert_eq!(comparison.written("html"), html, "the report is made from the JSON alone");
}

#[test]
fn a_server_by_its_command_stands_where_it_can() {
    let comparison = Comparison::new();
    let template = "other=redis-server --port {port} --dir {dir} --save '' --appendonly no";
    let json = comparison.run_well(&[
        "--servers",
        "redis",
        "--server",
        template,
        "--durability",
        "none,everysec",
        "--quick",
        "--keys",
        "100",
        "--pipelines",
        "4",
        "--commands",
        "mixed",
        "--value-bytes",
        "10-200",
        "--seconds",
        "0.05",
    ]);
    let groups = array(&json["groups"]);
    assert_eq!(groups.iter().map(labels).collect::<Vec<_>>(), [vec!["redis", "other"], vec!["redis"]]);
    let shown = groups[0]["contenders"][1]["command"].as_str().expect("a command");
    assert_eq!(shown, "redis-server --port {port} --dir {dir} --save '' --appendonly no");
    let version = groups[0]["contenders"][1]["version"].as_str().expect("a version");
    assert!(version.starts_with("redis_version:"), "{version}");
}

#[test]
fn the_chapter_about_rebalancing_moves_slots_and_loses_no_key() {
    let comparison = Comparison::new();
    let json = comparison.run_well(&[
        "--preset",
        "chapter8",
        "--quick",
        "--keys",
        "2000",
        "--commands",
        "get",
        "--pipelines",
        "4",
    ]);
    let cells = array(&json["groups"][0]["cells"]);
    assert_eq!(cells.len(), 2);
    for cell in cells {
        let is_moving = cell["title"] == "GET while slots move";
        let run = &cell["runs"][0];
        assert_eq!(run["moved_slots"].as_u64().is_some_and(|slots| slots > 0), is_moving, "{run}");
        assert_eq!((number(&run["misses"]), number(&run["errors"])), (0.0, 0.0), "{run}");
    }
    assert!(comparison.written("md").contains("Rockpool has no cluster yet"));
}

#[test]
fn the_chapter_about_lifetimes_sees_keys_go() {
    let comparison = Comparison::new();
    let json = comparison.run_well(&[
        "--preset",
        "chapter9",
        "--quick",
        "--keys",
        "200",
        "--pipelines",
        "4",
        "--seconds",
        "0.05",
    ]);
    let groups = array(&json["groups"]);
    assert_eq!(groups.iter().map(|group| array(&group["cells"]).len()).collect::<Vec<_>>(), [2, 0]);
    for contender in array(&groups[1]["contenders"]) {
        let lag_s = number(&contender["expiry"]["lag_s"]);
        assert!((-1.0..20.0).contains(&lag_s), "{contender}");
        assert!(number(&contender["expiry"]["resident_bytes"]) > 0.0, "{contender}");
    }
    assert!(comparison.written("html").contains("MiB 1 s after expiry"));
}

#[test]
fn sizes_are_measured_with_what_is_written_for_them() {
    let comparison = Comparison::new();
    let newer = which("redis-server");
    let newer = format!("newer={}", newer.display());
    let json = comparison.run_well(&[
        "--preset",
        "sizes",
        "--servers",
        &format!("rockpool,redis,{newer}"),
        "--engines",
        "rocksdb",
        "--durability",
        "everysec",
        "--value-bytes",
        "4096",
        "--quick",
        "--keys",
        "100",
        "--pipelines",
        "2",
        "--commands",
        "set,mixed,mset",
        "--seconds",
        "0.05",
    ]);
    let titles: Vec<&str> =
        array(&json["groups"]).iter().map(|group| group["cells"][0]["title"].as_str().expect("a title")).collect();
    assert_eq!(titles, ["SET", "mixed 80% GET, Zipf 0.99", "MSET 10"]);
    for group in array(&json["groups"]) {
        assert_eq!(labels(group), ["rockpool rocksdb", "redis", "newer"]);
    }
    let table = comparison.written("md");
    let has_device = !json["groups"][0]["cells"][0]["runs"][0]["written_per_set_byte"].is_null();
    assert_eq!(table.contains("written a byte set"), has_device);
    for run in array(&json["groups"][0]["cells"][0]["runs"]).iter().filter(|_| has_device) {
        // A file system in memory has no device; on any other, each value is written once at least, or not yet.
        let written = number(&run["written_per_set_byte"]);
        assert!((0.0..50.0).contains(&written), "{run}");
    }
}

/// Where a program of `PATH` is.
fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    let found = std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {program} in PATH"))
}

#[test]
fn redis_benchmark_can_make_the_load() {
    let comparison = Comparison::new();
    let json = comparison.run_well(&[
        "--servers",
        "redis",
        "--client",
        "redis-benchmark",
        "--durability",
        "none",
        "--quick",
        "--keys",
        "100",
        "--pipelines",
        "4",
        "--commands",
        "get",
        "--seconds",
        "0.05",
    ]);
    let run = &json["groups"][0]["cells"][0]["runs"][0];
    assert!(number(&run["requests"]) >= 2000.0 && number(&run["requests_per_s"]) > 0.0, "{run}");
    assert!(run["latency_ms"]["p99_9"].is_null() && number(&run["latency_ms"]["p99"]) > 0.0, "{run}");
}

#[test]
fn a_server_that_loses_keys_is_found_out() {
    let comparison = Comparison::new();
    let forgetful =
        "forgetful=redis-server --port {port} --dir {dir} --save '' --maxmemory 2mb --maxmemory-policy allkeys-random";
    let output = comparison.run(&[
        "--servers",
        "",
        "--server",
        forgetful,
        "--durability",
        "none",
        "--quick",
        "--keys",
        "10000",
        "--value-bytes",
        "1000",
        "--pipelines",
        "16",
        "--commands",
        "get",
        "--seconds",
        "0.05",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("forgetful") && complaint.contains(" missing"), "{complaint}");
    assert!(comparison.written("md").contains("Replies were wrong"));
    assert!(comparison.written("html").contains("Replies were wrong"));
}

/// Acknowledges every SET, and makes the first of each key alone.
const AMNESIAC: &str = r#"
import socketserver, sys
values = {}
class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.readline():
            words = []
            for _ in range(int(head[1:])):
                words.append(self.rfile.read(int(self.rfile.readline()[1:])))
                self.rfile.read(2)
            reply = b"+OK\r\n"
            if words[0] == b"SET":
                values.setdefault(words[1], words[2])
            elif words[0] == b"GET":
                value = values.get(words[1])
                reply = b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
            self.wfile.write(reply)
socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Connection).serve_forever()
"#;

#[test]
fn a_server_that_loses_writes_is_found_out() {
    let comparison = Comparison::new();
    let program = comparison.directory.path().join("amnesiac.py");
    std::fs::write(&program, AMNESIAC).expect("a file");
    let template = format!("amnesiac=python3 {} {{port}}", program.display());
    let arguments = ["--servers", "", "--server", &template, "--durability", "none", "--quick", "--keys", "100"];
    let output = comparison.run(
        &[&arguments[..], &["--pipelines", "4", "--clients", "2", "--commands", "set", "--seconds", "0.05"]].concat(),
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let json = comparison.json();
    let wrong: Vec<f64> =
        array(&json["groups"][0]["contenders"][0]["checks"]).iter().map(|check| number(&check["wrong"])).collect();
    assert_eq!(wrong, [0.0, 0.0, 100.0], "the keys as filled, after the loads, and overwritten");
}

#[test]
fn a_server_that_does_not_start_is_one_clear_line() {
    for (template, reason) in [
        (
            "broken=sh -c 'echo no such luck >&2; exit 3' {port}",
            "broken ended with exit status: 3 before it answered: no such luck",
        ),
        ("absent=/no/such/server {port}", "absent: /no/such/server cannot be started: No such file"),
    ] {
        let comparison = Comparison::new();
        let output = comparison.run(&["--servers", "redis", "--server", template, "--quick", "--keys", "10"]);
        assert_eq!(output.status.code(), Some(1));
        let complaints = text(&output.stderr);
        let lines: Vec<&str> = complaints.lines().filter(|line| line.starts_with("rockpool-bench:")).collect();
        let [line] = lines.as_slice() else { panic!("one line: {complaints}") };
        assert!(line.contains(reason), "{line}");
        assert!(!comparison.out().with_extension("json").exists());
    }
}

#[test]
fn arguments_that_cannot_be_met_are_refused() {
    for (arguments, reason) in [
        (&["--servers", "memcached"][..], "\"memcached\" is not known"),
        (&["--servers", "redis,redis"], "redis takes part twice"),
        (&["--servers", "redis,redis=/usr/bin/redis-server"], "redis takes part twice"),
        (&["--servers", "other=/usr/bin/memcached"], "is none of rockpool, redis-server, valkey-server"),
        (&["--commands", "mget", "--keys", "9"], "10 at least"),
        (&["--value-bytes", "100~10"], "the first size must be the smaller one"),
        (&["--baseline", "valkey"], "the baseline \"valkey\" takes no part"),
        (&["--server", "a=server"], "{port}"),
        (&["--preset", "chapter7", "--servers", "rockpool"], "rockpool has no cluster yet"),
        (&["--preset", "chapter3", "--servers", "redis"], "rockpool: it must take part"),
        (&["--client", "redis-benchmark", "--commands", "mixed"], "does not mix commands"),
        (
            &["--engines", "memory", "--durability", "always", "--servers", "rockpool"],
            "no server can do what is asked for",
        ),
        (&["--pipelines", "0"], "above 0"),
        (&["--zipf", "inf"], "the exponent"),
        (&["--value-bytes", "100000000"], "1 GiB"),
        (&["--clients", "1000000", "--pipelines", "1000000"], "16,777,216"),
    ] {
        let comparison = Comparison::new();
        let output = comparison.run(arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(reason), "{arguments:?}: {complaint}");
        assert!(!comparison.out().parent().expect("a directory").exists(), "nothing was begun");
    }
}

#[test]
fn what_was_measured_before_a_server_failed_is_kept() {
    let comparison = Comparison::new();
    let template = "late=sh -c 'test {appendonly} = no || exit 3; exec redis-server --port {port} --save \"\"'";
    let output = comparison.run(&[
        "--servers",
        "",
        "--server",
        template,
        "--durability",
        "none,everysec,none",
        "--quick",
        "--keys",
        "100",
        "--pipelines",
        "4,4",
        "--commands",
        "get",
        "--seconds",
        "0.05",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("late ended with exit status: 3"), "{}", text(&output.stderr));
    let json = comparison.json();
    let [group] = array(&json["groups"]) else { panic!("one group: {json}") };
    assert_eq!((array(&group["cells"]).len(), &json["is_partial"]), (1, &Json::Bool(true)));
    for report in [comparison.written("md"), comparison.written("html"), text(&output.stdout)] {
        assert!(report.contains("ended before all of its groups were measured"), "{report}");
    }
}

#[test]
fn a_cluster_that_runs_already_is_measured() {
    let bus = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address").port();
    let redis = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
    let mut client = redis.client();
    assert_eq!(client.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), Value::ok());
    let is_up = || match client.command(&["CLUSTER", "INFO"]) {
        Value::Bulk(info) => text(&info).contains("cluster_state:ok"),
        other => panic!("{other:?}"),
    };
    assert!(eventually(PATIENCE, is_up));
    let comparison = Comparison::new();
    let address = redis.resp_address().to_string();
    let arguments = ["--preset", "chapter7", "--servers", "", "--cluster", &address, "--quick", "--keys", "100"];
    let json = comparison.run_well(&[&arguments[..], &["--pipelines", "4", "--seconds", "0.05"]].concat());
    let [group] = array(&json["groups"]) else { panic!("one group: {json}") };
    assert_eq!(labels(group), ["the cluster that was named"]);
    for cell in array(&group["cells"]) {
        let run = &cell["runs"][0];
        assert!(number(&run["requests"]) > 0.0 && run["cpu_us"].is_null(), "{run}");
    }
}

#[test]
fn a_signal_ends_the_servers_too() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let comparison = Comparison::new();
        let mut child = comparison
            .command(&["--durability", "none", "--keys", "1000", "--seconds", "600"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tool starts");
        let are_up = eventually(PATIENCE, || comparison.processes().len() == 3);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let status = child.wait().expect("it ends");
        assert!(are_up, "the servers were started");
        assert_eq!(status.code(), Some(code));
        assert!(eventually(PATIENCE, || comparison.processes().is_empty()), "servers are left behind");
        assert!(is_empty(&comparison.data()), "data is left behind");
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("a directory").next().is_none()
}

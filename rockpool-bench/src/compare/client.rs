//! Who makes the load: this program's own generator, or redis-benchmark.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use parking_lot::Mutex;

use super::experiment::{self, Contender, Group as ServerGroup, Load};
use super::failure::Failure;
use super::interrupt::Group;
use super::proc::{self, GroupTime};
use super::results::{Check, Latency};
use super::server::Server;
use crate::load::{self, Distribution, Keys, Length, Outcome, Plan, Progress, Snapshot};
use crate::wire::Protocol;

/// Decides the values: the same for every load of a comparison, so that each can check what another wrote.
const SEED: u64 = 1;
/// Decides other values, which are told from those that were there before.
const OTHER_SEED: u64 = 2;
/// Decides which keys a check reads, whatever the measurements ask for.
const CHECK_ORDER: u64 = u64::MAX;
/// How keys are written before the first measurement.
const FILL_CLIENTS: usize = 4;
const FILL_PIPELINE: usize = 64;
const CHECK_PIPELINE: usize = 16;
/// Of a server that works in the background, how many intervals a measurement spans at least.
const INTERVALS: u32 = 3;
/// The fewest requests that redis-benchmark is asked for: fewer say nothing.
const LEAST_REQUESTS: u64 = 2_000;

/// The program that makes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// This one.
    RockpoolBench,
    /// Redis's own: RESP, uniformly random keys, values of one size.
    RedisBenchmark,
}

/// How loads are made.
#[derive(Clone, Debug)]
pub struct Client {
    /// The program that makes the load.
    pub kind: Kind,
    /// Its threads.
    pub threads: usize,
    /// How long a measurement lasts.
    pub duration: Duration,
    /// How many values are compared in a check.
    pub check_values: u64,
}

/// What came of one measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes of the values that were set; none where the client does not tell.
    pub set_bytes: Option<u64>,
    /// Requests answered each second.
    pub requests_per_s: f64,
    /// The server's processor time when the load began and when it ended, where it can be read.
    pub server_time: Option<(GroupTime, GroupTime)>,
    /// Processor time of the client for one request, in microseconds.
    pub client_cpu_us: Option<f64>,
    /// Percentiles of latency, in milliseconds.
    pub latency_ms: Latency,
    /// Reads that found nothing.
    pub misses: u64,
    /// Replies that were errors.
    pub errors: u64,
}

/// Reads the processor time of a server when all connections are open, and again before the first is closed: to open
/// and to close them is no part of the load.
struct Meter<'a> {
    readings: Mutex<Readings<'a>>,
}

struct Readings<'a> {
    server: &'a mut Server,
    times: Vec<Result<Option<GroupTime>, Failure>>,
}

impl Meter<'_> {
    fn read(&self) {
        let Readings { server, times } = &mut *self.readings.lock();
        times.push(server.processor_time());
    }
}

impl Progress for Meter<'_> {
    fn opened(&self) {
        self.read();
    }

    fn closing(&self) {
        self.read();
    }

    fn report(&self, _: &Snapshot) {}
}

impl Client {
    /// Refuses a load that it cannot make.
    ///
    /// # Errors
    /// One that says why.
    pub fn check_ability(&self, group: &ServerGroup, contender: &Contender, load: &Load) -> Result<(), Failure> {
        let length = Length::For(self.duration);
        for plan in
            [fill_plan(&[NOWHERE], contender, group), self.load_plan(&[NOWHERE], contender, group, load, length)]
        {
            plan.check().map_err(|error| Failure::usage(error.to_string()))?;
        }
        if self.kind == Kind::RockpoolBench {
            return Ok(());
        }
        let inability = if contender.protocol != Protocol::Resp {
            "speaks RESP alone"
        } else if load.command == experiment::Command::Mixed {
            "does not mix commands"
        } else if load.command == experiment::Command::Mget {
            "has no MGET"
        } else if load.distribution != Distribution::Uniform {
            "has uniformly random keys alone"
        } else if load.ttl_ms.is_some() {
            "writes without a time to live"
        } else if !group.value_bytes.is_one() {
            "has values of one size"
        } else {
            return Ok(());
        };
        Err(Failure::usage(format!("redis-benchmark {inability}: take --client rockpool-bench")))
    }

    /// Writes every key once, one after the other.
    ///
    /// # Errors
    /// When the server is lost, or answers with an error.
    pub fn fill(&self, server: &Server, contender: &Contender, group: &ServerGroup) -> Result<(), Failure> {
        let outcome = run(&fill_plan(server.control_addresses(), contender, group))?;
        match outcome.first_error {
            Some(error) => Err(Failure::new(format!("{}: the keys cannot be written: {error}", contender.label))),
            None => Ok(()),
        }
    }

    /// Reads some of the keys, or all where they are few, and compares the values with what they must be.
    ///
    /// # Errors
    /// When the server is lost; what is wrong with a value is no error here.
    pub fn check(
        &self,
        server: &Server,
        contender: &Contender,
        group: &ServerGroup,
        moment: &str,
    ) -> Result<Check, Failure> {
        let values = self.check_values.min(group.keys);
        let mut plan = check_plan(server.addresses(), contender, group, values);
        if values < group.keys {
            plan.keys.distribution = Distribution::Uniform;
        }
        read_back(plan, moment, values)
    }

    /// Writes other values under some of the keys, or all where they are few, and compares what is read then: a write that
    /// is acknowledged and not made would not show where all writes make the same values.
    ///
    /// # Errors
    /// As [`Client::check`].
    pub fn overwrite(&self, server: &Server, contender: &Contender, group: &ServerGroup) -> Result<Check, Failure> {
        let values = self.check_values.min(group.keys);
        let plan = Plan { seed: OTHER_SEED, ..check_plan(server.addresses(), contender, group, values) };
        let written = run(&Plan { operation: load::Operation::Set, ..plan.clone() })?;
        let mut check = read_back(plan, "overwritten", values)?;
        check.errors += written.errors;
        check.first = written.first_error.or(check.first);
        Ok(check)
    }

    /// Whether there is something new to check after these loads: redis-benchmark writes values of its own.
    pub fn leaves_values(&self, loads: &[Load]) -> bool {
        let is_own = self.kind == Kind::RockpoolBench;
        !loads.is_empty() && (is_own || !loads.iter().any(Load::writes))
    }

    /// How long a measurement of that server lasts.
    pub fn duration_for(&self, contender: &Contender) -> Duration {
        self.duration.max(contender.background_interval * INTERVALS)
    }

    /// How long a measurement of this load is to be: redis-benchmark has to be told a number of requests, and finds it
    /// by a trial.
    ///
    /// # Errors
    /// As [`Client::measure`].
    pub fn length(
        &self,
        server: &Server,
        contender: &Contender,
        group: &ServerGroup,
        load: &Load,
    ) -> Result<Length, Failure> {
        if self.kind == Kind::RockpoolBench {
            return Ok(Length::For(self.duration_for(contender)));
        }
        let requests = LEAST_REQUESTS.max(1_000 * load.pipeline as u64);
        let trial = redis_benchmark(self, server, contender, group, load, requests)?;
        let wanted = (trial.requests_per_s * self.duration_for(contender).as_secs_f64()) as u64;
        Ok(Length::Requests(wanted.max(LEAST_REQUESTS)))
    }

    /// Makes the load once. `order_seed` decides the order of the keys.
    ///
    /// # Errors
    /// When the server or the client is lost; replies that are errors are counted.
    pub fn measure(
        &self,
        server: &mut Server,
        contender: &Contender,
        group: &ServerGroup,
        load: &Load,
        length: Length,
        order_seed: u64,
    ) -> Result<Measured, Failure> {
        if let (Kind::RedisBenchmark, Length::Requests(requests)) = (self.kind, length) {
            let before = server.processor_time()?;
            let measured = redis_benchmark(self, server, contender, group, load, requests)?;
            return Ok(Measured { server_time: before.zip(server.processor_time()?), ..measured });
        }
        let plan = Plan { order_seed, ..self.load_plan(server.addresses(), contender, group, load, length) };
        let meter = Meter { readings: Mutex::new(Readings { server, times: Vec::new() }) };
        let outcome = load::run(&plan, &meter).map_err(|error| Failure::new(error.to_string()))?;
        let mut times = meter.readings.into_inner().times.into_iter();
        let mut next = || times.next().transpose().map(Option::flatten);
        let (before, after) = (next()?, next()?);
        Ok(Measured {
            server_time: before.zip(after),
            requests: outcome.requests(),
            set_bytes: Some(outcome.writes.bytes),
            requests_per_s: outcome.requests_per_s(),
            client_cpu_us: Some(outcome.client_cpu_us_per_request()),
            latency_ms: latency(&outcome),
            misses: outcome.misses,
            errors: outcome.errors,
        })
    }

    fn load_plan(
        &self,
        addresses: &[SocketAddr],
        contender: &Contender,
        group: &ServerGroup,
        load: &Load,
        length: Length,
    ) -> Plan {
        Plan {
            protocol: contender.protocol,
            clients: load.clients,
            threads: self.threads.min(load.clients),
            pipeline: load.pipeline,
            operation: load.operation(),
            keys: Keys { distribution: load.distribution.clone(), ..keys(group) },
            ttl_ms: load.ttl_ms,
            length,
            ..plan(addresses, contender, group)
        }
    }
}

/// In place of the address of a server that is not started yet.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Every key once.
fn fill_plan(addresses: &[SocketAddr], contender: &Contender, group: &ServerGroup) -> Plan {
    Plan {
        clients: FILL_CLIENTS,
        pipeline: FILL_PIPELINE,
        ttl_ms: group.fill_ttl_ms,
        length: Length::Requests(group.keys),
        ..plan(addresses, contender, group)
    }
}

/// GETs of the first `values` keys.
fn check_plan(addresses: &[SocketAddr], contender: &Contender, group: &ServerGroup, values: u64) -> Plan {
    Plan {
        protocol: contender.protocol,
        operation: load::Operation::Get,
        pipeline: CHECK_PIPELINE,
        length: Length::Requests(values),
        order_seed: CHECK_ORDER,
        ..plan(addresses, contender, group)
    }
}

/// Reads as the plan says, and compares.
fn read_back(plan: Plan, moment: &str, values: u64) -> Result<Check, Failure> {
    let outcome = run(&Plan { verify: true, ..plan })?;
    let first_missing = (outcome.misses > 0).then(|| "a key is missing".to_owned());
    Ok(Check {
        moment: moment.to_owned(),
        values,
        wrong: outcome.mismatches,
        missing: outcome.misses,
        errors: outcome.errors,
        first: outcome.first_error.or(outcome.first_mismatch).or(first_missing),
    })
}

fn run(plan: &Plan) -> Result<Outcome, Failure> {
    load::run(plan, &load::Silent).map_err(|error| Failure::new(error.to_string()))
}

fn keys(group: &ServerGroup) -> Keys {
    Keys { count: group.keys, ..Keys::default() }
}

/// SETs of the group's keys, one after the other, over RESP.
fn plan(addresses: &[SocketAddr], contender: &Contender, group: &ServerGroup) -> Plan {
    Plan {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        cluster: contender.is_cluster(),
        keys: keys(group),
        value_bytes: group.value_bytes,
        seed: SEED,
        ..Plan::default()
    }
}

fn latency(outcome: &Outcome) -> Latency {
    let mut all = outcome.reads.latency.clone();
    // Both have the same bounds.
    if all.add(&outcome.writes.latency).is_err() || all.is_empty() {
        return Latency::default();
    }
    let milliseconds = |nanoseconds: u64| Some(nanoseconds as f64 / 1e6);
    let quantile = |quantile: f64| milliseconds(all.value_at_quantile(quantile));
    Latency {
        p50: quantile(0.5),
        p90: quantile(0.9),
        p99: quantile(0.99),
        p99_9: quantile(0.999),
        max: milliseconds(all.max()),
    }
}

fn redis_benchmark(
    client: &Client,
    server: &Server,
    contender: &Contender,
    group: &ServerGroup,
    load: &Load,
    requests: u64,
) -> Result<Measured, Failure> {
    let fail = |reason: String| Failure::new(format!("redis-benchmark on {}: {reason}", contender.label));
    let Some(address) = server.addresses().first() else { return Err(fail("no address".to_owned())) };
    let value_bytes = group.value_bytes.min;
    // Of the name in the report, the number of keys is none of the test's.
    let test = load.command.name().split(' ').next().unwrap_or_default().to_lowercase();
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string(), "-t", &test]);
    command.args(["-n", &requests.to_string(), "-r", &group.keys.to_string(), "-d", &value_bytes.to_string()]);
    command.args(["-c", &load.clients.to_string(), "-P", &load.pipeline.to_string(), "--csv"]);
    if client.threads > 1 {
        command.args(["--threads", &client.threads.to_string()]);
    }
    if contender.is_cluster() {
        command.arg("--cluster");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let own = std::process::id();
    let before = proc::processor_time(own)?;
    let output = Group::spawn(&mut command).and_then(Group::output).map_err(|error| fail(error.to_string()))?;
    let cpu_s = (proc::processor_time(own)? - before).children_s;
    let figures = figures(&output).ok_or_else(|| fail(format!("answers {:?}", output.trim())))?;
    let figure = |name: &str| figures.get(name).copied();
    Ok(Measured {
        requests,
        set_bytes: None,
        server_time: None,
        requests_per_s: figure("rps").ok_or_else(|| fail("tells no throughput".to_owned()))?,
        client_cpu_us: Some(cpu_s * 1e6 / requests as f64),
        latency_ms: Latency {
            p50: figure("p50_latency_ms"),
            p90: None,
            p99: figure("p99_latency_ms"),
            p99_9: None,
            max: figure("max_latency_ms"),
        },
        misses: 0,
        errors: 0,
    })
}

/// The figures of a CSV of one test, by the names in its head. In a cluster, other lines come first.
fn figures(output: &str) -> Option<HashMap<String, f64>> {
    let lines: Vec<&str> = output.lines().skip_while(|line| !line.starts_with("\"test\"")).collect();
    let [head, values] = lines.as_slice() else { return None };
    let cells = |line: &str| -> Vec<String> { line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect() };
    let (names, values) = (cells(head), cells(values));
    (names.len() == values.len()).then(|| {
        // The name of the test is no number.
        names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_csv_of_redis_benchmark_is_read() {
        let output = "Cluster has 3 master nodes:\n\n\
            \"test\",\"rps\",\"p50_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
            \"SET\",\"1234.50\",\"0.3\",\"0.5\",\"0.6\"\n";
        let figures = figures(output).expect("figures");
        assert_eq!((figures["rps"], figures["p99_latency_ms"], figures["max_latency_ms"]), (1234.5, 0.5, 0.6));
    }

    #[test]
    fn what_is_no_csv_has_no_figures() {
        for output in ["", "Error from server: ERR\n", "\"test\",\"rps\"\n", "\"test\",\"rps\"\n\"SET\"\n"] {
            assert_eq!(figures(output), None, "{output:?}");
        }
    }
}

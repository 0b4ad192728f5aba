//! The command line.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::load::{Distribution, Keys, Length, Operation, Plan, Sizes, Span};
use crate::wire::Protocol;

/// These have flags of their own.
const COMPARISONS: &str = "Comparisons:\n  \
    rockpool-bench compare  servers side by side on this machine, and a report of it\n  \
    rockpool-bench report   that report again, from its JSON";

/// Loads for Rockpool, and for any server that speaks one of its protocols.
///
/// Exit status: 0 when every request was answered without an error (and, with --verify, every value was right), 1 when
/// not or when the server could not be reached, 2 for arguments that cannot be meant.
#[derive(Debug, Parser)]
#[command(name = "rockpool-bench", version, disable_help_flag = true, subcommand_negates_reqs = true)]
#[command(after_help = COMPARISONS)]
pub struct Arguments {
    /// Print help (`-h` is the host).
    #[arg(long, action = ArgAction::Help, global = true)]
    help: Option<bool>,
    /// The single request, where one is asked for.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The server.
    #[command(flatten)]
    pub server: ServerArguments,
    /// The load.
    #[command(flatten)]
    pub load: LoadArguments,
}

/// One request, instead of a load.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the value of a key; exit status 1 when there is none.
    Get { key: OsString },
    /// Store a value, or what standard input holds.
    Set { key: OsString, value: Option<OsString> },
    /// Remove a key.
    Del { key: OsString },
}

/// Which server, and how to speak to it.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArguments {
    /// The protocol: redis (or resp), tcp (or book), http.
    #[arg(long = "type", value_name = "PROTOCOL", default_value = "redis", global = true)]
    protocol: ProtocolName,
    /// The server, with or without its port; members of a cluster are separated by commas.
    #[arg(short = 'h', long, value_name = "HOST[:PORT]", default_value = "localhost", global = true)]
    host: String,
    /// The port, where the host has none [default: redis 6379, http 12345, tcp 12346].
    #[arg(short, long, global = true)]
    port: Option<u16>,
    /// The password; better by the environment's REDISCLI_AUTH, since arguments can be seen by others.
    #[arg(short = 'a', long, global = true)]
    password: Option<String>,
    /// Redis Cluster: ask each key of the node that serves it.
    #[arg(long, global = true)]
    cluster: bool,
    /// How long a reply may take.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, global = true)]
    timeout: Duration,
    /// The lifetime of values that are set, or a range of lifetimes: 500ms, 10s, 1m-2h.
    #[arg(long, value_name = "DURATION", value_parser = lifetimes, global = true)]
    ttl: Option<Span<u64>>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolName {
    #[value(alias = "resp")]
    Redis,
    #[value(alias = "book")]
    Tcp,
    Http,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OperationName {
    Get,
    Set,
    Mget,
    Mset,
    Mixed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DistributionName {
    Uniform,
    Zipf,
    Sequential,
}

/// In which form the outcome is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Csv,
}

/// What the load is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub struct LoadArguments {
    /// Requests in all [default: 1000, or those of the trace].
    #[arg(short = 'n', long, conflicts_with = "duration")]
    requests: Option<u64>,
    /// Run for that long instead: 500ms, 30s, 5m.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// The size of a value in bytes, or a range of sizes (64, 10-1000), or the median and the limit of log-normal ones
    /// (1024~1048576).
    #[arg(short = 'd', long, value_name = "BYTES", default_value = "1000")]
    data_size: Sizes,
    /// Clients, each with a connection of its own.
    #[arg(short = 'c', long, default_value_t = 1)]
    clients: usize,
    /// What is asked: get, set or mixed, or over RESP mget or mset of 10 keys each.
    #[arg(short = 't', long, default_value = "set")]
    operation: OperationName,
    /// The share of GETs when mixed, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    reads: f64,
    /// How many keys there are; 0 for as many as there are requests.
    #[arg(short = 'r', long, default_value_t = 0)]
    keyspace: u64,
    /// Requests that a client sends before it waits for replies.
    #[arg(short = 'P', long, default_value_t = 1)]
    pipeline: usize,
    /// Which of the keys is next [default: uniform, sequential where their number is not given].
    #[arg(long)]
    distribution: Option<DistributionName>,
    /// The exponent of --distribution zipf.
    #[arg(long, value_name = "S", default_value_t = 0.99)]
    zipf_exponent: f64,
    /// Requests from a file; a line is KEY, or OP,KEY[,BYTES] with get, set or del.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["distribution", "keyspace"])]
    trace: Option<PathBuf>,
    /// What keys begin with.
    #[arg(long, default_value = "key:")]
    key_prefix: String,
    /// The length of a key, which zeros after the prefix fill.
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    key_size: usize,
    /// Open loop: requests that are due each second, whatever became of earlier ones; latency counts from then.
    #[arg(long, value_name = "REQUESTS_PER_S")]
    rate: Option<f64>,
    /// Threads that the clients are dealt out to.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Compare every value that is read with what a run of the same seed writes.
    #[arg(long)]
    verify: bool,
    /// What values and random keys are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How the outcome is printed.
    #[arg(long, default_value = "text", help_heading = "Output")]
    pub format: Format,
    /// Write the latencies' distribution there, for the plotter of HdrHistogram.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub hdr: Option<PathBuf>,
    /// Show how the run goes on, even where standard error is no terminal.
    #[arg(long, help_heading = "Output")]
    progress: bool,
}

impl Arguments {
    /// Reads the command line, with the book's `-type` as `--type`; ends the process where that cannot be.
    pub fn read(arguments: impl Iterator<Item = OsString>) -> Arguments {
        Arguments::parse_from(arguments.map(|argument| match argument.to_str() {
            Some(text) if text == "-type" || text.starts_with("-type=") => format!("-{text}").into(),
            _ => argument,
        }))
    }

    /// The load that was asked for.
    pub fn plan(&self) -> Plan {
        let load = &self.load;
        let distribution = match (&load.trace, load.distribution) {
            (Some(path), _) => Distribution::Trace { path: path.clone() },
            (None, Some(DistributionName::Zipf)) => Distribution::Zipf { exponent: load.zipf_exponent },
            (None, Some(DistributionName::Uniform)) => Distribution::Uniform,
            (None, None) if load.keyspace > 0 => Distribution::Uniform,
            (None, Some(DistributionName::Sequential) | None) => Distribution::Sequential,
        };
        let length = match (load.duration, load.requests, &load.trace) {
            (Some(duration), ..) => Length::For(duration),
            (None, Some(requests), _) => Length::Requests(requests),
            (None, None, Some(_)) => Length::Trace,
            (None, None, None) => Length::Requests(1000),
        };
        Plan {
            clients: load.clients,
            threads: load.threads,
            pipeline: load.pipeline,
            operation: match load.operation {
                OperationName::Get => Operation::Get,
                OperationName::Set => Operation::Set,
                OperationName::Mget => Operation::Mget,
                OperationName::Mset => Operation::Mset,
                OperationName::Mixed => Operation::Mixed { reads: load.reads },
            },
            keys: Keys {
                distribution,
                count: load.keyspace,
                prefix: load.key_prefix.clone(),
                key_bytes: load.key_size,
            },
            value_bytes: load.data_size,
            length,
            rate_per_s: load.rate,
            verify: load.verify,
            seed: load.seed,
            order_seed: load.seed,
            ..self.server.plan()
        }
    }
}

impl ServerArguments {
    /// A plan that knows its server, and is the default otherwise.
    pub fn plan(&self) -> Plan {
        let protocol = match self.protocol {
            ProtocolName::Redis => Protocol::Resp,
            ProtocolName::Tcp => Protocol::Book,
            ProtocolName::Http => Protocol::Http,
        };
        let port = self.port.unwrap_or(protocol.default_port());
        Plan {
            protocol,
            addresses: self.host.split(',').map(|host| with_port(host, port)).collect(),
            cluster: self.cluster,
            password: self.password.clone().or_else(|| std::env::var("REDISCLI_AUTH").ok()),
            ttl_ms: self.ttl,
            timeout: self.timeout,
            ..Plan::default()
        }
    }
}

impl LoadArguments {
    /// Whether progress goes to standard error: on a terminal, or where it is asked for.
    pub fn shows_progress(&self) -> bool {
        self.progress || std::io::stderr().is_terminal()
    }
}

/// `host` as `host:port`, with `port` where it has none of its own. An IPv6 address with a port stands in brackets.
fn with_port(host: &str, port: u16) -> String {
    let is_bare_ipv6 = host.matches(':').count() > 1 && !host.starts_with('[');
    match host.rsplit_once(':') {
        _ if is_bare_ipv6 => format!("[{host}]:{port}"),
        Some((_, digits)) if !digits.ends_with(']') => host.to_owned(),
        _ => format!("{host}:{port}"),
    }
}

/// A number with `ms`, `s`, `m` or `h`; seconds where nothing stands.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit_s = match &text[digits.len()..] {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("\"{unit}\" is none of ms, s, m, h")),
    };
    digits
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * unit_s).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "a duration is a number above 0 with ms, s, m or h".to_owned())
}

/// One, or two with a dash between them.
fn span<T: Copy>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Span<T>, String> {
    match text.split_once('-') {
        Some((min, max)) => Ok(Span { min: one(min)?, max: one(max)? }),
        None => one(text).map(Span::of),
    }
}

fn lifetimes(text: &str) -> Result<Span<u64>, String> {
    span(text, |text| duration(text).map(|duration| duration.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let words = std::iter::once("rockpool-bench").chain(arguments.iter().copied());
        Arguments::read(words.map(OsString::from)).plan()
    }

    #[test]
    fn the_book_s_flags_are_those_of_the_book() {
        let plan = plan(&[
            "-type", "tcp", "-h", "server", "-n", "100000", "-d", "1", "-c", "50", "-t", "get", "-r", "10000", "-P",
            "3",
        ]);
        assert_eq!((plan.protocol, &plan.addresses[..]), (Protocol::Book, &["server:12346".to_owned()][..]));
        assert_eq!((plan.clients, plan.pipeline, plan.keys.count), (50, 3, 10_000));
        assert_eq!((plan.operation, plan.value_bytes), (Operation::Get, Sizes::of(1)));
        assert!(matches!(plan.length, Length::Requests(100_000)));
        assert_eq!(plan.keys.distribution, Distribution::Uniform);
    }

    #[test]
    fn the_defaults_are_those_of_the_book() {
        let plan = plan(&[]);
        assert_eq!((plan.clients, plan.pipeline, plan.keys.count, plan.threads), (1, 1, 0, 1));
        assert_eq!((plan.operation, plan.value_bytes), (Operation::Set, Sizes::of(1000)));
        assert_eq!(plan.addresses, ["localhost:6379"]);
        assert!(matches!(plan.length, Length::Requests(1000)));
        assert_eq!(plan.keys.distribution, Distribution::Sequential);
    }

    #[test]
    fn ranges_and_durations_are_read() {
        let plan = plan(&["-type=http", "-d=10-20", "--ttl", "500ms-1m", "--duration", "1.5s", "--timeout", "2"]);
        assert_eq!((plan.protocol, plan.value_bytes), (Protocol::Http, Sizes { min: 10, max: 20, median: None }));
        assert_eq!(plan.ttl_ms, Some(Span { min: 500, max: 60_000 }));
        assert!(matches!(plan.length, Length::For(duration) if duration == Duration::from_millis(1500)));
        assert_eq!(plan.timeout, Duration::from_secs(2));
        for wrong in ["", "s", "-1s", "1d", "0s", "inf", "1e30"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_may_bring_their_ports() {
        let cases = [("h", "h:1"), ("h:2", "h:2"), ("::1", "[::1]:1"), ("[::1]", "[::1]:1"), ("[::1]:2", "[::1]:2")];
        for (host, address) in cases {
            assert_eq!(with_port(host, 1), address, "{host}");
        }
        assert_eq!(plan(&["--cluster", "-h", "a,b:2", "-p", "7"]).addresses, ["a:7", "b:2"]);
    }

    #[test]
    fn the_little_client_takes_the_server_s_flags_on_either_side() {
        for words in [["-type", "http", "get", "key"], ["get", "key", "-type", "http"]] {
            let words = ["rockpool-bench"].into_iter().chain(words).map(OsString::from);
            let arguments = Arguments::read(words);
            assert!(matches!(&arguments.command, Some(Command::Get { key }) if key == "key"));
            assert_eq!(arguments.server.plan().protocol, Protocol::Http);
        }
    }
}

//! What a load is to be.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::LoadError;
use crate::wire::{MANY_KEYS, Protocol};

/// Redis's `proto-max-bulk-len` by default.
const VALUE_MAX_BYTES: usize = 512 * 1024 * 1024;
const KEY_MAX_BYTES: usize = 1024 * 1024;
/// Requests under way on all connections, each of which is remembered.
const OUTSTANDING_MAX: usize = 1 << 24;
/// Values that one connection sends at once are in memory together.
const BATCH_MAX_BYTES: usize = 1 << 30;
/// One each nanosecond, the unit of the schedule.
const RATE_MAX_PER_S: f64 = 1e9;

/// Everything about one load.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The protocol that the servers are asked by.
    pub protocol: Protocol,
    /// `host:port`: one server, or with `cluster` any members of it to ask first.
    pub addresses: Vec<String>,
    /// Redis Cluster: each key is asked of the node that serves its slot, and redirections are followed.
    pub cluster: bool,
    /// AUTH in RESP, a bearer token in HTTP.
    #[serde(skip)]
    pub password: Option<String>,
    /// Connections; in a cluster, that many to each node.
    pub clients: usize,
    /// Threads that share the clients.
    pub threads: usize,
    /// Requests that a client has under way at one time.
    pub pipeline: usize,
    /// What is asked.
    pub operation: Operation,
    /// Of which keys.
    pub keys: Keys,
    /// The size of a value, in bytes.
    pub value_bytes: Sizes,
    /// The lifetime that values are written with, in milliseconds.
    pub ttl_ms: Option<Span<u64>>,
    /// When the load is over.
    pub length: Length,
    /// Open loop: that many requests are due each second, whether or not earlier ones were answered, and latency counts
    /// from the moment when a request was due. Without it, closed loop: a client sends when it has all its replies.
    pub rate_per_s: Option<f64>,
    /// Whether each value that is read is compared with what a run with the same `seed` writes there.
    pub verify: bool,
    /// Decides the values.
    pub seed: u64,
    /// Decides what is drawn for each request: random keys, which of a mixed load read, sizes and lifetimes.
    pub order_seed: u64,
    /// How long a reply may take before its connection counts as broken.
    #[serde(serialize_with = "seconds", rename = "timeout_s")]
    pub timeout: Duration,
}

impl Default for Plan {
    /// The book's defaults, over RESP: a thousand SETs of 1,000 bytes, one after the other.
    fn default() -> Plan {
        Plan {
            protocol: Protocol::Resp,
            addresses: vec!["localhost:6379".to_owned()],
            cluster: false,
            password: None,
            clients: 1,
            threads: 1,
            pipeline: 1,
            operation: Operation::Set,
            keys: Keys::default(),
            value_bytes: Sizes::of(1000),
            ttl_ms: None,
            length: Length::Requests(1000),
            rate_per_s: None,
            verify: false,
            seed: 1,
            order_seed: 1,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Plan {
    /// Whether the plan can be.
    ///
    /// # Errors
    /// [`LoadError::Plan`] with what contradicts what.
    pub fn check(&self) -> Result<(), LoadError> {
        let reads_is_share = match self.operation {
            Operation::Mixed { reads } => (0.0..=1.0).contains(&reads),
            Operation::Get | Operation::Set | Operation::Mget | Operation::Mset => true,
        };
        let has_many = matches!(self.operation, Operation::Mget | Operation::Mset);
        let keys_a_command = if has_many { MANY_KEYS } else { 1 };
        let has_trace = matches!(self.keys.distribution, Distribution::Trace { .. });
        let is_drawn = matches!(self.keys.distribution, Distribution::Uniform | Distribution::Zipf { .. });
        let exponent_is_possible = match self.keys.distribution {
            Distribution::Zipf { exponent } => exponent.is_finite() && exponent >= 0.0,
            Distribution::Uniform | Distribution::Sequential | Distribution::Trace { .. } => true,
        };
        let is_at_most = |product: Option<usize>, limit: usize| product.is_some_and(|product| product <= limit);
        let outstanding = self.clients.checked_mul(self.pipeline);
        let batch_bytes =
            self.pipeline.checked_mul(keys_a_command).and_then(|keys| keys.checked_mul(self.value_bytes.max));
        let median_is_possible = self
            .value_bytes
            .median
            .is_none_or(|median| (self.value_bytes.min..=self.value_bytes.max).contains(&median));
        let key_bytes = self.keys.key_bytes.max(self.keys.prefix.len());
        let rate_is_possible = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= RATE_MAX_PER_S;
        let rules = [
            (self.clients > 0, "there must be a client"),
            (self.threads > 0, "there must be a thread"),
            (self.pipeline > 0, "the pipeline must be at least 1"),
            (!self.addresses.is_empty(), "there must be a server"),
            (self.cluster || self.addresses.len() == 1, "several servers must be a cluster"),
            (!self.cluster || self.protocol == Protocol::Resp, "a cluster is served over RESP alone"),
            (self.password.is_none() || self.protocol != Protocol::Book, "the book's protocol has no passwords"),
            (!self.password.iter().any(|text| text.contains(char::is_control)), "a password has no control characters"),
            (self.ttl_ms.is_none() || self.protocol != Protocol::Book, "the book's protocol has no lifetimes"),
            (self.ttl_ms.is_none_or(|ttl| 0 < ttl.min && ttl.min <= ttl.max), "a lifetime is at least 1 ms"),
            (self.value_bytes.min <= self.value_bytes.max, "the smallest value is larger than the largest"),
            (median_is_possible, "the median size is not between the smallest and the largest"),
            (!has_many || self.protocol == Protocol::Resp, "MGET and MSET are asked over RESP alone"),
            (!has_many || !self.cluster, "MGET and MSET have keys of several nodes in a cluster"),
            (
                !has_many || (is_drawn && self.keys.count >= MANY_KEYS as u64),
                "MGET and MSET need random keys, 10 at least (-r)",
            ),
            (!has_many || self.ttl_ms.is_none(), "MSET has no lifetimes"),
            (!has_many || !self.verify, "values of MGET are not compared"),
            (self.value_bytes.max <= VALUE_MAX_BYTES, "a value has at most 512 MiB"),
            (key_bytes <= KEY_MAX_BYTES, "a key has at most 1 MiB"),
            (is_at_most(outstanding, OUTSTANDING_MAX), "clients times pipeline is at most 16,777,216"),
            (
                matches!(self.operation, Operation::Get | Operation::Mget) || is_at_most(batch_bytes, BATCH_MAX_BYTES),
                "the pipeline times the largest value is at most 1 GiB",
            ),
            (self.rate_per_s.is_none_or(rate_is_possible), "the rate is above 0, and at most 1,000,000,000"),
            (!is_drawn || self.keys.count > 0, "random keys need their number (-r)"),
            (exponent_is_possible, "the exponent is a finite number and not below 0"),
            (has_trace || !matches!(self.length, Length::Trace), "there is no trace to take the length from"),
            (reads_is_share, "the share of reads is from 0 to 1"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(LoadError::Plan((*rule).to_owned())),
            None => Ok(()),
        }
    }
}

/// What is asked of keys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// GET alone.
    Get,
    /// SET alone.
    Set,
    /// MGET of [`MANY_KEYS`] keys.
    Mget,
    /// MSET of [`MANY_KEYS`] keys.
    Mset,
    /// GET and SET, drawn for each request.
    Mixed {
        /// The share of GETs, from 0 to 1.
        reads: f64,
    },
}

/// Which keys are asked for: `prefix`, then a number from 0 to `count` - 1 padded with zeros to `key_bytes` in all.
#[derive(Clone, Debug, Serialize)]
pub struct Keys {
    /// How often each is asked for.
    pub distribution: Distribution,
    /// How many keys there are; 0 for as many as there are requests (sequential keys only).
    pub count: u64,
    /// What all names begin with.
    pub prefix: String,
    /// A number that does not fit makes the key longer.
    pub key_bytes: usize,
}

impl Default for Keys {
    /// The keys of redis-benchmark: `key:000000000000` and so on.
    fn default() -> Keys {
        Keys { distribution: Distribution::Sequential, count: 0, prefix: "key:".to_owned(), key_bytes: 16 }
    }
}

/// How often each key is asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// All are as likely.
    Uniform,
    /// The k-th most frequent key is asked for in proportion to k to the power of -`exponent`. Which key that is, is
    /// scattered over all of them.
    Zipf {
        /// Above 0; 0.99 is usual for caches.
        exponent: f64,
    },
    /// One after the other, then from the first again.
    Sequential,
    /// As the file says, then from its first line again; the other settings of the keys do not matter.
    Trace {
        /// The file: a key a line, or comma-separated with a header.
        path: PathBuf,
    },
}

/// When a load is over.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Length {
    /// After that many requests.
    Requests(u64),
    /// After that time.
    #[serde(serialize_with = "seconds", rename = "seconds")]
    For(Duration),
    /// As many requests as the trace has lines.
    Trace,
}

/// From `min` to `max`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span<T> {
    /// The least.
    pub min: T,
    /// The most.
    pub max: T,
}

impl<T: Copy> Span<T> {
    /// From a value to itself.
    pub fn of(value: T) -> Span<T> {
        Span { min: value, max: value }
    }
}

/// How sizes of values are distributed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
    /// The median of a log-normal distribution, as caches have it. Without it each size is as likely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median: Option<usize>,
}

impl Sizes {
    /// One size.
    pub fn of(bytes: usize) -> Sizes {
        Sizes { min: bytes, max: bytes, median: None }
    }

    /// Log-normal sizes. What is drawn beyond `max` becomes `max`.
    pub fn log_normal(median: usize, max: usize) -> Sizes {
        Sizes { min: 1, max, median: Some(median) }
    }

    /// Whether all values have the same size.
    pub fn is_one(&self) -> bool {
        self.min == self.max
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// `64`, `10-1000`, or `1024~1048576` for log-normal sizes with that median and that limit.
    fn from_str(text: &str) -> Result<Sizes, String> {
        let size = |text: &str| text.parse::<usize>().map_err(|_| format!("{text:?} is no number of bytes"));
        let sizes = if let Some((median, max)) = text.split_once('~') {
            Sizes::log_normal(size(median)?, size(max)?)
        } else if let Some((min, max)) = text.split_once('-') {
            Sizes { min: size(min)?, max: size(max)?, median: None }
        } else {
            Sizes::of(size(text)?)
        };
        let least = sizes.median.unwrap_or(sizes.min);
        if sizes.min <= least && least <= sizes.max {
            Ok(sizes)
        } else {
            Err("the first size must be the smaller one".to_owned())
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Sizes { max, median: Some(median), .. } => {
                write!(formatter, "log-normal sizes, median {median} bytes, at most {max}")
            }
            Sizes { min, max, .. } if min == max => write!(formatter, "{min} bytes"),
            Sizes { min, max, .. } => write!(formatter, "{min} to {max} bytes"),
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

//! What was measured, as it stands in the JSON beside a report. Everything else in a report is computed from it.

use serde::{Deserialize, Serialize};

use super::recipe::Durability;
use super::statistics::Spread;

/// The version of this layout.
pub const FORMAT: u32 = 1;

/// A comparison.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Results {
    /// The version of the layout; see [`FORMAT`].
    pub format: u32,
    /// Of the preset, or `compare`.
    pub name: String,
    /// The heading of the report.
    pub title: String,
    /// What a reader should know of it, a paragraph each.
    pub about: Vec<String>,
    /// The label of the contender that the others are divided by.
    pub baseline: String,
    /// Machine, date and the like: names and values, in order.
    pub facts: Vec<(String, String)>,
    /// How the comparison was called, without paths.
    pub command: String,
    /// What made the load, and how: names and values, in order.
    pub client: Vec<(String, String)>,
    /// How often each measurement was made.
    pub rounds: usize,
    /// Whether groups are missing, since the comparison is not over or has failed.
    #[serde(default)]
    pub is_partial: bool,
    /// What was measured, in order.
    pub groups: Vec<GroupResults>,
}

/// Servers that ran at the same time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct GroupResults {
    /// Its heading.
    pub title: String,
    /// What the servers promised of a write.
    pub durability: Durability,
    /// How many keys there were.
    pub keys: u64,
    /// Least and most.
    pub value_bytes: (usize, usize),
    /// Who took part.
    pub contenders: Vec<ContenderResults>,
    /// Its measurements, one for each load.
    pub cells: Vec<Cell>,
}

/// What a server cost besides the loads.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ContenderResults {
    /// As in the report.
    pub label: String,
    /// How it was started, with ports and paths left open.
    pub command: String,
    /// What it says of its version.
    pub version: String,
    /// Resident memory before the first key, with all keys, and the most of all; none of servers that ran already.
    pub memory: Option<Memory>,
    /// Values read and compared after the keys were written, after the last load, and after some were overwritten.
    pub checks: Vec<Check>,
    /// Where the keys had a time to live.
    pub expiry: Option<Expiry>,
    /// What was not as it is meant to be while it was prepared.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Memory {
    /// Before the first key.
    pub empty_bytes: u64,
    /// With all keys.
    pub filled_bytes: u64,
    /// The most until the last load.
    pub peak_bytes: u64,
}

impl Memory {
    /// What each of so many keys takes.
    pub fn bytes_per_key(&self, keys: u64) -> f64 {
        (self.filled_bytes as f64 - self.empty_bytes as f64) / keys as f64
    }
}

/// Values that were read to compare them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Check {
    /// Of the moment: `filled`, `end`, or `overwritten`.
    pub moment: String,
    /// How many were read.
    pub values: u64,
    /// How many were other values.
    pub wrong: u64,
    /// How many were not there.
    pub missing: u64,
    /// How many replies were errors.
    pub errors: u64,
    /// What the first complaint was about.
    pub first: Option<String>,
}

impl Check {
    /// Whether every value was there and right.
    pub fn is_right(&self) -> bool {
        self.wrong == 0 && self.missing == 0 && self.errors == 0
    }
}

/// How keys with a time to live went.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Expiry {
    /// From the moment when the last key was due until the server had none; below 0 where it was quicker than thought.
    pub lag_s: f64,
    /// How long allocators had to give memory back.
    pub waited_s: f64,
    /// Resident memory then.
    pub resident_bytes: Option<u64>,
}

/// One load, measured in rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Cell {
    /// The command, and what is special about the load.
    pub title: String,
    /// Requests that each client had under way.
    pub pipeline: usize,
    /// Connections.
    pub clients: usize,
    /// The measurements, in the order in which they were made.
    pub runs: Vec<Run>,
    /// Medians of the runs, for those who read the file: computed from them when it is written.
    #[serde(default)]
    pub summaries: Vec<Summary>,
}

/// One measurement of one server. Times are in the units that the names end with; a figure that could not be had is none.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Run {
    /// The contender's.
    pub label: String,
    /// Counted from 0.
    pub round: usize,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests answered each second.
    pub requests_per_s: f64,
    /// Processor time of the server and its children for one request, from when all connections were open until the last
    /// reply.
    pub cpu_us: Option<f64>,
    /// With what they did afterwards, until it was at rest.
    #[serde(alias = "settled_cpu_us")]
    pub total_cpu_us: Option<f64>,
    /// Bytes that the server wrote to devices, until it was at rest, for each byte of the values that were set; none where none were.
    #[serde(default)]
    pub written_per_set_byte: Option<f64>,
    /// Whether it came to rest in the time that it was given.
    pub rested: bool,
    /// The client's processor time for one request.
    pub client_cpu_us: Option<f64>,
    /// How long a reply took.
    pub latency_ms: Latency,
    /// Reads that found nothing.
    pub misses: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Slots that went from one node to another meanwhile, where they were made to.
    pub moved_slots: Option<u64>,
}

/// Percentiles of latency, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    pub p90: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99: Option<f64>,
    /// 999 of 1000 took no longer.
    pub p99_9: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

impl Latency {
    /// The names of the percentiles, in order.
    pub const NAMES: [&'static str; 5] = ["p50", "p90", "p99", "p99.9", "max"];

    /// In the order of their names.
    pub fn values(&self) -> [Option<f64>; 5] {
        [self.p50, self.p90, self.p99, self.p99_9, self.max]
    }
}

/// One server in one cell.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Summary {
    /// The contender's.
    pub label: String,
    /// Requests answered each second.
    pub requests_per_s: Spread,
    /// As [`Run::cpu_us`].
    pub cpu_us: Option<Spread>,
    /// As [`Run::total_cpu_us`].
    #[serde(alias = "settled_cpu_us")]
    pub total_cpu_us: Option<Spread>,
    /// As [`Run::written_per_set_byte`].
    #[serde(default)]
    pub written_per_set_byte: Option<Spread>,
    /// As [`Run::client_cpu_us`].
    pub client_cpu_us: Option<Spread>,
    /// In the order of [`Latency::NAMES`].
    pub latency_ms: [Option<Spread>; 5],
    /// The median over that of the baseline, where that takes part.
    pub ratio: Option<Ratio>,
}

/// Medians, divided by the baseline's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct Ratio {
    /// Above 1: more than the baseline.
    pub requests_per_s: Option<f64>,
    /// Below 1: less than the baseline.
    pub cpu_us: Option<f64>,
    /// Below 1: less than the baseline.
    #[serde(alias = "settled_cpu_us")]
    pub total_cpu_us: Option<f64>,
    /// Below 1: less than the baseline.
    pub p99: Option<f64>,
}

impl Cell {
    /// The labels in the order of the runs, and the medians of each.
    pub fn summarize(&self, baseline: &str) -> Vec<Summary> {
        let mut labels: Vec<&str> = Vec::new();
        for run in &self.runs {
            if !labels.contains(&run.label.as_str()) {
                labels.push(&run.label);
            }
        }
        let mut summaries: Vec<Summary> = labels.into_iter().filter_map(|label| self.summary(label)).collect();
        let base = summaries.iter().find(|summary| summary.label == baseline).cloned();
        if let Some(base) = base {
            for summary in &mut summaries {
                let ratio = |ours: Option<Spread>, theirs: Option<Spread>| ours?.ratio_to(&theirs?);
                summary.ratio = Some(Ratio {
                    requests_per_s: summary.requests_per_s.ratio_to(&base.requests_per_s),
                    cpu_us: ratio(summary.cpu_us, base.cpu_us),
                    total_cpu_us: ratio(summary.total_cpu_us, base.total_cpu_us),
                    p99: ratio(summary.latency_ms[2], base.latency_ms[2]),
                });
            }
        }
        summaries
    }

    fn summary(&self, label: &str) -> Option<Summary> {
        let runs: Vec<&Run> = self.runs.iter().filter(|run| run.label == label).collect();
        // A figure that one round lacks has no median.
        let spread = |figure: &dyn Fn(&Run) -> Option<f64>| {
            let values: Option<Vec<f64>> = runs.iter().map(|run| figure(run)).collect();
            values.and_then(Spread::of)
        };
        let mut latency_ms = [None; 5];
        for (index, latency) in latency_ms.iter_mut().enumerate() {
            *latency = spread(&|run| run.latency_ms.values()[index]);
        }
        Some(Summary {
            label: label.to_owned(),
            requests_per_s: spread(&|run| Some(run.requests_per_s))?,
            cpu_us: spread(&|run| run.cpu_us),
            total_cpu_us: spread(&|run| run.total_cpu_us),
            written_per_set_byte: spread(&|run| run.written_per_set_byte),
            client_cpu_us: spread(&|run| run.client_cpu_us),
            latency_ms,
            ratio: None,
        })
    }
}

impl Results {
    /// Computes what is computed from the runs.
    pub fn summarize(&mut self) {
        for cell in self.groups.iter_mut().flat_map(|group| &mut group.cells) {
            cell.summaries = cell.summarize(&self.baseline);
        }
    }

    /// What makes figures less comparable than they are meant to be, one line each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.is_partial {
            remarks.push("The comparison ended before all of its groups were measured.".to_owned());
        }
        for group in &self.groups {
            for contender in &group.contenders {
                let own = contender.remarks.iter();
                remarks.extend(own.map(|remark| format!("{}, {}: {remark}", contender.label, group.title)));
            }
            for cell in &group.cells {
                for run in cell.runs.iter().filter(|run| !run.rested) {
                    remarks.push(format!(
                        "{}, {}, {} c {} P {}, round {}: it did not come to rest afterwards, so that its CPU time until then \
                         is not all of it, and the next one was measured beside it",
                        run.label,
                        group.title,
                        cell.title,
                        cell.clients,
                        cell.pipeline,
                        run.round + 1
                    ));
                }
            }
        }
        remarks
    }

    /// What was wrong with replies, one line each; empty when all were right.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for group in &self.groups {
            for contender in &group.contenders {
                for check in contender.checks.iter().filter(|check| !check.is_right()) {
                    complaints.push(format!(
                        "{}, {} ({}): of {} values {} wrong, {} missing, {} errors; first: {}",
                        contender.label,
                        group.title,
                        check.moment,
                        check.values,
                        check.wrong,
                        check.missing,
                        check.errors,
                        check.first.as_deref().unwrap_or("-")
                    ));
                }
            }
            for cell in &group.cells {
                for run in cell.runs.iter().filter(|run| run.errors > 0) {
                    complaints.push(format!(
                        "{}, {}, {} P {}, round {}: {} errors, {} requests that were none",
                        run.label,
                        group.title,
                        cell.title,
                        cell.pipeline,
                        run.round + 1,
                        run.errors,
                        run.requests
                    ));
                }
            }
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(label: &str, requests_per_s: f64, cpu_us: Option<f64>) -> Run {
        Run {
            label: label.to_owned(),
            round: 0,
            requests: 1,
            requests_per_s,
            cpu_us,
            total_cpu_us: None,
            written_per_set_byte: None,
            rested: true,
            client_cpu_us: None,
            latency_ms: Latency { p99: Some(requests_per_s / 10.0), ..Latency::default() },
            misses: 0,
            errors: 0,
            moved_slots: None,
        }
    }

    fn cell(runs: Vec<Run>) -> Cell {
        Cell { title: "SET".to_owned(), pipeline: 1, clients: 1, runs, summaries: Vec::new() }
    }

    #[test]
    fn ratios_are_those_of_the_medians() {
        let runs =
            [("ours", 30.0), ("theirs", 10.0), ("ours", 90.0), ("theirs", 11.0), ("ours", 40.0), ("theirs", 1.0)];
        let cell = cell(runs.map(|(label, value)| run(label, value, Some(value * 2.0))).into());
        let summaries = cell.summarize("theirs");
        assert_eq!(summaries.iter().map(|summary| summary.label.as_str()).collect::<Vec<_>>(), ["ours", "theirs"]);
        let ratio = summaries[0].ratio.expect("a baseline");
        assert_eq!((ratio.requests_per_s, ratio.cpu_us, ratio.p99), (Some(4.0), Some(4.0), Some(4.0)));
        assert_eq!(ratio.total_cpu_us, None);
        assert_eq!(summaries[1].ratio.expect("a baseline").requests_per_s, Some(1.0));
        assert!(cell.summarize("nobody").iter().all(|summary| summary.ratio.is_none()));
    }

    #[test]
    fn a_figure_that_a_round_lacks_has_no_median() {
        let cell = cell(vec![run("ours", 1.0, Some(1.0)), run("ours", 2.0, None)]);
        let summaries = cell.summarize("ours");
        assert_eq!(summaries[0].cpu_us, None);
        assert_eq!(summaries[0].requests_per_s.median, 1.5);
    }

    #[test]
    fn who_did_not_come_to_rest_is_remarked() {
        let mut cell = cell(vec![run("ours", 1.0, None), run("theirs", 2.0, None)]);
        cell.runs[1].rested = false;
        let group = GroupResults {
            title: "a group".to_owned(),
            durability: Durability::None,
            keys: 1,
            value_bytes: (1, 1),
            contenders: Vec::new(),
            cells: vec![cell],
        };
        let results = Results {
            format: FORMAT,
            name: String::new(),
            title: String::new(),
            about: Vec::new(),
            baseline: String::new(),
            facts: Vec::new(),
            command: String::new(),
            client: Vec::new(),
            rounds: 1,
            is_partial: false,
            groups: vec![group],
        };
        let remarks = results.remarks();
        assert!(
            matches!(&remarks[..], [one] if one.starts_with("theirs, a group, SET c 1 P 1, round 1")),
            "{remarks:?}"
        );
    }

    #[test]
    fn memory_is_counted_by_key() {
        let memory = Memory { empty_bytes: 1000, filled_bytes: 3000, peak_bytes: 4000 };
        assert_eq!(memory.bytes_per_key(10), 200.0);
    }
}

//! What whoever waits gets to see, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::client::{self, Client};
use super::experiment::{Contender, Experiment, Group};
use super::results::Run;
use super::settings::Settings;

/// Estimates: what it takes to start a server, bring it to rest, twice, and compare its values; to write a key; and to bring a server to
/// rest after a measurement.
const START_S: f64 = 1.9;
const FILL_S: f64 = 3e-6;
const REST_S: f64 = 0.9;
/// The part of a measurement that a trial takes.
const TRIAL_SHARE: f64 = 0.3;

/// How far a comparison has come.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    is_terminal: bool,
    measured: usize,
    measurements: usize,
    rounds: usize,
    client: Client,
    give_back_s: f64,
    done_s: f64,
    total_s: f64,
    line: String,
}

impl Progress {
    /// Says how long it is going to take.
    pub fn new(experiment: &Experiment, settings: &Settings) -> Self {
        let measurements: usize =
            experiment.groups.iter().map(|group| group.contenders.len() * group.loads.len() * settings.rounds).sum();
        let servers: usize = experiment.groups.iter().map(|group| group.contenders.len()).sum();
        let total_s = estimate_s(experiment, settings);
        let plural = if servers == 1 { "" } else { "s" };
        let time = minutes(total_s);
        eprintln!("{}: {measurements} measurements of {servers} server{plural}, about {time}", experiment.name);
        Self {
            begun: Instant::now(),
            is_terminal: stderr().is_terminal(),
            measured: 0,
            measurements,
            rounds: settings.rounds,
            client: settings.client.clone(),
            give_back_s: settings.give_back.as_secs_f64(),
            done_s: 0.0,
            total_s,
            line: String::new(),
        }
    }

    /// What is done now.
    pub fn begin(&mut self, group: &str, label: &str, what: &str) {
        self.line = format!(
            "[{}/{}] {} left | {group} | {label}: {what}",
            self.measured,
            self.measurements,
            minutes(self.left_s())
        );
        if self.is_terminal {
            let mut stderr = stderr().lock();
            // A progress that cannot be shown is no reason to end.
            let _ = write!(stderr, "\r\x1b[K{}", self.line).and_then(|()| stderr.flush());
        }
    }

    /// One server more is started and filled.
    pub fn filled(&mut self, group: &Group) {
        self.done_s += fill_s(group, self.give_back_s);
        if !self.is_terminal {
            eprintln!("{}", self.line);
        }
    }

    /// One measurement more is there.
    pub fn measured(&mut self, run: &Run, contender: &Contender) {
        self.done_s += measurement_s(&self.client, self.rounds, contender);
        self.measured += 1;
        let cpu = run.cpu_us.map_or_else(String::new, |cpu_us| format!(", {cpu_us:.2} µs CPU"));
        let line = format!("{}: {:.0} requests/s{cpu}", self.line, run.requests_per_s);
        if self.is_terminal && self.measured < self.measurements {
            let mut stderr = stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
        } else {
            eprintln!("{}{line}", if self.is_terminal { "\r\x1b[K" } else { "" });
        }
    }

    /// The estimate, corrected by how long the part that is done has taken.
    fn left_s(&self) -> f64 {
        let left_s = (self.total_s - self.done_s).max(0.0);
        // At the beginning, the estimate counts more than what is known.
        let known_s = self.begun.elapsed().as_secs_f64();
        let ratio = (known_s + 10.0) / (self.done_s + 10.0);
        left_s * ratio
    }
}

fn estimate_s(experiment: &Experiment, settings: &Settings) -> f64 {
    let of_group = |group: &Group| -> f64 {
        let loads = (group.loads.len() * settings.rounds) as f64;
        let measured = group.contenders.iter().map(|one| measurement_s(&settings.client, settings.rounds, one) * loads);
        measured.sum::<f64>() + fill_s(group, settings.give_back.as_secs_f64()) * group.contenders.len() as f64
    };
    experiment.groups.iter().map(of_group).sum()
}

fn measurement_s(client: &Client, rounds: usize, contender: &Contender) -> f64 {
    let trial = if client.kind == client::Kind::RedisBenchmark { TRIAL_SHARE / rounds as f64 } else { 0.0 };
    client.duration_for(contender).as_secs_f64() * (1.0 + trial) + REST_S + contender.background_interval.as_secs_f64()
}

fn fill_s(group: &Group, give_back_s: f64) -> f64 {
    let waiting_s =
        group.fill_ttl_ms.map_or(0.0, |ttl_ms| Duration::from_millis(ttl_ms.max).as_secs_f64() + give_back_s);
    let slowest = group.contenders.iter().map(|one| one.background_interval.as_secs_f64()).fold(0.0, f64::max);
    // Servers are brought to rest twice.
    START_S + 2.0 * slowest / group.contenders.len().max(1) as f64 + group.keys as f64 * FILL_S + waiting_s
}

fn minutes(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chapters_together_take_less_than_ten_minutes() {
        use crate::compare::arguments::Arguments;
        use crate::compare::presets::Preset;
        use clap::{Parser, ValueEnum};
        let chapter_s = |preset: &Preset| {
            let name = preset.to_possible_value().expect("a name");
            let arguments = Arguments::parse_from(["compare", "--preset", name.get_name()]);
            let experiment = preset.experiment(&arguments.sweep().expect("servers")).expect("an experiment");
            estimate_s(&experiment, &arguments.settings(std::iter::empty()))
        };
        let chapters = Preset::value_variants().iter().filter(|preset| **preset != Preset::Sizes);
        let chapters_s: Vec<f64> = chapters.map(chapter_s).collect();
        // The estimate may err.
        assert!(chapters_s.iter().sum::<f64>() < 500.0, "{chapters_s:?}");
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(minutes(0.4), "0:00 min");
        assert_eq!(minutes(59.6), "1:00 min");
        assert_eq!(minutes(3_723.0), "62:03 min");
    }
}

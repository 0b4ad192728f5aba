//! The same random commands on redis-server and on the server under test: the replies must be equal.
//!
//! `ROCKPOOL_DIFFERENTIAL_SEQUENCES` is how many sequences of 10 to 40 commands are run, `ROCKPOOL_DIFFERENTIAL_SEED`
//! the seed of the first, chosen by chance and printed where it is not given; each next one has the next seed, so that
//! any of them can be run again alone.
//! `ROCKPOOL_DIFFERENTIAL_ONLY=SET,GET` limits the run to some commands.

mod commands;
mod compare;
mod grammar;
mod run;
#[path = "../support/mod.rs"]
mod support;

use grammar::Grammar;
use run::{Comparison, Sequence};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use support::{Engine, Redis, Server};

/// Distinct differences that are shrunk and shown before a run ends.
const MOST_DIFFERENCES: usize = 25;

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

const PASSWORD: &str = "secret";

/// Runs `count` sequences, those of `seed` and the seeds after it, and returns a report of each distinct difference
/// under its signature.
fn differences(
    reference: SocketAddr,
    subject: SocketAddr,
    password: Option<&'static str>,
    seed: u64,
    count: u64,
) -> BTreeMap<String, String> {
    let only = std::env::var("ROCKPOOL_DIFFERENTIAL_ONLY").unwrap_or_default();
    let only: Vec<String> = only.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let grammar = Grammar::new(&only);
    let mut comparison = Comparison::new(reference, subject);
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for seed in (0..count).map(|index| seed.wrapping_add(index)) {
        let sequence = Sequence::generate(&grammar, seed, password);
        let Some(difference) = comparison.run(&sequence) else { continue };
        if found.contains_key(&difference.signature()) {
            continue;
        }
        let (sequence, difference) = comparison.shrink(&sequence, difference);
        let report = format!(
            "ROCKPOOL_DIFFERENTIAL_SEED={seed} ROCKPOOL_DIFFERENTIAL_SEQUENCES=1, made as short as it gets:\n\
             {sequence}{difference}\n"
        );
        found.entry(difference.signature()).or_insert_with(|| {
            eprintln!("{report}");
            report
        });
        if found.len() == MOST_DIFFERENCES {
            break;
        }
    }
    found
}

/// The seed of the environment or a random one, and how many sequences.
fn seed_and_count(count_name: &str, default_count: u64) -> (u64, u64) {
    let seed = from_environment("ROCKPOOL_DIFFERENTIAL_SEED").unwrap_or_else(rand::random);
    let count = from_environment(count_name).unwrap_or(default_count);
    eprintln!("{count} sequences from ROCKPOOL_DIFFERENTIAL_SEED={seed}");
    (seed, count)
}

#[test]
fn replies_are_those_of_redis_server() {
    let (seed, count) = seed_and_count("ROCKPOOL_DIFFERENTIAL_SEQUENCES", 20_000);
    let redis = Redis::start();
    for &engine in Engine::all() {
        let server = Server::start(engine);
        let found = differences(redis.resp_address(), server.resp_address(), None, seed, count);
        assert!(found.is_empty(), "{engine:?}: {} distinct differences, shown above", found.len());
    }
}

#[test]
fn replies_are_those_of_redis_server_with_a_password() {
    let (seed, count) = seed_and_count("ROCKPOOL_DIFFERENTIAL_SEQUENCES", 2_000);
    let redis = Redis::start_with(&["--requirepass", PASSWORD]);
    for &engine in Engine::all() {
        let server = Server::options(engine).flag("--requirepass").flag(PASSWORD).start();
        let found = differences(redis.resp_address(), server.resp_address(), Some(PASSWORD), seed, count);
        assert!(found.is_empty(), "{engine:?}: {} distinct differences, shown above", found.len());
    }
}

#[test]
fn redis_server_agrees_with_itself() {
    let (seed, count) = seed_and_count("ROCKPOOL_DIFFERENTIAL_SELF_SEQUENCES", 300);
    for password in [None, Some(PASSWORD)] {
        let flags = password.map_or(vec![], |password| vec!["--requirepass", password]);
        let (reference, subject) = (Redis::start_with(&flags), Redis::start_with(&flags));
        let found = differences(reference.resp_address(), subject.resp_address(), password, seed, count);
        assert!(found.is_empty(), "the comparison itself depends on chance: {} differences, shown above", found.len());
    }
}

#[test]
fn a_difference_is_found_and_made_short() {
    let (reference, subject) = (Redis::start(), Redis::start_with(&["--databases", "8"]));
    let found = differences(reference.resp_address(), subject.resp_address(), None, 1, 200);
    let report = found.values().find(|report| report.to_uppercase().contains("SELECT 15"));
    let report = report.expect("SELECT 15 is tried and differs");
    assert!(report.contains("reference: +OK") && report.contains("ERR DB index is out of range"), "{report}");
    assert!(report.lines().count() <= 7, "one command is enough to show it:\n{report}");
}

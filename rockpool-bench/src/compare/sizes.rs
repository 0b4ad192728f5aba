//! Values of the sizes that caches have, from 64 bytes to a megabyte: each alone, a mix of them, and several keys a command.

use super::experiment::{Command, Experiment, Group, Load};
use super::failure::Failure;
use super::matrix::{Sweep, data_title};
use super::recipe::{Durability, Engine};
use crate::load::{Distribution, Sizes};

const KIB: usize = 1024;
const SIZES: [usize; 10] = [64, 256, 512, KIB, 2 * KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB];
const PIPELINES: [usize; 2] = [1, 16];
const CLIENTS: usize = 50;
/// All values of a server, which others hold beside it.
const DATA_BYTES: usize = 64 << 20;
const KEYS: std::ops::RangeInclusive<usize> = 64..=100_000;
/// The values of one batch on all connections, which both sides have in memory.
const UNDER_WAY_BYTES: usize = 256 << 20;
/// A cache's values: log-normal, most of them small and most of the bytes in large ones.
const MEDIAN_BYTES: usize = KIB;
const LARGEST_BYTES: usize = 1024 * KIB;
/// How many times the median the mean of such values is.
const MEAN_SHARE: usize = 3;
const READS: f64 = 0.8;
const EXPONENT: f64 = 0.99;
/// Of MGET and MSET.
const MANY_BYTES: usize = 64;

/// Every size, the mix, and several keys a command, with each durability.
///
/// # Errors
/// When no server can do what is asked for.
pub fn experiment(sweep: &Sweep) -> Result<Experiment, Failure> {
    let mut groups = Vec::new();
    for durability in sweep.durability(&[Durability::None, Durability::Everysec]) {
        for sizes in sweep.value_bytes(&SIZES) {
            let pipelines = pipelines(sizes.max);
            let loads = loads(sweep, &[Command::Set, Command::Get], &pipelines);
            groups.push(group(sweep, durability, (sizes, sizes.max), "", loads));
        }
        let mix = |pipeline| Load {
            reads: READS,
            distribution: Distribution::Zipf { exponent: EXPONENT },
            remark: format!("{:.0}% GET, Zipf {EXPONENT}", READS * 100.0),
            ..Load::new(Command::Mixed, pipeline, CLIENTS)
        };
        let sizes = Sizes::log_normal(MEDIAN_BYTES, LARGEST_BYTES);
        let has_mix = sweep.commands(&[Command::Mixed]).contains(&Command::Mixed);
        let mixes = if has_mix { sweep.pipelines(&PIPELINES).into_iter().map(mix).collect() } else { Vec::new() };
        groups.push(group(sweep, durability, (sizes, MEAN_SHARE * MEDIAN_BYTES), "", mixes));
        let loads = loads(sweep, &[Command::Mget, Command::Mset], &[16]);
        groups.push(group(sweep, durability, (Sizes::of(MANY_BYTES), MANY_BYTES), ", 10 a command", loads));
    }
    groups.retain(|group| !group.contenders.is_empty() && !group.loads.is_empty());
    Ok(Experiment {
        name: "sizes".to_owned(),
        title: "Values of all sizes, and several keys a command".to_owned(),
        about: vec![
            "Each size has as many keys as make some 64 MB, 100,000 at most and 64 at least. With P 16 as many requests are under \
             way on a connection as keep a batch of all connections below 256 MB. The mix has log-normal sizes with a median of \
             1 KB and at most 1 MB."
                .to_owned(),
        ],
        baseline: sweep.baseline("redis", &groups)?,
        groups,
    })
}

/// Loads of those of `commands` that the command line does not leave out.
fn loads(sweep: &Sweep, commands: &[Command], pipelines: &[usize]) -> Vec<Load> {
    let mut loads = sweep.loads(commands, pipelines, &[CLIENTS]);
    loads.retain(|load| commands.contains(&load.command));
    loads
}

/// Those that memory has room for, each once.
fn pipelines(largest_bytes: usize) -> Vec<usize> {
    let most = (UNDER_WAY_BYTES / (CLIENTS * largest_bytes.max(1))).max(1);
    let mut pipelines = PIPELINES.map(|pipeline| pipeline.min(most)).to_vec();
    pipelines.dedup();
    pipelines
}

fn group(
    sweep: &Sweep,
    durability: Durability,
    (sizes, mean_bytes): (Sizes, usize),
    remark: &str,
    loads: Vec<Load>,
) -> Group {
    let keys = (DATA_BYTES / mean_bytes.max(1)).clamp(*KEYS.start(), *KEYS.end()) as u64;
    let keys = sweep.keys(&[keys])[0].max(*KEYS.start() as u64);
    Group {
        title: format!("Durability {}; {}{remark}", durability.name(), data_title(keys, sizes)),
        durability,
        keys,
        value_bytes: sizes,
        contenders: sweep.contenders(durability, &[Engine::Memory, Engine::Rocksdb]),
        fill_ttl_ms: None,
        loads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_there_with_what_memory_allows() {
        let experiment = experiment(&Sweep::of(&["rockpool", "redis"])).expect("an experiment");
        assert_eq!(experiment.groups.len(), 2 * (SIZES.len() + 2));
        for group in &experiment.groups {
            assert!(group.loads.len() >= 2 && (64..=100_000).contains(&group.keys), "{}", group.title);
            for load in group.loads.iter().filter(|_| group.value_bytes.is_one()) {
                assert!(load.pipeline * load.clients * group.value_bytes.max <= UNDER_WAY_BYTES, "{}", group.title);
            }
        }
        assert_eq!((pipelines(64), pipelines(64 * KIB), pipelines(1024 * KIB)), (vec![1, 16], vec![1, 16], vec![1, 5]));
        let labels = |group: &Group| group.contenders.iter().map(|one| one.label.clone()).collect::<Vec<_>>();
        assert_eq!(labels(&experiment.groups[0]), ["rockpool memory", "rockpool rocksdb", "redis"]);
        assert_eq!(labels(&experiment.groups[SIZES.len() + 2]), ["rockpool rocksdb", "redis"]);
        let sweep = Sweep { commands: Some(vec![Command::Mget]), ..Sweep::of(&["rockpool"]) };
        let many = super::experiment(&sweep).expect("an experiment").groups;
        assert!(many.len() == 2 && many.iter().all(|group| group.loads.len() == 1), "{many:?}");
    }
}

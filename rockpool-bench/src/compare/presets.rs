//! The experiments of the book's chapters, on this server.

use std::time::Duration;

use clap::ValueEnum;

use super::experiment::{Command, Contender, Experiment, Group, Load, Origin};
use super::failure::Failure;
use super::matrix::{Sweep, data_title, with_commas};
use super::recipe::{Durability, Engine, Recipe};
use super::sizes;
use crate::load::Span;
use crate::wire::Protocol;

/// An experiment of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A cache in memory behind HTTP.
    Chapter1,
    /// HTTP, the book's TCP protocol and RESP.
    Chapter2,
    /// RocksDB and memory.
    Chapter3,
    /// Pipelining, from 1 to 100 requests.
    Chapter4,
    /// Writes in batches: how long they are gathered, and what is promised of them.
    Chapter5,
    /// Reads of more data than memory.
    Chapter6,
    /// Throughput of a cluster, by its number of nodes.
    Chapter7,
    /// A cluster while keys move between its nodes.
    Chapter8,
    /// Keys with a time to live, and the memory that they give back.
    Chapter9,
    /// No chapter: values from 64 bytes to a megabyte, a mix of sizes as caches have it, MGET and MSET.
    Sizes,
}

impl Preset {
    /// What is to be measured.
    ///
    /// # Errors
    /// When a server that it is about takes no part.
    pub fn experiment(self, sweep: &Sweep) -> Result<Experiment, Failure> {
        match self {
            Self::Chapter1 => chapter1(sweep),
            Self::Chapter2 => chapter2(sweep),
            Self::Chapter3 => chapter3(sweep),
            Self::Chapter4 => chapter4(sweep),
            Self::Chapter5 => chapter5(sweep),
            Self::Chapter6 => chapter6(sweep),
            Self::Chapter7 => chapter7(sweep),
            Self::Chapter8 => chapter8(sweep),
            Self::Chapter9 => chapter9(sweep),
            Self::Sizes => sizes::experiment(sweep),
        }
    }
}

/// The server that the chapters are about, and those that stand beside it.
fn subject(sweep: &Sweep) -> Result<(&Recipe, Vec<&Recipe>), Failure> {
    let subject = sweep.recipes.iter().find(|recipe| recipe.name == "rockpool");
    let subject = subject.ok_or_else(|| Failure::usage("the presets are about rockpool: it must take part"))?;
    if !(subject.has_engines() && subject.has_durability() && subject.has_all_protocols()) {
        return Err(Failure::usage("the presets need a rockpool whose command has all places"));
    }
    Ok((subject, sweep.recipes.iter().filter(|recipe| recipe.name != subject.name).collect()))
}

fn references<'a>(recipes: &[&'a Recipe], durability: Durability) -> impl Iterator<Item = Contender> + use<'a> {
    let able: Vec<&Recipe> =
        recipes.iter().copied().filter(|recipe| durability == Durability::None || recipe.has_durability()).collect();
    able.into_iter().map(|recipe| Contender::single(recipe, recipe.has_engines().then_some(Engine::Memory)))
}

fn over(mut contender: Contender, protocol: Protocol, label: &str) -> Contender {
    contender.protocol = protocol;
    contender.labelled(label)
}

/// One group for each number of keys and size of values.
fn groups(
    sweep: &Sweep,
    (keys, value_bytes): (&[u64], &[usize]),
    durability: Durability,
    contenders: &[Contender],
    loads: &[Load],
) -> Vec<Group> {
    let mut groups = Vec::new();
    for keys in sweep.keys(keys) {
        for value_bytes in sweep.value_bytes(value_bytes) {
            groups.push(Group {
                title: format!("Durability {}; {}", durability.name(), data_title(keys, value_bytes)),
                durability,
                keys,
                value_bytes,
                contenders: contenders.to_vec(),
                fill_ttl_ms: None,
                loads: loads.to_vec(),
            });
        }
    }
    groups
}

fn experiment(
    sweep: &Sweep,
    (chapter, title): (u32, &str),
    about: &[&str],
    baseline: &str,
    groups: Vec<Group>,
) -> Result<Experiment, Failure> {
    Ok(Experiment {
        name: format!("chapter{chapter}"),
        title: format!("Chapter {chapter}: {title}"),
        about: about.iter().map(|paragraph| (*paragraph).to_owned()).collect(),
        baseline: sweep.baseline(baseline, &groups)?,
        groups,
    })
}

fn chapter1(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let memory = Contender::single(subject, Some(Engine::Memory));
    let mut contenders = vec![over(memory, Protocol::Http, "rockpool HTTP")];
    contenders.extend(references(&others, Durability::None));
    let loads = sweep.loads(&[Command::Set, Command::Get], &[1], &[1, 10, 50]);
    let groups = groups(sweep, (&[100_000], &[1_000]), Durability::None, &contenders, &loads);
    let about = [
        "The book's first server is a map behind HTTP. Here the memory engine is asked by REST, PUT and GET of \
         /cache/KEY, one request at a time on connections that stay open. Other servers stand beside it as a reference, over \
         RESP: the difference is mostly the protocol's.",
    ];
    experiment(sweep, (1, "a cache behind HTTP"), &about, "redis", groups)
}

fn chapter2(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let memory = || Contender::single(subject, Some(Engine::Memory));
    let mut contenders = vec![
        over(memory(), Protocol::Http, "rockpool HTTP"),
        over(memory(), Protocol::Book, "rockpool TCP"),
        over(memory(), Protocol::Resp, "rockpool RESP"),
    ];
    contenders.extend(references(&others, Durability::None));
    let loads = sweep.loads(&[Command::Set, Command::Get], &[1, 16], &[50]);
    let groups = groups(sweep, (&[100_000], &[1_000]), Durability::None, &contenders, &loads);
    let about = [
        "The same memory engine behind three protocols: REST, the book's length-prefixed TCP protocol, and RESP; P 16 is \
         pipelining, which HTTP/1.1 has, too. Each protocol has a server process of its own.",
    ];
    experiment(sweep, (2, "HTTP, TCP, RESP"), &about, "rockpool RESP", groups)
}

fn chapter3(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let mut all = Vec::new();
    for durability in sweep.durability(&[Durability::None, Durability::Everysec]) {
        let engines = sweep.engines(&[Engine::Memory, Engine::Rocksdb]);
        let keeping = engines.into_iter().filter(|engine| engine.keeps(durability));
        let mut contenders: Vec<Contender> = keeping.map(|engine| Contender::single(subject, Some(engine))).collect();
        contenders.extend(references(&others, durability));
        let loads = sweep.loads(&[Command::Set, Command::Get], &[1, 16], &[50]);
        all.extend(groups(sweep, (&[100_000], &[1_000]), durability, &contenders, &loads));
    }
    let about = [
        "The book asks whether a cache on RocksDB can be as fast as one in memory. Both engines, without a journal (none) and, \
         where there is one, with it (everysec); every key is in memory while it is read.",
    ];
    experiment(sweep, (3, "RocksDB and memory"), &about, "redis", all)
}

fn chapter4(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let memory = || Contender::single(subject, Some(Engine::Memory));
    let mut contenders =
        vec![over(memory(), Protocol::Book, "rockpool TCP"), over(memory(), Protocol::Resp, "rockpool RESP")];
    contenders.extend(references(&others, Durability::None));
    let loads = sweep.loads(&[Command::Set, Command::Get], &[1, 2, 5, 10, 20, 50, 100], &[50]);
    let groups = groups(sweep, (&[100_000], &[64]), Durability::None, &contenders, &loads);
    let about = [
        "How many requests a client sends before it reads, from 1 to 100: the memory engine over the book's protocol and \
         RESP.",
    ];
    experiment(sweep, (4, "pipelining"), &about, "redis", groups)
}

fn chapter5(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let rocksdb = || Contender::single(subject, Some(Engine::Rocksdb));
    let mut all = Vec::new();
    for durability in sweep.durability(&[Durability::None, Durability::Everysec, Durability::Always]) {
        let mut contenders = Vec::new();
        for interval_ms in [1, 10, 100, 500, 2_000] {
            let label = format!("rockpool, merge {interval_ms} ms");
            let contender = rocksdb().with(&["--merge-interval", &interval_ms.to_string()]).labelled(label);
            contenders.push(contender.working_every(Duration::from_millis(interval_ms)));
        }
        contenders.extend(references(&others, durability));
        let loads = sweep.loads(&[Command::Set], &[1, 16], &[50]);
        all.extend(groups(sweep, (&[100_000], &[64]), durability, &contenders, &loads));
    }
    let about = [
        "The book gathers writes until there are a hundred, or a second has passed, and gives them to RocksDB as one batch. \
         Here what has changed is merged into RocksDB every merge-interval, or up to ten of them while writes go on and merges \
         take long, a key that changed many times once; the journal acknowledges meanwhile, as appendfsync says. The longer \
         the interval, the more overwriting of the same keys is spared: see the CPU time until at rest. A measurement lasts three intervals at least.",
    ];
    experiment(sweep, (5, "batched writes"), &about, "redis", all)
}

fn chapter6(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let mut contenders = Vec::new();
    let limit = if sweep.quick { "16mb" } else { "64mb" };
    for (threads, label) in
        [("0", "rockpool, the worker reads"), ("1", "rockpool, 1 loader thread"), ("2", "rockpool, 2 loader threads")]
    {
        let flags = ["--maxmemory", limit, "--loader-threads", threads];
        contenders.push(Contender::single(subject, Some(Engine::Rocksdb)).with(&flags).labelled(label));
    }
    contenders.extend(references(&others, Durability::None));
    let loads = sweep.loads(&[Command::Get, Command::Mixed], &[1, 16], &[1, 50]);
    let mut groups = groups(sweep, (&[300_000], &[1_000]), Durability::None, &contenders, &loads);
    for group in &mut groups {
        group.title = format!("{} and maxmemory {limit}", group.title);
    }
    let about = [
        "More data than memory: most reads have to go to RocksDB, on loader threads, while connections whose keys are in memory \
         go on. Other servers hold everything in memory: that is what the data would cost there.",
        "Before its chapter 6 the book's server read on the thread that serves the connection, and so does this one without loader \
         threads (the worker reads): all other connections of the worker wait. With pipelining, the cold keys of a batch are read \
         together either way; with 50 connections, those of all that wait are, and reads overlap with what is in memory.",
        "What RocksDB reads may be in the page cache of the system, so a cold read is not always one of the device.",
    ];
    experiment(sweep, (6, "asynchronous reads"), &about, "redis", groups)
}

/// Nodes of a Redis Cluster, one process each.
fn cluster_of(recipe: &Recipe, nodes: usize) -> Contender {
    let mut recipe = recipe.clone();
    for argument in ["--cluster-enabled", "yes", "--cluster-port", "{cluster_port}"] {
        recipe.push(argument);
    }
    let label = format!("{}, {nodes} {}", recipe.name, if nodes == 1 { "node" } else { "nodes" });
    let origin = Origin::Started { recipe, engine: None, nodes, cluster: true };
    Contender { label, origin, protocol: Protocol::Resp, background_interval: Duration::ZERO }
}

/// What there is to form a cluster of.
fn with_cluster(sweep: &Sweep) -> Result<Vec<&Recipe>, Failure> {
    let able: Vec<&Recipe> =
        sweep.recipes.iter().filter(|recipe| ["redis", "valkey"].contains(&recipe.name.as_str())).collect();
    if able.is_empty() && sweep.cluster.is_empty() {
        return Err(Failure::usage(
            "rockpool has no cluster yet: name the nodes of one that runs by --cluster, or let redis or valkey take part",
        ));
    }
    Ok(able)
}

const NO_CLUSTER: &str = "Rockpool has no cluster yet, so it does not take part. What is measured is the cluster of another \
    server, as what there will be to compare with, or one that ran already and was named by --cluster.";

fn running(sweep: &Sweep) -> Option<Contender> {
    let addresses = sweep.cluster.clone();
    let label = "the cluster that was named".to_owned();
    (!addresses.is_empty()).then_some(Contender {
        label,
        origin: Origin::Running { addresses },
        protocol: Protocol::Resp,
        background_interval: Duration::ZERO,
    })
}

fn chapter7(sweep: &Sweep) -> Result<Experiment, Failure> {
    let mut contenders = Vec::new();
    for recipe in with_cluster(sweep)? {
        contenders.extend([1, 2, 3].map(|nodes| cluster_of(recipe, nodes)));
    }
    contenders.extend(running(sweep));
    let loads = sweep.loads(&[Command::Set, Command::Get], &[1, 16], &[50]);
    let groups = groups(sweep, (&[100_000], &[64]), Durability::None, &contenders, &loads);
    let about = [
        NO_CLUSTER,
        "Every node is a process on this machine, and shares its CPUs with the others and the client: with as many CPUs as here, \
         more nodes can be faster only until the CPUs are used up. The client asks the node that serves a key, over that many \
         connections to each node.",
    ];
    experiment(sweep, (7, "cluster scaling"), &about, "redis, 1 node", groups)
}

fn chapter8(sweep: &Sweep) -> Result<Experiment, Failure> {
    let mut contenders: Vec<Contender> = with_cluster(sweep)?.into_iter().map(|recipe| cluster_of(recipe, 2)).collect();
    let can_move = !contenders.is_empty();
    contenders.extend(running(sweep).filter(|_| !can_move));
    let mut loads = Vec::new();
    for load in sweep.loads(&[Command::Get, Command::Mixed], &[1, 16], &[10]) {
        loads.push(Load { remark: "at rest".to_owned(), ..load.clone() });
        if can_move {
            loads.push(Load { remark: "while slots move".to_owned(), moving: true, ..load });
        }
    }
    let groups = groups(sweep, (&[100_000], &[64]), Durability::None, &contenders, &loads);
    let about = [
        NO_CLUSTER,
        "In the second load of each pair, slots go from the first node to the second and back all the time, each with its keys, by \
         the commands that redis-cli --cluster reshard uses too. Errors and misses are counted; that the slots go back \
         to where they were, afterwards, is in the time until at rest. A cluster that was named by --cluster is measured as it is, \
         and only if no other takes part: what moves in it is up to whoever runs it.",
    ];
    experiment(sweep, (8, "rebalancing"), &about, "redis, 2 nodes", groups)
}

/// A lifetime that no measurement outlasts, and one that it waits for.
const LONG_TTL_MS: u64 = 3_600_000;
const SHORT_TTL_MS: Span<u64> = Span { min: 6_000, max: 12_000 };

fn chapter9(sweep: &Sweep) -> Result<Experiment, Failure> {
    let (subject, others) = subject(sweep)?;
    let engines = sweep.engines(&[Engine::Memory, Engine::Rocksdb]);
    let mut contenders: Vec<Contender> =
        engines.into_iter().map(|engine| Contender::single(subject, Some(engine))).collect();
    contenders.extend(references(&others, Durability::None));
    let mut loads = Vec::new();
    for load in sweep.loads(&[Command::Set], &[1, 16], &[50]) {
        loads.push(Load { remark: "without TTL".to_owned(), ..load.clone() });
        let ttl_ms = Some(Span::of(LONG_TTL_MS));
        loads.push(Load { remark: "with a TTL of an hour".to_owned(), ttl_ms, ..load });
    }
    let mut all = groups(sweep, (&[100_000], &[64]), Durability::None, &contenders, &loads);
    let expiring = if sweep.quick { Span { min: 500, max: 1_000 } } else { SHORT_TTL_MS };
    for mut group in groups(sweep, (&[1_000_000], &[64]), Durability::None, &contenders, &[]) {
        let keys = with_commas(group.keys);
        group.title = format!("{keys} keys that live {} to {} s", expiring.min as f64 / 1e3, expiring.max as f64 / 1e3);
        group.fill_ttl_ms = Some(expiring);
        all.push(group);
    }
    let about = [
        "SETs without and with a time to live; and keys that all expire within a few seconds: how long after the last one was due \
         DBSIZE is 0, and how much memory is resident some seconds later: allocators take their time to give it back.",
    ];
    experiment(sweep, (9, "time to live"), &about, "redis", all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_every_preset_has_the_baseline() {
        for preset in Preset::value_variants() {
            let experiment = preset.experiment(&Sweep::of(&["rockpool", "redis"])).expect("an experiment");
            assert!(!experiment.groups.is_empty() && !experiment.about.is_empty());
            for group in &experiment.groups {
                let labels: Vec<&str> = group.contenders.iter().map(|contender| contender.label.as_str()).collect();
                assert!(labels.contains(&experiment.baseline.as_str()), "{preset:?}: {labels:?}");
                assert!((1..labels.len()).all(|at| !labels[..at].contains(&labels[at])), "{preset:?}: {labels:?}");
                assert_eq!(group.fill_ttl_ms.is_some(), group.loads.is_empty(), "{preset:?}");
            }
        }
    }

    #[test]
    fn without_others_the_chapters_about_one_node_are_about_rockpool_alone() {
        for preset in Preset::value_variants() {
            let is_about_clusters = matches!(preset, Preset::Chapter7 | Preset::Chapter8);
            assert_eq!(preset.experiment(&Sweep::of(&["rockpool"])).is_err(), is_about_clusters, "{preset:?}");
        }
        let mut sweep = Sweep::of(&["rockpool"]);
        sweep.cluster = vec![([127, 0, 0, 1], 7000).into()];
        let experiment = Preset::Chapter7.experiment(&sweep).expect("an experiment");
        assert_eq!(experiment.baseline, "the cluster that was named");
    }
}

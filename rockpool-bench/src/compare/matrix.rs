//! The lists of the command line, and the matrix that they span.

use std::net::SocketAddr;

use super::experiment::{Command, Contender, Experiment, Group, Load};
use super::failure::Failure;
use super::recipe::{Durability, Engine, Recipe};
use crate::load::{Distribution, Sizes};

/// `--quick` measures on a hundredth of the keys.
const QUICK_SHARE: u64 = 100;

/// What the command line says of what is to be measured. Lists that it leaves out are those of whoever asks.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Who takes part, in order.
    pub recipes: Vec<Recipe>,
    /// A cluster that runs already.
    pub cluster: Vec<SocketAddr>,
    /// Engines, of servers that have the choice.
    pub engines: Option<Vec<Engine>>,
    /// Promises of a write that was acknowledged.
    pub durability: Option<Vec<Durability>>,
    /// Commands.
    pub commands: Option<Vec<Command>>,
    /// Numbers of requests that a connection has under way.
    pub pipelines: Option<Vec<usize>>,
    /// Numbers of keys.
    pub keys: Option<Vec<u64>>,
    /// Sizes of values, in bytes.
    pub value_bytes: Option<Vec<Sizes>>,
    /// Numbers of connections.
    pub clients: Option<Vec<usize>>,
    /// The share of GETs in mixed loads, from 0 to 1.
    pub reads: f64,
    /// How often each key is asked for.
    pub distribution: Distribution,
    /// The label that the others are divided by.
    pub baseline: Option<String>,
    /// Whether a hundredth of the keys is enough.
    pub quick: bool,
}

#[cfg(test)]
impl Sweep {
    /// Of servers that are known, with nothing else said.
    pub fn of(servers: &[&str]) -> Sweep {
        Sweep {
            recipes: servers.iter().map(|name| Recipe::known(name).expect("known")).collect(),
            cluster: Vec::new(),
            engines: None,
            durability: None,
            commands: None,
            pipelines: None,
            keys: None,
            value_bytes: None,
            clients: None,
            reads: 0.9,
            distribution: Distribution::Uniform,
            baseline: None,
            quick: false,
        }
    }
}

/// What is given, each value once, or else `default`.
fn or<T: Clone + PartialEq>(given: Option<&Vec<T>>, default: &[T]) -> Vec<T> {
    let mut values: Vec<T> = Vec::new();
    for value in given.map_or(default, Vec::as_slice) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}

impl Sweep {
    /// What the command line says, or else `default`.
    pub fn engines(&self, default: &[Engine]) -> Vec<Engine> {
        or(self.engines.as_ref(), default)
    }

    /// What the command line says, or else `default`.
    pub fn durability(&self, default: &[Durability]) -> Vec<Durability> {
        or(self.durability.as_ref(), default)
    }

    /// What the command line says, or else `default`.
    pub fn commands(&self, default: &[Command]) -> Vec<Command> {
        or(self.commands.as_ref(), default)
    }

    /// What the command line says, or else `default`.
    pub fn pipelines(&self, default: &[usize]) -> Vec<usize> {
        or(self.pipelines.as_ref(), default)
    }

    /// What the command line says, or else `default`, or a hundredth of it to try it out.
    pub fn keys(&self, default: &[u64]) -> Vec<u64> {
        let default: Vec<u64> =
            default.iter().map(|keys| if self.quick { (keys / QUICK_SHARE).max(1) } else { *keys }).collect();
        or(self.keys.as_ref(), &default)
    }

    /// What the command line says, or else `default`.
    pub fn value_bytes(&self, default: &[usize]) -> Vec<Sizes> {
        let default: Vec<Sizes> = default.iter().map(|bytes| Sizes::of(*bytes)).collect();
        or(self.value_bytes.as_ref(), &default)
    }

    /// What the command line says, or else `default`.
    pub fn clients(&self, default: &[usize]) -> Vec<usize> {
        or(self.clients.as_ref(), default)
    }

    /// A load as the command line says of its keys.
    pub fn load(&self, command: Command, pipeline: usize, clients: usize) -> Load {
        let remark = match &self.distribution {
            Distribution::Zipf { exponent } => format!("Zipf {exponent}"),
            _ => String::new(),
        };
        let distribution = self.distribution.clone();
        Load { reads: self.reads, distribution, remark, ..Load::new(command, pipeline, clients) }
    }

    /// Every combination of what the command line says, or else of these.
    pub fn loads(&self, commands: &[Command], pipelines: &[usize], clients: &[usize]) -> Vec<Load> {
        let mut loads = Vec::new();
        for clients in self.clients(clients) {
            for pipeline in self.pipelines(pipelines) {
                for command in self.commands(commands) {
                    loads.push(self.load(command, pipeline, clients));
                }
            }
        }
        loads
    }

    /// Servers that can promise `durability`, each with those of the engines that can.
    pub fn contenders(&self, durability: Durability, engines: &[Engine]) -> Vec<Contender> {
        let mut contenders = Vec::new();
        for recipe in &self.recipes {
            if durability != Durability::None && !recipe.has_durability() {
                continue;
            }
            if recipe.has_engines() {
                let keeping = self.engines(engines).into_iter().filter(|engine| engine.keeps(durability));
                contenders.extend(keeping.map(|engine| Contender::single(recipe, Some(engine))));
            } else {
                contenders.push(Contender::single(recipe, None));
            }
        }
        contenders
    }

    /// The label that the others are divided by: what the command line says, or else `default` if it takes part, or
    /// else the first.
    ///
    /// # Errors
    /// When who was named takes no part.
    pub fn baseline(&self, default: &str, groups: &[Group]) -> Result<String, Failure> {
        let mut labels: Vec<&str> = Vec::new();
        for contender in groups.iter().flat_map(|group| &group.contenders) {
            if !labels.contains(&contender.label.as_str()) {
                labels.push(&contender.label);
            }
        }
        let named = self.baseline.as_deref();
        match named.or_else(|| labels.contains(&default).then_some(default)).or_else(|| labels.first().copied()) {
            Some(label) if labels.contains(&label) => Ok(label.to_owned()),
            Some(label) => {
                Err(Failure::usage(format!("the baseline {label:?} takes no part; {} do", labels.join(", "))))
            }
            None => Err(Failure::usage("no server can do what is asked for")),
        }
    }
}

/// How many keys of which size, as in a heading.
pub fn data_title(keys: u64, value_bytes: Sizes) -> String {
    format!("{} keys, values of {value_bytes}", with_commas(keys))
}

/// 1234567 as 1,234,567.
pub fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The whole matrix.
///
/// # Errors
/// When nobody can do what is asked for.
pub fn experiment(sweep: &Sweep) -> Result<Experiment, Failure> {
    let mut groups = Vec::new();
    for durability in sweep.durability(&[Durability::None, Durability::Everysec, Durability::Always]) {
        for keys in sweep.keys(&[100_000, 1_000_000]) {
            for value_bytes in sweep.value_bytes(&[64]) {
                groups.push(Group {
                    title: format!("Durability {}; {}", durability.name(), data_title(keys, value_bytes)),
                    durability,
                    keys,
                    value_bytes,
                    contenders: sweep.contenders(durability, &[Engine::Memory, Engine::Rocksdb]),
                    fill_ttl_ms: None,
                    loads: sweep.loads(&[Command::Set, Command::Get], &[1, 16, 64], &[50]),
                });
            }
        }
    }
    groups.retain(|group| !group.contenders.is_empty());
    let names: Vec<&str> = sweep.recipes.iter().map(|recipe| recipe.name.as_str()).collect();
    Ok(Experiment {
        name: "compare".to_owned(),
        title: format!("{} side by side", names.join(", ")),
        about: vec![
            "Durability is what a server promises of a write that it has acknowledged: none (no journal, no AOF), everysec \
             (appendfsync everysec) or always (appendfsync always). The memory engine promises nothing, and stands under none \
             alone."
                .to_owned(),
        ],
        baseline: sweep.baseline("redis", &groups)?,
        groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(group: &Group) -> Vec<&str> {
        group.contenders.iter().map(|contender| contender.label.as_str()).collect()
    }

    #[test]
    fn the_standard_matrix_has_every_cell() {
        let experiment = experiment(&Sweep::of(&["rockpool", "redis"])).expect("a matrix");
        assert_eq!(experiment.baseline, "redis");
        assert_eq!(experiment.groups.len(), 6);
        assert_eq!(labels(&experiment.groups[0]), ["rockpool memory", "rockpool rocksdb", "redis"]);
        assert_eq!(labels(&experiment.groups[2]), ["rockpool rocksdb", "redis"]);
        assert!(experiment.groups.iter().all(|group| group.loads.len() == 6));
    }

    #[test]
    fn a_server_without_a_choice_stands_where_nothing_is_promised() {
        let mut sweep = Sweep::of(&["redis"]);
        sweep.recipes.push("plain=server {port}".parse().expect("a recipe"));
        sweep.durability = Some(vec![Durability::None, Durability::Always]);
        sweep.keys = Some(vec![10]);
        let experiment = experiment(&sweep).expect("a matrix");
        assert_eq!(labels(&experiment.groups[0]), ["redis", "plain"]);
        assert_eq!(labels(&experiment.groups[1]), ["redis"]);
    }

    #[test]
    fn the_baseline_takes_part() {
        let mut sweep = Sweep::of(&["rockpool"]);
        assert_eq!(experiment(&sweep).expect("a matrix").baseline, "rockpool memory");
        sweep.baseline = Some("rockpool rocksdb".to_owned());
        assert_eq!(experiment(&sweep).expect("a matrix").baseline, "rockpool rocksdb");
        sweep.baseline = Some("redis".to_owned());
        assert!(experiment(&sweep).is_err());
    }

    #[test]
    fn what_nobody_can_do_is_refused() {
        let mut sweep = Sweep::of(&["rockpool"]);
        sweep.engines = Some(vec![Engine::Memory]);
        sweep.durability = Some(vec![Durability::Always]);
        assert!(experiment(&sweep).is_err());
    }

    #[test]
    fn large_numbers_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(with_commas(number), text);
        }
    }
}

//! What a comparison consists of: who takes part, and which loads they are put to.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::recipe::{Durability, Engine, Recipe};
use crate::load::{Distribution, Operation, Sizes, Span};
use crate::wire::Protocol;

/// A whole comparison: groups of servers that run at the same time, each with its loads.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Of the preset, or `compare`.
    pub name: String,
    /// The heading of the report.
    pub title: String,
    /// What a reader should know of it, a paragraph each.
    pub about: Vec<String>,
    /// The label of the contender that the others are divided by.
    pub baseline: String,
    /// What is measured, one group after the other.
    pub groups: Vec<Group>,
}

/// Servers that are measured in turns, on keys that are there before the first measurement.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its heading in the report.
    pub title: String,
    /// What the servers promise of a write.
    pub durability: Durability,
    /// How many keys there are.
    pub keys: u64,
    /// The size of a value, in bytes.
    pub value_bytes: Sizes,
    /// Who takes part.
    pub contenders: Vec<Contender>,
    /// The keys are written with this time to live, in milliseconds; then nothing is measured on them but how they go.
    pub fill_ttl_ms: Option<Span<u64>>,
    /// What is measured, in order.
    pub loads: Vec<Load>,
}

/// A server as it takes part: one recipe may take part in several ways.
#[derive(Clone, Debug)]
pub struct Contender {
    /// As in the report.
    pub label: String,
    /// Whether it is started here.
    pub origin: Origin,
    /// The protocol it is asked by.
    pub protocol: Protocol,
    /// How long its background work may wait until it begins anew; zero where that is not known to matter. It is at
    /// rest when it is quiet for longer, and a measurement spans several of them.
    pub background_interval: Duration,
}

/// Where a server comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The comparison starts it, and ends it.
    Started {
        recipe: Recipe,
        engine: Option<Engine>,
        /// How many processes of it share the keys.
        nodes: usize,
        /// Whether they are a Redis Cluster; a single node may be one, too.
        cluster: bool,
    },
    /// The nodes of a cluster that runs already: its processes are not looked at.
    Running { addresses: Vec<SocketAddr> },
}

impl Contender {
    /// A single server that the comparison starts; `label` is its name, with its engine if it has a choice.
    pub fn single(recipe: &Recipe, engine: Option<Engine>) -> Self {
        let label = match engine {
            Some(engine) => format!("{} {}", recipe.name, engine.name()),
            None => recipe.name.clone(),
        };
        let origin = Origin::Started { recipe: recipe.clone(), engine, nodes: 1, cluster: false };
        Self { label, origin, protocol: Protocol::Resp, background_interval: Duration::ZERO }
    }

    /// The same with one more argument for its command.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        if let Origin::Started { recipe, .. } = &mut self.origin {
            for argument in arguments {
                recipe.push(argument);
            }
        }
        self
    }

    /// The same, known to work in the background every `interval`.
    #[must_use]
    pub fn working_every(mut self, interval: Duration) -> Self {
        self.background_interval = interval;
        self
    }

    /// The same under another label.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Whether clients have to ask the node that serves a key.
    pub fn is_cluster(&self) -> bool {
        match &self.origin {
            Origin::Started { cluster, .. } => *cluster,
            Origin::Running { .. } => true,
        }
    }
}

/// What a client sends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// SET.
    Set,
    /// GET.
    Get,
    /// MGET of 10 keys.
    Mget,
    /// MSET of 10 keys.
    Mset,
    /// GETs and SETs, see `--reads`.
    Mixed,
}

impl Command {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Get => "GET",
            Self::Mget => "MGET 10",
            Self::Mset => "MSET 10",
            Self::Mixed => "mixed",
        }
    }
}

/// One load that every contender of a group is put to.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is sent.
    pub command: Command,
    /// The share of GETs in a mixed one, from 0 to 1.
    pub reads: f64,
    /// Requests that a client has under way.
    pub pipeline: usize,
    /// Connections.
    pub clients: usize,
    /// How often each key is asked for.
    pub distribution: Distribution,
    /// What is written lives so long, in milliseconds.
    pub ttl_ms: Option<Span<u64>>,
    /// Slots of the cluster go from node to node meanwhile.
    pub moving: bool,
    /// What else a reader should know of it: stands behind the command in the report.
    pub remark: String,
}

impl Load {
    /// On uniformly random keys, what is written without a time to live.
    pub fn new(command: Command, pipeline: usize, clients: usize) -> Self {
        let distribution = Distribution::Uniform;
        Self {
            command,
            reads: 0.9,
            pipeline,
            clients,
            distribution,
            ttl_ms: None,
            moving: false,
            remark: String::new(),
        }
    }

    /// For the generator.
    pub fn operation(&self) -> Operation {
        match self.command {
            Command::Set => Operation::Set,
            Command::Get => Operation::Get,
            Command::Mget => Operation::Mget,
            Command::Mset => Operation::Mset,
            Command::Mixed => Operation::Mixed { reads: self.reads },
        }
    }

    /// Whether it may change values.
    pub fn writes(&self) -> bool {
        !matches!(self.command, Command::Get | Command::Mget)
    }

    /// The command with the remark, as in the report.
    pub fn title(&self) -> String {
        format!("{} {}", self.command.name(), self.remark).trim().to_owned()
    }
}

//! The flags of `rockpool-bench compare` and `rockpool-bench report`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use super::client::{Client, Kind};
use super::cpus::Cpus;
use super::experiment::Command;
use super::failure::Failure;
use super::matrix::Sweep;
use super::presets::Preset;
use super::recipe::{Durability, Engine, Recipe};
use super::settings::Settings;
use crate::load::{Distribution, Sizes};

/// Values that are compared in a check, unless there are fewer.
const CHECK_VALUES: u64 = 20_000;
const ROUNDS: usize = 3;
const SECONDS: f64 = 0.8;
const QUICK_SECONDS: f64 = 0.25;
/// There are nine chapters, which are to take less than ten minutes together.
const PRESET_ROUNDS: usize = 1;
const PRESET_SECONDS: f64 = 0.4;
/// jemalloc gives back what it does not need within ten seconds.
const GIVE_BACK: Duration = Duration::from_secs(12);
const QUICK_GIVE_BACK: Duration = Duration::from_secs(1);

/// Starts servers side by side, puts them in turns to the same loads, and reports what they did and what it cost.
///
/// Each list of a flag makes the matrix larger: every server with every engine, with every durability it can promise, every number
/// of keys, value size, number of clients, depth of pipelining and command.
#[derive(Clone, Debug, Parser)]
#[command(name = "rockpool-bench compare", version)]
pub struct Arguments {
    /// Who takes part, of those that need no command: rockpool, redis, valkey; NAME=PATH for another program of one of them, known
    /// by what the file is called: redis8=/opt/redis8/redis-server.
    #[arg(long, value_delimiter = ',', default_value = "rockpool,redis")]
    servers: Vec<String>,
    /// One more server, by the command that starts it in the foreground; any number of times. It has places for what
    /// the comparison chooses: {port} for RESP, {dir}, and where the server knows them {http_port}, {tcp_port}, {cluster_port},
    /// {engine}, {appendonly}, {appendfsync}. Without the last two it stands where no durability is asked for.
    #[arg(long = "server", value_name = "NAME=COMMAND")]
    templates: Vec<Recipe>,
    /// Another program for a server; rockpool's is the one beside this program unless there is none.
    #[arg(long = "program", value_name = "NAME=PATH", value_parser = pair)]
    programs: Vec<(String, String)>,
    /// One more argument for a server's command.
    #[arg(long = "flag", value_name = "NAME=ARGUMENT", value_parser = pair, allow_hyphen_values = true)]
    flags: Vec<(String, String)>,
    /// The experiment of a chapter of the book, in place of the matrix; the other flags change its figures.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Addresses of nodes of a cluster that runs already, for the presets about clusters.
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT")]
    cluster: Vec<SocketAddr>,
    /// Engines, of servers that have the choice [default: memory,rocksdb].
    #[arg(long, value_enum, value_delimiter = ',')]
    engines: Option<Vec<Engine>>,
    /// What is promised of a write that was acknowledged [default: none,everysec,always].
    #[arg(long, value_enum, value_delimiter = ',')]
    durability: Option<Vec<Durability>>,
    /// Commands [default: set,get].
    #[arg(long, value_enum, value_delimiter = ',')]
    commands: Option<Vec<Command>>,
    /// Requests that a connection has under way [default: 1,16,64].
    #[arg(long, value_delimiter = ',', value_parser = positive)]
    pipelines: Option<Vec<usize>>,
    /// How many keys there are, all of them written before the first measurement [default: 100000,1000000].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    keys: Option<Vec<u64>>,
    /// Sizes of values, in bytes; 64-4096 for any size between the two, 1024~1048576 for log-normal ones with that median and
    /// that limit [default: 64].
    #[arg(long, value_delimiter = ',')]
    value_bytes: Option<Vec<Sizes>>,
    /// Connections [default: 50].
    #[arg(long, visible_alias = "connections", value_delimiter = ',', value_parser = positive)]
    clients: Option<Vec<usize>>,
    /// The share of GETs in mixed loads, from 0 to 1.
    #[arg(long, default_value_t = 0.9, value_parser = share)]
    reads: f64,
    /// The exponent of a Zipf distribution of the keys; without it all are as likely.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// How often each measurement is made [default: 3; with a preset 1].
    #[arg(long, value_parser = positive)]
    rounds: Option<usize>,
    /// How many seconds each measurement lasts [default: 0.8; with a preset 0.4].
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// What makes the load.
    #[arg(long, value_enum, default_value = "rockpool-bench")]
    client: Kind,
    /// Threads of the client.
    #[arg(long, default_value = "1", value_parser = positive)]
    threads: usize,
    /// CPUs that the servers are kept to, such as 0,2-3 [default: all].
    #[arg(long)]
    server_cpus: Option<Cpus>,
    /// CPUs that the client is kept to [default: all].
    #[arg(long)]
    client_cpus: Option<Cpus>,
    /// Where the servers keep their data, in a temporary directory below it [default: that of the system].
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Writes OUT.md, OUT.html and OUT.json; the tables stand on the standard output in any case.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Who the others are divided by: a name of the report [default: redis, or the first].
    #[arg(long)]
    baseline: Option<String>,
    /// Tries it out: one round, a quarter of a second, a hundredth of the keys, where nothing else is said.
    #[arg(long)]
    quick: bool,
}

/// Writes the Markdown and the HTML of a comparison again, from its JSON.
#[derive(Clone, Debug, Parser)]
#[command(name = "rockpool-bench report", version)]
pub struct ReportArguments {
    /// What `compare --out` wrote.
    pub file: PathBuf,
    /// Writes OUT.md and OUT.html [default: beside the file].
    #[arg(long, value_name = "OUT")]
    pub out: Option<PathBuf>,
}

impl Arguments {
    /// The servers, in the order in which they take their turns.
    ///
    /// # Errors
    /// When a name is not known, or stands twice.
    fn recipes(&self) -> Result<Vec<Recipe>, Failure> {
        let named = self.servers.iter().filter(|name| !name.is_empty());
        let mut recipes = named.map(|name| Recipe::named(name)).collect::<Result<Vec<_>, _>>()?;
        recipes.extend(self.templates.iter().cloned());
        if let Some(twice) = (1..recipes.len()).find(|&at| recipes[..at].iter().any(|one| one.name == recipes[at].name))
        {
            return Err(Failure::usage(format!("{} takes part twice", recipes[twice].name)));
        }
        if let Some(rockpool) = recipes.iter_mut().find(|recipe| recipe.is_known() && recipe.name == "rockpool")
            && let Some(path) = sibling("rockpool")
        {
            rockpool.set_program(&path);
        }
        for (name, path) in &self.programs {
            let path = Path::new(path);
            // It is started in a directory of its own, where a relative path leads nowhere.
            let path = if path.components().count() > 1 { std::path::absolute(path)? } else { path.to_owned() };
            named_recipe(&mut recipes, name)?.set_program(&path);
        }
        for (name, argument) in &self.flags {
            named_recipe(&mut recipes, name)?.push(argument);
        }
        if recipes.is_empty() && self.cluster.is_empty() {
            return Err(Failure::usage("no server takes part"));
        }
        Ok(recipes)
    }

    /// What is to be measured.
    ///
    /// # Errors
    /// When the flags contradict each other.
    pub(super) fn sweep(&self) -> Result<Sweep, Failure> {
        Ok(Sweep {
            recipes: self.recipes()?,
            cluster: self.cluster.clone(),
            engines: self.engines.clone(),
            durability: self.durability.clone(),
            commands: self.commands.clone(),
            pipelines: self.pipelines.clone(),
            keys: self.keys.clone(),
            value_bytes: self.value_bytes.clone(),
            clients: self.clients.clone(),
            reads: self.reads,
            distribution: self.zipf.map_or(Distribution::Uniform, |exponent| Distribution::Zipf { exponent }),
            baseline: self.baseline.clone(),
            quick: self.quick,
        })
    }

    /// The experiment that was asked for in place of the matrix.
    pub(super) fn preset(&self) -> Option<Preset> {
        self.preset
    }

    /// The path of the report, without its extension.
    pub(super) fn out(&self) -> Option<&Path> {
        self.out.as_deref()
    }

    /// How it is measured; `words` are those of the command line.
    pub(super) fn settings(&self, words: impl Iterator<Item = OsString>) -> Settings {
        let (rounds, seconds) = match (self.quick, self.preset) {
            (true, _) => (1, QUICK_SECONDS),
            (false, Some(_)) => (PRESET_ROUNDS, PRESET_SECONDS),
            (false, None) => (ROUNDS, SECONDS),
        };
        let seconds = self.seconds.unwrap_or(seconds);
        Settings {
            rounds: self.rounds.unwrap_or(rounds),
            client: Client {
                kind: self.client,
                threads: self.threads,
                duration: Duration::from_secs_f64(seconds),
                check_values: CHECK_VALUES,
            },
            server_cpus: self.server_cpus.clone().unwrap_or_default(),
            client_cpus: self.client_cpus.clone().unwrap_or_default(),
            directory: self.directory.clone(),
            give_back: if self.quick { QUICK_GIVE_BACK } else { GIVE_BACK },
            command: without_paths(words),
        }
    }
}

fn named_recipe<'a>(recipes: &'a mut [Recipe], name: &str) -> Result<&'a mut Recipe, Failure> {
    let names: Vec<String> = recipes.iter().map(|recipe| recipe.name.clone()).collect();
    recipes
        .iter_mut()
        .find(|recipe| recipe.name == name)
        .ok_or_else(|| Failure::usage(format!("{name:?} takes no part; {} do", names.join(", "))))
}

/// The program of that name beside this one.
fn sibling(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.parent()?.join(name);
    path.is_file().then_some(path)
}

/// A command line as a report shows it: where a program or a directory lies on this machine helps no reader.
fn without_paths(words: impl Iterator<Item = OsString>) -> String {
    let shown = words.map(|word| {
        let word = word.to_string_lossy().into_owned();
        let parts = word.split(' ').map(|part| {
            let (before, path) = match part.split_once('=') {
                Some((name, path)) => (format!("{name}="), path),
                None => (String::new(), part),
            };
            let name = Path::new(path).file_name().filter(|_| path.starts_with('/'));
            name.map_or_else(|| part.to_owned(), |name| format!("{before}{}", name.to_string_lossy()))
        });
        let word = parts.collect::<Vec<_>>().join(" ");
        if word.contains(' ') { format!("'{word}'") } else { word }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it must be a whole number above 0".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let in_range = |seconds: &f64| (0.01..=3600.0).contains(seconds);
    text.parse().ok().filter(in_range).ok_or_else(|| "it must be a number of seconds from 0.01 to 3600".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let in_range = |share: &f64| (0.0..=1.0).contains(share);
    text.parse().ok().filter(in_range).ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_how_it_was_made_without_paths() {
        let words = [
            "/opt/bin/rockpool-bench",
            "compare",
            "--out=/data/x",
            "--server",
            "a=/opt/a --port {port}",
            "--keys",
            "1,2",
        ];
        assert_eq!(
            without_paths(words.into_iter().map(OsString::from)),
            "rockpool-bench compare --out=x --server 'a=a --port {port}' --keys 1,2"
        );
    }
}

//! How a server is started: a command with places for what differs from run to run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::failure::Failure;

/// The servers that need no command, each under the name that stands in a report.
const KNOWN: &[(&str, &str)] = &[
    (
        "rockpool",
        "rockpool --bind 127.0.0.1 --port {port} --http-port {http_port} --tcp-port {tcp_port} --dir {dir} \
         --type {engine} --appendonly {appendonly} --appendfsync {appendfsync}",
    ),
    (
        "redis",
        "redis-server --bind 127.0.0.1 --port {port} --dir {dir} --save '' --appendonly {appendonly} \
         --appendfsync {appendfsync}",
    ),
    (
        "valkey",
        "valkey-server --bind 127.0.0.1 --port {port} --dir {dir} --save '' --appendonly {appendonly} \
         --appendfsync {appendfsync}",
    ),
];

/// What a server promises of a write that it has acknowledged.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: a crash may lose it.
    None,
    /// It survives the end of the process, and a power cut a second later.
    Everysec,
    /// It survives a power cut.
    Always,
}

impl Durability {
    /// As in the flags and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Everysec => "everysec",
            Self::Always => "always",
        }
    }

    fn appendonly(self) -> &'static str {
        if self == Self::None { "no" } else { "yes" }
    }

    fn appendfsync(self) -> &'static str {
        if self == Self::Always { "always" } else { "everysec" }
    }
}

/// Where a server keeps what it was given, for servers that have the choice.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// In memory alone: it promises nothing of what was written.
    Memory,
    /// Memory over RocksDB.
    Rocksdb,
}

impl Engine {
    /// As in the flags and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Rocksdb => "rocksdb",
        }
    }

    /// Whether it can keep that promise.
    pub fn keeps(self, durability: Durability) -> bool {
        self == Self::Rocksdb || durability == Durability::None
    }
}

/// What is put into a recipe's places for one run.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    /// For RESP.
    pub port: u16,
    /// For HTTP.
    pub http_port: u16,
    /// For the book's TCP protocol.
    pub tcp_port: u16,
    /// For the nodes of a cluster among themselves.
    pub cluster_port: u16,
    /// Where its data goes.
    pub directory: &'a Path,
    /// Of a server that has the choice.
    pub engine: Option<Engine>,
    /// What it is to promise of a write.
    pub durability: Durability,
}

impl Places<'_> {
    fn value(&self, place: &str) -> Option<String> {
        Some(match place {
            "port" => self.port.to_string(),
            "http_port" => self.http_port.to_string(),
            "tcp_port" => self.tcp_port.to_string(),
            "cluster_port" => self.cluster_port.to_string(),
            "dir" => self.directory.to_string_lossy().into_owned(),
            "engine" => self.engine?.name().to_owned(),
            "appendonly" => self.durability.appendonly().to_owned(),
            "appendfsync" => self.durability.appendfsync().to_owned(),
            _ => return None,
        })
    }
}

const PLACES: &[&str] =
    &["port", "http_port", "tcp_port", "cluster_port", "dir", "engine", "appendonly", "appendfsync"];

/// A server's name, and the words of its command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// As in reports.
    pub name: String,
    /// The program and its arguments, with `{port}`, `{dir}` and the like.
    words: Vec<String>,
    is_known: bool,
}

impl FromStr for Recipe {
    type Err = String;

    /// `name=command`, the command split as a shell would.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').ok_or("it must be NAME=COMMAND")?;
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(format!("{name:?} is no name: letters, digits, - _ . make one"));
        }
        let words = shlex::split(command).ok_or("a quote is not closed in the command")?;
        if words.is_empty() {
            return Err("the command is empty".to_owned());
        }
        let recipe = Self { name: name.to_owned(), words, is_known: false };
        for word in &recipe.words {
            fill(word, |place| PLACES.contains(&place).then(String::new)).map_err(|place| {
                format!("{{{place}}} means nothing in a command; there are {{{}}}", PLACES.join("}, {"))
            })?;
        }
        if !recipe.has("port") {
            return Err("the command must say where the server listens: {port}".to_owned());
        }
        Ok(recipe)
    }
}

impl Recipe {
    /// One of the servers that need no command.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn known(name: &str) -> Result<Self, Failure> {
        let Some((_, command)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
            return Err(Failure::usage(format!(
                "{name:?} is not known ({} are); --server '{name}=COMMAND … {{port}}' makes it so",
                names.join(", ")
            )));
        };
        let recipe: Self = format!("{name}={command}").parse().map_err(Failure::usage)?;
        Ok(Self { is_known: true, ..recipe })
    }

    /// One of the servers that need no command by its name, or as `NAME=PATH` another program of it.
    ///
    /// # Errors
    /// When neither the name nor what the program is called is known.
    pub fn named(text: &str) -> Result<Self, Failure> {
        let Some((name, path)) = text.split_once('=') else { return Self::known(text) };
        let program = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
        let is_its = |command: &str| command.split(' ').next().is_some_and(|own| program.starts_with(own));
        // `rockpool` is the shortest, and begins no other's name.
        let Some((known, _)) = KNOWN.iter().find(|(_, command)| is_its(command)) else {
            let programs: Vec<&str> = KNOWN.iter().filter_map(|(_, command)| command.split(' ').next()).collect();
            return Err(Failure::usage(format!(
                "{path:?} is none of {}; --server '{name}=COMMAND … {{port}}' starts any other",
                programs.join(", ")
            )));
        };
        let checked: Self = format!("{name}={program} {{port}}").parse().map_err(Failure::usage)?;
        let mut recipe = Self { name: checked.name, ..Self::known(known)? };
        // It is started in a directory of its own, where a relative path leads nowhere.
        recipe.set_program(&std::path::absolute(path)?);
        Ok(recipe)
    }

    /// Whether it is one of the servers that need no command.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Another program, with the same arguments.
    pub fn set_program(&mut self, path: &Path) {
        self.words[0] = path.to_string_lossy().into_owned();
    }

    /// One more argument.
    pub fn push(&mut self, argument: &str) {
        self.words.push(argument.to_owned());
    }

    /// The program as it was given: a path or a name.
    pub fn program(&self) -> &str {
        &self.words[0]
    }

    /// Whether the command has that place.
    fn has(&self, place: &str) -> bool {
        let place = format!("{{{place}}}");
        self.words.iter().any(|word| word.contains(&place))
    }

    /// Whether it has a choice of engines.
    pub fn has_engines(&self) -> bool {
        self.has("engine")
    }

    /// Whether it can be told what to promise; otherwise it stands where nothing is promised.
    pub fn has_durability(&self) -> bool {
        self.has("appendonly")
    }

    /// Whether it can be asked by REST and by the book's TCP protocol.
    pub fn has_all_protocols(&self) -> bool {
        self.has("http_port") && self.has("tcp_port")
    }

    /// The program and its arguments for one run.
    pub fn command(&self, places: &Places) -> Vec<String> {
        // Only a place without a value is left as it is, and a recipe with {engine} is always given one.
        self.words.iter().map(|word| fill(word, |place| places.value(place)).unwrap_or_else(|_| word.clone())).collect()
    }

    /// As it stands in a report: the engine and the promise filled in, the program without its path, other paths and
    /// ports left open.
    pub fn shown(&self, engine: Option<Engine>, durability: Durability) -> String {
        let shown = |place: &str| {
            let directory = Path::new("");
            let nowhere = Places { port: 0, http_port: 0, tcp_port: 0, cluster_port: 0, directory, engine, durability };
            match place {
                "engine" | "appendonly" | "appendfsync" => nowhere.value(place),
                _ => Some(format!("{{{place}}}")),
            }
        };
        let mut text = PathBuf::from(self.program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        for word in &self.words[1..] {
            let word = fill(word, shown).unwrap_or_else(|_| word.clone());
            let quoted = if word.is_empty() || word.contains(char::is_whitespace) { format!("'{word}'") } else { word };
            let _ = write!(text, " {quoted}");
        }
        text
    }
}

/// `text` with every `{place}` replaced by its value; the first place that has none is the error.
fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else { break };
        let place = &rest[start + 1..start + length];
        filled.push_str(&rest[..start]);
        filled.push_str(&value(place).ok_or_else(|| place.to_owned())?);
        rest = &rest[start + length + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(engine: Option<Engine>, durability: Durability) -> Places<'static> {
        let directory = Path::new("/data");
        Places { port: 1, http_port: 2, tcp_port: 3, cluster_port: 4, directory, engine, durability }
    }

    #[test]
    fn a_recipe_is_filled_in() {
        let recipe: Recipe =
            "mine=server --at 127.0.0.1:{port} --in '{dir}/a b' --x={port}{port}".parse().expect("a recipe");
        assert_eq!(recipe.name, "mine");
        let command = recipe.command(&places(None, Durability::None));
        assert_eq!(command, ["server", "--at", "127.0.0.1:1", "--in", "/data/a b", "--x=11"]);
        assert!(!recipe.has_engines() && !recipe.has_durability() && !recipe.has_all_protocols());
    }

    #[test]
    fn known_servers_take_every_durability() {
        for (name, _) in KNOWN {
            let recipe = Recipe::known(name).expect("known");
            assert!(recipe.has_durability());
            let words = recipe.command(&places(Some(Engine::Rocksdb), Durability::Always)).join(" ");
            assert!(words.ends_with("--appendonly yes --appendfsync always") && !words.contains('{'), "{words}");
            let words = recipe.command(&places(Some(Engine::Rocksdb), Durability::None)).join(" ");
            assert!(words.contains("--appendonly no"), "{words}");
        }
        let redis = Recipe::known("redis").expect("known").command(&places(None, Durability::None));
        let save = redis.iter().position(|word| word == "--save").expect("--save");
        assert_eq!(redis[save + 1], "");
        assert!(Recipe::known("memcached").is_err());
    }

    #[test]
    fn another_program_of_a_known_server_takes_its_arguments() {
        let newer = Recipe::named("redis8=/opt/redis 8/redis-server").expect("a program of redis");
        assert_eq!((newer.name.as_str(), newer.program()), ("redis8", "/opt/redis 8/redis-server"));
        assert!(newer.is_known() && newer.has_durability() && !newer.has_engines());
        assert_eq!(newer.words[1..], Recipe::known("redis").expect("known").words[1..]);
        let valkey = Recipe::named("v9=bin/valkey-server-9").expect("a program of valkey");
        assert!(valkey.program().starts_with('/') && valkey.program().ends_with("/bin/valkey-server-9"));
        assert!(Recipe::named("before=/old/rockpool").expect("a program of rockpool").has_engines());
        for text in ["x=/usr/bin/memcached", "a b=/usr/bin/redis-server", "=/usr/bin/redis-server", "memcached"] {
            assert!(Recipe::named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_recipe_is_refused() {
        for text in [
            "server {port}",
            "=server {port}",
            "a b=server {port}",
            "a=",
            "a=server",
            "a=server 'x {port}",
            "a=s {port} {prot}",
        ] {
            assert!(text.parse::<Recipe>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_report_shows_no_paths_of_the_machine() {
        let recipe: Recipe =
            "mine=/opt/x/server --port {port} --dir {dir} --save '' --type {engine}".parse().expect("a recipe");
        let shown = recipe.shown(Some(Engine::Memory), Durability::None);
        assert_eq!(shown, "server --port {port} --dir {dir} --save '' --type memory");
    }

    #[test]
    fn the_memory_engine_promises_nothing() {
        assert!(Engine::Memory.keeps(Durability::None) && !Engine::Memory.keeps(Durability::Everysec));
        assert!(Engine::Rocksdb.keeps(Durability::Always));
    }
}

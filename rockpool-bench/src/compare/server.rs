//! Servers that the comparison starts for itself, and those that run already.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::control::Control;
use super::cpus::Cpus;
use super::experiment::{Contender, Origin};
use super::failure::Failure;
use super::interrupt::Group;
use super::proc::{self, GroupTime, Resident};
use super::recipe::{Durability, Places, Recipe};
use crate::wire::Protocol;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a server is started again because another process took its port meanwhile.
const STARTS: usize = 3;
const SLOTS: u32 = 16_384;

/// One or more processes that serve the same keys.
#[derive(Debug)]
pub struct Server {
    /// As in the report.
    label: String,
    /// None where they run already.
    nodes: Vec<Node>,
    /// Where the contender's protocol is spoken.
    addresses: Vec<SocketAddr>,
    /// Where RESP is spoken.
    control: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Node {
    group: Group,
    resp: SocketAddr,
    http: SocketAddr,
    book: SocketAddr,
    cluster_port: u16,
    log: PathBuf,
    /// How many processes it consisted of when it answered first.
    processes: usize,
}

impl Server {
    /// Starts what the contender is, with its data and logs in `directory`, or connects to it; waits until it answers.
    ///
    /// # Errors
    /// One line that says why there is no such server.
    pub fn start(
        contender: &Contender,
        durability: Durability,
        directory: &Path,
        cpus: &Cpus,
    ) -> Result<Self, Failure> {
        let (recipe, engine, nodes, is_cluster) = match &contender.origin {
            Origin::Running { addresses } => {
                let (label, control) = (contender.label.clone(), addresses.clone());
                let server = Self { label, nodes: Vec::new(), addresses: addresses.clone(), control };
                for address in addresses {
                    Control::connect(*address)
                        .and_then(|mut control| control.text(&["PING"]))
                        .map_err(|error| Failure::new(format!("{address}: {error}")))?;
                }
                return Ok(server);
            }
            Origin::Started { recipe, engine, nodes, cluster } => (recipe, *engine, *nodes, *cluster),
        };
        let start = |number: usize| {
            let directory = directory.join(number.to_string());
            let mut failure = None;
            for _ in 0..STARTS {
                match Node::start(recipe, &contender.label, &directory, cpus, |places| Places {
                    engine,
                    durability,
                    ..places
                }) {
                    Err(NodeFailure::PortTaken(text)) => failure = Some(text),
                    Err(NodeFailure::Other(text)) => return Err(Failure::new(text)),
                    Ok(node) => return Ok(node),
                }
            }
            Err(Failure::new(failure.unwrap_or_default()))
        };
        let nodes: Vec<Node> = (0..nodes).map(start).collect::<Result<_, _>>()?;
        if is_cluster {
            form_cluster(&nodes).map_err(|error| Failure::new(format!("{}: no cluster: {error}", contender.label)))?;
        }
        let addresses = nodes.iter().map(|node| match contender.protocol {
            Protocol::Resp => node.resp,
            Protocol::Http => node.http,
            Protocol::Book => node.book,
        });
        Ok(Self {
            label: contender.label.clone(),
            addresses: addresses.collect(),
            control: nodes.iter().map(|node| node.resp).collect(),
            nodes,
        })
    }

    /// Where the contender's protocol is spoken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where RESP is spoken.
    pub fn control_addresses(&self) -> &[SocketAddr] {
        &self.control
    }

    /// Processor time so far, of all nodes with what they have started; none where they run already.
    ///
    /// # Errors
    /// When a node has ended.
    pub fn processor_time(&mut self) -> Result<Option<GroupTime>, Failure> {
        self.sum(proc::group_time)
    }

    /// Whether one of the processes that `time` was of is there for a while only: to rewrite a log, to write a snapshot.
    pub fn has_helpers(&self, time: GroupTime) -> bool {
        time.processes > self.nodes.iter().map(|node| node.processes).sum()
    }

    /// Resident memory, of all nodes with what they have started; none where they run already.
    ///
    /// # Errors
    /// When a node has ended.
    pub fn resident(&mut self) -> Result<Option<Resident>, Failure> {
        self.sum(proc::group_resident)
    }

    /// Bytes that it has written to devices so far, of all nodes with what they have started; none where they run already, or
    /// where the kernel does not tell.
    ///
    /// # Errors
    /// When a node has ended.
    pub fn written_bytes(&mut self) -> Result<Option<u64>, Failure> {
        let parts = self.sum(|group| Ok(Written(proc::group_written_bytes(group).ok())))?;
        Ok(parts.and_then(|Written(bytes)| bytes))
    }

    fn sum<T: std::ops::Add<Output = T>>(
        &mut self,
        figure: impl Fn(u32) -> io::Result<T>,
    ) -> Result<Option<T>, Failure> {
        let mut sum = None;
        for node in &mut self.nodes {
            if let Some(status) = node.group.ended()? {
                return Err(Failure::new(format!("{} has ended with {status}: {}", self.label, last_line(&node.log))));
            }
            let part = figure(node.group.pid())?;
            sum = Some(match sum {
                None => part,
                Some(sum) => sum + part,
            });
        }
        Ok(sum)
    }

    /// The keys that it says it has, of all nodes.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn key_count(&self) -> Result<u64, Failure> {
        let mut count = 0;
        for address in &self.control {
            count += Control::connect(*address)?.number(&["DBSIZE"])?;
        }
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// A sum that is known where all of its parts are.
struct Written(Option<u64>);

impl std::ops::Add for Written {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.zip(other.0).map(|(one, other)| one + other))
    }
}

enum NodeFailure {
    PortTaken(String),
    Other(String),
}

impl Node {
    fn start<'a>(
        recipe: &Recipe,
        label: &str,
        directory: &'a Path,
        cpus: &Cpus,
        with_settings: impl FnOnce(Places<'a>) -> Places<'a>,
    ) -> Result<Self, NodeFailure> {
        let other = |error: io::Error| NodeFailure::Other(format!("{label}: {error}"));
        std::fs::create_dir_all(directory).map_err(other)?;
        let [resp, http, book, between_nodes] = free_ports().map_err(other)?;
        let places = with_settings(Places {
            port: resp.port(),
            http_port: http.port(),
            tcp_port: book.port(),
            cluster_port: between_nodes.port(),
            directory,
            engine: None,
            durability: Durability::None,
        });
        let words = recipe.command(&places);
        let log = directory.with_extension("log");
        let output = File::create(&log).map_err(other)?;
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).current_dir(directory);
        command.stdout(output.try_clone().map_err(other)?).stderr(output);
        // What stands in the environment of whoever compares is no part of the comparison.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ROCKPOOL_")) {
            command.env_remove(name);
        }
        let group = cpus
            .spawn(&mut command)
            .map_err(|error| NodeFailure::Other(format!("{label}: {} cannot be started: {error}", recipe.program())))?;
        let mut node = Self { group, resp, http, book, cluster_port: between_nodes.port(), log, processes: 0 };
        node.wait_until_it_answers(label)?;
        node.processes = proc::group_time(node.group.pid()).map_err(other)?.processes;
        Ok(node)
    }

    fn wait_until_it_answers(&mut self, label: &str) -> Result<(), NodeFailure> {
        let start = Instant::now();
        let mut last = String::new();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.group.ended().map_err(|error| NodeFailure::Other(error.to_string()))? {
                let log = last_line(&self.log);
                let text = format!("{label} ended with {status} before it answered: {log}");
                let is_port_taken = log.to_lowercase().contains("in use");
                return Err(if is_port_taken { NodeFailure::PortTaken(text) } else { NodeFailure::Other(text) });
            }
            match Control::connect(self.resp).and_then(|mut control| control.text(&["PING"])) {
                Ok(_) => return Ok(()),
                // It does not listen yet, or loads its data.
                Err(error) => last = error.to_string(),
            }
            sleep(Duration::from_millis(5));
        }
        let seconds = PATIENCE.as_secs();
        Err(NodeFailure::Other(format!("{label} did not answer PING on its port within {seconds} s: {last}")))
    }
}

/// Ports that nobody listens on, each with an address of this machine.
fn free_ports<const N: usize>() -> io::Result<[SocketAddr; N]> {
    // All are held until all are found, so that no two are the same.
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..N {
        listeners.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

/// The last line of a log that says anything: there a server tells why it ends.
fn last_line(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it wrote nothing").to_owned()
}

/// Divides the slots among the nodes of a Redis Cluster and introduces them to each other.
fn form_cluster(nodes: &[Node]) -> io::Result<()> {
    let count = u32::try_from(nodes.len()).map_err(io::Error::other)?;
    let mut controls = nodes.iter().map(|node| Control::connect(node.resp)).collect::<io::Result<Vec<Control>>>()?;
    for (number, control) in (0..).zip(&mut controls) {
        let (first, end) = (SLOTS * number / count, SLOTS * (number + 1) / count);
        control.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &(end - 1).to_string()])?;
        let (port, cluster_port) = (nodes[0].resp.port().to_string(), nodes[0].cluster_port.to_string());
        if number > 0 {
            control.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &cluster_port])?;
        }
    }
    let start = Instant::now();
    let wanted = ["cluster_state:ok".to_owned(), format!("cluster_known_nodes:{count}")];
    for control in &mut controls {
        loop {
            let info = control.text(&["CLUSTER", "INFO"])?;
            if wanted.iter().all(|line| info.lines().any(|found| found == line)) {
                break;
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the nodes do not find each other"));
            }
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

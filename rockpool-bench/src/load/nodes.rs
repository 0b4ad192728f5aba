//! The servers of a run, and which of them serves a key.

use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;

use redis_protocol::{redis_keyslot, types::REDIS_CLUSTER_SLOTS};

use super::{LoadError, Plan};
use crate::wire::{CLUSTER_SLOTS, Dialer, cluster_slots, exchange, resolve};

/// Nodes that a cluster may have, over a whole run.
pub const NODES_MAX: usize = 1024;
/// Redirections that a request follows, so that nodes that point to each other do not hold it for ever.
pub const HOPS_MAX: u8 = 16;
/// A slot that no node serves: the first is asked, and says so.
const NOBODY: u16 = 0;

/// The servers of a run; without a cluster there is one.
#[derive(Clone, Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    /// The node of each slot; empty without a cluster.
    slots: Vec<u16>,
}

/// A server, by its name and its addresses.
#[derive(Clone, Debug)]
pub struct Node {
    /// As the plan or the cluster names it.
    pub host: String,
    port: u16,
    /// Its addresses, to be tried in order.
    pub addresses: Vec<SocketAddr>,
}

impl Node {
    fn new(host: &str, port: u16) -> io::Result<Node> {
        let addresses = resolve(host, port)?;
        Ok(Node { host: host.to_owned(), port, addresses })
    }

    /// `host:port`.
    pub fn name(&self) -> String {
        let Node { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Where a cluster's node wants a request to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Redirection {
    /// Its index in [`Nodes`].
    pub node: u16,
    /// This one request alone, and after ASKING.
    pub is_ask: bool,
}

impl Nodes {
    /// Resolves the plan's addresses, and asks a cluster for its slots.
    ///
    /// # Errors
    /// [`LoadError`] when an address cannot be, is unknown, or no node tells its slots.
    pub fn find(plan: &Plan, dialer: &Dialer) -> Result<Nodes, LoadError> {
        let mut nodes = Nodes { nodes: Vec::new(), slots: Vec::new() };
        for address in &plan.addresses {
            let failure = |reason: String| LoadError::Server { address: address.clone(), reason };
            let (host, port) = split(address).ok_or_else(|| failure("is not host:port".to_owned()))?;
            nodes.nodes.push(Node::new(host, port).map_err(|error| failure(error.to_string()))?);
        }
        if plan.cluster {
            nodes.slots = vec![NOBODY; usize::from(REDIS_CLUSTER_SLOTS)];
            nodes.refresh(dialer)?;
        }
        Ok(nodes)
    }

    /// The node with that index.
    pub fn get(&self, node: u16) -> &Node {
        &self.nodes[usize::from(node)]
    }

    /// The nodes that serve slots; without a cluster the only one.
    pub fn serving(&self) -> Vec<u16> {
        if self.slots.is_empty() {
            return vec![0];
        }
        (0..self.nodes.len() as u16).filter(|node| self.slots.contains(node)).collect()
    }

    /// The node that serves `key`.
    #[inline]
    pub fn route(&self, key: &[u8]) -> u16 {
        if self.slots.is_empty() { 0 } else { self.slots[usize::from(redis_keyslot(key))] }
    }

    /// Whether keys are routed by their slots.
    pub fn is_cluster(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Asks one node after the other for the slots, until one answers.
    ///
    /// # Errors
    /// What the last of them said.
    pub fn refresh(&mut self, dialer: &Dialer) -> Result<(), LoadError> {
        let mut failure = LoadError::Plan("no node is known".to_owned());
        for index in 0..self.nodes.len() {
            match self.ask_for_slots(index, dialer) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    failure = LoadError::Server { address: self.nodes[index].name(), reason: error.to_string() };
                }
            }
        }
        Err(failure)
    }

    fn ask_for_slots(&mut self, index: usize, dialer: &Dialer) -> io::Result<()> {
        let mut stream = dialer.dial(&self.nodes[index].addresses)?;
        stream.write_all(CLUSTER_SLOTS)?;
        let ranges = exchange(&mut stream, cluster_slots)?;
        if ranges.is_empty() {
            return Err(io::Error::new(ErrorKind::InvalidData, "no slots are served"));
        }
        for range in ranges {
            let host = if range.host.is_empty() { self.nodes[index].host.clone() } else { range.host };
            let node = self.number(&host, range.port)?;
            self.slots[usize::from(range.first)..=usize::from(range.last)].fill(node);
        }
        Ok(())
    }

    /// The number of a node, which may be new.
    fn number(&mut self, host: &str, port: u16) -> io::Result<u16> {
        let known = self.nodes.iter().position(|node| node.host == host && node.port == port);
        let index = match known {
            Some(index) => index,
            None if self.nodes.len() == NODES_MAX => return Err(io::Error::other("too many nodes")),
            None => {
                self.nodes.push(Node::new(host, port)?);
                self.nodes.len() - 1
            }
        };
        Ok(index as u16)
    }

    /// Reads an error that `asked` has answered: MOVED, which is remembered, or ASK; none for any other.
    pub fn redirection(&mut self, error: &[u8], asked: u16) -> Option<Redirection> {
        if !self.is_cluster() {
            return None;
        }
        let mut words = str::from_utf8(error).ok()?.split(' ');
        let is_ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot: u16 = words.next()?.parse().ok().filter(|slot| *slot < REDIS_CLUSTER_SLOTS)?;
        let (host, port) = split(words.next()?)?;
        let host = if host.is_empty() { self.get(asked).host.clone() } else { host.to_owned() };
        let node = self.number(&host, port).ok()?;
        if !is_ask {
            self.slots[usize::from(slot)] = node;
        }
        Some(Redirection { node, is_ask })
    }
}

/// Host and port; an IPv6 address may stand in brackets.
pub fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_are_followed_to_old_and_new_nodes() {
        let nodes = vec![Node::new("127.0.0.1", 7000).unwrap(), Node::new("127.0.0.1", 7001).unwrap()];
        let mut nodes = Nodes { nodes, slots: vec![NOBODY; usize::from(REDIS_CLUSTER_SLOTS)] };
        assert_eq!(nodes.route(b"foo"), 0);
        let moved = nodes.redirection(b"MOVED 12182 127.0.0.1:7001", 0);
        assert_eq!(moved, Some(Redirection { node: 1, is_ask: false }));
        assert_eq!((nodes.route(b"foo"), nodes.route(b"{foo}bar"), nodes.route(b"bar")), (1, 1, 0));
        let ask = nodes.redirection(b"ASK 12182 :7002", 1);
        assert_eq!(ask, Some(Redirection { node: 2, is_ask: true }));
        assert_eq!(nodes.route(b"foo"), 1);
        assert_eq!(nodes.get(2).name(), "127.0.0.1:7002");
        for other in
            [&b"ERR no"[..], b"MOVED", b"MOVED 16384 127.0.0.1:7001", b"MOVED 1 nowhere", b"ASK x h:1", b"\xff"]
        {
            assert_eq!(nodes.redirection(other, 0), None, "{}", other.escape_ascii());
        }
        nodes.slots.clear();
        assert_eq!(nodes.redirection(b"MOVED 12182 127.0.0.1:7001", 0), None);
    }

    #[test]
    fn addresses_are_split() {
        assert_eq!(split("h:1"), Some(("h", 1)));
        assert_eq!(split("[::1]:6379"), Some(("::1", 6379)));
        assert_eq!(split("::1:6379"), Some(("::1", 6379)));
        assert_eq!((split("h"), split("h:x"), split("h:99999")), (None, None, None));
    }
}

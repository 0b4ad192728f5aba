//! Moves slots of a Redis Cluster from its first node to its second and back, as its own tools do, for as long as a
//! load runs: what a rebalancing costs those who use the cluster meanwhile.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redis_protocol::resp2::types::{OwnedFrame, Resp2Frame};

use super::control::Control;
use super::failure::Failure;

/// How many keys one command takes along.
const KEYS_AT_ONCE: &str = "100";
/// How far it goes until it turns back.
const SLOTS: usize = 1_000;
const TIMEOUT_MS: &str = "5000";

/// A thread that moves slots until it is told to stop.
#[derive(Debug)]
pub struct Moving {
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<u64>>,
}

impl Moving {
    /// Begins. The first node must serve the first slots.
    ///
    /// # Errors
    /// When there are no two nodes, or they cannot be reached.
    pub fn start(addresses: &[SocketAddr]) -> Result<Self, Failure> {
        let [first, second, ..] = addresses else {
            return Err(Failure::new("slots can be moved between two nodes at least"));
        };
        let mut nodes = [Member::connect(*first)?, Member::connect(*second)?];
        let stopped = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("moving".to_owned()).spawn({
            let stopped = stopped.clone();
            move || {
                let mut moved = 0;
                loop {
                    for slot in 0..SLOTS {
                        if stopped.load(Ordering::Relaxed) {
                            // So that the next measurement finds what this one found.
                            bring_back(&mut nodes, slot)?;
                            return Ok(moved);
                        }
                        let [from, to] = &mut nodes;
                        move_slot(slot, from, to)?;
                        moved += 1;
                    }
                    bring_back(&mut nodes, SLOTS)?;
                    moved += SLOTS as u64;
                }
            }
        })?;
        Ok(Self { stopped, thread })
    }

    /// Ends it, all slots where they were, and tells how many were moved while it was not told to stop.
    ///
    /// # Errors
    /// When a node refused.
    pub fn stop(self) -> Result<u64, Failure> {
        self.stopped.store(true, Ordering::Relaxed);
        let moved = self.thread.join().map_err(|_| Failure::new("the thread that moves slots has panicked"))?;
        moved.map_err(|error| Failure::new(format!("a slot cannot be moved: {error}")))
    }
}

struct Member {
    address: SocketAddr,
    id: String,
    control: Control,
}

impl Member {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let mut control = Control::connect(address)?;
        let id = control.text(&["CLUSTER", "MYID"])?;
        Ok(Self { address, id, control })
    }
}

fn bring_back(nodes: &mut [Member; 2], slots: usize) -> io::Result<()> {
    let [first, second] = nodes;
    for slot in 0..slots {
        move_slot(slot, second, first)?;
    }
    Ok(())
}

fn move_slot(slot: usize, from: &mut Member, to: &mut Member) -> io::Result<()> {
    let slot = slot.to_string();
    to.control.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from.id])?;
    from.control.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to.id])?;
    let (host, port) = (to.address.ip().to_string(), to.address.port().to_string());
    loop {
        let OwnedFrame::Array(keys) = from.control.command(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_AT_ONCE])? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "CLUSTER GETKEYSINSLOT answers no list"));
        };
        if keys.is_empty() {
            break;
        }
        let keys: Vec<String> = keys.iter().filter_map(OwnedFrame::to_string).collect();
        let mut command = vec!["MIGRATE", &host, &port, "", "0", TIMEOUT_MS, "KEYS"];
        command.extend(keys.iter().map(String::as_str));
        from.control.command(&command)?;
    }
    // First who has the keys now.
    to.control.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to.id])?;
    from.control.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to.id])?;
    Ok(())
}

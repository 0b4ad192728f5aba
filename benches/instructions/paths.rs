//! What is counted.

use std::path::Path as FilePath;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rockpool::config::Engine;
use rockpool::net::Protocol;

use crate::support::{Operation, Server, VALUE_BYTES, batch};

const KEYS: usize = 50_000;
/// Commands that are counted, and before them those that are not: by then every counter has its place in memory.
const COMMANDS: usize = 16_000;
const WARM_UP_COMMANDS: usize = 3_200;

/// A way through the server.
pub struct Path {
    pub name: &'static str,
    engine: Engine,
    protocol: Protocol,
    appendonly: &'static str,
    operation: Operation,
    /// Commands in a batch.
    pipeline: usize,
}

use Engine::{Memory, Rocksdb};
use Operation::{Get, Set};
use Protocol::{Book, Resp};

const fn path(
    name: &'static str,
    engine: Engine,
    protocol: Protocol,
    appendonly: &'static str,
    operation: Operation,
    pipeline: usize,
) -> Path {
    Path { name, engine, protocol, appendonly, operation, pipeline }
}

pub const PATHS: &[Path] = &[
    path("memory/get/p1", Memory, Resp, "no", Get, 1),
    path("memory/get/p16", Memory, Resp, "no", Get, 16),
    path("memory/get/p64", Memory, Resp, "no", Get, 64),
    path("memory/set/p1", Memory, Resp, "no", Set, 1),
    path("memory/set/p16", Memory, Resp, "no", Set, 16),
    path("memory/set/p64", Memory, Resp, "no", Set, 64),
    path("memory/book-get/p16", Memory, Book, "no", Get, 16),
    path("memory/book-set/p16", Memory, Book, "no", Set, 16),
    path("rocksdb/get/p16", Rocksdb, Resp, "yes", Get, 16),
    path("rocksdb/get/p64", Rocksdb, Resp, "yes", Get, 64),
    path("rocksdb/set-no-journal/p16", Rocksdb, Resp, "no", Set, 16),
    path("rocksdb/set-everysec/p1", Rocksdb, Resp, "yes", Set, 1),
    path("rocksdb/set-everysec/p16", Rocksdb, Resp, "yes", Set, 16),
    path("rocksdb/set-everysec/p64", Rocksdb, Resp, "yes", Set, 64),
];

impl Path {
    /// Has batches of random keys, all of them in memory, parsed and executed, the replies written, and what changed put
    /// into the journal where there is one; each batch, after some for warming up, inside `counted`. Returns how many
    /// commands were counted.
    pub fn run(&self, directory: &FilePath, counted: &mut dyn FnMut(&mut dyn FnMut())) -> u64 {
        let directory = (self.engine == Rocksdb).then_some(directory);
        let mut server = Server::start(self.protocol, directory, self.appendonly);
        server.fill(self.protocol, KEYS);
        let mut random = StdRng::seed_from_u64(7);
        let mut commands = 0;
        for number in 0..(WARM_UP_COMMANDS + COMMANDS) / self.pipeline {
            let keys = std::iter::repeat_with(|| random.random_range(0..KEYS)).take(self.pipeline);
            let mut batch = batch(self.protocol, self.operation, keys);
            let mut replied_bytes = 0;
            let mut work = || replied_bytes = server.run(&mut batch).len();
            if number < WARM_UP_COMMANDS / self.pipeline {
                work();
            } else {
                counted(&mut work);
                commands += self.pipeline as u64;
            }
            assert_eq!(replied_bytes, self.pipeline * reply_bytes(self.protocol, self.operation), "{}", self.name);
        }
        commands
    }
}

/// How many bytes the reply to a command has whose key exists.
fn reply_bytes(protocol: Protocol, operation: Operation) -> usize {
    match (protocol, operation) {
        (Resp, Get) => b"$64\r\n".len() + VALUE_BYTES + b"\r\n".len(),
        (Resp, Set) => b"+OK\r\n".len(),
        (Book, Get) => b"64 ".len() + VALUE_BYTES,
        (Book, Set) => b"0 ".len(),
    }
}

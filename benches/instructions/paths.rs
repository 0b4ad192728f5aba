//! What is counted.

use std::path::Path as FilePath;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rockpool::config::Engine;
use rockpool::net::Protocol;

use crate::support::{MANY_KEYS, Operation, Server, VALUE_BYTES, batch};

/// The most keys, and the most bytes of values under all of them.
const KEYS_MAX: usize = 50_000;
const FILL_MAX_BYTES: usize = 4 << 20;
/// Commands that are counted; with large values fewer, whose values have so many bytes together, since no round makes room in
/// the journal meanwhile. Before them come a fifth as many that are not counted: by then every counter has its place in memory.
const COMMANDS_MAX: usize = 16_000;
const COMMANDS_MAX_BYTES: usize = 20 << 20;
const WARM_UP_SHARE: usize = 5;

/// A way through the server.
pub struct Path {
    pub name: &'static str,
    engine: Engine,
    protocol: Protocol,
    appendonly: &'static str,
    operation: Operation,
    value_bytes: usize,
    /// Commands in a batch.
    pipeline: usize,
}

use Engine::{Memory, Rocksdb};
use Operation::{Get, GetMany, Set, SetMany};
use Protocol::{Book, Resp};

const fn path(
    name: &'static str,
    engine: Engine,
    protocol: Protocol,
    appendonly: &'static str,
    operation: Operation,
    pipeline: usize,
) -> Path {
    Path { name, engine, protocol, appendonly, operation, value_bytes: VALUE_BYTES, pipeline }
}

/// The same over RESP, with values of that size.
const fn sized(
    name: &'static str,
    engine: Engine,
    appendonly: &'static str,
    operation: Operation,
    value_bytes: usize,
    pipeline: usize,
) -> Path {
    Path { name, engine, protocol: Resp, appendonly, operation, value_bytes, pipeline }
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
    sized("memory/get-4k/p16", Memory, "no", Get, 4 << 10, 16),
    sized("memory/set-4k/p16", Memory, "no", Set, 4 << 10, 16),
    sized("memory/get-100k/p1", Memory, "no", Get, 100 << 10, 1),
    sized("memory/set-100k/p1", Memory, "no", Set, 100 << 10, 1),
    sized("rocksdb/get-4k/p16", Rocksdb, "yes", Get, 4 << 10, 16),
    sized("rocksdb/set-everysec-4k/p16", Rocksdb, "yes", Set, 4 << 10, 16),
    sized("rocksdb/get-100k/p1", Rocksdb, "yes", Get, 100 << 10, 1),
    sized("rocksdb/set-everysec-100k/p1", Rocksdb, "yes", Set, 100 << 10, 1),
    path("memory/mget-10/p16", Memory, Resp, "no", GetMany, 16),
    path("memory/mset-10/p16", Memory, Resp, "no", SetMany, 16),
    path("rocksdb/mget-10/p16", Rocksdb, Resp, "yes", GetMany, 16),
    path("rocksdb/mset-10-everysec/p16", Rocksdb, Resp, "yes", SetMany, 16),
];

impl Path {
    /// Has batches of random keys, all of them in memory, parsed and executed, the replies written, and what changed put
    /// into the journal where there is one; each batch, after some for warming up, inside `counted`. Returns how many
    /// commands were counted.
    pub fn run(&self, directory: &FilePath, counted: &mut dyn FnMut(&mut dyn FnMut())) -> u64 {
        let directory = (self.engine == Rocksdb).then_some(directory);
        let mut server = Server::start(self.protocol, directory, self.appendonly);
        let keys = KEYS_MAX.min(FILL_MAX_BYTES / self.value_bytes);
        server.fill(self.protocol, keys, self.value_bytes);
        let mut random = StdRng::seed_from_u64(7);
        let mut commands = 0;
        let keys_per_batch = self.pipeline * self.operation.keys();
        let batches = COMMANDS_MAX.min(COMMANDS_MAX_BYTES / (self.value_bytes * self.operation.keys())) / self.pipeline;
        let warm_up = batches / WARM_UP_SHARE;
        for number in 0..warm_up + batches {
            let batch_keys = std::iter::repeat_with(|| random.random_range(0..keys)).take(keys_per_batch);
            let mut batch = batch(self.protocol, self.operation, self.value_bytes, batch_keys);
            let mut replied_bytes = 0;
            let mut work = || replied_bytes = server.run(&mut batch).len();
            if number < warm_up {
                work();
            } else {
                counted(&mut work);
                commands += self.pipeline as u64;
            }
            assert_eq!(replied_bytes, self.pipeline * self.reply_bytes(), "{}", self.name);
        }
        commands
    }
    /// How many bytes the reply to a command has whose keys exist.
    fn reply_bytes(&self) -> usize {
        let digits = self.value_bytes.to_string().len();
        let bulk = b"$\r\n".len() + digits + self.value_bytes + b"\r\n".len();
        match (self.protocol, self.operation) {
            (Resp, Get) => bulk,
            (Resp, GetMany) => b"*10\r\n".len() + MANY_KEYS * bulk,
            (Resp, Set | SetMany) => b"+OK\r\n".len(),
            (Book, Get) => digits + b" ".len() + self.value_bytes,
            (Book, _) => b"0 ".len(),
        }
    }
}

//! A server without sockets: what a connection does with the bytes it has read, on one thread.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};

use rockpool::base::clock;
use rockpool::base::gather::Gather;
use rockpool::base::key_hash::HashSecret;
use rockpool::command::clients::{Client, Peer};
use rockpool::command::executor::Batch;
use rockpool::command::session::Session;
use rockpool::command::state::State;
use rockpool::config::{Settings, find};
use rockpool::keyspace::tier::{Tier, store_memory_bytes, sync_policy};
use rockpool::net::{Conversation, Protocol};
use rockpool::store::journal::{self, Journal};
use rockpool::store::rocks::{Rocks, RocksOptions};

/// Places the keys, alike in every run.
const SECRET: HashSecret = HashSecret::AesCmac([1; 16]);
pub const VALUE_BYTES: usize = 64;
/// Commands in a batch that fills the server.
const FILL_BATCH: usize = 64;

pub struct Server {
    pub state: Arc<State>,
    session: Session,
    conversation: Conversation,
    output: Gather,
}

impl Server {
    /// With a `directory`, which must be empty, RocksDB lies there under the keys; without one there is no disk. No thread
    /// merges: who wants a round calls for it.
    pub fn start(protocol: Protocol, directory: Option<&Path>, appendonly: &str) -> Server {
        let settings = Arc::new(Settings::default());
        let (parameter, _) = find(b"appendonly").expect("a known parameter");
        parameter.value(&settings).assign(appendonly).expect("yes or no");
        let tier = directory.map(|directory| {
            let memory_bytes = store_memory_bytes(&settings, 0);
            let options = RocksOptions { memory_bytes, create: true, ..RocksOptions::default() };
            Tier::new(Rocks::open(&directory.join("rocksdb"), &options).expect("a new database"))
        });
        let state = Arc::new(State::new(settings, SECRET, tier));
        if let (Some(directory), Some(tier)) = (directory, state.keyspace.tier()) {
            let options =
                journal::Options { sync: sync_policy(&state.settings), create: true, ..journal::Options::default() };
            let path = directory.join("journal");
            let journal = Journal::open(&path, options, &mut |_: &[u8]| Ok(())).expect("a new journal");
            tier.begin_journal(journal, state.settings.appendonly.get());
        }
        let client = Arc::new(Client::new(1, Peer::default(), clock::now_ms(), true));
        Server {
            state,
            session: Session::new(client),
            conversation: Conversation::new(protocol),
            output: Gather::default(),
        }
    }

    /// Executes a batch, and has what it changed written to the journal. Returns the replies.
    pub fn run(&mut self, input: &mut [u8]) -> &Gather {
        self.output.clear();
        let (batch, session) = (&mut Batch::new(&self.state), &mut self.session);
        let progress = self.conversation.execute(batch, None, session, input, &mut self.output, usize::MAX);
        assert_eq!(progress.consumed, input.len(), "it is executed in one batch: {:?}", progress.next);
        if progress.commit.is_any() {
            let mut context = Context::from_waker(Waker::noop());
            let polled = progress.commit.poll(self.state.keyspace.tier(), &mut context);
            assert!(polled.is_ready(), "the journal cannot be written");
        }
        &self.output
    }

    /// Sets the keys numbered from 0 to `keys`, and brings them to disk if there is one.
    pub fn fill(&mut self, protocol: Protocol, keys: usize) {
        for first in (0..keys).step_by(FILL_BATCH) {
            self.run(&mut batch(protocol, Operation::Set, first..keys.min(first + FILL_BATCH)));
        }
        self.merge();
    }

    /// Brings what has changed to disk. Returns how many entries that were.
    pub fn merge(&mut self) -> u64 {
        self.state.keyspace.merge(clock::now_ms(), || true).expect("a disk that takes writes").entries
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Get,
    Set,
}

/// The name of a key, as redis-benchmark forms it.
pub fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// The bytes that a client sends to have the operation done on these keys.
pub fn batch(protocol: Protocol, operation: Operation, keys: impl Iterator<Item = usize>) -> Vec<u8> {
    let value = "x".repeat(VALUE_BYTES);
    let command = |number| {
        let key = key(number);
        let key_bytes = key.len();
        match (protocol, operation) {
            (Protocol::Resp, Operation::Get) => format!("*2\r\n$3\r\nGET\r\n${key_bytes}\r\n{key}\r\n"),
            (Protocol::Resp, Operation::Set) => {
                format!("*3\r\n$3\r\nSET\r\n${key_bytes}\r\n{key}\r\n${VALUE_BYTES}\r\n{value}\r\n")
            }
            (Protocol::Book, Operation::Get) => format!("G{key_bytes} {key}"),
            (Protocol::Book, Operation::Set) => format!("S{key_bytes} {VALUE_BYTES} {key}{value}"),
        }
    };
    keys.map(command).collect::<String>().into_bytes()
}

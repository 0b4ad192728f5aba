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
/// How many keys MGET and MSET have.
pub const MANY_KEYS: usize = 10;
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

    /// Sets the keys numbered from 0 to `keys` to values of that size, and merges them if there is a disk.
    pub fn fill(&mut self, protocol: Protocol, keys: usize, value_bytes: usize) {
        for first in (0..keys).step_by(FILL_BATCH) {
            self.run(&mut batch(protocol, Operation::Set, value_bytes, first..keys.min(first + FILL_BATCH)));
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
    /// MGET of [`MANY_KEYS`].
    GetMany,
    /// MSET of [`MANY_KEYS`].
    SetMany,
}

impl Operation {
    /// How many keys a command has.
    pub fn keys(self) -> usize {
        match self {
            Operation::Get | Operation::Set => 1,
            Operation::GetMany | Operation::SetMany => MANY_KEYS,
        }
    }
}

/// The name of a key, as redis-benchmark forms it.
pub fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// The bytes that a client sends to have the operation done on these keys, with values of that size. A command takes as many of the
/// keys as it has.
pub fn batch(
    protocol: Protocol,
    operation: Operation,
    value_bytes: usize,
    keys: impl Iterator<Item = usize>,
) -> Vec<u8> {
    let value = "x".repeat(value_bytes);
    let keys: Vec<String> = keys.map(key).collect();
    let argument = |word: &str| format!("${}\r\n{word}\r\n", word.len());
    let command = |keys: &[String]| match (protocol, operation) {
        (Protocol::Resp, _) => {
            let (name, has_values) = match operation {
                Operation::Get => ("GET", false),
                Operation::Set => ("SET", true),
                Operation::GetMany => ("MGET", false),
                Operation::SetMany => ("MSET", true),
            };
            let values = if has_values { argument(&value) } else { String::new() };
            let pairs: String = keys.iter().map(|key| argument(key) + &values).collect();
            let arguments = 1 + keys.len() * (1 + usize::from(has_values));
            format!("*{arguments}\r\n{}{pairs}", argument(name))
        }
        (Protocol::Book, Operation::Get) => format!("G{} {}", keys[0].len(), keys[0]),
        (Protocol::Book, Operation::Set) => format!("S{} {value_bytes} {}{value}", keys[0].len(), keys[0]),
        (Protocol::Book, Operation::GetMany | Operation::SetMany) => panic!("the protocol has no such command"),
    };
    keys.chunks(operation.keys()).map(command).collect::<String>().into_bytes()
}

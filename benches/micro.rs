//! How long the parts of the hot path take: parsers, execution, slot and key lookup, journal, merger, record codec.
//!
//! For finding out what a change does to one part, on a machine that is idle otherwise; what guards against a regression
//! is `benches/instructions`.

mod support;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Bencher, Criterion, Throughput, criterion_group, criterion_main};
use rockpool::base::clock;
use rockpool::base::gather::Gather;
use rockpool::base::memory::Counting;
use rockpool::base::slot;
use rockpool::command::clients::{Client, Peer};
use rockpool::command::executor::Batch;
use rockpool::command::session::Session;
use rockpool::keyspace::{AccessSet, Caller, Changes};
use rockpool::net::Protocol;
use rockpool::protocol::{Args, book, resp};
use rockpool::store::journal::{Journal, Options, SyncPolicy};
use rockpool::store::record::{LongKeys, Record, RecordKey};

use support::{Operation, Server, VALUE_BYTES, batch, key};

/// The server's own, so that allocations cost what they cost there.
#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

const PIPELINE: usize = 64;
const KEYS: usize = 100_000;
/// Entries that a round of the merger takes.
const ROUND_ENTRIES: usize = 10_000;

fn parsers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parser");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let limits = resp::Limits { bulk_bytes: 512 << 20, authenticated: true };
    let single = [("get", Operation::Get), ("set", Operation::Set)];
    let many = [("mget", Operation::GetMany), ("mset", Operation::SetMany)];
    for (name, operation) in single.into_iter().chain(many) {
        let mut input = batch(Protocol::Resp, operation, VALUE_BYTES, 0..PIPELINE * operation.keys());
        let mut parser = resp::RequestParser::default();
        group.bench_function(format!("resp/{name}"), |bencher| {
            bencher.iter(|| {
                parser.advance(&mut input, &limits, PIPELINE).expect("well-formed commands");
                let arguments: usize = (0..PIPELINE).map(|index| parser.command(&input, index).len()).sum();
                assert_eq!(parser.consume(PIPELINE), input.len());
                arguments
            });
        });
    }
    for (name, operation) in single {
        let input = batch(Protocol::Book, operation, VALUE_BYTES, 0..PIPELINE);
        let mut parser = book::RequestParser::default();
        group.bench_function(format!("book/{name}"), |bencher| {
            bencher.iter(|| {
                parser.advance(&input, limits.bulk_bytes, PIPELINE).expect("well-formed commands");
                let commands = (0..PIPELINE).filter_map(|index| parser.command(&input, index)).count();
                assert_eq!(parser.consume(PIPELINE), input.len());
                commands
            });
        });
    }
}

/// Finding, admitting, running and recording a command that does nothing, and one that reads a key.
fn execution(criterion: &mut Criterion) {
    let server = filled(Server::start(Protocol::Resp, None, "no"));
    let mut session = Session::new(Arc::new(Client::new(1, Peer::default(), clock::now_ms(), true)));
    let key = key(KEYS / 2);
    let commands: [(&str, &[&[u8]]); 2] = [("ping", &[b"PING"]), ("get", &[b"GET", key.as_bytes()])];
    for (name, arguments) in commands {
        let mut output = Gather::default();
        criterion.bench_function(&format!("execute/{name}"), |bencher| {
            let mut batch = Batch::new(&server.state);
            bencher.iter(|| {
                output.clear();
                let mut writer = resp::ReplyWriter::new(&mut output, resp::Version::Resp2);
                batch.execute(&mut session, Args::from_slices(black_box(arguments)), &mut writer)
            });
        });
    }
}

fn lookup(criterion: &mut Criterion) {
    for (name, key) in [("plain", "key:000000012345"), ("tagged", "user:{000000012345}:name")] {
        criterion.bench_function(&format!("slot/{name}"), |bencher| {
            bencher.iter(|| slot::slot(black_box(key.as_bytes())));
        });
    }
    let server = filled(Server::start(Protocol::Resp, None, "no"));
    let keyspace = &server.state.keyspace;
    let caller = Caller { now_ms: clock::now_ms(), touches: true };
    let changes = Changes::default();
    let mut cold = None;
    // Far apart, so that neither key nor slot is in the processor's cache by luck.
    let mut keys = (0..KEYS).cycle().step_by(7919).map(key);
    criterion.bench_function("lookup", |bencher| {
        bencher.iter_batched(
            || keys.next().unwrap_or_default(),
            |name| {
                let key = keyspace.key(name.as_bytes());
                let mut access = AccessSet::new(keyspace, &changes, caller, 0, &mut cold);
                let slot = access.slot(&key).expect("a resident key");
                let found = slot.read(&key).is_some_and(|entry| entry.string().is_some());
                // Given back, so that freeing it is not measured.
                (found, name)
            },
            BatchSize::SmallInput,
        );
    });
}

/// What the writes of a batch put into the journal, and the one write that follows.
fn journal(criterion: &mut Criterion) {
    const EFFECT: [u8; 110] = [b'e'; 110];
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { sync: SyncPolicy::Never, create: true, ..Options::default() };
    let journal = Journal::open(directory.path(), options, &mut |_: &[u8]| Ok(())).expect("a new journal");
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(PIPELINE as u64));
    let append = || {
        for _ in 0..PIPELINE {
            journal.append(|bytes| bytes.bytes().extend_from_slice(black_box(&EFFECT)));
        }
    };
    let write = || journal.release(journal.write_all().expect("a written journal"));
    group.bench_function("append", |bencher: &mut Bencher<'_>| {
        bencher.iter_batched(write, |()| append(), BatchSize::PerIteration);
    });
    group.bench_function("append and write", |bencher: &mut Bencher<'_>| {
        bencher.iter(|| {
            append();
            write();
        });
    });
}

fn merger(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut server = filled(Server::start(Protocol::Resp, Some(directory.path()), "yes"));
    let mut first = 0;
    let mut group = criterion.benchmark_group("merger");
    group.throughput(Throughput::Elements(ROUND_ENTRIES as u64));
    group.bench_function("round", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                for start in (first..first + ROUND_ENTRIES).step_by(PIPELINE) {
                    let keys = (start..(start + PIPELINE).min(first + ROUND_ENTRIES)).map(|number| number % KEYS);
                    server.run(&mut batch(Protocol::Resp, Operation::Set, VALUE_BYTES, keys));
                }
                first = (first + ROUND_ENTRIES) % KEYS;
                let began = std::time::Instant::now();
                assert_eq!(server.merge(), ROUND_ENTRIES as u64);
                took += began.elapsed();
            }
            took
        });
    });
}

fn records(criterion: &mut Criterion) {
    let value = [b'x'; VALUE_BYTES];
    let record = Record {
        kind: 0,
        expiry_ms: Some(1_900_000_000_000),
        written_ms: 1_800_000_000_000,
        long_key: None,
        payload: &value,
    };
    let (mut record_key, mut bytes) = (Vec::new(), Vec::new());
    criterion.bench_function("record/encode", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            RecordKey::encode(&mut record_key, LongKeys::Digest, 0, 12_182, 1 << 60, black_box(b"key:000000012345"));
            black_box(record).encode(&mut bytes);
        });
    });
    criterion.bench_function("record/decode", |bencher| {
        bencher.iter(|| (RecordKey::decode(black_box(&record_key)), Record::decode(black_box(&bytes))));
    });
}

fn filled(mut server: Server) -> Server {
    server.fill(Protocol::Resp, KEYS, VALUE_BYTES);
    server
}

criterion_group! {
    name = micro;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = parsers, execution, lookup, journal, merger, records
}
criterion_main!(micro);

mod basics;
mod direct;
#[cfg(feature = "failpoints")]
mod faults;
mod power_cut;
mod recovery;
mod repair;
mod rest;
mod waiting;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

#[cfg(feature = "failpoints")]
use parking_lot::RwLockWriteGuard;
use parking_lot::{RwLock, RwLockReadGuard};
use tempfile::TempDir;

use super::format::{Block, SEGMENT_HEADER_BYTES, SegmentHeader, blocks_from};
use super::{Journal, JournalError, Options, SyncPolicy, Ticket};

/// Failpoints are global: who sets them is alone.
static ALONE: RwLock<()> = RwLock::new(());

#[expect(dead_code, reason = "they are held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    #[cfg(feature = "failpoints")]
    Alone(fail::FailScenario<'static>, RwLockWriteGuard<'static, ()>),
}

/// A directory for one test.
struct Place {
    directory: TempDir,
    _turn: Turn,
}

impl Place {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a directory"), _turn: Turn::Shared(ALONE.read()) }
    }

    #[cfg(feature = "failpoints")]
    fn alone() -> Self {
        let guard = ALONE.write();
        Self { directory: TempDir::new().expect("a directory"), _turn: Turn::Alone(fail::FailScenario::setup(), guard) }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self, options: Options) -> (Journal, Vec<Vec<u8>>) {
        open(self.path(), options)
    }

    fn segment(&self, number: u64) -> PathBuf {
        super::files::segment_path(self.path(), number)
    }
}

fn options(sync: SyncPolicy) -> Options {
    Options {
        sync,
        segment_bytes: 64 * 1024,
        create: true,
        interval: Duration::from_secs(3600),
        retry: Duration::from_millis(5),
        ..Options::default()
    }
}

fn try_open(path: &Path, options: Options) -> (Result<Journal, JournalError>, Vec<Vec<u8>>) {
    let mut blocks = Vec::new();
    let journal = Journal::open(path, options, &mut |payload: &[u8]| {
        blocks.push(payload.to_vec());
        Ok(())
    });
    (journal, blocks)
}

fn open(path: &Path, options: Options) -> (Journal, Vec<Vec<u8>>) {
    let (journal, blocks) = try_open(path, options);
    (journal.unwrap_or_else(|error| panic!("{error}")), blocks)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits like a task of its own. Panics if it is not woken for long, so that a lost wake-up is a failure.
fn wait(journal: &Journal, ticket: Ticket) {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let began = Instant::now();
    while journal.poll_acknowledged(ticket, &mut context) == Poll::Pending {
        std::thread::park_timeout(Duration::from_secs(20));
        assert!(began.elapsed() < Duration::from_secs(20), "nobody woke the waiter of {ticket:?}");
    }
}

/// Until the threads of the journal have brought it about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

fn append(journal: &Journal, bytes: &[u8]) -> Ticket {
    journal.append(|buffer| buffer.bytes().extend_from_slice(bytes))
}

/// Appends and writes: one block.
fn block(journal: &Journal, bytes: &[u8]) -> Ticket {
    let ticket = append(journal, bytes);
    assert_eq!(journal.write_all().expect("a write"), ticket);
    ticket
}

/// Where the blocks of a segment begin and end.
fn layout(path: &Path) -> Vec<(u64, std::ops::Range<usize>)> {
    let bytes = std::fs::read(path).expect("a segment");
    let header = SegmentHeader::decode(&bytes).expect("a header");
    blocks_from(&bytes, SEGMENT_HEADER_BYTES, &header)
        .map(|(offset, Block { header, end, .. })| (header.number, offset..end))
        .collect()
}

fn flip(path: &Path, offset: usize, bit: u8) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[offset] ^= 1 << bit;
    std::fs::write(path, bytes).expect("a write");
}

/// What a killed process, or one whose machine lost power, leaves behind.
fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

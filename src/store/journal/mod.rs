//! The journal: what changed is in a file before it is acknowledged, and is read again after a crash.
//!
//! Threads append to buffers of their own ([`shards`]). A *cut* takes what is in all of them at one moment; it becomes
//! one *block*, written with one system call for everybody who waits ([`writer`]). Blocks are numbered without gaps,
//! lie in *segments* ([`files`]), and are *released* when what they say is safe elsewhere. A thread syncs ([`sync`]),
//! one more keeps spare segments ready. [`recovery`] reads the blocks again; [`repair`] drops what it cannot read.
//! `docs/journal.md` describes the bytes, and what is promised when.

mod block_mark;
mod direct;
mod error;
mod fault;
mod files;
mod format;
mod recovery;
mod repair;
mod shards;
mod status;
mod sync;
#[cfg(test)]
mod tests;
mod waiters;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::base::gather::Gather;

pub use error::JournalError;
pub use repair::repair;
pub use status::{JournalStatus, Latency};

use block_mark::BlockMark;
use files::Directory;
use shards::Shards;
use status::{Gauges, Meter};
use sync::Threads;
use waiters::Waiters;
use writer::Writer;

/// When a change may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncPolicy {
    /// When it is on disk.
    Always,
    /// When it is written; a sync follows each second. A power cut may take what was written since the last.
    EverySecond,
    /// When it is written. The operating system syncs when it sees fit.
    Never,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub sync: SyncPolicy,
    /// A segment that has reached this size is left for the next.
    pub segment_bytes: u64,
    /// How many files that are not needed any more are kept to be written over.
    pub spare_segments: usize,
    /// Whether a journal may be made where there is none.
    pub create: bool,
    /// The second of `EverySecond`.
    pub interval: Duration,
    /// How long after a failure it is tried again.
    pub retry: Duration,
    /// How long a failure may last before nobody waits for an acknowledgement any more.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::EverySecond,
            segment_bytes: 32 * 1024 * 1024,
            spare_segments: 2,
            create: false,
            interval: Duration::from_secs(1),
            retry: Duration::from_millis(100),
            patience: Duration::from_secs(5),
        }
    }
}

/// The number of the block that holds, or will hold, an append. The default is a block that everybody has: 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    pub fn block(self) -> u64 {
        self.0
    }
}

/// Who takes over what a journal holds when it is opened.
pub trait Replay {
    /// What is to come takes so many bytes in files, at most.
    fn begin(&mut self, total_bytes: u64) {
        let _ = total_bytes;
    }

    /// So many of these bytes hold no block that counts.
    fn pass(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// One block's payload.
    ///
    /// # Errors
    /// What is wrong with it.
    fn block(&mut self, payload: &[u8]) -> Result<(), String>;

    /// That was the last. Nothing is changed in the journal's directory before this has returned.
    ///
    /// # Errors
    /// Why the blocks could not be taken over.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> Result<(), String>> Replay for F {
    fn block(&mut self, payload: &[u8]) -> Result<(), String> {
        self(payload)
    }
}

/// Dropped without [`Journal::close`], it leaves the files as a killed process would.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Why writing fails, and since when.
struct Failure {
    since: Instant,
    message: String,
}

struct Shared {
    shards: Shards,
    /// Who holds it writes for everybody.
    writer: Mutex<Writer>,
    /// Held for the length of a sync, before `writer`.
    syncing: Mutex<()>,
    directory: Directory,
    mark: Arc<BlockMark>,
    waiters: Waiters,
    threads: Threads,
    /// The newest block in the file.
    written: CachePadded<AtomicU64>,
    /// The newest block that a power cut leaves intact, with all before it.
    durable: CachePadded<AtomicU64>,
    released: AtomicU64,
    policy: AtomicU8,
    has_failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// A failure has lasted too long for anybody to wait for its end.
    has_given_up: AtomicBool,
    segment_bytes: u64,
    interval: Duration,
    retry: Duration,
    patience: Duration,
    first_block: u64,
    bytes_written: AtomicU64,
    gauges: Gauges,
    write_meter: Meter,
    sync_meter: Meter,
}

impl Journal {
    /// Opens the journal in `directory`, hands `replay` the payload of each block in it, oldest first, and is ready to
    /// go on after the last. A torn end, as a crash leaves it, ends the replay; anything that was on disk
    /// once and is not readable now is an error.
    pub fn open(directory: &Path, options: Options, replay: &mut impl Replay) -> Result<Journal, JournalError> {
        let recovered = recovery::recover(directory, &options, replay)?;
        let next = recovered.writer.written + 1;
        let shared = Arc::new(Shared {
            shards: Shards::new(next),
            syncing: Mutex::new(()),
            waiters: Waiters::default(),
            threads: Threads::default(),
            written: CachePadded::new(AtomicU64::new(next - 1)),
            durable: CachePadded::new(AtomicU64::new(next - 1)),
            released: AtomicU64::new(recovered.released),
            writer: Mutex::new(recovered.writer),
            mark: recovered.directory.mark.clone(),
            directory: recovered.directory,
            policy: AtomicU8::new(options.sync as u8),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            has_given_up: AtomicBool::new(false),
            segment_bytes: options.segment_bytes,
            interval: options.interval,
            retry: options.retry,
            patience: options.patience,
            first_block: next,
            bytes_written: AtomicU64::new(0),
            gauges: Gauges::default(),
            write_meter: Meter::default(),
            sync_meter: Meter::default(),
        });
        shared.retire_segments(&mut shared.writer.lock());
        let threads = Mutex::new(sync::start(&shared).map_err(JournalError::io(directory))?);
        Ok(Journal { shared, threads })
    }

    /// Lets `write` append to this thread's part. What one call appends lies in one block, whole.
    #[inline]
    pub fn append(&self, write: impl FnOnce(&mut Gather)) -> Ticket {
        Ticket(self.shared.shards.append(write))
    }

    #[inline]
    pub fn is_acknowledged(&self, ticket: Ticket) -> bool {
        self.shared.acknowledged() >= ticket.0
    }

    /// Ready once `ticket` may be acknowledged. What that takes is done here and now, for everybody who waits, if it is
    /// only a short write or a quick sync; otherwise, and while the file cannot be written, the waker is called.
    pub fn poll_acknowledged(&self, ticket: Ticket, context: &mut Context<'_>) -> Poll<()> {
        let shared = &*self.shared;
        loop {
            if self.is_acknowledged(ticket) {
                return Poll::Ready(());
            }
            if !self.has_failed() {
                if shared.is_always() {
                    if shared.try_quick_sync() {
                        continue;
                    }
                } else if !shared.shards.has_large() {
                    let mut writer = shared.writer.lock();
                    // Somebody else may have written it, or failed to, meanwhile.
                    if writer.written >= ticket.0 || (!self.has_failed() && shared.write(&mut writer).is_ok()) {
                        continue;
                    }
                }
            }
            shared.waiters.register(ticket.0, context.waker());
            if self.is_acknowledged(ticket) {
                return Poll::Ready(());
            }
            if shared.is_always() {
                shared.request_sync();
                return Poll::Pending;
            }
            if self.has_failed() {
                return Poll::Pending;
            }
            // That thread writes it: others of this one would have to wait.
            if shared.shards.has_large() {
                shared.request_write();
                return Poll::Pending;
            }
        }
    }

    /// Writes what was appended before the call, by any thread: it is in the blocks up to the one returned.
    pub fn write_all(&self) -> io::Result<Ticket> {
        let mut writer = self.shared.writer.lock();
        let written = self.shared.write(&mut writer)?;
        writer.mark();
        Ok(Ticket(written))
    }

    /// Like [`Journal::write_all`], and then syncs.
    pub fn sync(&self) -> io::Result<()> {
        self.shared.sync()
    }

    /// What the blocks up to this one say is safe elsewhere: no replay needs them.
    pub fn release(&self, up_to: Ticket) {
        self.shared.released.fetch_max(up_to.0, Ordering::Relaxed);
        let mut writer = self.shared.writer.lock();
        writer.released(up_to.0);
        self.shared.retire_segments(&mut writer);
    }

    /// Gives back the space of files that are kept to be written over, if nothing in the journal is needed any more; the next
    /// write has them made again. For whoever expects none soon.
    ///
    /// # Errors
    /// When a new file cannot be made; then all stays as it was.
    pub fn rest(&self) -> io::Result<()> {
        self.shared.sync()?;
        self.shared.rest(&mut self.shared.writer.lock())
    }

    pub fn set_policy(&self, policy: SyncPolicy) {
        self.shared.policy.store(policy as u8, Ordering::SeqCst);
        // Who waits for a sync may not need it any more, and asks again.
        self.shared.waiters.wake_up_to(u64::MAX);
        self.shared.threads.wake_sync();
    }

    /// The size of the blocks that are not released: what a replay would be good for.
    pub fn unreleased_bytes(&self) -> u64 {
        self.shared.gauges.unreleased_bytes.load(Ordering::Relaxed)
    }

    #[inline]
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed.load(Ordering::Acquire)
    }

    /// The size of a segment that is full.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.segment_bytes
    }

    /// Why the journal cannot write at the moment.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().as_ref().map(|failure| failure.message.clone())
    }

    /// Whether writing has failed for so long that nobody should wait for what is not acknowledged. It is written all the same
    /// once that is possible.
    #[inline]
    pub fn has_given_up(&self) -> bool {
        self.shared.has_given_up.load(Ordering::Acquire)
    }

    pub fn status(&self) -> JournalStatus {
        let shared = &*self.shared;
        let (gauges, spare_segments) = (&shared.gauges, shared.directory.ready_spares());
        let written = shared.written.load(Ordering::Acquire);
        JournalStatus {
            segments: gauges.segments.load(Ordering::Relaxed),
            spare_segments,
            bytes_on_disk: gauges.segment_bytes.load(Ordering::Relaxed) + spare_segments as u64 * shared.segment_bytes,
            unreleased_bytes: self.unreleased_bytes(),
            blocks_written: written + 1 - shared.first_block,
            bytes_written: shared.bytes_written.load(Ordering::Relaxed),
            write_latency: shared.write_meter.latency(),
            sync_latency: shared.sync_meter.latency(),
            waiters: shared.waiters.count(),
            written_block: written,
            durable_block: shared.durable(),
            released_block: shared.released.load(Ordering::Relaxed),
        }
    }

    /// Writes, syncs and ends the threads. What is appended after it stays in memory.
    pub fn close(&self) -> io::Result<()> {
        self.stop();
        self.shared.sync()
    }

    fn stop(&self) {
        self.shared.directory.closing.store(true, Ordering::SeqCst);
        for thread in self.threads.lock().drain(..) {
            thread.thread().unpark();
            // A thread that panicked has said so; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    #[inline]
    fn is_always(&self) -> bool {
        self.policy.load(Ordering::SeqCst) == SyncPolicy::Always as u8
    }

    fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The newest block that may be acknowledged.
    #[inline]
    fn acknowledged(&self) -> u64 {
        if self.is_always() { self.durable() } else { self.written.load(Ordering::Acquire) }
    }

    fn fail(&self, message: String) {
        let mut present = self.failure.lock();
        if present.is_none() {
            tracing::error!(failure = %message, "the journal cannot be written");
        }
        let since = present.as_ref().map_or_else(Instant::now, |failure| failure.since);
        let gives_up = since.elapsed() >= self.patience;
        *present = Some(Failure { since, message });
        drop(present);
        self.has_failed.store(true, Ordering::SeqCst);
        if gives_up {
            self.has_given_up.store(true, Ordering::SeqCst);
            // Each time, for those who have come just before it was set.
            self.waiters.wake_up_to(u64::MAX);
        }
        // That thread tries again.
        self.threads.wake_sync();
    }

    /// Something was written, or synced: whatever was wrong is not any more.
    fn succeed(&self) {
        if self.has_failed.load(Ordering::Relaxed) {
            *self.failure.lock() = None;
            self.has_given_up.store(false, Ordering::SeqCst);
            self.has_failed.store(false, Ordering::SeqCst);
            tracing::info!("the journal can be written again");
            // Who waits is woken by that thread, which holds no lock then.
            self.request_sync();
        }
    }
}

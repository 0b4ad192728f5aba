//! An open journal, as others have it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::error::JournalError;
use super::options::{Options, SyncPolicy};
use super::recovery::recover;
use super::replay::Replay;
use super::shared::Shared;
use super::status::JournalStatus;
use super::sync;
use crate::base::gather::Gather;

/// The number of the block that holds, or will hold, an append. The default is a block that everybody has: 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

impl Ticket {
    /// The block's number.
    pub fn block(self) -> u64 {
        self.0
    }
}

/// Dropped without [`Journal::close`], it leaves the files as a killed process would.
pub struct Journal {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in `directory`, hands `replay` the payload of each block in it, oldest first, and is ready to
    /// go on after the last. A torn end, as a crash leaves it, ends the replay; anything that was on disk
    /// once and is not readable now is an error.
    pub fn open(directory: &Path, options: Options, replay: &mut impl Replay) -> Result<Journal, JournalError> {
        let shared = Arc::new(Shared::new(recover(directory, &options, replay)?, &options));
        shared.retire_segments(&mut shared.writer.lock());
        let threads = Mutex::new(sync::start(&shared).map_err(JournalError::io(directory))?);
        Ok(Journal { shared, threads })
    }

    /// Lets `write` append to this thread's part. What one call appends lies in one block, whole.
    #[inline]
    pub fn append(&self, write: impl FnOnce(&mut Gather)) -> Ticket {
        Ticket(self.shared.shards.append(write))
    }

    /// Whether the append may be acknowledged by now.
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
                shared.threads.request_sync();
                return Poll::Pending;
            }
            if self.has_failed() {
                return Poll::Pending;
            }
            // That thread writes it: others of this one would have to wait.
            if shared.shards.has_large() {
                shared.threads.request_write();
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

    /// Acknowledges by another policy from now on.
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

    /// Whether nothing can be written at the moment. It is tried again until it can.
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

    /// What there is in the journal, and what writing and syncing took.
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

//! What all parts of an open journal share: what is written, what is durable, and why it fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use super::block_mark::BlockMark;
use super::files::Directory;
use super::format::{BLOCK_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::options::{Options, SyncPolicy};
use super::recovery::Recovered;
use super::shards::Shards;
use super::status::{Gauges, Meter};
use super::threads::Threads;
use super::waiters::Waiters;
use super::writer::{Segment, Writer};
use crate::base::clock::Monotonic;

/// How many times its size a segment may reach while no spare is ready.
const GROWTH: u64 = 4;

/// Why writing fails, and since when.
pub struct Failure {
    pub since: Instant,
    pub message: String,
}

pub struct Shared {
    pub shards: Shards,
    /// Who holds it writes for everybody.
    pub writer: Mutex<Writer>,
    /// Held for the length of a sync, before `writer`.
    pub syncing: Mutex<()>,
    pub directory: Directory,
    pub mark: Arc<BlockMark>,
    pub waiters: Waiters,
    pub threads: Threads,
    /// The newest block in the file.
    pub written: CachePadded<AtomicU64>,
    /// The newest block that a power cut leaves intact, with all before it.
    pub durable: CachePadded<AtomicU64>,
    pub released: AtomicU64,
    pub policy: AtomicU8,
    pub has_failed: AtomicBool,
    pub failure: Mutex<Option<Failure>>,
    /// A failure has lasted too long for anybody to wait for its end.
    pub has_given_up: AtomicBool,
    pub segment_bytes: u64,
    pub interval: Duration,
    pub retry: Duration,
    pub patience: Duration,
    pub first_block: u64,
    pub bytes_written: AtomicU64,
    pub gauges: Gauges,
    pub write_meter: Meter,
    pub sync_meter: Meter,
}

impl Shared {
    /// Goes on after what was recovered.
    pub fn new(recovered: Recovered, options: &Options) -> Shared {
        let next = recovered.writer.written + 1;
        Shared {
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
        }
    }

    #[inline]
    pub fn is_always(&self) -> bool {
        self.policy.load(Ordering::SeqCst) == SyncPolicy::Always as u8
    }

    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The newest block that may be acknowledged.
    #[inline]
    pub fn acknowledged(&self) -> u64 {
        if self.is_always() { self.durable() } else { self.written.load(Ordering::Acquire) }
    }

    pub fn fail(&self, message: String) {
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
    pub fn succeed(&self) {
        if self.has_failed.load(Ordering::Relaxed) {
            *self.failure.lock() = None;
            self.has_given_up.store(false, Ordering::SeqCst);
            self.has_failed.store(false, Ordering::SeqCst);
            tracing::info!("the journal can be written again");
            // Who waits is woken by that thread, which holds no lock then.
            self.threads.request_sync();
        }
    }

    /// Writes everything that was appended before the call, by any thread, and returns the newest block.
    pub fn write(&self, writer: &mut Writer) -> io::Result<u64> {
        if writer.must_rewrite {
            return Err(io::Error::other("blocks that could not be synced are not written again yet"));
        }
        if writer.has_unwritten() {
            self.write_cut(writer)?;
        }
        if self.shards.cut(&mut writer.cut) {
            self.write_cut(writer)?;
        }
        Ok(writer.written)
    }

    fn write_cut(&self, writer: &mut Writer) -> io::Result<()> {
        if self.directory.is_resting.load(Ordering::Relaxed) {
            self.directory.is_resting.store(false, Ordering::Relaxed);
            self.threads.wake_files();
        }
        let (began, is_always) = (Monotonic::start(), self.is_always());
        let written =
            self.make_room(writer).and_then(|()| writer.write_block(self.durable.load(Ordering::Relaxed), is_always));
        let bytes = match written {
            Ok(bytes) => bytes,
            Err(error) => {
                self.fail(format!("block {} cannot be written: {error}", writer.cut.block));
                return Err(error);
            }
        };
        self.directory.is_direct.store(writer.direct.is_on(), Ordering::Relaxed);
        let block = writer.cut.block;
        if is_always {
            writer.retained.keep(block, writer.cut.buffers());
        }
        self.shards.written(&writer.cut);
        writer.cut.clear();
        writer.written = block;
        writer.growth.written_bytes += bytes;
        self.publish(writer);
        // Before anybody is told. Where that takes a sync, the mark follows it.
        if !is_always {
            self.mark.written(block);
        }
        self.written.store(block, Ordering::Release);
        self.bytes_written.fetch_add(bytes, Ordering::Relaxed);
        self.write_meter.record(began.elapsed_us());
        self.succeed();
        Ok(())
    }

    pub fn publish(&self, writer: &Writer) {
        self.gauges.segments.store(writer.segments.len(), Ordering::Relaxed);
        self.gauges.segment_bytes.store(writer.segment_bytes(), Ordering::Relaxed);
        self.gauges.unreleased_bytes.store(writer.unreleased_bytes(), Ordering::Relaxed);
    }

    /// Goes on in a small file where no block is needed, and keeps no spares until there is something to write.
    pub fn rest(&self, writer: &mut Writer) -> io::Result<()> {
        let needed = self.released.load(Ordering::Relaxed).min(self.durable()) < writer.written;
        let has_nothing_to_give =
            !writer.is_prepared && writer.segments.len() == 1 && self.directory.ready_spares() == 0;
        if needed || writer.must_rewrite || writer.has_unwritten() || has_nothing_to_give {
            return Ok(());
        }
        let header = SegmentHeader::new(writer.header().number + 1, writer.written + 1, self.durable());
        writer.enter(self.directory.begin_small(header)?, SEGMENT_HEADER_BYTES as u64);
        // The file's header is on disk already, and with its name the older ones are needless.
        self.directory.sync()?;
        writer.directory_changed = false;
        if let Some(segment) = writer.segments.back_mut() {
            segment.is_durable = true;
        }
        self.directory.is_resting.store(true, Ordering::Relaxed);
        self.retire_segments(writer);
        self.threads.wake_files();
        Ok(())
    }

    /// Rolls over to a new segment if it is time.
    fn make_room(&self, writer: &mut Writer) -> io::Result<()> {
        let has_blocks = writer.offset > SEGMENT_HEADER_BYTES as u64;
        let next = writer.offset + (BLOCK_HEADER_BYTES + writer.cut.bytes()) as u64;
        let is_full = has_blocks && next > self.segment_bytes;
        // A block that could not be written may fit elsewhere, or the disk is damaged here.
        let is_stuck = has_blocks && writer.is_torn;
        let is_overfull = is_full && writer.offset >= self.segment_bytes.saturating_mul(GROWTH);
        let has_spare = || self.directory.ready_spares() > 0;
        if is_overfull || ((is_full || is_stuck || !writer.is_prepared) && has_spare()) {
            let header = SegmentHeader::new(writer.header().number + 1, writer.cut.block, self.durable());
            let begun = self.directory.begin(header)?;
            writer.enter(begun, SEGMENT_HEADER_BYTES as u64);
            self.threads.wake_files();
        }
        Ok(())
    }

    pub fn become_durable(&self, writer: &mut Writer, block: u64) {
        writer.retained.drop_up_to(block);
        for segment in writer.segments.iter_mut().rev().take_while(|segment| !segment.is_durable) {
            segment.is_durable = segment.header.first_block <= block;
        }
        self.mark.synced(block);
        self.durable.fetch_max(block, Ordering::Release);
        self.retire_segments(writer);
    }

    /// Gives up the segments all of whose blocks are released. Those that are not durable are kept until they are, as
    /// what later blocks say of them has to stay true; and so is each until it is on disk that a later one goes on.
    pub fn retire_segments(&self, writer: &mut Writer) {
        let needless = self.released.load(Ordering::Relaxed).min(self.durable());
        let before = writer.segments.len();
        self.mark.released(needless);
        let begins = |segment: &Segment| segment.is_durable.then_some(segment.header.first_block);
        while let Some(limit) = writer.segments.iter().skip(1).filter_map(begins).min()
            && limit <= needless + 1
            && let Some(segment) = writer.segments.pop_front()
        {
            self.directory.retire(segment.header.number);
        }
        if writer.segments.len() < before {
            self.threads.wake_files();
        }
        self.publish(writer);
    }
}

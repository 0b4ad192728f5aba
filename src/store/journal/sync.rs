//! The threads: one syncs and tries again what failed, one keeps spare segments ready.
//!
//! After an fdatasync that failed, Linux may take the pages for clean, and the next one would succeed without having
//! written them. So none is tried again: the blocks that are not durable are written anew, into another file, and
//! only its sync counts. Under `Always` their copies are in memory, and as none of them is acknowledged, nothing is
//! lost whatever the disk has done. Under the other policies they are acknowledged when written, are read back from
//! the file (the kernel still has the pages, as a rule) and checked; until that has succeeded the journal has failed
//! and takes nothing more, so that a power cut takes no more than what was written since the last sync, as promised.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::fault::point;
use super::files::Begun;
use super::format::{BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader, blocks_from, padded};
use super::options::SyncPolicy;
use super::shared::Shared;
use super::writer::{Unsynced, Writer};
use crate::base::clock::Monotonic;

/// A worker waits for a sync that is expected to be as quick as this, in µs, rather than for the thread that syncs.
/// Measured, 50 connections, one worker, syncs of 0.1 ms: 1.2–1.4 times the throughput. Its other connections wait for it,
/// as they do for the first sync that turns out to be slower.
const QUICK_SYNC_US: u64 = 500;
/// How long the thread that keeps the files waits after it could not.
const TEND_RETRY: Duration = Duration::from_secs(1);

pub fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let (syncing, tending) = (shared.clone(), shared.clone());
    let sync = thread::Builder::new().name("journal".to_owned()).spawn(move || syncing.keep_syncing())?;
    let files = thread::Builder::new().name("journal-files".to_owned()).spawn(move || tending.keep_tending())?;
    // Both are empty until now, and an `unpark` that nobody gave is not needed: each thread looks before it parks.
    let _ = shared.threads.sync.set(sync.thread().clone());
    let _ = shared.threads.files.set(files.thread().clone());
    Ok(vec![sync, files])
}

impl Shared {
    fn is_closing(&self) -> bool {
        self.directory.closing.load(Ordering::SeqCst)
    }

    fn keep_syncing(&self) {
        let mut next_sync = Instant::now() + self.interval;
        let mut next_attempt = None;
        while !self.is_closing() {
            let now = Instant::now();
            let may_attempt = next_attempt.is_none_or(|moment| now >= moment);
            let is_sync_due = now >= next_sync;
            if may_attempt && self.threads.write_requested.swap(false, Ordering::SeqCst) {
                next_attempt = self.write_for_others().err().map(|_| Instant::now() + self.retry);
                continue;
            }
            let is_requested = may_attempt && self.threads.sync_requested.swap(false, Ordering::SeqCst);
            if may_attempt && (is_sync_due || is_requested || next_attempt.is_some() || self.has_failed()) {
                next_attempt = self.advance(is_requested).err().map(|_| Instant::now() + self.retry);
                if is_sync_due {
                    next_sync = Instant::now() + self.interval;
                }
                continue;
            }
            thread::park_timeout(next_attempt.unwrap_or(next_sync).saturating_duration_since(now));
        }
    }

    /// What is due each second, when somebody waits for a sync, and after a failure.
    fn advance(&self, is_requested: bool) -> io::Result<()> {
        let needs_sync = {
            let mut writer = self.writer.lock();
            let is_due = self.policy.load(Ordering::SeqCst) != SyncPolicy::Never as u8;
            // Files that were left are synced in any case: the number of those that are not stays small.
            if !writer.must_rewrite {
                self.write(&mut writer)?;
            }
            is_due || is_requested || writer.must_rewrite || !writer.unsynced.is_empty()
        };
        if needs_sync {
            self.sync()?;
        }
        self.waiters.wake_up_to(self.acknowledged());
        Ok(())
    }

    fn write_for_others(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        self.write(&mut writer)?;
        drop(writer);
        self.waiters.wake_up_to(self.acknowledged());
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::SeqCst)
    }

    /// Writes what was appended before the call and makes it durable.
    pub fn sync(&self) -> io::Result<()> {
        let alone = self.syncing.lock();
        self.sync_alone(&alone)
    }

    /// Syncs in the calling thread if nobody else does so now, if the last sync took no longer than a hand-over to the
    /// thread that syncs, and back, is worth, and if this one has to do no more than that. False: it was not done.
    pub fn try_quick_sync(&self) -> bool {
        let is_plain = || {
            let writer = self.writer.lock();
            !writer.must_rewrite && !writer.directory_changed && writer.unsynced.is_empty()
        };
        self.sync_meter.last_us() <= QUICK_SYNC_US
            && !self.shards.has_large()
            && is_plain()
            && self.syncing.try_lock().is_some_and(|alone| self.sync_alone(&alone).is_ok())
    }

    fn sync_alone(&self, _one_at_a_time: &MutexGuard<'_, ()>) -> io::Result<()> {
        // With the write, which may be most of it (`direct`).
        let began = Monotonic::start();
        let (target, files, directory_changed) = {
            let mut writer = self.writer.lock();
            if writer.must_rewrite {
                self.rewrite(&mut writer)?;
            }
            let target = self.write(&mut writer)?;
            if target <= self.durable() && writer.unsynced.is_empty() && !writer.directory_changed {
                return Ok(());
            }
            let mut files = writer.unsynced.clone();
            files.push(Unsynced { file: writer.file.clone(), last_block: target });
            (target, files, std::mem::take(&mut writer.directory_changed))
        };
        // Others write meanwhile.
        let synced = files.iter().try_for_each(|unsynced| sync_data(&unsynced.file));
        let synced = synced.and_then(|()| if directory_changed { self.directory.sync() } else { Ok(()) });
        self.sync_meter.record(began.elapsed_us());
        let mut writer = self.writer.lock();
        if let Err(error) = synced {
            writer.must_rewrite = true;
            self.fail(format!("the blocks up to {target} cannot be synced: {error}"));
            return Err(error);
        }
        writer.unsynced.retain(|unsynced| unsynced.last_block > target);
        self.become_durable(&mut writer, target);
        drop(writer);
        self.waiters.wake_up_to(self.acknowledged());
        Ok(())
    }

    /// Writes the blocks that are not durable into a new segment, which gets its name when it is synced: until then
    /// the old ones count. Its blocks make those of the same number in older segments void.
    fn rewrite(&self, writer: &mut Writer) -> io::Result<()> {
        self.try_rewrite(writer).inspect_err(|error| {
            self.fail(format!("the blocks up to {} cannot be synced: {error}", writer.written));
        })?;
        self.succeed();
        Ok(())
    }

    fn try_rewrite(&self, writer: &mut Writer) -> io::Result<()> {
        let durable = self.durable();
        let header = SegmentHeader::new(writer.header().number + 1, durable + 1, durable);
        let bytes = self.encode_again(writer, &header)?;
        let (path, mut file) = self.directory.write_aside(header)?;
        let written = point("journal::write")
            .and_then(|()| io::Seek::seek(&mut file, io::SeekFrom::Start(SEGMENT_HEADER_BYTES as u64)))
            .and_then(|_| file.write_all(&bytes))
            .and_then(|()| sync_data(&file))
            .and_then(|()| self.directory.name(&path, header.number));
        if let Err(error) = written {
            // A file that is left over is removed with the next start.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let end = (SEGMENT_HEADER_BYTES + bytes.len()) as u64;
        writer.enter(Begun { file, header, is_prepared: false, file_bytes: end }, end);
        // From here on the new segment is the one that counts, whether or not its name is durable already.
        writer.must_rewrite = false;
        writer.unsynced.clear();
        writer.directory_changed = false;
        self.directory.sync().inspect_err(|_| writer.must_rewrite = true)?;
        self.become_durable(writer, writer.written);
        Ok(())
    }

    /// All blocks that are not durable, as blocks of the segment `into`.
    fn encode_again(&self, writer: &Writer, into: &SegmentHeader) -> io::Result<Vec<u8>> {
        let released = self.released.load(Ordering::Relaxed);
        let mut next = into.first_block;
        let mut encoded = Vec::new();
        let mut add = |block: u64, payload: &[u8]| {
            let header = BlockHeader::new(block, into.synced, into.salt, std::iter::once(payload));
            encoded.extend_from_slice(&header.encode(into));
            encoded.extend_from_slice(payload);
            encoded.resize(padded(encoded.len()), 0);
        };
        for (place, segment) in writer.segments.iter().enumerate() {
            let limit = writer.segments.range(place + 1..).map(|later| later.header.first_block).min();
            let limit = limit.unwrap_or(u64::MAX).min(writer.written + 1);
            if limit <= next {
                continue;
            }
            let in_memory = (next..limit).all(|block| writer.retained.has(block));
            let bytes = if in_memory { Vec::new() } else { self.read_segment(segment.header.number)? };
            let mut read_back = blocks_from(&bytes, SEGMENT_HEADER_BYTES, &segment.header)
                .filter_map(|(_, block)| Some((block.header.number, block.payload?)))
                .peekable();
            while next < limit {
                while read_back.next_if(|&(block, _)| block < next).is_some() {}
                let found = read_back.next_if(|&(block, _)| block == next).map(|(_, payload)| payload);
                let kept = writer.retained.payload(next);
                match kept.as_deref().or(found) {
                    Some(payload) => add(next, payload),
                    // Nobody will need it; its number must be there.
                    None if next <= released => add(next, &[]),
                    None => return Err(io::Error::other(format!("block {next} cannot be read back"))),
                }
                next += 1;
            }
        }
        Ok(encoded)
    }

    fn read_segment(&self, number: u64) -> io::Result<Vec<u8>> {
        point("journal::read")?;
        let mut bytes = Vec::new();
        File::open(self.directory.segment_path(number))?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn keep_tending(&self) {
        while !self.is_closing() {
            match self.directory.tend() {
                Ok(()) => thread::park(),
                Err(_) if self.is_closing() => {}
                Err(error) => {
                    // No failure yet: the segment in use grows until one can be made.
                    tracing::warn!(%error, "no spare journal segment can be made");
                    thread::park_timeout(TEND_RETRY);
                }
            }
        }
    }
}

fn sync_data(file: &File) -> io::Result<()> {
    point("journal::sync")?;
    file.sync_data()
}

//! Writing: what was appended becomes a block of the segment in use.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::sync::Arc;

use smallvec::SmallVec;

use super::direct::{Direct, SECTOR_BYTES};
use super::fault::point;
use super::files::Begun;
use super::format::{ALIGNMENT, BLOCK_HEADER_BYTES, BlockHeader, SEGMENT_HEADER_BYTES, SegmentHeader, padded};
use super::shards::Cut;
use crate::base::gather::Gather;

/// How many moments in the growth of the journal are remembered, for [`Writer::unreleased_bytes`].
const MARKS: usize = 4096;

/// A segment that holds blocks a replay would need.
pub struct Segment {
    pub header: SegmentHeader,
    /// The size of its file; of the one in use, before it grew.
    pub bytes: u64,
    /// Whether it is on disk that it begins.
    pub is_durable: bool,
}

/// A file that has to be synced before the blocks up to `last_block` are durable.
#[derive(Clone)]
pub struct Unsynced {
    pub file: Arc<File>,
    pub last_block: u64,
}

pub struct Writer {
    /// Oldest first; the last is the one in use.
    pub segments: VecDeque<Segment>,
    pub file: Arc<File>,
    /// Where the next block begins.
    pub offset: u64,
    /// Whether the file's position is there, too.
    is_positioned: bool,
    /// The last write has failed, and has left anything there.
    pub is_torn: bool,
    pub direct: Direct,
    pub is_prepared: bool,
    /// Cut and not written: what a failed write leaves.
    pub cut: Cut,
    pub written: u64,
    /// Segments that were left since the last sync.
    pub unsynced: Vec<Unsynced>,
    /// Whether a segment got its name since the directory was last synced.
    pub directory_changed: bool,
    /// A sync has failed: the blocks that are not durable must be written anew before anything else is.
    pub must_rewrite: bool,
    pub retained: Retained,
    pub growth: Growth,
}

/// Copies of the blocks that are not durable yet. Kept where acknowledgements wait for the sync: should it fail, they
/// are written again from here and need not be read from a disk that has just failed.
#[derive(Default)]
pub struct Retained {
    payloads: Gather,
    /// The blocks and where their payloads end, oldest first.
    blocks: VecDeque<(u64, usize)>,
}

/// How many bytes of blocks there were at which block.
pub struct Growth {
    pub written_bytes: u64,
    released_bytes: u64,
    marks: VecDeque<(u64, u64)>,
}

impl Writer {
    /// Goes on in a new segment, after a recovery that has read `replayed_bytes` of blocks.
    pub fn new(older: VecDeque<Segment>, begun: Begun, replayed_bytes: u64) -> Self {
        let written = begun.header.first_block - 1;
        let mut segments = older;
        segments.push_back(Segment { header: begun.header, bytes: begun.file_bytes, is_durable: true });
        Self {
            segments,
            file: Arc::new(begun.file),
            offset: SEGMENT_HEADER_BYTES as u64,
            is_positioned: true,
            is_torn: false,
            direct: Direct::default(),
            is_prepared: begun.is_prepared,
            cut: Cut::default(),
            written,
            unsynced: Vec::new(),
            directory_changed: false,
            must_rewrite: false,
            retained: Retained::default(),
            growth: Growth {
                written_bytes: replayed_bytes,
                released_bytes: 0,
                marks: VecDeque::from([(written, replayed_bytes)]),
            },
        }
    }

    pub fn header(&self) -> SegmentHeader {
        self.segments.back().map_or_else(SegmentHeader::spare, |segment| segment.header)
    }

    pub fn has_unwritten(&self) -> bool {
        !self.cut.is_empty()
    }

    /// Goes on in `begun`, whose blocks end at `offset`.
    pub fn enter(&mut self, begun: Begun, offset: u64) {
        if let Some(left) = self.segments.back_mut() {
            left.bytes = left.bytes.max(self.offset);
        }
        let left = std::mem::replace(&mut self.file, Arc::new(begun.file));
        self.unsynced.push(Unsynced { file: left, last_block: self.written });
        self.segments.push_back(Segment { header: begun.header, bytes: begun.file_bytes, is_durable: false });
        self.offset = offset;
        self.is_positioned = true;
        self.is_torn = false;
        self.direct.forget_file();
        self.is_prepared = begun.is_prepared;
        self.directory_changed = true;
        self.mark();
    }

    /// Remembers how far the journal has grown with the newest block.
    pub fn mark(&mut self) {
        let newest = (self.written, self.growth.written_bytes);
        let marks = &mut self.growth.marks;
        if marks.len() >= MARKS || marks.back().is_some_and(|&(block, _)| block == newest.0) {
            marks.pop_back();
        }
        marks.push_back(newest);
    }

    pub fn released(&mut self, up_to: u64) {
        while let Some(&(block, bytes)) = self.growth.marks.front()
            && block <= up_to
        {
            self.growth.released_bytes = bytes;
            self.growth.marks.pop_front();
        }
    }

    pub fn segment_bytes(&self) -> u64 {
        let in_use = self.segments.back().map_or(0, |segment| self.offset.saturating_sub(segment.bytes));
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + in_use
    }

    pub fn unreleased_bytes(&self) -> u64 {
        self.growth.written_bytes - self.growth.released_bytes
    }

    /// Writes what was cut as one block at `offset` or, past the page cache, with the next sector; whatever was tried there
    /// before. Returns by how many bytes the blocks have grown.
    pub fn write_block(&mut self, synced: u64, past_page_cache: bool) -> io::Result<u64> {
        let segment = self.header();
        let header = BlockHeader::new(self.cut.block, synced, segment.salt, self.cut.parts().iter().copied());
        let encoded = header.encode(&segment);
        self.is_torn = true;
        let is_direct = self.direct.turn(&self.file, past_page_cache)?;
        let direct_end = if is_direct { self.write_direct(&encoded)? } else { None };
        let end = match direct_end {
            Some(end) => end,
            None => self.write_buffered(&encoded, header.payload_bytes as usize)?,
        };
        self.is_torn = false;
        let bytes = end - self.offset;
        self.offset = end;
        Ok(bytes)
    }

    /// Returns where the block ends; `None`: the file cannot be written so.
    fn write_direct(&mut self, header: &[u8]) -> io::Result<Option<u64>> {
        let begin = self.offset.next_multiple_of(SECTOR_BYTES as u64);
        self.is_positioned = false;
        if let Err(error) = point("journal::write_part") {
            self.direct.write(&self.file, begin, std::iter::once(&header[..BLOCK_HEADER_BYTES / 2]))?;
            return Err(error);
        }
        point("journal::write")?;
        let payload = self.cut.parts();
        let parts = std::iter::once(header).chain(payload.iter().copied());
        Ok(self.direct.write(&self.file, begin, parts)?.map(|bytes| begin + bytes as u64))
    }

    /// Returns where the block ends.
    fn write_buffered(&mut self, header: &[u8], payload_bytes: usize) -> io::Result<u64> {
        let bytes = padded(BLOCK_HEADER_BYTES + payload_bytes);
        let padding = bytes - BLOCK_HEADER_BYTES - payload_bytes;
        let mut file = &*self.file;
        if !self.is_positioned {
            file.seek(SeekFrom::Start(self.offset))?;
        }
        self.is_positioned = false;
        let mut slices: SmallVec<[IoSlice<'_>; 34]> = SmallVec::new();
        slices.push(IoSlice::new(header));
        slices.extend(self.cut.parts().iter().map(|part| IoSlice::new(part)));
        if padding > 0 {
            slices.push(IoSlice::new(&[0; ALIGNMENT][..padding]));
        }
        if let Err(error) = point("journal::write_part") {
            file.write_all(&header[..BLOCK_HEADER_BYTES / 2])?;
            return Err(error);
        }
        write_all_vectored(file, &mut slices)?;
        self.is_positioned = true;
        Ok(self.offset + bytes as u64)
    }
}

fn write_all_vectored(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        point("journal::write")?;
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Retained {
    pub fn keep(&mut self, block: u64, parts: &[Gather]) {
        parts.iter().for_each(|part| self.payloads.extend(part));
        self.blocks.push_back((block, self.payloads.len()));
    }

    pub fn drop_up_to(&mut self, block: u64) {
        let mut dropped_bytes = 0;
        while let Some(&(kept, end)) = self.blocks.front()
            && kept <= block
        {
            dropped_bytes = end;
            self.blocks.pop_front();
        }
        self.payloads.drop_front(dropped_bytes);
        self.blocks.iter_mut().for_each(|(_, end)| *end -= dropped_bytes);
        if self.payloads.is_empty() {
            self.payloads.shrink_to(1024 * 1024);
        }
    }

    pub fn has(&self, block: u64) -> bool {
        self.blocks.binary_search_by_key(&block, |&(kept, _)| kept).is_ok()
    }

    /// A copy of the block's payload.
    pub fn payload(&self, block: u64) -> Option<Vec<u8>> {
        let place = self.blocks.binary_search_by_key(&block, |&(kept, _)| kept).ok()?;
        let begin = place.checked_sub(1).and_then(|before| self.blocks.get(before)).map_or(0, |&(_, end)| end);
        Some(self.payloads.copy_part(begin..self.blocks.get(place)?.1))
    }
}

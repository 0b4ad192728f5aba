//! Reading the journal after a stop of any kind, and telling a torn end from damage.
//!
//! Writes that were not synced reach the disk in any order, or not at all. So the first block that is missing or
//! damaged is where a crash tore the journal off, and nothing after it was ever promised, unless a header after it says
//! that the block was on disk once: then the disk has lost it, and so it is if a file is missing or has a broken header.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::block_mark::{BlockMark, Needed};
use super::error::JournalError;
use super::fault::point;
use super::files::{Directory, list, segment_path};
use super::format::{NotAHeader, SEGMENT_HEADER_BYTES, SegmentHeader, blocks_from, next_block};
use super::options::Options;
use super::replay::Replay;
use super::writer::{Segment, Writer};
use crate::store::mark;

pub struct Recovered {
    pub writer: Writer,
    pub directory: Directory,
    /// The block before the first that was found.
    pub released: u64,
}

/// The journal as it was found.
pub struct Found {
    /// Without those from the damaged one on, if damage was found among the files themselves.
    pub segments: Vec<FoundSegment>,
    /// The numbers of all files, readable or not.
    pub numbers: Vec<u64>,
    pub spares: Vec<u64>,
    /// The blocks that must be there.
    needed: Needed,
}

pub struct FoundSegment {
    pub number: u64,
    pub path: PathBuf,
    pub header: SegmentHeader,
    pub file_bytes: u64,
    /// Where its blocks end, as far as they count.
    pub end: usize,
}

/// What keeps the journal from being read to its end.
pub struct Damage {
    pub file: PathBuf,
    /// The first segment that is not whole.
    pub number: u64,
    pub offset: u64,
    pub what: String,
}

impl From<Damage> for JournalError {
    fn from(damage: Damage) -> Self {
        JournalError::Corrupt { file: damage.file, offset: damage.offset, what: damage.what }
    }
}

/// A block that counts, as [`walk`] hands it out.
pub struct Visited<'a> {
    pub path: &'a Path,
    /// What the files before this one take.
    pub bytes_before: u64,
    pub offset: usize,
    pub number: u64,
    pub payload: &'a [u8],
}

impl Found {
    /// Looks at the files and their headers.
    pub fn look(directory: &Path) -> Result<(Self, Option<Damage>), JournalError> {
        let needed = Needed::find(directory).map_err(JournalError::io(&directory.join(mark::FILE)))?;
        let listing = list(directory)?;
        let mut found = Found { segments: Vec::new(), numbers: listing.segments, spares: listing.spares, needed };
        let damage = match found.read_headers(directory)? {
            None => found.missing_beginning(directory),
            Some(damage) => {
                // That is why blocks are missing.
                found.needed = Needed::NOTHING;
                Some(damage)
            }
        };
        Ok((found, damage))
    }

    /// Whether blocks are missing before the first segment that is there.
    fn missing_beginning(&self, directory: &Path) -> Option<Damage> {
        let first = self.first_block().unwrap_or(u64::MAX);
        if first <= self.needed.first || !self.needed.are_missing_from(self.needed.first) {
            return None;
        }
        let number = self.numbers.first().copied().unwrap_or(1);
        let what =
            format!("the blocks from {} on are missing: they were written, and not in RocksDB yet", self.needed.first);
        Some(Damage { file: segment_path(directory, number), number, offset: 0, what })
    }

    fn read_headers(&mut self, directory: &Path) -> Result<Option<Damage>, JournalError> {
        let mut expected = None;
        for &number in &self.numbers {
            let file = segment_path(directory, number);
            if let Some(missing) = expected.filter(|&expected| expected != number) {
                let what = "the file is missing, and there are later ones".to_owned();
                return Ok(Some(Damage { file: segment_path(directory, missing), number, offset: 0, what }));
            }
            expected = Some(number + 1);
            let (bytes, file_bytes) = read_start(&file).map_err(JournalError::io(&file))?;
            let header = match SegmentHeader::decode(&bytes) {
                // A spare's: the name is on disk and the header is not, as a power cut leaves it.
                Ok(header) if header.number == number || header.number == 0 => header,
                Ok(header) => {
                    let what = format!("the header is that of segment {}", header.number);
                    return Ok(Some(Damage { file, number, offset: 0, what }));
                }
                Err(NotAHeader::Newer(version)) => return Err(JournalError::Newer { file, version }),
                Err(NotAHeader::Damaged) => {
                    let what = "the header's checksum does not match".to_owned();
                    return Ok(Some(Damage { file, number, offset: 0, what }));
                }
            };
            self.segments.push(FoundSegment { number, path: file, header, file_bytes, end: SEGMENT_HEADER_BYTES });
        }
        Ok(None)
    }

    /// The first block that counts.
    pub fn first_block(&self) -> Option<u64> {
        self.begun().map(|segment| segment.header.first_block).min()
    }

    fn begun(&self) -> impl Iterator<Item = &FoundSegment> {
        self.segments.iter().filter(|segment| segment.header.number != 0)
    }

    /// Visits the blocks that count, in order, and returns the number of the first that there is not; or what is
    /// damaged.
    pub fn walk(
        &mut self,
        mut visit: impl FnMut(Visited<'_>) -> Result<(), JournalError>,
    ) -> Result<(u64, Option<Damage>), JournalError> {
        let mut next = self.first_block().unwrap_or(1);
        let mut bytes = Vec::new();
        let mut bytes_before = 0;
        for place in 0..self.segments.len() {
            let before = bytes_before;
            bytes_before += self.segments[place].file_bytes;
            let (segment, later) = match self.segments[place..].split_first_mut() {
                Some((segment, later)) if segment.header.number != 0 => (segment, &*later),
                _ => continue,
            };
            // Where a later segment begins anew, after a crash or a failed sync, this one's blocks are void.
            let begun = later.iter().filter(|later| later.header.number != 0);
            let limit = begun.map(|later| later.header.first_block).min().unwrap_or(u64::MAX);
            if segment.header.first_block >= limit {
                continue;
            }
            read_all(&segment.path, &mut bytes).map_err(JournalError::io(&segment.path))?;
            let mut offset = SEGMENT_HEADER_BYTES;
            while next < limit {
                let Some((begin, block)) = next_block(&bytes, offset, &segment.header, next) else { break };
                let Some(payload) = block.payload else { break };
                visit(Visited { path: &segment.path, bytes_before: before, offset: begin, number: next, payload })?;
                next += 1;
                offset = block.end;
            }
            segment.end = offset;
            if next == limit {
                continue;
            }
            let witness = match self.needed.are_missing_from(next) {
                true => Some("the mark".to_owned()),
                false => witness(next, &bytes, offset, &self.segments[place..])?,
            };
            let Some(witness) = witness else { return Ok((next, None)) };
            let segment = &self.segments[place];
            let what = match next_block(&bytes, offset, &segment.header, next) {
                Some(_) => "its checksum does not match",
                None => "it is not there",
            };
            let what = format!("{witness} says that block {next} was on disk here, and {what}");
            let damage = Damage { file: segment.path.clone(), number: segment.number, offset: offset as u64, what };
            return Ok((next, Some(damage)));
        }
        Ok((next, None))
    }
}

/// Who says that `block` was on disk once: a header in the rest of the first segment, whose bytes these are, or in a
/// later segment. Headers of blocks count even if their payloads are torn.
fn witness(block: u64, bytes: &[u8], offset: usize, segments: &[FoundSegment]) -> Result<Option<String>, JournalError> {
    let in_segment = |bytes: &[u8], offset: usize, segment: &FoundSegment| {
        blocks_from(bytes, offset, &segment.header).find(|(_, later)| later.header.synced >= block).map(
            |(offset, later)| format!("block {} at offset {offset} of segment {}", later.header.number, segment.number),
        )
    };
    let Some((first, later)) = segments.split_first() else { return Ok(None) };
    if let Some(witness) = in_segment(bytes, offset, first) {
        return Ok(Some(witness));
    }
    let mut bytes = Vec::new();
    for segment in later {
        if segment.header.synced >= block {
            return Ok(Some(format!("the header of segment {}", segment.number)));
        }
        read_all(&segment.path, &mut bytes).map_err(JournalError::io(&segment.path))?;
        if let Some(witness) = in_segment(&bytes, SEGMENT_HEADER_BYTES, segment) {
            return Ok(Some(witness));
        }
    }
    Ok(None)
}

fn read_start(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    point("journal::read")?;
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
    file.by_ref().take(SEGMENT_HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok((bytes, file.metadata()?.len()))
}

fn read_all(path: &Path, into: &mut Vec<u8>) -> io::Result<()> {
    point("journal::read")?;
    into.clear();
    File::open(path)?.read_to_end(into)?;
    Ok(())
}

/// Replays what is there, and begins a new segment after it.
pub fn recover(path: &Path, options: &Options, replay: &mut impl Replay) -> Result<Recovered, JournalError> {
    if options.create {
        std::fs::create_dir_all(path).map_err(JournalError::io(path))?;
    }
    if !path.is_dir() {
        return Err(JournalError::Missing { directory: path.to_owned() });
    }
    let (mut found, damage) = Found::look(path)?;
    if let Some(damage) = damage {
        return Err(damage.into());
    }
    if found.numbers.is_empty() && !options.create {
        return Err(JournalError::Missing { directory: path.to_owned() });
    }
    let (mut replayed_bytes, mut looked_at_bytes) = (0, 0);
    let all_bytes = found.segments.iter().map(|segment| segment.file_bytes).sum();
    replay.begin(all_bytes);
    let (next, damage) = found.walk(|block| {
        replayed_bytes += block.payload.len() as u64;
        let begin = block.bytes_before + block.offset as u64;
        replay.pass(begin.saturating_sub(looked_at_bytes));
        looked_at_bytes = begin + block.payload.len() as u64;
        // An empty block only keeps a number.
        if block.payload.is_empty() {
            return Ok(());
        }
        replay.block(block.payload).map_err(|what| JournalError::Replay {
            file: block.path.to_owned(),
            offset: block.offset as u64,
            block: block.number,
            what,
        })
    })?;
    if let Some(damage) = damage {
        return Err(damage.into());
    }
    replay.pass(all_bytes.saturating_sub(looked_at_bytes));
    replay.end().map_err(|what| JournalError::NotReplayed { directory: path.to_owned(), what })?;
    let released = found.first_block().map_or(0, |first| first - 1);
    // A killed process leaves blocks that are written and not on disk; from now on blocks say that they are.
    for segment in &found.segments {
        sync_file(&segment.path).map_err(JournalError::io(&segment.path))?;
    }
    let directory = BlockMark::begin(path, next - 1, released)
        .and_then(|mark| Directory::open(path, mark, options.segment_bytes, options.spare_segments, &found.spares));
    let directory = directory.map_err(JournalError::io(path))?;
    let number = found.numbers.last().map_or(1, |last| last + 1);
    let begun = directory
        .begin(SegmentHeader::new(number, next, next - 1))
        .and_then(|begun| begun.file.sync_data().and_then(|()| directory.sync()).map(|()| begun))
        .map_err(JournalError::io(path))?;
    let older: VecDeque<Segment> = found
        .segments
        .iter()
        .map(|segment| {
            // Of a file that never became a segment nothing counts; it goes with those before it.
            let header = SegmentHeader { number: segment.number, ..segment.header };
            let first_block = if segment.header.number == 0 { next } else { header.first_block };
            Segment { header: SegmentHeader { first_block, ..header }, bytes: segment.file_bytes, is_durable: true }
        })
        .collect();
    Ok(Recovered { writer: Writer::new(older, begun, replayed_bytes), directory, released })
}

fn sync_file(path: &Path) -> io::Result<()> {
    point("journal::sync")?;
    File::open(path)?.sync_data()
}

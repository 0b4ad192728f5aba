//! The bytes of a segment's header and of a block. `docs/journal.md` is the description of both.
//!
//! A header of either kind has its own checksum, so that nothing it says is believed before it is known to be whole.
//! The checksums of blocks start from the segment's salt, a random number: bytes that a client stored as a value can
//! thus not be taken for a block, and neither can what a recycled file still holds of its former life.

use std::hash::BuildHasher;

use super::direct::SECTOR_BYTES;
use crate::base::checksum;

/// Where the first block of a segment begins.
pub const SEGMENT_HEADER_BYTES: usize = 4096;
pub const BLOCK_HEADER_BYTES: usize = 48;
/// Blocks begin at multiples of it.
pub const ALIGNMENT: usize = 8;
pub const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 16] = *b"ROCKPOOL JOURNAL";
const BLOCK_MAGIC: [u8; 4] = *b"RPJB";
/// What a segment's header holds, its checksum included; it lies within one sector, which a disk writes whole.
const SEGMENT_FIELDS_BYTES: usize = 52;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// 0: a spare, which holds no blocks.
    pub number: u64,
    /// The block this segment begins with: blocks of earlier segments that have this number or a higher one are void.
    pub first_block: u64,
    /// All blocks up to this one were on disk when the header was written.
    pub synced: u64,
    pub salt: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub enum NotAHeader {
    Damaged,
    /// Intact, but of a later format.
    Newer(u32),
}

impl SegmentHeader {
    pub fn new(number: u64, first_block: u64, synced: u64) -> Self {
        // Unlike the generator for harmless choices, this one is seeded by the operating system.
        let salt = std::hash::RandomState::new().hash_one(number) as u32;
        Self { number, first_block, synced, salt }
    }

    pub fn spare() -> Self {
        Self::new(0, 0, 0)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_block.to_le_bytes());
        bytes.extend_from_slice(&self.synced.to_le_bytes());
        bytes.extend_from_slice(&checksum::crc32c(&bytes).to_le_bytes());
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, NotAHeader> {
        let Some((fields, checksum)) = bytes.get(..SEGMENT_FIELDS_BYTES).and_then(<[u8]>::split_last_chunk::<4>) else {
            return Err(NotAHeader::Damaged);
        };
        if fields[..16] != SEGMENT_MAGIC || checksum::crc32c(fields) != u32::from_le_bytes(*checksum) {
            return Err(NotAHeader::Damaged);
        }
        match u32_at(fields, 16) {
            VERSION => Ok(Self {
                salt: u32_at(fields, 20),
                number: u64_at(fields, 24),
                first_block: u64_at(fields, 32),
                synced: u64_at(fields, 40),
            }),
            version => Err(NotAHeader::Newer(version)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    pub payload_bytes: u64,
    pub number: u64,
    /// All blocks up to this one were on disk when this one was written.
    pub synced: u64,
    pub payload_checksum: u32,
}

impl BlockHeader {
    /// The header of a block whose payload is made of `parts`.
    pub fn new<'a>(number: u64, synced: u64, salt: u32, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut header = Self { payload_bytes: 0, number, synced, payload_checksum: salt };
        for part in parts {
            header.payload_bytes += part.len() as u64;
            header.payload_checksum = checksum::crc32c_append(header.payload_checksum, part);
        }
        header
    }

    pub fn encode(&self, segment: &SegmentHeader) -> [u8; BLOCK_HEADER_BYTES] {
        let mut bytes = [0; BLOCK_HEADER_BYTES];
        bytes[..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&segment.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced.to_le_bytes());
        let checksum = checksum::crc32c_append(segment.salt, &bytes[..44]);
        bytes[44..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header at the beginning of `bytes`, if there is one of this segment and it is whole.
    pub fn decode(bytes: &[u8], segment: &SegmentHeader) -> Option<Self> {
        let bytes = bytes.get(..BLOCK_HEADER_BYTES)?;
        let whole = bytes[..4] == BLOCK_MAGIC
            && u64_at(bytes, 24) == segment.number
            && u32_at(bytes, 44) == checksum::crc32c_append(segment.salt, &bytes[..44]);
        whole.then(|| Self {
            payload_checksum: u32_at(bytes, 4),
            payload_bytes: u64_at(bytes, 8),
            number: u64_at(bytes, 16),
            synced: u64_at(bytes, 32),
        })
    }
}

/// A block as it was found: its header is whole, its payload perhaps not.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub header: BlockHeader,
    /// None if it is cut short or its checksum is wrong.
    pub payload: Option<&'a [u8]>,
    /// Where the next block begins, unless this one is damaged.
    pub end: usize,
}

/// The block that begins at `offset` of the segment's bytes.
pub fn block_at<'a>(bytes: &'a [u8], offset: usize, segment: &SegmentHeader) -> Option<Block<'a>> {
    let rest = bytes.get(offset..)?;
    let header = BlockHeader::decode(rest, segment)?;
    let payload = usize::try_from(header.payload_bytes)
        .ok()
        .and_then(|length| rest[BLOCK_HEADER_BYTES..].get(..length))
        .filter(|payload| checksum::crc32c_append(segment.salt, payload) == header.payload_checksum);
    let end = offset + payload.map_or(ALIGNMENT, |payload| padded(BLOCK_HEADER_BYTES + payload.len()));
    Some(Block { header, payload, end })
}

/// Where in the segment's bytes the block of that number begins, and the block, if it follows what ends at `offset`: there, or,
/// as blocks do that went past the page cache, with the next sector.
pub fn next_block<'a>(
    bytes: &'a [u8],
    offset: usize,
    segment: &SegmentHeader,
    number: u64,
) -> Option<(usize, Block<'a>)> {
    [offset, offset.next_multiple_of(SECTOR_BYTES)].into_iter().find_map(|offset| {
        block_at(bytes, offset, segment).filter(|block| block.header.number == number).map(|block| (offset, block))
    })
}

/// Everything from `offset` on that is or was a block of this segment.
pub fn blocks_from<'a>(
    bytes: &'a [u8],
    mut offset: usize,
    segment: &SegmentHeader,
) -> impl Iterator<Item = (usize, Block<'a>)> {
    std::iter::from_fn(move || {
        while offset + BLOCK_HEADER_BYTES <= bytes.len() {
            let here = offset;
            match block_at(bytes, here, segment) {
                Some(block) => {
                    offset = block.end;
                    return Some((here, block));
                }
                None => offset += ALIGNMENT,
            }
        }
        None
    })
}

pub const fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes[offset..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

//! Writing past the page cache, for blocks that are synced one by one: the write itself brings them to the device, and the
//! fdatasync that follows has nothing left to write. The kernel's own way there takes twice as long, and twice the processor
//! time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::fault::point;

/// Such writes begin and end at multiples of it, in the file and in memory. It is what nearly all devices take; those with
/// larger sectors refuse, and are written to through the page cache.
pub const SECTOR_BYTES: usize = 512;
/// Written at once at most; a multiple of a sector.
const PIECE_BYTES: usize = 1 << 20;

/// Whether, and with what, the present file is written past the page cache.
#[derive(Default)]
pub struct Direct {
    is_on: bool,
    /// The file system or the device has refused.
    is_refused: bool,
    buffer: Vec<u8>,
}

impl Direct {
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Another file comes, opened as usual.
    pub fn forget_file(&mut self) {
        self.is_on = false;
    }

    /// Has the file written past the page cache, or through it. Returns which it is: it may be refused.
    pub fn turn(&mut self, file: &File, on: bool) -> io::Result<bool> {
        let on = on && !self.is_refused;
        if on == self.is_on {
            return Ok(on);
        }
        match set(file, on) {
            Ok(()) => self.is_on = on,
            Err(error) if on => self.refused(&error),
            Err(error) => return Err(error),
        }
        Ok(self.is_on)
    }

    /// Writes the parts, and zeros up to a whole sector, at `offset`, which is a multiple of [`SECTOR_BYTES`]. Returns how
    /// many bytes that were; `None`: it was refused, and nothing is written.
    pub fn write<'a>(
        &mut self,
        file: &File,
        offset: u64,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> io::Result<Option<usize>> {
        let bytes = parts.clone().map(<[u8]>::len).sum::<usize>().next_multiple_of(SECTOR_BYTES);
        self.buffer.clear();
        self.buffer.reserve(bytes.min(PIECE_BYTES) + SECTOR_BYTES);
        let begin = self.buffer.as_ptr().align_offset(SECTOR_BYTES);
        self.buffer.resize(begin, 0);
        match self.write_pieces(file, offset, begin, parts) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.refused(&error);
                self.turn(file, false)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Copies the parts behind `begin` of the buffer, which is aligned, and writes it whenever a piece is full.
    fn write_pieces<'a>(
        &mut self,
        file: &File,
        mut offset: u64,
        begin: usize,
        parts: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        for mut part in parts {
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(begin + PIECE_BYTES - self.buffer.len()));
                self.buffer.extend_from_slice(now);
                part = later;
                if self.buffer.len() == begin + PIECE_BYTES {
                    file.write_all_at(&self.buffer[begin..], offset)?;
                    offset += PIECE_BYTES as u64;
                    self.buffer.truncate(begin);
                }
            }
        }
        self.buffer.resize(begin + (self.buffer.len() - begin).next_multiple_of(SECTOR_BYTES), 0);
        file.write_all_at(&self.buffer[begin..], offset)
    }

    fn refused(&mut self, error: &io::Error) {
        self.is_refused = true;
        tracing::debug!(%error, "the journal is written through the page cache");
    }
}

fn set(file: &File, on: bool) -> io::Result<()> {
    point("journal::direct")?;
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, on);
    Ok(fcntl_setfl(file, flags)?)
}

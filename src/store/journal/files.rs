//! The files of the journal's directory: segments, and spares that become segments by a rename.
//!
//! A spare is full of bytes that were really written and synced, so that writing over them later changes no metadata
//! and an fdatasync is one write of the device. Making one takes long; a thread of its own does it, and turns the
//! segments that are not needed any more into spares.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::block_mark::BlockMark;
use super::error::JournalError;
use super::fault::point;
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::store::directory::free_bytes;

pub const SEGMENT_EXTENSION: &str = "journal";
const SPARE_PREFIX: &str = "spare-";
/// Zeros are written and synced in such pieces: a sync of the segment in use may have to wait for one of them.
const ZEROS_BYTES: usize = 1024 * 1024;
const ZEROS_SYNCED_BYTES: u64 = 4 * 1024 * 1024;

pub fn segment_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{SEGMENT_EXTENSION}"))
}

/// What lies in the directory; files with other names are nobody's business here.
#[derive(Default)]
pub struct Listing {
    /// In the order of their numbers.
    pub segments: Vec<u64>,
    pub spares: Vec<u64>,
}

pub fn list(directory: &Path) -> Result<Listing, JournalError> {
    let mut listing = Listing::default();
    let read = || -> io::Result<Vec<String>> {
        point("journal::list")?;
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    for name in read().map_err(JournalError::io(directory))? {
        let digits = |text: &str| (text.len() == 20).then(|| text.parse().ok()).flatten();
        if let Some(number) = name.strip_suffix(".journal").and_then(digits) {
            listing.segments.push(number);
        } else if let Some(number) = name.strip_prefix(SPARE_PREFIX).and_then(digits) {
            listing.spares.push(number);
        }
    }
    listing.segments.sort_unstable();
    Ok(listing)
}

/// A file opened as a new segment; its position is where the first block goes.
pub struct Begun {
    pub file: File,
    pub header: SegmentHeader,
    /// Whether its bytes are on disk already, so that it is better to roll over than to let it grow.
    pub is_prepared: bool,
    pub file_bytes: u64,
}

struct Spare {
    path: PathBuf,
    file: File,
}

#[derive(Default)]
struct Stock {
    ready: Vec<Spare>,
    /// Numbers of segments that are not needed any more, oldest first.
    retired: VecDeque<u64>,
    next_name: u64,
}

pub struct Directory {
    pub path: PathBuf,
    handle: File,
    pub mark: Arc<BlockMark>,
    segment_bytes: u64,
    /// How many spares are kept.
    limit: usize,
    stock: Mutex<Stock>,
    pub closing: AtomicBool,
    /// No spares are kept until the next write.
    pub is_resting: AtomicBool,
    /// Whether segments are written past the page cache at present.
    pub is_direct: AtomicBool,
}

impl Directory {
    /// Takes over the spares of an earlier run, as far as they were finished.
    pub fn open(path: &Path, mark: BlockMark, segment_bytes: u64, limit: usize, spares: &[u64]) -> io::Result<Self> {
        let handle = File::open(path)?;
        let directory = Self {
            path: path.to_owned(),
            handle,
            mark: Arc::new(mark),
            segment_bytes,
            limit,
            stock: Mutex::default(),
            closing: AtomicBool::new(false),
            is_resting: AtomicBool::new(false),
            is_direct: AtomicBool::new(false),
        };
        let mut stock = directory.stock.lock();
        for &name in spares {
            stock.next_name = stock.next_name.max(name + 1);
            let path = directory.spare_path(name);
            match reopen_spare(&path, segment_bytes) {
                Ok(Some(file)) if stock.ready.len() < limit => stock.ready.push(Spare { path, file }),
                _ => remove(&path)?,
            }
        }
        drop(stock);
        Ok(directory)
    }

    fn spare_path(&self, name: u64) -> PathBuf {
        self.path.join(format!("{SPARE_PREFIX}{name:020}"))
    }

    fn new_spare_path(&self) -> PathBuf {
        let mut stock = self.stock.lock();
        stock.next_name += 1;
        self.spare_path(stock.next_name - 1)
    }

    pub fn ready_spares(&self) -> usize {
        self.stock.lock().ready.len()
    }

    pub fn segment_path(&self, number: u64) -> PathBuf {
        segment_path(&self.path, number)
    }

    /// Makes names durable that were given or taken.
    pub fn sync(&self) -> io::Result<()> {
        point("journal::sync_directory")?;
        self.handle.sync_all()
    }

    /// Makes a spare the segment `header` tells of. Without a spare a new file is taken, which is slower: it has to be
    /// synced first, since a file with a segment's name must have a whole header whatever happens.
    pub fn begin(&self, header: SegmentHeader) -> io::Result<Begun> {
        let spare = self.stock.lock().ready.pop();
        let Some(spare) = spare else { return self.begin_small(header) };
        match self.rename_spare(&spare, header) {
            Ok(()) => Ok(Begun { file: spare.file, header, is_prepared: true, file_bytes: self.segment_bytes }),
            Err(error) => {
                self.stock.lock().ready.push(spare);
                Err(error)
            }
        }
    }

    /// The same in a new file, which is no longer than its header.
    pub fn begin_small(&self, header: SegmentHeader) -> io::Result<Begun> {
        let (path, mut file) = self.write_aside(header)?;
        self.name(&path, header.number)?;
        file.seek(SeekFrom::Start(SEGMENT_HEADER_BYTES as u64))?;
        Ok(Begun { file, header, is_prepared: false, file_bytes: SEGMENT_HEADER_BYTES as u64 })
    }

    fn rename_spare(&self, spare: &Spare, header: SegmentHeader) -> io::Result<()> {
        point("journal::write_header")?;
        spare.file.write_all_at(&header.encode(), 0)?;
        (&spare.file).seek(SeekFrom::Start(SEGMENT_HEADER_BYTES as u64))?;
        self.name(&spare.path, header.number)
    }

    /// A new file with this header, synced, that has no segment's name yet.
    pub fn write_aside(&self, header: SegmentHeader) -> io::Result<(PathBuf, File)> {
        let path = self.new_spare_path();
        let file = create(&path)?;
        let written = point("journal::write_header")
            .and_then(|()| file.write_all_at(&header.encode(), 0))
            .and_then(|()| file.sync_data());
        match written {
            Ok(()) => Ok((path, file)),
            Err(error) => {
                // That it is not removed matters less than why it could not be written, and the next start does it.
                let _ = remove(&path);
                Err(error)
            }
        }
    }

    pub fn name(&self, path: &Path, number: u64) -> io::Result<()> {
        point("journal::rename")?;
        std::fs::rename(path, self.segment_path(number))
    }

    /// The segment is not needed any more. [`Directory::tend`] takes care of it.
    pub fn retire(&self, number: u64) {
        self.stock.lock().retired.push_back(number);
    }

    fn kept_spares(&self) -> usize {
        if self.is_resting.load(Ordering::Relaxed) { 0 } else { self.limit }
    }

    /// And whether there is room for it among the spares.
    fn oldest_retired(&self) -> Option<(u64, bool)> {
        let stock = self.stock.lock();
        stock.retired.front().map(|&number| (number, stock.ready.len() < self.kept_spares()))
    }

    /// Recycles the segments that are not needed any more, and sees to it that there is a spare, or that there is none.
    pub fn tend(&self) -> io::Result<()> {
        if self.oldest_retired().is_some() {
            self.mark.sync()?;
        }
        while let Some((number, is_kept)) = self.oldest_retired() {
            let path = self.segment_path(number);
            let length_bytes = std::fs::metadata(&path)?.len();
            // One after the other, each made durable: a power cut must not leave a gap among the numbers.
            if is_kept && length_bytes >= self.segment_bytes {
                let spare_path = self.new_spare_path();
                point("journal::rename")?;
                std::fs::rename(&path, &spare_path)?;
                self.stock.lock().retired.pop_front();
                self.sync()?;
                // As in `write_aside`.
                let recycled = self.recycle(&spare_path).inspect_err(|_| _ = remove(&spare_path));
                let file = recycled?;
                self.stock.lock().ready.push(Spare { path: spare_path, file });
            } else {
                remove(&path)?;
                self.stock.lock().retired.pop_front();
                self.sync()?;
            }
        }
        if self.limit > 0 && self.kept_spares() == 0 {
            let needless = std::mem::take(&mut self.stock.lock().ready);
            return needless.iter().try_for_each(|spare| remove(&spare.path));
        }
        if self.limit > 0 && self.ready_spares() == 0 { self.prepare() } else { Ok(()) }
    }

    /// Makes a former segment a spare: cuts off what it grew by, and replaces its header, durably.
    fn recycle(&self, path: &Path) -> io::Result<File> {
        let mut file = open_to_write(path)?;
        file.set_len(self.segment_bytes)?;
        file.write_all_at(&SegmentHeader::spare().encode(), 0)?;
        file.sync_all()?;
        // Unless they go past the page cache, blocks begin and end within pages. If those are not in memory when they are
        // written over, the write must first read them from disk, while everybody waits.
        if !self.is_direct.load(Ordering::Relaxed) {
            let mut page = vec![0; ZEROS_BYTES];
            while file.read(&mut page)? > 0 {}
        }
        Ok(file)
    }

    fn prepare(&self) -> io::Result<()> {
        // What is left on a full disk is for those who need less.
        if free_bytes(&self.path)? < self.segment_bytes + self.segment_bytes / 4 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.new_spare_path();
        let file = create(&path)?;
        match self.fill(&file).and_then(|()| self.sync()) {
            Ok(()) => {
                self.stock.lock().ready.push(Spare { path, file });
                Ok(())
            }
            Err(error) => {
                // As in `write_aside`.
                let _ = remove(&path);
                Err(error)
            }
        }
    }

    /// The header comes last: a spare that has one is finished.
    fn fill(&self, mut file: &File) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES];
        let mut filled_bytes = 0;
        while filled_bytes < self.segment_bytes {
            if self.closing.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            point("journal::fill")?;
            let piece_bytes = (self.segment_bytes - filled_bytes).min(ZEROS_BYTES as u64);
            file.write_all(&zeros[..piece_bytes as usize])?;
            filled_bytes += piece_bytes;
            if filled_bytes % ZEROS_SYNCED_BYTES == 0 {
                file.sync_data()?;
            }
        }
        file.sync_all()?;
        file.write_all_at(&SegmentHeader::spare().encode(), 0)?;
        file.sync_data()
    }
}

fn create(path: &Path) -> io::Result<File> {
    point("journal::create")?;
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    point("journal::remove")?;
    std::fs::remove_file(path)
}

fn open_to_write(path: &Path) -> io::Result<File> {
    point("journal::open")?;
    OpenOptions::new().read(true).write(true).open(path)
}

/// None if the file was not finished, or has another size than segments now have.
fn reopen_spare(path: &Path, segment_bytes: u64) -> io::Result<Option<File>> {
    let file = open_to_write(path)?;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    let is_spare = file.metadata()?.len() == segment_bytes
        && file.read_exact_at(&mut bytes, 0).is_ok()
        && SegmentHeader::decode(&bytes).is_ok_and(|header| header.number == 0);
    Ok(is_spare.then_some(file))
}

//! Dropping what cannot be read, when a person asks for it. Nothing is deleted: it goes to files named `*.dropped`.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::block_mark::Needed;
use super::error::JournalError;
use super::fault::point;
use super::files::segment_path;
use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader, blocks_from};
use super::recovery::{Damage, Found};
use crate::store::mark;

/// Says in lines for a person what is damaged in the journal in `directory` and what of it has to be dropped, and with
/// `apply` drops it: everything from the first damaged block on. No lines: it can be opened as it is.
pub fn repair(directory: &Path, apply: bool) -> Result<Vec<String>, JournalError> {
    let mark = directory.join(mark::FILE);
    if let Err(error) = Needed::find(directory) {
        let mut lines = vec![format!("{}: {error}; what it told of the journal is dropped", mark.display())];
        if apply {
            mark::remove(directory).map_err(JournalError::io(&mark))?;
            lines.extend(repair(directory, apply)?);
        }
        return Ok(lines);
    }
    let (mut found, damaged_file) = Found::look(directory)?;
    // Damage among the blocks comes first: it lies in a file before the damaged one.
    let (next, damaged_block) = found.walk(|_| Ok(()))?;
    let damage = damaged_block.or(damaged_file).or_else(|| {
        let what = "there is no segment, and an empty one is begun".to_owned();
        let file = segment_path(directory, 1);
        found.numbers.is_empty().then_some(Damage { file, number: 1, offset: 0, what })
    });
    let Some(damage) = damage else { return Ok(Vec::new()) };
    let mut lines = vec![format!("{}: at offset {}: {}", damage.file.display(), damage.offset, damage.what)];
    let keeps = if next > found.first_block().unwrap_or(1) {
        format!("the blocks before it, up to block {}, are kept", next - 1)
    } else {
        "no block before it is there".to_owned()
    };
    lines.push(keeps);
    let steps = steps(directory, &found, &damage)?;
    for step in &steps {
        lines.push(step.describe(apply));
    }
    if apply {
        // From the end: whatever stops this, it can be done again, and no gap is left.
        for step in steps.iter().rev() {
            step.take().map_err(JournalError::io(&step.from))?;
            sync_directory(directory).map_err(JournalError::io(directory))?;
        }
        // A journal without a segment would be taken for a missing one.
        if found.numbers.first().is_none_or(|&first| first == damage.number) && damage.offset == 0 {
            let path = segment_path(directory, damage.number);
            begin_anew(&path, damage.number)
                .and_then(|()| sync_directory(directory))
                .map_err(JournalError::io(&path))?;
        }
        // It asks for what is dropped now.
        mark::remove(directory).map_err(JournalError::io(&mark))?;
    }
    Ok(lines)
}

/// One file, or the rest of one, that is to be dropped.
struct Step {
    from: PathBuf,
    to: PathBuf,
    offset: u64,
    bytes: u64,
    blocks: u64,
}

/// In the order of the segments.
fn steps(directory: &Path, found: &Found, damage: &Damage) -> Result<Vec<Step>, JournalError> {
    let mut steps = Vec::new();
    for &number in found.numbers.iter().filter(|&&number| number >= damage.number) {
        let from = segment_path(directory, number);
        // Only the first keeps a part, if it is a block that is damaged.
        let offset = if number == damage.number { damage.offset } else { 0 };
        let bytes = std::fs::read(&from).map_err(JournalError::io(&from))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).max(SEGMENT_HEADER_BYTES);
        let blocks = SegmentHeader::decode(&bytes).map_or(0, |header| {
            blocks_from(&bytes, start, &header).filter(|(_, block)| block.payload.is_some()).count() as u64
        });
        let to = free_path(&from).map_err(JournalError::io(&from))?;
        steps.push(Step { from, to, offset, bytes: (bytes.len() as u64).saturating_sub(offset), blocks });
    }
    Ok(steps)
}

impl Step {
    fn describe(&self, apply: bool) -> String {
        let Step { from, to, offset, bytes, blocks } = self;
        let (verb, part) = (
            if apply { "dropped" } else { "to be dropped" },
            if *offset > 0 { format!(" from offset {offset} on") } else { String::new() },
        );
        format!("{}{part}: {bytes} bytes with {blocks} intact blocks {verb}, moved to {}", from.display(), to.display())
    }

    fn take(&self) -> io::Result<()> {
        point("journal::rename")?;
        if self.offset == 0 {
            return std::fs::rename(&self.from, &self.to);
        }
        let mut kept = OpenOptions::new().read(true).write(true).open(&self.from)?;
        let mut dropped = OpenOptions::new().write(true).create_new(true).open(&self.to)?;
        kept.seek(SeekFrom::Start(self.offset))?;
        io::copy(&mut kept, &mut dropped)?;
        dropped.sync_all()?;
        kept.set_len(self.offset)?;
        kept.sync_all()
    }
}

/// A name for what is dropped that no earlier repair has taken.
fn free_path(from: &Path) -> io::Result<PathBuf> {
    for repeat in 1_u32.. {
        let suffix = if repeat == 1 { ".dropped".to_owned() } else { format!(".{repeat}.dropped") };
        let mut name = from.as_os_str().to_owned();
        name.push(suffix);
        if !Path::new(&name).try_exists()? {
            return Ok(name.into());
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn begin_anew(path: &Path, number: u64) -> io::Result<()> {
    point("journal::create")?;
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all_at(&SegmentHeader::new(number, 1, 0).encode(), 0)?;
    file.sync_all()
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    point("journal::sync_directory")?;
    File::open(directory)?.sync_all()
}

//! A mark: a small file beside others that says how far they have come, so that a start can tell what they lack.
//!
//! Whatever ends early on disk (a log, a journal) looks the same whether a crash tore it off there or something took its end
//! away later. The mark tells the two apart. It is written to the system each time something it tells of is safe, and to the
//! device only where something depends on it: a killed process leaves it as new as what it tells of, a power cut may leave an
//! older one, which asks for less. With it goes the identity of the machine's boot: what was only handed to the system is
//! still there as long as that has not changed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;

use crate::base::checksum;

/// The name of a mark's file.
pub const FILE: &str = "MARK";
const MAGIC: [u8; 8] = *b"ROCKMARK";
/// Changes with each boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const BOOT_BYTES: usize = 16;
/// With the count of values after the two.
const HEADER_BYTES: usize = COUNT_AT + 4;
const BOOT_AT: usize = MAGIC.len();
const COUNT_AT: usize = BOOT_AT + BOOT_BYTES;
const VALUE_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
const SECTOR_BYTES: usize = 512;
/// So it lies in one sector, which a power cut leaves as it was before a write or as it is after.
pub const VALUES_MAX: usize = (SECTOR_BYTES - HEADER_BYTES - CHECKSUM_BYTES) / VALUE_BYTES;

/// What a mark said that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As its owner set them last.
    pub values: Vec<u64>,
    /// The machine has not gone down since: nothing that was written is lost, synced or not.
    pub is_of_this_boot: bool,
}

/// A mark that is kept up to date. What its values mean only its owner knows.
pub struct Mark {
    file: File,
    state: Mutex<State>,
}

struct State {
    values: Vec<u64>,
    /// What is written, for what does not change stays in it.
    sector: [u8; SECTOR_BYTES],
    /// The system has the values.
    is_written: bool,
}

/// Reads the mark in `directory`, if there is one.
///
/// # Errors
/// When it cannot be read, or is not what was written.
pub fn find(directory: &Path) -> io::Result<Option<Found>> {
    match fs::read(directory.join(FILE)) {
        Ok(bytes) => decode(&bytes)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is damaged: its checksum does not match")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8]) -> Option<Found> {
    let header = bytes.get(..HEADER_BYTES)?;
    let count = u32::from_le_bytes(*header.last_chunk()?) as usize;
    let body = bytes.get(..HEADER_BYTES + VALUE_BYTES * count.min(VALUES_MAX))?;
    let checksum = u32::from_le_bytes(*bytes[body.len()..].first_chunk()?);
    if !header.starts_with(&MAGIC) || checksum::crc32c(body) != checksum {
        return None;
    }
    let values = body[HEADER_BYTES..].chunks_exact(VALUE_BYTES);
    let values = values.filter_map(|value| Some(u64::from_le_bytes(*value.first_chunk()?))).collect();
    let boot = boot();
    let is_of_this_boot = boot != [0; BOOT_BYTES] && header[BOOT_AT..].starts_with(&boot);
    Some(Found { values, is_of_this_boot })
}

impl Mark {
    /// Begins a mark in `directory` with these values, on disk; one that is there is taken over.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(directory: &Path, values: Vec<u64>) -> io::Result<Mark> {
        let path = directory.join(FILE);
        let mut sector = [0; SECTOR_BYTES];
        sector[..BOOT_AT].copy_from_slice(&MAGIC);
        sector[BOOT_AT..COUNT_AT].copy_from_slice(&boot());
        let with = |file| Mark { file, state: Mutex::new(State { values, sector, is_written: false }) };
        match OpenOptions::new().write(true).open(&path) {
            // In its place, which takes no room.
            Ok(file) => {
                let mark = with(file);
                mark.sync()?;
                Ok(mark)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let temporary = directory.join(format!("{FILE}.tmp"));
                let mark = with(File::create(&temporary)?);
                mark.sync()?;
                fs::rename(&temporary, &path)?;
                File::open(directory)?.sync_all()?;
                Ok(mark)
            }
            Err(error) => Err(error),
        }
    }

    /// Lets `change` change the values and tell whether it did, and then hands them to the system. Where that fails they are
    /// handed over with the next.
    pub fn set(&self, change: impl FnOnce(&mut Vec<u64>) -> bool) {
        let mut state = self.state.lock();
        if !change(&mut state.values) && state.is_written {
            return;
        }
        let written = self.write(&mut state);
        drop(state);
        if let Err(error) = written {
            tracing::debug!(%error, "a mark stays behind");
        }
    }

    /// Has the values on disk.
    ///
    /// # Errors
    /// When they could not be written.
    pub fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.is_written {
            self.write(&mut state)?;
        }
        drop(state);
        self.file.sync_data()
    }

    fn write(&self, state: &mut State) -> io::Result<()> {
        let State { values, sector, .. } = state;
        let values = &values[..values.len().min(VALUES_MAX)];
        sector[COUNT_AT..HEADER_BYTES].copy_from_slice(&(values.len() as u32).to_le_bytes());
        for (value, place) in values.iter().zip(sector[HEADER_BYTES..].chunks_exact_mut(VALUE_BYTES)) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        let end = HEADER_BYTES + VALUE_BYTES * values.len();
        let checksum = checksum::crc32c(&sector[..end]);
        sector[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        state.is_written = false;
        self.file.write_all_at(&state.sector[..end + CHECKSUM_BYTES], 0)?;
        state.is_written = true;
        Ok(())
    }
}

/// Takes the mark in `directory` away: nothing is known any more of what was there.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Has the mark in `directory` be of an earlier boot, as after a power cut.
#[cfg(test)]
pub fn end_boot(directory: &Path) {
    let path = directory.join(FILE);
    let Ok(mut bytes) = fs::read(&path) else { return };
    let Some(found) = decode(&bytes) else { return };
    let end = HEADER_BYTES + VALUE_BYTES * found.values.len();
    bytes[BOOT_AT..COUNT_AT].fill(1);
    let checksum = checksum::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum);
    fs::write(&path, bytes).expect("a mark is written");
}

/// Zeros where the system does not tell.
fn boot() -> [u8; BOOT_BYTES] {
    let text = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or_default().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_found_and_damage_is_told() {
        let place = tempfile::tempdir().expect("a directory");
        assert_eq!(find(place.path()).expect("no mark"), None);
        let mark = Mark::begin(place.path(), vec![1, 2, 3, 4]).expect("a mark");
        mark.set(|values| {
            values[1] = u64::MAX;
            values.pop().is_some()
        });
        mark.set(|_| false);
        let found = find(place.path()).expect("read").expect("a mark");
        assert_eq!(found, Found { values: vec![1, u64::MAX, 3], is_of_this_boot: boot() != [0; BOOT_BYTES] });
        let path = place.path().join(FILE);
        let whole = fs::read(&path).expect("bytes");
        let end = HEADER_BYTES + 3 * VALUE_BYTES + CHECKSUM_BYTES;
        for position in 0..end {
            let mut damaged = whole.clone();
            damaged[position] ^= 1 << (position % 8);
            fs::write(&path, &damaged).expect("written");
            assert!(find(place.path()).is_err(), "a bit of byte {position}");
            fs::write(&path, &whole[..position]).expect("written");
            assert!(find(place.path()).is_err(), "cut at {position}");
        }
        fs::write(&path, [&whole[..end], b"more"].concat()).expect("written");
        assert_eq!(find(place.path()).expect("read"), Some(found));
        end_boot(place.path());
        assert!(!find(place.path()).expect("read").expect("a mark").is_of_this_boot);
        remove(place.path()).expect("removed");
        assert_eq!(find(place.path()).expect("no mark"), None);
    }
}

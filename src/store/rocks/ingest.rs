//! A table of records that is made here, beside RocksDB, which then takes it over.
//!
//! A large round in a WriteBatch would be copied into the log, into a memtable and by a flush into a table. Made at once, the
//! table takes less than half of the processor time, none of RocksDB's memory, and whoever makes it can give way to others
//! at any record. What is not records (metas, indexes) stays a WriteBatch, and makes the round whole: each batch that changes
//! records leaves its number in `meta`, and a table has its batch's in its name. A table whose batch is not the last of them
//! was taken over, or never counted.
//!
//! `round-N.table` is synced → the batch with N is written, and the log synced: now the round counts → RocksDB links the table
//! under a name of its own, as a file of level 0 or of the lowest level where nothing overlaps it, and takes the first away.
//! A start after a crash between the last two has the last done, which changes nothing where it had been: no batch that
//! changes records can have come in between.

use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rocksdb::{DB, IngestExternalFileOptions, Options, SstFileWriter};

use super::error::RocksError;
use super::families::{META, NUMBER_KEY, RECORDS, TABLE_KEY, family};
use crate::base::gather::Gather;

const CHUNK_BYTES: usize = 1 << 20;
/// In place of a value's length.
const DELETED: u32 = u32::MAX;
const NAME_BEGIN: &str = "round-";
const NAME_END: &str = ".table";

/// What is to be put and deleted, in the order in which it came. Of two operations on a key the later counts.
#[derive(Debug, Default)]
pub struct IngestTable {
    /// `length of the key u32 | length of the value u32 | key | value`, whole in one of them.
    chunks: Vec<Vec<u8>>,
    /// Where each operation is: a chunk, and a place in it.
    places: Vec<(u32, u32)>,
    /// The values of some operations, of which the chunks hold nothing; in the order of the places.
    gathered: Vec<((u32, u32), Gather)>,
    /// Some key is not behind the one before it.
    is_unsorted: bool,
    /// The batch's number, and the table, once there is one.
    made: Mutex<Option<(u64, PathBuf)>>,
}

impl IngestTable {
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(key, Some(value));
    }

    /// Puts a value that lies in pieces.
    pub fn put_gathered(&mut self, key: &[u8], value: &Gather) {
        self.push(key, Some(&[]));
        self.gathered.extend(self.places.last().map(|place| (*place, value.clone())));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.push(key, None);
    }

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.is_unsorted |= self.places.last().is_some_and(|last| self.operation(*last).0 >= key);
        let bytes = 8 + key.len() + value.map_or(0, <[u8]>::len);
        if self.chunks.last().is_none_or(|chunk| chunk.capacity() - chunk.len() < bytes) {
            self.chunks.push(Vec::with_capacity(bytes.max(CHUNK_BYTES)));
        }
        let index = self.chunks.len() - 1;
        let chunk = &mut self.chunks[index];
        self.places.push((index as u32, chunk.len() as u32));
        chunk.extend((key.len() as u32).to_le_bytes());
        chunk.extend(value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
        chunk.extend_from_slice(key);
        chunk.extend_from_slice(value.unwrap_or_default());
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The key of an operation, by its number.
    pub fn key(&self, number: usize) -> &[u8] {
        self.operation(self.places[number]).0
    }

    fn operation(&self, (chunk, at): (u32, u32)) -> (&[u8], Option<&[u8]>) {
        let bytes = &self.chunks[chunk as usize][at as usize..];
        let length = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (key, rest) = bytes[8..].split_at(length(0) as usize);
        let value = length(4);
        (key, (value != DELETED).then(|| &rest[..value as usize]))
    }

    /// The operations that count, in the order of their keys.
    fn visit(&self, mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), RocksError>) -> Result<(), RocksError> {
        let key = |place: &(u32, u32)| self.operation(*place).0;
        let mut sorted = Vec::new();
        if self.is_unsorted {
            sorted.clone_from(&self.places);
            // Stable, so the latest of a key is the last of its row.
            sorted.sort_by(|one, other| key(one).cmp(key(other)));
        }
        let places = if self.is_unsorted { &sorted } else { &self.places };
        for (index, place) in places.iter().enumerate() {
            let is_last = || places.get(index + 1).is_none_or(|next| key(next) != key(place));
            if !self.is_unsorted || is_last() {
                let (key, value) = self.operation(*place);
                match self.gathered.binary_search_by_key(place, |(place, _)| *place) {
                    Ok(gathered) => visit(key, Some(&self.gathered[gathered].1.to_vec()))?,
                    Err(_) => visit(key, value)?,
                }
            }
        }
        Ok(())
    }

    /// The table, and the number of its batch. Both stay the same when the batch is tried again, unless the database was
    /// opened anew meanwhile.
    ///
    /// # Errors
    /// Like [`IngestTable::write`].
    pub(super) fn made(
        &self,
        directory: &Path,
        next_number: impl FnOnce() -> u64,
        options: &Options,
        give_way: &dyn Fn(),
    ) -> Result<(u64, PathBuf), RocksError> {
        let mut made = self.made.lock();
        if let Some(made) = made.as_ref().filter(|(_, path)| path.exists()) {
            return Ok(made.clone());
        }
        let number = next_number();
        let path = self.write(directory, number, options, give_way)?;
        Ok(made.insert((number, path)).clone())
    }

    /// Writes the table of the batch `number` into `directory` and syncs both, calling `give_way` after each record.
    ///
    /// # Errors
    /// When it cannot be written; then there is none.
    pub(super) fn write(
        &self,
        directory: &Path,
        number: u64,
        options: &Options,
        give_way: &dyn Fn(),
    ) -> Result<PathBuf, RocksError> {
        let path = directory.join(format!("{NAME_BEGIN}{number}{NAME_END}"));
        let write = || {
            fail::fail_point!("rocks::table", |argument| Err(RocksError::injected(argument)));
            let mut writer = SstFileWriter::create(options);
            writer.open(&path)?;
            self.visit(|key, value| {
                give_way();
                match value {
                    Some(value) => writer.put(key, value)?,
                    None => writer.delete(key)?,
                }
                Ok(())
            })?;
            writer.finish()?;
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(RocksError::from)
        };
        let written = write();
        if written.is_err() {
            // What cannot be removed is by the next start.
            let _ = std::fs::remove_file(&path);
        }
        written.map(|()| path)
    }
}

/// Has RocksDB take over a table.
pub(super) fn ingest(database: &DB, path: &Path) -> Result<(), RocksError> {
    fail::fail_point!("rocks::ingest", |argument| Err(RocksError::injected(argument)));
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    Ok(database.ingest_external_file_cf_opts(family(database, RECORDS)?, &options, vec![path])?)
}

/// Completes the last batch, where a crash has kept its table from being taken over, and removes the tables of batches that
/// never counted. Returns the last batch's number. `taken_over` is the last whose table surely was, if that is known.
///
/// # Errors
/// When the database or its directory cannot be read, or the table not be taken over.
pub(super) fn complete(database: &DB, directory: &Path, taken_over: Option<u64>) -> Result<u64, RocksError> {
    let (last, last_with_table) = (number(database, NUMBER_KEY)?, number(database, TABLE_KEY)?);
    let mut is_complete = last_with_table < last || taken_over.is_none_or(|taken_over| taken_over >= last);
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix(NAME_BEGIN).and_then(|name| name.strip_suffix(NAME_END));
        match number.and_then(|number| number.parse::<u64>().ok()) {
            Some(number) if number == last => {
                ingest(database, &path).map_err(|error| {
                    let message = format!("a round has to be completed by {}: {}", path.display(), error.message);
                    RocksError::new(error.kind, message)
                })?;
                is_complete = true;
            }
            Some(_) => std::fs::remove_file(&path)?,
            None => {}
        }
    }
    if is_complete {
        return Ok(last);
    }
    let path = directory.join(format!("{NAME_BEGIN}{last}{NAME_END}"));
    Err(RocksError::corruption(format!("{} is gone, and a round has to be completed by it", path.display())))
}

/// A batch's number from `meta`; 0: there is none.
fn number(database: &DB, key: &[u8]) -> Result<u64, RocksError> {
    let Some(bytes) = database.get_pinned_cf(family(database, META)?, key)? else { return Ok(0) };
    let bytes = bytes.as_ref().try_into();
    let damaged = |_| RocksError::corruption(format!("the number of the last {} is damaged", key.escape_ascii()));
    bytes.map(u64::from_le_bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chunks::Chunks;

    /// What `visit` meets.
    fn visited(table: &IngestTable) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        table
            .visit(|key, value| {
                all.push((key.to_vec(), value.map(<[u8]>::to_vec)));
                Ok(())
            })
            .expect("no error");
        all
    }

    #[test]
    fn of_two_operations_on_a_key_the_later_counts() {
        let mut table = IngestTable::default();
        table.delete(b"c");
        table.put(b"a", b"1");
        table.put(b"c", b"2");
        table.put(b"b", b"");
        let mut gathered = Gather::default();
        gathered.bytes().extend_from_slice(b"head ");
        gathered.share(Chunks::from(&b"and more"[..]));
        table.put_gathered(b"d", &gathered);
        table.delete(b"a");
        let some = |bytes: &[u8]| Some(bytes.to_vec());
        let large = (b"d".to_vec(), some(b"head and more"));
        let expected = [(b"a".to_vec(), None), (b"b".to_vec(), some(b"")), (b"c".to_vec(), some(b"2")), large];
        assert_eq!(visited(&table), expected);
        assert!(!table.is_empty() && IngestTable::default().is_empty());
    }

    #[test]
    fn it_sorts_what_comes_in_any_order_and_size() {
        let mut expected = std::collections::BTreeMap::new();
        let (mut table, mut sorted) = (IngestTable::default(), IngestTable::default());
        for number in 0..5000_u32 {
            let key = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
            let value =
                vec![number as u8; if number % 1000 == 0 { 3 * CHUNK_BYTES / 2 } else { (number % 700) as usize }];
            table.put(&key, &value);
            expected.insert(key.to_vec(), Some(value));
        }
        let expected: Vec<_> = expected.into_iter().collect();
        assert!(visited(&table) == expected);
        for (key, value) in &expected {
            sorted.put(key, value.as_deref().unwrap_or_default());
        }
        assert!(!sorted.is_unsorted && visited(&sorted) == expected);
    }
}

//! Opening the database, with what an end in the middle of a round has left.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, WriteBatch};

use super::batch::Batch;
use super::error::{RocksError, RocksErrorKind};
use super::families::{AGE, ELEMENTS, EXPIRY, FamilyId, META, family};
use super::options::{self, Resources, RocksOptions};
use super::verify::{Found, LogMark, verify};
use super::{ingest, properties};

fn descriptors(options: &RocksOptions, resources: &Resources) -> Result<Vec<ColumnFamilyDescriptor>, RocksError> {
    let families = options::families(options, resources)?.into_iter();
    Ok(families.map(|(name, family)| ColumnFamilyDescriptor::new(name, family)).collect())
}

/// With the number of the last batch, which is complete then, and what was found before.
pub(super) fn open(
    directory: &Path,
    options: &RocksOptions,
    resources: &Resources,
) -> Result<(DB, u64, Found), RocksError> {
    fail::fail_point!("rocks::open", |argument| Err(RocksError::injected(argument)));
    let found = if directory.exists() { verify(directory)? } else { Found::default() };
    found.cut_torn_ends(directory)?;
    let database =
        DB::open_cf_descriptors(&options::database(options, resources)?, directory, descriptors(options, resources)?)?;
    check_numbers(&database)?;
    properties::check_blobs(&database, directory)?;
    match ingest::complete(&database, directory, found.taken_over) {
        Ok(last_number) => Ok((database, last_number, found)),
        Err(error) => {
            drop(database);
            // The manifest is a new one by now. The next start is to miss the same.
            if let Some(taken_over) = found.taken_over {
                LogMark::begin(directory, found, taken_over)?;
            }
            Err(error)
        }
    }
}

pub(super) fn open_for_reading(
    directory: &Path,
    options: &RocksOptions,
    resources: &Resources,
) -> Result<DB, RocksError> {
    let database = options::database(options, resources)?;
    Ok(DB::open_cf_descriptors_read_only(&database, directory, descriptors(options, resources)?, false)?)
}

/// Batches name column families by number.
fn check_numbers(database: &DB) -> Result<(), RocksError> {
    let ids =
        [(META, FamilyId::Meta), (EXPIRY, FamilyId::Expiry), (AGE, FamilyId::Age), (ELEMENTS, FamilyId::Elements)];
    for (name, id) in ids {
        let (mut expected, mut ours) = (WriteBatch::default(), Batch::default());
        expected.put_cf(family(database, name)?, b"", b"");
        ours.put_empty(id);
        if expected.data() != ours.write_batch().data() {
            let message = format!("the column family {name} is not the one this program makes");
            return Err(RocksError::new(RocksErrorKind::Corruption, message));
        }
    }
    Ok(())
}

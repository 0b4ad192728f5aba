//! The column families, and what of their keys is known beforehand.

use rocksdb::{ColumnFamily, DB};

use super::error::{RocksError, RocksErrorKind};

pub(super) const RECORDS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;
pub(super) const META: &str = "meta";
pub(super) const EXPIRY: &str = "expiry";
pub(super) const AGE: &str = "age";
pub(super) const ELEMENTS: &str = "elements";
pub(super) const FAMILIES: [&str; 5] = [RECORDS, META, EXPIRY, AGE, ELEMENTS];

/// Those whose keys begin with the database.
pub(super) const OF_DATABASES: [&str; 4] = [RECORDS, EXPIRY, AGE, ELEMENTS];

/// RocksDB's numbers of the column families: the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FamilyId {
    Records = 0,
    Meta = 1,
    Expiry = 2,
    Age = 3,
    Elements = 4,
}

/// In `meta`: which database lies where.
pub(super) const ORDER_KEY: &[u8] = b"order";
/// In `meta`: how the index of ages stands.
pub(super) const AGE_KEY: &[u8] = b"age";
/// In `meta`: the number of the last boot.
pub(super) const BOOT_KEY: &[u8] = b"boot";
/// In `meta`: the number of the last batch that changes records, see [`ingest`].
pub(super) const NUMBER_KEY: &[u8] = b"batch";
/// In `meta`: the same of the last whose records are a table.
pub(super) const TABLE_KEY: &[u8] = b"table";

pub(super) fn family<'a>(database: &'a DB, name: &str) -> Result<&'a ColumnFamily, RocksError> {
    database.cf_handle(name).ok_or_else(|| RocksError::new(RocksErrorKind::Missing, format!("no column family {name}")))
}

/// The first key behind all that begin with `prefix`; empty: there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

//! Reading the leaves of large collections.

use std::ops::ControlFlow;

use rocksdb::ReadOptions;

use super::database::Rocks;
use super::error::RocksError;
use super::families::{ELEMENTS, after_prefix, family};
use super::read::sequential;
use crate::store::collection::LeafKey;
use crate::store::record;

impl Rocks {
    /// Reads leaves by their keys ([`LeafKey::encoded`]), all together; each one's own result, in the order of `keys`: what `take`
    /// makes of it, or `None` where there is none. It is fastest for sorted keys.
    pub fn look_at_leaves<T>(
        &self,
        keys: &[&[u8]],
        take: impl Fn(&[u8]) -> Result<T, RocksError>,
    ) -> Vec<Result<Option<T>, RocksError>> {
        self.look_at_many_in(ELEMENTS, keys, take)
    }

    /// The last leaf of the key's collection that is not behind the key: where an element is whose place is known, and not the
    /// leaf that has it. What `take` makes of its key and its bytes; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or `take` has none of it.
    pub fn leaf_up_to<T>(
        &self,
        key: &LeafKey<'_>,
        take: impl FnOnce(LeafKey<'_>, &[u8]) -> Result<T, RocksError>,
    ) -> Result<Option<T>, RocksError> {
        fail::fail_point!("rocks::scan", |argument| Err(RocksError::injected(argument)));
        let prefix = LeafKey::prefix(key.database, key.slot, key.collection);
        let mut bounds = ReadOptions::default();
        bounds.set_iterate_lower_bound(prefix);
        bounds.set_iterate_upper_bound(after_prefix(&prefix));
        let state = self.state();
        let database = state.database()?;
        let mut iterator = database.raw_iterator_cf_opt(family(database, ELEMENTS)?, bounds);
        iterator.seek_for_prev(key.encoded());
        if let Some((key, leaf)) = iterator.item() {
            return take(decoded(key)?, leaf).map(Some);
        }
        iterator.status()?;
        Ok(None)
    }

    /// Visits the leaves of the key's collection in order, from the key on, until `visit` breaks off. The database cannot be
    /// reopened meanwhile.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn scan_leaves(
        &self,
        from: &LeafKey<'_>,
        mut visit: impl FnMut(LeafKey<'_>, &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        let end = after_prefix(&LeafKey::prefix(from.database, from.slot, from.collection));
        let visit = |key: &[u8], leaf: &[u8]| visit(decoded(key)?, leaf);
        self.scan(ELEMENTS, &from.encoded(), &end, ReadOptions::default(), visit)
    }

    /// Visits all leaves of a slot, collection by collection, without a trace in the cache, until `visit` breaks off.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn scan_slot_leaves(
        &self,
        database: u8,
        slot: u16,
        mut visit: impl FnMut(LeafKey<'_>, &[u8]) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        let prefix = record::slot_prefix(database, slot);
        let visit = |key: &[u8], leaf: &[u8]| visit(decoded(key)?, leaf);
        self.scan(ELEMENTS, &prefix, &after_prefix(&prefix), sequential(), visit)
    }
}

fn decoded(key: &[u8]) -> Result<LeafKey<'_>, RocksError> {
    LeafKey::decode(key).ok_or_else(|| RocksError::damaged("the key of a leaf", key))
}

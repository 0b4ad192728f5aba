//! Bringing a key into memory that may be on disk alone.

use super::super::disk::tier::Tier;
use super::super::memory::entry::{Content, Marks};
use super::super::memory::guard::SlotGuard;
use super::super::memory::key::Key;
use super::super::memory::table::token;
use super::loader::{Cold, ColdKey};
use crate::store::record::{RecordKey, StoredRecord};
use crate::store::rocks::Look;

/// Whether a command can go on with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Residence {
    /// Whatever is known of the key is in memory.
    Here,
    /// It has to be loaded; `Cold` knows.
    Cold,
    /// Its record cannot be read, for this reason.
    Failed(String),
}

impl SlotGuard<'_> {
    /// Sees to it that whatever there is of the key is in memory.
    #[inline]
    pub fn make_resident(&mut self, key: &Key, cold: &mut Cold) -> Residence {
        if self.is_resident(key) { Residence::Here } else { self.make_cold_resident(key, cold) }
    }

    fn make_cold_resident(&mut self, key: &Key, cold: &mut Cold) -> Residence {
        let Some(tier) = self.databases.tier() else { return Residence::Here };
        let departures = self.slot.differences.departures;
        if let Some(loaded) = cold.loaded(self.position(), key, departures) {
            return match loaded {
                Ok(None) => Residence::Here,
                Ok(Some(record)) => self.install(key, record),
                Err(error) => Residence::Failed(error.clone()),
            };
        }
        let record_key = self.record_key(tier, key);
        match tier.store.look(&record_key) {
            Look::Absent => {
                tier.counters.absent.add(1);
                Residence::Here
            }
            Look::Found(record) => {
                tier.counters.cached.add(1);
                self.install(key, &StoredRecord::new(&record))
            }
            Look::Unknown => {
                cold.request(ColdKey { position: self.position(), departures, hash: key.hash, record_key });
                Residence::Cold
            }
        }
    }

    /// Requests that the key is loaded, if it may be on disk alone.
    pub fn request(&self, key: &Key, cold: &mut Cold) {
        let Some(tier) = self.databases.tier() else { return };
        if !self.is_resident(key) {
            let record_key = self.record_key(tier, key);
            let departures = self.slot.differences.departures;
            cold.request(ColdKey { position: self.position(), departures, hash: key.hash, record_key });
        }
    }

    fn record_key(&self, tier: &Tier, key: &Key) -> Vec<u8> {
        RecordKey::encoded(tier.store.long_keys(), self.physical, self.number, key.hash, key.bytes)
    }

    /// Cold → clean. A record whose expiry has passed stays where it is, for the sweep.
    pub(in crate::keyspace) fn install(&mut self, key: &Key, record: &StoredRecord) -> Residence {
        let (record, payload) = match record.decode() {
            Ok(decoded) => decoded,
            Err(error) => return Residence::Failed(error.to_string()),
        };
        if record.long_key.is_some_and(|long_key| long_key != key.bytes) {
            return Residence::Failed("another key has the same digest".to_owned());
        }
        if record.expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.caller.now_ms) {
            return Residence::Here;
        }
        let Some(content) = Content::from_record(record.kind, payload) else {
            return Residence::Failed(format!("unknown type {}", record.kind));
        };
        let mut entry = self.fresh(key, content, record.expiry_ms);
        entry.set_marks(Marks::STORED);
        self.add_entry(token(key.hash), entry);
        self.slot.cold -= 1;
        self.database.counts.add_cold(self.number, -1);
        self.queue_expiry(token(key.hash), None, record.expiry_ms);
        Residence::Here
    }
}

//! Decoding of what lies in RocksDB: no bytes panic, and what is read is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rockpool::store::record::{LongKeys, Record, RecordKey, SlotMeta, index_key, index_parts, slot_key, slot_of_key};

fuzz_target!(|data: &[u8]| {
    let record = Record::decode(data);
    if let Ok(record) = record {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(again, data);
    }
    if let Some(RecordKey { database, slot, hash, key }) = RecordKey::decode(data) {
        assert_eq!(RecordKey::encoded(LongKeys::Whole, database, slot, u64::from(hash) << 32, key), data);
    }
    if let Some((time_ms, record_key)) = index_parts(data) {
        assert_eq!(index_key(time_ms, &record_key), data);
    }
    if let Some((database, slot)) = slot_of_key(data) {
        assert_eq!(slot_key(database, slot), data);
    }
    if let Ok(meta) = SlotMeta::decode(data) {
        assert_eq!(meta.encode()[..], data[..]);
    }
});

//! Expired records vanish in compaction, without being read or deleted for it.
//!
//! RocksDB shows a filter the whole record, for which it reads the blob file where the record lies in one. So where most
//! bytes are in blob files, compaction goes without a filter: with 300,000 records of 5,000 bytes it read 2.9 GB with
//! one and 0.6 GB without. The `rocksdb` crate has a filter for every compaction or for none, and calls C++ the same way.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use librocksdb_sys as ffi;
use rocksdb::compaction_filter::{CompactionFilter, destructor_callback, filter_callback, name_callback};
use rocksdb::{AsRawPtr, CompactionDecision, Options};

use crate::store::record::Record;

const FACTORY_NAME: &CStr = c"rockpool.expired.factory";
const NAME: &CStr = c"rockpool.expired";

/// Some 50 µs of a compaction.
const RECORDS_BETWEEN_YIELDS: u32 = 128;

/// What compaction may drop, and how it goes about it.
#[derive(Default)]
pub(super) struct Reclaim {
    /// Records that expired at this time or before are counted off already: nobody misses them.
    swept_ms: AtomicU64,
    /// Compactions that begin now look at no record.
    is_paused: AtomicBool,
    /// So much waits to be compacted that writes are about to wait for it.
    is_urgent: AtomicBool,
    /// How many records compaction has dropped.
    dropped: AtomicU64,
}

impl Reclaim {
    pub fn set_swept_ms(&self, swept_ms: u64) {
        self.swept_ms.fetch_max(swept_ms, Ordering::Relaxed);
    }

    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Relaxed)
    }

    pub fn set_urgent(&self, is_urgent: bool) {
        self.is_urgent.store(is_urgent, Ordering::Relaxed);
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Lives for one compaction.
struct Filter {
    swept_ms: u64,
    seen: u32,
    dropped: u64,
    reclaim: Arc<Reclaim>,
}

impl Filter {
    fn new(reclaim: &Arc<Reclaim>) -> Option<Filter> {
        let swept_ms = reclaim.swept_ms.load(Ordering::Relaxed);
        (!reclaim.is_paused()).then(|| Filter { swept_ms, seen: 0, dropped: 0, reclaim: Arc::clone(reclaim) })
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        self.reclaim.dropped.fetch_add(self.dropped, Ordering::Relaxed);
    }
}

impl CompactionFilter for Filter {
    /// RocksDB shows the newest version of a key, and what is removed here hides the older ones as a delete does.
    fn filter(&mut self, _level: u32, _key: &[u8], value: &[u8]) -> CompactionDecision {
        // This is the one place where compaction can let go of its processor before the scheduler takes it away: by then a
        // worker that has requests to answer may have waited for 4 ms.
        self.seen = self.seen.wrapping_add(1);
        if self.seen.is_multiple_of(RECORDS_BETWEEN_YIELDS) && !self.reclaim.is_urgent.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let expiry_ms = Record::decode(value).ok().and_then(|record| record.expiry_ms);
        if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.swept_ms) {
            self.dropped += 1;
            return CompactionDecision::Remove;
        }
        CompactionDecision::Keep
    }

    fn name(&self) -> &CStr {
        NAME
    }
}

/// Gives `options` a factory that asks `reclaim` at the begin of each compaction.
pub(super) fn install(options: &mut Options, reclaim: &Arc<Reclaim>) {
    let state = Box::into_raw(Box::new(Arc::clone(reclaim)));
    // SAFETY: the factory owns `state` and gives it to `release` when it is destroyed itself, which is when nothing
    // refers to it any more: neither `options`, whose pointer is valid and which takes the factory over, nor a database.
    unsafe {
        let factory =
            ffi::rocksdb_compactionfilterfactory_create(state.cast(), Some(release), Some(create), Some(factory_name));
        ffi::rocksdb_options_set_compaction_filter_factory(options.as_raw_ptr(), factory);
    }
}

/// # Safety
/// `state` is from [`install`], and is not used afterwards.
unsafe extern "C" fn release(state: *mut c_void) {
    // SAFETY: it was made by `Box::into_raw` from this type.
    drop(unsafe { Box::from_raw(state.cast::<Arc<Reclaim>>()) });
}

/// # Safety
/// `state` is from [`install`], and not released yet. Several threads may be here at a time: it is only read.
unsafe extern "C" fn create(
    state: *mut c_void,
    _context: *mut ffi::rocksdb_compactionfiltercontext_t,
) -> *mut ffi::rocksdb_compactionfilter_t {
    // SAFETY: as the caller promises.
    let reclaim = unsafe { &*state.cast::<Arc<Reclaim>>() };
    let Some(filter) = Filter::new(reclaim) else { return ptr::null_mut() };
    let filter = Box::into_raw(Box::new(filter));
    // SAFETY: the filter owns the box, which its destructor drops; the three callbacks are those of its type.
    unsafe {
        ffi::rocksdb_compactionfilter_create(
            filter.cast(),
            Some(destructor_callback::<Filter>),
            Some(filter_callback::<Filter>),
            Some(name_callback::<Filter>),
        )
    }
}

extern "C" fn factory_name(_state: *mut c_void) -> *const c_char {
    FACTORY_NAME.as_ptr()
}

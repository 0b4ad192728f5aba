//! Records without what lies in blob files.
//!
//! A walk over keys needs no values. RocksDB reads a blob as soon as its iterator comes to it, unless the iterator may leave
//! values unread; the `rocksdb` crate has that option as little as a pointer to its read options, so that the C API is
//! called here.

use std::ffi::{CStr, c_char, c_void};
use std::ops::ControlFlow;
use std::{ptr, slice};

use librocksdb_sys as ffi;
use rocksdb::{AsRawPtr, DB};

use super::error::RocksError;

/// Of the column family `default`, which has the records.
pub(super) struct KeyIterator<'d> {
    iterator: *mut ffi::rocksdb_iterator_t,
    options: *mut ffi::rocksdb_readoptions_t,
    _database: &'d DB,
    /// RocksDB keeps a pointer to it.
    _end: Vec<u8>,
}

impl<'d> KeyIterator<'d> {
    /// Of the keys before `end`, which is not empty.
    pub fn new(database: &'d DB, end: &[u8]) -> KeyIterator<'d> {
        let end = end.to_vec();
        // SAFETY: all pointers are valid; the options and `end` live as long as the iterator, and the database longer.
        unsafe {
            let options = ffi::rocksdb_readoptions_create();
            ffi::rocksdb_readoptions_set_allow_unprepared_value(options, 1);
            ffi::rocksdb_readoptions_set_iterate_upper_bound(options, end.as_ptr().cast(), end.len());
            let iterator = ffi::rocksdb_create_iterator(database.as_raw_ptr(), options);
            KeyIterator { iterator, options, _database: database, _end: end }
        }
    }

    /// Visits keys in order, from one on, until `visit` breaks off. Of a record in a blob file there is no more than the
    /// key.
    ///
    /// # Errors
    /// When they cannot be read, or `visit` has none of them.
    pub fn visit(
        self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], Option<&[u8]>) -> Result<ControlFlow<()>, RocksError>,
    ) -> Result<(), RocksError> {
        // SAFETY: the iterator is valid, and `from` for the time of the call.
        unsafe { ffi::rocksdb_iter_seek(self.iterator, from.as_ptr().cast(), from.len()) };
        // SAFETY: the iterator is valid.
        while unsafe { ffi::rocksdb_iter_valid(self.iterator) } != 0 {
            // SAFETY: what these return is valid until the iterator moves.
            let (key, value) = unsafe { (self.part(ffi::rocksdb_iter_key), self.part(ffi::rocksdb_iter_value)) };
            // No record is empty: that is one that was not read.
            if visit(key, Some(value).filter(|value| !value.is_empty()))?.is_break() {
                return Ok(());
            }
            // SAFETY: the iterator is valid and at a record.
            unsafe { ffi::rocksdb_iter_next(self.iterator) };
        }
        self.status()
    }

    /// # Safety
    /// The iterator is at a record, and does not move while the slice lives.
    unsafe fn part(
        &self,
        get: unsafe extern "C" fn(*const ffi::rocksdb_iterator_t, *mut usize) -> *const c_char,
    ) -> &[u8] {
        let mut length = 0;
        // SAFETY: as the caller promises; the length is that of what is returned.
        unsafe {
            let start = get(self.iterator, &mut length);
            if length == 0 { &[] } else { slice::from_raw_parts(start.cast(), length) }
        }
    }

    fn status(&self) -> Result<(), RocksError> {
        let mut error: *mut c_char = ptr::null_mut();
        // SAFETY: the iterator is valid; a text that it leaves in `error` is ours to free.
        unsafe {
            ffi::rocksdb_iter_get_error(self.iterator, &mut error);
            if error.is_null() {
                return Ok(());
            }
            let text = CStr::from_ptr(error).to_string_lossy().into_owned();
            ffi::rocksdb_free(error.cast::<c_void>());
            Err(RocksError::told(text))
        }
    }
}

impl Drop for KeyIterator<'_> {
    fn drop(&mut self) {
        // SAFETY: both were made by `new`, and are not used after this.
        unsafe {
            ffi::rocksdb_iter_destroy(self.iterator);
            ffi::rocksdb_readoptions_destroy(self.options);
        }
    }
}

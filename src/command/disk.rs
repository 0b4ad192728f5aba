//! What clients are told when the disk refuses something.

use crate::reply::Error;
use crate::store::rocks::RocksError;

impl From<RocksError> for Error {
    fn from(error: RocksError) -> Error {
        Error::owned(format!("MISCONF Errors using the disk: {error}"))
    }
}

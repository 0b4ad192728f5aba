//! Where tests let input and output fail. Without the feature `failpoints` nothing of it is compiled.

use std::io;

/// Fails if a test, or the environment variable FAILPOINTS, says `<name>=return(ENOSPC)` or another error's name.
#[inline]
pub fn point(name: &'static str) -> io::Result<()> {
    fail::fail_point!(name, |error: Option<String>| Err(named(error.as_deref())));
    let _ = name;
    Ok(())
}

#[cfg(feature = "failpoints")]
fn named(error: Option<&str>) -> io::Error {
    const EIO: i32 = 5;
    const EACCES: i32 = 13;
    const ENOSPC: i32 = 28;
    io::Error::from_raw_os_error(match error {
        Some("ENOSPC") => ENOSPC,
        Some("EACCES") => EACCES,
        _ => EIO,
    })
}

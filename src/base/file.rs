//! Files that are replaced as a whole.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::Path;

/// Puts a file with `content` in the place of what `path` names, so that a crash leaves the one or the other; it is on disk
/// when this returns. Until it is whole it has a name that nobody can guess, so no file or link that lies there is
/// written to. Without `permissions` it is its owner's alone.
///
/// # Errors
/// When it cannot be written; then what was there stays.
pub fn replace(path: &Path, content: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".rockpool-").tempfile_in(directory).map_err(of_system)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.write_all(content)?;
    file.as_file().sync_all()?;
    fs::rename(file.path(), path)?;
    // It is not there any more under the name that would be removed.
    let _ = file.into_temp_path().keep();
    File::open(directory)?.sync_all()
}

/// The system's own error, without the path that the library adds.
fn of_system(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|outer| outer.source()?.downcast_ref::<io::Error>()?.raw_os_error());
    inner.map_or(error, io::Error::from_raw_os_error)
}

//! The files that tell a data directory, and what it was made with.

use std::fs;
use std::io;
use std::path::Path;

use toml_edit::DocumentMut;

use super::error::{DirectoryError, Result, io_error, name};
use super::files::remove_file;
use super::layout::{FORMAT, FORMAT_FILE, NEW_FILE, RESTORING_FILE};
use crate::base::key_hash::HashSecret;
use crate::base::{clock, file};
use crate::store::record::LongKeys;

const FORMAT_XXH3: u32 = 1;
const FORMAT_AES_CMAC: u32 = 2;
/// The names of the hashes. A directory keeps the one it was made with, which is the order of its records.
const XXH3: &str = "xxh3";
const AES_CMAC: &str = "aes-128-cmac";

/// What a directory was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    version: u32,
    /// Of the hash that places keys within their slots.
    pub secret: HashSecret,
    created_ms: u64,
    /// The version of the program that made it, or made it what it is.
    program: String,
    /// What it began as a copy of.
    pub origin: Option<Origin>,
}

/// A directory that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// Where it was.
    pub path: String,
    /// What was in it, see [`super::restore`].
    pub content: String,
}

impl Format {
    pub fn new(secret: HashSecret) -> Format {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Format { version: FORMAT, secret, created_ms: clock::now_ms(), program, origin: None }
    }

    /// Whether an older program made it.
    pub fn is_older(&self) -> bool {
        self.version < FORMAT
    }

    /// The same in this program's version, for a directory that has what that needs.
    pub fn upgraded(&self) -> Format {
        Format { version: FORMAT, program: env!("CARGO_PKG_VERSION").to_owned(), ..self.clone() }
    }

    pub fn long_keys(&self) -> LongKeys {
        match self.secret {
            HashSecret::Xxh3(_) => LongKeys::Whole,
            HashSecret::AesCmac(_) => LongKeys::Digest,
        }
    }

    /// Whether both are of the same data, at whatever time.
    pub fn is_of_same_data(&self, other: &Format) -> bool {
        (self.secret, self.created_ms) == (other.secret, other.created_ms)
    }

    /// TOML, whose numbers have a sign: the secret goes in as text.
    pub fn text(&self) -> String {
        let mut document = DocumentMut::new();
        document["format"] = toml_edit::value(i64::from(self.version));
        let (hash, secret) = match self.secret {
            HashSecret::Xxh3(seed) => (XXH3, format!("{seed:016x}")),
            HashSecret::AesCmac(key) => (AES_CMAC, format!("{:032x}", u128::from_be_bytes(key))),
        };
        if self.version == FORMAT_XXH3 {
            document["seed"] = toml_edit::value(secret);
        } else {
            document["hash"] = toml_edit::value(hash);
            document["secret"] = toml_edit::value(secret);
        }
        document["created-ms"] = toml_edit::value(self.created_ms.min(i64::MAX as u64) as i64);
        document["program"] = toml_edit::value(self.program.as_str());
        if let Some(origin) = &self.origin {
            document["restored-from"] = toml_edit::value(origin.path.as_str());
            document["restored-content"] = toml_edit::value(origin.content.as_str());
        }
        document.to_string()
    }

    /// Reads what is in the file at `path`.
    fn parse(path: &Path, text: &str) -> Result<Format> {
        let damaged = |what: &str| DirectoryError::DamagedFormat(name(path), what.replace('\n', " "));
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| damaged(error.message()))?;
        let text_of = |key: &str| document.get(key).and_then(|item| item.as_str());
        // A later version may mean something else by all the rest.
        let number = document.get("format").and_then(|item| item.as_integer()).unwrap_or(0);
        let version = match u32::try_from(number) {
            Ok(version @ 1..=FORMAT) => version,
            _ if number > 0 => {
                let program = text_of("program").unwrap_or("unknown").to_owned();
                let directory = path.parent().unwrap_or(path);
                return Err(DirectoryError::NewerFormat(name(directory), number, program));
            }
            _ => return Err(damaged("no format")),
        };
        let xxh3 = |field: &str| {
            let seed = text_of(field).and_then(|digits| u64::from_str_radix(digits, 16).ok());
            seed.map(HashSecret::Xxh3).ok_or_else(|| damaged(&format!("no {field}")))
        };
        let aes_cmac = || {
            let digits = text_of("secret").filter(|digits| digits.len() == 32);
            let key = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
            key.map(|key| HashSecret::AesCmac(key.to_be_bytes())).ok_or_else(|| damaged("no secret"))
        };
        let secret = match (version, text_of("hash")) {
            (FORMAT_XXH3, _) => xxh3("seed")?,
            (FORMAT_AES_CMAC.., Some(AES_CMAC)) => aes_cmac()?,
            (FORMAT.., Some(XXH3)) => xxh3("secret")?,
            _ => return Err(damaged("no hash that is known")),
        };
        let created_ms = document.get("created-ms").and_then(|item| item.as_integer());
        let created_ms = created_ms.and_then(|ms| u64::try_from(ms).ok()).ok_or_else(|| damaged("no created-ms"))?;
        let program = text_of("program").ok_or_else(|| damaged("no program"))?.to_owned();
        let origin = text_of("restored-from").zip(text_of("restored-content"));
        let origin = origin.map(|(path, content)| Origin { path: path.to_owned(), content: content.to_owned() });
        Ok(Format { version, secret, created_ms, program, origin })
    }
}

/// Reads one of the files; `None`: it is not there.
pub(super) fn read_format(path: &Path, file: &str) -> Result<Option<Format>> {
    let file_path = path.join(file);
    let text = match fs::read_to_string(&file_path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // Somebody else's.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(io_error("read", &file_path, error)),
    };
    Format::parse(&file_path, &text).map(Some)
}

/// Writes it so that it is whole whenever it is there.
pub(super) fn write_format(path: &Path, file: &str, format: &Format) -> Result<()> {
    let file_path = path.join(file);
    fail::fail_point!("directory::format", |_| Err(io_error("write", &file_path, io::ErrorKind::StorageFull.into())));
    file::replace(&file_path, format.text().as_bytes(), None).map_err(|error| io_error("write", &file_path, error))
}

/// Removes `NEW` or `RESTORING` where it is ours; it may be anybody's file.
pub(super) fn remove_mark(path: &Path, file: &str) -> Result<()> {
    debug_assert!([NEW_FILE, RESTORING_FILE].contains(&file) && file != FORMAT_FILE);
    if matches!(read_format(path, file), Ok(Some(_))) { remove_file(&path.join(file)) } else { Ok(()) }
}

/// Whether one of the files is there, and ours.
pub(super) fn has_mark(path: &Path, file: &str) -> bool {
    matches!(read_format(path, file), Ok(Some(_)))
}

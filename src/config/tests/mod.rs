//! The settings from outside their kinds: loading, the run-time commands, the table as data.

mod load;
mod redis;
mod rewrite;
mod runtime;
mod table;

use super::{LoadError, Loaded, Settings};
use std::path::{Path, PathBuf};

/// A directory with a configuration file of this content.
fn file_with(content: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rockpool.toml");
    std::fs::write(&path, content).unwrap();
    (directory, path)
}

fn load_file(path: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, LoadError> {
    let args = ["rockpool", path.to_str().unwrap()].into_iter().chain(flags.iter().copied());
    Settings::load(args.map(Into::into), variables.iter().map(|(name, value)| (name.into(), value.into())))
}

/// Loads from a file of this content, these variables and these flags.
fn load(content: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, LoadError> {
    let (_directory, path) = file_with(content);
    load_file(&path, variables, flags).map(|loaded| loaded.settings)
}

fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
    pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

fn get(settings: &Settings, name: &str) -> String {
    match settings.matching(&[name.as_bytes()]).as_slice() {
        [(_, value)] => value.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

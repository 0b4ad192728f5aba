//! The files that documents and comments name: a reader who looks for one has to find it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::rules::Source;

/// Folders of the repository that paths may begin with.
const FOLDERS: &[&str] =
    &["benches", "compat-tests", "docs", "fuzz", "packaging", "rockpool-bench", "scripts", "src", "tests"];

/// Where the files that a path names may lie, besides beside the document: the repository, and what paths in it are short for.
const ROOTS: &[&str] = &["", "src", "rockpool-bench/src", "tests"];

/// The names of files that do not exist, one line each, with their places.
pub fn missing(root: &Path, crates: &[(&str, Vec<Source>)]) -> Vec<String> {
    let mut documents = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    documents_below(&root.join("docs"), &mut documents);
    let known: BTreeSet<&str> =
        crates.iter().flat_map(|(_, sources)| sources).filter_map(|source| source.path.rsplit('/').next()).collect();
    let exists = |name: &str, beside: &Path| {
        let is_there = |folder: &str| root.join(folder).join(name).exists();
        known.contains(name) || ROOTS.iter().any(|folder| is_there(folder)) || beside.join(name).exists()
    };
    let mut missing = Vec::new();
    for path in documents {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = path.parent().unwrap_or(root);
        let shown = path.strip_prefix(root).unwrap_or(&path).display();
        for (index, line) in text.lines().enumerate() {
            let links = linked(line).filter(|link| !folder.join(link).exists());
            let files = in_backticks(line).filter(|name| is_file(name) && !exists(name, folder));
            missing.extend(links.chain(files).map(|name| format!("{shown}:{}: there is no {name}", index + 1)));
        }
    }
    for (folder, source) in
        crates.iter().flat_map(|(folder, sources)| sources.iter().map(move |source| (folder, source)))
    {
        for (index, line) in source.text.lines().enumerate() {
            let comment = line.find("//").map_or("", |start| &line[start..]);
            let files = in_backticks(comment).filter(|name| is_file(name) && !exists(name, root));
            missing.extend(files.map(|name| format!("{folder}/{}:{}: there is no {name}", source.path, index + 1)));
        }
    }
    missing
}

fn documents_below(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable directory").path()) {
        if path.is_dir() {
            documents_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            into.push(path);
        }
    }
}

/// What stands between backticks. A pattern names what is before its first wildcard.
fn in_backticks(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/'))
}

/// What links lead to within the repository, without the part of the page.
fn linked(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Whether this is the name of a file of the repository: a Rust source, or a path that begins with one of its folders.
fn is_file(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let is_in_folder = name.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder));
    name.chars().all(is_plain) && (name.ends_with(".rs") && name.len() > 3 || is_in_folder)
}

#[test]
fn names_of_files_are_told_from_other_words() {
    for name in ["src/config", "tests/config.rs", "docs/design.md", "table.rs", "keyspace/slot.rs", "scripts/test"] {
        assert!(is_file(name), "{name}");
    }
    for name in
        ["GET /cluster", "src", ".rs", "cargo test --test x.rs", "/var/lib/rockpool", "and/or", "keyspace::slot"]
    {
        assert!(!is_file(name), "{name}");
    }
    assert_eq!(in_backticks("a `b` c `d/` e").collect::<Vec<_>>(), ["b", "d"]);
    let line = "[a](b.md), [c](d.md#e), [f](#g), [h](https://i.j/k)";
    assert_eq!(linked(line).collect::<Vec<_>>(), ["b.md", "d.md"]);
}

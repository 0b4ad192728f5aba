//! The map of the house, checked against the code: who imports whom, how long files are, and what no source may hold.

mod rules;
mod tokens;

use rules::{Source, violations};
use std::path::{Path, PathBuf};

fn sources_below(directory: &Path, into: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            sources_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_sources_keep_to_the_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources_below(&root, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no sources in {}", root.display());
    let sources: Vec<Source> = paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let path = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
            Source { path, text }
        })
        .collect();
    let violations = violations(&sources);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// The violations in one made-up file.
fn found(path: &str, text: &str) -> Vec<String> {
    violations(&[Source { path: path.to_owned(), text: text.to_owned() }])
}

#[test]
fn imports_of_lower_modules_are_allowed() {
    for (path, text) in [
        ("base/slot.rs", "use std::fmt; use crate::base::clock::Clock;"),
        ("keyspace/mod.rs", "use crate::{base::slot, store::journal::{self, Record}, types::*};"),
        ("keyspace/scan.rs", "use super::super::types::string;"),
        ("command/string.rs", "fn f() { crate::keyspace::lookup(); } mod tests { use super::*; }"),
        ("net/connection.rs", "use crate::{protocol::resp, command::executor, config::Config, stats};"),
        ("protocol/resp/mod.rs", "use crate::{base::number, reply::Reply};"),
        ("node.rs", "use crate::{net, admin, keyspace, protocol};"),
        ("main.rs", "use rockpool::{node, admin}; fn main() {}"),
        ("bin/bench.rs", "use rockpool::base;"),
        ("lib.rs", "pub mod base; pub mod keyspace;"),
        ("base/mod.rs", "// use crate::node\n/* crate::net /* crate::node */ */ const A: &str = \"crate::node\";"),
        (
            "base/mod.rs",
            "const A: &[u8] = br#\"crate::\"node\"#; fn f<'a>(x: &'a str) -> char { '\"' } pub(crate) fn g() {}",
        ),
        ("types/mod.rs", "mod config; mod tests { use super::config; }"),
    ] {
        assert_eq!(found(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn imports_against_the_map_are_found() {
    for (path, text, named) in [
        ("base/slot.rs", "use crate::config::Config;", "config"),
        ("config/mod.rs", "use crate::stats;", "stats"),
        ("store/journal.rs", "\n\nuse crate::keyspace::Slot;", "keyspace"),
        ("keyspace/mod.rs", "use crate::{base::slot, types::{self, string}, command::Spec};", "command"),
        ("keyspace/mod.rs", "fn f() { crate :: net::listen() }", "net"),
        ("keyspace/deep/er.rs", "use super::super::super::command;", "command"),
        ("keyspace/mod.rs", "mod tests { use super::super::command; }", "command"),
        ("net/mod.rs", "use crate::admin;", "admin"),
        ("admin/mod.rs", "use crate::net;", "net"),
        ("protocol/book.rs", "use crate::types;", "types"),
        ("types/mod.rs", "use crate::protocol;", "protocol"),
        ("types/mod.rs", "macro_rules! m { () => { $crate::node::start() } }", "node"),
        ("types/mod.rs", "use crate::surprise;", "surprise"),
        ("surprise/mod.rs", "use crate::base;", "surprise"),
        ("lib.rs", "pub mod surprise;", "surprise"),
        ("types/mod.rs", "use crate::*;", "crate::*"),
        ("types/mod.rs", "use crate as rockpool;", "crate"),
        ("types/mod.rs", "use rockpool::net;", "net"),
    ] {
        let violations = found(path, text);
        assert_eq!(violations.len(), 1, "{path}: {text}: {violations:?}");
        assert!(violations[0].contains(path) && violations[0].contains(named), "{violations:?}");
    }
    assert!(found("store/journal.rs", "\n\nuse crate::keyspace::Slot;")[0].starts_with("src/store/journal.rs:3:"));
}

#[test]
fn long_files_are_found() {
    assert!(found("base/slot.rs", &"\n".repeat(600)).is_empty());
    assert_eq!(found("base/slot.rs", &"\n".repeat(601)).len(), 1);
}

#[test]
fn comparisons_of_command_names_are_found() {
    for (path, text) in [
        ("net/connection.rs", "if name.eq_ignore_ascii_case(b\"quit\") {}"),
        ("net/connection.rs", "if name.eq_ignore_ascii_case(&b\"QUIT\"[..]) {}"),
        ("keyspace/mod.rs", "if name == b\"GET\" {}"),
        ("keyspace/mod.rs", "if \"get\" != name {}"),
        ("protocol/resp.rs", "match name { b\"hello\" | b\"x\" => 1, _ => 2 }"),
        ("command/executor.rs", "match name { \"flushall\" => 1, _ => 2 }"),
        ("admin/rest.rs", "matches!(name, b\"SHUTDOWN\")"),
    ] {
        assert_eq!(found(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("command/string.rs", "if option.eq_ignore_ascii_case(b\"GET\") {}"),
        ("admin/rest.rs", "dispatch(&[b\"GET\", key])"),
        ("keyspace/mod.rs", "if name == b\"volatile-lru\" {}"),
    ] {
        assert_eq!(found(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn unfinished_code_is_found() {
    assert_eq!(found("base/mod.rs", "fn f() { todo!() }").len(), 1);
    assert_eq!(found("base/mod.rs", "fn f() { unimplemented ! (\"later\") }").len(), 1);
    assert!(found("base/mod.rs", "/// No todo!() here.\nfn todo() {}").is_empty());
}

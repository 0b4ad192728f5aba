//! The layers of the modules, checked against the code: which imports which, how long files are, what no source may have, and
//! that the files exist which the documents name.

mod circles;
mod documented;
mod modules;
mod named_files;
mod rules;
mod tokens;

use circles::{Through, circles};
use documented::undocumented;
use rules::{Source, command_names, idle_exceptions, violations, violations_without_map};
use std::path::{Path, PathBuf};

/// Folders whose files import each other in circles, and why.
const CIRCULAR: &[(&str, &str)] = &[];

/// Folders whose `mod.rs` has code that uses their other files and is used by them, and why.
const CIRCULAR_WITH_PARENT: &[(&str, &str)] = &[];

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

/// The sources below a folder of the repository, by their paths there.
fn sources_in(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = Vec::new();
    sources_below(&root, &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no sources in {}", root.display());
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
        Source { path, text }
    };
    paths.iter().map(read).collect()
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_sources_keep_to_the_map() {
    let sources = sources_in("src");
    let names = command_names(&sources);
    assert!(names.len() > 50 && ["get", "config", "shutdown"].iter().all(|name| names.contains(*name)), "{names:?}");
    assert_none(&violations(&sources));
    let of_bench = violations_without_map(&sources_in("rockpool-bench/src"));
    assert_none(&of_bench.iter().map(|violation| format!("rockpool-bench/{violation}")).collect::<Vec<_>>());
    assert_none(&idle_exceptions(&sources));
}

/// The folders of both crates where there are circles that are not listed, and those that are listed without need.
fn complaints_of_circles(through: Through, listed: &[(&str, &str)]) -> Vec<String> {
    let found: Vec<(String, Vec<String>)> = ["src", "rockpool-bench/src"]
        .into_iter()
        .flat_map(|root| {
            circles(&sources_in(root), through)
                .into_iter()
                .map(move |(folder, found)| (format!("{root}/{folder}"), found))
        })
        .collect();
    let is_listed = |folder: &str| listed.iter().any(|(listed, _)| *listed == folder);
    let unlisted = found.iter().filter(|(folder, _)| !is_listed(folder));
    let unlisted =
        unlisted.flat_map(|(folder, circles)| circles.iter().map(move |circle| format!("{folder}: {circle}")));
    let idle = listed.iter().filter(|(folder, _)| !found.iter().any(|(circular, _)| circular == folder));
    unlisted
        .chain(idle.map(|(folder, _)| format!("{folder}: has no circle any more, and need not be listed")))
        .collect()
}

#[test]
fn no_file_imports_in_a_circle_with_another_of_its_folder() {
    assert_none(&complaints_of_circles(Through::Siblings, CIRCULAR));
}

#[test]
fn no_folder_uses_its_files_and_is_used_by_them() {
    assert_none(&complaints_of_circles(Through::Parent, CIRCULAR_WITH_PARENT));
}

#[test]
fn what_files_of_the_load_generator_show_is_documented() {
    assert_none(&undocumented(&sources_in("rockpool-bench/src")));
}

#[test]
fn the_files_exist_that_documents_and_comments_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src", "rockpool-bench/src"].map(|folder| (folder, sources_in(folder)));
    assert_none(&named_files::missing(root, &sources));
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// The violations in one made-up file.
fn found(path: &str, text: &str) -> Vec<String> {
    violations(&[source(path, text)])
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
    let commands = source(
        "command/family.rs",
        "pub const COMMANDS: &[Spec] = &[Spec::new(\"get\", 2, get).doc(\"string\", \"\"), Spec::new(\"hello\", -1, hello), \
         Spec::container(\"config\", SUBCOMMANDS).doc(\"server\", \"\"), all_keys(\"flushall\", -1, f), Spec::new(\"shutdown\", -1, f), \
         Spec::new(\"quit\", -1, quit)]; pub const SUBCOMMANDS: &[Spec] = &[Spec::new(\"rewrite\", 2, rewrite)];",
    );
    let found = |path: &str, text: &str| violations(&[commands.clone(), source(path, text)]);
    for (path, text) in [
        ("net/connection.rs", "if name.eq_ignore_ascii_case(b\"quit\") {}"),
        ("net/connection.rs", "if name.eq_ignore_ascii_case(&b\"QUIT\"[..]) {}"),
        ("keyspace/mod.rs", "if name == b\"GET\" {}"),
        ("keyspace/mod.rs", "if \"get\" != name {}"),
        ("protocol/resp.rs", "match name { b\"hello\" | b\"x\" => 1, _ => 2 }"),
        ("command/executor.rs", "match name { \"flushall\" => 1, _ => 2 }"),
        ("admin/rest.rs", "matches!(name, b\"SHUTDOWN\")"),
        ("net/worker.rs", "if name == \"config\" {}"),
    ] {
        assert_eq!(found(path, text).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("command/string.rs", "if option.eq_ignore_ascii_case(b\"GET\") {}"),
        ("admin/rest.rs", "dispatch(&[b\"GET\", key])"),
        ("keyspace/mod.rs", "if name == b\"volatile-lru\" {}"),
        ("keyspace/mod.rs", "if name == b\"string\" || name == b\"rewrite\" {}"),
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

#[test]
fn unsafe_code_is_found_outside_of_the_files_that_may_have_it() {
    let text = "fn f() { unsafe { g() } } // unsafe";
    assert_eq!(found("base/mod.rs", text), ["src/base/mod.rs:1: has `unsafe`, and is not listed as a file that may"]);
    assert!(found("base/ticks.rs", text).is_empty());
    assert!(found("base/mod.rs", "// unsafe\nconst A: &str = \"unsafe\";").is_empty());
    let idle = idle_exceptions(&[source("base/ticks.rs", "fn f() {}")]);
    assert!(idle.contains(&"src/base/ticks.rs: has no `unsafe`, and need not be listed".to_owned()), "{idle:?}");
}

#[test]
fn circles_of_files_are_found() {
    let told = |through: Through, sources: &[(&str, &str)]| {
        let sources: Vec<Source> = sources.iter().map(|(path, text)| source(path, text)).collect();
        let circles = circles(&sources, through).into_iter();
        circles
            .flat_map(|(folder, circles)| circles.into_iter().map(move |circle| format!("{folder}: {circle}")))
            .collect::<Vec<_>>()
    };
    let declared = "mod a; mod b; pub use b::B; pub use a::*;";
    for (inner, a, b) in [
        (declared, "use super::b::C;", "\nuse crate::base::a::A;"),
        (declared, "use super::{x::Y, b::{C, D as E}};", "\nfn f() { super::a::g() }"),
        // Through what the folder shows of them.
        (declared, "use super::B; struct A;", "struct B;\nuse super::A;"),
        (declared, "mod inner { use super::super::b::C; }", "\nfn f() -> crate::base::a::A {}"),
    ] {
        assert_eq!(
            told(
                Through::Siblings,
                &[("lib.rs", "pub mod base;"), ("base/mod.rs", inner), ("base/a.rs", a), ("base/b.rs", b)]
            ),
            ["base: a.rs → b.rs → a.rs (base/a.rs:1 imports base/b.rs, base/b.rs:2 imports base/a.rs; 2 take part)"],
            "{a} {b}"
        );
    }
    let own_code = [("base/mod.rs", "mod a; struct S; fn f() { a::g() }"), ("base/a.rs", "use super::S;")];
    assert_eq!(
        told(Through::Parent, &own_code),
        [
            "base: mod.rs → a.rs → mod.rs (base/mod.rs:1 imports base/a.rs, base/a.rs:1 imports base/mod.rs; 2 take part)"
        ]
    );
    let folders = [
        ("base/mod.rs", "mod a; mod b;"),
        ("base/a/mod.rs", "mod one; mod two; pub use one::One;"),
        ("base/a/one.rs", "use super::super::b::B; pub struct One;"),
        ("base/a/two.rs", "use super::One;"),
        ("base/b.rs", "use super::a::One;"),
    ];
    assert_eq!(
        told(Through::Siblings, &folders),
        ["base: a → b.rs → a (base/a/one.rs:1 imports base/b.rs, base/b.rs:1 imports base/a/one.rs; 2 take part)"]
    );
    let none = [
        ("base/mod.rs", "mod a; mod b; pub use a::A; pub(crate) use b::B; struct S; #[cfg(test)] mod many_tests;"),
        (
            "base/a.rs",
            "use super::b::B; use super::S; #[cfg(test)] mod tests { use super::*; use super::super::c; } struct A;",
        ),
        ("base/b.rs", "struct B; // super::a::A\n#[cfg(test)] mod tests { use super::super::a::A; }"),
        ("base/many_tests.rs", "use super::a::A; pub struct T;"),
    ];
    for through in [Through::Siblings, Through::Parent] {
        assert_eq!(told(through, &none), Vec::<String>::new());
    }
    assert_eq!(told(Through::Siblings, &own_code), Vec::<String>::new());
}

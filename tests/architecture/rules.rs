//! The rules, and how a source is held against them.

use std::collections::BTreeSet;

use crate::tokens::{Kind, Token, tokens};

/// Who may import whom: each module those of the lines above its own, and none beside it.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["config", "stats", "reply"],
    &["types"],
    &["store"],
    &["keyspace"],
    &["cluster"],
    &["command"],
    &["net", "admin"],
    &["node"],
];

/// What stands outside of the layers: the module, what it may import, and who may import it.
const APART: &[(&str, &[&str], &[&str])] = &[("protocol", &["base", "reply"], &["command", "net", "admin", "node"])];

const MOST_LINES: usize = 600;

/// Files that are longer, and why that is right.
const LONG_FILES: &[(&str, &str)] = &[];

/// Files with `unsafe`, and why they cannot do without.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("base/checksum.rs", "CRC32 by an instruction of the processor"),
    ("base/key_hash.rs", "the key's hash by the processor's instructions for AES"),
    ("base/memory.rs", "an allocator that counts, around jemalloc's"),
    ("base/prefetch.rs", "fetches a cache line ahead"),
    ("base/ticks.rs", "reads the processor's counter"),
    ("command/clients/mod.rs", "asks a socket that another thread owns for what waits in it"),
    ("keyspace/memory/entry.rs", "an entry is one allocation of header, key and value, behind one pointer"),
    ("keyspace/memory/table/cell.rs", "a cell holds an entry's address and bits of its hash in one word"),
    ("keyspace/memory/table/cells.rs", "the table's cells lie in an allocation that begins at a cache line"),
    ("main.rs", "jemalloc's settings, which it looks for by a name"),
    ("net/sockets.rs", "tokio watches the worker's selector"),
    ("store/rocks/filter.rs", "a compaction filter by RocksDB's C API"),
    ("store/rocks/keys.rs", "an iterator without values by RocksDB's C API"),
];

/// Where no name of a command may be compared: what is special about a command is a flag in its table.
const BLIND_TO_NAMES: &[&str] = &[
    "net/",
    "protocol/",
    "keyspace/",
    "store/",
    "cluster/",
    "admin/",
    "node.rs",
    "command/executor.rs",
    "command/session.rs",
];

/// A file of the crate, its path below `src`.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Everything that breaks a rule, one line each, with its place.
pub fn violations(sources: &[Source]) -> Vec<String> {
    let names = command_names(sources);
    sources.iter().flat_map(|source| violations_in(source, &names)).collect()
}

/// Entries of the lists of exceptions for which there is no need.
pub fn idle_exceptions(sources: &[Source]) -> Vec<String> {
    let holds = |path: &str, condition: &dyn Fn(&Source) -> bool| {
        sources.iter().any(|source| source.path == path && condition(source))
    };
    let long = LONG_FILES.iter().filter(|(path, _)| !holds(path, &is_long));
    let long = long.map(|(path, _)| format!("src/{path}: is not long any more, and need not be listed"));
    let unsafe_files =
        UNSAFE_FILES.iter().filter(|(path, _)| !holds(path, &|source| has_unsafe(&tokens(&source.text))));
    long.chain(unsafe_files.map(|(path, _)| format!("src/{path}: has no `unsafe`, and need not be listed"))).collect()
}

/// What breaks the rules that every program keeps to: those of a crate without a map and without exceptions.
pub fn violations_without_map(sources: &[Source]) -> Vec<String> {
    let checked = |source: &Source| {
        let mut found = Vec::new();
        check_text(source, &tokens(&source.text), &mut found);
        placed(source, found)
    };
    sources.iter().flat_map(checked).collect()
}

fn violations_in(source: &Source, names: &BTreeSet<String>) -> Vec<String> {
    let tokens = tokens(&source.text);
    let mut found = Vec::new();
    check_text(source, &tokens, &mut found);
    check_names(&source.path, &tokens, names, &mut found);
    // The program stands outside of the library, and may use all of it.
    if source.path == "lib.rs" {
        check_declarations(&tokens, &mut found);
    } else if source.path != "main.rs" {
        check_imports(&source.path, &tokens, &mut found);
    }
    placed(source, found)
}

fn placed(source: &Source, found: Found) -> Vec<String> {
    found.into_iter().map(|(line, what)| format!("src/{}:{line}: {what}", source.path)).collect()
}

fn check_text(source: &Source, tokens: &[Token], found: &mut Found) {
    check_length(source, found);
    check_finished(tokens, found);
    check_unsafe(&source.path, tokens, found);
}

type Found = Vec<(usize, String)>;

fn is_long(source: &Source) -> bool {
    source.text.lines().count() > MOST_LINES
}

fn check_length(source: &Source, found: &mut Found) {
    if is_long(source) && !LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        found.push((MOST_LINES + 1, format!("has more than {MOST_LINES} lines")));
    }
}

fn check_finished(tokens: &[Token], found: &mut Found) {
    for pair in tokens.windows(2) {
        if pair[1].is_mark('!') && (pair[0].is_word("todo") || pair[0].is_word("unimplemented")) {
            found.push((pair[0].line, "is not finished".to_owned()));
        }
    }
}

fn has_unsafe(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.is_word("unsafe"))
}

fn check_unsafe(path: &str, tokens: &[Token], found: &mut Found) {
    let listed = UNSAFE_FILES.iter().any(|(file, _)| *file == path);
    let first = tokens.iter().find(|token| token.is_word("unsafe"));
    if let Some(token) = first.filter(|_| !listed) {
        found.push((token.line, "has `unsafe`, and is not listed as a file that may".to_owned()));
    }
}

/// The commands that are declared: the first argument of each entry of the slices `COMMANDS`.
pub fn command_names(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources.iter().filter(|source| source.path.starts_with("command/")) {
        let tokens = tokens(&source.text);
        let is_declaration =
            |at: &usize| tokens[*at].is_word("COMMANDS") && *at > 0 && tokens[*at - 1].is_word("const");
        for start in (0..tokens.len()).filter(is_declaration) {
            let value = tokens[start..].iter().skip_while(|token| !token.is_mark('='));
            let mut depth = 0;
            let mut is_named = true;
            for token in value.take_while(|token| !token.is_mark(';')) {
                match &token.kind {
                    Kind::Mark('[' | '(' | '{') => depth += 1,
                    Kind::Mark(']' | ')' | '}') => depth -= 1,
                    Kind::Text(name) if !is_named => {
                        names.insert(name.clone());
                        is_named = true;
                    }
                    _ => {}
                }
                let begins_entry = depth == 1 && (token.is_mark('[') || token.is_mark(','));
                is_named &= !begins_entry;
            }
        }
    }
    names
}

fn check_names(path: &str, tokens: &[Token], names: &BTreeSet<String>, found: &mut Found) {
    if !BLIND_TO_NAMES.iter().any(|blind| path.starts_with(blind)) {
        return;
    }
    for (index, token) in tokens.iter().enumerate() {
        let Kind::Text(text) = &token.kind else { continue };
        if names.contains(&text.to_ascii_lowercase()) && is_compared(tokens, index) {
            found.push((token.line, format!("compares the name of a command, {text:?}")));
        }
    }
}

/// Whether the literal at `index` is an operand of `==`, `!=`, `eq_ignore_ascii_case`, `matches!` or a pattern.
fn is_compared(tokens: &[Token], index: usize) -> bool {
    let start = (0..index).rev().find(|&at| !tokens[at].is_mark('&')).map_or(0, |at| at + 1);
    let before = |distance: usize| start.checked_sub(distance).map(|at| &tokens[at]);
    let is_before = |distance: usize, mark: char| before(distance).is_some_and(|token| token.is_mark(mark));
    let is_after = |distance: usize, mark: char| tokens.get(index + distance).is_some_and(|token| token.is_mark(mark));
    let operand_on_the_right = is_before(1, '=') && (is_before(2, '=') || is_before(2, '!'));
    let operand_on_the_left = is_after(2, '=') && (is_after(1, '=') || is_after(1, '!'));
    let argument = is_before(1, '(') && before(2).is_some_and(|token| token.is_word("eq_ignore_ascii_case"));
    let pattern = (is_after(1, '=') && is_after(2, '>')) || is_after(1, '|') || is_before(1, '|');
    let is_in_matches = || {
        let close_to = &tokens[index.saturating_sub(12)..index];
        is_after(1, ')') && is_before(1, ',') && close_to.iter().any(|token| token.is_word("matches"))
    };
    operand_on_the_right || operand_on_the_left || argument || pattern || is_in_matches()
}

fn is_module(name: &str) -> bool {
    layer(name).is_some() || APART.iter().any(|(module, _, _)| *module == name)
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn may_import(importer: &str, imported: &str) -> bool {
    if importer == imported {
        return true;
    }
    if let Some((_, imports, _)) = APART.iter().find(|(module, _, _)| *module == importer) {
        return imports.contains(&imported);
    }
    if let Some((_, _, importers)) = APART.iter().find(|(module, _, _)| *module == imported) {
        return importers.contains(&importer);
    }
    matches!((layer(importer), layer(imported)), (Some(importer), Some(imported)) if imported < importer)
}

fn check_declarations(tokens: &[Token], found: &mut Found) {
    for pair in tokens.windows(2) {
        if let (true, Some(name)) = (pair[0].is_word("mod"), pair[1].word())
            && !is_module(name)
        {
            found.push((pair[1].line, format!("declares {name}, which has no place on the map")));
        }
    }
}

fn check_imports(path: &str, tokens: &[Token], found: &mut Found) {
    let module = path.split('/').next().unwrap_or(path).trim_end_matches(".rs");
    if !is_module(module) {
        found.push((1, format!("belongs to {module}, which has no place on the map")));
        return;
    }
    // keyspace/mod.rs is one level below the root of the crate, keyspace/scan.rs two.
    let levels = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    for (line, imported) in imports(tokens, levels) {
        match imported {
            Imported::Module(name) if !is_module(&name) => {
                found.push((line, format!("imports {name}, which has no place on the map")));
            }
            Imported::Module(name) if !may_import(module, &name) => {
                found.push((line, format!("{module} may not import {name}")));
            }
            Imported::Module(_) => {}
            Imported::Everything => found.push((line, "imports crate::* or renames crate".to_owned())),
        }
    }
}

enum Imported {
    Module(String),
    Everything,
}

/// What the paths from the root of the crate begin with, whether they stand in a `use` or in the middle of code, and
/// whether they start at `crate`, at the crate's name or at as many `super` as there are levels.
fn imports(tokens: &[Token], levels: usize) -> Vec<(usize, Imported)> {
    let mut imports = Vec::new();
    // For each open brace, whether it belongs to a module.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        if token.is_mark('{') {
            braces.push(at >= 2 && tokens[at - 2].is_word("mod"));
        } else if token.is_mark('}') {
            braces.pop();
        }
        let is_start_of_path = at < 2 || !(tokens[at - 1].is_mark(':') && tokens[at - 2].is_mark(':'));
        let after_root = if !is_start_of_path {
            None
        } else if token.is_word("crate") || token.is_word("rockpool") {
            Some(at + 1)
        } else if token.is_word("super") {
            let depth = levels + braces.iter().filter(|is_module| **is_module).count();
            let mut end = at + 1;
            let mut climbed = 1;
            while is_path_separator(tokens, end) && tokens.get(end + 2).is_some_and(|token| token.is_word("super")) {
                (end, climbed) = (end + 3, climbed + 1);
            }
            (climbed == depth).then_some(end)
        } else {
            None
        };
        if let Some(after_root) = after_root {
            if is_path_separator(tokens, after_root) {
                first_segments(tokens, after_root + 2, &mut imports);
            } else if tokens.get(after_root).is_some_and(|token| token.is_word("as")) {
                imports.push((token.line, Imported::Everything));
            }
        }
        at += 1;
    }
    imports
}

fn is_path_separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at..at + 2).is_some_and(|pair| pair.iter().all(|token| token.is_mark(':')))
}

/// The first segment of the path that goes on at `at`: one, or those of a group in braces.
fn first_segments(tokens: &[Token], at: usize, imports: &mut Vec<(usize, Imported)>) {
    let Some(first) = tokens.get(at) else { return };
    let import = |token: &Token| match &token.kind {
        Kind::Word(name) if name == "self" => Some((token.line, Imported::Everything)),
        Kind::Word(name) => Some((token.line, Imported::Module(name.clone()))),
        Kind::Mark('*') => Some((token.line, Imported::Everything)),
        _ => None,
    };
    if !first.is_mark('{') {
        // A macro of the crate lies at its root wherever it was written.
        let is_macro = tokens.get(at + 1).is_some_and(|token| token.is_mark('!'));
        imports.extend(import(first).filter(|_| !is_macro));
        return;
    }
    let mut depth = 0;
    let mut starts_item = false;
    for token in &tokens[at..] {
        if token.is_mark('{') {
            depth += 1;
            starts_item = depth == 1;
        } else if token.is_mark('}') {
            depth -= 1;
            if depth == 0 {
                break;
            }
        } else if token.is_mark(',') {
            starts_item = depth == 1;
        } else if starts_item {
            imports.extend(import(token));
            starts_item = false;
        }
    }
}

//! The tree of modules, and which module's own code a path in a source leads to.

use std::collections::BTreeMap;

use crate::rules::Source;
use crate::tokens::{Kind, Token, tokens};

/// A path as a source writes it: where it begins, counted in modules from the root, and what follows.
#[derive(Clone, Debug)]
struct Import {
    line: usize,
    /// From the root of the crate.
    path: Vec<String>,
    /// The name under which a `use` brings it in; none for a path in the middle of code, `*` for all there is.
    name: Option<String>,
    /// A `use` that others may go through.
    is_shown: bool,
}

/// A module's own code.
#[derive(Debug, Default)]
struct Module {
    /// Its file, below the crate's sources.
    file: String,
    /// Modules that have files of their own.
    children: Vec<String>,
    /// Children that only tests have.
    test_children: Vec<String>,
    /// What it declares itself.
    items: Vec<String>,
    imports: Vec<Import>,
}

/// That the code of one file names something which stands in another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: String,
    pub line: usize,
    pub to: String,
}

/// All modules of a crate by their paths; tests are left out.
#[derive(Debug)]
pub struct Modules(BTreeMap<Vec<String>, Module>);

/// The path of the module that a file is: `keyspace/mod.rs` and `keyspace.rs` are both `keyspace`.
fn path_of(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let path: Vec<String> = stem.split('/').map(str::to_owned).collect();
    match path.last().map(String::as_str) {
        Some("mod") => path[..path.len() - 1].to_vec(),
        Some("lib" | "main") if path.len() == 1 => Vec::new(),
        _ => path,
    }
}

impl Modules {
    pub fn new(sources: &[Source]) -> Modules {
        let mut modules: BTreeMap<_, _> = sources
            .iter()
            .filter(|source| source.path != "main.rs" || !sources.iter().any(|other| other.path == "lib.rs"))
            .map(|source| (path_of(&source.path), Module { file: source.path.clone(), ..Module::default() }))
            .collect();
        for source in sources {
            let path = path_of(&source.path);
            if modules.get(&path).is_some_and(|module| module.file == source.path) {
                let module = read(source, &path);
                modules.insert(path, module);
            }
        }
        let is_test = |path: &[String]| {
            (1..=path.len()).any(|length| {
                let parent: Option<&Module> = modules.get(&path[..length - 1]);
                parent.is_some_and(|parent| parent.test_children.contains(&path[length - 1]))
            })
        };
        let tests: Vec<Vec<String>> = modules.keys().filter(|path| is_test(path)).cloned().collect();
        modules.retain(|path, _| !tests.contains(path));
        Modules(modules)
    }

    /// What the code of each file names in another. A `use` that only shows to others what is elsewhere is none.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (own, module) in &self.0 {
            for import in module.imports.iter().filter(|import| !(import.is_shown && import.path.starts_with(own))) {
                for target in self.targets(&import.path, 0) {
                    if target.file != module.file {
                        edges.push(Edge { from: module.file.clone(), line: import.line, to: target.file.clone() });
                    }
                }
            }
        }
        edges.sort();
        edges.dedup();
        edges
    }

    /// The modules in which that stands which a path names: several where it may be any of those that are shown whole.
    fn targets(&self, path: &[String], depth: usize) -> Vec<&Module> {
        let known = (0..=path.len()).rev().find_map(|length| Some((length, self.0.get(&path[..length])?)));
        let Some((length, module)) = known else { return Vec::new() };
        let Some(item) = path.get(length) else { return vec![module] };
        let is_own = item == "*" || module.items.contains(item);
        if is_own || depth > 8 {
            return vec![module];
        }
        let through = |name: &str| {
            let named = module.imports.iter().filter(|import| import.name.as_deref() == Some(name));
            let paths = named.map(|import| [&import.path[..], &path[length + 1..]].concat());
            paths.flat_map(|path| self.targets(&path, depth + 1)).collect::<Vec<_>>()
        };
        let named = through(item);
        let found = if named.is_empty() { through("*") } else { named };
        if found.is_empty() { vec![module] } else { found }
    }
}

const DECLARING: &[&str] = &["struct", "enum", "fn", "const", "static", "type", "trait", "union", "macro_rules"];

/// The places in `tokens` of what has `#[cfg(test)]` before it, up to the end of its block or to its semicolon.
fn tests_in(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    let is_test = |at: usize| {
        let words: Vec<&str> = tokens[at..tokens.len().min(at + 7)].iter().filter_map(Token::word).collect();
        tokens[at].is_mark('#') && words.starts_with(&["cfg", "test"])
    };
    (0..tokens.len()).filter(|at| is_test(*at)).map(|start| start..end_of_item(tokens, start + 7)).collect()
}

fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            Kind::Mark('{' | '(' | '[') => depth += 1,
            // The end of what the item stands in.
            Kind::Mark('}' | ')' | ']') if depth == 0 => return at,
            Kind::Mark('}') if depth == 1 => return at + 1,
            Kind::Mark('}' | ')' | ']') => depth -= 1,
            Kind::Mark(';' | ',') if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn read(source: &Source, own: &[String]) -> Module {
    let mut module = Module { file: source.path.clone(), ..Module::default() };
    let tokens = tokens(&source.text);
    let tests = tests_in(&tokens);
    let is_test = |at: usize| tests.iter().any(|range| range.contains(&at));
    let word = |at: usize| tokens.get(at).and_then(Token::word);
    let is_mark = |at: usize, mark: char| tokens.get(at).is_some_and(|token| token.is_mark(mark));
    for at in 0..tokens.len() {
        if word(at) == Some("mod") && is_mark(at + 2, ';') {
            let children = if is_test(at) { &mut module.test_children } else { &mut module.children };
            children.extend(word(at + 1).map(str::to_owned));
        }
        if word(at).is_some_and(|word| DECLARING.contains(&word)) {
            let name = if is_mark(at + 1, '!') { word(at + 2) } else { word(at + 1) };
            module.items.extend(name.map(str::to_owned));
        }
    }
    // The modules that are written within this file, one inside the other: each with the depth of its braces.
    let mut inner: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        if let Some(range) = tests.iter().find(|range| range.start == at) {
            at = range.end;
            continue;
        }
        let within: Vec<String> = own.iter().cloned().chain(inner.iter().map(|(name, _)| name.clone())).collect();
        match &tokens[at].kind {
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') => {
                inner.retain(|(_, opened)| *opened < depth);
                depth -= 1;
            }
            Kind::Word(name) if name == "mod" && is_mark(at + 2, '{') => {
                inner.extend(word(at + 1).map(|name| (name.to_owned(), depth + 1)));
            }
            // `+ use<'a>` is no import.
            Kind::Word(name) if name == "use" && !is_mark(at + 1, '<') => {
                let is_shown = at > 0 && (word(at - 1) == Some("pub") || is_mark(at - 1, ')'));
                let end = end_of_use(&tokens, at);
                for (line, written, name) in leaves(&tokens[at + 1..end]) {
                    if let Some(path) = from_root(&written, &within, &module.children) {
                        module.imports.push(Import { line, path, name: Some(name), is_shown });
                    }
                }
                at = end;
            }
            Kind::Word(_) if is_mark(at + 1, ':') && is_mark(at + 2, ':') && !(at > 0 && is_mark(at - 1, ':')) => {
                let mut written = vec![word(at).unwrap_or_default().to_owned()];
                let mut next = at;
                while is_mark(next + 1, ':') && is_mark(next + 2, ':') && word(next + 3).is_some() {
                    next += 3;
                    written.extend(word(next).map(str::to_owned));
                }
                if let Some(path) = from_root(&written, &within, &module.children) {
                    module.imports.push(Import { line: tokens[at].line, path, name: None, is_shown: false });
                }
                at = next;
            }
            _ => {}
        }
        at += 1;
    }
    module
}

fn end_of_use(tokens: &[Token], start: usize) -> usize {
    (start..tokens.len()).find(|at| tokens[*at].is_mark(';')).unwrap_or(tokens.len())
}

/// Each path of a `use`, and the name that it has afterwards.
fn leaves(tree: &[Token]) -> Vec<(usize, Vec<String>, String)> {
    let mut found = Vec::new();
    // The path up to each brace that is open.
    let mut prefixes: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    let mut renamed = None;
    let mut line = 0;
    let mut at = 0;
    let mut end = |path: &mut Vec<String>, prefix: &[String], renamed: &mut Option<String>, line: usize| {
        if !path.is_empty() {
            let mut whole = [prefix, &path[..]].concat();
            if whole.last().is_some_and(|last| last == "self") && whole.len() > 1 {
                whole.pop();
            }
            let name = renamed.take().or_else(|| whole.last().cloned()).unwrap_or_default();
            found.push((line, whole, name));
            path.clear();
        }
    };
    while at < tree.len() {
        match &tree[at].kind {
            Kind::Word(word) if word == "as" => {
                renamed = tree.get(at + 1).and_then(Token::word).map(str::to_owned);
                at += 1;
            }
            Kind::Word(word) => {
                line = tree[at].line;
                path.push(word.clone());
            }
            Kind::Mark('*') => path.push("*".to_owned()),
            Kind::Mark('{') => {
                let prefix = [&prefixes[prefixes.len() - 1][..], &path[..]].concat();
                prefixes.push(prefix);
                path.clear();
            }
            Kind::Mark('}') => {
                end(&mut path, &prefixes[prefixes.len() - 1], &mut renamed, line);
                prefixes.pop();
            }
            Kind::Mark(',') => end(&mut path, &prefixes[prefixes.len() - 1], &mut renamed, line),
            _ => {}
        }
        at += 1;
    }
    end(&mut path, &prefixes[0], &mut renamed, line);
    found
}

/// A path from the root of the crate; none if it leads out of it, or to something that the file itself has.
fn from_root(written: &[String], within: &[String], children: &[String]) -> Option<Vec<String>> {
    match written[0].as_str() {
        "crate" | "rockpool" => Some(written[1..].to_vec()),
        "self" => Some([within, &written[1..]].concat()),
        "super" => {
            let up = written.iter().take_while(|word| *word == "super").count();
            Some([&within[..within.len().checked_sub(up)?], &written[up..]].concat())
        }
        first if children.iter().any(|child| child == first) => Some([within, written].concat()),
        _ => None,
    }
}

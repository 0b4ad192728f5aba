//! No file imports in a circle with another of its folder: who reads one of them need not read the other first. A folder's
//! own code, which brings its parts together, and what it declares for them is a matter of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::modules::{Edge, Modules};
use crate::rules::Source;

const PARENT: &str = "mod.rs";

type Graph = BTreeMap<String, BTreeMap<String, Edge>>;

/// Whether circles through a folder's own code, its `mod.rs`, are looked for, or those among its other files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Through {
    Siblings,
    Parent,
}

/// The circles of each folder, one for each group of files that all lead to each other. What is in a folder within a folder
/// counts for the outer one as that folder.
pub fn circles(sources: &[Source], through: Through) -> BTreeMap<String, Vec<String>> {
    let mut folders: BTreeMap<String, Graph> = BTreeMap::new();
    for edge in Modules::new(sources).edges() {
        let (folder, from, to) = siblings(&edge.from, &edge.to);
        let meets_parent = from == PARENT || to == PARENT;
        if from != to && (through == Through::Parent || !meets_parent) {
            folders.entry(folder).or_default().entry(from).or_default().entry(to).or_insert(edge);
        }
    }
    let circles_of = |graph: Graph| match through {
        Through::Siblings => circles_from(&graph, graph.keys()),
        Through::Parent => circles_from(&graph, graph.keys().filter(|name| *name == PARENT)),
    };
    folders
        .into_iter()
        .map(|(folder, graph)| (folder, circles_of(graph)))
        .filter(|(_, circles)| !circles.is_empty())
        .collect()
}

/// The folder that two files share, and the entries of it in which they are.
fn siblings(from: &str, to: &str) -> (String, String, String) {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    let shared =
        from.iter().zip(&to).take(from.len().min(to.len()) - 1).take_while(|(one, other)| one == other).count();
    (from[..shared].join("/"), from[shared].to_owned(), to[shared].to_owned())
}

fn circles_from<'a>(graph: &'a Graph, starts: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut told: BTreeSet<&str> = BTreeSet::new();
    let mut circles = Vec::new();
    for start in starts {
        if told.contains(start.as_str()) {
            continue;
        }
        let Some(circle) = shortest_circle(graph, start) else { continue };
        let group: BTreeSet<&str> =
            reached(graph, start).into_iter().filter(|other| reached(graph, other).contains(start.as_str())).collect();
        told.extend(&group);
        let steps = circle.windows(2).map(|step| {
            let edge = &graph[step[0]][step[1]];
            format!("{}:{} imports {}", edge.from, edge.line, edge.to)
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        circles.push(format!("{} ({steps}; {} take part)", circle.join(" → "), group.len()));
    }
    circles
}

fn reached<'a>(graph: &'a Graph, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![start];
    while let Some(from) = next.pop() {
        for to in graph.get(from).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    reached
}

fn shortest_circle<'a>(graph: &'a Graph, start: &'a str) -> Option<Vec<&'a str>> {
    let mut paths = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop_front() {
        for to in graph.get(path[path.len() - 1]).into_iter().flat_map(BTreeMap::keys) {
            let longer = [&path[..], &[to.as_str()]].concat();
            if to == start {
                return Some(longer);
            }
            if seen.insert(to.as_str()) {
                paths.push_back(longer);
            }
        }
    }
    None
}

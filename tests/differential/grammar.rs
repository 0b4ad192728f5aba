//! Templates of commands, and how a random command is made of one.
//!
//! A template is words with spaces between: a literal; `""`, the empty string; `{rule}`, one draw from a pool of
//! arguments; `{rule}+`, one to three draws; `[…]`, there or not; `(…|…)`, one of them. A template that starts with
//! `!` is sent as it stands; others now and then lose, gain or change an argument.

use crate::commands::{JUNK, POOLS, TEMPLATES};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

#[derive(Debug)]
enum Node {
    Literal(&'static str),
    Rule(&'static str),
    Repeated(&'static str),
    Optional(Vec<Node>),
    Choice(Vec<Vec<Node>>),
}

#[derive(Debug)]
struct Template {
    nodes: Vec<Node>,
    fixed: bool,
}

/// All templates, parsed, each as often as its weight says.
#[derive(Debug)]
pub struct Grammar {
    templates: Vec<Template>,
    by_weight: Vec<usize>,
    /// Where it is not empty, the only commands to make, in capitals.
    only: Vec<Vec<u8>>,
}

impl Grammar {
    /// `only` limits it to some commands, for whoever works on one family; empty, it has them all.
    pub fn new(only: &[String]) -> Grammar {
        let mut templates = Vec::new();
        let mut by_weight = Vec::new();
        for &(weight, text) in TEMPLATES {
            let (fixed, body) = match text.strip_prefix('!') {
                Some(body) => (true, body),
                None => (false, text),
            };
            let mut words = words(body).into_iter();
            let nodes = parse(&mut words).pop().expect("a template has one alternative at its top");
            assert!(words.next().is_none(), "unbalanced brackets in {text}");
            by_weight.extend(std::iter::repeat_n(templates.len(), weight));
            templates.push(Template { nodes, fixed });
        }
        Grammar { templates, by_weight, only: only.iter().map(|name| name.to_ascii_uppercase().into_bytes()).collect() }
    }

    /// A random command, valid or not.
    pub fn command(&self, random: &mut StdRng) -> Vec<Vec<u8>> {
        for _ in 0..100_000 {
            let command = self.any_command(random);
            if self.only.is_empty() || self.only.contains(&command[0].to_ascii_uppercase()) {
                return command;
            }
        }
        panic!("no template makes any of the commands that were asked for");
    }

    fn any_command(&self, random: &mut StdRng) -> Vec<Vec<u8>> {
        let index = *self.by_weight.choose(random).expect("there are templates");
        let template = &self.templates[index];
        let mut arguments = Vec::new();
        expand(&template.nodes, &mut arguments, random);
        if !template.fixed && random.random_ratio(1, 12) {
            damage(&mut arguments, random);
        }
        arguments
    }
}

/// Splits at spaces and brackets, which become words of their own; `{rule}` and `{rule}+` stay whole.
fn words(text: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for piece in text.split_whitespace() {
        let mut rest = piece;
        while let Some(position) = rest.find(['[', ']', '(', ')', '|']) {
            if position > 0 {
                words.push(&rest[..position]);
            }
            words.push(&rest[position..=position]);
            rest = &rest[position + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

/// Parses up to the closing bracket or the end: the alternatives between `|`.
fn parse(words: &mut impl Iterator<Item = &'static str>) -> Vec<Vec<Node>> {
    let mut alternatives = vec![Vec::new()];
    while let Some(word) = words.next() {
        let node = match word {
            "]" | ")" => break,
            "|" => {
                alternatives.push(Vec::new());
                continue;
            }
            "[" => Node::Optional(parse(words).pop().expect("at least one alternative")),
            "(" => Node::Choice(parse(words)),
            "\"\"" => Node::Literal(""),
            _ => match word.strip_prefix('{') {
                None => Node::Literal(word),
                Some(rule) => match rule.strip_suffix("}+") {
                    Some(rule) => Node::Repeated(rule),
                    None => Node::Rule(rule.strip_suffix('}').expect("a rule ends with }")),
                },
            },
        };
        alternatives.last_mut().expect("never empty").push(node);
    }
    alternatives
}

fn expand(nodes: &[Node], arguments: &mut Vec<Vec<u8>>, random: &mut StdRng) {
    for node in nodes {
        match node {
            Node::Literal(word) => arguments.push(in_some_case(word, random)),
            Node::Rule(rule) => arguments.push(draw(rule, random)),
            Node::Repeated(rule) => {
                for _ in 0..random.random_range(1..=3) {
                    arguments.push(draw(rule, random));
                }
            }
            Node::Optional(nodes) => {
                if random.random_bool(0.4) {
                    expand(nodes, arguments, random);
                }
            }
            Node::Choice(alternatives) => {
                expand(alternatives.choose(random).expect("never empty"), arguments, random);
            }
        }
    }
}

fn in_some_case(word: &str, random: &mut StdRng) -> Vec<u8> {
    match random.random_range(0..8) {
        0 => word.to_ascii_lowercase().into_bytes(),
        1 => word
            .bytes()
            .map(|byte| if random.random() { byte.to_ascii_lowercase() } else { byte.to_ascii_uppercase() })
            .collect(),
        _ => word.as_bytes().to_vec(),
    }
}

fn draw(rule: &str, random: &mut StdRng) -> Vec<u8> {
    // Times from now are drawn from so wide a range that two never meet: a comparison by GT or LT of two equal ones
    // would depend on the millisecond in which each came.
    match rule {
        "seconds" => random.random_range(1_000_u64..1_000_000_000).to_string().into_bytes(),
        "milliseconds" => random.random_range(1_000_000_u64..1_000_000_000_000).to_string().into_bytes(),
        _ => {
            let (_, pool) = POOLS.iter().find(|(name, _)| *name == rule).unwrap_or_else(|| panic!("no rule {rule}"));
            pool.choose(random).expect("a pool holds something").to_vec()
        }
    }
}

fn damage(arguments: &mut Vec<Vec<u8>>, random: &mut StdRng) {
    // The name stays: what is dangerous to run is kept out by the templates, not by its arguments.
    let place = random.random_range(1..=arguments.len());
    let junk = JUNK.choose(random).expect("never empty").to_vec();
    match random.random_range(0..5) {
        0 if place < arguments.len() => {
            arguments.remove(place);
        }
        1 if place < arguments.len() => arguments[place] = junk,
        2 if place < arguments.len() => arguments.insert(place, arguments[place].clone()),
        3 => arguments.truncate(place),
        _ => arguments.push(junk),
    }
}

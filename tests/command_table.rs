//! The table of commands against that of redis-server: what COMMAND says of each command that both have.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use support::{Client, Engine, Redis, Server, Value};

/// Commands that Redis 7.0 has not: those that clients of later versions send at once.
const OURS_ALONE: &[&str] = &["client|no-touch", "client|setinfo"];

/// One command as COMMAND INFO and COMMAND DOCS describe it, with the fields in comparable texts.
type Description = BTreeMap<&'static str, String>;

fn describe(info: &Value, docs: &BTreeMap<String, Value>, all: &mut BTreeMap<String, Description>) {
    let fields = info.items();
    assert_eq!(fields.len(), 10, "{info:?}");
    let name = fields[0].text();
    let mut description = Description::from([
        ("arity", fields[1].integer().to_string()),
        ("flags", texts(&fields[2]).join(" ")),
        ("first key", fields[3].integer().to_string()),
        ("last key", fields[4].integer().to_string()),
        ("step", fields[5].integer().to_string()),
        ("categories", texts(&fields[6]).join(" ")),
        ("tips", texts(&fields[7]).into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")),
        ("keys", fields[8].items().iter().map(key_specification).collect::<Vec<_>>().join("; ")),
    ]);
    for field in ["since", "group", "doc_flags", "deprecated_since", "replaced_by"] {
        let value = docs.get(&name).and_then(|docs| docs.field(field));
        // Redis calls DEBUG a system command there, which says nothing.
        let is_said = |text: &String| text != "syscmd";
        let value = match value {
            Some(Value::Array(_) | Value::Set(_)) => {
                value.map(texts).unwrap_or_default().into_iter().filter(is_said).collect()
            }
            Some(value) => value.text(),
            None => String::new(),
        };
        description.insert(field, value);
    }
    all.insert(name, description);
    for subcommand in fields[9].items() {
        describe(subcommand, docs, all);
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.items().iter().map(Value::text).collect()
}

/// Flags and positions; notes are prose.
fn key_specification(specification: &Value) -> String {
    let part = |name: &str| {
        let part = specification.field(name).expect("a part of a key specification");
        let spec = part.field("spec").map(|spec| format!("{spec:?}"));
        format!("{} {}", part.field("type").map(Value::text).unwrap_or_default(), spec.unwrap_or_default())
    };
    let flags = specification.field("flags").map(texts).unwrap_or_default().join(",");
    format!("{flags} {} {}", part("begin_search"), part("find_keys"))
}

fn documentation(docs: &Value, all: &mut BTreeMap<String, Value>) {
    for (name, value) in pairs(docs) {
        all.insert(name.text(), value.clone());
        if let Some(subcommands) = value.field("subcommands") {
            documentation(subcommands, all);
        }
    }
}

fn pairs(value: &Value) -> Vec<(&Value, &Value)> {
    match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        other => other.items().chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
    }
}

fn table(client: &mut Client) -> BTreeMap<String, Description> {
    let mut docs = BTreeMap::new();
    documentation(&client.command(&["COMMAND", "DOCS"]), &mut docs);
    let mut all = BTreeMap::new();
    for info in client.command(&["COMMAND"]).items() {
        describe(info, &docs, &mut all);
    }
    all
}

#[test]
fn the_table_is_that_of_redis() {
    let (server, redis) = (Server::start(Engine::Memory), Redis::start());
    for version in ["2", "3"] {
        let (mut ours, mut theirs) = (server.client(), redis.client());
        for client in [&mut ours, &mut theirs] {
            assert!(!client.command(&["HELLO", version]).is_error());
        }
        let (ours, theirs) = (table(&mut ours), table(&mut theirs));
        assert!(ours.len() > 50, "{} commands", ours.len());
        let mut differences = Vec::new();
        for (name, description) in &ours {
            match theirs.get(name) {
                Some(expected) => {
                    differences.extend(description.iter().filter(|(field, value)| &&expected[*field] != value).map(
                        |(field, value)| format!("{name}, {field}: \"{value}\", but in Redis \"{}\"", expected[field]),
                    ))
                }
                None if OURS_ALONE.contains(&name.as_str()) => {}
                None => differences.push(format!("{name}: Redis has no such command")),
            }
        }
        differences.extend(
            OURS_ALONE
                .iter()
                .filter(|name| theirs.contains_key(**name) || !ours.contains_key(**name))
                .map(|name| format!("{name}: it is not ours alone")),
        );
        assert!(differences.is_empty(), "RESP{version}:\n{}", differences.join("\n"));
    }
}

#[test]
fn replies_have_the_shapes_of_redis() {
    let (server, redis) = (Server::start(Engine::Memory), Redis::start());
    let commands: &[&[&str]] = &[
        &["COMMAND", "INFO", "get", "mset", "nosuch", "get|a", "CONFIG|GET", "set", "copy"],
        &["COMMAND", "INFO", ""],
        &["COMMAND", "DOCS", "nosuch"],
        &["COMMAND", "LIST", "FILTERBY", "PATTERN", "GETR*"],
        &["COMMAND", "LIST", "FILTERBY", "PATTERN", "config|se*"],
        &["COMMAND", "LIST", "FILTERBY", "MODULE", "a"],
        &["COMMAND", "LIST", "FILTERBY", "ACLCAT", "@string"],
        &["COMMAND", "LIST", "FILTERBY", "ACLCAT", "nosuch"],
        &["COMMAND", "LIST", "FILTERBY", "PATTERN"],
        &["COMMAND", "HELP"],
        &["COMMAND", "NOSUCH"],
        &["COMMAND", "GETKEYS", "mset", "a", "1", "b", "2"],
        &["COMMAND", "GETKEYS", "mset", "a", "1", "b"],
        &["COMMAND", "GETKEYS", "object", "freq", "a"],
        &["COMMAND", "GETKEYS", "object", "freq"],
        &["COMMAND", "GETKEYS", "object", "nosuch", "a"],
        &["COMMAND", "GETKEYS", "object|freq", "a", "b"],
        &["COMMAND", "GETKEYS", "ping", "a"],
        &["COMMAND", "GETKEYS", "config", "get"],
        &["COMMAND", "GETKEYS", "nosuch", "a"],
        &["COMMAND", "GETKEYS", "get", "a", "b"],
        &["COMMAND", "GETKEYSANDFLAGS", "set", "a", "1"],
        &["COMMAND", "GETKEYSANDFLAGS", "set", "a", "1", "EX", "5", "get"],
        &["COMMAND", "GETKEYSANDFLAGS", "copy", "a", "b"],
        &["COMMAND", "GETKEYSANDFLAGS", "del", "a", "b"],
        &["COMMAND", "GETKEYSANDFLAGS", "append", "a", "b"],
    ];
    for version in ["2", "3"] {
        let (mut ours, mut theirs) = (server.client(), redis.client());
        for client in [&mut ours, &mut theirs] {
            assert!(!client.command(&["HELLO", version]).is_error());
        }
        for command in commands {
            let (ours, theirs) = (ours.command(command), theirs.command(command));
            assert_eq!(without_notes(&ours), without_notes(&theirs), "{command:?} in RESP{version}");
        }
    }
}

/// The order of subcommands is any, and the notes of key specifications are prose.
fn without_notes(value: &Value) -> Value {
    let is_note = |name: &Value| matches!(name, Value::Bulk(bytes) if bytes == b"notes");
    match value {
        Value::Array(items) if items.first().is_some_and(is_note) => Value::Array(items[2..].to_vec()),
        Value::Array(items) => Value::Array(items.iter().map(without_notes).collect()),
        Value::Set(items) => Value::Set(items.iter().map(without_notes).collect()),
        Value::Map(pairs) => Value::Map(pairs.iter().filter(|(name, _)| !is_note(name)).cloned().collect()),
        other => other.clone(),
    }
}

#[test]
fn docs_nest_subcommands_and_keep_to_what_was_asked() {
    let server = Server::start(Engine::Memory);
    let mut client = server.client();
    let docs = client.command(&["COMMAND", "DOCS", "config", "nosuch", "OBJECT|FREQ"]);
    let names: Vec<_> = pairs(&docs).iter().map(|(name, _)| name.text()).collect();
    assert_eq!(names, ["config", "object|freq"]);
    let subcommands = docs.items()[1].field("subcommands").expect("subcommands");
    assert_eq!(pairs(subcommands)[0].0.text(), "config|get");
    assert!(docs.items()[3].field("subcommands").is_none());

    let count = client.command(&["COMMAND", "COUNT"]).integer();
    assert_eq!(client.command(&["COMMAND"]).items().len() as i64, count);
    assert_eq!(pairs(&client.command(&["COMMAND", "DOCS"])).len() as i64, count);
    assert!(client.command(&["COMMAND", "LIST"]).items().len() as i64 > count, "subcommands are listed, too");
}

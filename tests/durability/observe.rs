//! Reads everything that a server holds, and holds its walks and counts against each other.

use super::model::{
    Class, Entry, Expiry, Key, SHARED_GROUPS, State, ballast_name, ballast_value, shared_names, wire_name,
};
use super::workload::unix_ms;
use crate::support::{Client, PATIENCE, Value, eventually};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// A key as it was read: its value and when it expires.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub value: Vec<u8>,
    pub expires_ms: Option<i64>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Observed {
    /// By writer.
    pub keys: Vec<BTreeMap<Key, Found>>,
    /// The value of each key of each shared group.
    pub shared: Vec<Vec<Option<Vec<u8>>>>,
    /// Between which moments it was read, in Unix milliseconds.
    pub from_ms: i64,
    pub to_ms: i64,
}

impl Observed {
    /// The state that the next round starts from.
    pub fn state(&self, writer: usize) -> State {
        let entries = self.keys[writer].iter().map(|(&key, found)| {
            (key, Entry { value: found.value.clone().into(), expiry: found.expires_ms.map(Expiry::at) })
        });
        State { writer, selected: 0, entries: entries.collect() }
    }
}

pub fn select(client: &mut Client, database: u32) {
    assert_eq!(client.command(&["SELECT", &database.to_string()]), Value::ok());
}

fn fetch(client: &mut Client, names: &[String]) -> Vec<Option<Found>> {
    let commands: Vec<[&str; 2]> =
        names.iter().flat_map(|name| [["GET", name.as_str()], ["PEXPIRETIME", name.as_str()]]).collect();
    let mut found = Vec::with_capacity(names.len());
    for chunk in commands.chunks(64) {
        let replies = client.pipeline(chunk);
        found.extend(replies.chunks_exact(2).map(|pair| match (&pair[0], pair[1].integer()) {
            // -2: it expired between the two commands, or was never there.
            (Value::Null, _) | (_, -2) => None,
            (value, moment_ms) => {
                Some(Found { value: value.bytes().to_vec(), expires_ms: (moment_ms >= 0).then_some(moment_ms) })
            }
        }));
    }
    found
}

/// All keys of the selected database in the order of a walk.
fn walk(client: &mut Client) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let page = client.command(&["SCAN", &cursor, "COUNT", "1000"]);
        cursor = page.items()[0].text();
        names.extend(page.items()[1].items().iter().map(Value::text));
        if cursor == "0" {
            return names;
        }
    }
}

/// Reads all keys of `writers` writers; an error where SCAN, or a key that nobody changes, is not as it must be.
pub fn observe(client: &mut Client, writers: usize, ballast: u32, scan_once: bool) -> Result<Observed, String> {
    let mut observed = Observed { from_ms: unix_ms(), ..Observed::default() };
    let mut present: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for writer in 0..writers {
        let mut keys = BTreeMap::new();
        for database in State::databases(writer) {
            let of_database: Vec<Key> = State::keys(writer).filter(|key| key.database == database).collect();
            let names: Vec<String> = of_database.iter().map(|key| wire_name(writer, key.name)).collect();
            select(client, database);
            for ((key, name), found) in
                of_database.into_iter().zip(names).zip(fetch(client, &names_of(writer, database)))
            {
                if let Some(found) = found {
                    present.entry(database).or_default().insert(name);
                    keys.insert(key, found);
                }
            }
        }
        observed.keys.push(keys);
    }
    select(client, 0);
    for group in 0..SHARED_GROUPS {
        let names = shared_names(group);
        let values = fetch(client, &names);
        let there = names.into_iter().zip(&values).filter(|(_, found)| found.is_some()).map(|(name, _)| name);
        present.entry(0).or_default().extend(there);
        observed.shared.push(values.into_iter().map(|found| found.map(|found| found.value)).collect());
    }
    observed.to_ms = unix_ms();
    check_ballast(client, ballast)?;
    present.entry(0).or_default().extend((0..ballast).map(ballast_name));
    for database in 0..=u32::try_from(writers * 2).expect("few writers") {
        check_walk(client, database, &present.remove(&database).unwrap_or_default(), scan_once)?;
    }
    Ok(observed)
}

fn names_of(writer: usize, database: u32) -> Vec<String> {
    State::keys(writer).filter(|key| key.database == database).map(|key| wire_name(writer, key.name)).collect()
}

/// A few of the keys that nobody changes.
fn check_ballast(client: &mut Client, ballast: u32) -> Result<(), String> {
    if ballast == 0 {
        return Ok(());
    }
    let mut random = rand::rng();
    let numbers: Vec<u32> = (0..40).map(|_| random.random_range(0..ballast)).collect();
    let names: Vec<String> = numbers.iter().map(|&number| ballast_name(number)).collect();
    for (number, found) in numbers.into_iter().zip(fetch(client, &names)) {
        let expected = Found { value: ballast_value(number), expires_ms: None };
        if found.as_ref() != Some(&expected) {
            let found = found.map(|found| super::model::shown(&found.value));
            return Err(format!("{} was set before all rounds and is {found:?}", ballast_name(number)));
        }
    }
    Ok(())
}

/// Whether a walk finds each of `present` once and nothing else, and DBSIZE comes to count as many.
fn check_walk(client: &mut Client, database: u32, present: &BTreeSet<String>, scan_once: bool) -> Result<(), String> {
    select(client, database);
    let walked = walk(client);
    let mut names = BTreeSet::new();
    for name in &walked {
        if !names.insert(name.clone()) && scan_once {
            return Err(format!("SCAN of database {database} returned {name} twice"));
        }
    }
    if let Some(name) = names.difference(present).next() {
        return Err(format!("SCAN of database {database} returned {name}, which is not there by GET"));
    }
    let lasts = |name: &&String| !is_volatile(name);
    if let Some(name) = present.difference(&names).find(lasts) {
        return Err(format!("SCAN of database {database} did not return {name}, which is there by GET"));
    }
    // Keys with near expiry times come to their end meanwhile.
    let (mut count, mut size) = (0, 0);
    let settled = eventually(PATIENCE, || {
        count = walk(client).into_iter().collect::<BTreeSet<_>>().len() as i64;
        size = client.command(&["DBSIZE"]).integer();
        count == size
    });
    if settled {
        Ok(())
    } else {
        Err(format!("DBSIZE of database {database} stays {size} where SCAN finds {count} keys"))
    }
}

fn is_volatile(name: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(_, letter)| letter.starts_with('v'))
}

/// Whether what was found is what the model has, at one of the moments when it was read.
pub fn agrees(key: Key, found: Option<&Found>, entry: Option<&Entry>, from_ms: i64, to_ms: i64) -> bool {
    match (found, entry) {
        (None, None) => true,
        (Some(_), None) => false,
        (None, Some(entry)) => entry.expiry.is_some_and(|expiry| expiry.earliest_ms <= to_ms),
        (Some(found), Some(entry)) => {
            let same_expiry = match (found.expires_ms, entry.expiry) {
                (None, None) => true,
                (Some(at_ms), Some(expiry)) => {
                    expiry.earliest_ms <= at_ms
                        && at_ms <= expiry.latest_ms
                        && (at_ms >= from_ms || super::model::Class::of(key.name) != Class::Volatile)
                }
                _ => false,
            };
            same_expiry && found.value[..] == entry.value[..]
        }
    }
}

//! A writer's keys as a pure function of the commands that it has sent.

use crate::support::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Databases that a writer has for itself, beside database 0 that all share.
pub const PRIVATE_DATABASES: u32 = 2;

const COUNTERS: u32 = 10;
const STRINGS: u32 = 30;
const VOLATILE: u32 = 6;
/// How many keys each group has that one MSET writes.
const GROUPS: [u32; 4] = [2, 3, 5, 6];
const GROUP_KEYS: u32 = 16;

/// What a key is used for; commands stay within a class, so that none meets a value that it does not apply to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Counter,
    String,
    /// Keys with expiry times so near that whether they are there is a matter of when one looks.
    Volatile,
    Group,
}

/// A key's number among those of its writer.
pub type Name = u32;

pub const NAMES: u32 = COUNTERS + STRINGS + VOLATILE + GROUP_KEYS;

impl Class {
    pub fn names(self) -> std::ops::Range<Name> {
        let start = match self {
            Class::Counter => 0,
            Class::String => COUNTERS,
            Class::Volatile => COUNTERS + STRINGS,
            Class::Group => COUNTERS + STRINGS + VOLATILE,
        };
        let count = match self {
            Class::Counter => COUNTERS,
            Class::String => STRINGS,
            Class::Volatile => VOLATILE,
            Class::Group => GROUP_KEYS,
        };
        start..start + count
    }

    pub fn of(name: Name) -> Class {
        let classes = [Class::Counter, Class::String, Class::Volatile, Class::Group];
        classes.into_iter().find(|class| class.names().contains(&name)).expect("every name has a class")
    }
}

pub fn group_count() -> usize {
    GROUPS.len()
}

pub fn group(index: usize) -> std::ops::Range<Name> {
    let start = Class::Group.names().start + GROUPS[..index].iter().sum::<u32>();
    start..start + GROUPS[index]
}

/// The key on the wire. Half of the counters and strings of all writers meet in eight slots.
pub fn wire_name(writer: usize, name: Name) -> String {
    let (letter, index) = match Class::of(name) {
        Class::Counter => ("c", name),
        Class::String => ("s", name - COUNTERS),
        Class::Volatile => ("v", name - COUNTERS - STRINGS),
        Class::Group => ("g", name - COUNTERS - STRINGS - VOLATILE),
    };
    if letter != "g" && index % 2 == 0 {
        format!("{{meet{}}}w{writer}:{letter}{index}", index / 2 % 8)
    } else {
        format!("w{writer}:{letter}{index}")
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    pub database: u32,
    pub name: Name,
}

/// When a key expires, in Unix milliseconds: as the server's clock is not ours, a span where the command gave a
/// time to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    pub earliest_ms: i64,
    pub latest_ms: i64,
}

impl Expiry {
    pub fn at(moment_ms: i64) -> Expiry {
        Expiry { earliest_ms: moment_ms, latest_ms: moment_ms }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetExpiry {
    None,
    Keep,
    In(i64),
    At(i64),
}

#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    pub value: Arc<[u8]>,
    pub expiry: Option<Expiry>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", shown(&self.value))?;
        self.expiry.map_or(Ok(()), |expiry| write!(formatter, " expiring {}..{}", expiry.earliest_ms, expiry.latest_ms))
    }
}

/// A value as a person can compare it with another: length, both ends, and a digest.
pub fn shown(value: &[u8]) -> String {
    if value.len() <= 48 {
        return format!("\"{}\"", value.escape_ascii());
    }
    let digest = value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let (head, tail) = (&value[..28], &value[value.len() - 12..]);
    format!("\"{}…{}\" ({} bytes, {digest:016x})", head.escape_ascii(), tail.escape_ascii(), value.len())
}

#[derive(Clone, Debug)]
pub enum Command {
    Select(u32),
    Set(Name, Bytes, SetExpiry),
    Get(Name),
    GetDel(Name),
    Del(Vec<Name>),
    Incr(Name, i64),
    Append(Name, Bytes),
    SetRange(Name, usize, Bytes),
    Expire(Name, SetExpiry),
    Persist(Name),
    MSet(std::ops::Range<Name>, Bytes),
    Rename(Name, Name),
    Copy {
        from: Name,
        to: Name,
        database: u32,
        replace: bool,
    },
    Move(Name, u32),
    FlushDb,
    SwapDb(u32, u32),
    /// MSET of one of the groups that all writers write to.
    SharedMSet(usize, Bytes),
    /// GET of a key that nobody changes.
    Ballast(u32),
}

/// A value to be: made again from its token where it is needed, so that a history of thousands stays small.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    pub token: u64,
    pub length: usize,
}

impl Bytes {
    /// Begins with the token, goes on with what follows from it: no two tokens give equal values, and of a value that
    /// was put together from two it shows. Half of it can be compressed.
    pub fn make(self) -> Vec<u8> {
        let mut bytes = format!("{:x};", self.token).into_bytes();
        let mut state = self.token;
        while bytes.len() < self.length {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mixed = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bytes.extend_from_slice(&mixed.to_le_bytes());
            bytes.extend_from_slice(b"rockpool");
        }
        bytes.truncate(self.length.max(format!("{:x};", self.token).len()));
        bytes
    }
}

/// The reply that a command must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Exactly(Value),
    /// The state does not tell which.
    AnyInteger,
    AnyBulk,
}

impl Expected {
    pub fn allows(&self, reply: &Value) -> bool {
        match self {
            Expected::Exactly(value) => value == reply,
            Expected::AnyInteger => matches!(reply, Value::Integer(_)),
            Expected::AnyBulk => matches!(reply, Value::Bulk(_) | Value::Null),
        }
    }
}

/// The databases and keys of one writer.
#[derive(Clone, Debug)]
pub struct State {
    pub writer: usize,
    pub selected: u32,
    pub entries: BTreeMap<Key, Entry>,
}

/// Between when and when the server carried the command out, in Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub earliest_ms: i64,
    pub latest_ms: i64,
}

pub struct Outcome {
    pub reply: Expected,
    /// The keys that it changed, or wrote as they were.
    pub touched: Vec<Key>,
}

impl State {
    pub fn new(writer: usize) -> State {
        State { writer, selected: 0, entries: BTreeMap::new() }
    }

    pub fn private_databases(writer: usize) -> [u32; PRIVATE_DATABASES as usize] {
        let first = 1 + u32::try_from(writer).expect("few writers") * PRIVATE_DATABASES;
        [first, first + 1]
    }

    pub fn databases(writer: usize) -> impl Iterator<Item = u32> {
        std::iter::once(0).chain(State::private_databases(writer))
    }

    /// Every key that there can be.
    pub fn keys(writer: usize) -> impl Iterator<Item = Key> {
        State::databases(writer).flat_map(|database| (0..NAMES).map(move |name| Key { database, name }))
    }

    pub fn get(&self, name: Name) -> Option<&Entry> {
        self.entries.get(&Key { database: self.selected, name })
    }

    fn put(&mut self, key: Key, value: Vec<u8>, expiry: Option<Expiry>) {
        self.entries.insert(key, Entry { value: value.into(), expiry });
    }

    pub fn apply(&mut self, command: &Command, moment: Moment) -> Outcome {
        let database = self.selected;
        let key = |name: Name| Key { database, name };
        let exactly = |value: Value, touched: Vec<Key>| Outcome { reply: Expected::Exactly(value), touched };
        let span = |expiry: SetExpiry| match expiry {
            SetExpiry::None | SetExpiry::Keep => None,
            SetExpiry::At(moment_ms) => Some(Expiry::at(moment_ms)),
            SetExpiry::In(ttl_ms) => {
                Some(Expiry { earliest_ms: moment.earliest_ms + ttl_ms, latest_ms: moment.latest_ms + ttl_ms })
            }
        };
        match *command {
            Command::Select(number) => {
                self.selected = number;
                exactly(Value::ok(), vec![])
            }
            Command::Set(name, value, expiry) => {
                let kept = self.get(name).and_then(|entry| entry.expiry).filter(|_| expiry == SetExpiry::Keep);
                self.put(key(name), value.make(), span(expiry).or(kept));
                exactly(Value::ok(), vec![key(name)])
            }
            Command::Get(name) if Class::of(name) == Class::Volatile => {
                Outcome { reply: Expected::AnyBulk, touched: vec![] }
            }
            Command::Get(name) => {
                let value = self.get(name).map_or(Value::Null, |entry| Value::bulk(&entry.value));
                exactly(value, vec![])
            }
            Command::GetDel(name) => match self.entries.remove(&key(name)) {
                Some(entry) => exactly(Value::bulk(&entry.value), vec![key(name)]),
                None => exactly(Value::Null, vec![]),
            },
            Command::Del(ref names) => {
                let touched: Vec<Key> = names.iter().map(|&name| key(name)).collect();
                let removed = touched.iter().filter(|key| self.entries.remove(key).is_some()).count();
                let volatile = names.iter().any(|&name| Class::of(name) == Class::Volatile);
                let reply = Expected::Exactly(Value::Integer(removed as i64));
                Outcome { reply: if volatile { Expected::AnyInteger } else { reply }, touched }
            }
            Command::Incr(name, by) => {
                let entry = self.get(name);
                let number = entry.map_or(0, |entry| integer(&entry.value)) + by;
                let expiry = entry.and_then(|entry| entry.expiry);
                self.put(key(name), number.to_string().into_bytes(), expiry);
                exactly(Value::Integer(number), vec![key(name)])
            }
            Command::Append(name, more) => {
                let entry = self.get(name);
                let mut value = entry.map_or_else(Vec::new, |entry| entry.value.to_vec());
                let expiry = entry.and_then(|entry| entry.expiry);
                value.extend(more.make());
                let length = value.len();
                self.put(key(name), value, expiry);
                exactly(Value::Integer(length as i64), vec![key(name)])
            }
            Command::SetRange(name, offset, piece) => {
                let entry = self.get(name);
                let mut value = entry.map_or_else(Vec::new, |entry| entry.value.to_vec());
                let expiry = entry.and_then(|entry| entry.expiry);
                let piece = piece.make();
                value.resize(value.len().max(offset + piece.len()), 0);
                value[offset..offset + piece.len()].copy_from_slice(&piece);
                let length = value.len();
                self.put(key(name), value, expiry);
                exactly(Value::Integer(length as i64), vec![key(name)])
            }
            Command::Expire(name, expiry) => match self.entries.get_mut(&key(name)) {
                Some(entry) => {
                    entry.expiry = span(expiry);
                    exactly(Value::Integer(1), vec![key(name)])
                }
                None => exactly(Value::Integer(0), vec![]),
            },
            Command::Persist(name) => {
                let had_expiry = self.entries.get_mut(&key(name)).and_then(|entry| entry.expiry.take()).is_some();
                exactly(Value::Integer(had_expiry.into()), if had_expiry { vec![key(name)] } else { vec![] })
            }
            Command::MSet(ref names, value) => {
                let touched: Vec<Key> = names.clone().map(key).collect();
                for &key in &touched {
                    self.put(key, value.make(), None);
                }
                exactly(Value::ok(), touched)
            }
            Command::Rename(from, to) => match self.entries.remove(&key(from)) {
                Some(entry) => {
                    self.entries.insert(key(to), entry);
                    exactly(Value::ok(), vec![key(from), key(to)])
                }
                None => exactly(Value::error("ERR no such key"), vec![]),
            },
            Command::Copy { from, to, database, replace } => {
                let target = Key { database, name: to };
                match self.get(from).cloned() {
                    Some(entry) if replace || !self.entries.contains_key(&target) => {
                        self.entries.insert(target, entry);
                        exactly(Value::Integer(1), vec![target])
                    }
                    _ => exactly(Value::Integer(0), vec![]),
                }
            }
            Command::Move(name, to) => {
                let target = Key { database: to, name };
                if self.get(name).is_none() || self.entries.contains_key(&target) {
                    return exactly(Value::Integer(0), vec![]);
                }
                let entry = self.entries.remove(&key(name)).expect("it is there");
                self.entries.insert(target, entry);
                exactly(Value::Integer(1), vec![key(name), target])
            }
            Command::FlushDb => {
                self.entries.retain(|key, _| key.database != database);
                exactly(Value::ok(), (0..NAMES).map(key).collect())
            }
            Command::SwapDb(one, other) => {
                let swapped = |number| match number {
                    number if number == one => other,
                    number if number == other => one,
                    number => number,
                };
                let entries = std::mem::take(&mut self.entries);
                self.entries = entries
                    .into_iter()
                    .map(|(key, entry)| (Key { database: swapped(key.database), ..key }, entry))
                    .collect();
                let both = [one, other].into_iter();
                let touched = both.flat_map(|database| (0..NAMES).map(move |name| Key { database, name })).collect();
                exactly(Value::ok(), touched)
            }
            Command::SharedMSet(..) => exactly(Value::ok(), vec![]),
            Command::Ballast(number) => exactly(Value::Bulk(ballast_value(number)), vec![]),
        }
    }
}

fn integer(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).expect("counters hold integers")
}

pub fn ballast_name(number: u32) -> String {
    format!("ballast:{number}")
}

pub fn ballast_value(number: u32) -> Vec<u8> {
    let length = 500 + usize::try_from(number % 11).expect("it fits") * 600;
    Bytes { token: 0xba_0000_0000 + u64::from(number), length }.make()
}

/// The keys of a group that all writers write to, in database 0.
pub fn shared_names(group: usize) -> Vec<String> {
    (0..2 + group % 4).map(|index| format!("shared{group}:{index}")).collect()
}

pub const SHARED_GROUPS: usize = 5;

impl Command {
    pub fn encode(&self, writer: usize) -> Vec<u8> {
        let key = |name: &Name| wire_name(writer, *name).into_bytes();
        let word = |text: &str| text.as_bytes().to_vec();
        let number = |number: i64| number.to_string().into_bytes();
        let arguments: Vec<Vec<u8>> = match self {
            Command::Select(database) => vec![word("SELECT"), number((*database).into())],
            Command::Set(name, value, expiry) => {
                let mut arguments = vec![word("SET"), key(name), value.make()];
                match *expiry {
                    SetExpiry::None => {}
                    SetExpiry::Keep => arguments.push(word("KEEPTTL")),
                    SetExpiry::In(ttl_ms) => arguments.extend([word("PX"), number(ttl_ms)]),
                    SetExpiry::At(moment_ms) => arguments.extend([word("PXAT"), number(moment_ms)]),
                }
                arguments
            }
            Command::Get(name) => vec![word("GET"), key(name)],
            Command::GetDel(name) => vec![word("GETDEL"), key(name)],
            Command::Del(names) => std::iter::once(word("DEL")).chain(names.iter().map(key)).collect(),
            Command::Incr(name, 1) => vec![word("INCR"), key(name)],
            Command::Incr(name, by) => vec![word("INCRBY"), key(name), number(*by)],
            Command::Append(name, more) => vec![word("APPEND"), key(name), more.make()],
            Command::SetRange(name, offset, piece) => {
                vec![word("SETRANGE"), key(name), offset.to_string().into_bytes(), piece.make()]
            }
            Command::Expire(name, SetExpiry::At(moment_ms)) => vec![word("PEXPIREAT"), key(name), number(*moment_ms)],
            Command::Expire(name, SetExpiry::In(ttl_ms)) => vec![word("PEXPIRE"), key(name), number(*ttl_ms)],
            Command::Expire(..) => unreachable!("EXPIRE has a time"),
            Command::Persist(name) => vec![word("PERSIST"), key(name)],
            Command::MSet(names, value) => {
                let pairs = names.clone().flat_map(|name| [key(&name), value.make()]);
                std::iter::once(word("MSET")).chain(pairs).collect()
            }
            Command::Rename(from, to) => vec![word("RENAME"), key(from), key(to)],
            Command::Copy { from, to, database, replace } => {
                let mut arguments = vec![word("COPY"), key(from), key(to), word("DB"), number((*database).into())];
                if *replace {
                    arguments.push(word("REPLACE"));
                }
                arguments
            }
            Command::Move(name, database) => vec![word("MOVE"), key(name), number((*database).into())],
            Command::FlushDb => vec![word("FLUSHDB")],
            Command::SwapDb(one, other) => vec![word("SWAPDB"), number((*one).into()), number((*other).into())],
            Command::SharedMSet(group, value) => {
                let pairs = shared_names(*group).into_iter().flat_map(|name| [name.into_bytes(), value.make()]);
                std::iter::once(word("MSET")).chain(pairs).collect()
            }
            Command::Ballast(index) => vec![word("GET"), ballast_name(*index).into_bytes()],
        };
        crate::support::encode(&arguments)
    }
}

//! Parameters that are several words.

use super::value::{Kind, Refusal, with_unit, words};
use crate::base::number;
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Redis's limit on the number of addresses to listen on.
const MAX_ADDRESSES: usize = 16;

/// Addresses to listen on. One with a leading `-` may be missing; `*` and `::*` are all of a family.
#[derive(Debug)]
pub struct Addresses(RwLock<Arc<[String]>>);

impl Addresses {
    pub(super) fn new(default: &str) -> Self {
        Self(RwLock::new(words(default).into_iter().map(str::to_owned).collect()))
    }

    /// The present addresses, in order.
    pub fn get(&self) -> Arc<[String]> {
        Arc::clone(&self.0.read())
    }
}

impl Kind for Addresses {
    type Stored = Arc<[String]>;
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Self::Stored, Refusal> {
        let addresses = words(text);
        if addresses.len() > MAX_ADDRESSES {
            return Err("Too many bind addresses specified.".to_owned());
        }
        Ok(addresses.into_iter().map(str::to_owned).collect())
    }

    fn load(&self) -> Self::Stored {
        self.get()
    }

    fn store(&self, value: Self::Stored) {
        *self.0.write() = value;
    }

    fn print(&self, value: &Self::Stored) -> String {
        value.join(" ")
    }

    fn form(&self) -> String {
        "addresses".to_owned()
    }
}

/// When a snapshot would be due: after so many seconds, if so many keys changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Time since the last snapshot, at least 1.
    pub seconds: i64,
    /// Changes since the last snapshot.
    pub changes: i64,
}

/// The list of save points.
#[derive(Debug)]
pub struct SavePoints(RwLock<Arc<[SavePoint]>>);

impl SavePoints {
    pub(super) fn new(default: &[SavePoint]) -> Self {
        Self(RwLock::new(default.into()))
    }

    /// The present list.
    pub fn get(&self) -> Arc<[SavePoint]> {
        Arc::clone(&self.0.read())
    }
}

impl Kind for SavePoints {
    type Stored = Arc<[SavePoint]>;
    const IS_LIST: bool = true;
    const WORDS_A_LINE: usize = 2;

    fn parse(&self, text: &str) -> Result<Self::Stored, Refusal> {
        let invalid = || "Invalid save parameters".to_owned();
        let numbers = words(text);
        if !numbers.len().is_multiple_of(2) {
            return Err(invalid());
        }
        numbers
            .chunks_exact(2)
            .map(|pair| {
                let seconds = integer(pair[0]).filter(|seconds| *seconds >= 1)?;
                let changes = integer(pair[1]).filter(|changes| *changes >= 0)?;
                Some(SavePoint { seconds, changes })
            })
            .collect::<Option<_>>()
            .ok_or_else(invalid)
    }

    fn load(&self) -> Self::Stored {
        self.get()
    }

    fn store(&self, value: Self::Stored) {
        *self.0.write() = value;
    }

    fn print(&self, value: &Self::Stored) -> String {
        value.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect::<Vec<_>>().join(" ")
    }

    fn form(&self) -> String {
        "pairs of seconds and changes".to_owned()
    }
}

/// An integer of a list, where Redis is laxer than for a parameter of its own: signs and leading zeros may be there.
fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// When a client that does not read its replies is cut off. Zeros never cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// At once when this much waits to be sent.
    pub hard_bytes: u64,
    /// When more than this has waited …
    pub soft_bytes: u64,
    /// … for so long.
    pub soft_seconds: u64,
}

/// The output limit of one class of clients.
#[derive(Debug)]
pub struct OutputClass {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_seconds: AtomicU64,
}

impl OutputClass {
    fn new(limit: OutputLimit) -> Self {
        Self {
            hard_bytes: AtomicU64::new(limit.hard_bytes),
            soft_bytes: AtomicU64::new(limit.soft_bytes),
            soft_seconds: AtomicU64::new(limit.soft_seconds),
        }
    }

    /// The present limit.
    pub fn get(&self) -> OutputLimit {
        OutputLimit {
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            soft_seconds: self.soft_seconds.load(Ordering::Relaxed),
        }
    }

    fn set(&self, limit: OutputLimit) {
        self.hard_bytes.store(limit.hard_bytes, Ordering::Relaxed);
        self.soft_bytes.store(limit.soft_bytes, Ordering::Relaxed);
        self.soft_seconds.store(limit.soft_seconds, Ordering::Relaxed);
    }
}

/// The output limits of the three classes of clients. A text names a class and its three numbers, one class after
/// the other; classes it does not name stay as they are.
#[derive(Debug)]
pub struct OutputLimits {
    /// Ordinary clients.
    pub normal: OutputClass,
    /// Replicas.
    pub replica: OutputClass,
    /// Clients with a subscription.
    pub pubsub: OutputClass,
}

impl OutputLimits {
    pub(super) fn new(normal: OutputLimit, replica: OutputLimit, pubsub: OutputLimit) -> Self {
        Self { normal: OutputClass::new(normal), replica: OutputClass::new(replica), pubsub: OutputClass::new(pubsub) }
    }
}

impl Kind for OutputLimits {
    type Stored = [OutputLimit; 3];
    const IS_LIST: bool = true;
    const WORDS_A_LINE: usize = 4;

    fn parse(&self, text: &str) -> Result<Self::Stored, Refusal> {
        let words = words(text);
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut limits = self.load();
        for class in words.chunks_exact(4) {
            let place = match class[0].to_ascii_lowercase().as_str() {
                "normal" => 0,
                "slave" | "replica" => 1,
                "pubsub" => 2,
                _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
            };
            let limit = || {
                Some(OutputLimit {
                    hard_bytes: number::parse_memory(class[1].as_bytes())?,
                    soft_bytes: number::parse_memory(class[2].as_bytes())?,
                    soft_seconds: integer(class[3])?.try_into().ok()?,
                })
            };
            limits[place] =
                limit().ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
        }
        Ok(limits)
    }

    fn load(&self) -> Self::Stored {
        [self.normal.get(), self.replica.get(), self.pubsub.get()]
    }

    fn store(&self, value: Self::Stored) {
        let [normal, replica, pubsub] = value;
        self.normal.set(normal);
        self.replica.set(replica);
        self.pubsub.set(pubsub);
    }

    fn print(&self, value: &Self::Stored) -> String {
        // Redis 7.0 still prints the old word for replicas.
        let class = |name, limit: &OutputLimit| {
            format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
        };
        [class("normal", &value[0]), class("slave", &value[1]), class("pubsub", &value[2])].join(" ")
    }

    fn form(&self) -> String {
        "class, hard limit, soft limit, seconds; classes are normal, replica, pubsub".to_owned()
    }

    fn document(&self, value: &Self::Stored) -> String {
        let class = |name, limit: &OutputLimit| {
            format!("{name} {} {} {}", with_unit(limit.hard_bytes), with_unit(limit.soft_bytes), limit.soft_seconds)
        };
        [class("normal", &value[0]), class("replica", &value[1]), class("pubsub", &value[2])].join(" ")
    }
}

/// Percentiles, each between 0 and 100.
#[derive(Debug)]
pub struct Percentiles(RwLock<Arc<[f64]>>);

impl Percentiles {
    pub(super) fn new(default: &[f64]) -> Self {
        Self(RwLock::new(default.into()))
    }

    /// The present list.
    pub fn get(&self) -> Arc<[f64]> {
        Arc::clone(&self.0.read())
    }
}

impl Kind for Percentiles {
    type Stored = Arc<[f64]>;
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<Self::Stored, Refusal> {
        words(text)
            .into_iter()
            .map(|word| {
                let percentile =
                    number::parse_f64(word.as_bytes()).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
                if (0.0..=100.0).contains(&percentile) {
                    Ok(percentile)
                } else {
                    Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned())
                }
            })
            .collect()
    }

    fn load(&self) -> Self::Stored {
        self.get()
    }

    fn store(&self, value: Self::Stored) {
        *self.0.write() = value;
    }

    fn print(&self, value: &Self::Stored) -> String {
        let trimmed =
            |percentile: &f64| format!("{percentile:.6}").trim_end_matches('0').trim_end_matches('.').to_owned();
        value.iter().map(trimmed).collect::<Vec<_>>().join(" ")
    }

    fn form(&self) -> String {
        "numbers 0 to 100".to_owned()
    }
}

/// Three integers from -2000 to 2000: the out-of-memory scores of a primary, a replica and a background child.
#[derive(Debug)]
pub struct OomScores(RwLock<[i64; 3]>);

impl OomScores {
    pub(super) fn new(default: [i64; 3]) -> Self {
        Self(RwLock::new(default))
    }

    /// The present values.
    pub fn get(&self) -> [i64; 3] {
        *self.0.read()
    }
}

impl Kind for OomScores {
    type Stored = [i64; 3];
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<[i64; 3], Refusal> {
        let words: [&str; 3] = words(text).try_into().map_err(|_| "wrong number of arguments".to_owned())?;
        let mut scores = [0; 3];
        for (score, word) in scores.iter_mut().zip(words) {
            *score = integer(word)
                .filter(|score| (-2000..=2000).contains(score))
                .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        Ok(scores)
    }

    fn load(&self) -> [i64; 3] {
        self.get()
    }

    fn store(&self, value: [i64; 3]) {
        *self.0.write() = value;
    }

    fn print(&self, value: &[i64; 3]) -> String {
        value.map(|score| score.to_string()).join(" ")
    }

    fn form(&self) -> String {
        "three integers -2000 to 2000".to_owned()
    }
}

/// A set of keyspace event classes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(u32);

impl EventClasses {
    /// `g`: commands of no type, such as DEL and EXPIRE.
    pub const GENERIC: Self = Self(1 << 0);
    /// `$`: strings.
    pub const STRING: Self = Self(1 << 1);
    /// `l`: lists.
    pub const LIST: Self = Self(1 << 2);
    /// `s`: sets.
    pub const SET: Self = Self(1 << 3);
    /// `h`: hashes.
    pub const HASH: Self = Self(1 << 4);
    /// `z`: sorted sets.
    pub const ZSET: Self = Self(1 << 5);
    /// `x`: a key expired.
    pub const EXPIRED: Self = Self(1 << 6);
    /// `e`: a key was evicted.
    pub const EVICTED: Self = Self(1 << 7);
    /// `t`: streams.
    pub const STREAM: Self = Self(1 << 8);
    /// `d`: types of modules.
    pub const MODULE: Self = Self(1 << 9);
    /// `K`: events are published under the key's name.
    pub const KEYSPACE: Self = Self(1 << 10);
    /// `E`: events are published under the event's name.
    pub const KEYEVENT: Self = Self(1 << 11);
    /// `m`: a key was looked for and not found.
    pub const KEY_MISS: Self = Self(1 << 12);
    /// `n`: a key was created.
    pub const NEW: Self = Self(1 << 13);

    /// The letters that `A` stands for, in the order in which they are printed. New keys and misses are not in it.
    const ALL: [(char, Self); 10] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
    ];

    const OTHERS: [(char, Self); 3] = [('K', Self::KEYSPACE), ('E', Self::KEYEVENT), ('m', Self::KEY_MISS)];

    /// Whether all of `classes` are in the set.
    pub fn contains(self, classes: Self) -> bool {
        self.0 & classes.0 == classes.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn all() -> Self {
        Self::ALL.into_iter().fold(Self::default(), |set, (_, class)| set.with(class))
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(letter: char) -> Option<Self> {
        match letter {
            'A' => Some(Self::all()),
            'n' => Some(Self::NEW),
            _ => Self::ALL.into_iter().chain(Self::OTHERS).find(|(name, _)| *name == letter).map(|(_, class)| class),
        }
    }
}

/// The classes of keyspace events that are published.
#[derive(Debug, Default)]
pub struct Events(AtomicU32);

impl Events {
    /// The present set.
    pub fn get(&self) -> EventClasses {
        EventClasses(self.0.load(Ordering::Relaxed))
    }
}

impl Kind for Events {
    type Stored = EventClasses;

    fn parse(&self, text: &str) -> Result<EventClasses, Refusal> {
        text.chars().try_fold(EventClasses::default(), |set, letter| {
            let class = EventClasses::of(letter).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
            Ok(set.with(class))
        })
    }

    fn load(&self) -> EventClasses {
        self.get()
    }

    fn store(&self, value: EventClasses) {
        self.0.store(value.0, Ordering::Relaxed);
    }

    fn print(&self, value: &EventClasses) -> String {
        let mut text = String::new();
        let has = |(letter, class): &(char, EventClasses)| value.contains(*class).then_some(*letter);
        if value.contains(EventClasses::all()) {
            text.push('A');
        } else {
            text.extend(EventClasses::ALL.iter().filter_map(has));
            // As Redis does: where `A` is printed, `n` is not.
            text.extend(has(&('n', EventClasses::NEW)));
        }
        text.extend(EventClasses::OTHERS.iter().filter_map(has));
        text
    }

    fn form(&self) -> String {
        "letters of Ag$lshzxeKEtmdn".to_owned()
    }
}

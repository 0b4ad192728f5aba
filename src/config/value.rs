//! The kinds of value a parameter can have: how each reads, checks, keeps and prints itself.
//!
//! A reader never waits for `CONFIG SET`: numbers and switches are atomics, texts are behind a lock that is held
//! for the copy of one pointer.

use crate::base::number;
use parking_lot::RwLock;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// What `CONFIG SET` answers for a value that cannot be: Redis's text for it.
pub(super) type Refusal = String;

/// A parameter's value as the table sees it: a text that can be checked, assigned and printed.
pub trait Value: fmt::Debug + Send + Sync {
    /// The value as `CONFIG GET` prints it.
    fn text(&self) -> String;

    /// Whether `text` could be assigned; the error is Redis's text for it.
    fn check(&self, text: &str) -> Result<(), String>;

    /// Assigns `text`, and says whether the value is another one now.
    fn assign(&self, text: &str) -> Result<bool, String>;

    /// What a valid text looks like, for the help and the reference page.
    fn form(&self) -> String;

    /// The default as the reference page prints it, asked of a value that nothing was assigned to.
    fn documented(&self) -> String;

    /// Whether the value is a list of words.
    fn is_list(&self) -> bool;

    /// Whether what is given later adds to what was given before, in the syntax of Redis and among the flags.
    fn adds_up(&self) -> bool;

    /// The value as it is written into a configuration file in TOML.
    fn toml(&self) -> toml_edit::Value;

    /// The value as it is written into one in the syntax of Redis: the words of each line.
    fn lines(&self) -> Vec<Vec<String>>;
}

/// What the kinds of value differ in; [`Value`] follows from it.
pub(super) trait Kind: fmt::Debug + Send + Sync {
    /// What is kept.
    type Stored: PartialEq;

    /// Several words, separated by one space each.
    const IS_LIST: bool = false;

    /// How many of the words stand in one line of a file in the syntax of Redis, whose lines add up. 0: there is one line.
    const WORDS_A_LINE: usize = 0;

    fn parse(&self, text: &str) -> Result<Self::Stored, Refusal>;
    fn load(&self) -> Self::Stored;
    fn store(&self, value: Self::Stored);
    fn print(&self, value: &Self::Stored) -> String;
    fn form(&self) -> String;

    fn document(&self, value: &Self::Stored) -> String {
        self.print(value)
    }

    fn toml(&self, value: &Self::Stored) -> toml_edit::Value {
        self.print(value).into()
    }
}

impl<K: Kind> Value for K {
    fn text(&self) -> String {
        self.print(&self.load())
    }

    fn check(&self, text: &str) -> Result<(), String> {
        self.parse(text).map(drop)
    }

    fn assign(&self, text: &str) -> Result<bool, String> {
        let new = self.parse(text)?;
        let changed = new != self.load();
        if changed {
            self.store(new);
        }
        Ok(changed)
    }

    fn form(&self) -> String {
        Kind::form(self)
    }

    fn documented(&self) -> String {
        self.document(&self.load())
    }

    fn is_list(&self) -> bool {
        K::IS_LIST
    }

    fn adds_up(&self) -> bool {
        K::WORDS_A_LINE > 0
    }

    fn toml(&self) -> toml_edit::Value {
        Kind::toml(self, &self.load())
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let text = self.document(&self.load());
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match (words(&text).as_slice(), K::WORDS_A_LINE) {
            (all, 0) if K::IS_LIST && !all.is_empty() => vec![owned(all)],
            (all, count) if count > 0 && !all.is_empty() => all.chunks(count).map(owned).collect(),
            _ => vec![vec![text]],
        }
    }
}

/// The words of a list, as Redis cuts them: at every single space; an empty text has none.
pub(super) fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split(' ').collect() }
}

/// An integer within bounds.
#[derive(Debug)]
pub struct Integer {
    value: AtomicI64,
    allowed: RangeInclusive<i64>,
    kept: RangeInclusive<i64>,
}

impl Integer {
    pub(super) fn new(default: i64, allowed: RangeInclusive<i64>) -> Self {
        Self { value: AtomicI64::new(default), kept: allowed.clone(), allowed }
    }

    /// Accepts all of `allowed`, but keeps the nearest value in `kept`.
    pub(super) fn clamped(mut self, kept: RangeInclusive<i64>) -> Self {
        self.kept = kept;
        self
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Kind for Integer {
    type Stored = i64;

    fn parse(&self, text: &str) -> Result<i64, Refusal> {
        let value = number::parse_i64(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
        if !self.allowed.contains(&value) {
            return Err(outside(self.allowed.start(), self.allowed.end()));
        }
        Ok(value.clamp(*self.kept.start(), *self.kept.end()))
    }

    fn load(&self) -> i64 {
        self.get()
    }

    fn store(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }

    fn print(&self, value: &i64) -> String {
        value.to_string()
    }

    fn form(&self) -> String {
        let (low, high) = (self.kept.start(), self.kept.end());
        // The widest bounds say nothing to a reader.
        match (*low, *high) {
            (low, high) if low <= i64::from(i32::MIN) && high >= i64::from(i32::MAX) => "integer".to_owned(),
            (low, high) if high >= i64::from(i32::MAX) => format!("integer from {low}"),
            (low, high) => format!("integer {low} to {high}"),
        }
    }

    fn toml(&self, value: &i64) -> toml_edit::Value {
        (*value).into()
    }
}

fn outside(low: &impl fmt::Display, high: &impl fmt::Display) -> Refusal {
    format!("argument must be between {low} and {high} inclusive")
}

/// A size in bytes. It reads `100`, `100b`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g` and `1gb`, in any case.
#[derive(Debug)]
pub struct Bytes {
    value: AtomicU64,
    allowed: RangeInclusive<u64>,
    kept_from: u64,
}

impl Bytes {
    pub(super) fn new(default: u64, allowed: RangeInclusive<u64>) -> Self {
        Self { value: AtomicU64::new(default), kept_from: *allowed.start(), allowed }
    }

    /// Accepts less, but keeps at least this much.
    pub(super) fn kept_from(mut self, least: u64) -> Self {
        self.kept_from = least;
        self
    }

    /// The present value in bytes.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Kind for Bytes {
    type Stored = u64;

    fn parse(&self, text: &str) -> Result<u64, Refusal> {
        let value = number::parse_memory(text.as_bytes()).ok_or("argument must be a memory value")?;
        if self.allowed.contains(&value) {
            Ok(value.max(self.kept_from))
        } else {
            Err(outside(self.allowed.start(), self.allowed.end()))
        }
    }

    fn load(&self) -> u64 {
        self.get()
    }

    fn store(&self, value: u64) {
        self.value.store(value, Ordering::Relaxed);
    }

    fn print(&self, value: &u64) -> String {
        value.to_string()
    }

    fn form(&self) -> String {
        match self.kept_from {
            0 => "bytes".to_owned(),
            low => format!("bytes, from {}", with_unit(low)),
        }
    }

    fn document(&self, value: &u64) -> String {
        with_unit(*value)
    }

    fn toml(&self, value: &u64) -> toml_edit::Value {
        bytes_to_toml(*value)
    }
}

/// The shortest exact way to write a size.
pub(super) fn with_unit(bytes: u64) -> String {
    [(30, "gb"), (20, "mb"), (10, "kb")]
        .into_iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

fn bytes_to_toml(bytes: u64) -> toml_edit::Value {
    let text = with_unit(bytes);
    // A plain number is a TOML integer as long as TOML has one that large.
    text.parse::<i64>().map_or_else(|_| text.into(), toml_edit::Value::from)
}

/// `yes` or `no`.
#[derive(Debug)]
pub struct Flag {
    value: AtomicBool,
    /// Why `yes` cannot be had.
    refused: Option<&'static str>,
}

impl Flag {
    pub(super) fn new(default: bool) -> Self {
        Self { value: AtomicBool::new(default), refused: None }
    }

    /// A switch that can only be off: `yes` is refused with this text.
    pub(super) fn always_off(reason: &'static str) -> Self {
        Self { value: AtomicBool::new(false), refused: Some(reason) }
    }

    /// The present value.
    pub fn get(&self) -> bool {
        self.value.load(Ordering::Relaxed)
    }
}

impl Kind for Flag {
    type Stored = bool;

    fn parse(&self, text: &str) -> Result<bool, Refusal> {
        let value = if text.eq_ignore_ascii_case("yes") {
            true
        } else if text.eq_ignore_ascii_case("no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".to_owned());
        };
        match self.refused {
            Some(reason) if value => Err(reason.to_owned()),
            _ => Ok(value),
        }
    }

    fn load(&self) -> bool {
        self.get()
    }

    fn store(&self, value: bool) {
        self.value.store(value, Ordering::Relaxed);
    }

    fn print(&self, value: &bool) -> String {
        if *value { "yes" } else { "no" }.to_owned()
    }

    fn form(&self) -> String {
        if self.refused.is_some() { "no" } else { "yes, no" }.to_owned()
    }

    fn toml(&self, value: &bool) -> toml_edit::Value {
        (*value).into()
    }
}

/// Any text.
#[derive(Debug)]
pub struct Text {
    value: RwLock<Arc<str>>,
    form: &'static str,
    valid: fn(&str) -> Result<(), &'static str>,
}

impl Text {
    /// `form` names what the text is, such as "path" or "password".
    pub(super) fn new(default: &str, form: &'static str) -> Self {
        Self { value: RwLock::new(default.into()), form, valid: |_| Ok(()) }
    }

    pub(super) fn checked(mut self, valid: fn(&str) -> Result<(), &'static str>) -> Self {
        self.valid = valid;
        self
    }

    /// The present value; it does not change under the reader.
    pub fn get(&self) -> Arc<str> {
        Arc::clone(&self.value.read())
    }
}

impl Kind for Text {
    type Stored = Arc<str>;

    fn parse(&self, text: &str) -> Result<Arc<str>, Refusal> {
        (self.valid)(text)?;
        Ok(text.into())
    }

    fn load(&self) -> Arc<str> {
        self.get()
    }

    fn store(&self, value: Arc<str>) {
        *self.value.write() = value;
    }

    fn print(&self, value: &Arc<str>) -> String {
        value.to_string()
    }

    fn form(&self) -> String {
        self.form.to_owned()
    }
}

/// A directory that exists. A relative one is taken from where the server was started, and made absolute.
#[derive(Debug)]
pub struct Directory(RwLock<Arc<str>>);

impl Directory {
    pub(super) fn new(default: &str) -> Self {
        Self(RwLock::new(default.into()))
    }

    /// The path: absolute, unless it is the default.
    pub fn get(&self) -> Arc<str> {
        Arc::clone(&self.0.read())
    }
}

impl Kind for Directory {
    type Stored = Arc<str>;

    fn parse(&self, text: &str) -> Result<Arc<str>, Refusal> {
        let path = std::fs::canonicalize(text).map_err(|error| system_text(&error))?;
        if !path.is_dir() {
            return Err("Not a directory".to_owned());
        }
        path.to_str().map(Arc::from).ok_or_else(|| "the path is not valid UTF-8".to_owned())
    }

    fn load(&self) -> Arc<str> {
        self.get()
    }

    fn store(&self, value: Arc<str>) {
        *self.0.write() = value;
    }

    fn print(&self, value: &Arc<str>) -> String {
        // The default is relative; clients expect the full path.
        self.parse(value).unwrap_or_else(|_| Arc::clone(value)).to_string()
    }

    fn form(&self) -> String {
        "directory".to_owned()
    }

    fn document(&self, value: &Arc<str>) -> String {
        value.to_string()
    }
}

/// The operating system's words for an error, without the number that the standard library adds.
pub(super) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

/// A file's permission bits, in octal.
#[derive(Debug)]
pub struct Octal {
    value: AtomicU32,
    highest: u32,
}

impl Octal {
    pub(super) fn new(default: u32, highest: u32) -> Self {
        Self { value: AtomicU32::new(default), highest }
    }

    /// The present value.
    pub fn get(&self) -> u32 {
        self.value.load(Ordering::Relaxed)
    }
}

impl Kind for Octal {
    type Stored = u32;

    fn parse(&self, text: &str) -> Result<u32, Refusal> {
        // TOML's way to write an octal number has a prefix.
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let value =
            u32::from_str_radix(digits, 8).map_err(|_| "argument couldn't be parsed as an octal number".to_owned())?;
        if value > self.highest {
            return Err(format!("argument must be between 0 and {:o} inclusive", self.highest));
        }
        Ok(value)
    }

    fn load(&self) -> u32 {
        self.get()
    }

    fn store(&self, value: u32) {
        self.value.store(value, Ordering::Relaxed);
    }

    fn print(&self, value: &u32) -> String {
        format!("{value:o}")
    }

    fn form(&self) -> String {
        format!("octal 0 to {:o}", self.highest)
    }
}

/// A share of the memory limit: bytes, or a percentage of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of `maxmemory`.
    Percent(u64),
}

/// A limit given in bytes or as a percentage of `maxmemory`.
#[derive(Debug)]
pub struct Portion(AtomicI64);

impl Portion {
    pub(super) fn new(default_bytes: i64) -> Self {
        Self(AtomicI64::new(default_bytes))
    }

    /// The present value.
    pub fn get(&self) -> Share {
        match self.0.load(Ordering::Relaxed) {
            value if value < 0 => Share::Percent(value.unsigned_abs()),
            value => Share::Bytes(value.unsigned_abs()),
        }
    }
}

impl Kind for Portion {
    /// Bytes, or the percentage below zero.
    type Stored = i64;

    fn parse(&self, text: &str) -> Result<i64, Refusal> {
        if let Some(bytes) = number::parse_memory(text.as_bytes()) {
            return i64::try_from(bytes).map_err(|_| outside(&-100, &i64::MAX));
        }
        let percent = text
            .strip_suffix('%')
            .and_then(|digits| number::parse_i64(digits.as_bytes()))
            .filter(|percent| *percent >= 0)
            .ok_or("argument must be a memory or percent value")?;
        if percent > 100 {
            return Err("percentage argument must be less or equal to 100".to_owned());
        }
        Ok(-percent)
    }

    fn load(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn store(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn print(&self, value: &i64) -> String {
        if *value < 0 { format!("{}%", -value) } else { value.to_string() }
    }

    fn form(&self) -> String {
        "bytes, or a percentage of maxmemory".to_owned()
    }
}

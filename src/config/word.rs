//! Parameters that nothing reads but Redis's clients and configuration files: words that are checked, kept and printed.

use super::value::{Kind, Refusal, words};
use std::sync::atomic::{AtomicU32, Ordering};

fn refusal(options: &[&str]) -> Refusal {
    format!("argument(s) must be one of the following: {}", options.join(", "))
}

fn place(word: &str, options: &[&str]) -> Result<u32, Refusal> {
    let place = options.iter().position(|option| option.eq_ignore_ascii_case(word));
    place.map(|place| place as u32).ok_or_else(|| refusal(options))
}

/// One of a few words. The first is the default.
#[derive(Debug)]
pub struct Word {
    options: &'static [&'static str],
    place: AtomicU32,
}

impl Word {
    pub(super) fn new(options: &'static [&'static str]) -> Self {
        Self { options, place: AtomicU32::new(0) }
    }
}

impl Kind for Word {
    /// A place among the options.
    type Stored = u32;

    fn parse(&self, text: &str) -> Result<u32, Refusal> {
        place(text, self.options)
    }

    fn load(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    fn store(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }

    fn print(&self, place: &u32) -> String {
        self.options[*place as usize].to_owned()
    }

    fn form(&self) -> String {
        self.options.join(", ")
    }
}

/// Some of a few words. The first of them stands for none of the others, and is the default.
#[derive(Debug)]
pub struct WordSet {
    options: &'static [&'static str],
    places: AtomicU32,
}

impl WordSet {
    pub(super) fn new(options: &'static [&'static str]) -> Self {
        Self { options, places: AtomicU32::new(0) }
    }
}

impl Kind for WordSet {
    /// A bit for each option but the first.
    type Stored = u32;
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<u32, Refusal> {
        if text.is_empty() {
            return Err(refusal(self.options));
        }
        words(text).into_iter().try_fold(0, |set, word| Ok(set | (1 << place(word, self.options)?) & !1))
    }

    fn load(&self) -> u32 {
        self.places.load(Ordering::Relaxed)
    }

    fn store(&self, places: u32) {
        self.places.store(places, Ordering::Relaxed);
    }

    fn print(&self, places: &u32) -> String {
        let present = |place: &usize| places & (1 << place) != 0;
        let words: Vec<_> = (1..self.options.len()).filter(present).map(|place| self.options[place]).collect();
        if words.is_empty() { self.options[0].to_owned() } else { words.join(" ") }
    }

    fn form(&self) -> String {
        self.options.join(", ")
    }
}

/// What this server cannot do, and must not be believed to do: only its absence can be set.
#[derive(Debug)]
pub struct Absent {
    /// The texts for its absence; the first is printed.
    texts: &'static [&'static str],
    /// Why it cannot be had.
    refusal: &'static str,
}

impl Absent {
    pub(super) fn new(texts: &'static [&'static str], refusal: &'static str) -> Self {
        Self { texts, refusal }
    }
}

impl Kind for Absent {
    type Stored = ();
    const IS_LIST: bool = true;

    fn parse(&self, text: &str) -> Result<(), Refusal> {
        let is_absent = self.texts.iter().any(|absent| absent.eq_ignore_ascii_case(text));
        if is_absent { Ok(()) } else { Err(self.refusal.to_owned()) }
    }

    fn load(&self) {}

    fn store(&self, _: ()) {}

    fn print(&self, _: &()) -> String {
        self.texts[0].to_owned()
    }

    fn form(&self) -> String {
        match self.texts[0] {
            "" => "nothing".to_owned(),
            text => text.to_owned(),
        }
    }
}

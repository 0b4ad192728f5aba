//! Which of the commands that were sent explain what is there after a crash?
//!
//! With a journal, what is kept of a writer's commands is a prefix: there has to be one number of commands, of those
//! acknowledged in time at least, after which all of the writer's keys are what was found. Without one, each key may
//! be at a point of its own, as slots are saved one after another; but the keys of one command are on the same side of it.

use super::model::{Class, Command, Entry, Key, SHARED_GROUPS, State, shown, wire_name};
use super::observe::{Found, Observed, agrees};
use super::workload::History;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// What is there is what some number of each writer's commands has made.
    Prefix,
    /// Each key is as some number of its writer's commands has made it; commands on several keys are whole.
    EachKey,
}

/// What a round must have left behind.
pub struct Round<'round> {
    pub promise: Promise,
    pub histories: &'round [History],
    /// What was acknowledged before this moment must be there.
    pub kept_before: Instant,
    /// When the server was ended, in Unix milliseconds.
    pub end_ms: i64,
    /// The shared groups when the round began.
    pub shared_before: &'round [Vec<Option<Vec<u8>>>],
    pub observed: &'round Observed,
}

impl Round<'_> {
    pub fn check(&self) -> Result<(), String> {
        for history in self.histories {
            if let Some(wrong) = &history.wrong_reply {
                return Err(format!("writer {}: {wrong}", history.start.writer));
            }
        }
        let shared = self.shared_spans()?;
        for (history, (least, most)) in self.histories.iter().zip(shared) {
            self.check_writer(history, least, most)
                .map_err(|what| format!("writer {}: {what}", history.start.writer))?;
        }
        Ok(())
    }

    /// The keys of each shared group must all hold what one MSET wrote. Returns, for each writer, the least and the most
    /// of its commands that may have been carried out by that.
    fn shared_spans(&self) -> Result<Vec<(usize, usize)>, String> {
        let mut spans: Vec<(usize, usize)> = self.histories.iter().map(|history| (0, history.sent.len())).collect();
        for group in 0..SHARED_GROUPS {
            let values = &self.observed.shared[group];
            let whole = values.iter().all(|value| *value == values[0]);
            if !whole {
                let values: Vec<String> = values
                    .iter()
                    .map(|value| value.as_ref().map_or("nothing".to_owned(), |value| shown(value)))
                    .collect();
                return Err(format!("an MSET on shared group {group} is torn: {}", values.join(", ")));
            }
            let writes: Vec<Vec<(usize, Vec<u8>)>> =
                self.histories.iter().map(|history| shared_writes(history, group)).collect();
            let kept = |writer: usize| self.histories[writer].acknowledged_before(self.kept_before);
            let found = values[0].as_ref();
            let origin = writes.iter().enumerate().find_map(|(writer, writes)| {
                let at = writes.iter().position(|(_, value)| Some(value) == found)?;
                Some((writer, at))
            });
            if origin.is_none() && *values != self.shared_before[group] {
                let found = found.map(|value| shown(value));
                return Err(format!("shared group {group} holds {found:?}, which nobody wrote in this round"));
            }
            for (writer, writes) in writes.iter().enumerate() {
                let (least, most) = &mut spans[writer];
                match origin {
                    Some((author, at)) if author == writer => {
                        *least = (*least).max(writes[at].0 + 1);
                        if let Some((next, _)) = writes.get(at + 1) {
                            *most = (*most).min(*next);
                        }
                    }
                    // Another's MSET may have come after this one's, unless it was answered before this one's was sent.
                    Some((author, at)) => {
                        let author_sent = &self.histories[author].sent[self.position(author, group, at)];
                        let sent = &self.histories[writer].sent;
                        let later = writes.iter().find(|(position, _)| {
                            author_sent.acknowledged.is_some_and(|(answered, _)| answered < sent[*position].sent)
                        });
                        if let Some((position, _)) = later {
                            *most = (*most).min(*position);
                        }
                    }
                    None => {
                        if let Some((position, _)) = writes.first() {
                            *most = (*most).min(*position);
                        }
                    }
                }
                if *most < kept(writer) {
                    let found = found.map_or("nothing".to_owned(), |value| shown(value));
                    return Err(format!(
                        "shared group {group} holds {found}, older than the MSET that is command {most} of writer {writer}, of \
                         whose commands {} must have been kept",
                        kept(writer)
                    ));
                }
            }
        }
        Ok(spans)
    }

    fn position(&self, writer: usize, group: usize, at: usize) -> usize {
        let is_write = |command: &Command| matches!(command, Command::SharedMSet(other, _) if *other == group);
        let positions = self.histories[writer].sent.iter().enumerate();
        positions.filter(|(_, sent)| is_write(&sent.command)).nth(at).expect("it was found before").0
    }

    fn check_writer(&self, history: &History, least: usize, most: usize) -> Result<(), String> {
        let replay = Replay::of(history, self.end_ms, self.observed);
        let kept = history.acknowledged_before(self.kept_before);
        match self.promise {
            Promise::Prefix => self.check_prefix(history, &replay, kept, kept.max(least), most),
            Promise::EachKey => self.check_each_key(history, &replay, kept),
        }
    }

    fn check_prefix(
        &self,
        history: &History,
        replay: &Replay,
        kept: usize,
        least: usize,
        most: usize,
    ) -> Result<(), String> {
        let fits = |position: usize| replay.differing[position] == 0;
        if (least..=most).any(fits) {
            return Ok(());
        }
        let total = history.sent.len();
        let mut text = format!(
            "no state after {least} to {most} of its commands is what is there ({total} were sent, {} acknowledged, {kept} must \
             have been kept)",
            history.acknowledged()
        );
        let elsewhere: Vec<usize> = (0..=total).filter(|&position| fits(position)).collect();
        match (elsewhere.first(), elsewhere.last()) {
            (Some(first), Some(last)) => {
                let _ = write!(text, "; it is the state after {first} to {last} commands");
                if *last < kept {
                    let _ = write!(text, ": {} kept commands are missing", kept - last);
                }
            }
            _ => {
                let nearest =
                    (0..=total).rev().min_by_key(|&position| replay.differing[position]).expect("one at least");
                let _ = write!(text, "; nearest is the state after {nearest}, where differ:");
                self.describe(history, nearest, &mut text);
            }
        }
        Err(text)
    }

    /// Every key takes the earliest point that explains it, as long as a command on several keys does not move it on.
    fn check_each_key(&self, history: &History, replay: &Replay, kept: usize) -> Result<(), String> {
        let keys: Vec<Key> = State::keys(history.start.writer).collect();
        let mut points: HashMap<Key, usize> = HashMap::new();
        for &key in &keys {
            let point =
                replay.first_from(key, kept).ok_or_else(|| self.unexplained(history, replay, key, kept, kept))?;
            points.insert(key, point);
        }
        loop {
            let mut moved = false;
            for (position, touched) in &replay.several {
                let Some(&ahead) = touched.iter().find(|key| points[key] > *position) else { continue };
                for &key in touched.iter().filter(|key| points[key] <= *position).collect::<Vec<_>>() {
                    let point = replay.first_from(key, position + 1).ok_or_else(|| {
                        let torn = format!(
                            "command {position}, {:?}, is torn: it shows in {} and not in {}",
                            history.sent[*position].command,
                            name(history, ahead),
                            name(history, key)
                        );
                        format!("{torn}; {}", self.unexplained(history, replay, key, position + 1, kept))
                    })?;
                    points.insert(key, point);
                    moved = true;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn unexplained(&self, history: &History, replay: &Replay, key: Key, from: usize, kept: usize) -> String {
        let found = self.observed.keys[history.start.writer].get(&key);
        let mut text = format!(
            "{} is {}, not its state after any number from {from} to {} of commands ({kept} must have been kept)",
            name(history, key),
            describe(found),
            history.sent.len()
        );
        if let Some(earlier) = replay.first_from(key, 0) {
            let _ = write!(text, "; it was so after {earlier}");
        }
        text
    }

    fn describe(&self, history: &History, position: usize, text: &mut String) {
        let mut state = history.start.clone();
        for sent in &history.sent[..position] {
            state.apply(&sent.command, sent.moment(self.end_ms));
        }
        let observed = self.observed;
        let found = &observed.keys[history.start.writer];
        let differing = State::keys(history.start.writer)
            .filter(|key| !agrees(*key, found.get(key), state.entries.get(key), observed.from_ms, observed.to_ms))
            .take(8);
        for key in differing {
            let entry = state.entries.get(&key);
            let _ = write!(text, "\n  {}: {} for {entry:?}", name(history, key), describe(found.get(&key)));
        }
    }
}

fn describe(found: Option<&Found>) -> String {
    match found {
        None => "missing".to_owned(),
        Some(found) => {
            let expiry = found.expires_ms.map_or(String::new(), |at_ms| format!(" expiring {at_ms}"));
            format!("{}{expiry}", shown(&found.value))
        }
    }
}

fn name(history: &History, key: Key) -> String {
    format!("{} of database {}", wire_name(history.start.writer, key.name), key.database)
}

fn shared_writes(history: &History, group: usize) -> Vec<(usize, Vec<u8>)> {
    let writes = history.sent.iter().enumerate().filter_map(|(position, sent)| match &sent.command {
        Command::SharedMSet(other, value) if *other == group => Some((position, value.make())),
        _ => None,
    });
    writes.collect()
}

/// A writer's commands carried out again one after the other, beside what was found.
struct Replay {
    /// How many keys are not what was found, after each number of commands.
    differing: Vec<usize>,
    /// For each key, from which number of commands on it is what was found, or is not, in turns.
    turns: BTreeMap<Key, Vec<(usize, bool)>>,
    /// The commands on several keys that must be whole.
    several: Vec<(usize, Vec<Key>)>,
    total: usize,
}

impl Replay {
    fn of(history: &History, end_ms: i64, observed: &Observed) -> Replay {
        let mut state = history.start.clone();
        let found = &observed.keys[state.writer];
        let agreeing =
            |key: Key, entry: Option<&Entry>| agrees(key, found.get(&key), entry, observed.from_ms, observed.to_ms);
        let mut turns: BTreeMap<Key, Vec<(usize, bool)>> = BTreeMap::new();
        let mut count = 0;
        for key in State::keys(state.writer) {
            let agrees = agreeing(key, state.entries.get(&key));
            count += usize::from(!agrees);
            turns.insert(key, vec![(0, agrees)]);
        }
        let (mut differing, mut several) = (vec![count], Vec::new());
        for (position, sent) in history.sent.iter().enumerate() {
            let touched = state.apply(&sent.command, sent.moment(end_ms)).touched;
            for &key in &touched {
                let turns = turns.get_mut(&key).expect("all keys are there");
                let (before, after) = (turns.last().expect("never empty").1, agreeing(key, state.entries.get(&key)));
                if before != after {
                    turns.push((position + 1, after));
                    count = count + usize::from(before) - usize::from(after);
                }
            }
            differing.push(count);
            if touched.len() > 1 {
                // What has expired since tells nothing.
                let lasting = touched.into_iter().filter(|key| Class::of(key.name) != Class::Volatile);
                several.push((position, lasting.collect()));
            }
        }
        Replay { differing, turns, several, total: history.sent.len() }
    }

    /// The first number of commands, not below `least`, after which the key is what was found.
    fn first_from(&self, key: Key, least: usize) -> Option<usize> {
        let turns = &self.turns[&key];
        let ends = turns.iter().skip(1).map(|(position, _)| *position).chain([self.total + 1]);
        turns.iter().zip(ends).filter(|((_, agrees), _)| *agrees).find_map(|((start, _), end)| {
            let position = (*start).max(least);
            (position < end).then_some(position)
        })
    }
}

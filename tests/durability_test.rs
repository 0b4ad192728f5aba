//! The judgement of the crash tests itself: it finds no fault with what is right, and finds each kind of damage.

mod durability;
mod support;

use durability::check::{Promise, Round};
use durability::model::{Class, Command, Key, Moment, SHARED_GROUPS, State, shared_names};
use durability::observe::{Found, Observed};
use durability::workload::{History, Sent, Shape, Source, unix_ms};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const COMMANDS: usize = 400;

/// What writers sent to a server that is only thought of, all of it acknowledged.
struct Made {
    histories: Vec<History>,
    shared: Vec<Vec<Option<Vec<u8>>>>,
    begun: Instant,
}

impl Made {
    fn new(seed: u64) -> Made {
        let begun = Instant::now();
        let at = |position: usize| begun + Duration::from_millis(position as u64);
        let shape = Shape { pause: Duration::ZERO, ballast: 0 };
        let histories = (0..2).map(|writer| {
            let start = State::new(writer);
            let mut source = Source::new(start.clone(), seed + writer as u64, shape);
            let sent = (0..COMMANDS).map(|position| {
                let sent_ms = unix_ms();
                let (command, _) = source.next(sent_ms);
                Sent { command, sent: begun, sent_ms, acknowledged: Some((at(position), sent_ms)) }
            });
            History { start, sent: sent.collect(), wrong_reply: None }
        });
        let shared = (0..SHARED_GROUPS).map(|group| vec![None; shared_names(group).len()]).collect();
        Made { histories: histories.collect(), shared, begun }
    }

    fn state_after(&self, writer: usize, commands: usize) -> State {
        let history = &self.histories[writer];
        let mut state = history.start.clone();
        for sent in &history.sent[..commands] {
            state.apply(&sent.command, Moment { earliest_ms: sent.sent_ms, latest_ms: sent.sent_ms });
        }
        state
    }

    /// What a server holds that has carried out so many commands of each writer, one writer after the other: all were
    /// sent at once, and any order between the writers is right.
    fn observed(&self, commands: [usize; 2]) -> Observed {
        let now_ms = unix_ms();
        let mut observed =
            Observed { from_ms: now_ms, to_ms: now_ms, shared: self.shared.clone(), ..Observed::default() };
        for (writer, commands) in commands.into_iter().enumerate() {
            let entries = self.state_after(writer, commands).entries.into_iter();
            let found = entries.map(|(key, entry)| {
                let expires_ms = entry.expiry.map(|expiry| expiry.earliest_ms);
                (key, Found { value: entry.value.to_vec(), expires_ms })
            });
            observed
                .keys
                .push(found.filter(|(_, found)| found.expires_ms.is_none_or(|at_ms| at_ms > now_ms)).collect());
            for sent in &self.histories[writer].sent[..commands] {
                if let Command::SharedMSet(group, value) = sent.command {
                    observed.shared[group].fill(Some(value.make()));
                }
            }
        }
        observed
    }

    /// The judgement of `observed` where all of the first `kept` commands of each writer must be there.
    fn check(&self, promise: Promise, kept: usize, observed: &Observed) -> Result<(), String> {
        let round = Round {
            promise,
            histories: &self.histories,
            kept_before: self.begun + Duration::from_millis(kept as u64),
            end_ms: unix_ms(),
            shared_before: &self.shared,
            observed,
        };
        round.check()
    }
}

type Damage = fn(&mut Found);

fn lasting(observed: &Observed) -> Vec<Key> {
    let keys = observed.keys[0].keys().copied();
    keys.filter(|key| matches!(Class::of(key.name), Class::String | Class::Counter)).collect()
}

const BOTH: [Promise; 2] = [Promise::Prefix, Promise::EachKey];

#[test]
fn every_prefix_is_accepted_that_holds_what_was_acknowledged_in_time() {
    for seed in 0..20 {
        let (made, mut random) = (Made::new(seed), StdRng::seed_from_u64(seed));
        for promise in BOTH {
            let commands = [random.random_range(0..=COMMANDS), random.random_range(0..=COMMANDS)];
            let kept = commands[0].min(commands[1]);
            let observed = made.observed(commands);
            assert_eq!(made.check(promise, kept, &observed), Ok(()), "{commands:?} of seed {seed}");
        }
    }
}

#[test]
fn a_shorter_prefix_is_a_loss() {
    for seed in 0..20 {
        let made = Made::new(seed);
        // Enough commands that one of them at least has changed a key that lasts.
        for promise in BOTH {
            let failure = made.check(promise, COMMANDS / 2 + 60, &made.observed([COMMANDS / 2, COMMANDS]));
            let failure = failure.expect_err("60 commands are missing");
            assert!(failure.contains("must have been kept"), "{failure}");
        }
    }
}

#[test]
fn a_key_that_is_older_than_the_others_is_found_unless_each_key_is_for_itself() {
    let mut found = 0;
    for seed in 0..20 {
        let made = Made::new(seed);
        let (earlier, mut observed) = (made.observed([COMMANDS - 100, COMMANDS]), made.observed([COMMANDS, COMMANDS]));
        let changed = |key: &Key| earlier.keys[0].get(key) != observed.keys[0].get(key);
        let Some(key) = lasting(&observed).into_iter().find(changed) else { continue };
        match earlier.keys[0].get(&key) {
            Some(value) => observed.keys[0].insert(key, value.clone()),
            None => observed.keys[0].remove(&key),
        };
        // A later command on the same key may by chance have made it what it was.
        let failure = made.check(Promise::Prefix, 0, &observed).expect_err("no prefix explains it");
        assert!(failure.contains("nearest is the state after"), "{failure}");
        assert!(made.check(Promise::EachKey, COMMANDS, &observed).is_err());
        found += 1;
    }
    assert!(found > 10, "{found}");
}

#[test]
fn what_is_there_twice_or_in_part_is_found() {
    for seed in 0..20 {
        let made = Made::new(seed);
        let whole = made.observed([COMMANDS, COMMANDS]);
        let keys = lasting(&whole);
        let damage: [(&str, Damage); 5] = [
            ("a tail twice", |found| found.value.extend_from_within(found.value.len() / 2..)),
            ("half a value", |found| found.value.truncate(found.value.len() / 2)),
            ("a flipped bit", |found| found.value[0] ^= 1),
            ("another expiry", |found| found.expires_ms = Some(found.expires_ms.unwrap_or(0) + 60_000)),
            ("no value", |found| found.value.clear()),
        ];
        for (what, damage) in damage {
            for promise in BOTH {
                let mut observed = made.observed([COMMANDS, COMMANDS]);
                damage(observed.keys[0].get_mut(&keys[seed as usize % keys.len()]).expect("it is there"));
                assert!(made.check(promise, 0, &observed).is_err(), "{what}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_torn_command_is_found() {
    let mut torn_renames = 0;
    for seed in 0..40 {
        let made = Made::new(seed);
        let sent = &made.histories[0].sent;
        for (position, sent) in sent.iter().enumerate().rev().take(100) {
            let several = matches!(sent.command, Command::MSet(..) | Command::Rename(..) | Command::Move(..));
            let (before, mut observed) = (made.observed([position, 0]), made.observed([position + 1, 0]));
            let changed: Vec<Key> = State::keys(0)
                .filter(|key| Class::of(key.name) != Class::Volatile)
                .filter(|key| before.keys[0].get(key) != observed.keys[0].get(key))
                .collect();
            if !several || changed.len() < 2 {
                continue;
            }
            torn_renames += usize::from(!matches!(sent.command, Command::MSet(..)));
            // One of its keys is as it was before.
            let key = changed[seed as usize % changed.len()];
            match before.keys[0].get(&key) {
                Some(value) => observed.keys[0].insert(key, value.clone()),
                None => observed.keys[0].remove(&key),
            };
            let made = Made {
                histories: vec![cut(&made.histories[0], position + 1), cut(&made.histories[1], 0)],
                shared: made.shared.clone(),
                begun: made.begun,
            };
            for promise in BOTH {
                let failure = made.check(promise, position, &observed).expect_err("the command is torn");
                assert!(promise == Promise::Prefix || failure.contains("is torn"), "{failure}");
            }
            break;
        }
    }
    assert!(torn_renames > 5, "{torn_renames}");
}

fn cut(history: &History, commands: usize) -> History {
    History { start: history.start.clone(), sent: history.sent[..commands].to_vec(), wrong_reply: None }
}

#[test]
fn a_shared_group_is_whole_and_as_new_as_it_has_to_be() {
    let made = Made::new(1);
    let whole = made.observed([COMMANDS, COMMANDS]);
    let group = (0..SHARED_GROUPS).find(|&group| whole.shared[group][0].is_some()).expect("one was written");
    for promise in BOTH {
        let mut observed = made.observed([COMMANDS, COMMANDS]);
        observed.shared[group][1] = None;
        let failure = made.check(promise, 0, &observed).expect_err("one of its keys is missing");
        assert!(failure.contains("is torn"), "{failure}");

        let mut observed = made.observed([COMMANDS, COMMANDS]);
        observed.shared[group].fill(None);
        assert!(made.check(promise, COMMANDS, &observed).is_err(), "an MSET that was acknowledged is missing");

        let mut observed = made.observed([COMMANDS, COMMANDS]);
        observed.shared[group].fill(Some(b"of nobody".to_vec()));
        let failure = made.check(promise, 0, &observed).expect_err("nobody wrote it");
        assert!(failure.contains("nobody wrote"), "{failure}");
    }
}

#[test]
fn slots_saved_one_after_another_are_accepted_without_a_journal() {
    // Every key at a point of its own, as long as no command on several keys lies between the points.
    let made = Made::new(3);
    let history = &made.histories[0];
    let several = |sent: &Sent| {
        matches!(
            sent.command,
            Command::MSet(..)
                | Command::Rename(..)
                | Command::Move(..)
                | Command::Del(_)
                | Command::FlushDb
                | Command::SwapDb(..)
        )
    };
    let quiet = history.sent.windows(8).rposition(|commands| !commands.iter().any(several)).expect("some quiet time");
    let made = Made {
        histories: vec![cut(history, quiet + 8), cut(&made.histories[1], 0)],
        shared: made.shared.clone(),
        begun: made.begun,
    };
    let mut random = StdRng::seed_from_u64(3);
    let points: Vec<Observed> = (0..=8).map(|more| made.observed([quiet + more, 0])).collect();
    let mut observed = made.observed([quiet + 8, 0]);
    let mixed: BTreeMap<Key, Found> = State::keys(0)
        .filter_map(|key| Some((key, points[random.random_range(0..points.len())].keys[0].get(&key)?.clone())))
        .collect();
    observed.keys[0] = mixed;
    assert_eq!(made.check(Promise::EachKey, 0, &observed), Ok(()));
}

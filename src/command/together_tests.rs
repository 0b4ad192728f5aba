//! Several commands over one access set: whole for others at every moment, and after every crash.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use crate::base::clock;
use crate::base::key_hash::HashSecret;
use crate::base::progress::Progress;
use crate::command::clients::{Client, Peer};
use crate::command::executor::Batch;
use crate::command::flow::{Cause, Flow};
use crate::command::session::Session;
use crate::command::state::State;
use crate::command::wait::{Outcome, Wait};
use crate::config::Settings;
use crate::keyspace::recovery;
use crate::keyspace::tier::{Tier, sync_policy};
use crate::protocol::Args;
use crate::reply::{Error, Tree};
use crate::store::journal::{Journal, Options, Replay};
use crate::store::rocks::{Rocks, RocksOptions};

/// A server without its network: on the data in `directory`, if there is one.
fn open(directory: Option<&Path>, flags: &[&str]) -> State {
    let args = ["rockpool", "--loader-threads", "0"].into_iter().chain(flags.iter().copied());
    let settings = Settings::load(args.map(Into::into), std::iter::empty()).expect("settings").settings;
    let (secret, settings) = (HashSecret::AesCmac([7; 16]), Arc::new(settings));
    let Some(directory) = directory else { return State::new(settings, secret, None) };
    let options = RocksOptions { create: true, ..RocksOptions::default() };
    let store = Rocks::open(&directory.join("rocksdb"), &options).expect("a store");
    let state = State::new(settings, secret, Some(Tier::new(store)));
    let tier = state.keyspace.tier().expect("a disk");
    recovery::adopt(&state.keyspace, &tier.store).expect("what was stored");
    let journal = recovery::replaying(&state.keyspace, 1, &Progress::default(), |replayer| {
        let options = Options { create: true, sync: sync_policy(&state.settings), ..Options::default() };
        let journal = Journal::open(&directory.join("journal"), options, replayer).expect("a journal");
        replayer.end().expect("a replay");
        journal
    });
    tier.begin_journal(journal, state.settings.appendonly.get());
    state
}

/// A client of the server, without a connection.
struct Caller<'s> {
    state: &'s State,
    session: Session,
}

impl Caller<'_> {
    fn new(state: &State) -> Caller<'_> {
        Caller { state, session: Session::new(Arc::new(Client::new(1, Peer::default(), clock::now_ms(), true))) }
    }

    /// Runs commands as one, and waits for the journal. Each is a line of words.
    fn together(&mut self, lines: &[String]) -> Vec<Tree> {
        let words: Vec<Vec<&[u8]>> = lines.iter().map(|line| words(line)).collect();
        let commands: Vec<Args<'_>> = words.iter().map(|words| Args::from_slices(words)).collect();
        match self.run(|batch, session, reply| batch.execute_together(session, &commands, reply)) {
            Tree::Array(replies) => replies,
            other => panic!("{other:?}"),
        }
    }

    fn command(&mut self, line: &str) -> Tree {
        let words = words(line);
        self.run(|batch, session, reply| batch.execute(session, Args::from_slices(&words), reply))
    }

    fn text(&mut self, line: &str) -> Option<String> {
        match self.command(line) {
            Tree::Bulk(bytes) => Some(String::from_utf8(bytes).expect("text")),
            Tree::Integer(number) => Some(number.to_string()),
            Tree::Null => None,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn run(
        &mut self,
        mut execute: impl FnMut(&mut Batch<'_>, &mut Session, &mut dyn crate::reply::Sink) -> Flow,
    ) -> Tree {
        loop {
            let mut batch = Batch::new(self.state);
            let mut flow = Flow::Continue;
            let reply = Tree::record(|sink| flow = execute(&mut batch, &mut self.session, sink));
            let commit = batch.take_commit();
            drop(batch);
            let mut context = Context::from_waker(Waker::noop());
            match flow {
                Flow::Wait(cause) => {
                    assert!(matches!(cause, Cause::Cold), "{cause:?}");
                    let mut wait = Wait::new(cause, self.state, &mut self.session);
                    let over = wait.poll(self.state, &mut self.session, false, &mut context);
                    assert!(matches!(over, std::task::Poll::Ready(Outcome::Over)), "the thread has read");
                }
                Flow::Continue | Flow::Close => {
                    while commit.poll(self.state.keyspace.tier(), &mut context).is_pending() {
                        std::thread::yield_now();
                    }
                    self.session.forget_cold();
                    return reply;
                }
            }
        }
    }
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// What makes the keys those of number `number` out of those of the number before it.
fn step(number: u64) -> Vec<String> {
    let before = number - 1;
    let lines = [
        format!("SET set {number}"),
        "INCR counter".to_owned(),
        "INCR text".to_owned(),
        format!("RENAME at:{before} at:{number}"),
        "APPEND length x".to_owned(),
        format!("SET present {number} XX"),
        "DEL other".to_owned(),
        format!("GETSET got {number}"),
        format!("MSET one {number} two {number}"),
        "FLUSHALL".to_owned(),
    ];
    lines.into()
}

#[test]
fn a_batch_looks_ahead_at_all_keys_of_its_commands() {
    let state = open(None, &[]);
    let mut session = Session::new(Arc::new(Client::new(1, Peer::default(), clock::now_ms(), true)));
    let lines = ["MSET a 1 b 2 c 3", "GET a", "MGET a b c a", "DEL a b", "EXISTS a b c", "COPY c d", "MGET a d"];
    let (all_words, mut batch) = (lines.map(words), Batch::new(&state));
    batch.look_ahead(&session, lines.len(), |number, look| look(Args::from_slices(&all_words[number])));
    let further = [2, 0, 3, 1, 2, 1, 1];
    let mut left = further.iter().sum::<usize>();
    let mut replies = Vec::new();
    for (words, keys) in all_words.iter().zip(further) {
        assert_eq!(batch.further_keys.len(), left, "{words:?}");
        replies.push(Tree::record(|sink| {
            batch.execute(&mut session, Args::from_slices(words), sink);
        }));
        left -= keys;
    }
    assert!(batch.further_keys.is_empty());
    let bulk = |text: &str| Tree::Bulk(text.as_bytes().to_vec());
    let expected = [
        Tree::Simple("OK".to_owned()),
        bulk("1"),
        Tree::Array(vec![bulk("1"), bulk("2"), bulk("3"), bulk("1")]),
        Tree::Integer(2),
        Tree::Integer(1),
        Tree::Integer(1),
        Tree::Array(vec![Tree::Null, bulk("3")]),
    ];
    assert_eq!(replies, expected);
    // More than the cache has room for are left to their command.
    let many: Vec<&[u8]> =
        std::iter::once(b"EXISTS".as_slice()).chain(std::iter::repeat_n(b"c".as_slice(), 1000)).collect();
    batch.look_ahead(&session, 2, |_, look| look(Args::from_slices(&many)));
    assert!(batch.further_keys.is_empty());
    let reply = Tree::record(|sink| {
        batch.execute(&mut session, Args::from_slices(&many), sink);
    });
    assert_eq!(reply, Tree::Integer(1000));
}

/// The keys of number 0.
const FIRST: &str = "MSET set 0 counter 0 text none at:0 v present 0 got 0 one 0 two 0";

/// The number that all keys are of; if it is not one, what they hold.
fn number(state: &State) -> Result<u64, String> {
    let mut caller = Caller::new(state);
    let numbers = ["GET set", "GET counter", "GET present", "GET got", "GET one", "GET two", "STRLEN length"];
    let found: Vec<Option<String>> = numbers.iter().map(|line| caller.text(line)).collect();
    let number = found[0].as_ref().and_then(|number| number.parse::<u64>().ok());
    let number = number.filter(|_| found.iter().all(|other| *other == found[0]));
    let number = number.ok_or_else(|| format!("{found:?}"))?;
    let names = [number.saturating_sub(1), number, number + 1].map(|number| format!("GET at:{number}"));
    let is_present = names.map(|name| caller.text(&name).is_some());
    if is_present != [number == 0, true, false] || caller.text("GET text").as_deref() != Some("none") {
        return Err(format!("{found:?}, and names of {number}: {is_present:?}"));
    }
    Ok(number)
}

fn check_replies(replies: &[Tree], number: u64) {
    let before = || Tree::Bulk((number - 1).to_string().into_bytes());
    let ok = || Tree::Simple("OK".to_owned());
    let expected = [
        ok(),
        Tree::Integer(number as i64),
        Tree::Error(Error::NOT_AN_INTEGER),
        ok(),
        Tree::Integer(number as i64),
        ok(),
        Tree::Integer(0),
        before(),
        ok(),
        Tree::Error(super::flow::NOT_AMONG_OTHERS),
    ];
    assert_eq!(replies, expected);
}

/// Others look at all keys at one moment, and rounds go on, while sets of commands change them.
fn nobody_sees_a_part(directory: Option<&Path>) {
    let state = open(directory, &[]);
    Caller::new(&state).command(FIRST);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut caller = Caller::new(&state);
                while !is_done.load(Ordering::Relaxed) {
                    let Tree::Array(values) = caller.command("MGET set counter present got one two") else {
                        panic!("no array")
                    };
                    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                }
            });
        }
        scope.spawn(|| {
            while state.keyspace.tier().is_some() && !is_done.load(Ordering::Relaxed) {
                state.keyspace.merge(clock::now_ms(), || true).expect("a round");
            }
        });
        let mut caller = Caller::new(&state);
        for number in 1..=300 {
            let replies = caller.together(&step(number));
            check_replies(&replies, number);
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(number(&state), Ok(300));
}

#[test]
fn commands_executed_as_one_are_seen_as_one() {
    nobody_sees_a_part(None);
    nobody_sees_a_part(Some(tempfile::tempdir().expect("a directory").path()));
}

#[test]
fn what_turns_out_to_be_cold_is_read_in_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let large = "v".repeat(100_000);
    let state = open(Some(directory.path()), &[]);
    Caller::new(&state).command(&format!("MSET first {large} second {large}"));
    state.keyspace.merge(clock::now_ms(), || true).expect("a round");
    state.keyspace.tier().expect("a disk").store.flush().expect("a table");
    drop(state);
    let state = open(Some(directory.path()), &[]);
    let mut caller = Caller::new(&state);
    let set = words("SET first 1 XX");
    let mut flow = Flow::Continue;
    let reply = Tree::record(|sink| {
        flow = Batch::new(&state).execute(&mut caller.session, Args::from_slices(&set), sink);
    });
    assert_eq!((flow, reply), (Flow::Wait(Cause::Cold), Tree::Null), "a command alone gives way");
    caller.session.forget_cold();
    // What SET uses its key for does not tell that it looks at it, so nothing is loaded before the first command runs.
    let lines = ["SET other 1", "SET first 1 XX", "SET absent 1 XX", "SET second 1 NX"];
    let replies = caller.together(&lines.map(str::to_owned));
    let ok = || Tree::Simple("OK".to_owned());
    assert_eq!(replies, [ok(), ok(), Tree::Null, Tree::Null]);
    assert_eq!(state.keyspace.loader.reads.get(), 0);
    assert_eq!(caller.text("GET first").as_deref(), Some("1"));
    assert_eq!(caller.text("GET second"), Some(large));
}

#[test]
fn commands_that_need_all_slots_are_refused_among_others_and_so_are_keys_of_another_database() {
    let state = open(None, &[]);
    let mut caller = Caller::new(&state);
    let lines = [
        "SET k 1",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "INFO",
        "SWAPDB 0 1",
        "CONFIG SET maxmemory 0",
        "MOVE k 1",
        "GET k",
    ];
    let replies = caller.together(&lines.map(str::to_owned));
    assert_eq!(replies[0], Tree::Simple("OK".to_owned()));
    for (line, reply) in lines.iter().zip(&replies).skip(1).take(7) {
        assert!(matches!(reply, Tree::Error(_)), "{line}: {reply:?}");
    }
    assert_eq!(replies[8], Tree::Bulk(b"1".to_vec()));
    let replies = caller.together(&["NOTHING".to_owned(), "GET".to_owned(), "DBSIZE".to_owned(), "PING".to_owned()]);
    assert!(matches!(&replies[..2], [Tree::Error(_), Tree::Error(_)]), "{replies:?}");
    assert_eq!(replies[2..], [Tree::Integer(1), Tree::Simple("PONG".to_owned())]);
}

/// What the other test would say of a journal that has each command for itself.
#[test]
fn a_part_is_noticed() {
    let state = open(None, &[]);
    let mut caller = Caller::new(&state);
    caller.command(FIRST);
    caller.together(&step(1));
    assert_eq!(number(&state), Ok(1));
    for line in &step(2)[..9] {
        caller.command(line);
        assert_eq!(number(&state).is_ok(), line.starts_with("MSET"), "after {line}");
    }
}

/// Killed in the middle of commands that are executed as one, or of what brings them to disk.
#[cfg(feature = "failpoints")]
mod crashes {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use super::*;

    /// What a child is told: its data, its number of the keys, where and at which time of passing by it is killed.
    const CHILD: &str = "ROCKPOOL_TOGETHER_CHILD";
    /// Where a child is killed, and at which times of passing by.
    const POINTS: &[(&str, &[usize])] = &[
        ("together::next", &[1, 4, 9]),
        ("together::end", &[2]),
        ("access_set::before_journal", &[3]),
        ("access_set::after_journal", &[3]),
        ("journal::write", &[2]),
        ("journal::sync", &[1]),
        ("rocks::write", &[1, 2]),
        ("rocks::flush", &[1]),
    ];
    /// Sets that a child executes, if it is not killed before.
    const STEPS: u64 = 20;

    /// Changes the keys again and again, and tells of each change that is acknowledged (`appendonly yes`), or in a round that
    /// is written (`no`).
    #[test]
    #[ignore = "it is a process that another test starts and kills"]
    fn child() {
        let Ok(words) = std::env::var(CHILD) else { return };
        let words: Vec<&str> = words.split(' ').collect();
        let [directory, first, point, times, flags @ ..] = &words[..] else { panic!("{words:?}") };
        let state = open(Some(Path::new(directory)), flags);
        let (first, times): (u64, usize) = (first.parse().expect("a number"), times.parse().expect("a number"));
        let tell = |number: u64| {
            let mut output = std::io::stdout().lock();
            writeln!(output, "told {number}").and_then(|()| output.flush()).expect("a parent");
        };
        let (is_done, acknowledged, passed) = (AtomicBool::new(false), AtomicU64::new(first), AtomicUsize::new(0));
        let point_name = point.to_owned();
        fail::cfg_callback(point_name, move || {
            if passed.fetch_add(1, Ordering::SeqCst) + 1 == times {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                std::thread::park();
            }
        })
        .expect("a failpoint");
        let is_journaling = state.settings.appendonly.get();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    let before = acknowledged.load(Ordering::SeqCst);
                    state.keyspace.merge(clock::now_ms(), || true).expect("a round");
                    if !is_journaling {
                        tell(before);
                    }
                }
            });
            let mut caller = Caller::new(&state);
            for number in first + 1..=first + STEPS {
                let replies = caller.together(&step(number));
                check_replies(&replies, number);
                acknowledged.store(number, Ordering::SeqCst);
                if is_journaling {
                    tell(number);
                }
            }
            is_done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn commands_executed_as_one_are_whole_or_absent_after_every_crash() {
        for flags in
            ["--appendonly yes --appendfsync always", "--appendonly yes --appendfsync everysec", "--appendonly no"]
        {
            let directory = tempfile::tempdir().expect("a directory");
            let reopened = || open(Some(directory.path()), &flags.split(' ').collect::<Vec<_>>());
            let state = reopened();
            Caller::new(&state).command(FIRST);
            state.keyspace.merge(clock::now_ms(), || true).expect("a round");
            drop(state);
            let (mut before, mut killed) = (0, 0);
            for (point, all_times) in POINTS {
                for times in *all_times {
                    let words = format!("{} {before} {point} {times} {flags}", directory.path().display());
                    let output = Command::new(std::env::current_exe().expect("this program"))
                        .args(["--exact", "command::together_tests::crashes::child", "--ignored", "--nocapture"])
                        .env(CHILD, &words)
                        .stderr(Stdio::inherit())
                        .output()
                        .expect("a child");
                    let is_killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
                    assert!(is_killed || output.status.success(), "{words}: {:?}", output.status);
                    killed += usize::from(is_killed);
                    let told = String::from_utf8_lossy(&output.stdout);
                    let told = told.lines().filter_map(|line| line.rsplit_once("told ")?.1.parse::<u64>().ok()).last();
                    let after = number(&reopened()).unwrap_or_else(|torn| panic!("{words}: torn: {torn}"));
                    assert!(after >= told.unwrap_or(before), "{words}: {told:?} was told, and {after} is there");
                    assert!(after <= before + STEPS, "{words}: {after}");
                    before = after;
                }
            }
            // Points that a policy does not pass kill nobody.
            assert!(killed >= 6, "{flags}: {killed}");
        }
    }
}

//! SIGKILL at random moments under concurrent writers: nothing that was acknowledged is missing after the next start,
//! nothing is there twice, no command on several keys is torn.
//!
//! `ROCKPOOL_CRASH_ROUNDS` is how many times servers are killed, over all four settings together, and
//! `ROCKPOOL_CRASH_SEED` the seed of it all, chosen by chance where it is not given. The seed decides what is sent and
//! how often; the moments are still the machine's. With `ROCKPOOL_CRASH_KEEP=DIR` a failure leaves the data directory as
//! it was when the server was killed.

mod durability;
mod support;

use durability::check::{Promise, Round};
use durability::model::{ballast_name, ballast_value};
use durability::observe::{Observed, observe};
use durability::subject::{Kind, Recipe, Subject};
use durability::workload::{History, Shape, unix_ms, write_until};
use durability::{from_environment, seed};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{Client, Engine, Value};

const WRITERS: usize = 4;
/// Keys that are there throughout, enough that the smaller limits of memory do not hold them.
const BALLAST: u32 = 4_000;
/// Of all settings together.
const ROUNDS: u64 = 200;

#[derive(Clone, Copy, Debug)]
struct Setting {
    kind: Kind,
    appendonly: bool,
    appendfsync: &'static str,
    /// More flags, of a server that does not keep what it is held to.
    flags: &'static [&'static str],
}

impl Setting {
    fn name(self) -> String {
        let Setting { kind, appendonly, appendfsync, .. } = self;
        let appendonly = if appendonly { "yes" } else { "no" };
        format!("{kind:?} appendonly {appendonly} appendfsync {appendfsync}")
    }
}

/// How a round goes, all of it decided by the seed.
#[derive(Debug)]
struct Plan {
    /// Of the start after the end.
    flags: Vec<String>,
    merge_interval_ms: u64,
    /// The end comes when so many commands were acknowledged, or after so long.
    acknowledged: usize,
    load_for: Duration,
    pause: Duration,
    disturbance: Option<Disturbance>,
    end: End,
    /// Kills while the next start is under way, each after so long.
    kills_of_start: Vec<Duration>,
}

#[derive(Debug)]
enum Disturbance {
    Appendfsync(&'static str),
    /// Off and on again.
    Appendonly,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

const FSYNCS: [&str; 3] = ["always", "everysec", "no"];

impl Plan {
    /// A plan for a server that runs with this merge interval now.
    fn of(setting: Setting, running_interval_ms: u64, random: &mut StdRng) -> Plan {
        let is_ours = matches!(setting.kind, Kind::Rockpool(_));
        let merge_interval_ms = *[5, 20, 100, 300].choose(random).expect("not empty");
        let mut flags = Vec::new();
        if is_ours {
            flags.extend(["--merge-interval".to_owned(), format!("{merge_interval_ms}")]);
            let maxmemory = *["0", "0", "3mb", "6mb", "64mb"].choose(random).expect("not empty");
            flags.extend(["--maxmemory".to_owned(), maxmemory.to_owned()]);
            // With little, rounds become tables.
            let maxdirty = *["64kb", "256kb", "32mb"].choose(random).expect("not empty");
            flags.extend(["--maxdirty".to_owned(), maxdirty.to_owned()]);
            // Far away, so that nothing is evicted; but with a limit there is an index of ages, and no round becomes a table.
            let maxdisk = *["0", "0", "1gb"].choose(random).expect("not empty");
            flags.extend(["--maxdisk".to_owned(), maxdisk.to_owned()]);
        }
        // Without a journal there is only something to find where a round is longer than what may be lost.
        let long = is_ours && !setting.appendonly && random.random_ratio(1, 6);
        let lossy_for = lossy_for(running_interval_ms);
        let (acknowledged, load_for, pause) = if long {
            (usize::MAX, lossy_for + Duration::from_millis(random.random_range(100..400)), Duration::from_millis(12))
        } else {
            let acknowledged = 10_f64.powf(random.random_range(0.0..4.0)) as usize;
            (acknowledged, Duration::from_millis(random.random_range(1..300)), Duration::ZERO)
        };
        let disturbance = match random.random_range(0..12) {
            0..2 if setting.appendonly && is_ours => {
                Some(Disturbance::Appendfsync(FSYNCS.choose(random).expect("not empty")))
            }
            // Not to everysec: with it redis-server postpones writes, acknowledged ones too, while a sync takes its time.
            0..2 if setting.appendonly => {
                Some(Disturbance::Appendfsync(["always", "no"].choose(random).expect("not empty")))
            }
            2 if setting.appendonly && is_ours => Some(Disturbance::Appendonly),
            _ => None,
        };
        let end = if is_ours && random.random_ratio(1, 16) { End::Terminate } else { End::Kill };
        let kills = if is_ours && random.random_ratio(1, 6) { random.random_range(1..=3) } else { 0 };
        let kills_of_start = (0..kills).map(|_| Duration::from_micros(random.random_range(0..80_000))).collect();
        Plan { flags, merge_interval_ms, acknowledged, load_for, pause, disturbance, end, kills_of_start }
    }
}

/// What a killed server without a journal may have lost: a pause of the merger, which is ten intervals at most, and its
/// round; generous, for machines under load.
fn lossy_for(merge_interval_ms: u64) -> Duration {
    Duration::from_millis(12 * merge_interval_ms + 1_000)
}

struct Story {
    setting: Setting,
    random: StdRng,
    directory: PathBuf,
    ballast: u32,
    observed: Observed,
    merge_interval_ms: u64,
    server: Option<Subject>,
}

impl Story {
    fn recipe(&self) -> Recipe {
        let appendonly = if self.setting.appendonly { "yes" } else { "no" };
        Recipe::new(self.setting.kind, &["--appendonly", appendonly, "--appendfsync", self.setting.appendfsync])
            .with_flags(self.setting.flags)
    }

    /// Starts a server on an empty directory and brings in the keys that nobody changes.
    fn begin(setting: Setting, seed: u64, directory: &Path, ballast: u32) -> Story {
        let mut story = Story {
            setting,
            random: StdRng::seed_from_u64(seed),
            directory: directory.to_owned(),
            ballast,
            observed: Observed::default(),
            merge_interval_ms: 500,
            server: None,
        };
        let mut server = story.recipe().start(directory).unwrap_or_else(|failure| panic!("{failure}"));
        let client = &mut server.client();
        let numbers: Vec<u32> = (0..ballast).collect();
        for chunk in numbers.chunks(200) {
            let commands: Vec<[Vec<u8>; 3]> = chunk
                .iter()
                .map(|&number| [b"SET".to_vec(), ballast_name(number).into_bytes(), ballast_value(number)])
                .collect();
            assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
        }
        // An orderly end keeps them by any setting.
        server.terminate();
        story.server = Some(story.recipe().start(directory).unwrap_or_else(|failure| panic!("{failure}")));
        story.observed = story.look().unwrap_or_else(|what| panic!("before the first round: {what}"));
        story
    }

    fn look(&mut self) -> Result<Observed, String> {
        let server = self.server.as_ref().expect("it runs");
        observe(&mut server.client(), WRITERS, self.ballast, matches!(self.setting.kind, Kind::Rockpool(_)))
    }

    /// Loads the server, ends it as the plan says, starts it again, and looks at what is there.
    fn round(&mut self) -> Result<(), String> {
        let plan = Plan::of(self.setting, self.merge_interval_ms, &mut self.random);
        let seeds: Vec<u64> = (0..WRITERS).map(|_| self.random.random()).collect();
        let kept_copy = std::env::var_os("ROCKPOOL_CRASH_KEEP").map(PathBuf::from);
        let (histories, ended, end_ms) = self.load(&plan, &seeds);
        if let Some(copy) = &kept_copy {
            copy_tree(&self.directory, copy);
        }
        for &after in &plan.kills_of_start {
            let end = Instant::now() + after;
            self.recipe().start_and_kill(&self.directory, || Instant::now() >= end);
        }
        let flags: Vec<&str> = plan.flags.iter().map(String::as_str).collect();
        let started = self.recipe().with_flags(&flags).start(&self.directory);
        self.server = Some(started.map_err(|failure| format!("no start after the end: {failure}; {plan:?}"))?);
        let observed = self.look().map_err(|what| format!("{what}; {plan:?}"))?;
        let lossy = !self.setting.appendonly && plan.end == End::Kill;
        let round = Round {
            promise: if lossy { Promise::EachKey } else { Promise::Prefix },
            histories: &histories,
            kept_before: if lossy {
                ended - lossy_for(self.merge_interval_ms)
            } else {
                ended + Duration::from_secs(3_600)
            },
            end_ms,
            shared_before: &self.observed.shared,
            observed: &observed,
        };
        round.check().map_err(|what| format!("{what}; {plan:?}"))?;
        self.observed = observed;
        self.merge_interval_ms = plan.merge_interval_ms;
        Ok(())
    }

    fn load(&mut self, plan: &Plan, seeds: &[u64]) -> (Vec<History>, Instant, i64) {
        let server = self.server.as_mut().expect("it runs");
        let address = server.address();
        let shape = Shape { pause: plan.pause, ballast: self.ballast };
        let (histories, (ended, end_ms)) = write_until(address, &self.observed, seeds, shape, |progress| {
            let acknowledged = || progress.acknowledged.load(Ordering::Relaxed);
            let all_finished = || progress.finished.load(Ordering::SeqCst) == WRITERS;
            let end = Instant::now() + plan.load_for;
            if let Some(disturbance) = &plan.disturbance {
                wait_until(end, || acknowledged() >= plan.acknowledged / 2 || all_finished());
                disturb(&mut Client::connect(address), disturbance);
            }
            let is_long = plan.acknowledged == usize::MAX;
            wait_until(end, || acknowledged() >= plan.acknowledged || (all_finished() && !is_long));
            let ended = Instant::now();
            match plan.end {
                End::Kill => server.kill(),
                End::Terminate => server.terminate(),
            }
            (ended, unix_ms())
        });
        (histories, ended, end_ms)
    }
}

fn disturb(client: &mut Client, disturbance: &Disturbance) {
    let settings: &[(&str, &str)] = match disturbance {
        Disturbance::Appendfsync(value) => &[("appendfsync", *value)],
        Disturbance::Appendonly => &[("appendonly", "no"), ("appendonly", "yes")],
    };
    for (name, value) in settings {
        assert_eq!(client.command(&["CONFIG", "SET", name, value]), Value::ok(), "{name} {value}");
    }
}

/// Like [`support::eventually`], and as exact as the scheduler: moments of kills must not fall into a pattern.
fn wait_until(end: Instant, condition: impl Fn() -> bool) {
    while !condition() && Instant::now() < end {
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn copy_tree(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = std::process::Command::new("cp").arg("-a").arg("--sparse=always").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "cannot copy {} to {}", from.display(), to.display());
}

fn run(setting: Setting, rounds: u64, ballast: u32, seed: u64) -> Result<(), String> {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let mut story = Story::begin(setting, seed, &directory.path().join("data"), ballast);
    for round in 0..rounds {
        story.round().map_err(|what| {
            let log = story.server.as_ref().map_or(String::new(), |server| format!("\n--- log\n{}", server.log()));
            format!("{}: round {round} of {rounds}, ROCKPOOL_CRASH_SEED={seed}: {what}{log}", setting.name())
        })?;
    }
    Ok(())
}

fn run_all(appendonly: bool, appendfsync: &'static str) {
    let rounds = from_environment("ROCKPOOL_CRASH_ROUNDS").unwrap_or(ROUNDS).div_ceil(4);
    let setting = Setting { kind: Kind::Rockpool(Engine::Rocksdb), appendonly, appendfsync, flags: &[] };
    run(setting, rounds, BALLAST, seed("ROCKPOOL_CRASH_SEED")).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn with_appendfsync_always_nothing_acknowledged_is_lost() {
    run_all(true, "always");
}

#[test]
fn with_appendfsync_everysec_nothing_acknowledged_is_lost() {
    run_all(true, "everysec");
}

#[test]
fn with_appendfsync_no_nothing_acknowledged_is_lost() {
    run_all(true, "no");
}

#[test]
fn without_a_journal_at_most_the_last_round_is_lost() {
    run_all(false, "everysec");
}

/// The same, asked of redis-server: what is demanded of the journal is what Redis's own gives (but for everysec).
#[test]
fn redis_server_passes_with_its_journal() {
    let setting = Setting { kind: Kind::Redis, appendonly: true, appendfsync: "no", flags: &[] };
    run(setting, 5, 100, seed("ROCKPOOL_CRASH_SEED")).unwrap_or_else(|failure| panic!("{failure}"));
}

/// A server that forgets everything must be found out in the first round in which anything was acknowledged.
#[test]
fn a_server_that_forgets_is_found_out() {
    let setting = Setting { kind: Kind::Redis, appendonly: true, appendfsync: "no", flags: &["--appendonly", "no"] };
    let failure =
        run(setting, 20, 0, seed("ROCKPOOL_CRASH_SEED")).expect_err("without its journal redis-server forgets");
    assert!(failure.contains("must have been kept"), "{failure}");
}

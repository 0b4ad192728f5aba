//! Power cuts, made up below the file: writes that were not synced are lost, in any order and in part, and names with
//! them. What the journal promised to have synced is there after the next start all the same, which needs no repair.
//!
//! The server runs with a library before libc's that records what it does to its files (`shim.c`); at a random moment it
//! is killed, and from the record a state is made that a disk may be left in (`disk.rs`). It sees what goes through libc,
//! as everything of std and RocksDB does; a system call made without it would go unseen.
//!
//! `ROCKPOOL_POWER_CUTS` is the number of rounds for each policy, `ROCKPOOL_POWER_CUT_SEED` the seed of it all, chosen by
//! chance where it is not given. With `ROCKPOOL_POWER_CUT_KEEP=DIR` a failure leaves the data directory as the cut left it.

mod disk;
#[path = "../durability/mod.rs"]
mod durability;
mod record;
#[path = "../support/mod.rs"]
mod support;

use disk::Disk;
use durability::check::{Promise, Round};
use durability::observe::{Observed, observe};
use durability::subject::{Kind, Recipe, Subject};
use durability::workload::{History, Shape, unix_ms, write_until};
use durability::{from_environment, seed};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::Engine;
use tempfile::TempDir;

const WRITERS: usize = 3;
const ROUNDS: u64 = 12;
/// Syncs take up to so long instead of reaching the device.
const LONGEST_SYNC_US: &str = "3000";
/// What `everysec` may lose.
const EVERYSEC_LOSS: Duration = Duration::from_secs(2);

/// The library, compiled once.
fn shim() -> &'static Path {
    static SHIM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let directory = TempDir::new().expect("a temporary directory");
        let path = directory.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power_cut/shim.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&path).arg(source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc cannot compile the shim");
        (directory, path)
    });
    path
}

/// A directory whose changes are followed from its beginning.
struct Followed {
    _temporary: TempDir,
    root: PathBuf,
    log: PathBuf,
    disk: Disk,
}

impl Followed {
    fn new() -> Followed {
        let temporary = TempDir::new().expect("a temporary directory");
        let path = temporary.path().canonicalize().expect("a path without links");
        let (root, log) = (path.join("data"), path.join("record"));
        std::fs::create_dir(&root).expect("a directory");
        Followed { _temporary: temporary, root, log, disk: Disk::default() }
    }

    fn environment(&self) -> [(&str, &str); 4] {
        let text = |path: &'static Path| path.to_str().expect("text");
        [
            ("LD_PRELOAD", text(shim())),
            ("POWER_CUT_DIRECTORY", self.root.to_str().expect("text")),
            ("POWER_CUT_LOG", self.log.to_str().expect("text")),
            ("POWER_CUT_SYNC_US", LONGEST_SYNC_US),
        ]
    }

    /// Takes in what the process did, which has ended.
    fn follow(&mut self) {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let _ = std::fs::remove_file(&self.log);
        self.disk.follow(record::read(&bytes, &self.root));
    }

    /// Cuts the power now, and leaves the directory as it then is.
    fn cut(&mut self, in_order: bool, random: &mut StdRng) {
        self.disk = self.disk.cut(in_order, random);
        self.disk.save(&self.root);
        for part in ["rocksdb", "journal"] {
            end_boot(&self.root.join(part).join("MARK"));
        }
    }
}

/// Has a mark be of an earlier boot of the machine, as a power cut does: it holds a magic of 8 bytes, the boot's identity of 16,
/// a count and so many numbers of 8 bytes, and a checksum.
fn end_boot(path: &Path) {
    let Ok(mut bytes) = std::fs::read(path) else { return };
    let count = u32::from_le_bytes(bytes[24..28].try_into().expect("4 bytes")) as usize;
    let end = 28 + 8 * count;
    bytes[8..24].fill(1);
    let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&checksum);
    std::fs::write(path, bytes).expect("a mark");
}

struct Story {
    recipe: Recipe,
    /// How long ago something was acknowledged that may be lost.
    lossy_for: Option<Duration>,
    /// Redis's log has no checksums: it is read up to where it ends.
    in_order: bool,
    followed: Followed,
    random: StdRng,
    observed: Observed,
}

/// What is to be judged once the server runs again.
struct Load {
    histories: Vec<History>,
    kept_before: Instant,
    end_ms: i64,
}

impl Story {
    fn new(recipe: Recipe, lossy_for: Option<Duration>, seed: u64) -> Story {
        let in_order = recipe.kind == Kind::Redis;
        let followed = Followed::new();
        let random = StdRng::seed_from_u64(seed);
        Story { recipe, lossy_for, in_order, followed, random, observed: Observed::default() }
    }

    fn start(&mut self) -> Result<Subject, String> {
        let mut recipe = self.recipe.with_environment(&self.followed.environment());
        if matches!(recipe.kind, Kind::Rockpool(_)) {
            // With little, rounds become tables.
            let maxdirty = ["64kb", "32mb"].choose(&mut self.random).expect("not empty");
            // Far away; but there is an index of ages, and no round becomes a table.
            let maxdisk = ["0", "0", "1gb"].choose(&mut self.random).expect("not empty");
            recipe = recipe.with_flags(&["--maxdirty", maxdirty, "--maxdisk", maxdisk]);
        }
        recipe.start(&self.followed.root)
    }

    /// Starts on what the cut before has left, judges it, loads the server, and cuts the power.
    fn round(&mut self, before: Option<&Load>) -> Result<Load, String> {
        let mut server = self.start().map_err(|failure| format!("no start after the cut: {failure}"))?;
        self.judge(&server, before).map_err(|what| format!("{what}\n--- log\n{}", server.log()))?;
        let load = self.load(&mut server);
        self.followed.follow();
        self.followed.cut(self.in_order, &mut self.random);
        // The power may fail again while the server starts.
        while self.random.random_ratio(1, 4) {
            let recipe = self.recipe.with_environment(&self.followed.environment());
            let end = Instant::now() + Duration::from_micros(self.random.random_range(0..150_000));
            recipe.start_and_kill(&self.followed.root, || Instant::now() >= end);
            self.followed.follow();
            self.followed.cut(self.in_order, &mut self.random);
        }
        Ok(load)
    }

    fn judge(&mut self, server: &Subject, before: Option<&Load>) -> Result<(), String> {
        let is_ours = matches!(self.recipe.kind, Kind::Rockpool(_));
        let observed = observe(&mut server.client(), WRITERS, 0, is_ours)?;
        if let Some(load) = before {
            let round = Round {
                promise: Promise::Prefix,
                histories: &load.histories,
                kept_before: load.kept_before,
                end_ms: load.end_ms,
                shared_before: &self.observed.shared,
                observed: &observed,
            };
            round.check()?;
        }
        self.observed = observed;
        Ok(())
    }

    fn load(&mut self, server: &mut Subject) -> Load {
        let seeds: Vec<u64> = (0..WRITERS).map(|_| self.random.random()).collect();
        let (acknowledged, load_for, pause) = match self.lossy_for {
            // Long enough that something must be kept, and not so fast that the record grows large.
            Some(lossy_for) => {
                let more = Duration::from_millis(self.random.random_range(100..2_000));
                (usize::MAX, lossy_for + more, Duration::from_millis(20))
            }
            None => {
                let acknowledged = 10_f64.powf(self.random.random_range(0.0..3.7)) as usize;
                (acknowledged, Duration::from_secs(2), Duration::from_millis(self.random.random_range(0..3)))
            }
        };
        let terminates = self.random.random_ratio(1, 8);
        let shape = Shape { pause, ballast: 0 };
        let address = server.address();
        let (histories, (ended, end_ms)) = write_until(address, &self.observed, &seeds, shape, |progress| {
            let end = Instant::now() + load_for;
            while progress.acknowledged.load(Ordering::Relaxed) < acknowledged && Instant::now() < end {
                std::thread::sleep(Duration::from_micros(50));
            }
            let ended = Instant::now();
            if terminates {
                server.terminate();
            } else {
                server.kill();
            }
            (ended, unix_ms())
        });
        // An orderly end syncs everything.
        let kept_before = match self.lossy_for {
            Some(lossy_for) if !terminates => ended - lossy_for,
            _ => ended + Duration::from_secs(3_600),
        };
        Load { histories, kept_before, end_ms }
    }
}

fn run(recipe: Recipe, lossy_for: Option<Duration>, rounds: u64) -> Result<(), String> {
    let seed = seed("ROCKPOOL_POWER_CUT_SEED");
    let mut story = Story::new(recipe, lossy_for, seed);
    let mut load = None;
    for round in 0..=rounds {
        let done = story.round(load.as_ref());
        load = Some(done.map_err(|what| {
            if let Some(directory) = std::env::var_os("ROCKPOOL_POWER_CUT_KEEP") {
                story.followed.disk.save(Path::new(&directory));
            }
            format!("{:?}: cut {round} of {rounds}, ROCKPOOL_POWER_CUT_SEED={seed}: {what}", story.recipe.flags)
        })?);
    }
    Ok(())
}

fn rounds() -> u64 {
    from_environment("ROCKPOOL_POWER_CUTS").unwrap_or(ROUNDS)
}

const ROCKPOOL: Kind = Kind::Rockpool(Engine::Rocksdb);

#[test]
fn with_appendfsync_always_a_power_cut_loses_nothing_acknowledged() {
    let recipe = Recipe::new(ROCKPOOL, &["--appendonly", "yes", "--appendfsync", "always"]);
    run(recipe, None, rounds()).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn with_appendfsync_everysec_a_power_cut_loses_two_seconds_at_most() {
    let recipe = Recipe::new(ROCKPOOL, &["--appendonly", "yes", "--appendfsync", "everysec"]);
    run(recipe, Some(EVERYSEC_LOSS), rounds()).unwrap_or_else(|failure| panic!("{failure}"));
}

/// What is demanded is what redis-server gives, where its log is cut in order.
#[test]
fn redis_server_passes_with_appendfsync_always() {
    let recipe = Recipe::new(Kind::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    run(recipe, None, 5).unwrap_or_else(|failure| panic!("{failure}"));
}

/// A server that acknowledges before it has synced must be found out.
#[test]
fn a_server_that_does_not_sync_is_found_out() {
    let recipe = Recipe::new(Kind::Redis, &["--appendonly", "yes", "--appendfsync", "no"]);
    let failure = run(recipe, None, 30).expect_err("redis-server does not sync its log");
    assert!(failure.contains("must have been kept"), "{failure}");
}

/// Runs a Python program in a directory that is followed; `f(name)` opens a file for writing.
fn probe(program: &str) -> Followed {
    let mut followed = Followed::new();
    let prelude = "import os\nf = lambda name: os.open(name, os.O_RDWR | os.O_CREAT)\nd = os.open('.', os.O_RDONLY)\n";
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("{prelude}{program}")).current_dir(&followed.root);
    let status = command.envs(followed.environment()).status().expect("python3 is there");
    assert!(status.success(), "{program}");
    followed.follow();
    followed
}

/// The contents that `name` may have after a cut, in many tries.
fn contents(followed: &Followed, name: &str) -> Vec<Option<Vec<u8>>> {
    let mut random = StdRng::seed_from_u64(1);
    let mut contents: Vec<_> = (0..400).map(|_| followed.disk.cut(false, &mut random).content(name)).collect();
    contents.sort();
    contents.dedup();
    contents
}

#[test]
fn what_is_not_synced_may_be_lost_and_what_is_synced_never_is() {
    let lines = "b'one' * 400, b'two' * 400";
    let unsynced = contents(&probe(&format!("a = f('a')\nfor line in {lines}: os.write(a, line)")), "a");
    let all = [b"one".repeat(400), b"two".repeat(400)].concat();
    assert!(unsynced.contains(&None) && unsynced.contains(&Some(vec![])) && unsynced.contains(&Some(all.clone())));
    // Parts, too: the second without the first.
    assert!(unsynced.iter().flatten().any(|content| content.starts_with(&[0; 512]) && content.ends_with(b"two")));

    for sync in ["os.fdatasync(a)", "os.fsync(a)", "os.fdatasync(a); os.close(a); os.fsync(d)"] {
        let synced = contents(&probe(&format!("a = f('a')\nfor line in {lines}: os.write(a, line)\n{sync}")), "a");
        assert_eq!(synced, [Some(all.clone())], "{sync}");
    }
    let in_part = contents(&probe("a = f('a')\nos.write(a, b'one')\nos.fdatasync(a)\nos.write(a, b'two')"), "a");
    assert!(in_part.iter().flatten().all(|content| content.starts_with(b"one")), "{in_part:?}");
    assert!(in_part.len() > 1 && !in_part.contains(&None));
}

#[test]
fn every_way_to_write_is_seen() {
    let ways = [
        ("os.pwrite(a, b'xy', 1)", b"\0xy".to_vec()),
        ("os.writev(a, [b'x', b'y'])", b"xy".to_vec()),
        ("os.pwritev(a, [b'x', b'y'], 2)", b"\0\0xy".to_vec()),
        ("os.pwritev(a, [b'xy'], 0, os.RWF_DSYNC)", b"xy".to_vec()),
        ("os.posix_fallocate(a, 0, 3)", vec![0; 3]),
        ("os.write(a, b'xyz'); os.ftruncate(a, 1)", b"x".to_vec()),
        ("os.ftruncate(a, 2)", vec![0; 2]),
        ("os.lseek(a, 2, 0); os.write(a, b'x')", b"\0\0x".to_vec()),
        ("b = os.open('a', os.O_WRONLY | os.O_APPEND); os.write(a, b'x'); os.write(b, b'y')", b"xy".to_vec()),
        ("b = os.dup(a); os.write(b, b'x'); os.write(a, b'y')", b"xy".to_vec()),
        ("os.write(a, b'xyz'); b = os.open('a', os.O_WRONLY | os.O_TRUNC); os.write(b, b'y')", b"y".to_vec()),
        ("open('a', 'wb', buffering=0).write(b'xy')", b"xy".to_vec()),
    ];
    for (way, expected) in ways {
        assert_eq!(contents(&probe(&format!("a = f('a')\n{way}\nos.fsync(a)")), "a"), [Some(expected)], "{way}");
    }
    let stream = "import ctypes; c = ctypes.CDLL(None); c.fopen.restype = ctypes.c_void_p\n\
                  s = ctypes.c_void_p(c.fopen(b'a', b'w')); c.fputs(b'xy', s); c.fflush(s)\n";
    assert_eq!(contents(&probe(&format!("{stream}c.fsync(c.fileno(s))")), "a"), [Some(b"xy".to_vec())]);
    assert_eq!(contents(&probe(stream), "a"), [None, Some(vec![])]);
    let by_itself = "a = os.open('a', os.O_WRONLY | os.O_CREAT | os.O_DSYNC)\nos.fsync(d)\nos.write(a, b'xy')";
    assert_eq!(contents(&probe(by_itself), "a"), [Some(b"xy".to_vec())]);
}

#[test]
fn names_are_old_or_new_until_they_are_synced() {
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    let expect = |program: &str, name: &str, expected: &[&Option<Vec<u8>>]| {
        let contents = contents(&probe(program), name);
        assert_eq!(contents.iter().collect::<Vec<_>>(), expected, "{name} after {program}");
    };
    let prepare = "a = f('a'); os.write(a, b'old'); os.fsync(a); os.fsync(d)\n\
                   b = f('b'); os.write(b, b'new'); os.fsync(b); os.rename('b', 'a')\n";
    expect(prepare, "a", &[&new, &old]);
    expect(&format!("{prepare}os.fsync(d)"), "a", &[&new]);
    expect(&format!("{prepare}os.fsync(d)"), "b", &[&None]);

    let removed = "a = f('a'); os.write(a, b'old'); os.fsync(a); os.unlink('a')\n";
    expect(removed, "a", &[&None, &old]);
    expect(&format!("{removed}os.fsync(d)"), "a", &[&None]);

    let below = "os.mkdir('x'); os.mkdir('x/y'); a = f('x/y/a'); os.write(a, b'old')\n";
    assert!(contents(&probe(below), "x/y/a").contains(&None));
    expect(&format!("{below}os.fsync(a)"), "x/y/a", &[&old]);
    let moved = format!("{below}os.fsync(a); os.rename('x', 'z'); os.fsync(d)\n");
    expect(&moved, "z/y/a", &[&old]);
    expect(&moved, "x/y/a", &[&None]);

    let linked = "a = f('a'); os.write(a, b'old'); os.fsync(a); os.link('a', 'b'); os.fsync(d); os.unlink('a')";
    expect(linked, "b", &[&old]);
}

#[test]
fn a_directory_is_left_as_the_cut_says() {
    let mut followed =
        probe("os.mkdir('x'); a = f('x/a'); os.pwrite(a, b'y' * 5000, 100_000); os.fsync(a); os.link('x/a', 'b')");
    followed.cut(false, &mut StdRng::seed_from_u64(3));
    let saved = std::fs::read(followed.root.join("x/a")).expect("it was synced");
    assert_eq!(Some(&saved), followed.disk.content("x/a").as_ref());
    assert_eq!((saved.len(), saved.iter().filter(|&&byte| byte == b'y').count()), (105_000, 5_000));
    // And what is done to it from there on is followed.
    let mut random = StdRng::seed_from_u64(4);
    let before = followed.disk.cut(false, &mut random).content("x/a");
    assert_eq!(before, Some(saved));
}

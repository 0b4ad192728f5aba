//! Damage to any file of a data directory: the start is refused with one line, or nothing is lost that was acknowledged.
//!
//! A server fills a directory with what ends in tables, blob files, logs and the journal, and is killed. Copies of the directory
//! are then damaged, one file in each and in one way, and a server is started on them. What it then answers is right, or an
//! error that says so; nothing else.
//!
//! `ROCKPOOL_DAMAGE_SEED` is the seed of where files are cut and bits changed.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use support::{Client, Engine, Http, PATIENCE, Server, Value, eventually};

/// So many copies are tried at a time.
const THREADS: usize = 2;

/// What is to be found: each key's value, `None` if it was deleted.
type Expected = BTreeMap<String, Option<Vec<u8>>>;

/// A directory as a killed server has left it.
struct Template {
    place: tempfile::TempDir,
    flags: Vec<&'static str>,
    expected: Expected,
}

impl Template {
    fn now(&self) -> PathBuf {
        self.place.path().join("now")
    }

    /// The directory some time before.
    fn before(&self) -> PathBuf {
        self.place.path().join("before")
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Gone,
    CutAt(u64),
    Bit(u64, u8),
    /// These bytes behind its end.
    Longer(Vec<u8>),
    /// As it was before.
    Older,
}

fn start(directory: &Path, flags: &[&str]) -> Result<Server, String> {
    let options = Server::options(Engine::Rocksdb).directory(directory);
    flags.iter().fold(options, |options, flag| options.flag(*flag)).try_start()
}

fn value(random: &mut StdRng, number: usize) -> Vec<u8> {
    let length = match number % 40 {
        0 => random.random_range(4096..40_000),
        1..8 => random.random_range(200..2000),
        _ => random.random_range(0..100),
    };
    (0..length).map(|_| random.random()).collect()
}

/// Sets some keys, new ones and such that are there, and deletes some.
fn change(client: &mut Client, random: &mut StdRng, expected: &mut Expected, count: usize) {
    let mut commands = Vec::new();
    for number in 0..count {
        let name = format!("key:{}", random.random_range(0..3000));
        if number % 10 == 9 {
            commands.push(vec![b"DEL".to_vec(), name.clone().into_bytes()]);
            expected.insert(name, None);
        } else {
            let value = value(random, number);
            commands.push(vec![b"SET".to_vec(), name.clone().into_bytes(), value.clone()]);
            expected.insert(name, Some(value));
        }
    }
    for commands in commands.chunks(37) {
        assert!(client.pipeline(commands).iter().all(|reply| !reply.is_error()));
    }
}

/// Whether everything has been brought to RocksDB.
fn wait_until_merged(client: &mut Client) {
    assert!(eventually(PATIENCE, || client.is_merged()), "{}", client.command(&["INFO", "tiering"]).text());
}

fn make(flags: &[&'static str], seed: u64) -> Template {
    let template =
        Template { place: tempfile::tempdir().expect("a directory"), flags: flags.to_vec(), expected: Expected::new() };
    let mut template = template;
    let (mut random, journals) = (StdRng::seed_from_u64(seed), flags.contains(&"yes"));
    let (now, before) = (template.now(), template.before());
    let expected = &mut template.expected;
    // An orderly end leaves tables.
    let mut server = start(&now, flags).expect("it starts");
    change(&mut server.client(), &mut random, expected, 3000);
    assert!(server.terminate().success(), "{}", server.log());
    // A kill leaves logs.
    let mut server = start(&now, flags).expect("it starts");
    let client = &mut server.client();
    change(client, &mut random, expected, 800);
    wait_until_merged(client);
    server.kill();
    let mut server = start(&now, flags).expect("it starts");
    let client = &mut server.client();
    change(client, &mut random, expected, 800);
    wait_until_merged(client);
    copy(&now, &before);
    change(client, &mut random, expected, 800);
    if !journals {
        wait_until_merged(client);
    }
    server.kill();
    template
}

/// Copies what is there, and leaves holes where zeros are.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("entries") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else if let Ok(bytes) = fs::read(&path) {
            // RocksDB may have removed it meanwhile.
            let file = fs::File::create(&target).expect("a file");
            file.set_len(bytes.len() as u64).expect("a length");
            for (index, piece) in
                bytes.chunks(4096).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0))
            {
                file.write_all_at(piece, index as u64 * 4096).expect("written");
            }
        }
    }
}

/// The paths of all files below, from there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in ["", "rocksdb", "journal"] {
        for entry in fs::read_dir(directory.join(part)).expect("entries") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                found.push(path.strip_prefix(directory).expect("below it").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Up to where a file has anything but zeros.
fn used_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

fn damages(template: &Template, file: &Path, random: &mut StdRng) -> Vec<Damage> {
    let bytes = fs::read(template.now().join(file)).expect("a file");
    let (length, used) = (bytes.len() as u64, used_bytes(&bytes));
    let mut damages =
        vec![Damage::Gone, Damage::CutAt(0), Damage::Longer(vec![0xa5; 100]), Damage::Longer(bytes.clone())];
    let mut cuts = vec![length.saturating_sub(1), used.saturating_sub(1), used / 2, 1];
    cuts.extend((0..2).filter(|_| used > 0).map(|_| random.random_range(0..used)));
    cuts.sort_unstable();
    cuts.dedup();
    damages.extend(cuts.into_iter().filter(|cut| (1..length).contains(cut)).map(Damage::CutAt));
    if used > 0 {
        let mut bits = vec![0, used - 1];
        bits.extend((0..3).map(|_| random.random_range(0..used)));
        damages.extend(bits.into_iter().map(|at| Damage::Bit(at, random.random_range(0..8))));
    }
    if fs::read(template.before().join(file)).is_ok_and(|older| older != bytes) {
        damages.push(Damage::Older);
    }
    // Nothing is kept in these. Some of all that can be is tried each time.
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if ["LOCK", "LOG", "OPTIONS", "IDENTITY"].iter().any(|begin| name.starts_with(begin)) {
        damages.shuffle(random);
        damages.truncate(2);
    }
    damages
}

fn apply(damage: &Damage, template: &Template, directory: &Path, file: &Path) {
    let path = directory.join(file);
    let open = || OpenOptions::new().read(true).write(true).open(&path).expect("a file");
    match damage {
        Damage::Gone => fs::remove_file(&path).expect("removed"),
        Damage::CutAt(length) => open().set_len(*length).expect("cut"),
        Damage::Bit(at, bit) => {
            let (file, mut byte) = (open(), [0]);
            file.read_exact_at(&mut byte, *at).expect("a byte");
            file.write_all_at(&[byte[0] ^ 1 << bit], *at).expect("written");
        }
        Damage::Longer(more) => {
            let file = open();
            file.write_all_at(more, file.metadata().expect("a length").len()).expect("written");
        }
        Damage::Older => drop(fs::copy(template.before().join(file), &path).expect("copied")),
    }
}

/// The line that says why it does not start, or what is wrong with the refusal.
fn refusal(failure: &str) -> Result<String, String> {
    let lines: Vec<&str> = failure.lines().skip(1).filter(|line| !line.contains(" INFO ")).collect();
    let has_ended = failure.lines().next().is_some_and(|line| line.contains("ended with exit status: 1"));
    match lines[..] {
        [line] if has_ended => Ok(line.to_owned()),
        _ => Err(format!("it is not refused with one line: {failure}")),
    }
}

/// How many keys are answered with an error; an `Err` tells of one that is wrong without one.
fn judge(server: &Server, expected: &Expected) -> Result<usize, String> {
    let mut client = server.client();
    let (mut errors, mut wrong) = (0, Vec::new());
    for chunk in expected.iter().collect::<Vec<_>>().chunks(200) {
        let commands: Vec<[&str; 2]> = chunk.iter().map(|(name, _)| ["GET", name.as_str()]).collect();
        for ((name, value), reply) in chunk.iter().zip(client.pipeline(&commands)) {
            let right = value.as_ref().map_or(Value::Null, Value::bulk);
            match reply {
                reply if reply == right => {}
                reply if reply.is_error() => errors += 1,
                reply => wrong.push(format!("{name}: {} instead of {}", short(&reply), short(&right))),
            }
        }
    }
    match wrong.first() {
        None => Ok(errors),
        Some(first) => Err(format!("{} keys are wrong, the first {first}", wrong.len())),
    }
}

fn short(value: &Value) -> String {
    format!("{value:?}").chars().take(60).collect()
}

/// What became of a start: `None`: nothing is lost.
fn try_one(template: &Template, file: &Path, damage: &Damage) -> Result<Option<String>, String> {
    let place = tempfile::tempdir().expect("a directory");
    let directory = place.path().join("data");
    copy(&template.now(), &directory);
    apply(damage, template, &directory, file);
    match start(&directory, &template.flags) {
        Ok(server) => {
            let errors = judge(&server, &template.expected).map_err(|what| format!("{what}\n{}", server.log()))?;
            Ok((errors > 0).then(|| format!("{errors} keys are answered with an error")))
        }
        Err(failure) => {
            let line = refusal(&failure)?;
            // It is refused again and again, where RocksDB may have been opened: nothing was taken for right by the attempt.
            if !line.contains("/rocksdb") {
                return Ok(Some(line));
            }
            let again = start(&directory, &template.flags).err().ok_or_else(|| format!("refused once only: {line}"))?;
            refusal(&again)?;
            Ok(Some(line))
        }
    }
}

fn damage_everything(flags: &[&'static str]) {
    let seed = std::env::var("ROCKPOOL_DAMAGE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("{flags:?}: ROCKPOOL_DAMAGE_SEED={seed}");
    let template = make(flags, seed);
    let mut random = StdRng::seed_from_u64(seed);
    let cases: Vec<(PathBuf, Damage)> = files(&template.now())
        .into_iter()
        .flat_map(|file| damages(&template, &file, &mut random).into_iter().map(move |damage| (file.clone(), damage)))
        .collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((file, damage)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let what = format!("{damage:?}").chars().take(30).collect::<String>();
                    match try_one(&template, file, damage) {
                        Ok(outcome) => {
                            eprintln!("{} {what}: {}", file.display(), outcome.as_deref().unwrap_or("nothing is lost"))
                        }
                        Err(failure) => {
                            failures.lock().expect("no panic").push(format!("{} {what}: {failure}", file.display()));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {} cases: {}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn no_damage_loses_anything_without_a_word() {
    damage_everything(&["--appendonly", "yes", "--maxdisk", "512mb"]);
}

#[test]
fn nor_does_it_without_a_journal() {
    damage_everything(&["--appendonly", "no", "--maxdisk", "512mb"]);
}

/// What cannot be read any more can be written over, and stops nobody.
#[test]
fn a_key_that_cannot_be_read_can_be_overwritten() {
    const KEYS: usize = 2000;
    let place = tempfile::tempdir().expect("a directory");
    let mut server = start(place.path(), &[]).expect("a new directory");
    let sets: Vec<[String; 3]> = (0..KEYS).map(|key| ["SET".into(), format!("k{key}"), "v".repeat(200)]).collect();
    assert!(server.client().pipeline(&sets).iter().all(|reply| *reply == Value::ok()));
    wait_until_merged(&mut server.client());
    assert!(server.terminate().success());
    let tables = fs::read_dir(place.path().join("rocksdb")).expect("files").map(|entry| entry.expect("a file").path());
    let tables = tables.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    let largest = tables.max_by_key(|path| path.metadata().expect("a file").len()).expect("a table");
    let mut bytes = fs::read(&largest).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).expect("damaged");
    let server = start(place.path(), &[]).expect("the rest can be read");
    let client = &mut server.client();
    let gets: Vec<[String; 2]> = (0..KEYS).map(|key| ["GET".into(), format!("k{key}")]).collect();
    let replies = client.pipeline(&gets);
    let damaged: Vec<usize> = (0..KEYS).filter(|key| replies[*key].is_error()).collect();
    assert!((1..KEYS / 2).contains(&damaged.len()), "{} keys", damaged.len());
    assert!(
        damaged.iter().all(|key| replies[*key].error_text().starts_with("IOERR the key cannot be read from disk: "))
    );
    assert_eq!(Http::connect(&server).get(&format!("/cache/k{}", damaged[0])).status, 500);
    for key in &damaged {
        assert_eq!(client.command(&["SET", &format!("k{key}"), "new"]), Value::ok());
    }
    assert_eq!(client.command(&["SAVE"]), Value::ok(), "{}", server.log());
    assert_eq!(client.command(&["SET", "after", "v"]), Value::ok(), "{}", server.log());
    wait_until_merged(client);
    for key in &damaged {
        assert_eq!(client.command(&["GET", &format!("k{key}")]), Value::bulk(b"new"));
    }
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]).integer() == KEYS as i64 + 1));
    assert_eq!(client.command(&["FLUSHALL"]), Value::ok());
}

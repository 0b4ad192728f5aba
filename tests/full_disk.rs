//! A file system that is full: writes are refused, reads go on, nothing acknowledged is lost, and when there is room the
//! server goes on by itself.
//!
//! It takes a file system of its own, in memory. Where it may not be mounted, the test runs itself again in a namespace
//! where it may; where that is forbidden too, it says so and tests nothing.

mod support;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Client, Engine, PATIENCE, Server, Value, eventually};

const IN_NAMESPACE: &str = "FULL_DISK_IN_NAMESPACE";
/// RocksDB looks at the free space every few seconds.
const RECOVERY: Duration = Duration::from_secs(60);
/// A write that gets into memory and not into the journal is answered once it is there, not before.
const NO_ANSWER: Duration = Duration::from_secs(2);

/// A file system in memory, as long as this lives.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Result<Mounted, String> {
        let place = tempfile::tempdir().expect("a directory");
        mount(&["-t", "tmpfs", "-o", options, "tmpfs"], place.path())?;
        Ok(Mounted(place))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        for piece in [1 << 20, 4096, 1] {
            let piece = vec![1; piece];
            while let Ok(1..) = filler.write(&piece) {}
        }
    }

    /// Leaves no file to be made.
    fn fill_files(&self) {
        std::fs::create_dir(self.filler()).expect("a directory");
        let mut names = 0..;
        while names.next().is_some_and(|name: u32| File::create(self.filler().join(name.to_string())).is_ok()) {}
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn make_room(&self) {
        let _ = std::fs::remove_dir_all(self.filler());
        let _ = std::fs::remove_file(self.filler());
    }

    fn resize(&self, size: &str) {
        // With the source named, mount does not repeat options of before, which a namespace may not be allowed to.
        mount(&["-o", &format!("remount,size={size}"), "tmpfs"], self.0.path()).expect("remounted");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{}", self.0.path().display());
    }
}

fn mount(options: &[&str], path: &Path) -> Result<(), String> {
    let mounted = Command::new("mount").args(options).arg(path).stdin(Stdio::null()).output();
    let output = mounted.map_err(|error| format!("mount cannot be run: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Runs a test of this program again where it may mount, and tells whether that was possible.
fn run_in_namespace(test: &str) -> Result<(), String> {
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).args(arguments).env(IN_NAMESPACE, "1");
        command
    };
    let possible = unshare(&["true"]).stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        return Err("no namespace in which it is permitted can be had".to_owned());
    }
    let program = std::env::current_exe().expect("this program");
    let passed = unshare(&[program.to_str().expect("a path in UTF-8"), "--exact", test, "--nocapture"]).status();
    assert!(passed.is_ok_and(|status| status.success()), "the test failed in its namespace");
    Ok(())
}

/// Nothing of it compresses well.
fn value(number: usize) -> Vec<u8> {
    let mut bits = number as u64 + 1;
    let mut next = || {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        bits.to_le_bytes()
    };
    (0..375).flat_map(|_| next()).collect()
}

fn set(number: usize) -> [Vec<u8>; 3] {
    [b"SET".to_vec(), format!("key:{number}").into_bytes(), value(number)]
}

/// Every key below `end`, each with its value.
fn check(client: &mut Client, end: usize) {
    check_from(client, 0, end);
}

fn check_from(client: &mut Client, begin: usize, end: usize) {
    let numbers: Vec<usize> = (begin..end).collect();
    for chunk in numbers.chunks(500) {
        let commands: Vec<[String; 2]> =
            chunk.iter().map(|number| ["GET".to_owned(), format!("key:{number}")]).collect();
        for (number, reply) in chunk.iter().zip(client.pipeline(&commands)) {
            assert!(reply == Value::bulk(value(*number)), "key:{number} is not what was acknowledged: {reply:?}");
        }
    }
}

fn is_refusal(reply: &Value) -> bool {
    format!("{reply:?}").starts_with("-MISCONF ")
}

fn size(client: &mut Client) -> usize {
    client.command(&["DBSIZE"]).integer() as usize
}

fn fill_up_and_recover(mounted: &Mounted, flags: &[&str]) {
    let data = mounted.0.path().join("data");
    let start = || {
        let options = Server::options(Engine::Rocksdb).directory(&data);
        flags.iter().fold(options, |options, flag| options.flag(*flag)).start()
    };
    let mut server = start();
    let (mut writer, mut other) = (server.client(), server.client());
    writer.set_deadline(NO_ANSWER);
    // One after the other, so that it is known of each whether it was acknowledged.
    let mut written = 0;
    let is_unanswered = loop {
        writer.send(&set(written));
        match writer.try_read_value() {
            Ok(reply) if reply == Value::ok() => written += 1,
            Ok(reply) => {
                assert!(is_refusal(&reply), "{flags:?}: {reply:?}");
                break false;
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{flags:?}: {error}");
                break true;
            }
        }
    };
    let full_after = written;
    // The next writes are refused, also those of others; and it stays so as long as there is no room.
    let refused = |client: &mut Client| is_refusal(&client.command(&["SET", "refused", "v"]));
    assert!(eventually(PATIENCE, || refused(&mut other)), "{flags:?}: {}", server.log());
    assert_eq!(other.command(&["PING"]), Value::simple("PONG"));
    check(&mut other, written);
    assert!(refused(&mut other));

    mounted.resize("1g");
    writer.set_deadline(RECOVERY);
    if is_unanswered {
        assert_eq!(writer.read_value(), Value::ok(), "{flags:?}: it waited for room");
        written += 1;
    }
    let recovers = || other.command(&["SET", "refused", "no more"]) == Value::ok();
    assert!(eventually(RECOVERY, recovers), "{flags:?}: {}", server.log());
    for _ in 0..500 {
        assert_eq!(writer.command(&set(written)), Value::ok());
        written += 1;
    }
    assert_eq!(size(&mut other), written + 1, "{flags:?}");
    check(&mut other, written);
    if flags.contains(&"yes") {
        server.kill();
    } else {
        assert!(server.terminate().success(), "{}", server.log());
    }
    let server = start();
    let client = &mut server.client();
    assert_eq!(size(client), written + 1, "{flags:?}: after the restart");
    check(client, written);
    eprintln!("{flags:?}: full after {full_after} values, one write unanswered: {is_unanswered}");
}

/// Runs `test` with a file system of its own, in this program or again in a namespace.
fn with_file_system(name: &str, options: &str, test: impl FnOnce(&Mounted)) {
    let reason = match Mounted::new(options) {
        Ok(mounted) => return test(&mounted),
        Err(reason) => reason,
    };
    let namespaced = match std::env::var_os(IN_NAMESPACE) {
        Some(_) => Err("not in a namespace either".to_owned()),
        None => run_in_namespace(name),
    };
    if let Err(why) = namespaced {
        // Not captured, unlike what is printed: it is seen where tests pass, too.
        let _ = writeln!(std::io::stderr(), "SKIPPED, no file system can be mounted ({reason}): {why}");
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    with_file_system("a_full_disk_refuses_writes_until_there_is_room", "size=128m", |mounted| {
        fill_up_and_recover(mounted, &["--appendonly", "yes"]);
    });
    with_file_system("a_full_disk_refuses_writes_until_there_is_room", "size=128m", |mounted| {
        fill_up_and_recover(mounted, &["--appendonly", "no"]);
    });
}

/// How a file system that has no room is started on: again and again, as a supervisor does.
fn start_on_a_full_disk(mounted: &Mounted, flags: &[&str], ends_well: bool, fill: fn(&Mounted)) {
    const KEYS: usize = 3000;
    let data = mounted.0.path().join("data");
    let start = || {
        let options = Server::options(Engine::Rocksdb).directory(&data);
        flags.iter().fold(options, |options, flag| options.flag(*flag)).start()
    };
    let end = |server: &mut Server| {
        if ends_well {
            // Not everything need get to disk, and then it says so.
            server.terminate();
        } else {
            server.kill();
        }
    };
    let mut server = start();
    let client = &mut server.client();
    for number in 0..KEYS {
        assert_eq!(client.command(&set(number)), Value::ok());
    }
    assert!(eventually(PATIENCE, || client.is_merged()));
    assert!(eventually(PATIENCE, || data.join("reserve").exists()), "{}", server.log());
    end(&mut server);
    fill(mounted);
    let mut deleted = 0;
    for round in 0..4 {
        let mut server = start();
        let client = &mut server.client();
        check_from(client, deleted, KEYS);
        // DBSIZE may count what the last merge would settle, which has no room.
        for number in 0..deleted {
            let found = client.command(&["GET", &format!("key:{number}")]);
            assert_eq!(found, Value::Null, "{flags:?}, start {round}: {}", server.log());
        }
        // Writes may still fit somewhere, until they do not.
        let mut written = 0;
        while written < 100 {
            match client.command(&[&b"SET"[..], b"more", &value(written).repeat(20)]) {
                reply if reply == Value::ok() => written += 1,
                reply if is_refusal(&reply) => break,
                reply => panic!("{flags:?}, start {round}: {reply:?}"),
            }
        }
        eprintln!("{flags:?}, start {round}: {written} writes were taken");
        assert_eq!(client.command(&["DEL", "more"]).integer(), i64::from(written > 0), "{}", server.log());
        for _ in 0..50 {
            let reply = client.command(&["DEL", &format!("key:{deleted}")]);
            assert_eq!(reply, Value::Integer(1), "{flags:?}, start {round}: {}", server.log());
            deleted += 1;
        }
        check_from(client, deleted, KEYS);
        if !flags.contains(&"yes") {
            // Without a journal, what is not merged goes with the process.
            mounted.make_room();
            assert!(eventually(RECOVERY, || client.is_merged()), "{}", server.log());
            assert!(eventually(RECOVERY, || data.join("reserve").exists()), "{}", server.log());
        }
        end(&mut server);
        fill(mounted);
    }
    let mut server = start();
    let client = &mut server.client();
    mounted.make_room();
    assert!(eventually(RECOVERY, || client.command(&["SET", "after", "v"]) == Value::ok()), "{}", server.log());
    assert!(eventually(PATIENCE, || size(client) == KEYS - deleted + 1), "{}", server.log());
    assert!(server.terminate().success(), "{}", server.log());
    let mut server = start();
    let client = &mut server.client();
    assert_eq!(size(client), KEYS - deleted + 1);
    check_from(client, deleted, KEYS);
    assert!(server.terminate().success(), "{}", server.log());
}

#[test]
fn a_full_disk_does_not_prevent_the_start() {
    let name = "a_full_disk_does_not_prevent_the_start";
    for (appendonly, ends_well) in [("yes", false), ("yes", true), ("no", false)] {
        with_file_system(name, "size=160m", |mounted| {
            start_on_a_full_disk(mounted, &["--appendonly", appendonly], ends_well, Mounted::fill);
        });
    }
}

#[test]
fn a_disk_without_files_left_does_not_prevent_the_start() {
    with_file_system("a_disk_without_files_left_does_not_prevent_the_start", "size=300m,nr_inodes=300", |mounted| {
        start_with_no_files_left(mounted);
    });
}

fn start_with_no_files_left(mounted: &Mounted) {
    let data = mounted.0.path().join("data");
    let start = || Server::options(Engine::Rocksdb).directory(&data).start();
    let mut server = start();
    let client = &mut server.client();
    for number in 0..500 {
        assert_eq!(client.command(&set(number)), Value::ok());
    }
    assert!(eventually(PATIENCE, || data.join("reserve").exists()), "{}", server.log());
    server.kill();
    mounted.fill_files();
    let server = start();
    let client = &mut server.client();
    check(client, 500);
    assert_eq!(client.command(&["DEL", "key:0"]), Value::Integer(1));
    mounted.make_room();
    assert!(eventually(RECOVERY, || client.command(&["SET", "after", "v"]) == Value::ok()), "{}", server.log());
    check_from(client, 1, 500);
}

//! A server whose disk fails, or does not answer, while clients talk to it. It runs in the test's own process, so that
//! this can begin and end at any moment.

#![cfg(feature = "failpoints")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fail::FailScenario;
use rockpool::config::Settings;
use rockpool::node;
use rockpool::node::launch::Launch;
use rockpool::node::signals::Signals;
use support::{Client, Engine, PATIENCE, Server, Value, eventually, older};

/// How long a client waits for what is not going to come.
const MOMENT: Duration = Duration::from_millis(100);

struct Node {
    socket: PathBuf,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Starts on the data in `place`.
    fn start(place: &Path, flags: &[&str]) -> Node {
        let (socket, data) = (place.join("socket"), place.join("data"));
        std::fs::create_dir_all(&data).expect("a directory");
        let mut args = vec!["rockpool", "--port", "0", "--http-port", "0", "--tcp-port", "0", "--io-threads", "1"];
        args.extend(["--enable-debug-command", "yes", "--unixsocket", socket.to_str().expect("a path in UTF-8")]);
        args.extend(["--dir", data.to_str().expect("a path in UTF-8")]);
        args.extend(flags);
        let loaded = Settings::load(args.into_iter().map(Into::into), std::iter::empty()).expect("settings");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let settings = Arc::new(loaded.settings);
            runtime
                .block_on(async { node::run(settings.clone(), Launch::begin(&settings)?, Signals::install()?).await })
        });
        assert!(eventually(PATIENCE, || UnixStream::connect(&socket).is_ok() || thread.is_finished()));
        Node { socket, thread }
    }

    fn client(&self) -> Client {
        Client::connect_unix(&self.socket)
    }

    fn end(self) {
        self.client().send(&["SHUTDOWN"]);
        self.thread.join().expect("no panic").expect("an orderly end");
    }
}

fn key(number: usize) -> String {
    format!("key:{number}")
}

fn run(client: &mut Client, line: &str) -> Value {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn is_refusal(reply: &Value) -> bool {
    format!("{reply:?}").starts_with("-MISCONF ")
}

#[test]
fn nobody_waits_for_a_walk_over_cold_keys() {
    let scenario = FailScenario::setup();
    let place = tempfile::tempdir().expect("a directory");
    let node = Node::start(place.path(), &[]);
    let commands: Vec<[String; 3]> = (0..2000).map(|number| ["SET".to_owned(), key(number), key(number)]).collect();
    assert!(node.client().pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
    let digest = run(&mut node.client(), "DEBUG DIGEST");
    node.end();
    let node = Node::start(place.path(), &[]);
    let (mut walker, mut other) = (node.client(), node.client());
    assert_eq!(run(&mut other, "GET key:0"), Value::bulk(b"key:0"), "it is in memory from here on");
    for (turn, line) in ["KEYS *", "SCAN 0 COUNT 500", "RANDOMKEY", "DEBUG DIGEST"].into_iter().enumerate() {
        fail::cfg("rocks::scan", "pause").expect("a failpoint");
        walker.raw_write(&[support::encode(&line.split(' ').collect::<Vec<_>>()), support::encode(&["PING"])].concat());
        walker.set_deadline(MOMENT);
        assert!(walker.try_read_value().is_err(), "{line} cannot end before the disk has answered");
        assert_eq!(run(&mut other, "PING"), Value::simple("PONG"), "during {line}");
        assert_eq!(run(&mut other, "GET key:0"), Value::bulk(b"key:0"), "during {line}");
        // Not even who reads a cold key, since one of the loader's threads is free.
        let cold = key(turn + 1);
        assert_eq!(other.command(&["GET", &cold]), Value::bulk(cold.as_bytes()), "during {line}");
        assert_eq!(run(&mut other, "SET new v"), Value::ok(), "during {line}");
        assert_eq!(run(&mut other, "DEL new").integer(), 1, "during {line}");
        fail::remove("rocks::scan");
        walker.set_deadline(PATIENCE);
        let reply = walker.read_value();
        match line {
            "KEYS *" => assert_eq!(reply.items().len(), 2000),
            "SCAN 0 COUNT 500" => assert!(reply.items()[1].items().len() > 100, "{reply:?}"),
            "RANDOMKEY" => assert!(reply.text().starts_with("key:")),
            _ => assert_eq!(reply, digest),
        }
        assert_eq!(walker.read_value(), Value::simple("PONG"), "replies come in the order of the commands");
    }
    // Who leaves takes his walk along: then both of the loader's threads serve again.
    fail::cfg("rocks::scan", "pause").expect("a failpoint");
    for _ in 0..2 {
        let mut leaving = node.client();
        leaving.send(&["KEYS", "*"]);
        leaving.set_deadline(MOMENT);
        assert!(leaving.try_read_value().is_err());
    }
    fail::remove("rocks::scan");
    assert_eq!(run(&mut other, "GET key:1000"), Value::bulk(b"key:1000"));
    assert_eq!(run(&mut walker, "KEYS *").items().len(), 2000);
    fail::cfg("rocks::scan", "return(IO error: While reading: Input/output error)").expect("a failpoint");
    assert!(is_refusal(&run(&mut walker, "KEYS *")), "no part of the keys passes for all of them");
    fail::remove("rocks::scan");
    node.end();
    scenario.teardown();
}

type Databases = [BTreeMap<String, String>; 2];

/// What the first two databases hold.
fn content(client: &mut Client) -> Databases {
    [0, 1].map(|number| {
        assert_eq!(run(client, &format!("SELECT {number}")), Value::ok());
        let names: Vec<String> = run(client, "KEYS *").items().iter().map(Value::text).collect();
        // What was overwritten without a look at the disk is settled by the next round.
        let is_exact = || run(client, "DBSIZE").integer() == names.len() as i64;
        assert!(eventually(PATIENCE, is_exact), "{} names", names.len());
        names.into_iter().map(|name| (name.clone(), client.command(&["GET", &name]).text())).collect()
    })
}

/// What a server says that starts on the data in `directory`.
fn content_on(directory: &Path) -> Databases {
    content(&mut Server::options(Engine::Rocksdb).directory(directory).start().client())
}

/// The copy is what a crash at this moment would have left. It is made anew where a file went amid it: the journal gives up
/// segments on its own.
fn copy(from: &Path, to: &Path) {
    let copied = || {
        let _ = std::fs::remove_dir_all(to);
        let status = std::process::Command::new("cp").arg("-a").arg("--sparse=always").arg(from).arg(to).status();
        status.is_ok_and(|status| status.success())
    };
    assert!(eventually(PATIENCE, copied), "cannot copy {}", from.display());
}

/// A change of whole databases without a journal, and the beginning of one, bring down what came before. Where the disk
/// does not take that, it is kept, and written before anything else.
#[test]
fn a_round_that_was_given_up_is_written_once_the_disk_is_back() {
    let no_space = "return(IO error: No space left on device)";
    // The last one is over before anybody tries again.
    let once = format!("1*{no_space}");
    let broken = "return(IO error: While linking: Input/output error)";
    // With so little, what is changed here becomes a table.
    let little = "64kb";
    for (point, fault, maxdirty) in [
        ("rocks::write", no_space, "32mb"),
        ("rocks::sync", no_space, "32mb"),
        ("rocks::write", &once, "32mb"),
        ("rocks::table", no_space, little),
        ("rocks::write", no_space, little),
        ("rocks::ingest", broken, little),
    ] {
        for (line, is_refused) in [("SWAPDB 0 1", true), ("FLUSHDB", true), ("CONFIG SET appendonly yes", false)] {
            let scenario = FailScenario::setup();
            let place = tempfile::tempdir().expect("a directory");
            let flags = ["--appendonly", "no", "--merge-interval", "600000", "--maxdirty", maxdirty];
            let node = Node::start(place.path(), &flags);
            let client = &mut node.client();
            for number in 0..100 {
                run(client, &format!("SET key:{number} first"));
            }
            run(client, "SELECT 1");
            run(client, "SET elsewhere first");
            assert_eq!(run(client, "SAVE"), Value::ok());
            run(client, "SELECT 0");
            for change in ["SET key:1 second", "DEL key:2", "SET fresh second", "SET key:3 second", "SET key:4 second"]
            {
                let reply = run(client, change);
                assert!(reply == Value::ok() || reply.integer() == 1, "{change}");
            }
            let before_more = client.info_number("tiering", "merge_rounds");
            for number in 1000.. {
                if maxdirty != little || client.info_number("tiering", "dirty_bytes") > 20_000 {
                    break;
                }
                run(client, &format!("SET key:{number} second"));
            }
            assert_eq!(client.info_number("tiering", "merge_rounds"), before_more, "all of that is in one round");
            let before = content(client);
            run(client, "SELECT 0");

            fail::cfg(point, fault).expect("a failpoint");
            let reply = run(client, line);
            assert_eq!(is_refusal(&reply), is_refused, "{line}: {reply:?}");
            assert!(is_refusal(&run(client, "SET key:5 refused")), "{line}");
            assert_eq!(content(client), before, "{line}, {point}: reads go on, and nothing has changed");

            fail::remove(point);
            run(client, "SELECT 0");
            assert!(eventually(PATIENCE, || run(client, "SET key:3 third") == Value::ok()), "{line}, {point}");
            assert_eq!(run(client, "DEL key:4").integer(), 1);
            let mut expected = before.clone();
            expected[0].insert("key:3".to_owned(), "third".to_owned());
            expected[0].remove("key:4");
            assert_eq!(content(client), expected, "{line}, {point}");
            assert_eq!(run(client, "SELECT 0"), Value::ok());
            assert_eq!(run(client, line), Value::ok(), "{line}, {point}: now it is done");
            match line {
                "SWAPDB 0 1" => expected.reverse(),
                "FLUSHDB" => expected[0].clear(),
                _ => {}
            }
            assert_eq!(content(client), expected, "{line}, {point}");
            assert_eq!(client.info_number("tiering", "merge_tables") > 0, maxdirty == little, "{line}, {point}");
            copy(&place.path().join("data"), &place.path().join("copy"));
            assert_eq!(content_on(&place.path().join("copy")), expected, "{line}, {point}: after a crash");
            node.end();
            assert_eq!(content_on(&place.path().join("data")), expected, "{line}, {point}: after an orderly end");
            scenario.teardown();
        }
    }
}

/// While a round takes long, writes wait a little each, so that none has to wait for the round.
#[test]
fn writes_slow_down_before_they_would_stand_still() {
    let scenario = FailScenario::setup();
    let place = tempfile::tempdir().expect("a directory");
    let node = Node::start(place.path(), &["--appendonly", "no", "--merge-interval", "100", "--maxdirty", "4mb"]);
    fail::cfg("rocks::table", "sleep(1000)").expect("a failpoint");
    let (client, watcher) = (&mut node.client(), &mut node.client());
    let mut number = 0;
    while watcher.info_number("tiering", "merge_tables") < 3 {
        for _ in 0..20 {
            let keys = number..number + 50;
            let commands: Vec<_> =
                keys.map(|number| ["SET".to_owned(), key(number), format!("{number:0100}")]).collect();
            assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
            number += 50;
        }
    }
    assert!(watcher.info_number("tiering", "write_delays") > 10);
    assert_eq!(watcher.info_number("tiering", "write_stalls"), 0);
    fail::remove("rocks::table");
    assert!(eventually(PATIENCE, || watcher.is_merged()));
    assert_eq!(watcher.command(&["DBSIZE"]).integer(), number as i64);
    node.end();
    scenario.teardown();
}

/// Writes that wait for room in memory do not wait for a disk that makes none.
#[test]
fn a_broken_disk_is_told_of_where_memory_is_full() {
    let scenario = FailScenario::setup();
    let place = tempfile::tempdir().expect("a directory");
    let node = Node::start(place.path(), &["--maxmemory", "20mb", "--appendonly", "no"]);
    let client = &mut node.client();
    assert_eq!(run(client, "SET before 1"), Value::ok());
    for point in ["rocks::write", "rocks::table"] {
        fail::cfg(point, "return(IO error: No space left on device)").expect("a failpoint");
    }
    let value = "v".repeat(100);
    let commands: Vec<[String; 3]> = (0..40_000).map(|number| ["SET".to_owned(), key(number), value.clone()]).collect();
    assert!(is_refusal(client.pipeline(&commands).last().expect("replies")));
    assert_eq!(run(client, "GET before"), Value::bulk(b"1"));
    for point in ["rocks::write", "rocks::table"] {
        fail::remove(point);
    }
    assert!(eventually(PATIENCE, || run(client, "SET after 1") == Value::ok()));
    node.end();
    scenario.teardown();
}

/// A journal that cannot be written keeps those who have changed something waiting for a while, and then tells each of them.
#[test]
fn nobody_waits_for_ever_for_a_journal_that_cannot_be_written() {
    for appendfsync in ["everysec", "always"] {
        let scenario = FailScenario::setup();
        let place = tempfile::tempdir().expect("a directory");
        let node = Node::start(place.path(), &["--appendfsync", appendfsync]);
        let (mut writer, mut other) = (node.client(), node.client());
        assert_eq!(run(&mut writer, "SET key 0"), Value::ok());
        fail::cfg("journal::write", "return(EIO)").expect("a failpoint");
        // Some change something, some do not: each has its reply, in its place.
        let lines = ["SET key 1", "GET key", "INCR number", "PING"];
        let sent: Vec<u8> =
            lines.iter().flat_map(|line| support::encode(&line.split(' ').collect::<Vec<_>>())).collect();
        writer.set_deadline(MOMENT);
        writer.raw_write(&sent);
        assert!(writer.try_read_value().is_err(), "at first it may still succeed");
        writer.set_deadline(PATIENCE);
        for line in lines {
            let reply = writer.read_value();
            assert!(is_refusal(&reply) && reply.error_text().contains("in memory"), "{line}: {reply:?}");
        }
        assert_eq!(run(&mut writer, "GET key"), Value::bulk(b"1"));
        assert!(is_refusal(&run(&mut other, "SET key 2")));
        fail::remove("journal::write");
        assert!(eventually(PATIENCE, || run(&mut other, "SET after 1") == Value::ok()));
        node.end();
        // What was told to be in memory got to disk when that was possible.
        let node = Node::start(place.path(), &[]);
        assert_eq!(run(&mut node.client(), "MGET key number after").items().len(), 3);
        assert_eq!(run(&mut node.client(), "GET key"), Value::bulk(b"1"));
        node.end();
        scenario.teardown();
    }
}

/// What the log of a start says of how far it is.
fn told(server: &Server) -> Vec<String> {
    server.log().lines().filter(|line| line.contains("starting for ")).map(str::to_owned).collect()
}

/// Each step in its turn takes five seconds: a line each two of them, and no more.
#[test]
fn a_start_that_takes_long_says_how_far_it_is() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let on = |directory: &Path, failpoints: &str, flags: &[&str]| {
        let options = Server::options(Engine::Rocksdb).directory(directory).environment("FAILPOINTS", failpoints);
        flags.iter().fold(options, |options, flag| options.flag(*flag)).start()
    };
    let mut server = on(&data, "", &["--merge-interval", "600000"]);
    assert!(told(&server).is_empty(), "{}", server.log());
    assert_eq!(server.client().command(&["SAVE"]), Value::ok());
    // One long record, which the journal alone has.
    assert_eq!(server.client().command(&["SET", "k", &"v".repeat(3 << 20)]), Value::ok());
    server.kill();
    let checkpoint = data.join("checkpoint");
    let copy = place.path().join("copy");
    let restore = ["--restore", checkpoint.to_str().expect("UTF-8"), "--dir", copy.to_str().expect("UTF-8")];
    for (failpoint, step, flags) in [
        ("directory::copy", "restoring, ", &restore[..]),
        ("journal::list", "looking for damage", &["--repair"]),
        ("rocks::open", "opening RocksDB", &[]),
        ("journal::sync", "replaying the journal, 100% of ", &[]),
    ] {
        let mut server = on(&data, &format!("{failpoint}=1*sleep(5000)->off"), flags);
        let told = told(&server);
        let expected = told.iter().filter(|line| line.contains(&format!("s: {step}"))).count();
        assert!((1..=3).contains(&expected) && told.len() <= 4, "{failpoint}: {told:?}");
        server.kill();
    }
}

/// A start that makes a directory of an older format one of the present format is ended at each of its steps: it is of the one or
/// of the other, whole in both cases, and the next start goes on from there.
#[test]
fn a_directory_of_an_older_format_survives_the_end_of_a_start_at_each_step() {
    let (_, kept) = older::content();
    let place = tempfile::tempdir().expect("a directory");
    let is_locked = |data: &Path| std::fs::metadata(data.join("LOCK")).is_ok_and(|lock| lock.len() > 0);
    // The manifest that the directory has at this moment.
    let has_family = |data: &Path| {
        let current = std::fs::read_to_string(data.join("rocksdb/CURRENT")).expect("CURRENT");
        let manifest = std::fs::read(data.join("rocksdb").join(current.trim_end())).expect("a manifest");
        manifest.windows(8).any(|part| part == b"elements")
    };
    let format = |data: &Path| std::fs::read_to_string(data.join("FORMAT")).expect("FORMAT");
    for (number, end) in older::FIXTURES.into_iter().filter(|(_, end)| *end == "killed") {
        for (step, (point, is_with_family, is_upgraded)) in [
            ("rocks::open", false, false),
            ("directory::upgrade", true, false),
            ("directory::format", true, false),
            ("directory::upgraded", true, true),
        ]
        .into_iter()
        .enumerate()
        {
            let data = place.path().join(format!("{number}-{end}-{step}"));
            older::unpack(number, end, &data);
            let before = format(&data);
            let on = |failpoints: &str| {
                Server::options(Engine::Rocksdb).directory(&data).environment("FAILPOINTS", failpoints)
            };
            // Twice: what was begun before is met again.
            for _ in 0..2 {
                on(&format!("{point}=pause")).start_and_kill(|| {
                    is_locked(&data) && has_family(&data) == is_with_family && (format(&data) != before) == is_upgraded
                });
                assert_eq!((has_family(&data), format(&data) != before), (is_with_family, is_upgraded), "{point}");
            }
            if !is_upgraded && step > 0 {
                let refused = on("directory::format=return").try_start().expect_err("no room for FORMAT");
                assert!(refused.contains("cannot write") && format(&data) == before, "{refused}");
            }
            older::check_kept(&mut on("").start().client(), &kept);
            older::check_format(&data, &before);
            std::fs::remove_dir_all(&data).expect("removed");
        }
    }
}

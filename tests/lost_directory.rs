//! The data directory is moved away, or removed, while the server runs: every command is answered, changes with an error that
//! says so, and when the directory is back it goes on.

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Client, Engine, PATIENCE, Server, Value, eventually};

/// Longer than anything waits for a disk.
const DEADLINE: Duration = Duration::from_secs(20);
const KEYS: usize = 2000;

fn start(directory: &Path, appendonly: &str, appendfsync: &str) -> Server {
    Server::options(Engine::Rocksdb)
        .directory(directory)
        .flag("--appendonly")
        .flag(appendonly)
        .flag("--appendfsync")
        .flag(appendfsync)
        .start()
}

fn client(server: &Server) -> Client {
    let mut client = server.client();
    client.set_deadline(DEADLINE);
    client
}

fn set(client: &mut Client, number: usize) -> Value {
    client.command(&["SET", &format!("key:{number}"), &format!("value {number}")])
}

fn check(client: &mut Client, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let found = client.command(&["GET", &format!("key:{number}")]);
        assert_eq!(found, Value::bulk(format!("value {number}")), "key:{number}");
    }
}

fn is_refusal(reply: &Value) -> bool {
    reply.is_error() && reply.error_text().starts_with("MISCONF ")
}

/// What clients say meanwhile. Each is answered in time, or the client's deadline has passed and the test fails.
fn talk(server: &Server) {
    let refused = || is_refusal(&client(server).command(&["SET", "refused", "v"]));
    assert!(eventually(PATIENCE, refused), "{}", server.log());
    let commands: [&[&str]; 12] = [
        &["GET", "key:1"],
        &["SET", "refused", "v"],
        &["MSET", "refused", "v", "too", "v"],
        &["APPEND", "refused", "v"],
        &["DEL", "key:2"],
        &["EXPIRE", "key:3", "100"],
        &["FLUSHDB"],
        &["SWAPDB", "3", "4"],
        &["SAVE"],
        &["BGSAVE"],
        &["CONFIG", "REWRITE"],
        &["CONFIG", "SET", "appendonly", "yes"],
    ];
    for command in commands {
        let reply = client(server).command(command);
        match command[0] {
            "GET" => assert_eq!(reply, Value::bulk("value 1")),
            // It says that it has begun.
            "BGSAVE" | "CONFIG" => {}
            _ => assert!(reply.is_error(), "{command:?}: {reply:?}"),
        }
    }
    // The status may be that of SAVE, while BGSAVE is under way.
    let saved = || {
        let info = client(server).command(&["INFO", "persistence"]).text();
        info.contains("rdb_last_bgsave_status:err") && info.contains("rdb_bgsave_in_progress:0")
    };
    assert!(eventually(PATIENCE, saved), "{}", server.log());
}

#[test]
fn a_directory_that_is_moved_away_and_back_loses_nothing() {
    for (appendonly, appendfsync) in [("yes", "everysec"), ("yes", "always"), ("no", "everysec")] {
        let place = tempfile::tempdir().expect("a directory");
        let (data, away) = (place.path().join("data"), place.path().join("away"));
        let mut server = start(&data, appendonly, appendfsync);
        let mut writer = client(&server);
        // At any moment of the server's life: also while its first segments are made.
        let mut acknowledged: Vec<usize> = (0..10).filter(|number| set(&mut writer, *number) == Value::ok()).collect();
        assert_eq!(acknowledged.len(), 10);
        std::fs::rename(&data, &away).expect("a rename");
        for number in 10..KEYS {
            match set(&mut writer, number) {
                reply if reply == Value::ok() => acknowledged.push(number),
                reply => {
                    assert!(is_refusal(&reply), "{reply:?}");
                    break;
                }
            }
        }
        talk(&server);
        std::fs::rename(&away, &data).expect("a rename");
        let number = KEYS;
        assert!(eventually(DEADLINE * 2, || set(&mut writer, number) == Value::ok()), "{}", server.log());
        acknowledged.push(number);
        assert_eq!(writer.command(&["SAVE"]), Value::ok(), "{}", server.log());
        check(&mut writer, acknowledged.iter().copied());
        assert!(eventually(PATIENCE, || writer.is_merged()));
        server.kill();
        let server = start(&data, appendonly, appendfsync);
        check(&mut client(&server), acknowledged.iter().copied());
    }
}

#[test]
fn a_directory_that_is_removed_is_told_of_and_holds_nobody_up() {
    for appendonly in ["yes", "no"] {
        let place = tempfile::tempdir().expect("a directory");
        let data = place.path().join("data");
        let mut server = start(&data, appendonly, "everysec");
        let mut writer = client(&server);
        (0..10).for_each(|number| assert_eq!(set(&mut writer, number), Value::ok()));
        assert!(eventually(PATIENCE, || {
            let _ = std::fs::remove_dir_all(&data);
            !data.exists()
        }));
        talk(&server);
        let log = server.log();
        assert!(log.contains("the disk does not take writes") && log.contains("cannot find"), "{log}");
        writer.send(&["SHUTDOWN"]);
        assert!(!server.wait().success(), "not everything is on disk: {}", server.log());
    }
}

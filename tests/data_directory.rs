//! The data directory among files of others, what its files may be read by, and how it begins as a copy.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use support::{Client, Engine, PATIENCE, Server, ServerOptions, Value, eventually, older};

fn on(directory: &Path) -> ServerOptions {
    Server::options(Engine::Rocksdb).directory(directory)
}

/// Every file and link below it with what it holds, and every directory.
fn tree(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let metadata = fs::symlink_metadata(path).expect("it is there");
    if metadata.is_dir() {
        found.insert(path.to_owned(), Vec::new());
        for entry in fs::read_dir(path).expect("a directory") {
            found.extend(tree(&entry.expect("a file").path()));
        }
    } else if metadata.is_symlink() {
        found.insert(path.to_owned(), fs::read_link(path).expect("a link").into_os_string().into_encoded_bytes());
    } else {
        found.insert(path.to_owned(), fs::read(path).expect("read"));
    }
    found
}

fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).expect("it is there").is_dir();
    if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
}

/// The only line of a start that was refused, but for what went well before.
fn refusal(options: ServerOptions) -> String {
    let failure = options.try_start().expect_err("it is refused");
    let lines: Vec<&str> = failure.lines().skip(1).filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(lines.len(), 1, "{failure}");
    lines[0].to_owned()
}

fn set(client: &mut Client, name: &str, value: &str) {
    assert_eq!(client.command(&["SET", name, value]), Value::ok());
}

fn get(client: &mut Client, name: &str) -> Value {
    client.command(&["GET", name])
}

/// Makes something of somebody else's at a path.
type Make<'a> = dyn Fn(&Path) + 'a;

/// What may lie under the names that SAVE needs.
fn things_of_others(outside: &Path) -> Vec<(&'static str, Box<Make<'static>>)> {
    let other = outside.join("other");
    drop(on(&other).start());
    let elsewhere = outside.join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    fs::write(elsewhere.join("thesis"), "years of work").expect("written");
    let copied = other.clone();
    vec![
        (
            "a directory",
            Box::new(|at: &Path| {
                fs::create_dir(at).expect("made");
                fs::write(at.join("model.bin"), "weights").expect("written");
            }),
        ),
        (
            "a directory with the same parts",
            Box::new(|at: &Path| {
                for part in ["rocksdb", "journal"] {
                    fs::create_dir_all(at.join(part)).expect("made");
                    fs::write(at.join(part).join("CURRENT"), "MANIFEST-000001\n").expect("written");
                }
                fs::write(at.join("FORMAT"), "the format of this directory is explained below").expect("written");
            }),
        ),
        ("a file", Box::new(|at: &Path| fs::write(at, "a list").expect("written"))),
        ("a link", Box::new(move |at: &Path| symlink(&elsewhere, at).expect("linked"))),
        (
            "another data directory",
            Box::new(move |at: &Path| {
                for part in ["", "rocksdb", "journal"] {
                    fs::create_dir_all(at.join(part)).expect("made");
                    for entry in fs::read_dir(copied.join(part)).expect("a directory").flatten() {
                        if entry.path().is_file() {
                            fs::copy(entry.path(), at.join(part).join(entry.file_name())).expect("copied");
                        }
                    }
                }
            }),
        ),
    ]
}

#[test]
fn save_takes_away_nothing_that_it_has_not_made() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let server = on(&data).start();
    let client = &mut server.client();
    set(client, "k", "v");
    for (what, make) in things_of_others(place.path()) {
        for name in ["checkpoint", "checkpoint.new", "checkpoint.old"] {
            let at = data.join(name);
            make(&at);
            let before = tree(&at);
            let refused = client.command(&["SAVE"]).error_text();
            assert!(refused.contains("is left as it is") && !refused.contains('\n'), "{what} as {name}: {refused}");
            assert_eq!(tree(&at), before, "{what} as {name}");
            remove(&at);
            let others = fs::read_dir(&data).expect("a directory").flatten();
            let others: Vec<_> =
                others.filter(|entry| entry.file_name().to_string_lossy().starts_with("checkp")).collect();
            assert!(others.is_empty(), "{what} as {name} leaves {others:?}");
        }
    }
    assert!(tree(&place.path().join("elsewhere")).values().any(|bytes| bytes == b"years of work"));
    // What it has made it replaces, also where it was killed on the way.
    for _ in 0..2 {
        assert_eq!(client.command(&["SAVE"]), Value::ok());
    }
    let [present, new, old] = ["checkpoint", "checkpoint.new", "checkpoint.old"].map(|name| data.join(name));
    fs::rename(&present, &old).expect("renamed");
    fs::create_dir_all(new.join("rocksdb.tmp")).expect("made");
    fs::copy(data.join("FORMAT"), new.join("NEW")).expect("copied");
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    assert!(present.join("FORMAT").exists() && !new.exists() && !old.exists());
    // Nor is one replaced that somebody serves.
    let served = on(&present).start();
    set(&mut served.client(), "of the copy", "v");
    assert!(client.command(&["SAVE"]).error_text().contains("is in use by another process"));
    assert_eq!(get(&mut served.client(), "of the copy"), Value::bulk("v"));
}

#[test]
fn a_start_writes_over_nothing_that_is_not_its_own() {
    let place = tempfile::tempdir().expect("a directory");
    let outside = place.path().join("outside");
    fs::write(&outside, "precious").expect("written");
    let cases: [(&str, &Make<'_>, bool); 11] = [
        ("LOCK", &|at| fs::write(at, "of the door").expect("written"), true),
        ("LOCK", &|at| symlink(&outside, at).expect("linked"), true),
        ("LOCK", &|at| fs::create_dir(at).expect("made"), true),
        ("NEW", &|at| fs::write(at, "ideas").expect("written"), true),
        ("RESTORING", &|at| fs::write(at, "an old clock").expect("written"), false),
        ("FORMAT", &|at| fs::write(at, b"\xff\xfe A4").expect("written"), true),
        ("FORMAT.tmp", &|at| symlink(&outside, at).expect("linked"), false),
        ("NEW.tmp", &|at| symlink(&outside, at).expect("linked"), false),
        ("rocksdb", &|at| fs::write(at, "notes").expect("written"), true),
        (
            "rocksdb",
            &|at| {
                fs::create_dir(at).expect("made");
                fs::write(at.join("000001.sst"), "a table of somebody's").expect("written");
            },
            true,
        ),
        (
            "journal",
            &|at| {
                fs::create_dir(at).expect("made");
                fs::write(at.join("2026-11.md"), "a diary").expect("written");
            },
            true,
        ),
    ];
    for (number, (name, make, is_refused)) in cases.into_iter().enumerate() {
        let data = place.path().join(format!("data-{number}"));
        fs::create_dir(&data).expect("made");
        let at = data.join(name);
        make(&at);
        let before = tree(&at);
        if is_refused {
            refusal(on(&data));
        } else {
            let mut server = on(&data).start();
            set(&mut server.client(), "k", "v");
            assert!(server.terminate().success());
        }
        assert_eq!(tree(&at), before, "{name}, case {number}");
        assert_eq!(fs::read(&outside).expect("read"), b"precious", "{name}, case {number}");
    }
}

#[test]
fn a_rewrite_follows_no_link_that_lies_in_its_way() {
    let place = tempfile::tempdir().expect("a directory");
    let (file, outside) = (place.path().join("rockpool.toml"), place.path().join("outside"));
    fs::write(&file, "timeout = 5\n").expect("written");
    fs::write(&outside, "precious").expect("written");
    let server = Server::options(Engine::Memory).flag("--config").flag(&file).start();
    let pid = server.pid();
    for name in
        [format!(".rockpool.toml.{pid}.tmp"), format!("rockpool.toml.{pid}.tmp"), "rockpool.toml.tmp".to_owned()]
    {
        symlink(&outside, place.path().join(name)).expect("linked");
    }
    let client = &mut server.client();
    assert_eq!(client.command(&["CONFIG", "SET", "timeout", "6"]), Value::ok());
    assert_eq!(client.command(&["CONFIG", "REWRITE"]), Value::ok());
    assert!(fs::read_to_string(&file).expect("read").starts_with("timeout = 6\n"));
    assert_eq!(fs::read(&outside).expect("read"), b"precious");
}

/// All that the server makes, whatever the mask it was started with.
#[test]
fn what_it_makes_is_for_its_user_alone() {
    for (mask, with_socket) in [("000", true), ("022", false), ("077", false)] {
        let place = tempfile::tempdir().expect("a directory");
        let script = place.path().join("masked");
        let program = env!("CARGO_BIN_EXE_rockpool");
        fs::write(&script, format!("#!/bin/sh\numask {mask}\nexec {program} \"$@\"\n")).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("an executable script");
        let (data, log, socket) = (place.path().join("a/data"), place.path().join("log"), place.path().join("socket"));
        fs::create_dir(place.path().join("a")).expect("made");
        let options = on(&data).program(&script).flag("--maxdirty").flag("64kb").flag("--unixsocket").flag(&socket);
        let mut server = options.start();
        let client = &mut server.client();
        for number in 0..2000 {
            set(client, &format!("key:{number}"), &"v".repeat(if number % 50 == 0 { 10_000 } else { 100 }));
        }
        assert!(eventually(PATIENCE, || client.is_merged()));
        assert_eq!(client.command(&["SAVE"]), Value::ok());
        assert_eq!(client.command(&["FLUSHALL"]), Value::ok());
        set(client, "k", "v");
        if with_socket {
            let mode = fs::metadata(&socket).expect("the socket").mode() & 0o777;
            assert_eq!(mode, 0o777, "without unixsocketperm it has what the mask gives");
        }
        assert!(server.terminate().success());
        let refused = on(&data).program(&script).flag("--logfile").flag(&log).flag("--maxdisk").flag("1mb").try_start();
        assert!(refused.is_err());
        let copy = place.path().join("copy");
        let restore = on(&data).program(&script).flag("--dir").flag(&copy).flag("--restore");
        drop(restore.flag(data.join("checkpoint")).start());
        let made = [tree(&data), tree(&copy), tree(&log)].into_iter().flatten().map(|(path, _)| path);
        // The test has made this one.
        for path in made.filter(|path| *path != data) {
            let mode = fs::symlink_metadata(&path).expect("it is there").mode() & 0o777;
            assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{} with umask {mask}", path.display());
        }
    }
}

/// A server on `copy`, told to begin with the checkpoint `from`.
fn restored(from: &Path, copy: &Path, home: &Path) -> ServerOptions {
    // The directory that a test's server gets otherwise is made for it.
    on(&home.join("unused")).flag("--dir").flag(copy).flag("--restore").flag(from)
}

#[test]
fn a_restored_server_restarts_with_the_same_arguments() {
    let place = tempfile::tempdir().expect("a directory");
    let home = place.path();
    let (first, second) = (home.join("first"), home.join("second"));
    let data = home.join("data");
    let source = on(&data).start();
    let client = &mut source.client();
    set(client, "k", "1");
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    fs::rename(data.join("checkpoint"), &first).expect("renamed");
    set(client, "k", "2");
    assert_eq!(client.command(&["SAVE"]), Value::ok());
    fs::rename(data.join("checkpoint"), &second).expect("renamed");

    let copy = home.join("deep/below/copy");
    let mut server = restored(&first, &copy, home).start();
    assert_eq!(get(&mut server.client(), "k"), Value::bulk("1"));
    set(&mut server.client(), "since", "v");
    for ends_well in [false, true] {
        if ends_well {
            assert!(server.terminate().success());
        } else {
            server.kill();
        }
        server = restored(&first, &copy, home).start();
        assert_eq!(get(&mut server.client(), "since"), Value::bulk("v"));
        assert!(server.log().contains("restored from it before"), "{}", server.log());
    }
    drop(server);
    let refused = refusal(restored(&second, &copy, home));
    assert!(refused.contains("is not empty") && refused.contains("it was restored from"), "{refused}");
    assert!(refusal(restored(&first, &data, home)).contains("is not empty"), "it is served, and holds other data");
    // Moved, it is the same checkpoint; gone, nothing else can be meant.
    let moved = home.join("moved");
    fs::rename(&first, &moved).expect("renamed");
    for from in [&moved, &first] {
        assert_eq!(get(&mut restored(from, &copy, home).start().client(), "since"), Value::bulk("v"));
    }
    assert!(refusal(restored(&home.join("never was"), &copy, home)).contains("is not empty"));
    assert!(refusal(restored(&home.join("never was"), &home.join("new"), home)).contains("is not a directory"));
}

#[test]
fn an_interrupted_restore_is_made_anew() {
    let place = tempfile::tempdir().expect("a directory");
    let home = place.path();
    let data = home.join("data");
    {
        let server = on(&data).start();
        set(&mut server.client(), "k", "v");
        assert_eq!(server.client().command(&["SAVE"]), Value::ok());
    }
    let (checkpoint, copy) = (data.join("checkpoint"), home.join("copy"));
    fs::create_dir_all(copy.join("rocksdb")).expect("made");
    // Among other files, as on the root of a volume.
    fs::create_dir(copy.join("lost+found")).expect("made");
    fs::write(copy.join("rocksdb/000007.sst"), "a half").expect("written");
    assert!(refusal(restored(&checkpoint, &copy, home)).contains("holds data but no FORMAT file"));
    fs::copy(checkpoint.join("FORMAT"), copy.join("RESTORING")).expect("copied");
    assert!(refusal(on(&copy)).contains("unfinished copy"));
    assert_eq!(get(&mut restored(&checkpoint, &copy, home).start().client(), "k"), Value::bulk("v"));
    assert_eq!(get(&mut on(&copy).start().client(), "k"), Value::bulk("v"));
    assert!(!copy.join("RESTORING").exists() && copy.join("lost+found").exists());
}

#[test]
fn what_means_one_start_is_not_written_into_the_file() {
    let place = tempfile::tempdir().expect("a directory");
    let home = place.path();
    let (data, file) = (home.join("data"), home.join("rockpool.toml"));
    fs::write(&file, "timeout = 5\n").expect("written");
    {
        let server = on(&data).start();
        set(&mut server.client(), "k", "v");
        assert_eq!(server.client().command(&["SAVE"]), Value::ok());
    }
    let copy = home.join("copy");
    let mut server =
        restored(&data.join("checkpoint"), &copy, home).flag("--repair").flag("--config").flag(&file).start();
    assert_eq!(server.client().command(&["CONFIG", "REWRITE"]), Value::ok());
    let text = fs::read_to_string(&file).expect("read");
    assert!(text.contains("timeout = 5") && !text.contains("restore") && !text.contains("repair"), "{text}");
    // Given again and again, a repair of what is whole does nothing, and says so.
    server.kill();
    for _ in 0..2 {
        let server = on(&copy).flag("--repair").start();
        assert!(server.log().contains("repair: nothing is damaged"), "{}", server.log());
        assert_eq!(get(&mut server.client(), "k"), Value::bulk("v"));
    }
    assert!(tree(&copy).keys().all(|path| !path.to_string_lossy().contains("dropped")));
}

/// Makes them, with the program that `ROCKPOOL_BIN` names.
#[test]
#[ignore = "it takes a program of an older version"]
fn make_fixtures() {
    let (stages, _) = older::content();
    for (format, end) in older::FIXTURES {
        let place = tempfile::tempdir().expect("a directory");
        if format == 1 {
            let text = "format = 1\nseed = \"000643b1c0ffee00\"\ncreated-ms = 1764000000000\nprogram = \"0.1.0\"\n";
            fs::write(place.path().join("NEW"), text).expect("written");
        }
        for (stage, commands) in stages.iter().enumerate() {
            let interval = if stage == 2 { "600000" } else { "100" };
            let mut server = on(place.path()).flag("--merge-interval").flag(interval).start();
            let client = &mut server.client();
            assert!(client.pipeline(commands).iter().all(|reply| !reply.is_error()));
            if stage < 2 {
                assert!(eventually(PATIENCE, || client.is_merged()));
            }
            if stage == 0 || end == "ended" { assert!(server.terminate().success()) } else { server.kill() }
        }
        let archive = older::archive(format, end);
        fs::create_dir_all(archive.parent().expect("a directory")).expect("made");
        // Without what a start makes anew; and journals are mostly zeros.
        let sparse = place.path().join("sparse");
        fs::create_dir(&sparse).expect("made");
        for part in ["FORMAT", "journal", "rocksdb"] {
            let mut copy = std::process::Command::new("cp");
            assert!(
                copy.args(["-a", "--sparse=always"])
                    .arg(place.path().join(part))
                    .arg(&sparse)
                    .status()
                    .expect("cp")
                    .success()
            );
        }
        let mut tar = std::process::Command::new("tar");
        tar.args(["--sort=name", "--sparse", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
        tar.args(["--exclude=spare-*", "--exclude=./rocksdb/LO*", "-I", "gzip -9n", "-cf"]);
        tar.arg(&archive).arg("-C").arg(&sparse).arg(".");
        assert!(tar.status().expect("tar").success());
    }
}

#[test]
fn directories_of_older_formats_open_and_keep_every_key() {
    let (_, kept) = older::content();
    for (format, end) in older::FIXTURES {
        let place = tempfile::tempdir().expect("a directory");
        let (data, copy) = (place.path().join("data"), place.path().join("copy"));
        older::unpack(format, end, &data);
        let before = fs::read_to_string(data.join("FORMAT")).expect("FORMAT");
        assert_eq!(older::line_of_format(&before, "format"), Some(&*format.to_string()));

        // As a copy first, from what stays as it is.
        let all = tree(&data.join("rocksdb"));
        let server = restored(&data, &copy, place.path()).start();
        older::check_kept(&mut server.client(), &kept);
        older::check_format(&copy, &before);
        drop(server);
        assert!(tree(&data.join("rocksdb")) == all, "format {format}, {end}");
        assert_eq!(fs::read_to_string(data.join("FORMAT")).expect("FORMAT"), before);

        let mut server = on(&data).start();
        assert!(server.log().contains("of an older format"), "{}", server.log());
        older::check_kept(&mut server.client(), &kept);
        older::check_format(&data, &before);
        // It goes on as any other does.
        assert_eq!(server.client().command(&["SAVE"]), Value::ok());
        older::check_format(&data.join("checkpoint"), &before);
        set(&mut server.client(), "new", "v");
        let mut kept = kept.clone();
        kept.insert((0, "new".to_owned()), ("v".to_owned(), None));
        for flags in [&[][..], &["--maxdisk", "1gb"]] {
            server.kill();
            server = flags.iter().fold(on(&data), |options, flag| options.flag(*flag)).start();
            assert!(!server.log().contains("of an older format"), "{}", server.log());
            older::check_kept(&mut server.client(), &kept);
        }
    }
}

/// At whatever moment a start ends that makes it one of the present format, it is of the one or of the other, and whole.
#[test]
fn a_directory_of_an_older_format_survives_the_end_of_a_start_at_any_moment() {
    let (_, kept) = older::content();
    for format in [1, 2] {
        let place = tempfile::tempdir().expect("a directory");
        older::unpack(format, "killed", &place.path().join("first"));
        let before = fs::read_to_string(place.path().join("first/FORMAT")).expect("FORMAT");
        let begun = Instant::now();
        drop(on(&place.path().join("first")).start());
        let whole = begun.elapsed();
        let (mut older, mut present) = (0, 0);
        for part in 0..6 {
            let data = place.path().join(format!("{part}"));
            older::unpack(format, "killed", &data);
            let begun = Instant::now();
            on(&data).start_and_kill(|| begun.elapsed() >= whole * part / 6);
            let text = fs::read_to_string(data.join("FORMAT")).expect("FORMAT");
            if text == before {
                older += 1
            } else {
                present += 1
            }
            if text != before {
                older::check_format(&data, &before);
            }
            let server = on(&data).start();
            older::check_kept(&mut server.client(), &kept);
            older::check_format(&data, &before);
            drop(server);
            fs::remove_dir_all(&data).expect("removed");
        }
        assert!(older > 0, "of format {format}: {older} before, {present} after");
    }
}

//! CONFIG.

mod support;

use support::{Client, Engine, PATIENCE, Redis, Server, Value, eventually, on_every_engine};

fn get(client: &mut Client, name: &str) -> String {
    let reply = client.command(&["CONFIG", "GET", name]);
    assert_eq!(reply.items().len(), 2, "{name}: {reply:?}");
    reply.items()[1].text()
}

fn refused(name: &str, reason: &str) -> Value {
    Value::error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}

on_every_engine!(what_is_set_is_read_back, |server| {
    let mut client = server.client();
    let set = ["CONFIG", "SET", "maxmemory", "100mb", "MaxMemory-Policy", "allkeys-lru", "timeout", "77"];
    assert_eq!(client.command(&set), Value::ok());
    assert_eq!(get(&mut client, "maxmemory"), "104857600");
    assert_eq!(get(&mut client, "maxmemory-policy"), "allkeys-lru");
    assert_eq!(get(&mut server.client(), "timeout"), "77");

    let some = client.command(&["CONFIG", "GET", "timeou?", "max?lients", "TimeOut", "nosuch"]);
    assert_eq!(some, Value::bulks(["TimeOut", "77", "maxclients", "10000"]));

    // All or nothing.
    let mixed = ["CONFIG", "SET", "timeout", "78", "maxmemory-policy", "nosuch"];
    assert!(client.command(&mixed).error_text().contains("'maxmemory-policy'"));
    assert_eq!(get(&mut client, "timeout"), "77");
});

on_every_engine!(names_are_answered_as_redis_does, |server| {
    let redis = Redis::start();
    let commands: &[&[&str]] = &[
        &["CONFIG", "GET", "TIMEOUT", "timeout", "Timeout"],
        &["CONFIG", "GET", "TimeOut", "timeou?"],
        &["CONFIG", "GET", "nosuch"],
        &["CONFIG", "GET", "hash-max-ziplist-value"],
        &["CONFIG", "GET"],
        &["CONFIG", "SET", "timeout"],
        &["CONFIG", "SET", "timeout", "1", "timeout"],
        &["CONFIG", "SET", "timeout", "abc"],
        &["CONFIG", "SET", "timeout", "1", "TIMEOUT", "2"],
        &["CONFIG", "SET", "nosuch", "1"],
        &["CONFIG", "SET", "databases", "5"],
        &["CONFIG", "SET", "port", "abc"],
        &["CONFIG", "REWRITE"],
        &["CONFIG", "NOSUCH"],
        &["CONFIG"],
        &["CONFIG", "HELP"],
        &["CONFIG", "RESETSTAT", "a"],
    ];
    for version in ["2", "3"] {
        let (mut ours, mut theirs) = (server.client(), redis.client());
        for client in [&mut ours, &mut theirs] {
            assert!(!client.command(&["HELLO", version]).is_error());
        }
        for command in commands {
            assert_eq!(ours.command(command), theirs.command(command), "{command:?}");
        }
    }
});

on_every_engine!(the_level_of_the_log_changes_at_once, ["--enable-debug-command", "yes"], |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["CONFIG", "SET", "loglevel", "warning"]), Value::ok());
    // Said at the level of notices, and so not any more.
    assert_eq!(client.command(&["CONFIG", "SET", "timeout", "4321"]), Value::ok());
    assert_eq!(client.command(&["CONFIG", "SET", "loglevel", "notice"]), Value::ok());
    assert_eq!(client.command(&["CONFIG", "SET", "hz", "11"]), Value::ok());
    let logged = |words: &str| server.log().contains(&format!("settings changed parameters=\"{words}\""));
    assert!(eventually(PATIENCE, || logged("hz")), "{}", server.log());
    assert!(logged("loglevel"), "{}", server.log());
    assert!(!logged("timeout"), "{}", server.log());
});

on_every_engine!(sockets_stay_where_they_are, |server| {
    let mut client = server.client();
    let expected = refused("port", "Unable to listen on this port. Check server logs.");
    assert_eq!(client.command(&["CONFIG", "SET", "port", "1"]), expected);
    let expected = refused("bind", "Failed to bind to specified addresses.");
    assert_eq!(client.command(&["CONFIG", "SET", "timeout", "9", "bind", "127.0.0.2"]), expected);
    assert!(eventually(PATIENCE, || server.log().contains("since its start parameter=\"bind\"")), "{}", server.log());
    assert_eq!((get(&mut client, "port"), get(&mut client, "timeout")), ("0".to_owned(), "0".to_owned()));
    assert_eq!(client.command(&["CONFIG", "SET", "port", "0"]), Value::ok());
});

on_every_engine!(maxclients_holds_for_those_who_come, |server| {
    let mut client = server.client();
    assert_eq!(client.command(&["CONFIG", "SET", "maxclients", "1"]), Value::ok());
    let mut second = server.client();
    assert_eq!(second.read_value(), Value::error("ERR max number of clients reached"));
    assert!(second.at_end());
    assert_eq!(client.command(&["CONFIG", "SET", "maxclients", "2"]), Value::ok());
    assert_eq!(server.client().command(&["PING"]), Value::simple("PONG"));
});

#[test]
fn a_rewrite_is_what_the_next_start_reads() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rockpool.toml");
    std::fs::write(&file, "# mine\ntimeout = 5\n").unwrap();
    let start = || {
        Server::options(Engine::Memory).directory(directory.path().join("data")).flag("--config").flag(&file).start()
    };
    {
        let server = start();
        let mut client = server.client();
        assert_eq!(get(&mut client, "timeout"), "5");
        assert_eq!(client.command(&["CONFIG", "SET", "timeout", "6", "maxmemory", "1gb"]), Value::ok());
        assert_eq!(client.command(&["CONFIG", "REWRITE"]), Value::ok());
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# mine\ntimeout = 6\n"), "{text}");
    let server = start();
    assert_eq!(get(&mut server.client(), "timeout"), "6");
    assert_eq!(get(&mut server.client(), "maxmemory"), "1073741824");
}

const DEBIAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/debian-redis.conf");

/// Starts with a file of this content in the syntax of redis.conf.
fn start_with(content: &str, flags: &[&str]) -> Result<Server, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis.conf");
    std::fs::write(&file, content).unwrap();
    let options = Server::options(Engine::Memory).flag(&file);
    flags.iter().fold(options, |options, flag| options.flag(flag)).try_start()
}

#[test]
fn the_file_of_debian_s_redis_server_starts_the_server() {
    for &engine in Engine::all() {
        // What the package would write to, and the port, are other ones here.
        let paths = ["--logfile", "", "--pidfile", "", "--supervised", "no", "--daemonize", "no"];
        let options = Server::options(engine).flag(DEBIAN);
        let server = paths.iter().fold(options, |options, flag| options.flag(flag)).start();
        let mut client = server.client();
        let text = std::fs::read_to_string(DEBIAN).unwrap();
        let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next());
        for name in names {
            get(&mut client, name);
        }
        for (name, value) in
            [("hz", "10"), ("appendonly", "no"), ("tcp-keepalive", "300"), ("repl-diskless-sync-delay", "5")]
        {
            assert_eq!(get(&mut client, name), value);
        }
        assert_eq!(get(&mut client, "proc-title-template"), "{title} {listen-addr} {server-mode}");
        let log = server.log();
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("without effect")).collect();
        assert_eq!(warnings.len(), 1, "{log}");
        for (name, is_idle) in
            [("always-show-logo", true), ("rdbcompression", true), ("appendonly", false), ("port", false)]
        {
            assert_eq!(warnings[0].contains(&format!(" {name},")), is_idle, "{}", warnings[0]);
        }
    }
}

#[test]
fn a_redis_conf_means_what_it_means_to_redis() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("10-memory.conf"), "maxmemory 100MB\nmaxmemory-policy volatile-lfu\n").unwrap();
    std::fs::write(path("20-memory.conf"), "maxmemory 1g").unwrap();
    let settings = "Timeout 77\nsave 900 1\nSAVE 300 10\n\
         requirepass \"a\\x41 \\\"b\\\"\\n\"\nmasterauth 'it\\'s'\n\
         client-output-buffer-limit normal 1mb 512k 10\nclient-output-buffer-limit slave 0 0 0\n\
         slowlog-log-slower-than -1\nnotify-keyspace-events KEA\nhash-max-ziplist-entries 7\nhz 1\nhz 99\n\
         latency-tracking-info-percentiles 50 99.5\nshutdown-on-sigterm now nosave\nactive-expire-effort 3\n\
         repl-backlog-size 5mb\nloglevel verbose\noom-score-adj-values 1 2 3\nsyslog-facility LOCAL3\n";
    let include = format!("include {}/*-memory.conf\n", directory.path().display());
    let content = format!("# A comment, then blanks\n\n   \n{settings}{include}");
    std::fs::write(path("redis.conf"), &content).unwrap();
    // redis-server takes `--include FILE` for a line of its file.
    let redis = Redis::start_with(&["--include", path("redis.conf").to_str().unwrap()]);
    let server = start_with(&content, &[]).unwrap();
    let (mut ours, mut theirs) = (server.client(), redis.client());
    for client in [&mut ours, &mut theirs] {
        assert_eq!(client.command(&["AUTH", "aA \"b\"\n"]), Value::ok());
    }
    for name in settings.lines().filter_map(|line| line.split(' ').next()).chain(["maxmemory", "maxmemory-policy"]) {
        assert_eq!(get(&mut ours, name), get(&mut theirs, name), "{name}");
    }
    // Every parameter that Redis knows can be asked for.
    let all = theirs.command(&["CONFIG", "GET", "*"]);
    for name in all.items().iter().step_by(2) {
        get(&mut ours, &name.text());
    }
}

#[test]
fn what_is_wrong_in_a_redis_conf_stops_the_start() {
    // What a user of Redis relies on and is not there, and what Redis refuses as well.
    for (line, is_refused_by_redis) in [
        ("rename-command FLUSHALL \"\"", false),
        ("user alice on >secret ~* +@all", false),
        ("replicaof 127.0.0.1 1", false),
        ("cluster-enabled yes", false),
        ("min-replicas-to-write 1", false),
        ("tls-port 6380", false),
        ("nosuch 1", true),
        ("port", true),
        ("maxmemory lots", true),
        ("requirepass \"a", true),
    ] {
        let refused = start_with(&format!("# first\n{line}\n"), &[]).expect_err(line);
        assert!(refused.contains("exit status: 2"), "{refused}");
        let reasons: Vec<_> = refused.lines().filter(|line| line.starts_with("rockpool: ")).collect();
        let name = line.split(' ').next().unwrap();
        assert!(reasons.len() == 1 && reasons[0].contains("redis.conf:2: ") && reasons[0].contains(name), "{refused}");
        if is_refused_by_redis {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("redis.conf");
            std::fs::write(&file, format!("{line}\n")).unwrap();
            Redis::try_start_in(directory.path(), &["--include", file.to_str().unwrap()], &[]).expect_err(line);
        }
    }
}

#[test]
fn standard_input_can_hold_the_settings() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (script, file) = (directory.path().join("with-input"), directory.path().join("settings"));
    let program = env!("CARGO_BIN_EXE_rockpool");
    std::fs::write(&script, format!("#!/bin/sh\nexec {program} - \"$@\" < {}\n", file.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for content in ["timeout 55\nhz 20\n", "timeout = 55\nhz = 20\n"] {
        std::fs::write(&file, content).unwrap();
        let server = Server::options(Engine::Memory).program(&script).flag("--hz").flag("30").start();
        let mut client = server.client();
        assert_eq!((get(&mut client, "timeout").as_str(), get(&mut client, "hz").as_str()), ("55", "30"));
        let rewritten = client.command(&["CONFIG", "REWRITE"]);
        assert_eq!(rewritten, Value::error("ERR The server is running without a config file"));
    }
}

#[test]
fn a_redis_conf_is_rewritten_in_its_own_syntax() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("redis.conf");
    std::fs::copy(DEBIAN, &file).unwrap();
    let paths = ["--logfile", "", "--pidfile", "", "--supervised", "no", "--daemonize", "no"];
    let start = || {
        let options = Server::options(Engine::Memory).directory(directory.path()).flag(&file);
        paths.iter().fold(options, |options, flag| options.flag(flag)).start()
    };
    let changes = ["save", "60 1 120 2", "requirepass", "a \"b\" c", "maxmemory", "100mb", "hz", "20"];
    let before = {
        let server = start();
        let mut client = server.client();
        let command: Vec<_> = ["CONFIG", "SET"].iter().chain(&changes).collect();
        assert_eq!(client.command(&command), Value::ok());
        assert_eq!(client.command(&["CONFIG", "REWRITE"]), Value::ok());
        client.command(&["CONFIG", "GET", "*"])
    };
    let text = std::fs::read_to_string(&file).unwrap();
    let original = std::fs::read_to_string(DEBIAN).unwrap();
    let kept = original.lines().filter(|line| text.lines().any(|now| now == *line)).count();
    assert!(kept > original.lines().count() - 10, "{text}");
    for line in ["hz 20", "save 60 1", "save 120 2", "requirepass \"a \\\"b\\\" c\"", "maxmemory 100mb", "daemonize no"]
    {
        assert!(text.lines().any(|now| now == line), "{line}\n{text}");
    }
    assert!(!text.contains('='), "{text}");
    let server = start();
    let mut client = server.client();
    assert_eq!(client.command(&["AUTH", "a \"b\" c"]), Value::ok());
    assert_eq!(client.command(&["CONFIG", "GET", "*"]), before);
}

#[test]
fn an_open_server_is_warned_of_or_refused() {
    let open = ["--bind", "*", "--protected-mode", "no"];
    let start = |flags: &[&str]| {
        let options = Server::options(Engine::Memory);
        open.iter().chain(flags).fold(options, |options, flag| options.flag(flag)).try_start()
    };
    let server = start(&[]).unwrap();
    assert!(server.log().contains("WARN no password is set, protected-mode is off"), "{}", server.log());
    let refused = start(&["--allow-open", "no"]).expect_err("it is open");
    assert!(refused.contains("exit status: 1") && refused.contains("set requirepass, or allow-open yes"), "{refused}");
    for closed in [["--requirepass", "secret"], ["--protected-mode", "yes"], ["--bind", "127.0.0.1"]] {
        let server = start(&[&closed[..], &["--allow-open", "no"]].concat()).unwrap();
        assert!(!server.log().contains("no password is set"), "{}", server.log());
    }
}

#[test]
fn a_password_comes_from_its_file_and_not_from_an_empty_variable() {
    let directory = tempfile::tempdir().unwrap();
    let (secret, file) = (directory.path().join("secret"), directory.path().join("rockpool.toml"));
    std::fs::write(&secret, "pass word\n").unwrap();
    std::fs::write(&file, "").unwrap();
    let options = || Server::options(Engine::Memory).flag("--requirepass-file").flag(&secret);
    let server = options().flag("--config").flag(&file).start();
    let mut client = server.client();
    assert!(client.command(&["PING"]).error_text().starts_with("NOAUTH"));
    assert_eq!(client.command(&["AUTH", "pass word"]), Value::ok());
    // It is not written where it was not.
    assert_eq!(client.command(&["CONFIG", "SET", "timeout", "5"]), Value::ok());
    assert_eq!(client.command(&["CONFIG", "REWRITE"]), Value::ok());
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("timeout = 5") && !written.contains("pass word"), "{written}");

    let refused = options().flag("--requirepass").flag("other").try_start().expect_err("two passwords");
    assert!(refused.contains("requirepass is set as well"), "{refused}");
    std::fs::write(&secret, "\n").unwrap();
    assert!(options().try_start().expect_err("no password").contains("its first line is empty"));
    let empty = Server::options(Engine::Memory).environment("ROCKPOOL_REQUIREPASS", "").try_start();
    assert!(empty.expect_err("an empty one").contains("environment variable ROCKPOOL_REQUIREPASS: empty"));
    let empty = Server::options(Engine::Memory).environment("ROCKPOOL_REQUIREPASS_FILE", "").try_start();
    assert!(empty.expect_err("an empty one").contains("environment variable ROCKPOOL_REQUIREPASS_FILE: empty"));
}

/// As a flag it is one of this start; the next one has nothing but the file.
#[test]
fn a_redis_conf_is_told_where_the_data_is() {
    let place = tempfile::tempdir().unwrap();
    let (file, data) = (place.path().join("redis.conf"), place.path().join("data"));
    std::fs::write(&file, "timeout 0\n").unwrap();
    std::fs::create_dir(&data).unwrap();
    let server = Server::options(Engine::Rocksdb).directory(&data).flag(&file).start();
    assert_eq!(server.client().command(&["CONFIG", "REWRITE"]), Value::ok());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.lines().any(|line| line == format!("dir {}", data.display())), "{text}");
}

#[test]
fn the_memory_engine_does_not_pretend_to_restore() {
    let refused = Server::options(Engine::Memory).flag("--restore").flag("/checkpoint").try_start();
    assert!(refused.expect_err("nothing is restored").contains("restore needs type rocksdb"));
    let server = Server::options(Engine::Memory).flag("--maxdisk").flag("1gb").start();
    assert!(server.log().contains("WARN repair and maxdisk mean nothing"), "{}", server.log());
}

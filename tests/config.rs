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

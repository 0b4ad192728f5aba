//! CLIENT, HELLO, AUTH, RESET and MONITOR.

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use support::{Client, PATIENCE, Server, Value, eventually, on_every_engine};

fn info(client: &mut Client) -> HashMap<String, String> {
    fields(&client.command(&["CLIENT", "INFO"]).text())
}

fn fields(line: &str) -> HashMap<String, String> {
    line.split_whitespace()
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The line of the client with that name, as another sees it.
fn seen(observer: &mut Client, name: &str) -> Option<HashMap<String, String>> {
    let list = observer.command(&["CLIENT", "LIST"]).text();
    list.lines().map(fields).find(|line| line["name"] == name)
}

fn named(server: &Server, name: &str) -> Client {
    let mut client = server.client();
    assert_eq!(client.command(&["CLIENT", "SETNAME", name]), Value::ok());
    client
}

on_every_engine!(hello_switches_the_protocol_in_both_directions, |server| {
    let mut client = server.client();
    let id = client.command(&["CLIENT", "ID"]);
    let flat = client.command(&["HELLO"]);
    assert!(matches!(flat, Value::Array(_)), "{flat:?}");
    let map = client.command(&["HELLO", "3", "SETNAME", "me"]);
    assert!(matches!(map, Value::Map(_)), "{map:?}");
    for (field, value) in [
        ("server", Value::bulk("redis")),
        ("version", Value::bulk("7.0.15")),
        ("proto", Value::Integer(3)),
        ("id", id),
        ("mode", Value::bulk("standalone")),
        ("role", Value::bulk("master")),
        ("modules", Value::Array(vec![])),
    ] {
        assert_eq!(map.field(field), Some(&value), "{field}");
    }
    assert_eq!(client.command(&["CLIENT", "GETNAME"]), Value::bulk("me"));
    assert_eq!(client.command(&["GET", "nothing"]), Value::Null);
    assert!(matches!(client.command(&["HELLO", "2"]), Value::Array(_)));
    assert_eq!(client.command(&["HELLO", "4"]), Value::error("NOPROTO unsupported protocol version"));
    assert_eq!(
        client.command(&["HELLO", "3", "SETNAME", "a b"]),
        Value::error("ERR Client names cannot contain spaces, newlines or special characters.")
    );
    assert_eq!(info(&mut client)["resp"], "2", "an option that failed leaves the protocol as it was");
});

on_every_engine!(the_line_of_a_client_tells_what_it_does, |server| {
    let mut client = server.client();
    let line = client.command(&["CLIENT", "INFO"]).text();
    let names: Vec<&str> = line.split_whitespace().filter_map(|field| field.split('=').next()).collect();
    let expected = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs \
                    rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
    assert_eq!(names.join(" "), expected);
    let mine = fields(&line);
    for (name, value) in [
        ("laddr", server.resp_address().to_string().as_str()),
        ("flags", "N"),
        ("multi", "-1"),
        ("qbuf", "26"),
        ("argv-mem", "10"),
        ("events", "r"),
        ("omem", "0"),
        ("cmd", "client|info"),
        ("user", "default"),
        ("redir", "-1"),
    ] {
        assert_eq!(mine[name], value, "{name} of {line}");
    }
    client.command(&["SELECT", "7"]);
    client.command(&["CLIENT", "NO-EVICT", "on"]);
    client.command(&["CLIENT", "NO-TOUCH", "on"]);
    client.command(&["CLIENT", "SETINFO", "LIB-NAME", "lib"]);
    client.command(&["CLIENT", "SETINFO", "lib-ver", "1.2"]);
    client.command(&["CLIENT", "SETNAME", "somebody"]);
    client.raw_write(b"*2\r\n$4\r\nECHO\r\n$10\r\nhalf");
    let mut observer = server.client();
    assert!(eventually(PATIENCE, || seen(&mut observer, "somebody").is_some_and(|line| line["qbuf"] == "23")));
    let line = seen(&mut observer, "somebody").unwrap();
    assert_eq!((&*line["db"], &*line["flags"], &*line["cmd"]), ("7", "eT", "client|setname"));
    assert_eq!((&*line["lib-name"], &*line["lib-ver"]), ("lib", "1.2"));
    let by_id = observer.command(&["CLIENT", "LIST", "ID", &line["id"], "999999"]).text();
    assert_eq!(by_id.lines().count(), 1);
    assert_eq!(observer.command(&["CLIENT", "LIST", "TYPE", "normal"]).text().lines().count(), 2);
    assert_eq!(observer.command(&["CLIENT", "LIST", "TYPE", "pubsub"]), Value::bulk(""));
    drop(client);
    assert!(eventually(PATIENCE, || seen(&mut observer, "somebody").is_none()), "it is listed after its end");
});

on_every_engine!(reset_makes_it_as_good_as_new, |server| {
    let mut client = named(&server, "old");
    client.command(&["HELLO", "3"]);
    client.command(&["SELECT", "3"]);
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["PING"]);
    assert_eq!(client.command(&["RESET"]), Value::simple("RESET"));
    let line = info(&mut client);
    assert_eq!((&*line["name"], &*line["db"], &*line["resp"], &*line["flags"]), ("", "0", "2", "N"));
    assert_eq!(client.command(&["MONITOR"]), Value::ok());
    assert_eq!(info(&mut client)["flags"], "O");
    assert!(client.read_value().text().contains("\"INFO\""));
    assert_eq!(client.command(&["RESET"]), Value::simple("RESET"));
    assert_eq!(info(&mut client)["flags"], "N");
});

on_every_engine!(reply_off_skip_and_on, |server| {
    let mut client = server.client();
    client.raw_write(b"CLIENT REPLY SKIP\r\nECHO 1\r\nECHO 2\r\n");
    assert_eq!(client.read_value(), Value::bulk("2"));
    client.raw_write(
        b"CLIENT REPLY OFF\r\nECHO 3\r\nNOSUCH\r\nCLIENT REPLY SKIP\r\nECHO 4\r\nCLIENT REPLY ON\r\nECHO 5\r\n",
    );
    assert_eq!([client.read_value(), client.read_value()], [Value::ok(), Value::bulk("5")]);
    client.raw_write(b"CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nECHO 6\r\n");
    assert_eq!([client.read_value(), client.read_value()], [Value::ok(), Value::bulk("6")]);
    assert_eq!(client.command(&["CLIENT", "REPLY", "maybe"]), Value::error("ERR syntax error"));
});

on_every_engine!(kill_reaches_every_worker, ["--io-threads", "3"], |server| {
    let mut killer = named(&server, "killer");
    let mut victims: Vec<Client> = (0..9).map(|_| named(&server, "victim")).collect();
    let address = info(&mut victims[0])["addr"].clone();
    assert_eq!(killer.command(&["CLIENT", "KILL", &address]), Value::ok());
    assert!(victims[0].at_end());
    assert_eq!(killer.command(&["CLIENT", "KILL", &address]), Value::error("ERR No such client"));
    let id = info(&mut victims[1])["id"].clone();
    assert_eq!(killer.command(&["CLIENT", "KILL", "ID", &id, "ADDR", "1.2.3.4:5"]), Value::Integer(0));
    assert_eq!(killer.command(&["CLIENT", "KILL", "ID", &id, "USER", "default", "TYPE", "normal"]), Value::Integer(1));
    assert!(victims[1].at_end());
    let everybody = ["CLIENT", "KILL", "LADDR", &server.resp_address().to_string()];
    assert_eq!(killer.command(&everybody), Value::Integer(7));
    assert_eq!(killer.command(&["CLIENT", "LIST"]).text().lines().count(), 1, "who is killed is not listed any more");
    assert!(victims[2..].iter_mut().all(Client::at_end));
    // The reply to killing oneself is still sent.
    assert_eq!(killer.command(&["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "no"]), Value::Integer(1));
    assert!(killer.at_end());
});

on_every_engine!(kill_ends_a_client_that_does_not_read, |server| {
    let mut stuck = named(&server, "stuck");
    assert_eq!(stuck.command(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
    for _ in 0..64 {
        stuck.send(&["GET", "big"]);
    }
    let mut killer = server.client();
    let waits = |killer: &mut Client| {
        seen(killer, "stuck")
            .is_some_and(|line| line["omem"].parse::<u64>().unwrap() > 1 << 20 && line["events"] == "rw")
    };
    assert!(eventually(PATIENCE, || waits(&mut killer)));
    assert_eq!(killer.command(&["CLIENT", "KILL", "SKIPME", "yes"]), Value::Integer(1));
    stuck.set_deadline(Duration::from_secs(10));
    let mut replies = 0;
    while stuck.try_read_value().is_ok() {
        replies += 1;
    }
    assert!(replies < 64, "it was served to the end");
});

on_every_engine!(pause_all_holds_everything_but_its_end, |server| {
    let (mut client, mut other) = (named(&server, "paused"), server.client());
    assert_eq!(other.command(&["CLIENT", "PAUSE", "60000"]), Value::ok());
    // What came before in the same batch is answered at once, and nothing that waits is executed.
    client.raw_write(b"CLIENT LIST TYPE pubsub\r\nGET a\r\nSET a 1\r\nGET a\r\n");
    assert_eq!(client.read_value(), Value::bulk(""));
    assert!(eventually(PATIENCE, || seen(&mut other, "paused").unwrap()["flags"] == "b"));
    client.raw_write(b"ECHO a\r\n");
    client.set_deadline(Duration::from_millis(50));
    assert!(client.try_read_value().is_err());
    client.set_deadline(PATIENCE);
    assert_eq!(other.command(&["CLIENT", "UNPAUSE"]), Value::ok());
    assert_eq!(client.read_value(), Value::Null);
    assert_eq!(client.read_value(), Value::ok());
    assert_eq!([client.read_value(), client.read_value()], [Value::bulk("1"), Value::bulk("a")]);
    assert_eq!(seen(&mut other, "paused").unwrap()["flags"], "N");
});

on_every_engine!(pause_write_lets_reads_through_and_ends_by_itself, |server| {
    let mut client = server.client();
    let start = Instant::now();
    assert_eq!(client.command(&["CLIENT", "PAUSE", "300", "WRITE"]), Value::ok());
    assert_eq!(client.command(&["GET", "k"]), Value::Null);
    assert!(start.elapsed() < Duration::from_millis(300));
    assert_eq!(client.command(&["SET", "k", "v"]), Value::ok());
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(299), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
});

on_every_engine!(unblock_ends_what_blocks_and_nothing_else, ["--enable-debug-command", "yes"], |server| {
    let (mut waiting, mut other, mut monitor) = (named(&server, "waiting"), server.client(), server.client());
    let id = seen(&mut other, "waiting").expect("it is listed")["id"].clone();
    let flags = |other: &mut Client| seen(other, "waiting").expect("it is listed")["flags"].clone();
    let unblock = |other: &mut Client, reason: &[&str]| other.command(&[&["CLIENT", "UNBLOCK", &id], reason].concat());
    assert_eq!(unblock(&mut other, &[]), Value::Integer(0), "it does not wait");
    assert_eq!(monitor.command(&["MONITOR"]), Value::ok());
    let unblocked = Value::error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
    for (reason, answer) in [(&[][..], Value::Integer(0)), (&["timeout"], Value::Integer(0)), (&["ERROR"], unblocked)] {
        waiting.raw_write(b"PING\r\nWAIT 1 0\r\nPING\r\n");
        assert_eq!(waiting.read_value(), Value::simple("PONG"), "what came before is answered at once");
        assert!(eventually(PATIENCE, || flags(&mut other) == "b"));
        assert_eq!(other.info_number("clients", "blocked_clients"), 1);
        assert_eq!(unblock(&mut other, reason), Value::Integer(1));
        assert_eq!([waiting.read_value(), waiting.read_value()], [answer, Value::simple("PONG")]);
        assert_eq!(unblock(&mut other, reason), Value::Integer(0), "once is enough");
    }
    // Those who monitor see it when it begins, and once.
    let mut shown = String::new();
    while !shown.contains("\"end\"") {
        other.command(&["ECHO", "end"]);
        shown += &monitor.read_value().text();
    }
    assert_eq!(shown.matches("\"WAIT\" \"1\" \"0\"").count(), 3, "{shown}");
    assert!(shown.find("\"WAIT\"") < shown.find("\"INFO\""), "{shown}");
    // A time limit.
    let began = Instant::now();
    assert_eq!(waiting.command(&["WAIT", "1", "100"]), Value::Integer(0));
    assert!(began.elapsed() >= Duration::from_millis(99));
    // What waits for something else than others.
    waiting.send(&["DEBUG", "SLEEP", "0.5"]);
    assert!(eventually(PATIENCE, || flags(&mut other) == "b"));
    assert_eq!(unblock(&mut other, &[]), Value::Integer(0));
    assert_eq!(waiting.read_value(), Value::ok());
    assert_eq!(other.command(&["CLIENT", "PAUSE", "600000", "WRITE"]), Value::ok());
    waiting.send(&["SET", "key", "v"]);
    assert!(eventually(PATIENCE, || flags(&mut other) == "b"));
    assert_eq!(unblock(&mut other, &["ERROR"]), Value::Integer(0));
    assert_eq!(other.command(&["CLIENT", "UNPAUSE"]), Value::ok());
    assert_eq!(waiting.read_value(), Value::ok());
    // Bad requests, as Redis answers them.
    for (words, message) in [
        (&["x"][..], "ERR value is not an integer or out of range"),
        (&["x", "reason"], "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
        (
            &["1", "ERROR", "more"],
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        ),
        (&[], "ERR wrong number of arguments for 'client|unblock' command"),
    ] {
        assert_eq!(other.command(&[&["CLIENT", "UNBLOCK"], words].concat()), Value::error(message));
    }
    assert_eq!(other.command(&["CLIENT", "UNBLOCK", "-1"]), Value::Integer(0));
    assert_eq!(other.command(&["CLIENT", "UNBLOCK", "999999"]), Value::Integer(0));
    // A client that is killed is woken, too.
    waiting.send(&["WAIT", "1", "0"]);
    assert!(eventually(PATIENCE, || flags(&mut other) == "b"));
    assert_eq!(other.command(&["CLIENT", "KILL", "ID", &id]), Value::Integer(1));
    assert!(waiting.at_end());
    assert_eq!(other.info_number("clients", "blocked_clients"), 0);
});

on_every_engine!(who_goes_during_a_pause_changes_nothing, |server| {
    let (mut client, mut other) = (named(&server, "gone"), server.client());
    other.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    client.send(&["SET", "k", "v"]);
    assert!(eventually(PATIENCE, || seen(&mut other, "gone").unwrap()["flags"] == "b"));
    drop(client);
    assert!(eventually(PATIENCE, || seen(&mut other, "gone").is_none()));
    other.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(other.command(&["GET", "k"]), Value::Null);
});

on_every_engine!(monitor_shows_what_all_others_do, ["--io-threads", "2", "--requirepass", "pass"], |server| {
    let mut clients: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.command(&["AUTH", "pass"]), Value::ok());
    }
    let [monitor, one, two] = &mut clients[..] else { unreachable!() };
    assert_eq!(monitor.command(&["MONITOR"]), Value::ok());
    let mut see = |expected: &str, from: &str| {
        let line = monitor.read_value().text();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(
            time.split_once('.').is_some_and(|(seconds, micros)| seconds.len() == 10 && micros.len() == 6),
            "{line}"
        );
        assert_eq!(rest, format!("[{expected}").replacen(']', &format!(" {from}]"), 1));
    };
    let address = info(one)["addr"].clone();
    see("0] \"CLIENT\" \"INFO\"", &address);
    one.command(&["SeT", "a\n\"\\", "\x00 b"]);
    see(r#"0] "SeT" "a\n\"\\" "\x00 b""#, &address);
    one.command(&["SELECT", "2"]);
    see(r#"2] "SELECT" "2""#, &address);
    // Neither what is not executed nor what administers is shown, and no secret.
    for hidden in [&["NOSUCH"][..], &["GET"], &["CLIENT", "LIST"], &["CLIENT", "PAUSE", "0"]] {
        one.command(hidden);
    }
    one.command(&["AUTH", "wrong"]);
    see(r#"2] "AUTH" "(redacted)""#, &address);
    one.command(&["HELLO", "2", "auth", "default", "pass", "setname", "me"]);
    see(r#"2] "HELLO" "2" "auth" "(redacted)" "(redacted)" "setname" "me""#, &address);
    let address = info(two)["addr"].clone();
    see("0] \"CLIENT\" \"INFO\"", &address);
    two.pipeline(&[&["ECHO", "1"], &["ECHO", "2"]]);
    see(r#"0] "ECHO" "1""#, &address);
    see(r#"0] "ECHO" "2""#, &address);
    // Its own commands, too, in the order of their replies; but it may not touch keys.
    let own = monitor.pipeline(&[&["ECHO", "x"][..], &["GET", "a"], &["PING"], &["PING"]]);
    assert_eq!(own[0], Value::bulk("x"));
    assert!(own[1].text().ends_with(r#""ECHO" "x""#), "{own:?}");
    assert_eq!(own[2], Value::error("ERR Replica can't interact with the keyspace"));
    assert_eq!(own[3], Value::simple("PONG"));
    drop((monitor.read_value(), monitor.read_value(), monitor.read_value()));
    assert_eq!(monitor.command(&["RESET"]), Value::simple("RESET"));
    assert!(monitor.command(&["PING"]).is_error(), "RESET asks for the password again");
});

on_every_engine!(a_monitor_that_does_not_read_is_cut, ["--client-output-buffer-limit", "normal 1mb 0 0"], |server| {
    let mut monitor = named(&server, "monitor");
    assert_eq!(monitor.command(&["MONITOR"]), Value::ok());
    let mut client = server.client();
    let value = "x".repeat(100_000);
    // The kernel's buffers take some megabytes before anything waits in the server.
    let cut = (0..1000).any(|_| {
        assert_eq!(client.command(&["ECHO", &value]).bytes().len(), value.len());
        seen(&mut client, "monitor").is_none()
    });
    assert!(cut, "it is still there");
});

on_every_engine!(
    a_reader_over_the_soft_limit_is_cut_after_its_seconds,
    ["--client-output-buffer-limit", "normal 0 100kb 1"],
    |server| {
        let mut slow = named(&server, "slow");
        assert_eq!(slow.command(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
        let start = Instant::now();
        for _ in 0..32 {
            slow.send(&["GET", "big"]);
        }
        let mut observer = server.client();
        assert!(eventually(PATIENCE, || seen(&mut observer, "slow").is_none()));
        assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(server.log().contains("soft limit"), "{}", server.log());
    }
);

on_every_engine!(a_password_is_asked_for, ["--requirepass", "secret"], |server| {
    let no_auth = Value::error("NOAUTH Authentication required.");
    let wrong = Value::error("WRONGPASS invalid username-password pair or user is disabled.");
    let mut client = server.client();
    for refused in [&["PING"][..], &["GET", "a"], &["CLIENT", "ID"], &["MONITOR"]] {
        assert_eq!(client.command(refused), no_auth, "{refused:?}");
    }
    assert!(client.command(&["HELLO", "3"]).error_text().starts_with("NOAUTH HELLO must be called"));
    for guess in [&["AUTH", ""][..], &["AUTH", "Secret"], &["AUTH", "default", "secrets"], &["AUTH", "root", "secret"]]
    {
        assert_eq!(client.command(guess), wrong, "{guess:?}");
    }
    assert_eq!(client.command(&["AUTH", "a", "b", "c"]), Value::error("ERR syntax error"));
    assert_eq!(client.command(&["HELLO", "3", "AUTH", "default", "secret"]).field("proto"), Some(&Value::Integer(3)));
    assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
    assert_eq!(client.command(&["RESET"]), Value::simple("RESET"));
    assert_eq!(client.command(&["PING"]), no_auth);
    assert_eq!(client.command(&["AUTH", "secret"]), Value::ok());
    assert_eq!(client.command(&["PING"]), Value::simple("PONG"));
    // One write with AUTH first: what follows it is bound by no stranger's limits.
    let mut client = server.client();
    let long = "x".repeat(20_000);
    let replies = client.pipeline(&[&["AUTH", "secret"][..], &["ECHO", &long]]);
    assert_eq!(replies, [Value::ok(), Value::bulk(&long)]);
    // A stranger may not have long commands, nor leave replies unread.
    let mut stranger = server.client();
    stranger.raw_write(b"*11\r\n");
    assert_eq!(stranger.read_value(), Value::error("ERR Protocol error: unauthenticated multibulk length"));
    assert!(stranger.at_end());
});

on_every_engine!(passwords_cannot_be_tried_quickly, ["--requirepass", "secret"], |server| {
    let wrong = Value::error("WRONGPASS invalid username-password pair or user is disabled.");
    let mut client = server.client();
    let start = Instant::now();
    let mut guesses = vec![vec!["AUTH", "guess-1"]; 5];
    guesses.push(vec!["HELLO", "3", "AUTH", "default", "guess-1"]);
    guesses.push(vec!["AUTH", "secret"]);
    let replies = client.pipeline(&guesses);
    assert!(replies[..6].iter().all(|reply| *reply == wrong) && replies[6] == Value::ok(), "{replies:?}");
    // Three are free, then it is 0.1, 0.2 and 0.4 seconds.
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
    assert_eq!(client.info_number("stats", "acl_access_denied_auth"), 6);
    assert_eq!(server.log().matches("wrong password").count(), 1, "{}", server.log());
    assert!(!server.log().contains("guess-1"));
    // A guesser keeps nobody else waiting, and leaves nothing behind.
    let mut others: Vec<Client> = (0..20).map(|_| server.client()).collect();
    others.iter_mut().for_each(|other| (0..50).for_each(|_| other.send(&["AUTH", "guess-2"])));
    assert!(eventually(PATIENCE, || client.info_number("clients", "blocked_clients") == 20));
    assert_eq!(server.client().command(&["AUTH", "secret"]), Value::ok());
    drop(others);
    assert!(eventually(PATIENCE, || client.info_number("clients", "connected_clients") == 1));
    assert!(client.info_number("stats", "acl_access_denied_auth") < 6 + 20 * 8, "{}", server.log());
});

on_every_engine!(a_stranger_gives_itself_no_name, ["--requirepass", "secret"], |server| {
    let (mut admin, mut stranger) = (server.client(), server.client());
    assert_eq!(admin.command(&["AUTH", "secret"]), Value::ok());
    for attempt in [
        &["HELLO", "3", "SETNAME", "somebody"][..],
        &["HELLO", "3", "SETNAME", "somebody", "AUTH", "default", "wrong"],
        &["HELLO", "3", "SETNAME", "somebody", "NOSUCH"],
    ] {
        assert!(stranger.command(attempt).is_error(), "{attempt:?}");
        let list = admin.command(&["CLIENT", "LIST"]).text();
        assert!(!list.contains("somebody"), "{list}");
    }
    let welcome = stranger.command(&["HELLO", "3", "SETNAME", "somebody", "AUTH", "default", "secret"]);
    assert!(!welcome.is_error(), "{welcome:?}");
    assert_eq!(stranger.command(&["CLIENT", "GETNAME"]), Value::bulk("somebody"));
});

on_every_engine!(without_a_password_auth_says_so, |server| {
    let mut client = server.client();
    assert_eq!(
        client.command(&["AUTH", "x"]),
        Value::error(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?"
        )
    );
    assert_eq!(client.command(&["AUTH", "default", "anything"]), Value::ok());
});

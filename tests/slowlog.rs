//! The slow log, from outside.

mod support;

use support::{Client, Value, on_every_engine};

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        other => panic!("{other:?} is no array"),
    }
}

fn bulk(text: impl AsRef<[u8]>) -> Value {
    Value::Bulk(text.as_ref().to_vec())
}

fn entries(client: &mut Client, count: &str) -> Vec<Vec<Value>> {
    array(client.command(&["SLOWLOG", "GET", count])).into_iter().map(array).collect()
}

on_every_engine!(entries_tell_what_was_slow, ["--slowlog-log-slower-than", "0"], |server| {
    let mut client = server.client();
    client.command(&["SLOWLOG", "RESET"]);
    client.command(&["SET", "key", &"v".repeat(129)]);
    let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    client.command(&[&["DEL".to_owned()][..], &many].concat());
    let entries = entries(&mut client, "2");
    assert_eq!(entries.len(), 2);
    let (del, set) = (&entries[0], &entries[1]);
    let expected = vec![bulk("SET"), bulk("key"), bulk(format!("{}... (1 more bytes)", "v".repeat(128)))];
    assert_eq!((set.len(), &set[3]), (6, &Value::Array(expected)));
    let arguments = array(del[3].clone());
    assert_eq!((arguments.len(), &arguments[31]), (32, &bulk("... (10 more arguments)")));
    let (Value::Integer(new), Value::Integer(old)) = (&del[0], &set[0]) else { panic!("{del:?}") };
    assert_eq!(*new, old + 1);
    let Value::Integer(time_s) = set[1] else { panic!("{set:?}") };
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert!((now_s - 60..=now_s).contains(&time_s));
    assert!(matches!(&set[4], Value::Bulk(address) if address.starts_with(b"127.0.0.1:")), "{set:?}");
});

on_every_engine!(length_is_bounded, ["--slowlog-log-slower-than", "0", "--slowlog-max-len", "3"], |server| {
    let mut client = server.client();
    for _ in 0..10 {
        client.command(&["PING"]);
    }
    assert_eq!(client.command(&["SLOWLOG", "LEN"]), Value::Integer(3));
    assert_eq!(entries(&mut client, "0").len(), 0);
    assert_eq!(entries(&mut client, "1").len(), 1);
    assert_eq!(entries(&mut client, "-1").len(), 3);
});

on_every_engine!(fast_commands_are_not_in_it, ["--slowlog-log-slower-than", "60000000"], |server| {
    let mut client = server.client();
    client.command(&["SET", "key", "value"]);
    client.command(&["NOSUCHCOMMAND"]);
    assert_eq!(client.command(&["SLOWLOG", "LEN"]), Value::Integer(0));
});

on_every_engine!(it_can_be_off, ["--slowlog-log-slower-than", "-1"], |server| {
    let mut client = server.client();
    client.command(&["SET", "key", "value"]);
    assert_eq!(client.command(&["SLOWLOG", "LEN"]), Value::Integer(0));
});

on_every_engine!(secrets_are_not_in_it, ["--slowlog-log-slower-than", "0"], |server| {
    let mut client = server.client();
    client.command(&["CLIENT", "SETNAME", "tester"]);
    client.command(&["CONFIG", "SET", "masterauth", "hidden", "maxclients", "100"]);
    client.command(&["AUTH", "user", "hidden"]);
    client.command(&["HELLO", "2", "AUTH", "user", "hidden", "SETNAME", "tester"]);
    let entries = entries(&mut client, "3");
    let arguments: Vec<Value> = entries.iter().map(|entry| entry[3].clone()).collect();
    let words = |words: &[&str]| Value::Array(words.iter().map(bulk).collect());
    let (hidden, tester) = ("(redacted)", "tester");
    assert_eq!(arguments[0], words(&["HELLO", "2", "AUTH", hidden, hidden, "SETNAME", tester]));
    assert_eq!(arguments[1], words(&["AUTH", hidden, hidden]));
    assert_eq!(arguments[2], words(&["CONFIG", "SET", "masterauth", hidden, "maxclients", "100"]));
    assert_eq!(entries[2][5], bulk(tester));
});

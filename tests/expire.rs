//! Expiry: how it is set, told and taken away, and that expired keys are gone for everyone.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::{Client, PATIENCE, Value, eventually, on_every_engine};

fn run(client: &mut Client, line: &str) -> Value {
    client.command(&line.split(' ').collect::<Vec<_>>())
}

fn check(client: &mut Client, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(format!("{:?}", run(client, line)).replace("\\'", "'"), *expected, "{line}");
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

on_every_engine!(expiry_is_told_in_every_unit, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("TTL none", ":-2"),
            ("PTTL none", ":-2"),
            ("EXPIRETIME none", ":-2"),
            ("PEXPIRETIME none", ":-2"),
            ("EXPIRE none 10", ":0"),
            ("PERSIST none", ":0"),
            ("SET a 1", "+OK"),
            ("TTL a", ":-1"),
            ("PERSIST a", ":0"),
            ("PEXPIREAT a 33177117420500", ":1"),
            ("PEXPIRETIME a", ":33177117420500"),
            ("EXPIRETIME a", ":33177117421"),
            ("EXPIREAT a 33177117420", ":1"),
            ("PEXPIRETIME a", ":33177117420000"),
            ("PERSIST a", ":1"),
            ("PEXPIRETIME a", ":-1"),
            ("PEXPIREAT a 9223372036854775807", ":1"),
            ("EXPIRETIME a", ":9223372036854776"),
        ],
    );
    for (line, least_ms, most_ms) in [("EXPIRE a 100", 99_000, 100_000), ("PEXPIRE a 5000", 4_000, 5_000)] {
        let before_ms = now_ms();
        assert_eq!(run(&mut client, line), Value::Integer(1));
        let left_ms = run(&mut client, "PTTL a").integer();
        let elapsed_ms = now_ms() - before_ms;
        assert!((least_ms - elapsed_ms..=most_ms).contains(&left_ms), "{line}: {left_ms}");
        let expiry_ms = run(&mut client, "PEXPIRETIME a").integer();
        assert!((before_ms + most_ms..=now_ms() + most_ms).contains(&expiry_ms), "{line}: {expiry_ms}");
    }
});

on_every_engine!(conditions_are_kept, |server| {
    let mut client = server.client();
    check(
        &mut client,
        &[
            ("SET a 1", "+OK"),
            ("EXPIREAT a 20000000000 XX", ":0"),
            ("EXPIREAT a 20000000000 GT", ":0"),
            ("EXPIREAT a 20000000000 NX", ":1"),
            ("EXPIREAT a 20000000001 NX", ":0"),
            ("EXPIREAT a 20000000000 GT", ":0"),
            ("EXPIREAT a 20000000000 LT", ":0"),
            ("EXPIREAT a 20000000002 LT", ":0"),
            ("EXPIREAT a 20000000002 GT", ":1"),
            ("EXPIREAT a 20000000001 lt xx", ":1"),
            ("EXPIRETIME a", ":20000000001"),
            ("PERSIST a", ":1"),
            ("EXPIREAT a 20000000001 LT XX", ":0"),
            ("EXPIREAT a 20000000001 LT", ":1"),
            ("EXPIREAT a 1 GT", ":0"),
            ("EXPIREAT a -1 GT", ":0"),
            ("EXPIREAT a -1 LT", ":1"),
            ("EXISTS a", ":0"),
            ("EXPIRE a 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible"),
            ("EXPIRE a 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE a 10 MAYBE", "-ERR Unsupported option MAYBE"),
            ("EXPIRE a ten", "-ERR value is not an integer or out of range"),
            ("EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIREAT a -9223372036854775808", "-ERR invalid expire time in 'expireat' command"),
        ],
    );
});

on_every_engine!(an_expiry_in_the_past_deletes_at_once, |server| {
    let mut client = server.client();
    for line in ["EXPIRE a 0", "EXPIRE a -1", "PEXPIRE a -1", "EXPIREAT a 1", "PEXPIREAT a 1", "PEXPIREAT a -1"] {
        check(&mut client, &[("SET a 1", "+OK"), (line, ":1"), ("DBSIZE", ":0"), ("GET a", "null"), (line, ":0")]);
    }
});

on_every_engine!(a_key_set_with_an_expiry_in_the_past_is_not_there, |server| {
    let mut client = server.client();
    for line in ["SET a 1 EXAT 1", "SET a 1 PXAT 1"] {
        for look in ["GET a", "RANDOMKEY"] {
            check(&mut client, &[(line, "+OK"), (look, "null"), ("DBSIZE", ":0")]);
        }
        check(&mut client, &[(line, "+OK"), ("KEYS *", "[]"), ("SCAN 0", r#"["0", []]"#), ("DBSIZE", ":0")]);
        check(&mut client, &[(line, "+OK"), ("TTL a", ":-2"), ("RENAME a b", "-ERR no such key"), ("DBSIZE", ":0")]);
    }
});

on_every_engine!(expired_keys_are_gone_for_everyone, |server| {
    let mut client = server.client();
    let mut other = server.client();
    check(&mut client, &[("SET stays 1", "+OK"), ("SET lives 1", "+OK"), ("EXPIRE lives 1000", ":1")]);
    for round in 0..20 {
        let keys: Vec<String> = (0..20).map(|number| format!("{round}:{number}")).collect();
        for key in &keys {
            client.pipeline(&[vec!["SET", key, "v"], vec!["PEXPIRE", key, "5"]]);
        }
        // As soon as one client sees the last one as gone, nobody sees any of them.
        let last = keys.last().expect("there are keys").as_str();
        assert!(eventually(PATIENCE, || run(&mut client, &format!("PTTL {last}")) == Value::Integer(-2)));
        let mut exists = vec!["EXISTS"];
        exists.extend(keys.iter().map(String::as_str));
        assert_eq!(other.command(&exists), Value::Integer(0));
        assert_eq!(sorted(&run(&mut other, "KEYS *")), ["lives", "stays"]);
        assert_eq!(sorted(&run(&mut other, "SCAN 0 COUNT 100000").items()[1]), ["lives", "stays"]);
        let drawn = run(&mut other, "RANDOMKEY").text();
        assert!(["lives", "stays"].contains(&drawn.as_str()), "{drawn}");
        assert_eq!(run(&mut other, &format!("RENAME {last} x")).error_text(), "ERR no such key");
        assert_eq!(run(&mut other, &format!("COPY {last} x")), Value::Integer(0));
        assert_eq!(run(&mut other, &format!("MOVE {last} 1")), Value::Integer(0));
        assert_eq!(run(&mut other, &format!("DEL {last}")), Value::Integer(0));
        assert_eq!(run(&mut other, &format!("TYPE {last}")), Value::simple("none"));
        assert_eq!(run(&mut other, "DBSIZE"), Value::Integer(2));
    }
});

on_every_engine!(what_nobody_looks_at_goes_too, |server| {
    let mut client = server.client();
    for number in 0..1000 {
        client.pipeline(&[vec!["SET", &number.to_string(), "v", "PX", "50"]]);
    }
    assert!(eventually(Duration::from_secs(5), || run(&mut client, "DBSIZE") == Value::Integer(0)));
});

fn sorted(keys: &Value) -> Vec<String> {
    let mut keys: Vec<String> = keys.items().iter().map(Value::text).collect();
    keys.sort();
    keys
}

//! Keys go when their time comes, also those that nobody looks at.

mod support;

use std::time::{Duration, Instant};

use support::{PATIENCE, Value, eventually, on_every_engine};

on_every_engine!(what_nobody_looks_at_goes_by_itself, |server| {
    let client = &mut server.client();
    let commands: Vec<[String; 5]> = (0..20_000)
        .map(|number| {
            ["SET".into(), format!("key:{number}"), "v".into(), "PX".into(), (300 + number % 700).to_string()]
        })
        .collect();
    for chunk in commands.chunks(1000) {
        assert!(client.pipeline(chunk).iter().all(|reply| *reply == Value::ok()));
    }
    client.command(&["SET", "stays", "v"]);
    let loaded = Instant::now();
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]) == Value::Integer(1)));
    let lag = loaded.elapsed().saturating_sub(Duration::from_millis(1000));
    // The cycle runs many times a second; a shared machine gets some slack.
    assert!(lag < Duration::from_secs(2), "{lag:?}");
});

on_every_engine!(default_ttl_makes_a_first_in_first_out_cache, ["--default-ttl", "100"], |server| {
    let client = &mut server.client();
    client.command(&["SET", "plain", "v"]);
    client.command(&["INCR", "counter"]);
    client.command(&["MSET", "one", "1", "two", "2"]);
    client.command(&["SET", "own", "v", "EX", "5000"]);
    for key in ["plain", "counter", "one", "two"] {
        let ttl_s = client.command(&["TTL", key]).integer();
        assert!((95..=100).contains(&ttl_s), "{key}: {ttl_s}");
    }
    assert!(client.command(&["TTL", "own"]).integer() > 4000);
    // A use does not prolong it; setting it again does.
    client.command(&["EXPIRE", "plain", "10"]);
    client.command(&["INCR", "counter"]);
    client.command(&["GET", "plain"]);
    assert!(client.command(&["TTL", "plain"]).integer() <= 10);
    client.command(&["SET", "plain", "again"]);
    assert!(client.command(&["TTL", "plain"]).integer() > 90);
    client.command(&["PERSIST", "plain"]);
    assert_eq!(client.command(&["TTL", "plain"]), Value::Integer(-1));
});

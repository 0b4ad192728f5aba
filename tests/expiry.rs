//! Keys go when their time comes, also those that nobody looks at.

mod support;

use std::time::{Duration, Instant};

use support::{Engine, PATIENCE, Server, Value, eventually, on_every_engine};

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

/// The allocator keeps free memory for ten seconds, in case it is needed again.
#[test]
fn memory_of_expired_keys_goes_back_to_the_system() {
    let server = Server::start(Engine::Memory);
    let client = &mut server.client();
    let value = "v".repeat(2000);
    let empty_bytes = server.resident_bytes();
    for first in (0..40_000).step_by(1000) {
        let commands: Vec<_> = (first..first + 1000)
            .map(|number| ["SET", &format!("key:{number}"), &value, "PX", "1000"].map(str::to_owned))
            .collect();
        assert!(client.pipeline(&commands).iter().all(|reply| *reply == Value::ok()));
    }
    let filled_bytes = server.resident_bytes() - empty_bytes;
    assert!(filled_bytes > 30 << 20, "{filled_bytes}");
    assert!(eventually(PATIENCE, || client.command(&["DBSIZE"]) == Value::Integer(0)));
    let left_bytes = || server.resident_bytes().saturating_sub(empty_bytes);
    assert!(eventually(Duration::from_secs(60), || left_bytes() < filled_bytes / 3), "{}", left_bytes());
}

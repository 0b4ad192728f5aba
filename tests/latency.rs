//! LATENCY, from outside.

mod support;

use support::{Value, on_every_engine};

on_every_engine!(histograms_count_each_command, |server| {
    let mut client = server.client();
    for _ in 0..5 {
        client.command(&["SET", "key", "value"]);
    }
    client.command(&["GET", "key"]);
    client.command(&["MEMORY", "USAGE", "key"]);
    client.command(&["MEMORY", "HELP"]);
    let mut histogram = |names: &[&str]| -> Vec<(String, i64)> {
        let words: Vec<&str> = ["LATENCY", "HISTOGRAM"].iter().chain(names).copied().collect();
        let Value::Array(items) = client.command(&words) else { panic!("no array") };
        items
            .chunks(2)
            .map(|pair| {
                let [Value::Bulk(name), Value::Array(parts)] = pair else { panic!("{pair:?}") };
                let [_, Value::Integer(calls), _, Value::Array(rows)] = &parts[..] else { panic!("{parts:?}") };
                assert_eq!(rows.last(), Some(&Value::Integer(*calls)), "the last row counts all");
                (String::from_utf8(name.clone()).unwrap(), *calls)
            })
            .collect()
    };
    assert_eq!(histogram(&["nosuch", "get", "SET"]), [("get".to_owned(), 1), ("set".to_owned(), 5)]);
    let subcommands = [("memory|help".to_owned(), 1), ("memory|usage".to_owned(), 1)];
    assert_eq!(histogram(&["memory"]), subcommands);
    assert_eq!(histogram(&["memory|usage"]), subcommands[1..]);
    assert!(histogram(&[]).iter().any(|(name, calls)| name == "latency|histogram" && *calls == 3));
});

on_every_engine!(nothing_is_tracked_when_it_is_off, ["--latency-tracking", "no"], |server| {
    let mut client = server.client();
    client.command(&["GET", "key"]);
    assert_eq!(client.command(&["LATENCY", "HISTOGRAM"]), Value::Array(vec![]));
});

on_every_engine!(a_slow_command_is_a_spike, ["--latency-monitor-threshold", "1"], |server| {
    let mut client = server.client();
    // A command of a few megabytes takes its milliseconds, sooner or later.
    let value = vec![b'x'; 64 << 20];
    let seen = support::eventually(support::PATIENCE, || {
        client.command(&[&b"SET"[..], b"key", &value]);
        client.command(&["LATENCY", "LATEST"]) != Value::Array(vec![])
    });
    assert!(seen, "no spike");
    let Value::Array(events) = client.command(&["LATENCY", "LATEST"]) else { panic!("no array") };
    let Value::Array(event) = &events[0] else { panic!("{events:?}") };
    let [Value::Bulk(name), Value::Integer(_), Value::Integer(last_ms), Value::Integer(worst_ms)] = &event[..] else {
        panic!("{event:?}")
    };
    assert!(*last_ms >= 1 && worst_ms >= last_ms);
    let Value::Array(history) = client.command(&[&b"LATENCY"[..], b"HISTORY", name]) else { panic!("no array") };
    assert!(!history.is_empty());
    let Value::Bulk(graph) = client.command(&[&b"LATENCY"[..], b"GRAPH", name]) else { panic!("no graph") };
    assert!(graph.starts_with(&[name, &b" - high "[..]].concat()));
    assert!(matches!(client.command(&["LATENCY", "DOCTOR"]), Value::Bulk(text) if text.starts_with(b"1. ")));
    assert!(matches!(client.command(&["LATENCY", "RESET"]), Value::Integer(1..)));
});

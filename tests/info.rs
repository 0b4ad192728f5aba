//! INFO and MEMORY, from outside.

mod support;

use std::collections::HashMap;

use support::{Client, PATIENCE, Value, eventually, on_every_engine};

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("text"),
        other => panic!("{other:?} is no text"),
    }
}

fn info(client: &mut Client, sections: &[&str]) -> String {
    let words: Vec<&str> = std::iter::once("INFO").chain(sections.iter().copied()).collect();
    text(&client.command(&words))
}

fn fields(info: &str) -> HashMap<String, String> {
    info.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn headings(info: &str) -> Vec<&str> {
    info.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

const DEFAULT: [&str; 12] = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Tiering",
    "Modules",
    "Errorstats",
    "Cluster",
    "Keyspace",
];

on_every_engine!(sections_are_those_that_were_asked_for, |server| {
    let mut client = server.client();
    assert_eq!(headings(&info(&mut client, &[])), DEFAULT);
    assert_eq!(headings(&info(&mut client, &["default"])), DEFAULT);
    assert_eq!(headings(&info(&mut client, &["all"])).len(), 14);
    assert_eq!(headings(&info(&mut client, &["everything"])).len(), 14);
    assert_eq!(headings(&info(&mut client, &["KEYSPACE", "cpu", "commandstats"])), ["CPU", "Commandstats", "Keyspace"]);
    assert_eq!(headings(&info(&mut client, &["latencystats", "default"])).len(), 13);
    assert_eq!(info(&mut client, &["nosuch"]), "");
});

on_every_engine!(every_field_of_redis_is_there_in_its_order, |server| {
    let redis = support::Redis::start();
    let names = |info: &str| -> Vec<String> {
        info.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
    };
    let expected = names(&info(&mut Client::connect(redis.resp_address()), &[]));
    let own = [
        "rockpool_version",
        "workers_active",
        "clients_cut_for_buffers",
        "acl_access_denied_auth",
        "table_longest_probe",
        "table_overflow_keys",
    ];
    let tiering = names(&info(&mut server.client(), &["tiering"]));
    let mut found = names(&info(&mut server.client(), &[]));
    found.retain(|name| !own.contains(&name.as_str()) && !tiering.contains(name));
    assert_eq!(found, expected);
});

on_every_engine!(numbers_are_real, |server| {
    let mut client = server.client();
    let before = fields(&info(&mut client, &["stats"]));
    client.command(&["SET", "key", "value"]);
    client.command(&["GET", "key"]);
    client.command(&["GET", "missing"]);
    client.command(&["NOSUCHCOMMAND"]);
    let after = fields(&info(&mut client, &["all"]));
    let grown = |name: &str| after[name].parse::<i64>().unwrap() - before[name].parse::<i64>().unwrap();
    assert_eq!(grown("total_commands_processed"), 4, "three commands and the first INFO");
    assert_eq!((grown("keyspace_hits"), grown("keyspace_misses"), grown("total_error_replies")), (1, 1, 1));
    assert!(grown("total_net_input_bytes") > 60 && grown("total_net_output_bytes") > 60);
    assert_eq!(after["process_id"], server.pid().to_string());
    assert_eq!(after["tcp_port"], server.resp_address().port().to_string());
    assert_eq!((after["redis_version"].as_str(), after["redis_mode"].as_str()), ("7.0.15", "standalone"));
    assert_eq!(after["run_id"].len(), 40);
    assert_eq!(after["connected_clients"], "1");
    assert_eq!(after["errorstat_ERR"], "count=1");
    assert_eq!(after["db0"], "keys=1,expires=0,avg_ttl=0");
    let number = |name: &str| after[name].parse::<u64>().unwrap();
    assert!(number("used_memory") > 10_000 && number("used_memory_peak") >= number("used_memory"));
    assert!(number("used_memory_rss") > number("used_memory_startup"));
});

on_every_engine!(command_statistics_tell_calls_from_refusals, |server| {
    let mut client = server.client();
    for _ in 0..3 {
        client.command(&["GET", "key"]);
    }
    client.command(&["GET"]);
    client.command(&["PING", "one", "two"]);
    let statistics = fields(&info(&mut client, &["commandstats"]));
    let get = &statistics["cmdstat_get"];
    assert!(get.starts_with("calls=3,usec=") && get.ends_with(",rejected_calls=1,failed_calls=0"), "{get}");
    let ping = &statistics["cmdstat_ping"];
    assert!(ping.starts_with("calls=1,usec=") && ping.ends_with(",rejected_calls=0,failed_calls=1"), "{ping}");
    assert!(!statistics.contains_key("cmdstat_set"));
    let latencies = fields(&info(&mut client, &["latencystats"]));
    let get = &latencies["latency_percentiles_usec_get"];
    let names: Vec<&str> = get.split(',').map(|part| part.split('=').next().unwrap()).collect();
    assert_eq!(names, ["p50", "p99", "p99.9"]);
});

on_every_engine!(rates_follow_the_load, |server| {
    let mut client = server.client();
    let grew = eventually(PATIENCE, || {
        for _ in 0..100 {
            client.command(&["PING"]);
        }
        fields(&info(&mut client, &["stats"]))["instantaneous_ops_per_sec"].parse::<u64>().unwrap() > 50
    });
    assert!(grew);
    assert!(eventually(PATIENCE, || {
        fields(&info(&mut client, &["stats"]))["instantaneous_input_kbps"].parse::<f64>().unwrap() > 0.0
    }));
});

on_every_engine!(memory_usage_follows_the_value, |server| {
    let mut client = server.client();
    client.command(&["SET", "small", "x"]);
    client.command(&["SET", "large", &"x".repeat(100_000)]);
    let mut usage = |key: &str| match client.command(&["MEMORY", "USAGE", key, "SAMPLES", "0"]) {
        Value::Integer(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    assert!((20..100).contains(&usage("small")), "{}", usage("small"));
    assert!((100_000..101_000).contains(&usage("large")), "{}", usage("large"));
    assert_eq!(client.command(&["MEMORY", "USAGE", "missing"]), Value::Null);
    let statistics = client.command(&["MEMORY", "STATS"]);
    let Value::Array(items) = statistics else { panic!("{statistics:?}") };
    assert_eq!(items.len(), 2 * (27 + 1), "one database has keys");
    assert!(!text(&client.command(&["MEMORY", "DOCTOR"])).is_empty());
    assert_eq!(client.command(&["MEMORY", "PURGE"]), Value::Simple("OK".into()));
});

on_every_engine!(errors_are_those_of_redis, |server| {
    let redis = support::Redis::start();
    let (mut ours, mut theirs) = (server.client(), Client::connect(redis.resp_address()));
    for command in [
        &["MEMORY"][..],
        &["MEMORY", "HELP"],
        &["MEMORY", "HELP", "x"],
        &["MEMORY", "nosuch"],
        &["MEMORY", "USAGE"],
        &["MEMORY", "USAGE", "k", "SAMPLES"],
        &["MEMORY", "USAGE", "k", "SAMPLES", "x"],
        &["MEMORY", "USAGE", "k", "SAMPLES", "-1"],
        &["MEMORY", "USAGE", "k", "x", "1"],
        &["SLOWLOG"],
        &["SLOWLOG", "HELP"],
        &["SLOWLOG", "GET", "1", "2"],
        &["SLOWLOG", "GET", "x"],
        &["SLOWLOG", "GET", "-2"],
        &["SLOWLOG", "nosuch"],
        &["LATENCY"],
        &["LATENCY", "HELP"],
        &["LATENCY", "HELP", "x"],
        &["LATENCY", "GRAPH", "nosuch"],
        &["LATENCY", "GRAPH"],
        &["LATENCY", "HISTORY", "nosuch"],
        &["LATENCY", "LATEST"],
        &["LATENCY", "RESET", "nosuch"],
        &["LATENCY", "HISTOGRAM", "nosuch", "nosuch|x"],
    ] {
        assert_eq!(ours.command(command), theirs.command(command), "{command:?}");
    }
});

on_every_engine!(resetstat_forgets_what_was_counted, |server| {
    let mut client = server.client();
    for _ in 0..5 {
        client.command(&["SET", "key", "value"]);
        client.command(&["NOSUCHCOMMAND"]);
    }
    client.command(&["CONFIG", "RESETSTAT"]);
    let after = fields(&info(&mut client, &["all"]));
    assert_eq!((after["total_commands_processed"].as_str(), after["total_error_replies"].as_str()), ("1", "0"));
    assert!(!after.contains_key("cmdstat_set") && !after.contains_key("errorstat_ERR"));
    assert!(!after.contains_key("latency_percentiles_usec_set"));
    assert_eq!(after["rdb_changes_since_last_save"], "5", "it is no statistic");
});

use super::super::parameter::Role;
use super::super::{Group, PARAMETERS, Settings, find};
use std::collections::HashSet;

#[test]
fn no_name_is_there_twice() {
    let mut known = HashSet::new();
    for name in PARAMETERS.iter().flat_map(|parameter| parameter.names()) {
        assert!(known.insert(name), "{name}");
        let shape = |byte: u8| byte.is_ascii_lowercase() || b"-_".contains(&byte);
        assert!(name.bytes().all(shape), "{name}");
        assert_eq!(find(name.to_uppercase().as_bytes()).unwrap().1, name);
    }
}

#[test]
fn what_a_file_holds_is_the_value_of_a_parameter() {
    let read_from_files: Vec<_> = PARAMETERS
        .iter()
        .filter_map(|parameter| match parameter.role {
            Role::FileOf(name) => Some((parameter.name, find(name.as_bytes()).unwrap().0.name)),
            _ => None,
        })
        .collect();
    assert_eq!(read_from_files, [("requirepass-file", "requirepass")]);
}

#[test]
fn every_field_has_the_name_of_its_parameter() {
    let fields = format!("{:?}", Settings::default());
    for parameter in PARAMETERS {
        let field = format!(" {}: ", parameter.name.replace('-', "_"));
        assert!(fields.contains(&field), "{}", parameter.name);
    }
}

#[test]
fn every_default_is_valid_and_prints_as_it_reads() {
    let settings = Settings::default();
    for parameter in PARAMETERS {
        let value = parameter.value(&settings);
        assert_eq!(value.assign(&value.text()), Ok(parameter.role == Role::WorkingDirectory), "{}", parameter.name);
        // What the reference page prints can be written into a file.
        let documented = parameter.value(&Settings::default()).documented();
        assert_eq!(value.assign(&documented), Ok(false), "{}", parameter.name);
    }
}

#[test]
fn every_parameter_says_what_it_does_in_one_line() {
    for parameter in PARAMETERS {
        let doc = parameter.doc();
        assert!(doc.ends_with('.') && !doc.contains('\n') && !doc.contains("  "), "{}: {doc}", parameter.name);
        assert!(!parameter.value(&Settings::default()).form().is_empty(), "{}", parameter.name);
        assert!(Group::ALL.contains(&parameter.group));
    }
}

#[test]
fn the_defaults_are_those_of_redis_unless_meant_otherwise() {
    // Read off redis-server 7.0.15.
    let redis = [
        ("port", "6379"),
        ("tcp-backlog", "511"),
        ("tcp-keepalive", "300"),
        ("maxclients", "10000"),
        ("client-query-buffer-limit", "1073741824"),
        ("proto-max-bulk-len", "536870912"),
        ("unixsocketperm", "0"),
        ("save", "3600 1 300 100 60 10000"),
        ("slowlog-log-slower-than", "10000"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
        ("hash-max-listpack-entries", "512"),
        ("hash-max-ziplist-entries", "512"),
        ("auto-aof-rewrite-min-size", "67108864"),
        ("lua-time-limit", "5000"),
        ("loglevel", "notice"),
        ("oom-score-adj-values", "0 200 800"),
    ];
    let settings = Settings::default();
    for (name, value) in redis {
        assert_eq!(super::get(&settings, name), value, "{name}");
    }
    let limits = "normal 1073741824 268435456 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
    assert_eq!(super::get(&settings, "client-output-buffer-limit"), limits);
}

use super::super::{Caller, NotApplied, Settings, Share, is_sensitive};
use super::{get, load, pairs};

#[test]
fn get_takes_names_and_patterns_in_any_case_and_each_name_once() {
    let settings = Settings::default();
    let names = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
        settings.matching(&patterns).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["PORT"]), ["port"]);
    assert_eq!(names(&["Max[m]emory", "maxmemory", "MAXMEMORY-P*"]), ["maxmemory", "maxmemory-policy"]);
    assert_eq!(names(&["list-max-*"]), ["list-max-listpack-size", "list-max-ziplist-size"]);
    assert_eq!(names(&["lua-time-limit"]), ["lua-time-limit"]);
    assert_eq!(names(&["por", "", "por\\t"]), Vec::<&str>::new());
    assert!(names(&["*"]).len() > 100);
}

#[test]
fn every_error_of_set_is_the_one_of_redis() {
    // Read off redis-server 7.0.15.
    let failed =
        |name: &str, reason: &str| format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}");
    let errors: &[(&[(&str, &str)], String)] = &[
        (&[("x", "1")], "Unknown option or number of arguments for CONFIG SET - 'x'".to_owned()),
        (&[("databases", "3")], failed("databases", "can't set immutable config")),
        (&[("DIR", "/tmp")], failed("DIR", "can't set protected config")),
        // The first thing wrong counts.
        (&[("DIR", "/tmp"), ("x", "1")], failed("DIR", "can't set protected config")),
        (&[("maxmemory", "-1")], failed("maxmemory", "argument must be a memory value")),
        (&[("MAXMEMORY", "x")], failed("maxmemory", "argument must be a memory value")),
        (&[("maxmemory", "1"), ("MaxMemory", "2")], failed("MaxMemory", "duplicate parameter")),
        (
            &[("active-expire-effort", "50")],
            failed("active-expire-effort", "argument must be between 1 and 10 inclusive"),
        ),
        (&[("appendonly", "maybe")], failed("appendonly", "argument must be 'yes' or 'no'")),
        (&[("timeout", "abc")], failed("timeout", "argument couldn't be parsed into an integer")),
        (&[("timeout", "01")], failed("timeout", "argument couldn't be parsed into an integer")),
        (&[("port", " 1")], failed("port", "argument couldn't be parsed into an integer")),
        (&[("PORT", "99999")], failed("port", "argument must be between 0 and 65535 inclusive")),
        (
            &[("hash-max-ziplist-entries", "-5")],
            failed("hash-max-ziplist-entries", "argument must be between 0 and 9223372036854775807 inclusive"),
        ),
        (&[("hash-max-listpack-value", "-5")], failed("hash-max-listpack-value", "argument must be a memory value")),
        (&[("maxclients", "0")], failed("maxclients", "argument must be between 1 and 4294967295 inclusive")),
        (
            &[("proto-max-bulk-len", "10")],
            failed("proto-max-bulk-len", "argument must be between 1048576 and 3221225472 inclusive"),
        ),
        (
            &[("slowlog-log-slower-than", "-5")],
            failed("slowlog-log-slower-than", "argument must be between -1 and 9223372036854775807 inclusive"),
        ),
        (
            &[("maxmemory-samples", "0")],
            failed("maxmemory-samples", "argument must be between 1 and 2147483647 inclusive"),
        ),
        (
            &[("notify-keyspace-events", "Q")],
            failed("notify-keyspace-events", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ),
        (&[("save", "a")], failed("save", "Invalid save parameters")),
        (&[("save", "  1   2  ")], failed("save", "Invalid save parameters")),
        (
            &[("loglevel", "debug notice")],
            failed("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
        ),
        (
            &[("oom-score-adj", "")],
            failed("oom-score-adj", "argument(s) must be one of the following: no, yes, relative, absolute"),
        ),
        (&[("oom-score-adj-values", "1 2")], failed("oom-score-adj-values", "wrong number of arguments")),
        (
            &[("client-output-buffer-limit", "foo")],
            failed("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration."),
        ),
        (
            &[("client-output-buffer-limit", "master 1 2 3")],
            failed("client-output-buffer-limit", "Invalid client class specified in buffer limit configuration."),
        ),
        (
            &[("client-output-buffer-limit", "normal 1 2 3 pubsub x 1 2")],
            failed(
                "client-output-buffer-limit",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
        ),
        (
            &[("latency-tracking-info-percentiles", "50 101")],
            failed(
                "latency-tracking-info-percentiles",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
        ),
        (
            &[("latency-tracking-info-percentiles", "10.0 50.0 a")],
            failed("latency-tracking-info-percentiles", "Invalid latency-tracking-info-percentiles parameters"),
        ),
        (
            &[("maxmemory", "10000001"), ("maxmemory-clients", "200%"), ("client-query-buffer-limit", "invalid")],
            failed("maxmemory-clients", "percentage argument must be less or equal to 100"),
        ),
        (&[("maxmemory-clients", "x%")], failed("maxmemory-clients", "argument must be a memory or percent value")),
    ];
    for (input, expected) in errors {
        let settings = Settings::default();
        let before = settings.matching(&[b"*"]);
        assert_eq!(settings.set(&pairs(input)).unwrap_err().to_string(), *expected, "{input:?}");
        assert_eq!(settings.matching(&[b"*"]), before, "{input:?}");
    }
    let not_text: &[(&[u8], &[u8])] = &[(b"requirepass", b"\xff")];
    let error = Settings::default().set(not_text).unwrap_err().to_string();
    assert_eq!(error, failed("requirepass", "argument must be valid UTF-8"));
}

#[test]
fn set_returns_what_changed() {
    let settings = Settings::default();
    let input = [("maxmemory", "1gb"), ("hz", "10"), ("LUA-TIME-LIMIT", "7"), ("maxmemory-policy", "ALLKEYS-LRU")];
    assert_eq!(settings.set(&pairs(&input)).unwrap(), ["maxmemory", "busy-reply-threshold", "maxmemory-policy"]);
    assert_eq!(settings.set(&pairs(&input)).unwrap(), Vec::<&str>::new());
    assert_eq!(get(&settings, "maxmemory"), "1073741824");
    assert_eq!(get(&settings, "busy-reply-threshold"), "7");
    // A name and its alias are two names, as in Redis.
    let twice = [("list-max-ziplist-size", "3"), ("list-max-listpack-size", "4")];
    assert_eq!(settings.set(&pairs(&twice)).unwrap(), ["list-max-listpack-size"]);
    assert_eq!(get(&settings, "list-max-ziplist-size"), "4");
}

#[test]
fn values_print_as_in_redis() {
    let cases = [
        ("hz", "100000", "500"),
        ("hz", "0", "1"),
        ("repl-backlog-size", "1", "16384"),
        ("maxmemory", "", "0"),
        ("maxmemory", "gb", "0"),
        ("maxmemory", "1K", "1000"),
        ("maxmemory", "1Mb", "1048576"),
        ("maxmemory-clients", "3%", "3%"),
        ("maxmemory-clients", "3mb", "3145728"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("notify-keyspace-events", "eKgm$n", "g$enKm"),
        ("notify-keyspace-events", "An", "A"),
        ("notify-keyspace-events", "", ""),
        ("oom-score-adj", "relative", "yes"),
        ("save", "", ""),
        ("bind", "", ""),
        ("bind", "* -::*", "* -::*"),
        ("latency-tracking-info-percentiles", "0.0 50.0 99.90", "0 50 99.9"),
        (
            "client-output-buffer-limit",
            "replica 100000000 1kb 300 NORMAL 1 2 3",
            "normal 1 2 3 slave 100000000 1024 300 pubsub 33554432 8388608 60",
        ),
    ];
    for (name, given, printed) in cases {
        let settings = Settings::default();
        settings.set(&pairs(&[(name, given)])).unwrap();
        assert_eq!(get(&settings, name), printed, "{name} {given}");
        settings.set(&pairs(&[(name, printed)])).unwrap();
        assert_eq!(get(&settings, name), printed, "{name} {given}");
    }
    let settings = Settings::default();
    settings.set(&pairs(&[("maxmemory-clients", "5%")])).unwrap();
    assert_eq!(settings.maxmemory_clients.get(), Share::Percent(5));
    settings.set(&pairs(&[("maxmemory-clients", "5k")])).unwrap();
    assert_eq!(settings.maxmemory_clients.get(), Share::Bytes(5000));
}

#[test]
fn what_cannot_be_applied_is_taken_back() {
    let settings = Settings::default();
    let input = [("maxmemory", "5"), ("port", "80"), ("client-output-buffer-limit", "normal 1 1 1")];
    let before = settings.matching(&[b"*"]);
    let error = settings
        .set_with(
            &pairs(&input),
            Caller::Remote,
            |_, _| Ok(()),
            |changed| {
                assert_eq!(changed, ["maxmemory", "port", "client-output-buffer-limit"]);
                assert_eq!(settings.port.get(), 80);
                Err(NotApplied { name: "port", reason: "Unable to listen on this port. Check server logs.".to_owned() })
            },
        )
        .unwrap_err()
        .to_string();
    let expected =
        "CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.";
    assert_eq!(error, expected);
    assert_eq!(settings.matching(&[b"*"]), before);
}

#[test]
fn protected_parameters_are_for_whom_the_settings_allow() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    let input = [("dir", path.to_str().unwrap())];
    let allowed = |permission: &str, caller| {
        let settings = load("", &[], &["--enable-protected-configs", permission]).unwrap();
        let result = settings.set_with(&pairs(&input), caller, |_, _| Ok(()), |_| Ok(()));
        result.inspect(|_| assert_eq!(&*settings.dir.get(), input[0].1)).is_ok()
    };
    assert!(!allowed("no", Caller::Local) && !allowed("no", Caller::Remote));
    assert!(allowed("local", Caller::Local) && !allowed("local", Caller::Remote));
    assert!(allowed("yes", Caller::Local) && allowed("yes", Caller::Remote));

    let settings = load("", &[], &["--enable-protected-configs", "yes"]).unwrap();
    let error = settings.set(&pairs(&[("dir", "/no/such")])).unwrap_err().to_string();
    assert_eq!(error, "CONFIG SET failed (possibly related to argument 'dir') - No such file or directory");
    let error = settings.set(&pairs(&[("dbfilename", "a/b")])).unwrap_err().to_string();
    assert!(error.ends_with("dbfilename can't be a path, just a filename"), "{error}");
}

#[test]
fn secrets_are_known_as_such() {
    assert!(is_sensitive(b"RequirePass") && is_sensitive(b"masterauth") && !is_sensitive(b"port"));
}

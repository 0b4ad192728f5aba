use super::super::{Engine, EvictionPolicy, LoadError, PARAMETERS, Settings};
use super::{file_with, get, load, load_file};

#[test]
fn a_later_place_overrides_an_earlier_one() {
    let file = "port = 7001\ntimeout = 11\nhz = 21\n";
    let variables = [("ROCKPOOL_PORT", "7002"), ("ROCKPOOL_TIMEOUT", "12"), ("PATH", "/bin")];
    let settings = load(file, &variables, &["--port", "7003"]).unwrap();
    assert_eq!((settings.port.get(), settings.timeout.get(), settings.hz.get()), (7003, 12, 21));
    assert_eq!(settings.http_port.get(), 12345);
}

#[test]
fn the_file_takes_native_values() {
    let file = r#"
        # what a comment says
        type = "rocksdb"
        port = 7_000
        protected-mode = false
        bind = ["127.0.0.1", "-::1"]
        save = ["900 1", "300 10"]
        unixsocketperm = 0o770
        maxmemory = "64mb"
        client-query-buffer-limit = 2097152
        latency-tracking-info-percentiles = [50, 99.95]
        "maxmemory-policy" = 'Volatile-TTL'
        client-output-buffer-limit = "normal 1mb  512kb 10"
    "#;
    let settings = load(file, &[], &[]).unwrap();
    assert_eq!(settings.r#type.get(), Engine::Rocksdb);
    assert_eq!(settings.port.get(), 7000);
    assert!(!settings.protected_mode.get());
    assert_eq!(*settings.bind.get(), ["127.0.0.1", "-::1"]);
    assert_eq!(get(&settings, "save"), "900 1 300 10");
    assert_eq!(settings.unixsocketperm.get(), 0o770);
    assert_eq!(settings.maxmemory.get(), 64 << 20);
    assert_eq!(settings.client_query_buffer_limit.get(), 2 << 20);
    assert_eq!(get(&settings, "latency-tracking-info-percentiles"), "50 99.95");
    assert_eq!(settings.maxmemory_policy.get(), EvictionPolicy::VolatileTtl);
    let normal = settings.client_output_buffer_limit.normal.get();
    assert_eq!((normal.hard_bytes, normal.soft_bytes, normal.soft_seconds), (1 << 20, 512 << 10, 10));
    assert_eq!(settings.client_output_buffer_limit.pubsub.get().hard_bytes, 32 << 20);
}

#[test]
fn flags_read_like_those_of_redis_server() {
    let flags = [
        "--bind",
        "127.0.0.1",
        "-::1",
        "--save",
        "900",
        "1",
        "--ttl",
        "30",
        "--slowlog-log-slower-than",
        "-1",
        "--requirepass",
        "-secret",
        "--save",
        "60",
        "5",
        "--type",
        "rocksdb",
        "--node",
        "10.0.0.1",
        "--port=1",
        "--port",
        "2",
    ];
    let settings = load("", &[], &flags).unwrap();
    assert_eq!(*settings.bind.get(), ["127.0.0.1", "-::1"]);
    assert_eq!(get(&settings, "save"), "900 1 60 5");
    assert_eq!(settings.default_ttl.get(), 30);
    assert_eq!(settings.slowlog_log_slower_than.get(), -1);
    assert_eq!(&*settings.requirepass.get(), "-secret");
    assert_eq!(settings.r#type.get(), Engine::Rocksdb);
    assert_eq!(&*settings.node.get(), "10.0.0.1");
    assert_eq!(settings.port.get(), 2);
    assert_eq!(get(&load("save = '1 1'", &[], &["--save", ""]).unwrap(), "save"), "");
}

#[test]
fn the_file_can_be_named_in_three_ways() {
    let (_directory, path) = file_with("port = 7001");
    let name = path.to_str().unwrap();
    let port = |args: &[&str], variable: Option<&str>| {
        let args = ["rockpool"].iter().chain(args).map(Into::into);
        let env = variable.into_iter().map(|value| ("ROCKPOOL_CONFIG".into(), value.into()));
        let loaded = Settings::load(args, env).unwrap();
        assert_eq!(loaded.file.as_deref(), Some(path.as_path()));
        assert_eq!(loaded.settings.config_file(), Some(path.as_path()));
        loaded.settings.port.get()
    };
    assert_eq!(port(&[name], None), 7001);
    assert_eq!(port(&["--config", name], None), 7001);
    assert_eq!(port(&[], Some(name)), 7001);
    assert_eq!(port(&[name, "--port", "5"], Some("no such file")), 5);
}

#[test]
fn a_variable_that_names_a_file_or_a_secret_is_not_empty() {
    for (name, missing) in [
        ("ROCKPOOL_CONFIG", "configuration file"),
        ("ROCKPOOL_REQUIREPASS", "requirepass"),
        ("ROCKPOOL_REQUIREPASS_FILE", "requirepass-file"),
    ] {
        let error = Settings::load(["rockpool".into()].into_iter(), [(name.into(), "".into())].into_iter());
        let expected = format!("environment variable {name}: empty; leave it out where there is no {missing}");
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_error_is_one_line_that_names_the_place_the_setting_and_what_was_expected() {
    let in_file = [
        ("\n\nmaxmemroy = 1", "FILE:3: unknown setting \"maxmemroy\" (rockpool --help names all)"),
        (
            "# port\nport = 70000",
            "FILE:2: invalid port \"70000\": argument must be between 0 and 65535 inclusive (expected: integer 0 to 65535)",
        ),
        (
            "port = \"a\\nb\"",
            "FILE:1: invalid port \"a\\nb\": argument couldn't be parsed into an integer (expected: integer 0 to 65535)",
        ),
        (
            "port = 1.5",
            "FILE:1: invalid port \"1.5\": argument couldn't be parsed into an integer (expected: integer 0 to 65535)",
        ),
        ("hz = 10\nport = [1]", "FILE:2: port: expected integer 0 to 65535, not an array"),
        ("hz = 10\n[network]\nport = 1", "FILE:2: unknown setting \"network\" (rockpool --help names all)"),
        ("hz = 10\n[port]\nport = 1", "FILE:2: port: expected integer 0 to 65535, not a table"),
        ("port = 2020-01-01", "FILE:1: port: expected integer 0 to 65535, not a date"),
        ("ttl = 1\ndefault-ttl = 2", "FILE:2: default-ttl is set twice"),
        (
            "protected-mode = \"maybe\"",
            "FILE:1: invalid protected-mode \"maybe\": argument must be 'yes' or 'no' (expected: yes, no)",
        ),
        (
            "appendfsync = true",
            "FILE:1: invalid appendfsync \"yes\": argument(s) must be one of the following: everysec, always, no (expected: everysec, always, no)",
        ),
        (
            "maxmemory = \"lots\"",
            "FILE:1: invalid maxmemory \"lots\": argument must be a memory value (expected: bytes)",
        ),
        ("dir = \"/no/such\"", "FILE:1: invalid dir \"/no/such\": No such file or directory (expected: directory)"),
        ("requirepass = [\"secret\"]", "FILE:1: requirepass: expected text, not an array"),
    ];
    for (content, expected) in in_file {
        let (_directory, path) = file_with(content);
        let error = load_file(&path, &[], &["--hz", "7"]).unwrap_err().to_string();
        assert_eq!(error.replace(path.to_str().unwrap(), "FILE"), expected, "{content}");
    }

    let in_environment = [
        (("ROCKPOOL_PROT", "1"), "environment variable ROCKPOOL_PROT: unknown setting (rockpool --help names all)"),
        (
            ("ROCKPOOL_PORT", "tcp://10.0.0.1:6379"),
            "environment variable ROCKPOOL_PORT: invalid port \"tcp://10.0.0.1:6379\": argument couldn't be parsed into an integer (expected: integer 0 to 65535)",
        ),
    ];
    for (variable, expected) in in_environment {
        // Even where a flag overrides it.
        assert_eq!(load("", &[variable], &["--port", "1"]).unwrap_err().to_string(), expected);
    }

    let in_flags: [(&[&str], &str); 7] = [
        (&["--prot", "1"], "flag --prot: unknown; did you mean --port?"),
        (&["--zzzzzz"], "flag --zzzzzz: unknown (rockpool --help names all)"),
        (
            &["--active-expire-effort", "11"],
            "flag --active-expire-effort: invalid active-expire-effort \"11\": argument must be between 1 and 10 inclusive (expected: integer 1 to 10)",
        ),
        (&["--port"], "a value is required for '--port <VALUE>' but none was supplied"),
        (&["--bind", "--port", "1"], "flag --bind: a value is required (\"\" for an empty list)"),
        (&["second.toml"], "argument \"second.toml\": unexpected after the file"),
        (
            &["--save", "1"],
            "flag --save: invalid save \"1\": Invalid save parameters (expected: pairs of seconds and changes)",
        ),
    ];
    for (flags, expected) in in_flags {
        assert_eq!(load("", &[], flags).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let args = ["rockpool", "--config", "/no/such.toml"].into_iter().map(Into::into);
    let error = Settings::load(args, std::iter::empty()).unwrap_err();
    assert_eq!(error.to_string(), "/no/such.toml: No such file or directory");

    let (_directory, path) = file_with("port = 1\nport = 2\n");
    let error = load_file(&path, &[], &[]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: ", path.display())) && !error.contains('\n'), "{error}");
    let (_directory, path) = file_with("hz = 1\nport = = 2\n");
    let error = load_file(&path, &[], &[]).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: ", path.display())) && !error.contains('\n'), "{error}");
}

#[test]
fn a_secret_is_in_no_message() {
    // The only thing that can be wrong with one is its encoding.
    let name = "ROCKPOOL_REQUIREPASS".into();
    let value = std::os::unix::ffi::OsStringExt::from_vec(b"secret\xff".to_vec());
    let (_directory, path) = file_with("");
    let args = ["rockpool".into(), path.into()].into_iter();
    let error = Settings::load(args, std::iter::once((name, value))).unwrap_err();
    assert_eq!(error.to_string(), "environment variable ROCKPOOL_REQUIREPASS: invalid requirepass: not valid UTF-8");
}

#[test]
fn the_help_names_every_parameter() {
    let Err(LoadError::Information(help)) = load("", &[], &["--help"]) else { panic!() };
    for parameter in PARAMETERS {
        let named = |value| help.contains(&format!("--{} {value}", parameter.name));
        assert!(named("<") || parameter.is_switch && named("[<"), "{}", parameter.name);
    }
    let Err(LoadError::Information(short)) = load("", &[], &["-h"]) else { panic!() };
    assert!(short.contains("--port") && !short.contains("--rdbcompression"));
    let Err(LoadError::Information(version)) = load("", &[], &["--version"]) else { panic!() };
    assert!(version.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_directory_to_restore_into_need_not_exist() {
    let place = tempfile::tempdir().unwrap();
    let (new, other) = (place.path().join("deep/new"), place.path().join("other"));
    let [new_text, other_text] = [&new, &other].map(|path| path.to_str().unwrap().to_owned());
    let load = |arguments: &[&str]| {
        Settings::load(std::iter::once(&"rockpool").chain(arguments).map(Into::into), std::iter::empty())
    };
    let refused = load(&["--dir", &new_text]).unwrap_err().to_string();
    assert!(refused.contains("invalid dir") && refused.contains("No such file or directory"), "{refused}");
    assert!(load(&["--dir", &new_text, "--restore", ""]).is_err() && !new.exists());
    let settings = load(&["--restore", "checkpoint", "--dir", &new_text]).unwrap().settings;
    assert_eq!(*settings.dir.get(), *std::fs::canonicalize(&new).unwrap().to_str().unwrap());
    std::fs::write(&other, "").unwrap();
    assert!(load(&["--restore", "checkpoint", "--dir", &other_text]).is_err());
}

//! The syntax of redis.conf.

use super::super::Settings;
use super::{file_with, get, load, load_file, pairs};
use proptest::prelude::*;

#[test]
fn the_content_tells_the_syntax() {
    for (content, port, is_of_redis) in [
        ("port 7000", "7000", true),
        ("\n  # port = 1\n\tPort\t7000 \r\n", "7000", true),
        ("port = 7000", "7000", false),
        ("port=7000", "7000", false),
        ("'port' = 7000", "7000", false),
        ("\"port\" 7000", "7000", true),
        ("\u{feff}port 7000", "7000", true),
        ("\u{feff}port = 7000", "7000", false),
        ("requirepass a=b\nport 7000", "7000", true),
        ("# port 7000\n", "6379", false),
        ("", "6379", false),
    ] {
        let settings = load(content, &[], &[]).unwrap();
        assert_eq!((get(&settings, "port").as_str(), settings.enters_directory()), (port, is_of_redis), "{content:?}");
    }
}

#[test]
fn lines_are_words_in_quotes_or_not() {
    let (directory, path) = file_with("");
    std::fs::create_dir(directory.path().join("fragments")).unwrap();
    std::fs::write(directory.path().join("fragments/a.conf"), "timeout 3\nhz 20").unwrap();
    std::fs::write(directory.path().join("fragments/b.conf"), "timeout 4").unwrap();
    let content = r#"
        maxmemory 100mb
        MAXMEMORY-POLICY AllKeys-LRU
        requirepass "a \"b\" \x41\n\\ 'c'"
        masterauth 'it''s'
        bind 127.0.0.1 -::1
        bind "127.0.0.1"
        save 900 1
        save "300 10" 60 5
        client-output-buffer-limit normal 1mb 2kb 3
        client-output-buffer-limit replica 1 2 3 pubsub 4gb 5g 6
        oom-score-adj-values 1 2 3
        unixsocketperm 700
        # latin: é
        list-max-ziplist-entries 5
    "#;
    let content = content.replace("'it''s'", "'it\\'s'");
    let include = format!("dir {}\ninclude fragments/*.conf\ninclude fragments/none-*\n", directory.path().display());
    let mut bytes = format!("{content}{include}").into_bytes();
    bytes.extend_from_slice(b"# \xe9\n");
    std::fs::write(&path, bytes).unwrap();
    let settings = load_file(&path, &[], &[]).unwrap().settings;
    for (name, value) in [
        ("maxmemory", "104857600"),
        ("maxmemory-policy", "allkeys-lru"),
        ("requirepass", "a \"b\" A\n\\ 'c'"),
        ("masterauth", "it's"),
        ("bind", "127.0.0.1"),
        ("save", "900 1 300 10 60 5"),
        ("client-output-buffer-limit", "normal 1048576 2048 3 slave 1 2 3 pubsub 4294967296 5000000000 6"),
        ("oom-score-adj-values", "1 2 3"),
        ("unixsocketperm", "700"),
        ("timeout", "4"),
        ("hz", "20"),
    ] {
        assert_eq!(get(&settings, name), value, "{name}");
    }
    assert_eq!(
        settings.given_without_effect(),
        ["list-max-ziplist-entries", "masterauth", "save", "oom-score-adj-values"]
    );
}

#[test]
fn a_list_begins_anew_where_it_is_emptied() {
    assert_eq!(get(&load("save 1 1\nsave \"\"", &[], &[]).unwrap(), "save"), "");
    assert_eq!(get(&load("save 1 1\nsave \"\"\nsave 2 2", &[], &[]).unwrap(), "save"), "2 2");
    assert_eq!(get(&load("save 1 1", &[], &["--save", ""]).unwrap(), "save"), "");
    assert_eq!(get(&load("save 1 1", &[], &["--save", "3", "3", "--save", "4", "4"]).unwrap(), "save"), "3 3 4 4");
    // What a class of clients may leave unread stays, where another class is set later.
    let limits = load(
        "client-output-buffer-limit normal 0 0 0",
        &[],
        &["--client-output-buffer-limit", "pubsub", "1", "1", "1"],
    );
    assert_eq!(
        get(&limits.unwrap(), "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 1 1 1"
    );
    assert_eq!(get(&load("", &[], &["--bind", "1.1.1.1", "--bind", "2.2.2.2"]).unwrap(), "bind"), "2.2.2.2");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (content, expected) in [
        ("port 1\nnosuch 1  2", "FILE:2: unknown setting \"nosuch\" (rockpool --help names all): 'nosuch 1 2'"),
        ("port", "FILE:1: port: wrong number of arguments"),
        ("port 1 # the port", "FILE:1: port: wrong number of arguments"),
        ("port 1\n\nrequirepass \"a", "FILE:3: unbalanced quotes in configuration line: 'requirepass \"a'"),
        ("requirepass \"\\xff\"", "FILE:1: not valid UTF-8: 'requirepass \"\\xff\"'"),
        ("maxmemory lots", "FILE:1: invalid maxmemory \"lots\": argument must be a memory value (expected: bytes)"),
        // Also where a later line overrides it.
        (
            "port 70000\nport 1",
            "FILE:1: invalid port \"70000\": argument must be between 0 and 65535 inclusive (expected: integer 0 to 65535)",
        ),
        ("save 900", "FILE:1: invalid save \"900\": Invalid save parameters (expected: pairs of seconds and changes)"),
        ("include /no/such.conf", "FILE:1: include: /no/such.conf: No such file or directory"),
        ("include a b", "FILE:1: include: wrong number of arguments"),
        ("rename-command FLUSHALL \"\"", "FILE:1: rename-command: commands cannot be renamed or taken away"),
        (
            "user alice on >secret ~* +@all",
            "FILE:1: user: there are no users but the default one, whose password is requirepass",
        ),
        ("loadmodule /m.so", "FILE:1: loadmodule: there are no modules"),
        (
            "replicaof 127.0.0.1 6379",
            "FILE:1: invalid replicaof \"127.0.0.1 6379\": this server cannot be a replica, and has none (expected: nothing)",
        ),
        ("cluster-enabled yes", "FILE:1: invalid cluster-enabled \"yes\": this version has no cluster (expected: no)"),
        ("tls-port 6380", "FILE:1: invalid tls-port \"6380\": this version has no TLS (expected: 0)"),
        ("tls-key-file-pass secret", "FILE:1: invalid tls-key-file-pass: this version has no TLS (expected: nothing)"),
    ] {
        let (_directory, path) = file_with(content);
        let error = load_file(&path, &[], &[]).unwrap_err().to_string();
        assert_eq!(error.replace(path.to_str().unwrap(), "FILE"), expected, "{content}");
    }
    let absences = "replicaof no one\ncluster-enabled no\ntls-port 0\naclfile \"\"\nmin-replicas-to-write 0\n";
    assert!(load(absences, &[], &[]).unwrap().given_without_effect().is_empty());
}

#[test]
fn a_file_that_includes_itself_is_an_error() {
    let (_directory, path) = file_with("");
    std::fs::write(&path, format!("include {}", path.display())).unwrap();
    let error = load_file(&path, &[], &[]).unwrap_err().to_string();
    assert!(error.ends_with("more than 16 files that include each other"), "{error}");
}

#[test]
fn a_rewrite_keeps_what_it_need_not_change() {
    let content = "\
# our cache
maxmemory 64mb
  hz   20

# how often
save 900 1
save 300 10
save 60 5
Requirepass \"old one\"
include fragments-*.conf
timeout 3
client-output-buffer-limit normal 0 0 0
port 1
port 2
# the end";
    let (_directory, path) = file_with(content);
    let settings = load_file(&path, &[], &["--databases", "8"]).unwrap().settings;
    settings.rewrite().unwrap();
    let unchanged = std::fs::read_to_string(&path).unwrap();
    assert_eq!(unchanged, format!("{content}\n# Generated by CONFIG REWRITE\ndatabases 8\n"));

    let changes = [
        ("maxmemory", "1073741824"),
        ("save", "1 2 3 4"),
        ("requirepass", "a \"b\" \\ ü"),
        ("client-output-buffer-limit", "pubsub 1 2kb 3"),
        ("maxmemory-policy", "noeviction"),
    ];
    settings.set(&pairs(&changes)).unwrap();
    settings.rewrite().unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    let expected = "\
# our cache
maxmemory 1gb
  hz   20

# how often
save 1 2
save 3 4
Requirepass \"a \\\"b\\\" \\\\ \\xc3\\xbc\"
include fragments-*.conf
timeout 3
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 1 2kb 3
port 1
port 2
# the end
# Generated by CONFIG REWRITE
databases 8
maxmemory-policy noeviction
";
    assert_eq!(written, expected);
    let again = load_file(&path, &[], &[]).unwrap().settings;
    assert_eq!(again.matching(&[b"*"]), settings.matching(&[b"*"]));
    settings.set(&pairs(&[("save", "")])).unwrap();
    settings.rewrite().unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("# how often\nsave \"\"\nRequirepass"));
}

proptest! {
    #[test]
    fn what_is_rewritten_is_what_is_read(password in "\\PC{0,20}", seconds in 1..9_i64, limit in 0..u64::MAX) {
        let (_directory, path) = file_with("hz 10\n");
        let settings = load_file(&path, &[], &[]).unwrap().settings;
        let (points, limit) = (format!("{seconds} 1 {seconds} 2"), limit.to_string());
        settings.set(&pairs(&[("requirepass", &password), ("save", &points), ("maxmemory", &limit)])).unwrap();
        settings.rewrite().unwrap();
        let again = load_file(&path, &[], &[]).unwrap().settings;
        prop_assert_eq!(again.matching(&[b"*"]), settings.matching(&[b"*"]));
    }

    #[test]
    fn any_file_is_read_or_refused(content in "([a-z-]{0,12}[ =]{1,3}[\\PC\"'\\\\]{0,12}\n){0,5}", flag: bool) {
        let (_directory, path) = file_with(&content);
        let flags: &[&str] = if flag { &["--port", "1"] } else { &[] };
        if let Ok(loaded) = load_file(&path, &[], flags) {
            loaded.settings.rewrite().unwrap();
        }
    }
}

#[test]
fn every_parameter_survives_being_written() {
    let (_directory, path) = file_with("hz 10\n");
    let settings = load_file(&path, &[], &[]).unwrap().settings;
    let text = super::super::PARAMETERS.iter().map(|parameter| {
        let words = parameter.value(&Settings::default()).documented();
        let is_quoted = words.is_empty() || parameter.name == "proc-title-template";
        if is_quoted { format!("{} \"{words}\"\n", parameter.name) } else { format!("{} {words}\n", parameter.name) }
    });
    std::fs::write(&path, text.collect::<String>()).unwrap();
    let before = std::fs::read(&path).unwrap();
    let again = load_file(&path, &[], &[]).unwrap().settings;
    assert_eq!(again.matching(&[b"*"]), settings.matching(&[b"*"]));
    again.rewrite().unwrap();
    let changed = std::fs::read(&path).unwrap();
    // The default of `dir` depends on where the server was started, and is written as the absolute path it means.
    let without_dir = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        text.lines().filter(|line| !line.starts_with("dir ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_dir(&changed), without_dir(&before));
}

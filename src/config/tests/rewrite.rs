use super::super::Settings;
use super::{file_with, get, load_file, pairs};
use std::os::unix::fs::PermissionsExt;

#[test]
fn without_a_file_there_is_nothing_to_rewrite() {
    assert_eq!(Settings::default().rewrite().unwrap_err(), "The server is running without a config file");
}

#[test]
fn comments_order_and_what_did_not_change_stay_as_they_were() {
    let content = "\
# our cache
maxmemory = \"64mb\"   # half of the machine
bind = [ \"127.0.0.1\",
  # and
  \"::1\" ]

# how often
hz = 10
protected-mode = 'yes' # as it should be
lua-time-limit = 5
save = ['900 1']
timeout = 3 # seconds
# the end
";
    let (_directory, path) = file_with(content);
    let settings = load_file(&path, &[], &["--port", "7000"]).unwrap().settings;
    settings.rewrite().unwrap();
    let expected = content.replace("# the end\n", "port = 7000\n# the end\n");
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, expected);

    let changes = [
        ("maxmemory", "1gb"),
        ("timeout", "4"),
        ("protected-mode", "no"),
        ("save", ""),
        ("busy-reply-threshold", "6"),
        ("hz", "11"),
        ("maxmemory-policy", "noeviction"),
        ("requirepass", "a \"b\" \\ ü"),
        ("client-output-buffer-limit", "normal 1 2 3"),
    ];
    settings.set(&pairs(&changes)).unwrap();
    settings.rewrite().unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    for line in [
        "# our cache\nmaxmemory = \"1gb\"   # half of the machine\n",
        "# how often\nhz = 11\n",
        "protected-mode = false # as it should be\nlua-time-limit = 6\n",
        "save = []\ntimeout = 4 # seconds\n",
        "\nport = 7000\n",
        "\nmaxmemory-policy = \"noeviction\"\n",
    ] {
        assert!(written.contains(line), "{line}\n{written}");
    }
    assert!(written.ends_with("# the end\n"), "{written}");

    // What was written is what is read.
    let again = load_file(&path, &[], &[]).unwrap().settings;
    assert_eq!(again.matching(&[b"*"]), settings.matching(&[b"*"]));
    again.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn every_parameter_survives_being_written() {
    let (_directory, path) = file_with("");
    let settings = load_file(&path, &[], &[]).unwrap().settings;
    let changes = [
        ("bind", "127.0.0.1"),
        ("maxmemory", "18446744073709551615"),
        ("maxmemory-clients", "7%"),
        ("latency-tracking-info-percentiles", "1 2.5"),
        ("notify-keyspace-events", "KEA"),
        ("oom-score-adj-values", "1 2 3"),
        ("latency-tracking", "no"),
        ("list-max-ziplist-size", "-4"),
        ("save", "1 2 3 4"),
        ("loglevel", "debug"),
    ];
    settings.set(&pairs(&changes)).unwrap();
    settings.rewrite().unwrap();
    let again = load_file(&path, &[], &[]).unwrap().settings;
    for (name, _) in changes {
        assert_eq!(get(&again, name), get(&settings, name), "{name}");
    }
    assert_eq!(again.matching(&[b"*"]), settings.matching(&[b"*"]));
}

#[test]
fn the_file_keeps_its_permissions_and_its_links() {
    let (directory, path) = file_with("hz = 10\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let settings = load_file(&link, &[], &[]).unwrap().settings;
    settings.set(&pairs(&[("hz", "20")])).unwrap();
    settings.rewrite().unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hz = 20\n");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "a temporary file was left behind");
}

#[test]
fn a_file_that_is_gone_is_written_anew_and_one_that_cannot_be_is_an_error() {
    let (directory, path) = file_with("hz = 10\n");
    let settings = load_file(&path, &[], &["--port", "7000"]).unwrap().settings;
    std::fs::remove_file(&path).unwrap();
    settings.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "port = 7000\n");
    std::fs::write(&path, "= broken").unwrap();
    assert_eq!(settings.rewrite().unwrap_err(), "Rewriting config file: it is not valid TOML any more");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "= broken");
    drop(directory);
    assert_eq!(settings.rewrite().unwrap_err(), "Rewriting config file: No such file or directory");
}

#[test]
fn what_means_one_start_is_left_as_it_is() {
    let (_directory, path) = file_with("timeout = 3\n");
    let settings = load_file(&path, &[], &["--restore", "checkpoint", "--repair", "--timeout", "4"]).unwrap().settings;
    assert!(settings.repair.get() && &*settings.restore.get() == "checkpoint");
    settings.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "timeout = 4\n");
    // Whoever wrote it there takes it away.
    let content = "repair = true # once\ntimeout = 3\n";
    std::fs::write(&path, content).unwrap();
    load_file(&path, &[], &[]).unwrap().settings.rewrite().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
}

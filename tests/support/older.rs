//! Data directories that the last programs of older formats have made, and what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Client, PATIENCE, Value, eventually};

/// Where a data directory is kept: `ended` after an orderly end, `killed` while a part of the changes was in the journal alone, and
/// another in RocksDB's log.
pub fn archive(format: u32, end: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(format!("format-{format}")).join(format!("{end}.tar.gz"))
}

/// The format and the end of each.
pub const FIXTURES: [(u32, &str); 4] = [(1, "ended"), (1, "killed"), (2, "ended"), (2, "killed")];

/// What a directory of an older format holds: keys by their database, with their value and when they expire.
pub type Kept = BTreeMap<(usize, String), (String, Option<u64>)>;

/// In the year 2100, in Unix milliseconds: no key in a fixture that has an expiry has gone yet.
const FAR_MS: u64 = 4_102_444_800_000;

/// The commands that fill a fixture, in three stages, and what is there afterwards.
pub fn content() -> ([Vec<Vec<String>>; 3], Kept) {
    let mut kept = Kept::new();
    let stages = [0, 1, 2].map(|stage: usize| {
        let mut commands = Vec::new();
        if stage == 2 {
            // Databases that do not lie in their own place.
            commands.push(["SWAPDB", "1", "9"].map(str::to_owned).to_vec());
            let swapped = std::mem::take(&mut kept).into_iter().map(|((database, name), value)| match database {
                1 => ((9, name), value),
                9 => ((1, name), value),
                _ => ((database, name), value),
            });
            kept = swapped.collect();
        }
        for (database, keys) in [(0, 60), (1, 20), (9, 20)] {
            commands.push(vec!["SELECT".to_owned(), database.to_string()]);
            for number in 0..keys {
                let name = |end: &str| format!("{stage}:{number}{end}");
                let mut set = |name: String, value: String, expiry_ms: Option<u64>| {
                    let mut command = vec!["SET".to_owned(), name.clone(), value.clone()];
                    command.extend(expiry_ms.into_iter().flat_map(|ms| ["PXAT".to_owned(), ms.to_string()]));
                    kept.insert((database, name), (value, expiry_ms));
                    commands.push(command);
                };
                set(name(""), format!("value {number} of stage {stage}"), None);
                match number % 10 {
                    // In a blob file; in chunks.
                    1 => set(name("large"), format!("{number}{stage}").repeat(3000), None),
                    2 if number == 2 => set(name("huge"), format!("{number}{stage}").repeat(100_000), None),
                    3 => set(name("expires"), format!("{number}"), Some(FAR_MS + number as u64)),
                    4 => set(name("large, expires"), "x".repeat(5000), Some(FAR_MS + 500 + number as u64)),
                    5 => set(name("long").repeat(900), format!("{number}"), None),
                    _ => {}
                }
            }
            // Changes in place, and of what an earlier stage has made.
            let mut change = |command: &[&str]| commands.push(command.iter().map(|part| (*part).to_owned()).collect());
            let before = |number: usize| (database, format!("{}:{number}", stage.saturating_sub(1)));
            change(&["APPEND", &before(7).1, " and more"]);
            kept.get_mut(&before(7)).expect("it is there").0.push_str(" and more");
            change(&["SETRANGE", &before(8).1, "0", "VALUE"]);
            kept.get_mut(&before(8)).expect("it is there").0.replace_range(0..5, "VALUE");
            change(&["PEXPIREAT", &before(9).1, &(FAR_MS + 9).to_string()]);
            kept.get_mut(&before(9)).expect("it is there").1 = Some(FAR_MS + 9);
            change(&["DEL", &before(10).1]);
            kept.remove(&before(10));
            change(&["SET", "gone", "before anybody looks", "PX", "1"]);
        }
        commands
    });
    (stages, kept)
}

/// Unpacks a fixture into `data`.
pub fn unpack(format: u32, end: &str, data: &Path) {
    fs::create_dir_all(data).expect("made");
    let tar = Command::new("tar").arg("-C").arg(data).arg("-xzf").arg(archive(format, end)).status();
    assert!(tar.expect("tar").success());
}

/// Looks at every key of every database, in memory or not, and that there is no other.
pub fn check_kept(client: &mut Client, kept: &Kept) {
    for database in 0..16 {
        assert_eq!(client.command(&["SELECT", &database.to_string()]), Value::ok());
        let of_database: Vec<_> = kept.iter().filter(|((of, _), _)| *of == database).collect();
        let gone = || client.command(&["DBSIZE"]).integer() == of_database.len() as i64;
        assert!(eventually(PATIENCE, gone), "database {database}: what had expired is gone");
        let Value::Array(names) = client.command(&["KEYS", "*"]) else { panic!("names are an array") };
        let names: BTreeSet<String> = names.iter().map(Value::text).collect();
        assert!(names.iter().eq(of_database.iter().map(|((_, name), _)| name)), "database {database}");
        for ((_, name), (value, expiry_ms)) in of_database {
            let expiry = client.command(&["PEXPIRETIME", name]).integer();
            assert_eq!(expiry, expiry_ms.map_or(-1, |ms| ms as i64), "{name:.50}");
            assert!(client.command(&["GET", name]) == Value::bulk(value.as_bytes()), "{name:.50}");
        }
    }
}

/// A line of a `FORMAT`, by what it begins with.
pub fn line_of_format<'t>(text: &'t str, field: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(" = "))
}

/// `FORMAT` says that the directory is of the present format, and has the hash and the secret that it had.
pub fn check_format(data: &Path, before: &str) {
    let after = fs::read_to_string(data.join("FORMAT")).expect("FORMAT");
    assert_eq!(line_of_format(&after, "format"), Some("3"), "{after}");
    let is_of_1 = line_of_format(before, "format") == Some("1");
    let secret = line_of_format(before, if is_of_1 { "seed" } else { "secret" }).expect("a secret");
    assert_eq!(line_of_format(&after, "secret"), Some(secret));
    assert_eq!(line_of_format(&after, "hash"), Some(if is_of_1 { "\"xxh3\"" } else { "\"aes-128-cmac\"" }));
    assert_eq!(line_of_format(&after, "created-ms"), line_of_format(before, "created-ms"));
}

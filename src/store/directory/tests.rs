use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{Result, name};
use super::files::*;
use super::format::{Format, write_format};
use super::layout::*;
use super::*;
use crate::base::key_hash::HashSecret;
use crate::base::progress::Progress;
use tempfile::TempDir;

const SECRET: HashSecret = HashSecret::AesCmac(0x0123_4567_89ab_cdef_0011_2233_4455_66ff_u128.to_be_bytes());
const OTHER: HashSecret = HashSecret::AesCmac([1; 16]);

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

/// What RocksDB would make.
fn fill(directory: &DataDirectory) {
    fill_rocksdb(&directory.rocksdb());
    fs::write(directory.journal().join("1"), "journal").expect("written");
}

fn fill_rocksdb(path: &Path) {
    fs::create_dir_all(path).expect("made");
    for (file, text) in [("MANIFEST-1", "manifest"), ("1.sst", "table"), ("2.log", "log"), ("LOCK", "")] {
        fs::write(path.join(file), text).expect("written");
    }
    fs::write(path.join(CURRENT_FILE), "MANIFEST-1\n").expect("written");
}

fn complete_at(path: &Path) {
    let (directory, is_new) = DataDirectory::open(path, SECRET).expect("a new directory");
    assert!(is_new);
    fill(&directory);
    directory.finish().expect("complete");
}

fn refusal(path: &Path) -> String {
    let error = DataDirectory::open(path, SECRET).expect_err("refused").to_string();
    assert!(!error.contains('\n') && error.contains(&name(path)), "{error}");
    error
}

fn copy(from: &Path, into: &Path) -> Result<Restored> {
    restore(from, into, &Progress::default())
}

/// Every file with what it holds.
fn contents(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).expect("files") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            files.extend(contents(&path))
        } else {
            files.push((path.clone(), fs::read(&path).expect("read")))
        }
    }
    files.sort();
    files
}

#[test]
fn a_directory_keeps_what_it_was_made_with() {
    let scratch = scratch();
    let path = scratch.path().join("data");
    complete_at(&path);
    fs::write(path.join("rockpool.toml"), "port = 1").expect("written");
    let (directory, is_new) = DataDirectory::open(&path, OTHER).expect("opened");
    assert_eq!((is_new, directory.secret()), (false, SECRET));
    assert_eq!(fs::read_to_string(path.join(LOCK_FILE)).expect("read").trim(), std::process::id().to_string());
    let text = fs::read_to_string(path.join(FORMAT_FILE)).expect("read");
    let expected = "format = 3\nhash = \"aes-128-cmac\"\nsecret = \"0123456789abcdef00112233445566ff\"\ncreated-ms = 1";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(fs::metadata(path.join(FORMAT_FILE)).expect("read").mode() & 0o777, 0o600, "it has a secret");
}

/// What `FORMAT` said in older formats, with the secret, and what it says now. The seed is more than TOML's numbers hold.
const OLDER: [(&str, HashSecret, &str); 2] = [
    (
        "format = 1\nseed = \"fedcba9876543210\"\ncreated-ms = 12\nprogram = \"0.0.1\"\n",
        HashSecret::Xxh3(0xfedc_ba98_7654_3210),
        "format = 3\nhash = \"xxh3\"\nsecret = \"fedcba9876543210\"\ncreated-ms = 12\n",
    ),
    (
        "format = 2\nhash = \"aes-128-cmac\"\nsecret = \"0123456789abcdef00112233445566ff\"\ncreated-ms = 13\n\
         program = \"0.0.1\"\nrestored-from = \"/there\"\nrestored-content = \"77\"\n",
        SECRET,
        "format = 3\nhash = \"aes-128-cmac\"\nsecret = \"0123456789abcdef00112233445566ff\"\ncreated-ms = 13\n",
    ),
];

/// Their hash is part of the order of their records.
#[test]
fn a_directory_of_an_older_format_becomes_one_of_this_with_its_hash() {
    for (text, secret, expected) in OLDER {
        let scratch = scratch();
        let [path, copied] = ["data", "copy"].map(|part| scratch.path().join(part));
        complete_at(&path);
        let format = || fs::read_to_string(path.join(FORMAT_FILE)).expect("read");
        fs::write(path.join(FORMAT_FILE), text).expect("written");
        // Until it is upgraded it is what it was, and so is a copy of it.
        for _ in 0..2 {
            let (directory, is_new) = DataDirectory::open(&path, OTHER).expect("opened");
            assert_eq!((is_new, directory.is_older(), directory.secret()), (false, true, secret));
            assert_eq!((directory.format.text(), format()), (text.to_owned(), text.to_owned()));
        }
        copy(&path, &copied).expect("restored");
        let (copy, _) = DataDirectory::open(&copied, OTHER).expect("opened");
        assert_eq!((copy.is_older(), copy.secret()), (true, secret));
        let of_copy = fs::read_to_string(copied.join(FORMAT_FILE)).expect("read");
        assert!(of_copy.starts_with(&text[..40]) && of_copy.contains("restored-from"), "{of_copy}");

        let (mut directory, _) = DataDirectory::open(&path, OTHER).expect("opened");
        directory.save_checkpoint(fill_checkpoint).expect("saved");
        directory.upgrade().expect("upgraded");
        assert!(!directory.is_older());
        drop(directory);
        let own = format!("program = \"{}\"\n", env!("CARGO_PKG_VERSION"));
        assert!(format().starts_with(&format!("{expected}{own}")), "{}", format());
        assert_eq!(format().contains("restored-content = \"77\""), text.contains("restored-content"));
        assert_eq!(fs::metadata(path.join(FORMAT_FILE)).expect("read").mode() & 0o777, 0o600, "it has a secret");
        let (directory, is_new) = DataDirectory::open(&path, OTHER).expect("opened");
        assert_eq!((is_new, directory.is_older(), directory.secret()), (false, false, secret));
        // A checkpoint of before is one of it still, and the next has the present format.
        let checkpoint = directory.save_checkpoint(fill_checkpoint).expect("saved");
        assert_eq!(fs::read_to_string(checkpoint.join(FORMAT_FILE)).expect("read"), format());
    }
}

fn fill_checkpoint(to: &Path) -> io::Result<()> {
    fill_rocksdb(to);
    Ok(())
}

/// An older program was ended before a directory was complete.
#[test]
fn a_directory_that_an_older_program_began_is_completed_in_this_format() {
    for (text, secret, expected) in OLDER {
        let scratch = scratch();
        fs::write(scratch.path().join(NEW_FILE), text).expect("written");
        let (directory, is_new) = DataDirectory::open(scratch.path(), OTHER).expect("opened");
        assert_eq!((is_new, directory.is_older(), directory.secret()), (true, false, secret));
        fill(&directory);
        directory.finish().expect("complete");
        let format = fs::read_to_string(scratch.path().join(FORMAT_FILE)).expect("read");
        assert!(format.starts_with(expected), "{format}");
    }
}

#[test]
fn other_files_do_not_make_a_directory_ours() {
    let scratch = scratch();
    fs::write(scratch.path().join("dump.rdb"), "REDIS0011").expect("written");
    complete_at(scratch.path());
    assert_eq!(fs::read(scratch.path().join("dump.rdb")).expect("read"), b"REDIS0011");
}

#[test]
fn a_directory_has_one_process() {
    let scratch = scratch();
    complete_at(scratch.path());
    let (held, _) = DataDirectory::open(scratch.path(), SECRET).expect("opened");
    let error = refusal(scratch.path());
    assert!(error.ends_with(&format!("is in use by another process (pid {})", std::process::id())), "{error}");
    assert!(matches!(copy(scratch.path(), &scratch.path().join("x")), Err(DirectoryError::InUse(..))));
    drop(held);
    assert!(DataDirectory::open(scratch.path(), SECRET).is_ok());
}

/// Ends a creation after each of its steps; the next start completes it with the same secret, and nothing is lost.
#[test]
fn an_interrupted_creation_is_completed() {
    for steps in 0..6 {
        let scratch = scratch();
        let path = scratch.path();
        if steps >= 1 {
            fs::write(path.join("NEW.tmp"), "form").expect("written");
        }
        if steps >= 2 {
            write_format(path, NEW_FILE, &Format::new(SECRET)).expect("written");
        }
        if steps >= 3 {
            fs::create_dir(path.join(ROCKSDB)).expect("made");
        }
        if steps >= 4 {
            fs::create_dir(path.join(JOURNAL)).expect("made");
            fs::write(path.join(ROCKSDB).join("MANIFEST-0"), "half").expect("written");
        }
        if steps >= 5 {
            fill_rocksdb(&path.join(ROCKSDB));
        }
        let before = contents(path);
        let (directory, is_new) = DataDirectory::open(path, OTHER).expect("opened");
        assert!(is_new, "after {steps} steps");
        assert_eq!(directory.secret(), if steps >= 2 { SECRET } else { OTHER }, "after {steps} steps");
        let after = contents(path);
        let kept = |file: &&(PathBuf, Vec<u8>)| after.contains(file) || file.0.ends_with("NEW.tmp");
        assert_eq!(before.iter().filter(kept).count(), before.len(), "after {steps} steps");
        if steps < 5 {
            assert!(matches!(directory.finish(), Err(DirectoryError::Incomplete(..))), "after {steps} steps");
        }
        fill(&directory);
        directory.finish().expect("complete");
        drop(directory);
        assert!(!DataDirectory::open(path, OTHER).expect("opened").1, "after {steps} steps");
        assert!(!path.join(NEW_FILE).exists());
    }
}

#[test]
fn data_without_a_format_is_not_written_over() {
    for part in [ROCKSDB, JOURNAL] {
        let scratch = scratch();
        complete_at(scratch.path());
        fs::remove_file(scratch.path().join(FORMAT_FILE)).expect("removed");
        let other = if part == ROCKSDB { JOURNAL } else { ROCKSDB };
        fs::remove_dir_all(scratch.path().join(other)).expect("removed");
        let before = contents(scratch.path());
        let error = refusal(scratch.path());
        assert!(error.contains("holds data but no FORMAT file"), "{error}");
        let is_lock = |file: &(PathBuf, Vec<u8>)| file.0 == scratch.path().join(LOCK_FILE);
        let without_lock = |files: Vec<_>| files.into_iter().filter(|file| !is_lock(file)).collect::<Vec<_>>();
        assert_eq!(without_lock(contents(scratch.path())), without_lock(before));
    }
}

#[test]
fn a_directory_that_lost_a_part_is_not_made_anew() {
    for part in ["rocksdb", "rocksdb/CURRENT", "rocksdb/MANIFEST-1", "journal"] {
        let scratch = scratch();
        complete_at(scratch.path());
        let path = scratch.path().join(part);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("removed");
        let error = refusal(scratch.path());
        assert!(error.contains("is incomplete") && error.contains(part), "{part}: {error}");
        assert!(!path.exists());
    }
}

#[test]
fn formats_that_cannot_be_read_are_refused() {
    for (text, expected) in [
        ("format = 4\nprogram = \"9.1.0\"\nnovelty = true\n", "has format 4, made by version 9.1.0"),
        ("format = 9000000000000\nprogram = \"9.1.0\"\n", "has format 9000000000000, made by version 9.1.0"),
        ("format = -1\n", "is damaged: no format"),
        ("format = 0\n", "is damaged: no format"),
        ("", "is damaged: no format"),
        ("format = 1\nseed = 7\n", "is damaged: no seed"),
        ("format = 1\nseed = \"7\"\n", "is damaged: no created-ms"),
        ("format = 2\nseed = \"7\"\n", "is damaged: no hash that is known"),
        ("format = 2\nhash = \"aes-128-cmac\"\nsecret = \"7\"\n", "is damaged: no secret"),
        ("format = 2\nhash = \"xxh3\"\nsecret = \"7\"\n", "is damaged: no hash that is known"),
        ("format = 3\nseed = \"7\"\n", "is damaged: no hash that is known"),
        ("format = 3\nhash = \"xxh3\"\nseed = \"7\"\n", "is damaged: no secret"),
        ("format = 3\nhash = \"md5\"\nsecret = \"7\"\n", "is damaged: no hash that is known"),
        ("format = ", "is damaged"),
    ] {
        let scratch = scratch();
        complete_at(scratch.path());
        fs::write(scratch.path().join(FORMAT_FILE), text).expect("written");
        let error = refusal(scratch.path());
        assert!(error.contains(expected), "{text:?}: {error}");
        let own = env!("CARGO_PKG_VERSION");
        assert!(!text.starts_with("format = 4") || error.ends_with(&format!("version {own}, reads formats up to 3")));
    }
}

#[test]
fn what_cannot_be_a_directory_is_refused() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(refusal(&file).ends_with("is not a directory"));
    assert!(refusal(&file.join("below")).contains("cannot make the data directory"));
    // Root may write anywhere but here.
    let error = refusal(Path::new("/proc/self"));
    assert!(error.contains("cannot write /proc/self/LOCK"), "{error}");
}

#[test]
fn a_checkpoint_replaces_the_one_before() {
    let scratch = scratch();
    complete_at(scratch.path());
    let (directory, _) = DataDirectory::open(scratch.path(), SECRET).expect("opened");
    let make = |round: &'static str| {
        move |to: &Path| {
            assert!(!to.exists(), "RocksDB makes it");
            fill_rocksdb(to);
            fs::write(to.join("3.sst"), round)
        }
    };
    let left = || {
        let entries = fs::read_dir(scratch.path()).expect("files");
        let names = entries.map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("checkpoint.")).collect::<Vec<_>>()
    };
    for round in ["first", "second"] {
        let path = directory.save_checkpoint(make(round)).expect("saved");
        assert_eq!(path, scratch.path().join("checkpoint"));
        assert_eq!(fs::read_to_string(path.join("rocksdb/3.sst")).expect("read"), round);
        let (checkpoint, is_new) = DataDirectory::open(&path, OTHER).expect("a data directory");
        assert_eq!((is_new, checkpoint.secret(), checkpoint.has_no_journal()), (false, SECRET, true));
        checkpoint.journal_begins().expect("removed");
        checkpoint.journal_begins().expect("nothing to remove");
        assert!(!checkpoint.has_no_journal() && !directory.has_no_journal());
        assert!(left().is_empty(), "{:?}", left());
    }
    // Ones that fail, or make nothing.
    assert!(directory.save_checkpoint(|_: &Path| Err(io::Error::other("no"))).is_err());
    assert!(directory.save_checkpoint(|to: &Path| fs::create_dir(to)).is_err());
    assert!(left().is_empty(), "{:?}", left());
    assert_eq!(fs::read(scratch.path().join("checkpoint/rocksdb/3.sst")).expect("read"), b"second");
    assert!(free_bytes(scratch.path()).expect("statistics") > 0);
    assert_eq!(
        used_bytes(scratch.path()),
        contents(&directory.rocksdb()).iter().map(|file| file.1.len() as u64).sum::<u64>() + 7
    );
}

fn copy_marks(from: &Path, into: &Path) {
    fs::copy(from.join(FORMAT_FILE), into.join(FORMAT_FILE)).expect("copied");
}

#[test]
fn an_interrupted_replacement_keeps_a_whole_checkpoint() {
    for renamed in [false, true] {
        let scratch = scratch();
        complete_at(scratch.path());
        let (directory, _) = DataDirectory::open(scratch.path(), SECRET).expect("opened");
        let make = |to: &Path| {
            fill_rocksdb(to);
            io::Result::Ok(())
        };
        let path = directory.save_checkpoint(make).expect("saved");
        // The next one ended after the old one was moved away, or after the new one was moved in.
        let [present, new, old] = directory.checkpoint_paths();
        fs::rename(&present, &old).expect("renamed");
        fs::create_dir(&new).expect("made");
        if renamed {
            copy_marks(&old, &new);
            fs::rename(&new, &present).expect("renamed");
        }
        assert!(directory.save_checkpoint(|_: &Path| Err(io::Error::other("no"))).is_err());
        assert!(!old.exists() && !new.exists());
        assert_eq!(path.join("rocksdb/CURRENT").exists(), !renamed, "the newer one counts");
    }
}

#[test]
fn a_restored_directory_is_a_complete_copy() {
    let scratch = scratch();
    let (from, into) = (scratch.path().join("from"), scratch.path().join("into"));
    complete_at(&from);
    copy(&from, &into).expect("restored");
    let part = |path: &Path, part: &str| fs::read(path.join(part)).expect("read");
    for file in ["rocksdb/CURRENT", "rocksdb/MANIFEST-1", "rocksdb/1.sst", "rocksdb/2.log", "journal/1"] {
        assert_eq!(part(&from, file), part(&into, file), "{file}");
    }
    let formats = [&from, &into].map(|path| String::from_utf8(part(path, "FORMAT")).expect("text"));
    assert!(formats[1].starts_with(&formats[0]) && formats[1].contains("restored-from = "), "{formats:?}");
    let inode = |path: &Path, part: &str| fs::metadata(path.join(part)).expect("metadata").ino();
    assert_eq!(inode(&from, "rocksdb/1.sst"), inode(&into, "rocksdb/1.sst"), "shared");
    assert_ne!(inode(&from, "rocksdb/2.log"), inode(&into, "rocksdb/2.log"), "copied: it is written to");
    let (directory, is_new) = DataDirectory::open(&into, OTHER).expect("opened");
    assert_eq!((is_new, directory.secret()), (false, SECRET));
}

#[test]
fn a_restore_writes_over_nothing_and_copies_nothing_broken() {
    let scratch = scratch();
    let (from, into) = (scratch.path().join("from"), scratch.path().join("into"));
    assert!(matches!(copy(&from, &into), Err(DirectoryError::NotADirectory(_))));
    complete_at(&from);
    fs::create_dir(&into).expect("made");
    fs::remove_file(from.join("rocksdb/MANIFEST-1")).expect("removed");
    assert!(matches!(copy(&from, &into), Err(DirectoryError::Incomplete(..))));
    assert!(contents(&into).is_empty());
    // An interrupted restore is no directory to serve from.
    fill_rocksdb(&into.join(ROCKSDB));
    assert!(refusal(&into).contains("holds data but no FORMAT file"));
    assert!(matches!(copy(&into, &from), Err(DirectoryError::NotEmpty(..))));
}

#[test]
fn a_copy_is_made_once_and_of_one_source() {
    let scratch = scratch();
    let [from, other, into] = ["from", "other", "into"].map(|part| scratch.path().join(part));
    complete_at(&from);
    complete_at(&other);
    assert_eq!(copy(&from, &into).expect("restored"), Restored::Now);
    fs::write(into.join("journal/1"), "changed since").expect("written");
    for _ in 0..2 {
        assert_eq!(copy(&from, &into).expect("known"), Restored::Before);
    }
    assert!(matches!(copy(&other, &into), Err(DirectoryError::NotEmpty(..))));
    // Another content of the same place.
    fs::write(from.join("rocksdb/2.log"), "a longer log").expect("written");
    assert!(copy(&from, &into).expect_err("refused").to_string().contains("an earlier content of"));
    fs::rename(&from, scratch.path().join("away")).expect("renamed");
    assert_eq!(copy(&from, &into).expect("known"), Restored::Before);
    assert!(matches!(copy(&scratch.path().join("x"), &into), Err(DirectoryError::NotEmpty(..))));
    assert_eq!(fs::read(into.join("journal/1")).expect("read"), b"changed since");
}

/// Ends a restore after each of its steps; the next makes it anew, from whatever checkpoint.
#[test]
fn an_interrupted_restore_is_made_anew() {
    for steps in 0..4 {
        let scratch = scratch();
        let [from, into] = ["from", "into"].map(|part| scratch.path().join(part));
        complete_at(&from);
        fs::create_dir(&into).expect("made");
        fs::write(into.join("dump.rdb"), "REDIS0011").expect("written");
        write_format(&into, RESTORING_FILE, &Format::new(OTHER)).expect("written");
        if steps >= 1 {
            fs::create_dir(into.join(ROCKSDB)).expect("made");
            fs::write(into.join("rocksdb/9.sst"), "of another checkpoint").expect("written");
        }
        if steps >= 2 {
            fs::create_dir(into.join(JOURNAL)).expect("made");
        }
        if steps >= 3 {
            write_format(&into, NEW_FILE, &Format::new(OTHER)).expect("written");
        }
        assert!(refusal(&into).contains("unfinished copy"));
        assert_eq!(copy(&from, &into).expect("restored"), Restored::Now);
        assert!(!into.join("rocksdb/9.sst").exists() && !into.join(NEW_FILE).exists());
        assert_eq!(fs::read(into.join("dump.rdb")).expect("read"), b"REDIS0011");
        let (directory, is_new) = DataDirectory::open(&into, OTHER).expect("opened");
        assert_eq!((is_new, directory.secret()), (false, SECRET));
    }
}

/// A process that ends while a checkpoint is removed leaves what the next call removes.
#[test]
fn a_checkpoint_that_is_half_removed_is_still_known() {
    for parts in 0..4 {
        let scratch = scratch();
        complete_at(scratch.path());
        let (directory, _) = DataDirectory::open(scratch.path(), SECRET).expect("opened");
        let make = |to: &Path| {
            fill_rocksdb(to);
            io::Result::Ok(())
        };
        directory.save_checkpoint(make).expect("saved");
        let [present, _, old] = directory.checkpoint_paths();
        fs::rename(&present, &old).expect("renamed");
        directory.save_checkpoint(make).expect("saved");
        fs::create_dir(&old).expect("made");
        copy_marks(scratch.path(), &old);
        fs::create_dir(old.join(ROCKSDB)).expect("made");
        for part in [ROCKSDB, FORMAT_FILE].iter().take(parts) {
            let part = old.join(part);
            if part.is_dir() { fs::remove_dir(part) } else { fs::remove_file(part) }.expect("removed");
        }
        if parts == 3 {
            fs::remove_dir(&old).expect("removed");
        }
        directory.save_checkpoint(make).expect("saved");
        assert!(!old.exists() && present.join(FORMAT_FILE).exists());
    }
}

/// What was not synced may come back as zeros.
#[test]
fn a_lock_is_ours_however_a_power_cut_has_left_it() {
    for left in [&b""[..], b"\0\0\0\0\0", b"12\0\0\0"] {
        let scratch = scratch();
        complete_at(scratch.path());
        fs::write(scratch.path().join(LOCK_FILE), left).expect("written");
        DataDirectory::open(scratch.path(), SECRET).expect("opened");
    }
}

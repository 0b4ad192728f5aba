//! Blocks that go past the page cache, and those beside them that do not.

use super::super::direct::SECTOR_BYTES;
use super::*;
use rustix::fs::{OFlags, fcntl_setfl};

/// Whether the file system lets files be written past the page cache.
fn is_possible(directory: &Path) -> bool {
    let file = std::fs::File::create(directory.join("probe")).expect("a file");
    fcntl_setfl(&file, OFlags::DIRECT).is_ok()
}

/// Of all lengths about a sector's.
fn payload(number: usize) -> Vec<u8> {
    vec![number as u8 + 1; (number * 61) % 1200 + 1]
}

#[test]
fn blocks_that_are_synced_one_by_one_are_whole_sectors() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let expected: Vec<_> = (0..60).map(payload).collect();
    expected.iter().for_each(|payload| wait(&journal, append(&journal, payload)));
    drop(journal);
    let segments = super::super::files::list(place.path()).expect("a list").segments;
    let blocks: Vec<_> = segments.iter().flat_map(|segment| layout(&place.segment(*segment))).collect();
    assert_eq!(blocks.len(), expected.len());
    let are_aligned = blocks.iter().all(|(_, range)| range.start.is_multiple_of(SECTOR_BYTES));
    assert_eq!(are_aligned, is_possible(place.path()));
    assert_eq!(place.open(options(SyncPolicy::Always)).1, expected);
}

#[test]
fn blocks_of_both_kinds_follow_each_other() {
    let place = Place::new();
    // One segment holds many of both.
    let roomy = Options { segment_bytes: 1 << 20, ..options(SyncPolicy::Always) };
    let (journal, _) = place.open(roomy.clone());
    let mut expected = Vec::new();
    for number in 0..200 {
        journal.set_policy(match number / 3 % 3 {
            0 => SyncPolicy::Always,
            1 => SyncPolicy::EverySecond,
            _ => SyncPolicy::Never,
        });
        expected.push(payload(number));
        wait(&journal, append(&journal, &payload(number)));
        if number % 50 == 49 {
            // As a process that is killed leaves it.
            let left = TempDir::new().expect("a directory");
            copy(place.path(), left.path());
            assert_eq!(open(left.path(), roomy.clone()).1, expected);
        }
    }
    assert!(super::super::files::list(place.path()).expect("a list").segments.len() < 4);
    drop(journal);
    assert_eq!(place.open(roomy).1, expected);
}

#[cfg(feature = "failpoints")]
#[test]
fn where_it_is_refused_the_page_cache_does() {
    let place = Place::alone();
    fail::cfg("journal::direct", "return(EIO)").expect("a failpoint");
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let expected: Vec<_> = (0..20).map(payload).collect();
    expected.iter().for_each(|payload| wait(&journal, append(&journal, payload)));
    assert!(!journal.has_failed());
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::Always)).1, expected);
}

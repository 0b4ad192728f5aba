use super::super::repair;
use super::*;

/// Four segments of durable blocks, the second, and the number of the last. Each opening goes on in a new segment, and
/// without spares nothing else does.
fn several_segments(place: &Place) -> (PathBuf, u64) {
    let last = 4;
    for numbers in (0..120_u8).collect::<Vec<u8>>().chunks(120 / last) {
        let (journal, _) = place.open(Options { spare_segments: 0, ..options(SyncPolicy::Always) });
        for &number in numbers {
            wait(&journal, append(&journal, &[number; 2000]));
        }
    }
    (place.segment(2), last as u64)
}

/// All but the mark, which a repair takes away.
fn files(place: &Place) -> Vec<(String, u64)> {
    let mut files: Vec<(String, u64)> = std::fs::read_dir(place.path())
        .expect("a directory")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name().to_string_lossy().into_owned(), entry.metadata().expect("its size").len())
        })
        .collect();
    files.retain(|(name, _)| name != crate::store::mark::FILE);
    files.sort();
    files
}

#[test]
fn what_is_whole_needs_no_repair() {
    let place = Place::new();
    several_segments(&place);
    let before = files(&place);
    assert_eq!(repair(place.path(), true).expect("a look"), Vec::<String>::new());
    assert_eq!(files(&place), before);
}

#[test]
fn everything_from_the_damaged_block_on_is_moved_away() {
    let place = Place::new();
    let (path, last) = several_segments(&place);
    let (number, range) = layout(&path).swap_remove(5);
    flip(&path, range.start + 100, 2);
    let before = files(&place);
    let lines = repair(place.path(), false).expect("a look");
    assert_eq!(files(&place), before);
    assert_eq!(lines.len() as u64, 2 + last - 1, "{lines:?}");
    assert!(lines[0].contains(&format!("block {number} was on disk here")), "{lines:?}");
    assert!(lines[1].contains(&format!("up to block {}", number - 1)), "{lines:?}");
    assert!(lines[2].contains(" intact blocks to be dropped, moved to "), "{lines:?}");
    assert!(try_open(place.path(), options(SyncPolicy::Always)).0.is_err());

    assert_eq!(repair(place.path(), true).expect("a repair").len(), lines.len());
    let bytes = |files: &[(String, u64)]| files.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert_eq!(bytes(&files(&place)), bytes(&before));
    assert_eq!(repair(place.path(), false).expect("a look"), Vec::<String>::new());
    let (journal, replayed) = place.open(options(SyncPolicy::Always));
    assert_eq!(replayed.iter().map(|block| block[0]).collect::<Vec<u8>>(), (0..number as u8 - 1).collect::<Vec<u8>>());
    wait(&journal, append(&journal, b"after"));
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::Always)).1.len() as u64, number);
}

#[test]
fn damage_after_a_repair_is_repaired_too() {
    let place = Place::new();
    let (path, _) = several_segments(&place);
    for place_of_damage in [5, 2] {
        // The same file again, of which fewer blocks count now.
        flip(&path, layout(&path)[place_of_damage].1.start + 100, 2);
        assert!(repair(place.path(), true).expect("a repair").len() > 2);
        let (journal, _) = place.open(options(SyncPolicy::Always));
        for number in 0..60_u8 {
            wait(&journal, append(&journal, &[number; 2000]));
        }
    }
    assert!(files(&place).iter().any(|(name, _)| name.ends_with(".2.dropped")), "{:?}", files(&place));
}

#[test]
fn broken_headers_and_missing_files_are_repaired() {
    for number in [1, 2] {
        let place = Place::new();
        several_segments(&place);
        flip(&place.segment(number), 30, 0);
        let lines = repair(place.path(), true).expect("a repair");
        assert!(lines[0].contains("header's checksum"), "{lines:?}");
        let existing = Options { create: false, ..options(SyncPolicy::Always) };
        let (_, replayed) = place.open(existing);
        assert_eq!(replayed.is_empty(), number == 1);
    }
    let place = Place::new();
    let (path, last) = several_segments(&place);
    std::fs::remove_file(&path).expect("a removal");
    let lines = repair(place.path(), true).expect("a repair");
    assert!(lines[0].contains("the file is missing"), "{lines:?}");
    assert_eq!(lines.len() as u64, 2 + last - 2);
    assert!(!place.open(options(SyncPolicy::Always)).1.is_empty());
}

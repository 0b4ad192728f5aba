use super::super::Replay;
use super::*;
use crate::store::mark;

/// Blocks that are each known to be durable by the time the next is written.
fn synced_blocks(place: &Place, count: u8) -> Vec<Vec<u8>> {
    let (journal, _) = place.open(options(SyncPolicy::Always));
    (0..count)
        .map(|number| {
            let payload = vec![number; 50 + 3 * usize::from(number)];
            wait(&journal, append(&journal, &payload));
            payload
        })
        .collect()
}

/// The segment that holds the blocks of a small journal: the first, or the second if a spare was ready early.
fn segment_with(place: &Place, block: u64) -> (PathBuf, std::ops::Range<usize>) {
    (1..=3)
        .map(|number| place.segment(number))
        .filter(|path| path.exists())
        .find_map(|path| {
            let range = layout(&path).into_iter().find(|&(number, _)| number == block)?.1;
            Some((path, range))
        })
        .expect("a segment with the block")
}

/// Whether the journal is found to be damaged.
fn is_refused(path: &Path) -> bool {
    match try_open(path, options(SyncPolicy::Always)).0 {
        Ok(_) => false,
        Err(JournalError::Corrupt { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Without a mark, which would tell that it was there.
#[test]
fn a_torn_tail_is_cut_at_every_length() {
    let place = Place::new();
    let written = synced_blocks(&place, 4);
    let (path, last) = segment_with(&place, 4);
    let whole = std::fs::read(&path).expect("a segment");
    for end in last.start..last.end {
        let torn = TempDir::new().expect("a directory");
        copy(place.path(), torn.path());
        let path = torn.path().join(path.file_name().expect("a name"));
        std::fs::write(&path, &whole[..end]).expect("a write");
        assert!(is_refused(torn.path()) == (end < last.start + 48 + written[3].len()), "cut at {end}");
        mark::remove(torn.path()).expect("no mark");
        let (journal, replayed) = open(torn.path(), options(SyncPolicy::Always));
        // Padding is no part of the block.
        let expected = if end < last.start + 48 + written[3].len() { &written[..3] } else { &written[..] };
        assert_eq!(replayed, expected, "cut at {end}");
        // The number goes on where the intact blocks end, and stays so.
        let ticket = append(&journal, b"after");
        assert_eq!(ticket.block(), expected.len() as u64 + 1);
        wait(&journal, ticket);
        drop(journal);
        let replayed = open(torn.path(), options(SyncPolicy::Always)).1;
        assert_eq!(replayed[..expected.len()], *expected, "cut at {end}");
        assert_eq!(replayed[expected.len()..], [b"after"], "cut at {end}");
    }
}

#[test]
fn a_flipped_bit_in_the_middle_is_refused() {
    let place = Place::new();
    let written = synced_blocks(&place, 5);
    for block in 1..=4_u64 {
        let (path, range) = segment_with(&place, block);
        let end = range.start + 48 + written[block as usize - 1].len();
        let earlier = layout(&path).into_iter().take_while(|&(number, _)| number < block);
        let end_before = earlier.last().map_or(SEGMENT_HEADER_BYTES, |(_, range)| range.end);
        for offset in range.start..end {
            flip(&path, offset, (offset % 8) as u8);
            let (journal, replayed) = try_open(place.path(), options(SyncPolicy::Always));
            match journal {
                Err(JournalError::Corrupt { file, offset: at, what }) => {
                    assert_eq!((&file, at), (&path, end_before as u64), "flipped at {offset}");
                    assert!(what.contains(&format!("block {block} was on disk")), "{what}");
                }
                other => panic!("flipped at {offset}: {:?}", other.err()),
            }
            assert_eq!(replayed, written[..block as usize - 1], "flipped at {offset}");
            flip(&path, offset, (offset % 8) as u8);
        }
    }
    assert_eq!(place.open(options(SyncPolicy::Always)).1, written);
}

#[test]
fn a_flipped_bit_in_the_tail_is_cut() {
    let place = Place::new();
    let written = synced_blocks(&place, 4);
    let (path, range) = segment_with(&place, 4);
    for offset in range.start..range.start + 48 + written[3].len() {
        let torn = TempDir::new().expect("a directory");
        copy(place.path(), torn.path());
        flip(&torn.path().join(path.file_name().expect("a name")), offset, 3);
        assert!(is_refused(torn.path()), "flipped at {offset}");
        mark::remove(torn.path()).expect("no mark");
        assert_eq!(open(torn.path(), options(SyncPolicy::Always)).1, written[..3], "flipped at {offset}");
    }
}

#[test]
fn unsynced_blocks_after_a_gap_are_void_also_later() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Never));
    block(&journal, b"one");
    journal.sync().expect("a sync");
    for payload in [&b"two"[..], b"three", b"four"] {
        block(&journal, payload);
    }
    drop(journal);
    let (path, range) = segment_with(&place, 2);
    flip(&path, range.start + 50, 0);
    // While the machine runs, what was written is there; a power cut may leave it so.
    assert!(is_refused(place.path()));
    mark::end_boot(place.path());
    let (journal, replayed) = place.open(options(SyncPolicy::Never));
    assert_eq!(replayed, [b"one"]);
    assert_eq!(block(&journal, b"new two").block(), 2);
    drop(journal);
    for _ in 0..3 {
        let (_, replayed) = place.open(options(SyncPolicy::Never));
        assert_eq!(replayed, [&b"one"[..], b"new two"]);
    }
}

#[test]
fn a_header_that_is_damaged_is_refused() {
    let place = Place::new();
    synced_blocks(&place, 2);
    let (path, _) = segment_with(&place, 2);
    for offset in 0..52 {
        flip(&path, offset, 5);
        let (journal, replayed) = try_open(place.path(), options(SyncPolicy::Always));
        assert!(
            matches!(&journal, Err(JournalError::Corrupt { file, offset: 0, .. }) if *file == path),
            "flipped at {offset}: {:?}",
            journal.err()
        );
        assert_eq!(replayed.len(), 0);
        flip(&path, offset, 5);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let place = Place::new();
    synced_blocks(&place, 2);
    let (path, _) = segment_with(&place, 2);
    let mut bytes = std::fs::read(&path).expect("a segment");
    bytes[16] = 2;
    let checksum = crc32c::crc32c(&bytes[..48]).to_le_bytes();
    bytes[48..52].copy_from_slice(&checksum);
    std::fs::write(&path, bytes).expect("a write");
    let (journal, _) = try_open(place.path(), options(SyncPolicy::Always));
    assert!(matches!(&journal, Err(JournalError::Newer { version: 2, .. })), "{:?}", journal.err());
}

/// Several full segments, all blocks but those of the last synced. Returns the numbers of those that hold blocks: the
/// first may have been left, and given up, without one.
fn many_segments(place: &Place) -> Vec<u64> {
    let (journal, _) = place.open(options(SyncPolicy::Never));
    for number in 0..250_u64 {
        eventually("no spare", || journal.status().spare_segments > 0);
        block(&journal, &[number as u8; 1000]);
        journal.sync().expect("a sync");
    }
    drop(journal);
    let segments = super::super::files::list(place.path()).expect("a directory").segments;
    let segments: Vec<u64> =
        segments.into_iter().filter(|&number| !layout(&place.segment(number)).is_empty()).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    segments
}

#[test]
fn a_missing_segment_is_refused() {
    let place = Place::new();
    let segments = many_segments(&place);
    for &number in &segments[1..segments.len() - 1] {
        let path = place.segment(number);
        let aside = place.path().join("aside");
        std::fs::rename(&path, &aside).expect("a rename");
        let (journal, replayed) = try_open(place.path(), options(SyncPolicy::Never));
        assert!(
            matches!(&journal, Err(JournalError::Corrupt { file, .. }) if *file == path),
            "{number}: {:?}",
            journal.err()
        );
        assert_eq!(replayed.len(), 0);
        std::fs::rename(&aside, &path).expect("a rename");
    }
    assert_eq!(place.open(options(SyncPolicy::Never)).1.len(), 250);
}

#[test]
fn the_mark_tells_of_segments_that_are_gone_at_either_end() {
    let place = Place::new();
    let segments = many_segments(&place);
    for gone in [&segments[..1], &segments[segments.len() - 1..], &segments[..]] {
        let rest = TempDir::new().expect("a directory");
        copy(place.path(), rest.path());
        for number in super::super::files::list(rest.path()).expect("a list").segments {
            if gone.contains(&number) || gone == segments {
                std::fs::remove_file(super::super::files::segment_path(rest.path(), number)).expect("a removal");
            }
        }
        // Also those that were synced are missed after a power cut.
        for _ in 0..2 {
            assert!(is_refused(rest.path()), "without {gone:?}");
            mark::end_boot(rest.path());
        }
        assert!(!super::super::repair(rest.path(), true).expect("a repair").is_empty());
        assert!(!is_refused(rest.path()), "without {gone:?}, repaired");
    }
}

#[test]
fn an_older_segment_is_not_taken_for_the_newest() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    eventually("no spare", || journal.status().spare_segments > 0);
    block(&journal, b"one");
    let older = TempDir::new().expect("a directory");
    copy(place.path(), older.path());
    block(&journal, b"two");
    drop(journal);
    let (path, _) = segment_with(&place, 2);
    let name = path.file_name().expect("a name");
    std::fs::copy(older.path().join(name), &path).expect("a copy");
    assert!(is_refused(place.path()));
}

#[test]
fn a_later_segment_tells_of_damage_in_an_earlier_one() {
    let place = Place::new();
    let path = place.segment(many_segments(&place)[1]);
    // The last block of the segment: only the next segment can tell that it was there.
    let (number, range) = layout(&path).pop().expect("a block");
    flip(&path, range.start + 60, 1);
    let (journal, replayed) = try_open(place.path(), options(SyncPolicy::Never));
    assert!(
        matches!(&journal, Err(JournalError::Corrupt { file, offset, .. }) if *file == path && *offset == range.start as u64),
        "{:?}",
        journal.err()
    );
    assert_eq!(replayed.len() as u64, number - 1);
}

#[test]
fn stale_blocks_of_a_recycled_segment_are_not_replayed() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    // Blocks of one size in all lives of a file: a stale one lies exactly where the next would.
    for number in 0..500_u64 {
        let ticket = block(&journal, &number.to_le_bytes().repeat(125));
        if number % 50 == 0 {
            journal.sync().expect("a sync");
            journal.release(ticket);
            eventually("no spare", || journal.status().spare_segments > 0);
        }
    }
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::EverySecond));
    let numbers: Vec<u64> =
        replayed.iter().map(|block| u64::from_le_bytes(*block.first_chunk().expect("8 bytes"))).collect();
    assert!(numbers.len() >= 49, "{numbers:?}");
    assert_eq!(numbers, (500 - numbers.len() as u64..500).collect::<Vec<u64>>());
}

#[test]
fn bytes_that_look_like_blocks_are_no_blocks() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    // So that the segment does not change after the first block.
    eventually("no spare", || journal.status().spare_segments > 0);
    wait(&journal, append(&journal, b"one"));
    wait(&journal, append(&journal, b"two"));
    let (path, _) = segment_with(&place, 2);
    // A client stores what the journal would write, without knowing the salt.
    let mut header = SegmentHeader::decode(&std::fs::read(&path).expect("a segment")).expect("a header");
    header.salt = header.salt.wrapping_add(1);
    let forged = super::super::format::BlockHeader::new(9, 9, header.salt, std::iter::once(&b"x"[..]));
    let payload = [&forged.encode(&header)[..], b"x"].concat();
    let ticket = append(&journal, &payload);
    wait(&journal, ticket);
    drop(journal);
    let (path, range) = segment_with(&place, 3);
    flip(&path, range.start + 1, 0);
    mark::remove(place.path()).expect("no mark");
    assert_eq!(place.open(options(SyncPolicy::Always)).1, [b"one", b"two"]);
}

#[test]
fn who_replays_can_refuse() {
    let place = Place::new();
    synced_blocks(&place, 2);
    let mut refuse = |_: &[u8]| Err("no such operation".to_owned());
    let refused = Journal::open(place.path(), options(SyncPolicy::Always), &mut refuse);
    let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("block 1 in ") && error.ends_with(": no such operation"), "{error}");
}

/// Takes every block, and fails in the end.
struct Late;

impl Replay for Late {
    fn block(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        Err("no room".to_owned())
    }
}

#[test]
fn who_replays_can_fail_in_the_end_and_nothing_is_changed() {
    let place = Place::new();
    synced_blocks(&place, 2);
    let names = || super::super::files::list(place.path()).expect("a list").segments;
    let before = names();
    let failed = Journal::open(place.path(), options(SyncPolicy::Always), &mut Late);
    let error = failed.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.ends_with(" cannot be replayed: no room"), "{error}");
    assert_eq!(names(), before);
    assert_eq!(place.open(options(SyncPolicy::Always)).1.len(), 2);
}

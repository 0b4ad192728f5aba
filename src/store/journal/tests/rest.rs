use super::*;

/// What the segments take.
fn bytes(place: &Place) -> u64 {
    let files = std::fs::read_dir(place.path()).expect("a directory").flatten();
    let segments = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "journal"));
    segments.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn a_journal_at_rest_takes_no_space_and_goes_on_as_before() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::Never] {
        let place = Place::new();
        let (journal, _) = place.open(options(sync));
        let mut last = Ticket::default();
        for _ in 0..40 {
            last = block(&journal, &[7; 10_000]);
        }
        wait(&journal, last);
        // What is needed stays.
        journal.rest().expect("nothing to do");
        assert!(bytes(&place) > 400_000);
        journal.release(last);
        eventually("a spare", || journal.status().spare_segments > 0);
        for _ in 0..2 {
            journal.rest().expect("a small file");
            eventually("no spare", || bytes(&place) <= SEGMENT_HEADER_BYTES as u64);
        }
        assert_eq!((journal.status().segments, journal.status().spare_segments), (1, 0));
        // As a crash would leave it.
        let crashed = Place::new();
        copy(place.path(), crashed.path());
        let (after_crash, replayed) = crashed.open(options(sync));
        assert_eq!(replayed, Vec::<Vec<u8>>::new());
        assert_eq!(block(&after_crash, b"x").block(), last.block() + 1);
        drop(after_crash);
        let first = block(&journal, b"first");
        assert_eq!(first.block(), last.block() + 1);
        eventually("a spare again", || journal.status().spare_segments > 0);
        wait(&journal, block(&journal, b"second"));
        drop(journal);
        assert_eq!(place.open(options(sync)).1, [&b"first"[..], b"second"], "{sync:?}");
    }
}

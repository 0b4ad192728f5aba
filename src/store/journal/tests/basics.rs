use super::*;

#[test]
fn what_is_appended_is_replayed() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::Never] {
        let place = Place::new();
        let (journal, replayed) = place.open(options(sync));
        assert_eq!(replayed, Vec::<Vec<u8>>::new());
        let first = append(&journal, b"one");
        assert_eq!(append(&journal, b"two"), first);
        assert!(!journal.is_acknowledged(first));
        wait(&journal, first);
        assert!(journal.is_acknowledged(first));
        let second = append(&journal, b"three");
        assert_eq!(second.block(), first.block() + 1);
        wait(&journal, second);
        drop(journal);
        let (journal, replayed) = place.open(options(sync));
        assert_eq!(replayed, [&b"onetwo"[..], b"three"], "{sync:?}");
        wait(&journal, append(&journal, b"four"));
        journal.close().expect("a sync");
        drop(journal);
        assert_eq!(place.open(options(sync)).1, [&b"onetwo"[..], b"three", b"four"], "{sync:?}");
    }
}

#[test]
fn nothing_appended_is_no_block() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let nothing = journal.write_all().expect("a write");
    assert_eq!(nothing.block(), 0);
    wait(&journal, journal.append(|_| ()));
    wait(&journal, Ticket::default());
    block(&journal, b"x");
    wait(&journal, journal.append(|_| ()));
    journal.sync().expect("a sync");
    journal.sync().expect("a sync");
    assert_eq!(journal.status().blocks_written, 1);
}

#[test]
fn what_is_appended_and_not_written_is_lost_with_the_process() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Never));
    block(&journal, b"written");
    append(&journal, b"not");
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::Never)).1, [b"written"]);
}

#[test]
fn close_writes_what_is_left() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    let ticket = append(&journal, b"left");
    journal.close().expect("a sync");
    assert!(journal.is_acknowledged(ticket));
    assert_eq!(journal.status().durable_block, ticket.block());
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::EverySecond)).1, [b"left"]);
}

#[test]
fn an_append_that_panics_leaves_nothing() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Never));
    append(&journal, b"before ");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        journal.append(|buffer| {
            buffer.bytes().extend_from_slice(b"half");
            std::panic::resume_unwind(Box::new(()));
        })
    }));
    assert!(panicked.is_err());
    block(&journal, b"after");
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::Never)).1, [b"before after"]);
}

#[test]
fn blocks_larger_than_a_segment() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let large: Vec<u8> = (0..300_001_u32).map(|number| number as u8).collect();
    for _ in 0..3 {
        wait(&journal, append(&journal, b"small"));
        wait(&journal, append(&journal, &large));
    }
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::Always));
    assert_eq!(replayed, [b"small", large.as_slice(), b"small", &large, b"small", &large]);
}

#[test]
fn appends_of_many_threads_are_whole_and_in_order() {
    const THREADS: u64 = 8;
    const APPENDS: u64 = 3000;
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let journal = &journal;
            scope.spawn(move || {
                for number in 0..APPENDS {
                    let ticket = journal.append(|buffer| {
                        buffer.bytes().extend_from_slice(&thread.to_le_bytes());
                        buffer.bytes().extend_from_slice(&number.to_le_bytes());
                        buffer.bytes().extend_from_slice(&[thread as u8; 16]);
                    });
                    if number % 7 == 0 {
                        wait(journal, ticket);
                    }
                    if number % 1000 == 0 {
                        journal.sync().expect("a sync");
                    }
                }
            });
        }
    });
    journal.write_all().expect("a write");
    assert!(journal.status().segments > 1, "{:?}", journal.status());
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::EverySecond));
    let mut next = [0_u64; THREADS as usize];
    for record in replayed.iter().flat_map(|block| {
        let (records, rest) = block.as_chunks::<32>();
        assert_eq!(rest, b"");
        records
    }) {
        let thread = u64::from_le_bytes(*record.first_chunk().expect("8 bytes"));
        assert_eq!(record[16..], [thread as u8; 16]);
        assert_eq!(record[8..16], next[thread as usize].to_le_bytes()[..], "thread {thread}");
        next[thread as usize] += 1;
    }
    assert_eq!(next, [APPENDS; THREADS as usize]);
}

/// If a change is in a block, what happened before it, in any thread, is in that block or an earlier one.
#[test]
fn a_cut_is_one_moment() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Never));
    // Stands for a key under its slot's lock: each change has a number.
    let slot = parking_lot::Mutex::new((0_u64, Ticket::default()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5000 {
                    let mut slot = slot.lock();
                    let number = slot.0;
                    let ticket = append(&journal, &number.to_le_bytes());
                    assert!(ticket >= slot.1, "change {number} is in an earlier block than the one before");
                    *slot = (number + 1, ticket);
                }
            });
        }
        scope.spawn(|| {
            while slot.lock().0 < 20_000 {
                journal.write_all().expect("a write");
            }
        });
    });
    journal.write_all().expect("a write");
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::Never));
    let mut next = 0;
    for block in replayed {
        let mut numbers: Vec<u64> = block.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        numbers.sort_unstable();
        for number in numbers {
            assert_eq!(number, next);
            next += 1;
        }
    }
    assert_eq!(next, 20_000);
}

#[test]
fn released_segments_are_recycled_and_the_disk_stays_small() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    let payload = [7; 1000];
    for round in 0..100 {
        // Without one, the segment in use would grow.
        eventually("no spare", || journal.status().spare_segments > 0);
        for _ in 0..40 {
            block(&journal, &payload);
        }
        journal.sync().expect("a sync");
        let ticket = block(&journal, &payload);
        assert!(journal.unreleased_bytes() < 90_000, "round {round}: {:?}", journal.status());
        journal.sync().expect("a sync");
        journal.release(ticket);
        assert_eq!(journal.unreleased_bytes(), 0);
    }
    let status = journal.status();
    assert!(status.segments <= 2, "{status:?}");
    assert!(status.bytes_on_disk <= 5 * 64 * 1024, "{status:?}");
    eventually("needless segments stay", || std::fs::read_dir(place.path()).expect("a directory").count() <= 4);
    drop(journal);
    // What is left of released blocks is harmless; nothing else may come.
    let (journal, replayed) = place.open(options(SyncPolicy::EverySecond));
    assert!(replayed.len() < 200 && replayed.iter().all(|block| block == &payload), "{}", replayed.len());
    journal.release(journal.write_all().expect("a write"));
    assert_eq!(journal.unreleased_bytes(), 0);
}

#[test]
fn a_segment_is_kept_while_a_block_of_it_is_needed() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    let tickets: Vec<Ticket> = (0..200_u64).map(|number| block(&journal, &[number as u8; 1000])).collect();
    journal.sync().expect("a sync");
    journal.release(tickets[149]);
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::EverySecond));
    let numbers: Vec<u8> = replayed.iter().map(|block| block[0]).collect();
    assert!(numbers.len() >= 50, "{numbers:?}");
    assert_eq!(numbers, (200 - numbers.len() as u8..200).collect::<Vec<u8>>());
}

#[test]
fn opening_again_and_again_leaves_no_files() {
    let place = Place::new();
    for _ in 0..20 {
        let (journal, replayed) = place.open(options(SyncPolicy::Never));
        assert_eq!(replayed.len(), 0);
        eventually("needless segments stay", || {
            journal.status().spare_segments > 0 && std::fs::read_dir(place.path()).expect("a directory").count() <= 3
        });
    }
}

#[test]
fn a_journal_is_not_made_where_it_should_be() {
    let place = Place::new();
    let existing = Options { create: false, ..options(SyncPolicy::Never) };
    for path in [place.path(), &place.path().join("nowhere")] {
        let (journal, _) = try_open(path, existing.clone());
        assert!(matches!(journal, Err(JournalError::Missing { .. })), "{:?}", journal.err());
    }
    drop(place.open(options(SyncPolicy::Never)));
    assert!(try_open(place.path(), existing).0.is_ok());
}

#[test]
fn status_tells_of_progress() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    let ticket = block(&journal, &[0; 52]);
    let status = journal.status();
    assert_eq!((status.blocks_written, status.bytes_written, status.unreleased_bytes), (1, 104, 104));
    assert_eq!((status.written_block, status.durable_block), (1, 0));
    assert_eq!((status.write_latency.count, status.sync_latency.count), (1, 0));
    journal.sync().expect("a sync");
    journal.release(ticket);
    let status = journal.status();
    assert_eq!((status.durable_block, status.released_block, status.unreleased_bytes), (1, 1, 0));
    assert_eq!(status.sync_latency.count, 1);
    assert!(status.sync_latency.max_us >= status.sync_latency.last_us);
}

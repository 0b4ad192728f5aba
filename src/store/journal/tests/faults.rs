//! Input and output fail: nothing acknowledged is lost, and whoever waits is woken once it works again.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

const POLICIES: [SyncPolicy; 3] = [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::Never];

fn set(point: &str, action: &str) {
    fail::cfg(format!("journal::{point}"), action).expect("a failpoint");
}

fn unset(point: &str) {
    fail::remove(format!("journal::{point}"));
}

fn poll(journal: &Journal, ticket: Ticket) -> Poll<()> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    journal.poll_acknowledged(ticket, &mut Context::from_waker(&waker))
}

#[test]
fn writes_that_fail_are_made_up_for() {
    for sync in POLICIES {
        for point in ["write", "write_part"] {
            for (error, text) in [("ENOSPC", "No space left"), ("EIO", "Input/output error")] {
                let place = Place::alone();
                let (journal, _) = place.open(options(sync));
                wait(&journal, append(&journal, b"before"));
                set(point, &format!("return({error})"));
                let first = append(&journal, b"first");
                assert_eq!(poll(&journal, first), Poll::Pending);
                eventually("no failure", || journal.has_failed());
                assert!(journal.failure().is_some_and(|failure| failure.contains(text)), "{:?}", journal.failure());
                let second = append(&journal, b"second");
                assert!(second > first);
                assert_eq!(poll(&journal, second), Poll::Pending);
                assert!(journal.write_all().is_err() && journal.sync().is_err());
                std::thread::scope(|scope| {
                    scope.spawn(|| wait(&journal, second));
                    scope.spawn(|| wait(&journal, first));
                    eventually("nobody waits", || journal.status().waiters > 1);
                    unset(point);
                });
                eventually("still failed", || !journal.has_failed());
                assert_eq!(journal.failure(), None);
                wait(&journal, append(&journal, b"after"));
                drop(journal);
                let (_, replayed) = place.open(options(sync));
                assert_eq!(replayed, [&b"before"[..], b"first", b"second", b"after"], "{sync:?} {point} {error}");
            }
        }
    }
}

#[test]
fn a_process_killed_while_writes_fail_loses_only_what_was_not_acknowledged() {
    for sync in POLICIES {
        let place = Place::alone();
        let (journal, _) = place.open(options(sync));
        wait(&journal, append(&journal, b"before"));
        set("write_part", "return(EIO)");
        assert_eq!(poll(&journal, append(&journal, b"lost")), Poll::Pending);
        assert!(journal.close().is_err());
        drop(journal);
        unset("write_part");
        assert_eq!(place.open(options(sync)).1, [b"before"], "{sync:?}");
    }
}

/// Where a block's payload is, oldest first.
fn copies(place: &Place, number: u64) -> Vec<(PathBuf, usize)> {
    let segments = super::super::files::list(place.path()).expect("a list").segments;
    segments
        .into_iter()
        .map(|segment| place.segment(segment))
        .flat_map(|path| layout(&path).into_iter().map(move |(block, range)| (path.clone(), block, range.start + 48)))
        .filter_map(|(path, block, offset)| (block == number).then_some((path, offset)))
        .collect()
}

/// Makes the only copy of a block unreadable: what the pages that could not be synced may come to.
fn destroy(place: &Place, number: u64) {
    let copies = copies(place, number);
    assert_eq!(copies.len(), 1);
    flip(&copies[0].0, copies[0].1, 0);
}

#[test]
fn no_sync_is_trusted_after_one_that_failed() {
    for sync in POLICIES {
        let place = Place::alone();
        let (journal, _) = place.open(options(sync));
        block(&journal, b"before");
        journal.sync().expect("a sync");
        set("sync", "return(EIO)");
        let ticket = block(&journal, b"not synced");
        assert!(journal.sync().is_err());
        assert!(journal.failure().is_some_and(|failure| failure.contains("cannot be synced")));
        assert_eq!(journal.status().durable_block, 1);
        assert_eq!(journal.is_acknowledged(ticket), sync != SyncPolicy::Always);
        if sync == SyncPolicy::Always {
            // Its copy is in memory.
            destroy(&place, ticket.block());
            assert_eq!(poll(&journal, ticket), Poll::Pending);
        }
        let later = append(&journal, b"later");
        assert_eq!(poll(&journal, later), Poll::Pending);
        unset("sync");
        wait(&journal, ticket);
        wait(&journal, later);
        journal.sync().expect("a sync");
        drop(journal);
        // The old copy does not count any more.
        let mut copies = copies(&place, ticket.block());
        assert_eq!(copies.len(), 2, "{sync:?}");
        let (path, offset) = copies.swap_remove(0);
        flip(&path, offset, 1);
        assert_eq!(place.open(options(sync)).1, [&b"before"[..], b"not synced", b"later"], "{sync:?}");
    }
}

#[test]
fn a_block_that_cannot_be_read_back_keeps_the_journal_failed_until_it_is_released() {
    let place = Place::alone();
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    block(&journal, b"before");
    journal.sync().expect("a sync");
    // Reads fail, too, so that the journal does not read the block back before it is destroyed.
    set("read", "return(EIO)");
    set("sync", "return(EIO)");
    let lost = block(&journal, b"lost");
    assert!(journal.sync().is_err());
    destroy(&place, lost.block());
    unset("read");
    unset("sync");
    let error = journal.sync().err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("block 2 cannot be read back"));
    assert!(journal.has_failed());
    let later = append(&journal, b"later");
    assert_eq!(poll(&journal, later), Poll::Pending);
    journal.release(lost);
    wait(&journal, later);
    journal.sync().expect("a sync");
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::EverySecond)).1.last().map(Vec::as_slice), Some(&b"later"[..]));
}

#[test]
fn an_open_that_fails_changes_nothing() {
    let place = Place::alone();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    eventually("no spare", || journal.status().spare_segments > 0);
    wait(&journal, append(&journal, b"kept"));
    drop(journal);
    for point in ["list", "read", "sync", "write_header", "rename", "sync_directory"] {
        set(point, "return(EIO)");
        let (journal, _) = try_open(place.path(), options(SyncPolicy::Always));
        assert!(matches!(journal, Err(JournalError::Io { .. })), "{point}: {:?}", journal.err());
        unset(point);
        assert_eq!(place.open(options(SyncPolicy::Always)).1, [b"kept"], "{point}");
    }
}

#[test]
fn without_spares_the_segment_grows_and_then_rolls_over() {
    let place = Place::alone();
    set("fill", "return(ENOSPC)");
    let (journal, _) = place.open(options(SyncPolicy::EverySecond));
    for number in 0..600_u64 {
        block(&journal, &number.to_le_bytes().repeat(125));
    }
    assert!(!journal.has_failed());
    assert_eq!(journal.status().segments, 3, "{:?}", journal.status());
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::EverySecond)).1.len(), 600);
}

/// Everything fails at some time, while threads write and segments are released.
#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    const POINTS: [&str; 11] = [
        "write",
        "write_part",
        "sync",
        "sync_directory",
        "rename",
        "create",
        "fill",
        "write_header",
        "remove",
        "open",
        "read",
    ];
    for sync in POLICIES {
        let place = Place::alone();
        let (journal, _) = place.open(options(sync));
        let is_over = AtomicBool::new(false);
        let released = parking_lot::Mutex::new(Ticket::default());
        let last_blocks = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4_u64)
                .map(|thread| {
                    let journal = &journal;
                    scope.spawn(move || {
                        let mut last = Ticket::default();
                        for number in 0..400_u64 {
                            let mut record = [thread as u8; 800];
                            record[8..16].copy_from_slice(&number.to_le_bytes());
                            last = append(journal, &record);
                            wait(journal, last);
                        }
                        last.block()
                    })
                })
                .collect();
            scope.spawn(|| {
                for round in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    let point = POINTS[round % POINTS.len()];
                    let error = if round % 2 == 0 { "ENOSPC" } else { "EIO" };
                    set(point, &format!("{}*return({error})", 1 + round % 3));
                    // Now and then what was written reaches RocksDB.
                    if journal.sync().is_ok() && round % 5 == 0 {
                        let durable = Ticket(journal.status().durable_block / 2);
                        journal.release(durable);
                        let mut released = released.lock();
                        *released = durable.max(*released);
                    }
                    unset(point);
                }
            });
            let joined = writers.into_iter().map(|writer| writer.join().expect("all acknowledged"));
            let last_blocks: Vec<u64> = joined.collect();
            is_over.store(true, Ordering::SeqCst);
            last_blocks
        });
        eventually("still failed", || !journal.has_failed());
        let (written, released) = (journal.status().written_block, released.into_inner().block());
        drop(journal);
        let (journal, replayed) = place.open(options(sync));
        assert_eq!(journal.status().written_block, written);
        assert!(replayed.len() as u64 >= written - released, "{} of {written}, {released} released", replayed.len());
        // Of each thread, the last records without a gap.
        let mut next = [None; 4];
        for record in replayed.iter().flat_map(|block| block.as_chunks::<800>().0) {
            let number = u64::from_le_bytes(*record[8..].first_chunk().expect("8 bytes"));
            let next = &mut next[record[0] as usize];
            assert_eq!(number, next.unwrap_or(number), "thread {}", record[0]);
            *next = Some(number + 1);
        }
        for (next, last_block) in next.into_iter().zip(last_blocks) {
            assert!(next == Some(400) || (next.is_none() && last_block <= released), "{sync:?}: {next:?} {last_block}");
        }
    }
}

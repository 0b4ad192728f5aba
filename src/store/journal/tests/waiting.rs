use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn no_waiter_is_forgotten() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..50_u8 {
            let (journal, acknowledged) = (&journal, &acknowledged);
            scope.spawn(move || {
                for _ in 0..40 {
                    let ticket = append(journal, &[thread; 100]);
                    wait(journal, ticket);
                    assert!(journal.status().durable_block >= ticket.block());
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(acknowledged.into_inner(), 2000);
    let status = journal.status();
    assert_eq!(status.waiters, 0);
    // Shared: far fewer syncs than waiters.
    assert!(status.sync_latency.count < 1000, "{status:?}");
    drop(journal);
    let (_, replayed) = place.open(options(SyncPolicy::Always));
    assert_eq!(replayed.concat().len(), 50 * 40 * 100);
}

#[test]
fn the_policy_changes_while_tasks_wait() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (journal, done) = (&journal, &done);
            scope.spawn(move || {
                for _ in 0..500 {
                    wait(journal, append(journal, &[thread; 10]));
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            let policies = [SyncPolicy::EverySecond, SyncPolicy::Always, SyncPolicy::Never, SyncPolicy::Always];
            for policy in policies.into_iter().cycle() {
                if done.load(Ordering::SeqCst) == 4 {
                    break;
                }
                journal.set_policy(policy);
                journal.sync().expect("a sync");
            }
        });
    });
    drop(journal);
    assert_eq!(place.open(options(SyncPolicy::Always)).1.concat().len(), 4 * 500 * 10);
}

#[test]
fn what_is_written_is_synced_within_the_interval() {
    let place = Place::new();
    let often = Options { interval: Duration::from_millis(5), ..options(SyncPolicy::EverySecond) };
    let (journal, _) = place.open(often);
    let ticket = append(&journal, b"x");
    wait(&journal, ticket);
    eventually("nothing synced it", || journal.status().durable_block == ticket.block());
    // Also what nobody waits for.
    let ticket = append(&journal, b"y");
    eventually("nothing wrote it", || journal.status().durable_block == ticket.block());
    journal.set_policy(SyncPolicy::Never);
    let ticket = append(&journal, b"z");
    eventually("nothing wrote it", || journal.status().written_block == ticket.block());
}

#[test]
fn a_task_is_registered_once() {
    let place = Place::new();
    let (journal, _) = place.open(options(SyncPolicy::Always));
    let waiters = super::super::waiters::Waiters::default();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let other = Waker::from(Arc::new(Unpark(std::thread::current())));
    for block in [5, 3, 9] {
        waiters.register(block, &waker.clone());
    }
    waiters.register(4, &other);
    assert_eq!(waiters.count(), 2);
    waiters.wake_up_to(2);
    assert_eq!(waiters.count(), 2);
    waiters.wake_up_to(3);
    assert_eq!(waiters.count(), 1);
    waiters.wake_up_to(9);
    assert_eq!(waiters.count(), 0);
    drop(journal);
}

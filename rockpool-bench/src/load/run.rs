//! The way through a load: the connections, the threads, and what they have counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::error::LoadError;
use super::link::Clock;
use super::nodes::Nodes;
use super::outcome::Outcome;
use super::plan::{Length, Plan};
use super::progress::{Progress, Snapshot};
use super::requests::{KeyNames, Requests};
use super::schedule::Schedule;
use super::tally::Gauge;
use super::values::Values;
use super::worker::{self, Worker};
use crate::wire::{Codec, Dialer};

/// How often a run's progress is reported.
const REPORT: Duration = Duration::from_millis(500);
/// How long a connection may take to be opened, which blocks its thread.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs a load to its end, on threads of its own.
///
/// # Errors
/// [`LoadError`]; errors that servers answer and values that differ are in the outcome.
pub fn run(plan: &Plan, progress: &dyn Progress) -> Result<Outcome, LoadError> {
    plan.check()?;
    let threads = plan.threads.min(plan.clients);
    let dialer =
        Dialer { protocol: plan.protocol, password: plan.password.clone(), timeout: plan.timeout.min(DIAL_TIMEOUT) };
    let nodes = Nodes::find(plan, &dialer)?;
    let codec = Codec::new(plan.protocol, &nodes.get(0).name(), plan.password.as_deref());
    let (requests, names) = Requests::deal(plan, threads)?;
    let length = match (plan.length, &names) {
        (Length::Trace, KeyNames::Listed(trace)) => Length::Requests(trace.len()),
        (length, _) => length,
    };
    let values = Arc::new(Values::new(plan.seed));
    let stop = Arc::new(AtomicBool::new(false));
    let gauges: Vec<Arc<Gauge>> = (0..threads).map(|_| Arc::default()).collect();
    let mut workers = Vec::new();
    for (thread, requests) in requests.into_iter().enumerate() {
        workers.push(Worker::new(worker::Parts {
            clients: plan.clients / threads + usize::from(thread < plan.clients % threads),
            pipeline: plan.pipeline,
            timeout: plan.timeout,
            nodes: nodes.clone(),
            dialer: dialer.clone(),
            codec: codec.clone(),
            requests,
            names: names.clone(),
            values: values.clone(),
            verify: plan.verify,
            schedule: Schedule::new(length, plan.rate_per_s, thread, threads),
            gauge: gauges[thread].clone(),
            stop: stop.clone(),
        })?);
    }
    progress.opened();
    // The first thread that runs while all are there begins: on a busy machine it may be long until a new one runs.
    let (all_are_there, begun) = (Barrier::new(threads), OnceLock::new());
    thread::scope(|scope| {
        let (ended, ends) = mpsc::channel::<()>();
        let running: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let (ended, stop, all_are_there, begun) = (ended.clone(), &stop, &all_are_there, &begun);
                scope.spawn(move || {
                    // Dropped with the thread, however that ends.
                    let _ended = ended;
                    all_are_there.wait();
                    let clock = *begun.get_or_init(|| Clock { start: Instant::now() });
                    let outcome = worker.run(clock).inspect_err(|_| stop.store(true, Relaxed));
                    // Its connections are closed by whoever waits for all of the threads.
                    outcome.map(|outcome| (outcome, worker))
                })
            })
            .collect();
        drop(ended);
        while let Err(mpsc::RecvTimeoutError::Timeout) = ends.recv_timeout(REPORT) {
            if let Some(clock) = begun.get() {
                progress.report(&snapshot(&gauges, *clock));
            }
        }
        let mut total = Outcome::empty();
        let mut idle = Vec::new();
        for thread in running {
            let (outcome, worker) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            total.merge(outcome);
            idle.push(worker);
        }
        progress.closing();
        Ok(total)
    })
}

fn snapshot(gauges: &[Arc<Gauge>], clock: Clock) -> Snapshot {
    let sum = |count: fn(&Gauge) -> &AtomicU64| gauges.iter().map(|gauge| count(gauge).load(Relaxed)).sum();
    let behind = gauges.iter().map(|gauge| gauge.behind_ns.load(Relaxed)).max().unwrap_or_default();
    Snapshot {
        elapsed: clock.start.elapsed(),
        requests: sum(|gauge| &gauge.requests),
        errors: sum(|gauge| &gauge.errors),
        mismatches: sum(|gauge| &gauge.mismatches),
        behind: Duration::from_nanos(behind),
    }
}

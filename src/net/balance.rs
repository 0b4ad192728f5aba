//! How many of the workers serve connections.
//!
//! As long as one worker is enough, one serves all: it finds more to do each time it wakes, so that a command costs
//! less, and it does not compete with its clients, RocksDB and the other workers for a processor. When those that serve
//! are busy and processors are idle, one more does; when fewer are enough, or the last one only took processor time
//! from the others, one less. Connections then go to their new workers one by one, each when something comes in on it.
//!
//! Measured on two processors, beside one client that takes one of them, 50 connections, one worker serving instead of
//! two: with 16 commands in flight p99 is a quarter, and a command takes 10% less processor time; with
//! `appendfsync always` and one command in flight 30% less.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::command::state::State;

const INTERVAL: Duration = Duration::from_millis(100);
/// The system tells what is idle in steps of 10 ms, so the last interval counts for so much beside those before it.
const IDLE_WEIGHT: f64 = 0.4;
/// A worker that is busy for more than this part of the time is not enough …
const SATURATED: f64 = 0.9;
/// … if so much of a processor is idle that another one could use: more than it costs that a command takes longer.
const IDLE_FOR_ANOTHER: f64 = 0.4;
/// With whole processors idle, a worker that is busy for this part is not enough: commands would wait for each other.
const BUSY: f64 = 0.65;
const IDLE_IN_PLENTY: f64 = 1.0;
/// One less is enough if that keeps the others below these parts, by what is idle: in plenty, some, nothing.
const ENOUGH: [f64; 3] = [0.5, 0.8, 0.97];
/// Less than this part of a processor is nothing.
const IDLE_NOTHING: f64 = 0.06;
/// A growth was worth it if so many times as many commands are done then, or if so much is left idle all the same.
const GAIN: f64 = 1.1;
const IDLE_LEFT: f64 = 0.5;
/// In a row, so many intervals must ask for one more, or one less, until it is done.
const PATIENCE_TO_GROW: u32 = 3;
const PATIENCE_TO_SHRINK: u32 = 4;
/// A growth that has to be taken back doubles the patience until the next one, up to this.
const PATIENCE_MAX: u32 = 256;
/// Of `/proc/stat`, on every machine that this runs on.
const USER_TICKS_A_SECOND: f64 = 100.0;
/// Of `/proc/stat`, what has the lines of a thousand processors; of `schedstat`, which is three numbers, all.
const STATISTICS_BYTES: usize = 64 * 1024;
const TIMES_BYTES: usize = 128;

/// The worker that a connection belongs to; `ordinal` counts the accepted connections.
pub fn home(ordinal: usize, active: usize) -> usize {
    ordinal % active.max(1)
}

/// Opened by a worker: the file that tells its thread's processor time.
pub fn processor_time_file() -> io::Result<File> {
    File::open("/proc/thread-self/schedstat")
}

/// Adjusts `state.active_workers` until the server stops. `workers` are the files of all of them; without them, or
/// where the system does not tell what is idle, all workers serve.
pub async fn run(state: Arc<State>, workers: Vec<File>, mut stopped: watch::Receiver<bool>) {
    if workers.len() < 2 {
        return;
    }
    let mut balance = Balance { most: workers.len(), ..Balance::default() };
    let commands = |state: &State| state.stats.sum(|shard| &shard.commands_processed) as f64;
    let mut done = Rate::new(commands(&state));
    let mut gauge = match Gauge::new(workers) {
        Ok(gauge) => gauge,
        Err(error) => {
            tracing::debug!(%error, "processor times cannot be read: all workers serve");
            return;
        }
    };
    state.active_workers.store(1, Ordering::Relaxed);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let active = state.active_workers.load(Ordering::Relaxed);
        match gauge.read(active > 1) {
            Ok(load) => {
                let next = balance.next(active, load, done.next(commands(&state)));
                if next != active {
                    tracing::debug!(from = active, to = next, busy = load.busy, idle = load.idle, "workers that serve");
                    state.active_workers.store(next, Ordering::Relaxed);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "processor times cannot be read any more: all workers serve");
                state.active_workers.store(balance.most, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// Of late, in processors.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Used by all workers together.
    busy: f64,
    /// Used by nobody.
    idle: f64,
}

/// Decides.
#[derive(Debug, Default)]
struct Balance {
    most: usize,
    /// Intervals in a row that asked for one more, or one less.
    growing: u32,
    shrinking: u32,
    /// Growths that had to be taken back, one after the other.
    regretted: u32,
    /// Commands a second when the last one joined; 0: one has left since.
    done_before: f64,
}

impl Balance {
    /// How many workers are to serve in the next interval, if `active` did in the last, `done` commands a second.
    fn next(&mut self, active: usize, load: Load, done: f64) -> usize {
        let share = load.busy / active as f64;
        let wants_more = active < self.most
            && (share >= SATURATED && load.idle >= IDLE_FOR_ANOTHER || share >= BUSY && load.idle >= IDLE_IN_PLENTY);
        let enough = match load.idle {
            idle if idle >= IDLE_IN_PLENTY => ENOUGH[0],
            idle if idle >= IDLE_NOTHING => ENOUGH[1],
            _ => ENOUGH[2],
        };
        let is_enough = load.busy <= enough * (active - 1) as f64;
        // Those that serve and their clients use everything, but the last worker only made each command cost more.
        let is_vain = load.idle < IDLE_LEFT && done < GAIN * self.done_before;
        let wants_less = active > 1 && (is_enough || is_vain);
        if share < BUSY / 2.0 {
            self.regretted = 0;
        }
        self.growing = if wants_more { self.growing + 1 } else { 0 };
        self.shrinking = if wants_less { self.shrinking + 1 } else { 0 };
        if self.growing >= (PATIENCE_TO_GROW << self.regretted.min(31)).min(PATIENCE_MAX) {
            self.growing = 0;
            self.done_before = done;
            return active + 1;
        }
        if self.shrinking >= PATIENCE_TO_SHRINK {
            self.shrinking = 0;
            self.done_before = 0.0;
            // It used what was idle and got no more done; a load that has gone regrets nothing.
            let is_regretted = is_vain || load.idle < IDLE_NOTHING;
            self.regretted = if is_regretted { (self.regretted + 1).min(8) } else { 0 };
            return active - 1;
        }
        active
    }
}

/// Reads what the kernel tells.
struct Gauge {
    workers: Vec<File>,
    busy: Rate,
    system: File,
    /// The lines of `/proc/stat` for the processors that this process may use, by their beginnings.
    processors: Vec<String>,
    /// Its sum, and what it grew by of late; none while nobody asks.
    idle: Option<(Rate, Option<f64>)>,
}

impl Gauge {
    fn new(workers: Vec<File>) -> io::Result<Gauge> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let processors = allowed.and_then(processors).ok_or_else(|| io::Error::other("no list of processors"))?;
        let busy = Rate::new(busy_s(&workers)?);
        Ok(Gauge { workers, busy, system: File::open("/proc/stat")?, processors, idle: None })
    }

    /// What is idle is not looked at while nothing depends on it, unless `always`: with many processors that takes a
    /// millisecond.
    fn read(&mut self, always: bool) -> io::Result<Load> {
        let busy = self.busy.next(busy_s(&self.workers)?);
        if busy < BUSY / 2.0 && !always {
            self.idle = None;
            return Ok(Load { busy, idle: 0.0 });
        }
        let idle_s = idle_s(&text(&self.system, STATISTICS_BYTES)?, &self.processors);
        let (rate, smoothed) = self.idle.get_or_insert_with(|| (Rate::new(idle_s), None));
        let latest = rate.next(idle_s);
        let idle = smoothed.map_or(latest, |smoothed| smoothed + IDLE_WEIGHT * (latest - smoothed));
        *smoothed = Some(idle);
        Ok(Load { busy, idle })
    }
}

/// How fast a sum grows.
struct Rate {
    at: Instant,
    sum: f64,
}

impl Rate {
    fn new(sum: f64) -> Rate {
        Rate { at: Instant::now(), sum }
    }

    /// By how much a second since the last sum.
    fn next(&mut self, sum: f64) -> f64 {
        let last = std::mem::replace(self, Rate::new(sum));
        (sum - last.sum).max(0.0) / (self.at - last.at).as_secs_f64().max(1e-3)
    }
}

/// Its first `most_bytes` at most: files of `/proc` are made anew with each read at 0.
fn text(file: &File, most_bytes: usize) -> io::Result<String> {
    let mut bytes = vec![0; most_bytes];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Processor time of the threads whose `schedstat` these are.
fn busy_s(workers: &[File]) -> io::Result<f64> {
    let mut sum_ns = 0.0;
    for worker in workers {
        let first = text(worker, TIMES_BYTES)?.split(' ').next().and_then(|number| number.parse::<f64>().ok());
        sum_ns += first.ok_or_else(|| io::Error::other("no time in schedstat"))?;
    }
    Ok(sum_ns / 1e9)
}

/// Idle time, that spent waiting for a disk included, of the processors whose lines begin so.
fn idle_s(statistics: &str, processors: &[String]) -> f64 {
    let idle =
        |line: &str| line.split(' ').skip(4).take(2).map(|ticks| ticks.parse::<f64>().unwrap_or(0.0)).sum::<f64>();
    let ours = |line: &&str| processors.iter().any(|beginning| line.starts_with(beginning));
    statistics.lines().filter(ours).map(idle).sum::<f64>() / USER_TICKS_A_SECOND
}

/// What the lines of `/proc/stat` begin with for a list like `0-3,8`.
fn processors(list: &str) -> Option<Vec<String>> {
    let mut processors = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = first.parse::<usize>().ok()?..=last.parse().ok()?;
        processors.extend(range.map(|processor| format!("cpu{processor} ")));
    }
    Some(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many serve after each of `loads`, if a command always takes the same.
    fn course(balance: &mut Balance, mut active: usize, loads: impl IntoIterator<Item = (f64, f64)>) -> Vec<usize> {
        let step = |(busy, idle)| {
            active = balance.next(active, Load { busy, idle }, busy * 1e6);
            active
        };
        loads.into_iter().map(step).collect()
    }

    fn balance(most: usize) -> Balance {
        Balance { most, ..Balance::default() }
    }

    #[test]
    fn grows_when_saturated_and_something_is_idle() {
        assert_eq!(course(&mut balance(4), 1, [(0.95, 0.5); 4]), [1, 1, 2, 2]);
        assert_eq!(course(&mut balance(4), 1, [(0.95, 0.2); 9]), [1; 9], "too little is idle");
        assert_eq!(course(&mut balance(4), 1, [(0.8, 0.5); 9]), [1; 9], "one is enough");
        assert_eq!(course(&mut balance(2), 2, [(1.9, 3.0); 9]), [2; 9], "there are no more");
        assert_eq!(course(&mut balance(4), 1, [(0.95, 0.5), (0.5, 0.5), (0.95, 0.5)]), [1; 3], "a peak");
    }

    #[test]
    fn grows_sooner_when_whole_processors_are_idle() {
        assert_eq!(course(&mut balance(4), 1, [(0.7, 5.0); 3]), [1, 1, 2]);
        assert_eq!(course(&mut balance(4), 3, [(2.2, 5.0); 3]), [3, 3, 4]);
        assert_eq!(course(&mut balance(4), 3, [(1.8, 5.0); 9]), [3; 9]);
    }

    #[test]
    fn shrinks_when_fewer_are_enough() {
        assert_eq!(course(&mut balance(4), 2, [(0.4, 5.0); 5]), [2, 2, 2, 1, 1]);
        assert_eq!(course(&mut balance(4), 2, [(0.6, 5.0); 9]), [2; 9]);
        assert_eq!(course(&mut balance(4), 2, [(0.75, 0.5); 4]), [2, 2, 2, 1]);
        assert_eq!(course(&mut balance(4), 2, [(0.9, 0.5); 9]), [2; 9]);
        assert_eq!(course(&mut balance(4), 2, [(0.9, 0.0); 4]), [2, 2, 2, 1], "it only competes with others");
        assert_eq!(course(&mut balance(4), 2, [(1.2, 0.0); 9]), [2; 9], "two get more done than one could");
        assert_eq!(course(&mut balance(4), 1, [(0.0, 8.0); 9]), [1; 9]);
    }

    #[test]
    fn a_growth_that_gained_nothing_is_taken_back() {
        let grown = || {
            let mut balance = balance(4);
            assert_eq!(course(&mut balance, 1, [(0.98, 0.5); 3]), [1, 1, 2]);
            balance
        };
        assert_eq!(course(&mut grown(), 2, [(0.97, 0.1); 4]), [2, 2, 2, 1]);
        assert_eq!(course(&mut grown(), 2, [(0.97, 0.7); 9]), [2; 9], "others have what they need");
        assert_eq!(course(&mut grown(), 2, [(1.3, 0.1); 9]), [2; 9], "it gained");
        let mut balance = grown();
        assert_eq!(course(&mut balance, 2, [(1.9, 0.5); 3]), [2, 2, 3]);
        assert_eq!(course(&mut balance, 3, [(1.9, 0.1); 9]), [3, 3, 3, 2, 2, 2, 2, 2, 2], "two did gain");
    }

    #[test]
    fn a_growth_that_gained_nothing_is_tried_less_and_less_often() {
        let mut balance = balance(2);
        let mut active = 1;
        let mut growths = Vec::new();
        for interval in 0..1000 {
            // Alone it is saturated and leaves something idle; two use that and get no more done.
            let load = if active == 1 { Load { busy: 0.95, idle: 0.4 } } else { Load { busy: 0.95, idle: 0.0 } };
            let next = balance.next(active, load, 1e6);
            if next > active {
                growths.push(interval);
            }
            active = next;
        }
        assert!(growths.len() < 12, "{growths:?}");
        // The load goes, and another one comes for which it is worth it.
        balance.shrinking = 0;
        course(&mut balance, 2, [(0.1, 1.9); 4]);
        assert_eq!(course(&mut balance, 1, [(0.95, 0.5); 3]), [1, 1, 2]);
    }

    #[test]
    fn connections_are_spread_evenly() {
        for active in 1..5 {
            let mut counts = vec![0; active];
            (0..active * 10).for_each(|ordinal| counts[home(ordinal, active)] += 1);
            assert_eq!(counts, vec![10; active]);
        }
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let lines = "cpu  9 9 9 900 9\ncpu0 1 0 0 100 50 0\ncpu1 1 0 0 200 0 0\ncpu10 0 0 0 400 0 0\nintr 1 2 3 4 5\n";
        assert_eq!(processors(" 0-1,10\n"), Some(vec!["cpu0 ".to_owned(), "cpu1 ".to_owned(), "cpu10 ".to_owned()]));
        assert_eq!(processors("0,x"), None);
        assert_eq!(idle_s(lines, &processors("0-1").expect("a list")), 3.5);
        assert_eq!(idle_s(lines, &processors("10").expect("a list")), 4.0);
        let file = processor_time_file().expect("schedstat");
        let before_s = busy_s(std::slice::from_ref(&file)).expect("a time");
        let began = Instant::now();
        while busy_s(std::slice::from_ref(&file)).expect("a time") < before_s + 0.02 {
            assert!(began.elapsed() < Duration::from_secs(20), "no processor time passes");
        }
        Gauge::new(vec![file]).expect("a gauge").read(true).expect("a load");
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::base::{clock, memory};
use crate::command::clients::Clients;
use crate::config::{Settings, Share};
use crate::keyspace::Keyspace;
use crate::stats::Stats;

/// What commands act upon: one for the whole server.
pub struct State {
    /// The parameters, at their present values.
    pub settings: Arc<Settings>,
    /// What is counted and timed.
    pub stats: Arc<Stats>,
    /// The keys.
    pub keyspace: Arc<Keyspace>,
    /// Who is connected.
    pub clients: Clients,
    /// When the server began.
    pub started: Instant,
    /// 40 hexadecimal digits, other ones at every start.
    pub run_id: String,
    /// Likewise, for the stream of changes.
    pub replication_id: String,
    /// Bytes in use before there was any key or client.
    pub startup_memory_bytes: u64,
    /// Where RESP is served, which `port 0` leaves to the system; 0: nowhere.
    pub resp_port: AtomicU16,
    /// How many worker threads serve connections at the moment; `net` adjusts it.
    pub active_workers: AtomicUsize,
    /// File descriptors that are set apart from connections; the node tells.
    pub reserved_descriptors: AtomicU64,
    pub(super) peak_memory_bytes: AtomicU64,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) failed: AtomicBool,
}

impl State {
    /// The most bytes that were in use at any time somebody looked.
    pub fn peak_memory_bytes(&self) -> u64 {
        let used_bytes = memory::used_bytes();
        self.peak_memory_bytes.fetch_max(used_bytes, Ordering::Relaxed).max(used_bytes)
    }

    /// What is to be looked at regularly: to be called at least every 100 ms.
    pub fn sample(&self) {
        self.keyspace.measure_memory();
        self.peak_memory_bytes();
        self.stats.sample(Instant::now());
    }

    /// Puts down an active expiry cycle; `finished`: it got through within its budget.
    pub fn note_expire_cycle(&self, took: Duration, finished: bool) {
        let shard = self.stats.shard();
        shard.expire_cycles_us.add(took.as_micros() as u64);
        if !finished {
            shard.expire_cycles_capped.add(1);
        }
        self.note_latency("expire-cycle", took);
    }

    /// Puts down how long an event took that may have kept clients waiting, if it reaches
    /// `latency-monitor-threshold`.
    pub fn note_latency(&self, event: &'static str, took: Duration) {
        let threshold_ms = self.settings.latency_monitor_threshold.get();
        self.stats.latency_events.add(event, took.as_millis() as u64, threshold_ms, clock::now_ms() / 1000);
    }

    /// Has what keeps copies of settings take the present ones.
    pub fn apply_settings(&self) {
        self.keyspace.apply_settings();
        self.clients.session_places.look_again();
        self.clients.http_places.look_again();
    }

    /// Unix seconds of the last checkpoint, or of the start if there was none since.
    pub fn last_save_s(&self) -> u64 {
        let last_s = self.keyspace.tier().map_or(0, |tier| tier.saves.state().last_s);
        if last_s > 0 { last_s } else { clock::now_ms() / 1000 - self.started.elapsed().as_secs() }
    }

    /// CONFIG RESETSTAT. As in Redis, peak memory, slow log and latency events stay.
    pub fn reset_statistics(&self) {
        self.stats.reset();
    }

    /// How many commands the slow log keeps.
    pub fn slow_log_max_len(&self) -> usize {
        self.settings.slowlog_max_len.get().max(0) as usize
    }

    /// How many clients there may be of all protocols.
    pub fn max_clients(&self) -> usize {
        self.settings.maxclients.get().max(0) as usize
    }

    /// What all clients may take together by `maxmemory-clients`, in bytes; `None`: there is no limit.
    #[inline]
    pub fn max_client_bytes(&self) -> Option<u64> {
        let max_bytes = match self.settings.maxmemory_clients.get() {
            Share::Bytes(bytes) => bytes,
            Share::Percent(percent) => (u128::from(self.settings.maxmemory.get()) * u128::from(percent) / 100) as u64,
        };
        (max_bytes > 0).then_some(max_bytes)
    }

    /// Puts down that `count` clients were cut for `maxmemory-clients`.
    pub fn note_evicted_clients(&self, count: usize) {
        self.stats.shard().evicted_clients.add(count as u64);
    }

    /// Asks the node to end in good order.
    pub fn request_shutdown(&self) {
        self.shutdown.send_replace(true);
    }

    /// Ends the node because a part of it has failed; see [`super::alarm::Alarm`].
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.request_shutdown();
    }

    /// Whether the server ends because of a failure.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether the server is about to end.
    pub fn is_shutting_down(&self) -> bool {
        *self.shutdown.borrow()
    }

    /// Completes once a shutdown was asked for.
    pub async fn shutdown_requested(&self) {
        let mut receiver = self.shutdown.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::watch;

use super::clients::Clients;
use super::table::Table;
use crate::config::Settings;
use crate::keyspace::Keyspace;
use crate::stats::Stats;

/// What commands act upon: one for the whole server.
pub struct State {
    pub settings: Arc<Settings>,
    pub stats: Arc<Stats>,
    pub keyspace: Arc<Keyspace>,
    pub clients: Clients,
    pub started: Instant,
    shutdown: watch::Sender<bool>,
    failed: AtomicBool,
}

impl State {
    /// `seed` goes into the hash that places keys.
    pub fn new(settings: Arc<Settings>, seed: u64) -> State {
        let stats = Arc::new(Stats::new(Table::get().commands().len()));
        State {
            keyspace: Arc::new(Keyspace::new(seed, settings.clone(), stats.clone())),
            settings,
            stats,
            clients: Clients::default(),
            started: Instant::now(),
            shutdown: watch::Sender::new(false),
            failed: AtomicBool::new(false),
        }
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

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

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

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::clients::{Client, Clients};
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
        }
    }

    /// Whether the client must give the password before anything else. Who came in without one stays in when one is
    /// set, and nobody is asked once there is none.
    #[inline]
    pub fn requires_auth(&self, client: &Client) -> bool {
        !client.is_authenticated() && self.has_password()
    }

    /// Whether `requirepass` is set.
    pub fn has_password(&self) -> bool {
        !self.settings.requirepass.get().is_empty()
    }

    /// Asks the node to end in good order.
    pub fn request_shutdown(&self) {
        self.shutdown.send_replace(true);
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

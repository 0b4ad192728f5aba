//! What a comparison is told of how to go about it.

use std::path::PathBuf;
use std::time::Duration;

use super::client::Client;
use super::cpus::Cpus;

/// How an experiment is run.
#[derive(Debug)]
pub struct Settings {
    /// How often each measurement is made.
    pub rounds: usize,
    /// What makes the load.
    pub client: Client,
    /// CPUs that the servers are kept to.
    pub server_cpus: Cpus,
    /// CPUs that the client is kept to.
    pub client_cpus: Cpus,
    /// Below which servers keep their data.
    pub directory: Option<PathBuf>,
    /// After the last key has expired, allocators get so long to give memory back.
    pub give_back: Duration,
    /// How the comparison was called, without paths.
    pub command: String,
}

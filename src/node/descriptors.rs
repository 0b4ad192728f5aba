//! The limit of file descriptors: what the program and its disk need is reserved, and connections share the rest.

use std::io;

use crate::base::system;
use crate::command::clients::LEAVING_MAX;
use crate::config::{Engine, Settings, find};
use crate::store::rocks::OPEN_FILES_MAX;

/// For each worker: its runtime, its selector, and its thread's CPU clock.
const EACH_WORKER: u64 = 8;
/// For files that are open briefly: `/proc`, the configuration file, the log, name resolution.
const BRIEF: u64 = 16;
/// For the disk, besides tables: the directory's lock, journal segments, RocksDB's log, manifest and info log, the output of
/// flushes and compactions, a checkpoint.
const DISK: u64 = 40;
/// The least number of open tables: a compaction holds those of level 0 and one of each level below.
const OPEN_FILES_MIN: u64 = 64;
/// One part in so many of what is left is for tables, and one part in so many of the rest for HTTP.
const SHARE: u64 = 4;
/// With fewer left for connections, the server does not start.
const CONNECTIONS_MIN: u64 = 8;

/// What each would take if the limit were high enough.
struct Wanted {
    clients: u64,
    http: u64,
    /// Open tables; 0: there is no disk.
    tables: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Shares {
    clients: u64,
    http: u64,
    tables: u64,
}

/// What was reserved, and RocksDB's part.
pub struct Fitted {
    /// How many descriptors are reserved, and so not for connections.
    pub reserved: u64,
    /// How many tables RocksDB may hold open.
    pub open_files: i32,
}

/// Raises the process's limit to what `maxclients`, `http-maxclients` and all else need. Where the system does not allow that,
/// lowers these two to what fits, as Redis does, and logs a warning. To be called when the listeners are open and the data is
/// not.
///
/// # Errors
/// When the limit is too low to start, with one line for the operator.
pub fn fit(settings: &Settings, listeners: usize, workers: usize) -> io::Result<Fitted> {
    let has_disk = settings.r#type.get() == Engine::Rocksdb;
    let wanted = Wanted {
        clients: settings.maxclients.get().max(1) as u64,
        http: settings.http_maxclients.get().max(1) as u64,
        tables: if has_disk { OPEN_FILES_MAX as u64 } else { 0 },
    };
    let connections = 2 * LEAVING_MAX + listeners;
    let disk = if has_disk { DISK } else { 0 };
    let fixed = system::open_descriptors() + EACH_WORKER * workers as u64 + BRIEF + disk + connections as u64;
    let sum = fixed + wanted.tables + wanted.clients + wanted.http;
    let limit = system::raise_descriptor_limit(sum);
    let Some(shares) = share(limit.saturating_sub(fixed), &wanted) else {
        let least = fixed + wanted.tables.min(OPEN_FILES_MIN) + CONNECTIONS_MIN;
        let text =
            format!("the limit of open files is {limit}, and at least {least} are needed: raise it with ulimit -n");
        return Err(io::Error::other(text));
    };
    let Shares { clients, http, tables } = shares;
    if (clients, http) != (wanted.clients, wanted.http) {
        tracing::warn!(
            "You requested maxclients of {} and http-maxclients of {} requiring at least {sum} max file descriptors. \
             Current maximum open files is {limit}: maxclients has been reduced to {clients} and http-maxclients to {http} \
             to compensate for low ulimit. If you need more, increase 'ulimit -n'.",
            wanted.clients,
            wanted.http,
        );
        lower(settings, "maxclients", clients);
        lower(settings, "http-maxclients", http);
    }
    Ok(Fitted { reserved: fixed + tables, open_files: tables as i32 })
}

/// Divides what is left of the limit. `None`: that is too little.
fn share(left: u64, wanted: &Wanted) -> Option<Shares> {
    let tables = wanted.tables.min((left / SHARE).max(OPEN_FILES_MIN));
    let left = left.checked_sub(tables).filter(|left| *left >= CONNECTIONS_MIN)?;
    let http = wanted.http.min((left / SHARE).max(left.saturating_sub(wanted.clients)));
    let clients = wanted.clients.min(left - http);
    Some(Shares { clients, http, tables })
}

fn lower(settings: &Settings, name: &str, number: u64) {
    if let Some((parameter, _)) = find(name.as_bytes())
        && let Err(error) = parameter.value(settings).assign(&number.to_string())
    {
        tracing::warn!(error, "{name} stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_how_much_of_a_low_limit() {
        let shares = |left, clients, http, tables| {
            let shares = share(left, &Wanted { clients, http, tables });
            shares.map(|Shares { clients, http, tables }| (clients, http, tables))
        };
        assert_eq!(shares(20_000, 10_000, 1024, 4096), Some((10_000, 1024, 4096)));
        assert_eq!(shares(20_000, 10_000, 1024, 0), Some((10_000, 1024, 0)));
        assert_eq!(shares(1000, 10_000, 1024, 4096), Some((563, 187, 250)));
        assert_eq!(shares(1000, 100, 1024, 4096), Some((100, 650, 250)), "what some leave is others'");
        assert_eq!(shares(1000, 10_000, 10, 0), Some((990, 10, 0)));
        assert_eq!(shares(72, 10_000, 1024, 4096), Some((6, 2, 64)));
        assert_eq!(shares(71, 10_000, 1024, 4096), None);
        assert_eq!(shares(8, 1, 1, 0), Some((1, 1, 0)));
        assert_eq!(shares(7, 1, 1, 0), None);
    }
}

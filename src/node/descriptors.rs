//! File descriptors: each connection takes one.

use std::fmt::Display;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::HttpServer;
use crate::config::{Settings, find};

/// For files, listeners and the runtime's own: Redis keeps as many.
const RESERVE: u64 = 32;

/// Raises the process's limit to what `maxclients`, HTTP and a reserve need. Where the system does not allow that, it
/// lowers `maxclients` to what fits, as Redis does, and says so.
pub fn reserve(settings: &Settings) {
    let others = RESERVE + HttpServer::max_descriptors() as u64;
    let clients = settings.maxclients.get().max(1) as u64;
    let wanted = clients.saturating_add(others);
    let limit = getrlimit(Resource::Nofile);
    // None: unlimited.
    let Some(present) = limit.current.filter(|present| *present < wanted) else { return };
    let raised = raise(wanted, limit.maximum).unwrap_or(present);
    if raised >= wanted {
        return;
    }
    // HTTP's share is not always in use; a small limit is shared.
    let fitting = raised.saturating_sub(others).max(raised.saturating_sub(RESERVE) / 2).clamp(1, clients);
    tracing::warn!(
        limit = raised,
        wanted,
        maxclients = fitting,
        "the limit of open files is too low for maxclients, which is lowered; raise it with ulimit -n"
    );
    if let Some((parameter, _)) = find(b"maxclients")
        && let Err(error) = parameter.value(settings).assign(&fitting.to_string())
    {
        complain(&error);
    }
}

fn complain(error: &dyn Display) {
    tracing::warn!(%error, "maxclients stays as it is");
}

/// Tries the wanted limit, hard limit included (the superuser may), then the hard limit. Returns what was reached.
fn raise(wanted: u64, hard: Option<u64>) -> Option<u64> {
    let highest = hard.map_or(wanted, |hard| hard.max(wanted));
    let attempts =
        [(wanted, Some(highest).filter(|_| hard.is_some())), (hard.map_or(wanted, |hard| hard.min(wanted)), hard)];
    attempts.into_iter().find_map(|(current, maximum)| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).ok().map(|()| current)
    })
}

//! The log: one subscriber for the process, whose level can change while it runs.

use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins to log to the standard output. To be called once, by the program.
pub fn start(level: LevelFilter) {
    let (filter, handle) = reload::Layer::new(level);
    if LEVEL.set(handle).is_ok() {
        tracing_subscriber::registry().with(filter).with(fmt::layer().with_target(false)).init();
    }
}

/// Logs what is of this level or above from now on; without effect where nothing is logged.
pub fn set_level(level: LevelFilter) {
    if let Some(handle) = LEVEL.get() {
        // It fails only once the subscriber is gone, and that lives as long as the process.
        let _ = handle.reload(level);
    }
}

use std::process::ExitCode;
use std::sync::Arc;

use rockpool::base::memory::{self, Counting};
use rockpool::config::{LoadError, Settings};
use rockpool::node;

#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

/// Free pages go back to the system within 0.3 seconds instead of ten: with more data than memory, entries that leave and
/// those that come free and need pages all the time, and a tenth of `maxmemory` would lie idle. `MALLOC_CONF` in the
/// environment overrides it; below a bound of `maxmemory` they go back at once whatever it says (`keyspace::tier`).
// SAFETY: jemalloc takes what has this name for a pointer to a string that ends with NUL, as this is.
#[unsafe(export_name = "malloc_conf")]
#[used]
static ALLOCATOR_OPTIONS: &[u8; 36] = b"dirty_decay_ms:300,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    // Reads FAILPOINTS, and holds for as long as the process lives.
    #[cfg(feature = "failpoints")]
    let _failures = fail::FailScenario::setup();
    let settings = match Settings::load(std::env::args_os(), std::env::vars_os()) {
        Ok(loaded) => Arc::new(loaded.settings),
        Err(LoadError::Information(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(LoadError::Invalid(line)) => {
            eprintln!("rockpool: {line}");
            return ExitCode::from(2);
        }
    };
    let given_back = memory::give_back_in_background();
    let has_log_file = !settings.logfile.get().is_empty();
    let served = node::logging::start(&settings).and_then(|()| {
        if let Err(error) = given_back {
            tracing::warn!(%error, "the allocator has no thread of its own: free memory is given back later");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(node::run(settings))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if has_log_file {
                tracing::error!("{error}");
            }
            eprintln!("rockpool: {error}");
            ExitCode::FAILURE
        }
    }
}

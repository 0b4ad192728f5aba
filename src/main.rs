use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use rockpool::base::memory::{self, Counting};
use rockpool::config::{LoadError, Settings};
use rockpool::node::launch::Launch;
use rockpool::node::signals::Signals;
use rockpool::node::{self, logging};

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
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return failure(&error, 1),
    };
    let settings = match Settings::load(std::env::args_os(), std::env::vars_os()) {
        Ok(loaded) => Arc::new(loaded.settings),
        Err(LoadError::Information(text)) => {
            let _ = write!(io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(LoadError::Invalid(line)) => return failure(&line, 2),
    };
    let has_log_file = !settings.logfile.get().is_empty();
    match serve(settings, signals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if has_log_file {
                tracing::error!("{error}");
            }
            failure(&error, 1)
        }
    }
}

fn serve(settings: Arc<Settings>, signals: Signals) -> io::Result<()> {
    if settings.enters_directory() {
        std::env::set_current_dir(&*settings.dir.get())?;
    }
    // Before there are threads.
    let launch = Launch::begin(&settings)?;
    let given_back = memory::give_back_in_background();
    logging::start(&settings)?;
    if let Err(error) = given_back {
        tracing::warn!(%error, "the allocator has no thread of its own: free memory is given back later");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(node::run(settings, launch, signals))
}

/// Tells why the server has not started, or ended. Nobody may be there to read it.
fn failure(reason: &dyn Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "rockpool: {reason}");
    ExitCode::from(code)
}

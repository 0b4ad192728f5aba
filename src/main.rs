use std::process::ExitCode;

use rockpool::base::memory::Counting;
use rockpool::config::{LoadError, Settings};

#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting(mimalloc::MiMalloc);

fn main() -> ExitCode {
    let settings = match Settings::load(std::env::args_os(), std::env::vars_os()) {
        Ok(loaded) => loaded.settings,
        Err(LoadError::Information(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(LoadError::Invalid(line)) => {
            eprintln!("rockpool: {line}");
            return ExitCode::from(2);
        }
    };
    rockpool::base::log::start(settings.loglevel.get().filter());
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rockpool: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(rockpool::node::run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rockpool: {error}");
            ExitCode::FAILURE
        }
    }
}

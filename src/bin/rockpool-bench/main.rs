//! `rockpool-bench`: loads for Rockpool and for what is compared with it.

mod load;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    match load::run(&load::Plan::default(), &load::Silent) {
        Ok(outcome) if outcome.is_clean() => ExitCode::SUCCESS,
        Ok(outcome) => {
            println!("{outcome:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("rockpool-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

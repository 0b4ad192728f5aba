//! `rockpool-bench`: loads for Rockpool and for what is compared with it.

mod arguments;
mod compare;
mod little_client;
mod load;
mod output;
mod wire;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, LoadArguments};
use load::{LoadError, Plan, Progress, Silent};
use output::{ProgressLine, Summary};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(done) = compare::main(&words) {
        return done;
    }
    let arguments = Arguments::read(words.into_iter());
    let done = match &arguments.command {
        Some(command) => little_client::run(command, &arguments.server.plan()),
        None => run_load(&arguments.plan(), &arguments.load),
    };
    done.unwrap_or_else(|error| {
        eprintln!("rockpool-bench: {error}");
        match error {
            LoadError::Plan(_) => ExitCode::from(2),
            LoadError::Server { .. } | LoadError::Lost(_) | LoadError::Local(_) => ExitCode::FAILURE,
        }
    })
}

fn run_load(plan: &Plan, arguments: &LoadArguments) -> Result<ExitCode, LoadError> {
    let line = arguments.shows_progress().then(ProgressLine::new);
    let progress: &dyn Progress = line.as_ref().map_or(&Silent, |line| line);
    let outcome = load::run(plan, progress);
    if let Some(line) = &line {
        line.clear();
    }
    let outcome = outcome?;
    if let Some(path) = &arguments.hdr {
        output::write_distribution(&outcome, path)
            .map_err(|error| LoadError::Local(io::Error::new(error.kind(), format!("{}: {error}", path.display()))))?;
    }
    let mut standard_output = io::stdout().lock();
    output::write(&Summary::new(plan, &outcome), arguments.format, &mut standard_output)
        .and_then(|()| standard_output.flush())?;
    Ok(if outcome.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

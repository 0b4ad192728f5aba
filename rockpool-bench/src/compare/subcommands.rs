//! The way through `compare` and `report`, from their arguments to the exit status.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use super::arguments::{Arguments, ReportArguments};
use super::failure::Failure;
use super::report::{self, Report};
use super::{interrupt, matrix, run};

/// Does what the words after the program's name say, if they begin with `compare` or `report`. Exit status: 0 when every
/// reply was right, 1 when not or when a server failed, 2 for arguments that cannot be met.
pub fn main(words: &[OsString]) -> Option<ExitCode> {
    let arguments = words.get(1..)?;
    let done = match words.get(1)?.to_str()? {
        "compare" => compare(&Arguments::parse_from(arguments), words),
        "report" => render(&ReportArguments::parse_from(arguments)),
        _ => return None,
    };
    Some(done.unwrap_or_else(|failure| {
        eprintln!("rockpool-bench: {failure}");
        if failure.is_usage { ExitCode::from(2) } else { ExitCode::FAILURE }
    }))
}

fn compare(arguments: &Arguments, words: &[OsString]) -> Result<ExitCode, Failure> {
    let sweep = arguments.sweep()?;
    let experiment = match arguments.preset() {
        Some(preset) => preset.experiment(&sweep)?,
        None => matrix::experiment(&sweep)?,
    };
    let settings = arguments.settings(words.iter().cloned());
    run::check(&experiment, &settings)?;
    if let Some(out) = arguments.out() {
        report::prepare(out)?;
    }
    interrupt::watch()?;
    let mut measured = None;
    let done = run::run(&experiment, &settings, &mut |results| {
        measured = Some(results.clone());
        // Each time, since it cannot be had again.
        arguments.out().map_or(Ok(()), |out| report::write_results(results, out))
    });
    let mut complaints = Vec::new();
    if let Some(results) = measured {
        let report = Report::new(&results)?;
        if let Some(out) = arguments.out() {
            report.write(out)?;
        }
        std::io::stdout().lock().write_all(report.markdown.as_bytes())?;
        complaints = results.complaints();
        for complaint in &complaints {
            eprintln!("rockpool-bench: {complaint}");
        }
    }
    done?;
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let results = report::read_results(&arguments.file)?;
    let out = arguments.out.clone().unwrap_or_else(|| arguments.file.with_extension(""));
    Report::new(&results)?.write(&out)?;
    Ok(ExitCode::SUCCESS)
}

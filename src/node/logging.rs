//! The log: its file, its format, its level.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Stdout, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{LogFormat, LogLevel, Settings};
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log and has panics written to it.
///
/// # Errors
/// When the file of `logfile` cannot be written to.
pub fn start(settings: &Arc<Settings>) -> io::Result<()> {
    let target = Target::open(&settings.logfile.get())?;
    let colours = matches!(target, Target::Output) && io::stdout().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_ansi(colours).with_target(false).with_writer(target);
    // A line that cannot be written is lost: reporting that to standard error would panic where that is closed, too, as after
    // the terminal was.
    let layer = layer.log_internal_errors(false);
    let layer = match settings.log_format.get() {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    let settings = settings.clone();
    // Looked up at each event: CONFIG SET may change it.
    let filter = move |metadata: &Metadata<'_>| *metadata.level() <= level(settings.loglevel.get());
    tracing_subscriber::registry()
        .with(layer.with_filter(dynamic_filter_fn(move |metadata, _| filter(metadata))))
        .init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(thread = thread.name().unwrap_or("unnamed"), place, %backtrace, "panic: {message}");
}

/// Where lines go. A file is opened for each line, as in Redis, so that log rotation may rename or remove it at any time.
enum Target {
    Output,
    File(PathBuf),
}

impl Target {
    fn open(path: &str) -> io::Result<Target> {
        if path.is_empty() {
            return Ok(Target::Output);
        }
        // The working directory may change later.
        let path = std::path::absolute(path)?;
        append(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write the log file {}: {error}", path.display()))
        })?;
        Ok(Target::File(path))
    }
}

fn append(path: &Path) -> io::Result<File> {
    // The mode of a file that exists stays: an operator may let others read it.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

enum Line {
    Output(Stdout),
    File(File),
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Line::Output(output) => output.write(bytes),
            Line::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Line::Output(output) => output.flush(),
            Line::File(file) => file.flush(),
        }
    }
}

impl<'a> MakeWriter<'a> for Target {
    type Writer = Line;

    /// A line that its file does not take goes to the standard output.
    fn make_writer(&'a self) -> Line {
        match self {
            Target::Output => Line::Output(io::stdout()),
            Target::File(path) => append(path).map_or_else(|_| Line::Output(io::stdout()), Line::File),
        }
    }
}

//! One load's outcome, for people and for programs.

mod csv;
mod distribution;
mod progress;
mod summary;
mod text;

use std::io::{self, Write};

pub use distribution::write_distribution;
pub use progress::ProgressLine;
pub use summary::{Latency, SideSummary, Summary};

use crate::arguments::Format;

/// Writes an outcome in the form that was asked for.
///
/// # Errors
/// Those of `output`.
pub fn write(summary: &Summary, format: Format, output: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Text => text::write(summary, output),
        Format::Csv => csv::write(summary, output),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *output, summary)?;
            output.write_all(b"\n")
        }
    }
}

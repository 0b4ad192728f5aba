//! The distribution of latencies, in the text that HdrHistogram's plotter draws (`.hgrm`).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use hdrhistogram::Histogram;

use crate::load::Outcome;

/// Steps that each halving of the distance to 100% is shown in.
const TICKS_PER_HALF: u32 = 5;

/// Writes the latencies of reads and writes together, in microseconds.
///
/// # Errors
/// Those of the file.
pub fn write_distribution(outcome: &Outcome, path: &Path) -> io::Result<()> {
    let mut latency = outcome.reads.latency.clone();
    latency.add(&outcome.writes.latency).map_err(io::Error::other)?;
    let mut output = BufWriter::new(File::create(path)?);
    write(&latency, &mut output)?;
    output.flush()
}

fn write(latency: &Histogram<u64>, output: &mut impl Write) -> io::Result<()> {
    writeln!(output, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut total_count = 0;
    for step in latency.iter_quantiles(TICKS_PER_HALF) {
        let value_us = step.value_iterated_to() as f64 / 1e3;
        let quantile = step.quantile_iterated_to();
        total_count += step.count_since_last_iteration();
        write!(output, "{value_us:>12.3} {quantile:>14.12} {total_count:>10}")?;
        if quantile < 1.0 { writeln!(output, " {:>14.2}", 1.0 / (1.0 - quantile))? } else { writeln!(output)? }
    }
    let us = |ns: f64| ns / 1e3;
    writeln!(output, "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]", us(latency.mean()), us(latency.stdev()))?;
    writeln!(output, "#[Max     = {:>12.3}, Total count    = {:>12}]", us(latency.max() as f64), latency.len())
}

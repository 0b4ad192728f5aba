//! A header and one row.

use std::io::{self, Write};

use super::{SideSummary, Summary};
use crate::load::{Distribution, Operation};

/// Writes the header and the row; a figure that does not exist is an empty field.
pub fn write(summary: &Summary, output: &mut impl Write) -> io::Result<()> {
    let columns = columns(summary);
    let mut writer = csv::Writer::from_writer(output);
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    writer.write_record(columns.iter().map(|(_, value)| value))?;
    writer.flush()
}

fn columns(summary: &Summary) -> Vec<(String, String)> {
    let plan = &summary.plan;
    let operation = match plan.operation {
        Operation::Get => "get".to_owned(),
        Operation::Set => "set".to_owned(),
        Operation::Mget => "mget".to_owned(),
        Operation::Mset => "mset".to_owned(),
        Operation::Mixed { reads } => format!("mixed {reads}"),
    };
    let distribution = match &plan.keys.distribution {
        Distribution::Uniform => "uniform".to_owned(),
        Distribution::Zipf { exponent } => format!("zipf {exponent}"),
        Distribution::Sequential => "sequential".to_owned(),
        Distribution::Trace { path } => format!("trace {}", path.display()),
    };
    let mut columns: Vec<(String, String)> = [
        ("protocol", plan.protocol.name().to_owned()),
        ("operation", operation),
        ("distribution", distribution),
        ("keys", plan.keys.count.to_string()),
        ("value_bytes_min", plan.value_bytes.min.to_string()),
        ("value_bytes_max", plan.value_bytes.max.to_string()),
        ("value_bytes_median", plan.value_bytes.median.map(|median| median.to_string()).unwrap_or_default()),
        ("clients", plan.clients.to_string()),
        ("threads", plan.threads.to_string()),
        ("pipeline", plan.pipeline.to_string()),
        ("rate_per_s", plan.rate_per_s.map(|rate| rate.to_string()).unwrap_or_default()),
        ("elapsed_s", summary.elapsed_s.to_string()),
        ("requests", summary.requests.to_string()),
        ("requests_per_s", summary.requests_per_s.to_string()),
        ("megabytes_per_s", summary.megabytes_per_s.to_string()),
        ("hits", summary.hits.to_string()),
        ("misses", summary.misses.to_string()),
        ("errors", summary.errors.to_string()),
        ("mismatches", summary.mismatches.to_string()),
        ("behind_max_us", summary.behind_max_us.to_string()),
        ("unsent", summary.unsent.to_string()),
        ("client_cpu_us_per_request", summary.client_cpu_us_per_request.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    columns.extend(side("read", &summary.reads));
    columns.extend(side("write", &summary.writes));
    columns
}

fn side(name: &str, side: &SideSummary) -> impl Iterator<Item = (String, String)> {
    let latency = side.latency_us;
    let figures = [
        ("mean", latency.map(|latency| latency.mean)),
        ("p50", latency.map(|latency| latency.p50)),
        ("p99", latency.map(|latency| latency.p99)),
        ("p99_9", latency.map(|latency| latency.p99_9)),
        ("max", latency.map(|latency| latency.max)),
    ];
    figures
        .map(|(figure, value)| {
            (format!("{name}_{figure}_us"), value.map(|value| value.to_string()).unwrap_or_default())
        })
        .into_iter()
}

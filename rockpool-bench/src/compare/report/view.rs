//! What a report shows: tables and plots, computed from the results once for every form of it.

use serde::Serialize;

use super::plot::{self, Plot, Scale, Series, number};
use crate::compare::matrix::with_commas;
use crate::compare::results::{Cell, GroupResults, Latency, Results, Summary};
use crate::compare::statistics::Spread;

const MEBIBYTE: f64 = (1u64 << 20) as f64;
/// Colours of the page; contenders beyond them share.
const STYLES: usize = 8;
/// From this ratio on, the axis is logarithmic.
const FAR_APART: f64 = 6.0;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Page {
    title: String,
    about: Vec<String>,
    baseline: String,
    rounds: usize,
    facts: Vec<(String, String)>,
    command: String,
    complaints: Vec<String>,
    remarks: Vec<String>,
    /// How many values were compared in checks.
    checked: String,
    servers: Vec<ServerLine>,
    sections: Vec<Section>,
}

/// A server with all commands that started it.
#[derive(Debug, Serialize)]
struct ServerLine {
    label: String,
    version: String,
    commands: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Section {
    title: String,
    anchor: String,
    legend: Vec<(usize, String)>,
    /// Every figure, for those who read tables.
    loads: Option<Table>,
    memory: Option<Figure>,
    expiry: Option<Table>,
    parts: Vec<Part>,
}

/// The plots of one command.
#[derive(Debug, Serialize)]
struct Part {
    title: String,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    title: String,
    plot: Plot,
    table: Table,
}

#[derive(Debug, Serialize)]
struct Table {
    head: Vec<String>,
    /// The first entry of each is its heading.
    rows: Vec<Vec<Entry>>,
}

#[derive(Debug, Serialize)]
struct Entry {
    text: String,
    /// Stands below, smaller.
    note: String,
}

impl From<String> for Entry {
    fn from(text: String) -> Self {
        Self { text, note: String::new() }
    }
}

impl Table {
    fn new(head: impl IntoIterator<Item = impl Into<String>>, rows: Vec<Vec<String>>) -> Self {
        let rows = rows.into_iter().map(|row| row.into_iter().map(Entry::from).collect()).collect();
        Self { head: head.into_iter().map(Into::into).collect(), rows }
    }
}

impl Page {
    /// Computes all of it.
    pub fn new(results: &Results) -> Self {
        let mut labels: Vec<String> = Vec::new();
        let mut servers: Vec<ServerLine> = Vec::new();
        for contender in results.groups.iter().flat_map(|group| &group.contenders) {
            if !labels.contains(&contender.label) {
                labels.push(contender.label.clone());
                let (label, version) = (contender.label.clone(), contender.version.clone());
                servers.push(ServerLine { label, version, commands: Vec::new() });
            }
            let known = servers.iter_mut().find(|server| server.label == contender.label);
            if let Some(server) = known.filter(|server| !server.commands.contains(&contender.command)) {
                server.commands.push(contender.command.clone());
            }
        }
        let checks = results.groups.iter().flat_map(|group| &group.contenders).flat_map(|contender| &contender.checks);
        let facts = results.facts.iter().chain(&results.client).cloned().collect();
        let section = |(index, group)| Section::new(index, group, &labels, &results.baseline);
        Self {
            title: results.title.clone(),
            about: results.about.clone(),
            baseline: results.baseline.clone(),
            rounds: results.rounds,
            facts,
            command: results.command.clone(),
            complaints: results.complaints(),
            remarks: results.remarks(),
            checked: with_commas(checks.map(|check| check.values).sum()),
            servers,
            sections: results.groups.iter().enumerate().map(section).collect(),
        }
    }
}

impl Section {
    fn new(index: usize, group: &GroupResults, labels: &[String], baseline: &str) -> Self {
        let style = |label: &str| labels.iter().position(|known| known == label).unwrap_or(0) % STYLES;
        let summarized: Vec<Summarized> =
            group.cells.iter().map(|cell| Summarized { cell, summaries: cell.summarize(baseline) }).collect();
        Self {
            title: group.title.clone(),
            anchor: format!("s{}", index + 1),
            legend: group.contenders.iter().map(|one| (style(&one.label), one.label.clone())).collect(),
            loads: (!summarized.is_empty()).then(|| all_figures(&summarized)),
            memory: memory(group, baseline, &style),
            expiry: expiry(group),
            parts: parts(&summarized, &style),
        }
    }
}

/// A load with the medians of its runs.
struct Summarized<'a> {
    cell: &'a Cell,
    summaries: Vec<Summary>,
}

fn text(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

fn median(value: Option<Spread>) -> String {
    text(value.map(|value| value.median))
}

fn range(value: Option<Spread>) -> String {
    value.map_or_else(|| "–".to_owned(), |Spread { least, most, .. }| format!("{} – {}", number(least), number(most)))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// A row for each load and server, with every figure.
fn all_figures(cells: &[Summarized]) -> Table {
    let mut head: Vec<String> = [
        "load",
        "c",
        "P",
        "server",
        "requests/s",
        "least – most",
        "ratio",
        "CPU µs",
        "least – most",
        "ratio",
        "CPU µs until at rest",
        "ratio",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99 least – most",
        "p99 ratio",
        "p99.9 ms",
        "client CPU µs",
    ]
    .map(str::to_owned)
    .into();
    let runs = || cells.iter().flat_map(|one| &one.cell.runs);
    let (has_misses, has_moves) = (runs().any(|run| run.misses > 0), runs().any(|run| run.moved_slots.is_some()));
    let has_written = cells.iter().flat_map(|one| &one.summaries).any(|summary| summary.written_per_set_byte.is_some());
    head.extend(has_written.then(|| "written a byte set".to_owned()));
    head.extend(has_misses.then(|| "misses".to_owned()));
    head.extend(has_moves.then(|| "slots moved".to_owned()));
    let mut rows = Vec::new();
    for Summarized { cell, summaries } in cells {
        for summary in summaries {
            let ratios = summary.ratio.unwrap_or_default();
            let mut row = vec![
                cell.title.clone(),
                cell.clients.to_string(),
                cell.pipeline.to_string(),
                summary.label.clone(),
                number(summary.requests_per_s.median),
                range(Some(summary.requests_per_s)),
                ratio(ratios.requests_per_s),
                median(summary.cpu_us),
                range(summary.cpu_us),
                ratio(ratios.cpu_us),
                median(summary.total_cpu_us),
                ratio(ratios.total_cpu_us),
            ];
            let [p50, p90, p99, p99_9, _] = summary.latency_ms;
            row.extend([median(p50), median(p90), median(p99), range(p99), ratio(ratios.p99), median(p99_9)]);
            row.push(median(summary.client_cpu_us));
            if has_written {
                row.push(median(summary.written_per_set_byte));
            }
            let own = || cell.runs.iter().filter(|run| run.label == summary.label);
            if has_misses {
                row.push(with_commas(own().map(|run| run.misses).sum()));
            }
            if has_moves {
                row.push(with_commas(own().filter_map(|run| run.moved_slots).sum()));
            }
            rows.push(row);
        }
    }
    Table::new(head, rows)
}

fn memory(group: &GroupResults, baseline: &str, style: &dyn Fn(&str) -> usize) -> Option<Figure> {
    let known: Vec<_> =
        group.contenders.iter().filter_map(|contender| Some((contender.label.as_str(), contender.memory?))).collect();
    if known.is_empty() {
        return None;
    }
    let base = known.iter().find(|(label, _)| *label == baseline).map(|(_, memory)| memory.bytes_per_key(group.keys));
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (label, memory) in known {
        let for_each = memory.bytes_per_key(group.keys);
        let mebibytes = |bytes: u64| number(bytes as f64 / MEBIBYTE);
        rows.push(vec![
            label.to_owned(),
            mebibytes(memory.empty_bytes),
            mebibytes(memory.filled_bytes),
            number(for_each),
            ratio(base.filter(|base| *base > 0.0).map(|base| for_each / base)),
            mebibytes(memory.peak_bytes),
        ]);
        values.push((label.to_owned(), style(label), Spread { median: for_each, least: for_each, most: for_each }));
    }
    let head = ["server", "empty MiB", "filled MiB", "bytes a key", "ratio", "peak MiB"];
    Some(Figure {
        title: "Resident memory".to_owned(),
        plot: plot::bars("Growth of resident memory for each key", "bytes a key", &values),
        table: Table::new(head, rows),
    })
}

fn expiry(group: &GroupResults) -> Option<Table> {
    let rows: Vec<Vec<String>> = group
        .contenders
        .iter()
        .filter_map(|contender| {
            let expiry = contender.expiry?;
            let mebibytes = |bytes: u64| number(bytes as f64 / MEBIBYTE);
            Some(vec![
                contender.label.clone(),
                contender.memory.map_or_else(|| "–".to_owned(), |memory| mebibytes(memory.empty_bytes)),
                contender.memory.map_or_else(|| "–".to_owned(), |memory| mebibytes(memory.filled_bytes)),
                expiry.resident_bytes.map_or_else(|| "–".to_owned(), mebibytes),
                number(expiry.lag_s),
            ])
        })
        .collect();
    let waited_s = group.contenders.iter().find_map(|contender| Some(contender.expiry?.waited_s)).unwrap_or(0.0);
    let later = format!("MiB {waited_s} s after expiry");
    let head = ["server", "empty MiB", "filled MiB", &later, "DBSIZE 0 after the last was due, s"];
    (!rows.is_empty()).then(|| Table::new(head, rows))
}

/// What the plots of a command have along their x axis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Along {
    Pipeline,
    Clients,
}

impl Along {
    fn place(self, cell: &Cell) -> usize {
        match self {
            Self::Pipeline => cell.pipeline,
            Self::Clients => cell.clients,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "requests under way on a connection (P)",
            Self::Clients => "connections (c)",
        }
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Pipeline => "P",
            Self::Clients => "c",
        }
    }

    /// What stands in the heading of a part, since all of its loads have it.
    fn constant(self, cell: &Cell) -> String {
        match self {
            Self::Pipeline => format!("{}, c {}", cell.title, cell.clients),
            Self::Clients => format!("{}, P {}", cell.title, cell.pipeline),
        }
    }
}

fn parts(cells: &[Summarized], style: &dyn Fn(&str) -> usize) -> Vec<Part> {
    let is_one = |along: Along| cells.iter().all(|one| along.place(one.cell) == along.place(cells[0].cell));
    let along = if is_one(Along::Pipeline) && !is_one(Along::Clients) { Along::Clients } else { Along::Pipeline };
    let mut titles: Vec<String> = Vec::new();
    for one in cells {
        let title = along.constant(one.cell);
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    titles
        .into_iter()
        .map(|title| {
            let own: Vec<&Summarized> = cells.iter().filter(|one| along.constant(one.cell) == title).collect();
            let mut figures = vec![throughput(&own, along, style)];
            figures.extend(processor_time(&own, along, style));
            figures.extend(own.iter().filter_map(|one| latency(one, along, style)));
            Part { title, figures }
        })
        .collect()
}

/// The value of each server in each load, where it has one.
fn series(
    cells: &[&Summarized],
    style: &dyn Fn(&str) -> usize,
    value: &dyn Fn(&Summary) -> Option<Spread>,
) -> Vec<Series> {
    let mut labels: Vec<&str> = Vec::new();
    for summary in cells.iter().flat_map(|one| &one.summaries) {
        if !labels.contains(&summary.label.as_str()) {
            labels.push(&summary.label);
        }
    }
    let value_in =
        |one: &Summarized, label: &str| one.summaries.iter().find(|summary| summary.label == label).and_then(value);
    labels
        .into_iter()
        .map(|label| Series {
            label: label.to_owned(),
            style: style(label),
            values: cells.iter().map(|one| value_in(one, label)).collect(),
        })
        .collect()
}

/// Lines along the x axis, or bars where there is one place on it alone.
fn along_x(title: &str, unit: &str, cells: &[&Summarized], along: Along, series: &[Series]) -> Plot {
    let places: Vec<String> = cells.iter().map(|one| along.place(one.cell).to_string()).collect();
    if places.len() > 1 {
        return plot::lines(title, (unit, along.name()), &places, series, scale(series));
    }
    let values: Vec<(String, usize, Spread)> =
        series.iter().filter_map(|one| Some((one.label.clone(), one.style, (*one.values.first()?)?))).collect();
    plot::bars(title, unit, &values)
}

/// Where values lie far apart, a linear axis would show the largest alone.
fn scale(series: &[Series]) -> Scale {
    let known = || series.iter().flat_map(|one| one.values.iter().flatten()).map(|value| value.median);
    let (least, most) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    if least > 0.0 && most / least > FAR_APART { Scale::Logarithmic } else { Scale::Linear }
}

/// A row for each server: medians, and ratios behind them.
fn table_along_x(
    cells: &[&Summarized],
    along: Along,
    series: &[Series],
    ratio_of: &dyn Fn(&Summary) -> Option<f64>,
) -> Table {
    let places = cells.iter().map(|one| format!("{} {}", along.letter(), along.place(one.cell)));
    let head = std::iter::once("server".to_owned()).chain(places).collect();
    let row = |one: &Series| {
        let entry = |(index, value): (usize, &Option<Spread>)| {
            let summary = cells[index].summaries.iter().find(|summary| summary.label == one.label);
            let note = summary.and_then(ratio_of).map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
            Entry { text: median(*value), note }
        };
        std::iter::once(one.label.clone().into()).chain(one.values.iter().enumerate().map(entry)).collect()
    };
    Table { head, rows: series.iter().map(row).collect() }
}

fn throughput(cells: &[&Summarized], along: Along, style: &dyn Fn(&str) -> usize) -> Figure {
    let thousands = |summary: &Summary| {
        let Spread { median, least, most } = summary.requests_per_s;
        Some(Spread { median: median / 1e3, least: least / 1e3, most: most / 1e3 })
    };
    let series = series(cells, style, &thousands);
    Figure {
        title: "Throughput".to_owned(),
        plot: along_x("Throughput", "thousand requests/s", cells, along, &series),
        table: table_along_x(cells, along, &series, &|summary| summary.ratio?.requests_per_s),
    }
}

fn processor_time(cells: &[&Summarized], along: Along, style: &dyn Fn(&str) -> usize) -> Option<Figure> {
    let series = series(cells, style, &|summary| summary.cpu_us);
    let is_known = series.iter().any(|one| one.values.iter().any(Option::is_some));
    is_known.then(|| Figure {
        title: "The server's processor time for a request".to_owned(),
        plot: along_x("Processor time for a request", "CPU µs", cells, along, &series),
        table: table_along_x(cells, along, &series, &|summary| summary.ratio?.cpu_us),
    })
}

fn latency(one: &Summarized, along: Along, style: &dyn Fn(&str) -> usize) -> Option<Figure> {
    let known: Vec<usize> = (0..Latency::NAMES.len())
        .filter(|index| one.summaries.iter().any(|summary| summary.latency_ms[*index].is_some()))
        .collect();
    if known.is_empty() {
        return None;
    }
    let names: Vec<String> = known.iter().map(|index| Latency::NAMES[*index].to_owned()).collect();
    let series: Vec<Series> = one
        .summaries
        .iter()
        .map(|summary| Series {
            label: summary.label.clone(),
            style: style(&summary.label),
            values: known.iter().map(|index| summary.latency_ms[*index]).collect(),
        })
        .collect();
    let rows = series
        .iter()
        .map(|one| std::iter::once(one.label.clone()).chain(one.values.iter().map(|value| median(*value))).collect())
        .collect();
    let title = format!("Latency, {} {}", along.letter(), along.place(one.cell));
    Some(Figure {
        plot: plot::lines(&title, ("ms", "percentile"), &names, &series, Scale::Logarithmic),
        title,
        table: Table::new(std::iter::once("server, ms".to_owned()).chain(names), rows),
    })
}

//! LATENCY GRAPH: the spikes of an event as columns of characters.

use std::fmt::Write;

use crate::stats::Series;

const WIDTH: usize = 80;
const ROWS: usize = 4;
/// From a column's bottom to its top; each row shows this many levels.
const LEVELS: [char; 3] = ['_', 'o', '#'];
const FULL: char = '|';

/// The graph of a series, with a heading; below each column stands how long ago it was.
pub fn render(event: &str, series: &Series, now_s: u64) -> String {
    let summary = series.summary(now_s);
    let mut text = format!(
        "{event} - high {} ms, low {} ms (all time high {} ms)\n{}\n",
        summary.highest_ms,
        summary.lowest_ms,
        series.worst_ms,
        "-".repeat(WIDTH)
    );
    let spikes: Vec<_> = series.spikes.iter().collect();
    let range_ms = (summary.highest_ms - summary.lowest_ms).max(1);
    let top_level = ROWS * LEVELS.len() - 1;
    for (index, part) in spikes.chunks(WIDTH).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let levels: Vec<usize> = part
            .iter()
            .map(|spike| {
                let above_ms = spike.latency_ms - summary.lowest_ms;
                ((above_ms * (ROWS * LEVELS.len()) as u64 / range_ms) as usize).min(top_level)
            })
            .collect();
        for row in (0..ROWS).rev() {
            let bottom = row * LEVELS.len();
            text.extend(levels.iter().map(|level| match level.checked_sub(bottom) {
                None => ' ',
                Some(height) => LEVELS.get(height).copied().unwrap_or(FULL),
            }));
            text.push('\n');
        }
        let ages: Vec<String> = part.iter().map(|spike| age(now_s.saturating_sub(spike.time_s))).collect();
        let _ = writeln!(text, "{}", " ".repeat(part.len()));
        for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
            text.extend(ages.iter().map(|age| age.as_bytes().get(line).map_or(' ', |byte| *byte as char)));
            text.push('\n');
        }
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Spike;

    #[test]
    fn the_highest_column_is_full_and_the_lowest_is_not() {
        let mut series = Series { worst_ms: 400, ..Series::default() };
        series.spikes.push_back(Spike { time_s: 100, latency_ms: 100 });
        series.spikes.push_back(Spike { time_s: 195, latency_ms: 400 });
        let text = render("command", &series, 200);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines, [" #", " |", " |", "_|", "  ", "15", "ms"]);
        assert!(text.starts_with("command - high 400 ms, low 100 ms (all time high 400 ms)\n---"));
    }
}

//! LOLWUT: a rock pool in which drops fall (<https://redis.io/docs/latest/commands/lolwut/>).

use super::common::is_word;
use crate::base::{number, thread};
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::reply::Error;

const COLUMNS: i64 = 64;
const ROWS: i64 = 16;
const MAX_COLUMNS: i64 = 1000;
const MAX_ROWS: i64 = 200;
const DROPS: usize = 3;
/// From a trough to a crest.
const SHADES: &[u8] = b"  .-~=";
/// Distance from crest to crest, in columns.
const WAVELENGTH: f64 = 5.0;

/// `LOLWUT [VERSION version [columns [rows]]]`: there is one picture, whatever the version.
pub fn lolwut(context: &mut Context<'_>) -> Result<(), Stop> {
    let has_version = is_word(context.args.at(1), "VERSION") && context.args.len() > 2;
    let numbers: Vec<i64> = if has_version {
        let numbers: Option<_> = context.args.iter_from(2).map(number::parse_i64).collect();
        numbers.ok_or(Error::NOT_AN_INTEGER)?
    } else {
        Vec::new()
    };
    let size = |index: usize, default: i64, max: i64| numbers.get(index).map_or(default, |size| (*size).clamp(1, max));
    let mut text = draw(size(1, COLUMNS, MAX_COLUMNS), size(2, ROWS, MAX_ROWS));
    text.push_str(concat!("\nRockpool ver. ", env!("CARGO_PKG_VERSION"), "\n"));
    context.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Rings around a few places drawn by chance, added up as waves are.
fn draw(columns: i64, rows: i64) -> String {
    let within = |limit: i64| (thread::random() % limit.unsigned_abs()) as f64;
    let drops: [(f64, f64); DROPS] = std::array::from_fn(|_| (within(columns), within(rows)));
    let shade = |column: i64, row: i64| {
        let wave = |(x, y): &(f64, f64)| {
            // A row is about twice as high as a column is wide.
            let distance = (column as f64 - x).hypot(2.0 * (row as f64 - y));
            (distance * std::f64::consts::TAU / WAVELENGTH).cos() / (1.0 + distance / WAVELENGTH)
        };
        let height = drops.iter().map(wave).sum::<f64>().clamp(-1.0, 1.0);
        let level = ((height + 1.0) / 2.0 * SHADES.len() as f64) as usize;
        char::from(SHADES[level.min(SHADES.len() - 1)])
    };
    let line = |row| (0..columns).map(|column| shade(column, row)).collect::<String>();
    (0..rows).map(|row| format!("{}\n", line(row).trim_end())).collect()
}

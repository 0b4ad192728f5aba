//! Where the lines and bars of a plot lie. The template draws them; colours are its classes' alone, so that they follow
//! the theme of whoever reads.

use serde::Serialize;

use crate::compare::statistics::Spread;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 236.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 388.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 194.0;
/// Between the frame and the first and last value on the x axis.
const INSET: f64 = 22.0;
/// A bar with its label above.
const BAR_STEP: f64 = 34.0;
const BAR_HEIGHT: f64 = 12.0;
/// To the right of the longest bar, for its figure.
const BAR_MARGIN: f64 = 96.0;
/// Half the size of a point's mark.
const MARK: f64 = 3.6;
const MARKS: usize = 4;

/// What the values of one contender are.
#[derive(Clone, Debug)]
pub struct Series {
    /// The contender, as in the legend.
    pub label: String,
    /// Which colour and mark it has on the whole page.
    pub style: usize,
    /// One for each place on the x axis; none where there is no value.
    pub values: Vec<Option<Spread>>,
}

/// The y axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0.
    Linear,
    Logarithmic,
}

/// A plot, ready to be drawn. All places are in its own units, from the upper left.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    /// What it shows, for those who do not see it.
    description: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    y_label: String,
    x_label: String,
    y_ticks: Vec<Tick>,
    x_ticks: Vec<Tick>,
    lines: Vec<Line>,
    bars: Vec<Bar>,
}

#[derive(Clone, Debug, Serialize)]
struct Tick {
    at: f64,
    text: String,
}

#[derive(Clone, Debug, Serialize)]
struct Line {
    style: usize,
    path: String,
    points: Vec<Point>,
}

#[derive(Clone, Debug, Serialize)]
struct Point {
    x: f64,
    /// The ends of the spread.
    low: f64,
    high: f64,
    mark: String,
    tip: String,
}

#[derive(Clone, Debug, Serialize)]
struct Bar {
    style: usize,
    label: String,
    text: String,
    y: f64,
    height: f64,
    length: f64,
    low: f64,
    high: f64,
    tip: String,
}

/// Values against places on an x axis, which are as far from each other as the logarithms of their numbers, or as each
/// other where they are no numbers.
pub fn lines(
    description: &str,
    (y_label, x_label): (&str, &str),
    places: &[String],
    series: &[Series],
    scale: Scale,
) -> Plot {
    let xs = positions(places);
    let (y_ticks, y) = axis(series, scale);
    let lines = series.iter().map(|one| {
        let known: Vec<(usize, Spread)> =
            one.values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?))).collect();
        let path = known.iter().enumerate().map(|(nth, (index, value))| {
            format!("{}{} {}", if nth == 0 { "M" } else { "L" }, xs[*index], y(value.median))
        });
        let point = |(index, value): &(usize, Spread)| Point {
            x: xs[*index],
            low: y(value.least),
            high: y(value.most),
            mark: mark(one.style, xs[*index], y(value.median)),
            tip: tip(&one.label, &format!("{x_label} {}", places[*index]), value, y_label),
        };
        Line { style: one.style, path: path.collect(), points: known.iter().map(point).collect() }
    });
    let y_label = if scale == Scale::Logarithmic { &format!("{y_label} (logarithmic)") } else { y_label };
    Plot {
        lines: lines.collect(),
        y_ticks,
        x_ticks: places.iter().zip(&xs).map(|(text, at)| Tick { at: *at, text: text.clone() }).collect(),
        x_label: x_label.to_owned(),
        ..Plot::new(description, HEIGHT, y_label)
    }
}

/// One value each, side by side.
pub fn bars(description: &str, y_label: &str, values: &[(String, usize, Spread)]) -> Plot {
    let most = values.iter().map(|(_, _, value)| value.most).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| round(value.max(0.0) / most * (WIDTH - BAR_MARGIN));
    let bars = values.iter().enumerate().map(|(index, (label, style, value))| Bar {
        style: *style,
        label: label.clone(),
        text: number(value.median),
        y: round(TOP + index as f64 * BAR_STEP),
        height: BAR_HEIGHT,
        length: x(value.median),
        low: x(value.least),
        high: x(value.most),
        tip: tip(label, "", value, y_label),
    });
    let height = TOP + values.len() as f64 * BAR_STEP;
    Plot { bars: bars.collect(), ..Plot::new(description, height, y_label) }
}

impl Plot {
    fn new(description: &str, height: f64, y_label: &str) -> Self {
        Self {
            description: description.to_owned(),
            width: WIDTH,
            height,
            left: LEFT,
            right: RIGHT,
            top: TOP,
            bottom: BOTTOM,
            y_label: y_label.to_owned(),
            x_label: String::new(),
            y_ticks: Vec::new(),
            x_ticks: Vec::new(),
            lines: Vec::new(),
            bars: Vec::new(),
        }
    }
}

fn tip(label: &str, place: &str, value: &Spread, unit: &str) -> String {
    let place = if place.is_empty() { String::new() } else { format!(", {place}") };
    format!("{label}{place}: {} ({} to {}) {unit}", number(value.median), number(value.least), number(value.most))
}

fn positions(places: &[String]) -> Vec<f64> {
    let numbers: Option<Vec<f64>> =
        places.iter().map(|place| place.replace(',', "").parse().ok().filter(|number: &f64| *number > 0.0)).collect();
    let at: Vec<f64> = match numbers {
        Some(numbers) => numbers.iter().map(|number| number.ln()).collect(),
        None => (0..places.len()).map(|index| index as f64).collect(),
    };
    let first = at.iter().copied().fold(f64::INFINITY, f64::min);
    let last = at.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let share = |at: f64| if last > first { (at - first) / (last - first) } else { 0.5 };
    at.iter().map(|at| round(LEFT + INSET + share(*at) * (RIGHT - LEFT - 2.0 * INSET))).collect()
}

/// The ticks, and where a value lies.
fn axis(series: &[Series], scale: Scale) -> (Vec<Tick>, impl Fn(f64) -> f64 + use<>) {
    let known = || series.iter().flat_map(|one| one.values.iter().flatten());
    let most = known().map(|value| value.most).fold(0.0, f64::max);
    let least = known().map(|value| value.least).filter(|least| *least > 0.0).fold(f64::INFINITY, f64::min);
    let ticks = match scale {
        Scale::Logarithmic if least.is_finite() => logarithmic_ticks(least, most),
        _ => linear_ticks(most),
    };
    let is_logarithmic = scale == Scale::Logarithmic && least.is_finite();
    let on_scale = move |value: f64| if is_logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
    let (first, last) = (on_scale(ticks[0]), on_scale(ticks[ticks.len() - 1]));
    let place = move |value: f64| {
        let share = ((on_scale(value) - first) / (last - first)).clamp(0.0, 1.0);
        round(BOTTOM - share * (BOTTOM - TOP))
    };
    (ticks.iter().map(|tick| Tick { at: place(*tick), text: tick_text(*tick) }).collect(), place)
}

/// From 0 to `most` or a little more, by 1, 2 or 5 of a power of ten; two at least.
fn linear_ticks(most: f64) -> Vec<f64> {
    let most = if most > 0.0 { most } else { 1.0 };
    let power = 10f64.powf((most / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| most / step <= 5.0);
    let step = step.unwrap_or(most);
    (0..=(most / step).ceil().max(1.0) as u32).map(|index| f64::from(index) * step).collect()
}

/// Powers of ten around both, with 2 and 5 of each where there are few; two at least.
fn logarithmic_ticks(least: f64, most: f64) -> Vec<f64> {
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    let factors: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all: Vec<f64> =
        (first..=last).flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent))).collect();
    let from = all.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let to = all.iter().position(|tick| *tick >= most).unwrap_or(all.len() - 1);
    if from < to { all[from..=to].to_vec() } else { vec![least / 2.0, least * 2.0] }
}

fn tick_text(value: f64) -> String {
    // Ticks have one digit that counts: more digits are rounding errors.
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if value >= 1000.0 { number(value) } else { short.to_owned() }
}

/// Different for each of four styles, so that colour is not all that tells them apart.
fn mark(style: usize, x: f64, y: f64) -> String {
    let (m, d) = (MARK, 2.0 * MARK);
    match style % MARKS {
        0 => format!("M{} {}a{m} {m} 0 1 0 {d} 0a{m} {m} 0 1 0 -{d} 0z", round(x - m), y),
        1 => format!("M{} {}h{d}v{d}h-{d}z", round(x - m), round(y - m)),
        2 => format!("M{x} {}l{} {}h-{}z", round(y - m * 1.3), m * 1.3, m * 2.2, m * 2.6),
        _ => format!(
            "M{x} {}l{} {}l-{} {}l-{} -{}z",
            round(y - m * 1.3),
            m * 1.3,
            m * 1.3,
            m * 1.3,
            m * 1.3,
            m * 1.3,
            m * 1.3
        ),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// With three digits that count, and commas.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 99.95 => 0,
        tens if tens >= 9.995 => 1,
        ones if ones >= 0.9995 => 2,
        _ => 3,
    };
    if value.abs() >= 999.5 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", crate::compare::matrix::with_commas(value.abs().round() as u64));
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread { median, least: median * 0.9, most: median * 1.1 }
    }

    fn series(values: &[Option<f64>]) -> Series {
        Series { label: "a".to_owned(), style: 0, values: values.iter().map(|value| value.map(spread)).collect() }
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0.000"),
            (0.1234, "0.123"),
            (1.235, "1.24"),
            (12.35, "12.3"),
            (99.96, "100"),
            (999.6, "1,000"),
            (1_234_567.8, "1,234,568"),
            (-1.5, "-1.50"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn ticks_reach_over_all_values() {
        for most in [0.0, 0.003, 0.7, 1.0, 3.0, 49.0, 51.0, 2_400_000.0] {
            let ticks = linear_ticks(most);
            assert!(
                ticks[0] == 0.0 && ticks[ticks.len() - 1] >= most && (2..=7).contains(&ticks.len()),
                "{most}: {ticks:?}"
            );
        }
        for (least, most) in [(0.2, 0.3), (1.0, 1.0), (0.05, 30.0), (10.0, 100.0), (0.000_1, 90.0)] {
            let ticks = logarithmic_ticks(least, most);
            assert!(
                ticks[0] <= least && ticks[ticks.len() - 1] >= most && ticks.len() >= 2,
                "{least} {most}: {ticks:?}"
            );
        }
    }

    #[test]
    fn everything_lies_within_the_frame() {
        let places = ["1", "16", "64"].map(str::to_owned);
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let plot = lines("d", ("y", "x"), &places, &[series(&[Some(1.0), None, Some(900.0)])], scale);
            assert_eq!(plot.lines[0].points.len(), 2);
            for point in &plot.lines[0].points {
                assert!(point.high <= point.low && point.high >= TOP && point.low <= BOTTOM, "{point:?}");
                assert!((LEFT..=RIGHT).contains(&point.x));
            }
            assert!(plot.x_ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
        }
    }

    #[test]
    fn a_plot_without_values_can_be_drawn() {
        let plot = lines("d", ("y", "x"), &["1".to_owned()], &[series(&[None])], Scale::Logarithmic);
        assert!(plot.lines[0].points.is_empty() && plot.y_ticks.iter().all(|tick| tick.at.is_finite()));
        assert!(bars("d", "y", &[]).bars.is_empty());
        assert!(bars("d", "y", &[("a".to_owned(), 0, spread(0.0))]).bars.iter().all(|bar| bar.length == 0.0));
    }
}

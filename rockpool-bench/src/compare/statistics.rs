//! What several rounds of one measurement come to.

use serde::{Deserialize, Serialize};

/// The median of the rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; the mean of the middle two where their number is even.
    pub median: f64,
    /// The least of them.
    pub least: f64,
    /// The most of them.
    pub most: f64,
}

impl Spread {
    /// None where there are no values, or one of them is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        if sorted.iter().any(|value| value.is_nan()) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, least, most })
    }

    /// This median over that of `baseline`; none where that is 0.
    pub fn ratio_to(&self, baseline: &Self) -> Option<f64> {
        (baseline.median != 0.0).then(|| self.median / baseline.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_rounds_in_any_order() {
        assert_eq!(Spread::of([5.0, 1.0, 3.0]), Some(Spread { median: 3.0, least: 1.0, most: 5.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 100.0]), Some(Spread { median: 3.5, least: 1.0, most: 100.0 }));
        assert_eq!(Spread::of([7.0]), Some(Spread { median: 7.0, least: 7.0, most: 7.0 }));
    }

    #[test]
    fn nothing_and_no_numbers_have_no_median() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([1.0, f64::NAN]), None);
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        let ours = Spread::of([10.0, 30.0, 20.0]).expect("values");
        let theirs = Spread::of([1.0, 8.0, 100.0]).expect("values");
        assert_eq!(ours.ratio_to(&theirs), Some(2.5));
        assert_eq!(ours.ratio_to(&Spread { median: 0.0, least: 0.0, most: 0.0 }), None);
    }
}

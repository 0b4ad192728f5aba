//! The 80-bit extended double that `INCRBYFLOAT` and `HINCRBYFLOAT` count with.
//!
//! Redis adds C `long double`s, which on x86-64 have a mantissa of 64 bits, and the sums it prints show that:
//! 0.1 + 0.2 is "0.3". The arithmetic here is done in software, so it is the same on every machine.

use crate::base::float_text::{self, Form, Shape};
use rustc_apfloat::{Float, Round, ieee::X87DoubleExtended};
use std::ops::Add;

/// Texts from this length on are refused unread, which also bounds the cost of a conversion.
const REFUSED_FROM_LENGTH: usize = 5 * 1024;

/// Digits printed after the point.
const FRACTION_DIGITS: u32 = 17;

const MANTISSA_BITS: u32 = 64;

/// The exponent field's value for 2^0 with the point behind the mantissa's lowest bit.
const EXPONENT_BIAS: i32 = 16383 + 63;

/// Limbs of a large integer count in 10^9, so that a limb shifted by 32 bits and a carry fit in 64 bits.
const LIMB_BASE: u64 = 1_000_000_000;
const LIMB_DIGITS: usize = 9;
const LIMB_SHIFT_BITS: u32 = 32;

/// An x87 extended double: 64 bits of mantissa, 15 of exponent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Reads what `INCRBYFLOAT` accepts: what C's `strtold` takes as a whole, hexadecimal floats and "inf" included,
    /// but no leading space, no NaN, no overflow, no underflow to zero, and nothing of 5120 bytes or more.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= REFUSED_FROM_LENGTH {
            return None;
        }
        let Shape { negative, form } = float_text::scan(text)?;
        let magnitude = match &form {
            Form::Infinity => X87DoubleExtended::INFINITY,
            Form::Zero => X87DoubleExtended::ZERO,
            Form::Decimal(digits) => in_range(digits)?,
            Form::Hexadecimal(digits) => in_range(digits)?,
        };
        Some(Self(if negative { -magnitude } else { magnitude }))
    }

    /// Whether a sum must be refused ("increment would produce NaN or Infinity").
    pub fn is_nan_or_infinite(&self) -> bool {
        !self.0.is_finite()
    }

    /// Prints as `INCRBYFLOAT` does: all digits before the point, up to 17 after it, no trailing zeros, no exponent,
    /// and no sign before a zero.
    pub fn format_human(&self) -> String {
        if self.0.is_nan() {
            return "nan".to_owned();
        }
        let sign = if self.0.is_negative() { "-" } else { "" };
        if self.0.is_infinite() {
            return format!("{sign}inf");
        }
        let bits = self.0.to_bits();
        let mantissa = bits as u64;
        // A denormal has the exponent field 0 and the scale of field 1.
        let exponent = (((bits >> MANTISSA_BITS) & 0x7fff) as i32).max(1) - EXPONENT_BIAS;
        let text =
            if exponent >= 0 { format_integer(mantissa, exponent as u32) } else { format_fixed(mantissa, exponent) };
        if text == "0" { text } else { format!("{sign}{text}") }
    }
}

impl Add for LongDouble {
    type Output = Self;

    /// The sum, rounded to the nearest, ties to even.
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).value)
    }
}

/// Converts a number other than zero; `None` if it is out of range.
fn in_range(digits: &str) -> Option<X87DoubleExtended> {
    let value = X87DoubleExtended::from_str_r(digits, Round::NearestTiesToEven).ok()?.value;
    value.is_finite_non_zero().then_some(value)
}

/// Prints `mantissa * 2^exponent`.
fn format_integer(mantissa: u64, exponent: u32) -> String {
    let mut limbs = Vec::new();
    let mut rest = mantissa;
    while rest != 0 {
        limbs.push(rest % LIMB_BASE);
        rest /= LIMB_BASE;
    }
    let mut left_bits = exponent;
    while left_bits != 0 && !limbs.is_empty() {
        let shift_bits = left_bits.min(LIMB_SHIFT_BITS);
        let mut carry = 0;
        for limb in &mut limbs {
            let shifted = (*limb << shift_bits) + carry;
            *limb = shifted % LIMB_BASE;
            carry = shifted / LIMB_BASE;
        }
        while carry != 0 {
            limbs.push(carry % LIMB_BASE);
            carry /= LIMB_BASE;
        }
        left_bits -= shift_bits;
    }
    let Some(highest) = limbs.pop() else { return "0".to_owned() };
    let mut text = highest.to_string();
    text.reserve(limbs.len() * LIMB_DIGITS);
    for limb in limbs.iter().rev() {
        let digits = format!("{limb:0LIMB_DIGITS$}");
        text.push_str(&digits);
    }
    text
}

/// Prints `mantissa * 2^exponent`, `exponent` negative, rounded to [`FRACTION_DIGITS`], ties to even.
fn format_fixed(mantissa: u64, exponent: i32) -> String {
    let unit = 10u128.pow(FRACTION_DIGITS);
    // Below 2^121, hence exact.
    let scaled = u128::from(mantissa) * unit;
    let shift_bits = exponent.unsigned_abs();
    let rounded = if shift_bits >= u128::BITS {
        0
    } else {
        let quotient = scaled >> shift_bits;
        let remainder = scaled - (quotient << shift_bits);
        let half = 1u128 << (shift_bits - 1);
        quotient + u128::from(remainder > half || remainder == half && quotient & 1 == 1)
    };
    let (whole, fraction) = (rounded / unit, rounded % unit);
    let text = format!("{whole}.{fraction:0width$}", width = FRACTION_DIGITS as usize);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(first: &str, second: &str) -> String {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text} is refused"));
        (parse(first) + parse(second)).format_human()
    }

    #[test]
    fn sums_as_redis_prints_them() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.50", "0.1"), "10.6");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("3.0", "1.0"), "4");
        assert_eq!(sum("0", "0x1p-1"), "0.5");
        assert_eq!(sum("1e20", "1"), "100000000000000000000");
        assert_eq!(sum("4e4000", "0").len(), 4001);
        assert_eq!(sum("1", "-1"), "0");
        assert_eq!(sum("-0", "-0"), "0");
        assert_eq!(sum("-1e-30", "0"), "0");
        assert_eq!(sum("3e-4951", "0"), "0");
        assert_eq!(sum("1.5", "-3"), "-1.5");
        assert_eq!(sum("9223372036854775807", "1"), "9223372036854775808");
        assert_eq!(sum("18446744073709551615", "0.5"), "18446744073709551616");
        assert_eq!(sum("0.99999999999999999999", "0"), "1");
        // Halfway between two last digits: the even one.
        assert_eq!(sum("0x1p-18", "0"), "0.00000381469726562");
        assert_eq!(sum("0x3p-18", "0"), "0.00001144409179688");
    }

    #[test]
    fn infinity_is_read_but_no_sum() {
        for (first, second, expected) in
            [("inf", "1", "inf"), ("1", "-Infinity", "-inf"), ("+INF", "-inf", "nan"), ("1e4932", "1e4932", "inf")]
        {
            let parse = |text: &str| LongDouble::parse(text.as_bytes());
            let sum = parse(first).zip(parse(second)).map(|(first, second)| first + second);
            assert!(
                sum.is_some_and(|sum| sum.is_nan_or_infinite() && sum.format_human() == expected),
                "{first} {second}"
            );
        }
    }

    #[test]
    fn refusals() {
        let refused: [&[u8]; 19] = [
            b"",
            b" 1",
            b"1 ",
            b"1\0",
            b"+",
            b"-",
            b".",
            b"1e",
            b"0x",
            b"0x.",
            b"0x1p",
            b"nan",
            b"NaN(1)",
            b"1,5",
            b"infinit",
            b"1.18973149535723176508e4932",
            b"1e99999999999999999999",
            b"1.8e-4951",
            b"0x1p16384",
        ];
        for text in refused {
            assert_eq!(LongDouble::parse(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn length_is_limited() {
        assert!(LongDouble::parse(&[b'0'; REFUSED_FROM_LENGTH - 1]).is_some());
        assert!(LongDouble::parse(&[b'0'; REFUSED_FROM_LENGTH]).is_none());
        let digits = [b"0.".to_vec(), vec![b'9'; 5000]].concat();
        assert_eq!(LongDouble::parse(&digits).map(|value| value.format_human()).as_deref(), Some("1"));
    }

    proptest! {
        #[test]
        fn integers_are_exact(first: i32, second: i32) {
            let expected = (i64::from(first) + i64::from(second)).to_string();
            prop_assert_eq!(sum(&first.to_string(), &second.to_string()), expected);
        }

        #[test]
        fn powers_of_two_are_exact(exponent in 0u32..128) {
            prop_assert_eq!(sum(&format!("0x1p{exponent}"), "0"), (1u128 << exponent).to_string());
        }

        #[test]
        fn short_decimals_are_printed_as_typed(whole in 0u32..32, fraction in "[0-9]{0,10}[1-9]") {
            let text = format!("{whole}.{fraction}");
            prop_assert_eq!(sum(&text, "0"), text.clone());
            prop_assert_eq!(sum(&format!("-{text}"), "-0"), format!("-{text}"));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9a-fA-FxXpP. \\x00]{0,40}") {
            if let Some(value) = LongDouble::parse(text.as_bytes()) {
                value.format_human();
            }
        }
    }
}

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

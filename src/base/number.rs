//! Numbers as Redis reads them from, and prints them into, byte strings.

use crate::base::float_text::{self, Shape};
use rustc_apfloat::{Float, Round, ieee::Double};

/// The longest text that can be an `i64` ("-9223372036854775808").
const MAX_I64_LENGTH: usize = 20;

/// More digits than this are refused in a size.
const MAX_MEMORY_DIGITS: usize = 127;

/// Integers of a smaller magnitude have at most 17 digits, hence no exponent.
const EXPONENT_FROM: f64 = 1e17;

/// Reads an `i64` that prints back as the very same text: no spaces, no '+', no leading zeros, no "-0".
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if text.len() > MAX_I64_LENGTH || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let magnitude = parse_digits(digits)?;
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Reads a run of decimal digits, at least one; `None` if it does not fit.
fn parse_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Reads a double as Redis reads scores and other float arguments: what C's `strtod` takes as a whole, hexadecimal
/// floats and "inf" included, but no leading space, no NaN, no overflow, and no underflow to zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = match float_text::scan(text)? {
        Shape { negative, form: float_text::Form::Infinity } => (negative, f64::INFINITY),
        Shape { negative, form: float_text::Form::Zero } => (negative, 0.0),
        Shape { negative, form: float_text::Form::Decimal(digits) } => (negative, in_range(digits.parse().ok()?)?),
        Shape { negative, form: float_text::Form::Hexadecimal(digits) } => {
            let value = Double::from_str_r(&digits, Round::NearestTiesToEven).ok()?.value;
            (negative, in_range(f64::from_bits(u64::try_from(value.to_bits()).ok()?))?)
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Refuses what a number other than zero and infinity turned into when it was out of range.
fn in_range(magnitude: f64) -> Option<f64> {
    (magnitude.is_finite() && magnitude != 0.0).then_some(magnitude)
}

/// Prints a double as Redis 7.0 replies with scores: C's `%.17g`, with "inf", "-inf" and "nan".
///
/// Integers have no exponent below 1e17 ("10000000000000000", then "1e+17").
pub fn format_f64(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if value.abs() < EXPONENT_FROM && value.trunc() == value {
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    format_general(value)
}

/// `%.17g` of a finite number other than zero: 17 significant digits, trailing zeros dropped, and an exponent when
/// it is below -4 or above 16.
fn format_general(value: f64) -> String {
    let scientific = format!("{:.16e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut digits: String = mantissa.chars().filter(|&character| character != '.').collect();
    digits.truncate(digits.trim_end_matches('0').len().max(1));

    let mut text = String::with_capacity(25);
    if value < 0.0 {
        text.push('-');
    }
    if !(-4..17).contains(&exponent) {
        text.push_str(&digits[..1]);
        if digits.len() > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        text.push('e');
        text.push(if exponent < 0 { '-' } else { '+' });
        if exponent.unsigned_abs() < 10 {
            text.push('0');
        }
        text.push_str(itoa::Buffer::new().format(exponent.unsigned_abs()));
    } else if exponent < 0 {
        text.push_str("0.");
        (1..-exponent).for_each(|_| text.push('0'));
        text.push_str(&digits);
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            text.push_str(&digits);
            (digits.len()..whole).for_each(|_| text.push('0'));
        } else {
            text.push_str(&digits[..whole]);
            text.push('.');
            text.push_str(&digits[whole..]);
        }
    }
    text
}

/// Appends `value` in decimal.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    match value {
        // Counts and lengths are small, mostly.
        0..10 => out.push(b'0' + value as u8),
        10..100 => out.extend_from_slice(&[b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]),
        _ => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// Reads a size in bytes as Redis reads it in its configuration: digits and a unit of any case, where "k", "m" and
/// "g" count in thousands, "kb", "mb" and "gb" in 1024s, and "b" or nothing in bytes. Without digits the size is 0.
///
/// A size past `u64` is refused. (Redis lets the product wrap around, which nobody can have meant.)
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let unit_at = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let multiplier: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let count = match digits.len() {
        0 => 0,
        1..=MAX_MEMORY_DIGITS => parse_digits(digits)?,
        _ => return None,
    };
    count.checked_mul(multiplier)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_strict() {
        assert_eq!(parse_i64(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"0"), Some(0));
        let refused: [&[u8]; 14] = [
            b"",
            b"-",
            b"-0",
            b"00",
            b"01",
            b"-01",
            b"+1",
            b" 1",
            b"1 ",
            b"1\0",
            b"0x1",
            b"1.0",
            b"9223372036854775808",
            b"-9223372036854775809",
        ];
        for text in refused {
            assert_eq!(parse_i64(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_as_strtod() {
        let cases: [(&[u8], Option<f64>); 40] = [
            (b"1", Some(1.0)),
            (b"+1", Some(1.0)),
            (b"-0", Some(-0.0)),
            (b"1.", Some(1.0)),
            (b".5", Some(0.5)),
            (b"-.5e-3", Some(-0.0005)),
            (b"1E+2", Some(100.0)),
            (b"inf", Some(f64::INFINITY)),
            (b"-Infinity", Some(f64::NEG_INFINITY)),
            (b"+INF", Some(f64::INFINITY)),
            (b"0x1p3", Some(8.0)),
            (b"0X.8", Some(0.5)),
            (b"-0x1.", Some(-1.0)),
            (b"0x1p-1074", Some(f64::from_bits(1))),
            (b"0x1.8p-1075", Some(f64::from_bits(1))),
            (b"0x1p-1075", None),
            (b"0x1p1024", None),
            (b"0x0p99999999999999999999", Some(0.0)),
            (b"0x1.00000000000008p0", Some(1.0)),
            (b"0x1.0000000000000800000000000000000000000000000000000001p0", Some(1.0 + f64::EPSILON)),
            (b"1e308", Some(1e308)),
            (b"1e309", None),
            (b"-1e309", None),
            (b"1e-320", Some(1e-320)),
            (b"1e-400", None),
            (b"0e-400", Some(0.0)),
            (b"nan", None),
            (b"nan(1)", None),
            (b"", None),
            (b"+", None),
            (b".", None),
            (b"0x", None),
            (b"0x.", None),
            (b"0x1p", None),
            (b"1e", None),
            (b"1e+", None),
            (b" 1", None),
            (b"1 ", None),
            (b"1\0", None),
            (b"infinit", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_f64(text).map(f64::to_bits), expected.map(f64::to_bits), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_as_printf() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.10000000000000001"),
            (3.5, "3.5"),
            (1e16, "10000000000000000"),
            (99999999999999984.0, "99999999999999984"),
            (1e17, "1e+17"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (1e100, "1e+100"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            // Ties between two last digits go to the even one.
            (1e15 + 0.25, "1000000000000000.2"),
            (1e15 + 0.75, "1000000000000000.8"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_f64(value), expected);
        }
    }

    #[test]
    fn sizes() {
        let cases: [(&[u8], Option<u64>); 20] = [
            (b"1", Some(1)),
            (b"1b", Some(1)),
            (b"1k", Some(1000)),
            (b"1kb", Some(1024)),
            (b"1M", Some(1_000_000)),
            (b"1mB", Some(1 << 20)),
            (b"1g", Some(1_000_000_000)),
            (b"1Gb", Some(1 << 30)),
            (b"007kb", Some(7 << 10)),
            (b"", Some(0)),
            (b"kb", Some(0)),
            (b"-1", None),
            (b"+1", None),
            (b" 1", None),
            (b"1 kb", None),
            (b"1.5g", None),
            (b"1t", None),
            (b"1kb\0", None),
            (b"18446744073709551616", None),
            (b"18446744073709551615kb", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_memory(text), expected, "{}", text.escape_ascii());
        }
        assert_eq!(parse_memory(&[b'0'; MAX_MEMORY_DIGITS]), Some(0));
        assert_eq!(parse_memory(&[b'0'; MAX_MEMORY_DIGITS + 1]), None);
    }

    proptest! {
        #[test]
        fn integers_come_back(value: i64) {
            let mut text = Vec::new();
            write_i64(&mut text, value);
            prop_assert_eq!(parse_i64(&text), Some(value));
        }

        #[test]
        fn what_parses_prints_the_same(text in "-?[0-9]{0,21}") {
            if let Some(value) = parse_i64(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            }
        }

        #[test]
        fn doubles_come_back(value in any::<f64>().prop_filter("a number", |value| !value.is_nan())) {
            prop_assert_eq!(parse_f64(format_f64(value).as_bytes()).map(f64::to_bits), Some(value.to_bits()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9a-fA-FxXpP. \\x00]{0,40}") {
            if let Some(value) = parse_f64(text.as_bytes()) {
                prop_assert!(!value.is_nan());
            }
        }
    }
}

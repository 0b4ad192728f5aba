//! What C's `strtod` accepts, told apart before any conversion, so that doubles and long doubles share one grammar.

/// Hexadecimal digits kept of a mantissa: more than any mantissa and its rounding need; the rest folds into one.
const KEPT_HEX_DIGITS: usize = 36;

/// A binary exponent beyond this overflows or underflows every format in use.
const BINARY_EXPONENT_LIMIT: i64 = 100_000;

/// A number's text: its sign and what follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape<'text> {
    pub(super) negative: bool,
    pub(super) form: Form<'text>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'text> {
    Infinity,
    /// Zero, whatever its exponent.
    Zero,
    /// Decimal digits, a point and an exponent, each optional but for one digit other than 0.
    Decimal(&'text str),
    /// "0x", hexadecimal digits without a point, "p" and an exponent; bounded in length.
    Hexadecimal(String),
}

/// Tells what number `text` spells, all of it; `None` for NaN and what is no number. White space is not skipped.
pub(super) fn scan(text: &[u8]) -> Option<Shape<'_>> {
    let (negative, body) = match text {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] => (false, body),
        body => (false, body),
    };
    let form = match body {
        _ if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") => Form::Infinity,
        [b'0', b'x' | b'X', digits @ ..] => scan_hexadecimal(digits)?,
        _ => scan_decimal(body)?,
    };
    Some(Shape { negative, form })
}

fn scan_decimal(body: &[u8]) -> Option<Form<'_>> {
    let mantissa_end = body.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(body.len());
    let (mantissa, exponent) = body.split_at(mantissa_end);
    let mut seen = Mantissa::default();
    for &byte in mantissa {
        seen.take(byte, byte.is_ascii_digit())?;
    }
    seen.check()?;
    if let [_, exponent @ ..] = exponent {
        scan_exponent(exponent)?;
    }
    if !seen.nonzero {
        return Some(Form::Zero);
    }
    std::str::from_utf8(body).ok().map(Form::Decimal)
}

fn scan_hexadecimal(body: &[u8]) -> Option<Form<'static>> {
    let mantissa_end = body.iter().position(|byte| matches!(byte, b'p' | b'P')).unwrap_or(body.len());
    let (mantissa, exponent) = body.split_at(mantissa_end);
    let mut seen = Mantissa::default();
    let mut kept = String::from("0x");
    let mut kept_digits = 0;
    let mut dropped_nonzero = false;
    let mut shift_bits: i64 = 0;
    for &byte in mantissa {
        seen.take(byte, byte.is_ascii_hexdigit())?;
        if byte == b'.' {
            continue;
        }
        if kept_digits < KEPT_HEX_DIGITS {
            if seen.nonzero {
                kept.push(char::from(byte));
                kept_digits += 1;
            }
        } else {
            dropped_nonzero |= byte != b'0';
            shift_bits = shift_bits.saturating_add(4);
        }
        if seen.point {
            shift_bits = shift_bits.saturating_sub(4);
        }
    }
    seen.check()?;
    let exponent = match exponent {
        [] => 0,
        [_, exponent @ ..] => scan_exponent(exponent)?,
    };
    if !seen.nonzero {
        return Some(Form::Zero);
    }
    if dropped_nonzero {
        kept.push('1');
        shift_bits = shift_bits.saturating_sub(4);
    }
    let exponent = exponent.saturating_add(shift_bits).clamp(-BINARY_EXPONENT_LIMIT, BINARY_EXPONENT_LIMIT);
    kept.push('p');
    kept.push_str(itoa::Buffer::new().format(exponent));
    Some(Form::Hexadecimal(kept))
}

/// Reads an optional sign and at least one decimal digit; what is past `i64` saturates.
fn scan_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude =
        digits.iter().fold(0i64, |value, &byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    Some(if negative { -magnitude } else { magnitude })
}

/// What has been seen of a mantissa.
#[derive(Default)]
struct Mantissa {
    digits: bool,
    point: bool,
    nonzero: bool,
}

impl Mantissa {
    /// Takes the next byte; `None` if it cannot stand here.
    fn take(&mut self, byte: u8, is_digit: bool) -> Option<()> {
        if is_digit {
            self.digits = true;
            self.nonzero |= byte != b'0';
        } else if byte == b'.' && !self.point {
            self.point = true;
        } else {
            return None;
        }
        Some(())
    }

    fn check(&self) -> Option<()> {
        self.digits.then_some(())
    }
}

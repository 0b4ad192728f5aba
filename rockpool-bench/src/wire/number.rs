//! Decimal numbers, as all three protocols have them.

/// Appends `number` in decimal digits.
pub fn append_decimal(output: &mut Vec<u8>, number: impl itoa::Integer) {
    output.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A decimal number without sign or leading zero, at most `max`.
pub fn length(digits: &[u8], max: usize) -> Option<usize> {
    let is_canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]);
    if !is_canonical || digits.len() > 18 {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + usize::from(digit - b'0');
    }
    (number <= max).then_some(number)
}

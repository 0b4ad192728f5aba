//! Words in quotes, as Redis reads and prints them: in its inline commands, its configuration file and MONITOR.

use std::io::Write;
use std::ops::Range;

/// A quoted word that does not end, or is not followed by a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// Splits a line into words as redis-cli and Redis do: blanks separate, `"…"` knows the escapes `\n \r \t \b \a \xHH`,
/// `'…'` knows `\'`. Words are unquoted in place (they only shrink); `each` gets where they are then.
pub fn split(line: &mut [u8], mut each: impl FnMut(Range<usize>)) -> Result<(), UnbalancedQuotes> {
    let mut read = 0;
    loop {
        while line.get(read).copied().is_some_and(is_blank) {
            read += 1;
        }
        // As in C, a NUL byte ends the line.
        if line.get(read).is_none_or(|byte| *byte == 0) {
            return Ok(());
        }
        let start = read;
        let mut write = start;
        let mut quote = None;
        loop {
            let byte = line.get(read).copied().filter(|byte| *byte != 0);
            let (decoded, used) = match (quote, byte) {
                (None, None) => break,
                (None, Some(byte)) if is_blank(byte) => break,
                (None, Some(byte @ (b'"' | b'\''))) => {
                    quote = Some(byte);
                    read += 1;
                    continue;
                }
                (None, Some(byte)) => (byte, 1),
                (Some(_), None) => return Err(UnbalancedQuotes),
                (Some(b'"'), Some(b'\\')) => unescape(&line[read..]),
                (Some(_), Some(b'\\')) if line.get(read + 1) == Some(&b'\'') => (b'\'', 2),
                (Some(open), Some(byte)) if byte == open => {
                    if line.get(read + 1).is_some_and(|next| !is_blank(*next) && *next != 0) {
                        return Err(UnbalancedQuotes);
                    }
                    read += 1;
                    break;
                }
                (Some(_), Some(byte)) => (byte, 1),
            };
            line[write] = decoded;
            write += 1;
            read += used;
        }
        each(start..write);
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c)
}

/// The byte that an escape at the start of `text` stands for, and how many bytes it takes.
fn unescape(text: &[u8]) -> (u8, usize) {
    if let [b'\\', b'x', high, low, ..] = text
        && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
    {
        return ((high * 16 + low) as u8, 4);
    }
    match text.get(1) {
        Some(b'n') => (b'\n', 2),
        Some(b'r') => (b'\r', 2),
        Some(b't') => (b'\t', 2),
        Some(b'b') => (0x08, 2),
        Some(b'a') => (0x07, 2),
        Some(0) | None => (b'\\', 1),
        Some(byte) => (*byte, 2),
    }
}

/// Puts `bytes` in quotes, as [`split`] takes them back: what is not printable ASCII is escaped.
pub fn quote(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => line.extend_from_slice(&[b'\\', byte]),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            0x07 => line.extend_from_slice(b"\\a"),
            0x08 => line.extend_from_slice(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => {
                // Writing to a vector cannot fail.
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: impl Into<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
        let (mut line, mut ranges) = (line.into(), Vec::new());
        split(&mut line, |range| ranges.push(range)).ok()?;
        Some(ranges.into_iter().map(|range| line[range].to_vec()).collect())
    }

    #[test]
    fn quoting() {
        assert_eq!(words("  set\tk  v \r"), Some(vec![b"set".into(), b"k".into(), b"v".into()]));
        assert_eq!(words(r#""\x41\n\"\q" 'it\'s' """#), Some(vec![b"A\n\"q".into(), b"it's".into(), b"".into()]));
        assert_eq!(words(r#"a"b""#), Some(vec![b"ab".into()]));
        assert_eq!(words(r#""a"b"#), None);
        assert_eq!(words(r#""a"#), None);
        assert_eq!(words("'a"), None);
        assert_eq!(words(r#""a\"#), None);
        assert_eq!(words(""), Some(vec![]));
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(bytes: Vec<u8>) {
            let mut line = Vec::new();
            quote(&bytes, &mut line);
            prop_assert_eq!(words(line), Some(vec![bytes]));
        }
    }
}

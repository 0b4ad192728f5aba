//! The book's TCP protocol, `docs/protocols.md`.

use super::number::{append_decimal, length};
use super::reply::{Kind, Malformed, Reply};

const CONTENT_MAX_BYTES: usize = 512 * 1024 * 1024;
/// Of a length.
const DIGITS_MAX: usize = 18;

/// Appends a request for the value of `key`.
pub fn get(output: &mut Vec<u8>, key: &[u8]) {
    output.push(b'G');
    append_decimal(output, key.len());
    output.push(b' ');
    output.extend_from_slice(key);
}

/// Appends a request to delete `key`.
pub fn delete(output: &mut Vec<u8>, key: &[u8]) {
    output.push(b'D');
    append_decimal(output, key.len());
    output.push(b' ');
    output.extend_from_slice(key);
}

/// Appends a request to set `key` to the `bytes` bytes that `append` appends.
pub fn set(output: &mut Vec<u8>, key: &[u8], bytes: usize, append: impl FnOnce(&mut Vec<u8>)) {
    output.push(b'S');
    append_decimal(output, key.len());
    output.push(b' ');
    append_decimal(output, bytes);
    output.push(b' ');
    output.extend_from_slice(key);
    append(output);
}

/// A value of no bytes looks like a key that is missing, and counts as one.
#[inline]
pub fn reply(kind: Kind, input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let is_error = input.first() == Some(&b'-');
    let digits_start = usize::from(is_error);
    let Some(digits) = input[digits_start.min(input.len())..].iter().position(|byte| *byte == b' ') else {
        return if input.len() <= digits_start + DIGITS_MAX
            && input[digits_start.min(input.len())..].iter().all(u8::is_ascii_digit)
        {
            Ok(None)
        } else {
            Err(Malformed::at(input))
        };
    };
    let start = digits_start + digits + 1;
    let bytes = length(&input[digits_start..start - 1], CONTENT_MAX_BYTES).ok_or_else(|| Malformed::at(input))?;
    let Some(content) = input.get(start..start + bytes) else { return Ok(None) };
    let reply = match kind {
        _ if is_error => Reply::Failed(content),
        Kind::Get if content.is_empty() => Reply::Missing,
        Kind::Get => Reply::Value(content),
        Kind::Set | Kind::Delete if content.is_empty() => Reply::Done,
        _ => return Err(Malformed::at(input)),
    };
    Ok(Some((reply, start + bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_lengths_before_them() {
        let mut output = Vec::new();
        get(&mut output, b"key");
        set(&mut output, b"key", 5, |output| output.extend(b"value"));
        delete(&mut output, b"a key of some");
        assert_eq!(output, b"G3 keyS3 5 keyvalueD13 a key of some");
    }

    #[test]
    fn replies_are_whole_or_awaited() {
        let cases: [(Kind, &[u8], Reply); 5] = [
            (Kind::Set, b"0 ", Reply::Done),
            (Kind::Delete, b"0 ", Reply::Done),
            (Kind::Get, b"0 ", Reply::Missing),
            (Kind::Get, b"12 5 characters", Reply::Value(b"5 characters")),
            (Kind::Set, b"-7 no room", Reply::Failed(b"no room")),
        ];
        for (kind, bytes, expected) in cases {
            for length in 0..bytes.len() {
                assert_eq!(reply(kind, &bytes[..length]), Ok(None), "{}", bytes[..length].escape_ascii());
            }
            let followed = [bytes, b"0"].concat();
            assert_eq!(reply(kind, &followed), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [&b"x"[..], b" ", b"--1 ", b"01 a", b"1x", b"+1 a", b"1111111111111111111", b"999999999999 "] {
            assert!(reply(Kind::Get, bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(reply(Kind::Set, b"1 a").is_err());
    }
}

//! RESP2.

use bytes::Bytes;
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::BytesFrame;
use redis_protocol::types::REDIS_CLUSTER_SLOTS;

use super::number::{append_decimal, length};
use super::reply::{Malformed, Reply};

/// ASKING, which goes before a request that ASK has redirected.
pub const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";
/// CLUSTER SLOTS; [`cluster_slots`] reads the reply.
pub const CLUSTER_SLOTS: &[u8] = b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n";
/// How many keys MGET and MSET have.
pub const MANY_KEYS: usize = 10;
/// The longest line that is not the head of a value: an error, mostly.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// Redis's `proto-max-bulk-len` by default.
const VALUE_MAX_BYTES: usize = 512 * 1024 * 1024;

/// Appends AUTH for the default user.
pub fn auth(output: &mut Vec<u8>, password: &str) {
    output.extend_from_slice(b"*2\r\n$4\r\nAUTH");
    argument(output, password.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// Appends a request for the value of `key`.
pub fn get(output: &mut Vec<u8>, key: &[u8]) {
    output.extend_from_slice(b"*2\r\n$3\r\nGET");
    argument(output, key);
    output.extend_from_slice(b"\r\n");
}

/// Appends a request to delete `key`.
pub fn delete(output: &mut Vec<u8>, key: &[u8]) {
    output.extend_from_slice(b"*2\r\n$3\r\nDEL");
    argument(output, key);
    output.extend_from_slice(b"\r\n");
}

/// Appends a request to set `key` to the `bytes` bytes that `append` appends.
pub fn set(output: &mut Vec<u8>, key: &[u8], bytes: usize, ttl_ms: Option<u64>, append: impl FnOnce(&mut Vec<u8>)) {
    let head: &[u8] = if ttl_ms.is_some() { b"*5\r\n$3\r\nSET" } else { b"*3\r\n$3\r\nSET" };
    output.extend_from_slice(head);
    argument(output, key);
    output.extend_from_slice(b"\r\n$");
    append_decimal(output, bytes);
    output.extend_from_slice(b"\r\n");
    append(output);
    if let Some(ttl_ms) = ttl_ms {
        output.extend_from_slice(b"\r\n$2\r\nPX");
        argument(output, itoa::Buffer::new().format(ttl_ms).as_bytes());
    }
    output.extend_from_slice(b"\r\n");
}

/// Appends MGET of `keys`, whose names `write` puts in place of what its buffer holds.
pub fn mget(output: &mut Vec<u8>, keys: impl Iterator<Item = u64>, write: impl Fn(u64, &mut Vec<u8>)) {
    many(output, b"MGET", 1 + MANY_KEYS);
    let mut name = Vec::new();
    for key in keys {
        write(key, &mut name);
        argument(output, &name);
    }
    output.extend_from_slice(b"\r\n");
}

/// Appends MSET of `keys`, named as for [`mget`], to values of `bytes` bytes each, which `append` appends for a name.
pub fn mset(
    output: &mut Vec<u8>,
    keys: impl Iterator<Item = u64>,
    write: impl Fn(u64, &mut Vec<u8>),
    bytes: usize,
    append: impl Fn(&[u8], &mut Vec<u8>),
) {
    many(output, b"MSET", 1 + 2 * MANY_KEYS);
    let mut name = Vec::new();
    for key in keys {
        write(key, &mut name);
        argument(output, &name);
        output.extend_from_slice(b"\r\n$");
        append_decimal(output, bytes);
        output.extend_from_slice(b"\r\n");
        append(&name, output);
    }
    output.extend_from_slice(b"\r\n");
}

fn many(output: &mut Vec<u8>, name: &[u8], arguments: usize) {
    output.push(b'*');
    append_decimal(output, arguments);
    argument(output, name);
}

/// From the end of the line before, up to the end of the argument's own bytes.
fn argument(output: &mut Vec<u8>, bytes: &[u8]) {
    output.extend_from_slice(b"\r\n$");
    append_decimal(output, bytes.len());
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(bytes);
}

/// What SET, GET, DEL, MSET, AUTH and ASKING are answered with.
#[inline]
pub fn reply(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    if input.starts_with(b"+OK\r\n") {
        return Ok(Some((Reply::Done, 5)));
    }
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE_MAX_BYTES)]) else {
        return if input.len() < LINE_MAX_BYTES { Ok(None) } else { Err(Malformed::at(input)) };
    };
    let Some(line) = input[..end].strip_suffix(b"\r") else { return Err(Malformed::at(input)) };
    let next = end + 1;
    match line.first() {
        Some(b'+' | b':') => Ok(Some((Reply::Done, next))),
        Some(b'-') => Ok(Some((Reply::Failed(&line[1..]), next))),
        Some(b'$') if &line[1..] == b"-1" => Ok(Some((Reply::Missing, next))),
        Some(b'$') => {
            let bytes = length(&line[1..], VALUE_MAX_BYTES).ok_or_else(|| Malformed::at(input))?;
            match input.get(next..next + bytes + 2) {
                None => Ok(None),
                Some(value) if value.ends_with(b"\r\n") => Ok(Some((Reply::Value(&value[..bytes]), next + bytes + 2))),
                Some(value) => Err(Malformed::at(&value[bytes..])),
            }
        }
        _ => Err(Malformed::at(input)),
    }
}

/// What MGET is answered with: an array of values, or an error.
pub fn mget_reply(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    if input.first() != Some(&b'*') {
        return reply(input);
    }
    let Some(end) = memchr::memchr(b'\n', &input[..input.len().min(LINE_MAX_BYTES)]) else {
        return if input.len() < LINE_MAX_BYTES { Ok(None) } else { Err(Malformed::at(input)) };
    };
    let count = input[1..end].strip_suffix(b"\r").and_then(|digits| length(digits, MANY_KEYS));
    let count = count.ok_or_else(|| Malformed::at(input))?;
    let (mut found, mut bytes, mut missing, mut next) = (0, 0, 0, end + 1);
    for _ in 0..count {
        match reply(&input[next..]) {
            Ok(Some((Reply::Value(value), length))) => {
                (found, bytes, next) = (found + 1, bytes + value.len() as u64, next + length);
            }
            Ok(Some((Reply::Missing, length))) => (missing, next) = (missing + 1, next + length),
            Ok(Some(_)) => return Err(Malformed::at(&input[next..])),
            Ok(None) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some((Reply::Values { found, bytes, missing }, next)))
}

/// A range of slots, both ends included, and the address of the node that serves it; an empty host means the one that
/// was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// The host of the node.
    pub host: String,
    /// The port for RESP.
    pub port: u16,
}

/// The reply of CLUSTER SLOTS; none while it is incomplete.
///
/// # Errors
/// [`Malformed`], with the server's own words where it answered with an error.
pub fn cluster_slots(input: &[u8]) -> Result<Option<Vec<SlotRange>>, Malformed> {
    let decoded = decode_bytes(&Bytes::copy_from_slice(input)).map_err(|error| Malformed(error.to_string()))?;
    match decoded {
        None => Ok(None),
        Some((BytesFrame::Array(ranges), _)) => ranges
            .iter()
            .map(|range| slot_range(range).ok_or_else(|| Malformed(format!("CLUSTER SLOTS: {range:?}"))))
            .collect::<Result<_, _>>()
            .map(Some),
        Some((BytesFrame::Error(text), _)) => Err(Malformed(text.to_string())),
        Some((other, _)) => Err(Malformed(format!("CLUSTER SLOTS: {other:?}"))),
    }
}

fn slot_range(frame: &BytesFrame) -> Option<SlotRange> {
    let BytesFrame::Array(parts) = frame else { return None };
    let [BytesFrame::Integer(first), BytesFrame::Integer(last), BytesFrame::Array(primary), ..] = &parts[..] else {
        return None;
    };
    let [host, BytesFrame::Integer(port), ..] = &primary[..] else { return None };
    let host = match host {
        BytesFrame::BulkString(host) => String::from_utf8(host.to_vec()).ok()?,
        BytesFrame::Null => String::new(),
        _ => return None,
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    let port = u16::try_from(*port).ok()?;
    (first <= last && last < REDIS_CLUSTER_SLOTS).then_some(SlotRange { first, last, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_keys_are_one_request_and_one_reply() {
        let mut output = Vec::new();
        let write = |key: u64, name: &mut Vec<u8>| *name = vec![b'0' + key as u8];
        mget(&mut output, 0..10, write);
        assert!(output.starts_with(b"*11\r\n$4\r\nMGET\r\n$1\r\n0\r\n$1\r\n1\r\n") && output.ends_with(b"\r\n9\r\n"));
        output.clear();
        mset(&mut output, 0..10, write, 2, |key, output| output.extend([key[0], b'v']));
        assert!(output.starts_with(b"*21\r\n$4\r\nMSET\r\n$1\r\n0\r\n$2\r\n0v\r\n") && output.ends_with(b"\r\n9v\r\n"));
        let whole = b"*3\r\n$2\r\nab\r\n$-1\r\n$0\r\n\r\n+OK\r\n";
        let length = whole.len() - 5;
        assert_eq!(mget_reply(whole), Ok(Some((Reply::Values { found: 2, bytes: 2, missing: 1 }, length))));
        for end in 0..length {
            assert_eq!(mget_reply(&whole[..end]), Ok(None), "{end}");
        }
        for wrong in [&b"*11\r\n"[..], b"*-1\r\n", b"*1\r\n+OK\r\n", b"*1\r\n*1\r\n"] {
            assert!(mget_reply(wrong).is_err(), "{}", wrong.escape_ascii());
        }
        assert_eq!(mget_reply(b"-ERR no\r\n"), Ok(Some((Reply::Failed(b"ERR no"), 9))));
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut output = Vec::new();
        get(&mut output, b"k");
        set(&mut output, b"key", 2, None, |output| output.extend(b"vv"));
        set(&mut output, b"key", 0, Some(1500), |_| {});
        delete(&mut output, b"k");
        auth(&mut output, "open sesame");
        let expected = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\
                        *3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$2\r\nvv\r\n\
                        *5\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n$2\r\nPX\r\n$4\r\n1500\r\n\
                        *2\r\n$3\r\nDEL\r\n$1\r\nk\r\n\
                        *2\r\n$4\r\nAUTH\r\n$11\r\nopen sesame\r\n";
        assert_eq!(output.escape_ascii().to_string(), expected.escape_default().to_string());
    }

    #[test]
    fn replies_are_whole_or_awaited() {
        let cases: [(&[u8], Reply); 7] = [
            (b"+OK\r\n", Reply::Done),
            (b"+QUEUED\r\n", Reply::Done),
            (b":12\r\n", Reply::Done),
            (b"$-1\r\n", Reply::Missing),
            (b"$0\r\n\r\n", Reply::Value(b"")),
            (b"$5\r\na\r\nb\n\r\n", Reply::Value(b"a\r\nb\n")),
            (b"-MOVED 7 h:1\r\n", Reply::Failed(b"MOVED 7 h:1")),
        ];
        for (bytes, expected) in cases {
            for length in 0..bytes.len() {
                assert_eq!(reply(&bytes[..length]), Ok(None), "{}", bytes[..length].escape_ascii());
            }
            let followed = [bytes, b"+OK"].concat();
            assert_eq!(reply(&followed), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"+OK\n"[..],
            b"\r\n",
            b"OK\r\n",
            b"$x\r\n",
            b"$\r\n",
            b"$-2\r\n",
            b"$+1\r\na\r\n",
            b"$1\r\nab\r\n",
            b"$99999999999999999999\r\n",
            b"*1\r\n",
        ] {
            assert!(reply(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(reply(&vec![b'-'; LINE_MAX_BYTES]).is_err());
    }

    #[test]
    fn slots_name_their_nodes() {
        let bytes = b"*2\r\n*3\r\n:0\r\n:99\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n\
                      *3\r\n:100\r\n:16383\r\n*2\r\n$-1\r\n:7001\r\n";
        for length in 0..bytes.len() {
            assert_eq!(cluster_slots(&bytes[..length]), Ok(None));
        }
        let ranges = [
            SlotRange { first: 0, last: 99, host: "127.0.0.1".to_owned(), port: 7000 },
            SlotRange { first: 100, last: 16383, host: String::new(), port: 7001 },
        ];
        assert_eq!(cluster_slots(bytes), Ok(Some(ranges.into())));
        assert!(cluster_slots(b"-ERR This instance has cluster support disabled\r\n").is_err());
        assert!(cluster_slots(b"*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\nh\r\n:1\r\n").is_err());
    }
}

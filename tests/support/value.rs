//! Replies, decoded.
//!
//! The decoder keeps what the `redis-protocol` crate drops (the order of maps and sets, the two nulls of RESP2, bytes
//! of errors that are no UTF-8), so it is our own; and the crate judges every frame that it decodes.

use redis_protocol::{resp2, resp3};
use std::fmt;

/// A reply of RESP2 or RESP3.
#[derive(Clone, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1` of RESP2, `_` of RESP3.
    Null,
    /// `*-1` of RESP2.
    NullArray,
    Array(Vec<Value>),
    /// In the order of the wire.
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Double(f64),
    Boolean(bool),
    BigNumber(Vec<u8>),
    /// The three letters of its format, and the text.
    Verbatim(Vec<u8>, Vec<u8>),
    Push(Vec<Value>),
}

impl Value {
    pub fn ok() -> Value {
        Value::simple("OK")
    }

    pub fn simple(text: impl AsRef<[u8]>) -> Value {
        Value::Simple(text.as_ref().to_vec())
    }

    pub fn error(text: impl AsRef<[u8]>) -> Value {
        Value::Error(text.as_ref().to_vec())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(bytes.as_ref().to_vec())
    }

    pub fn bulks<A: AsRef<[u8]>>(items: impl IntoIterator<Item = A>) -> Value {
        Value::Array(items.into_iter().map(Value::bulk).collect())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullArray)
    }

    /// The text of an error, as for `assert!(reply.error_text().starts_with("ERR"))`; panics when it is none.
    pub fn error_text(&self) -> String {
        match self {
            Value::Error(text) => String::from_utf8_lossy(text).into_owned(),
            other => panic!("expected an error, got {other:?}"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("expected an integer, got {other:?}"),
        }
    }

    /// The bytes of a bulk, simple or verbatim string; panics when it is none.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Value::Bulk(bytes) | Value::Simple(bytes) | Value::Verbatim(_, bytes) => bytes,
            other => panic!("expected a string, got {other:?}"),
        }
    }

    /// [`Value::bytes`] as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The elements of an array, set or push; panics when it is none.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => items,
            other => panic!("expected an array, got {other:?}"),
        }
    }

    /// The value beside `field` in a map, or in the flat array of a map that RESP2 has.
    pub fn field(&self, field: &str) -> Option<&Value> {
        let named = |key: &Value| matches!(key, Value::Bulk(name) | Value::Simple(name) if name == field.as_bytes());
        match self {
            Value::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value),
            Value::Array(items) => items.chunks_exact(2).find(|pair| named(&pair[0])).map(|pair| &pair[1]),
            other => panic!("expected a map, got {other:?}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(formatter, "+{}", text.escape_ascii()),
            Value::Error(text) => write!(formatter, "-{}", text.escape_ascii()),
            Value::Integer(number) => write!(formatter, ":{number}"),
            Value::Bulk(bytes) => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            Value::Null => write!(formatter, "null"),
            Value::NullArray => write!(formatter, "null array"),
            Value::Array(items) => formatter.debug_list().entries(items).finish(),
            Value::Map(pairs) => formatter.debug_map().entries(pairs.iter().map(|(key, value)| (key, value))).finish(),
            Value::Set(items) => formatter.debug_set().entries(items).finish(),
            Value::Double(number) => write!(formatter, ",{number}"),
            Value::Boolean(flag) => write!(formatter, "#{flag}"),
            Value::BigNumber(digits) => write!(formatter, "({}", digits.escape_ascii()),
            Value::Verbatim(format, text) => write!(formatter, "={}:{}", format.escape_ascii(), text.escape_ascii()),
            Value::Push(items) => write!(formatter, ">").and_then(|()| formatter.debug_list().entries(items).finish()),
        }
    }
}

/// The first reply in `bytes` and its length, `None` when it is not complete yet.
pub fn decode(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let mut reader = Reader { bytes, position: 0 };
    match reader.value(0) {
        Ok(value) => Ok(Some((value, reader.position))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Malformed(what)) => {
            Err(format!("{what} at byte {} of \"{}\"", reader.position, bytes[..bytes.len().min(200)].escape_ascii()))
        }
    }
}

enum Stop {
    Incomplete,
    Malformed(&'static str),
}

struct Reader<'bytes> {
    bytes: &'bytes [u8],
    position: usize,
}

impl Reader<'_> {
    /// No reply of Redis nests deeper than COMMAND DOCS does, by far.
    const DEPTH: usize = 32;

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > Reader::DEPTH {
            return Err(Stop::Malformed("a reply nested too deep"));
        }
        let start = self.position;
        let kind = *self.bytes.get(start).ok_or(Stop::Incomplete)?;
        self.position += 1;
        let line = self.line().inspect_err(|_| self.position = start)?;
        match kind {
            b'+' => Ok(Value::Simple(line)),
            b'-' => Ok(Value::Error(line)),
            b':' => number(&line).map(Value::Integer),
            b'(' => Ok(Value::BigNumber(line)),
            b',' => double(&line).map(Value::Double),
            b'#' => match line.as_slice() {
                b"t" => Ok(Value::Boolean(true)),
                b"f" => Ok(Value::Boolean(false)),
                _ => Err(Stop::Malformed("a boolean that is neither t nor f")),
            },
            b'_' if line.is_empty() => Ok(Value::Null),
            b'$' if line == b"-1" => Ok(Value::Null),
            b'*' if line == b"-1" => Ok(Value::NullArray),
            b'$' => self.blob(length(&line)?).map(Value::Bulk),
            b'!' => self.blob(length(&line)?).map(Value::Error),
            b'=' => {
                let blob = self.blob(length(&line)?)?;
                match blob.get(3) {
                    Some(b':') => Ok(Value::Verbatim(blob[..3].to_vec(), blob[4..].to_vec())),
                    _ => Err(Stop::Malformed("a verbatim string without its format")),
                }
            }
            b'*' => self.values(length(&line)?, depth).map(Value::Array),
            b'~' => self.values(length(&line)?, depth).map(Value::Set),
            b'>' => self.values(length(&line)?, depth).map(Value::Push),
            b'%' => {
                let pairs = length(&line)?;
                let mut map = Vec::new();
                for _ in 0..pairs {
                    map.push((self.value(depth + 1)?, self.value(depth + 1)?));
                }
                Ok(Value::Map(map))
            }
            _ => Err(Stop::Malformed("an unknown type of reply")),
        }
    }

    fn values(&mut self, count: usize, depth: usize) -> Result<Vec<Value>, Stop> {
        // Grows with what is there, not with what the count promises.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.position..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Stop::Incomplete)?;
        self.position += end + 2;
        Ok(rest[..end].to_vec())
    }

    fn blob(&mut self, length: usize) -> Result<Vec<u8>, Stop> {
        let rest = &self.bytes[self.position..];
        let end = length.checked_add(2).ok_or(Stop::Malformed("a length out of range"))?;
        let blob = rest.get(..end).ok_or(Stop::Incomplete)?;
        if !blob.ends_with(b"\r\n") {
            return Err(Stop::Malformed("a blob that does not end where its length says"));
        }
        self.position += end;
        Ok(blob[..length].to_vec())
    }
}

fn number(line: &[u8]) -> Result<i64, Stop> {
    let text = std::str::from_utf8(line).map_err(|_| Stop::Malformed("an integer that is no text"))?;
    text.parse().map_err(|_| Stop::Malformed("an integer that is none"))
}

fn double(line: &[u8]) -> Result<f64, Stop> {
    let text = std::str::from_utf8(line).map_err(|_| Stop::Malformed("a double that is no text"))?;
    text.parse().map_err(|_| Stop::Malformed("a double that is none"))
}

fn length(line: &[u8]) -> Result<usize, Stop> {
    usize::try_from(number(line)?).map_err(|_| Stop::Malformed("a negative length"))
}

/// What the `redis-protocol` crate makes of these bytes, where that is something else than `value`.
pub fn oracle_disagreement(bytes: &[u8], value: &Value) -> Option<String> {
    if is_beyond_oracle(value) {
        return None;
    }
    let (agrees, verdict) = if speaks_resp3(value, bytes) {
        match resp3::decode::complete::decode_range(bytes) {
            Ok(Some((frame, length))) => (length == bytes.len() && same_resp3(value, &frame, bytes), None),
            other => (false, Some(format!("{other:?}"))),
        }
    } else {
        match resp2::decode::decode_range(bytes) {
            Ok(Some((frame, length))) => (length == bytes.len() && same_resp2(value, &frame, bytes), None),
            other => (false, Some(format!("{other:?}"))),
        }
    };
    let verdict = verdict.unwrap_or_else(|| "another value".to_owned());
    (!agrees).then(|| format!("redis-protocol reads {verdict} where we read {value:?}"))
}

/// Whether there is a set of aggregates in it, such as COMMAND's key specifications: the crate keeps sets in hash
/// tables, and refuses them.
fn is_beyond_oracle(value: &Value) -> bool {
    let is_aggregate = |item: &Value| matches!(item, Value::Array(_) | Value::Set(_) | Value::Map(_) | Value::Push(_));
    match value {
        Value::Set(items) => items.iter().any(|item| is_aggregate(item) || is_beyond_oracle(item)),
        Value::Array(items) | Value::Push(items) => items.iter().any(is_beyond_oracle),
        Value::Map(pairs) => pairs.iter().any(|(key, value)| is_beyond_oracle(key) || is_beyond_oracle(value)),
        _ => false,
    }
}

/// Whether anything in it is of a type that RESP2 lacks.
fn speaks_resp3(value: &Value, bytes: &[u8]) -> bool {
    match value {
        Value::Null => bytes.windows(3).any(|piece| piece == b"_\r\n"),
        Value::Array(items) => items.iter().any(|item| speaks_resp3(item, bytes)),
        Value::Error(_) => bytes.starts_with(b"!"),
        Value::Simple(_) | Value::Integer(_) | Value::Bulk(_) | Value::NullArray => false,
        _ => true,
    }
}

fn same_resp2(value: &Value, frame: &resp2::types::RangeFrame, bytes: &[u8]) -> bool {
    use resp2::types::RangeFrame;
    match (value, frame) {
        (Value::Simple(text), RangeFrame::SimpleString(range))
        | (Value::Error(text), RangeFrame::Error(range))
        | (Value::Bulk(text), RangeFrame::BulkString(range)) => text == &bytes[range.0..range.1],
        (Value::Integer(number), RangeFrame::Integer(other)) => number == other,
        (Value::Null | Value::NullArray, RangeFrame::Null) => true,
        (Value::Array(items), RangeFrame::Array(frames)) => {
            items.len() == frames.len() && items.iter().zip(frames).all(|(item, frame)| same_resp2(item, frame, bytes))
        }
        _ => false,
    }
}

fn same_resp3(value: &Value, frame: &resp3::types::RangeFrame, bytes: &[u8]) -> bool {
    use resp3::types::RangeFrame;
    let all_same = |items: &[Value], frames: &[RangeFrame]| {
        items.len() == frames.len() && items.iter().zip(frames).all(|(item, frame)| same_resp3(item, frame, bytes))
    };
    match (value, frame) {
        (Value::Simple(text), RangeFrame::SimpleString { data, .. })
        | (Value::Error(text), RangeFrame::SimpleError { data, .. } | RangeFrame::BlobError { data, .. })
        | (Value::Bulk(text), RangeFrame::BlobString { data, .. })
        | (Value::Verbatim(_, text), RangeFrame::VerbatimString { data, .. })
        | (Value::BigNumber(text), RangeFrame::BigNumber { data, .. }) => text == &bytes[data.0..data.1],
        (Value::Integer(number), RangeFrame::Number { data, .. }) => number == data,
        (Value::Double(number), RangeFrame::Double { data, .. }) => {
            number == data || (number.is_nan() && data.is_nan())
        }
        (Value::Boolean(flag), RangeFrame::Boolean { data, .. }) => flag == data,
        (Value::Null, RangeFrame::Null) => true,
        (Value::Array(items), RangeFrame::Array { data, .. }) | (Value::Push(items), RangeFrame::Push { data, .. }) => {
            all_same(items, data)
        }
        (Value::Set(items), RangeFrame::Set { data, .. }) => {
            items.len() == data.len()
                && items.iter().all(|item| data.iter().any(|frame| same_resp3(item, frame, bytes)))
        }
        (Value::Map(pairs), RangeFrame::Map { data, .. }) => {
            pairs.len() == data.len()
                && pairs.iter().all(|(key, value)| {
                    data.iter()
                        .any(|(other_key, other)| same_resp3(key, other_key, bytes) && same_resp3(value, other, bytes))
                })
        }
        _ => false,
    }
}

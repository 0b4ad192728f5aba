//! Requests that a file lists.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::wire::Kind;

/// A file of requests, in memory. Each line is one:
///
/// ```text
/// KEY                 what the run does by itself (`-t`)
/// OP,KEY              get, set or del, in either case
/// OP,KEY,BYTES        a value of that size
/// ```
///
/// A line counts as a bare key unless it begins with an operation and a comma; only a bare key can hold commas. Empty
/// lines are passed over.
#[derive(Debug)]
pub struct Trace {
    text: Vec<u8>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    kind: Option<Kind>,
    key: Range<usize>,
    bytes: Option<usize>,
}

impl Trace {
    /// # Errors
    /// Those of reading; `InvalidData`, with the line's number, for a line that cannot be meant and for a file without
    /// lines.
    pub fn read(path: &Path) -> io::Result<Trace> {
        Trace::parse(fs::read(path)?)
    }

    fn parse(text: Vec<u8>) -> io::Result<Trace> {
        let (mut lines, mut start) = (Vec::new(), 0);
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let place = start;
            start += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            lines.push(parse_line(line, place).map_err(|reason| invalid(format!("line {}: {reason}", number + 1)))?);
        }
        if lines.is_empty() { Err(invalid("no requests".to_owned())) } else { Ok(Trace { text, lines }) }
    }

    /// How many lines there are; at least one.
    pub fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The operation, where the line has one.
    pub fn kind(&self, line: u64) -> Option<Kind> {
        self.lines[line as usize].kind
    }

    /// The size of the value, where the line has one.
    pub fn bytes(&self, line: u64) -> Option<usize> {
        self.lines[line as usize].bytes
    }

    /// The key of a line.
    pub fn key(&self, line: u64) -> &[u8] {
        &self.text[self.lines[line as usize].key.clone()]
    }
}

fn parse_line(line: &[u8], place: usize) -> Result<Line, String> {
    let mut fields = line.split(|byte| *byte == b',');
    let first = fields.next().unwrap_or_default().to_ascii_lowercase();
    let kind = match &first[..] {
        b"get" => Kind::Get,
        b"set" => Kind::Set,
        b"del" => Kind::Delete,
        _ => return Ok(Line { kind: None, key: place..place + line.len(), bytes: None }),
    };
    let Some(key) = fields.next() else {
        return Ok(Line { kind: None, key: place..place + line.len(), bytes: None });
    };
    if key.is_empty() {
        return Err("no key".to_owned());
    }
    let bytes = match fields.next() {
        None => None,
        Some(text) => Some(
            str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| format!("\"{}\" is no size", text.escape_ascii()))?,
        ),
    };
    if fields.next().is_some() {
        return Err("more than three fields".to_owned());
    }
    let start = place + first.len() + 1;
    Ok(Line { kind: Some(kind), key: start..start + key.len(), bytes })
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keys_or_requests() {
        let trace = Trace::parse(b"plain\r\n\nGET,a\nset,bb,100\ndel,c\nget\na,b,c".to_vec()).unwrap();
        let lines: Vec<_> = (0..trace.len()).map(|n| (trace.kind(n), trace.key(n), trace.bytes(n))).collect();
        let expected: [(Option<Kind>, &[u8], Option<usize>); 6] = [
            (None, b"plain", None),
            (Some(Kind::Get), b"a", None),
            (Some(Kind::Set), b"bb", Some(100)),
            (Some(Kind::Delete), b"c", None),
            (None, b"get", None),
            (None, b"a,b,c", None),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        for text in ["ok\nget,", "ok\nset,a,x", "ok\nset,a,-1", "ok\nset,a,1,2", "ok\nset,a,"] {
            let error = Trace::parse(text.into()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: "), "{text:?}: {error}");
        }
        assert!(Trace::parse(b"\n\r\n".to_vec()).is_err());
    }
}

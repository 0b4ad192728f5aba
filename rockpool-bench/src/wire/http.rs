//! HTTP/1.1: `/cache/{key}` on a connection that is kept, and pipelined as the server allows.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::number::{append_decimal, length};
use super::reply::{Kind, Malformed, Reply};

const BODY_MAX_BYTES: usize = 512 * 1024 * 1024;
const HEAD_MAX_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 32;
/// All but what every server leaves as it is in a segment of a path (RFC 3986, `unreserved`, and two of `pchar`).
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// The header fields that all requests have, with the line breaks around them.
#[derive(Clone, Debug)]
pub struct Fields {
    common: Vec<u8>,
}

impl Fields {
    /// Fields with the host, and with a bearer token where there is a password.
    pub fn new(host: &str, password: Option<&str>) -> Fields {
        let mut common = format!(" HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(password) = password {
            common.push_str(&format!("Authorization: Bearer {password}\r\n"));
        }
        Fields { common: common.into_bytes() }
    }
}

/// Appends a request for the value of `key`.
pub fn get(output: &mut Vec<u8>, fields: &Fields, key: &[u8]) {
    target(output, b"GET /cache/", key);
    output.extend_from_slice(&fields.common);
    output.extend_from_slice(b"\r\n");
}

/// Appends a request to delete `key`.
pub fn delete(output: &mut Vec<u8>, fields: &Fields, key: &[u8]) {
    target(output, b"DELETE /cache/", key);
    output.extend_from_slice(&fields.common);
    output.extend_from_slice(b"\r\n");
}

/// Appends a request to set `key` to the `bytes` bytes that `append` appends.
pub fn set(
    output: &mut Vec<u8>,
    fields: &Fields,
    key: &[u8],
    bytes: usize,
    ttl_ms: Option<u64>,
    append: impl FnOnce(&mut Vec<u8>),
) {
    target(output, b"PUT /cache/", key);
    if let Some(ttl_ms) = ttl_ms {
        output.extend_from_slice(b"?ttl_ms=");
        append_decimal(output, ttl_ms);
    }
    output.extend_from_slice(&fields.common);
    output.extend_from_slice(b"Content-Length: ");
    append_decimal(output, bytes);
    output.extend_from_slice(b"\r\n\r\n");
    append(output);
}

fn target(output: &mut Vec<u8>, start: &[u8], key: &[u8]) {
    output.extend_from_slice(start);
    for piece in percent_encode(key, ENCODED) {
        output.extend_from_slice(piece.as_bytes());
    }
}

/// The reply that `input` begins with, and its length; none while it is incomplete.
///
/// # Errors
/// [`Malformed`]: the connection is of no use afterwards.
pub fn reply(kind: Kind, input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() < HEAD_MAX_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::at(input)),
    };
    let status = response.code.unwrap_or_default();
    let mut bytes = (status == 204 || status == 304).then_some(0);
    for header in response.headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            bytes = Some(length(header.value, BODY_MAX_BYTES).ok_or_else(|| Malformed::at(header.value))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Malformed("a transfer encoding, where Content-Length is needed".to_owned()));
        }
    }
    let bytes = bytes.ok_or_else(|| Malformed("a response without Content-Length".to_owned()))?;
    let Some(body) = input.get(head..head + bytes) else { return Ok(None) };
    let reply = match (kind, status) {
        (Kind::Get, 200) => Reply::Value(body),
        (Kind::Get, 404) => Reply::Missing,
        (Kind::Set | Kind::Delete, 200..300) => Reply::Done,
        // The status says enough where the body does not.
        _ if body.is_empty() => Reply::Failed(input[..head].split(|byte| *byte == b'\r').next().unwrap_or_default()),
        _ => Reply::Failed(body),
    };
    Ok(Some((reply, head + bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_complete() {
        let mut output = Vec::new();
        let fields = Fields::new("h:1", Some("secret"));
        get(&mut output, &fields, b"a/b c%\xff?");
        set(&mut output, &fields, b"k", 2, Some(1500), |output| output.extend(b"vv"));
        delete(&mut output, &Fields::new("h", None), b"key:1");
        let common = "HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer secret\r\n";
        let expected = format!(
            "GET /cache/a%2Fb%20c%25%FF%3F {common}\r\n\
             PUT /cache/k?ttl_ms=1500 {common}Content-Length: 2\r\n\r\nvv\
             DELETE /cache/key:1 HTTP/1.1\r\nHost: h\r\n\r\n"
        );
        assert_eq!(output.escape_ascii().to_string(), expected.escape_default().to_string());
    }

    #[test]
    fn replies_are_whole_or_awaited() {
        let cases: [(Kind, &[u8], Reply); 6] = [
            (Kind::Get, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Reply::Value(b"abc")),
            (Kind::Get, b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", Reply::Missing),
            (Kind::Set, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Reply::Done),
            (Kind::Delete, b"HTTP/1.1 204 No Content\r\n\r\n", Reply::Done),
            (Kind::Set, b"HTTP/1.1 507 Full\r\ncontent-length: 6\r\n\r\nno mem", Reply::Failed(b"no mem")),
            (Kind::Get, b"HTTP/1.1 401 Who?\r\ncontent-length: 0\r\n\r\n", Reply::Failed(b"HTTP/1.1 401 Who?")),
        ];
        for (kind, bytes, expected) in cases {
            for length in 0..bytes.len() {
                assert_eq!(reply(kind, &bytes[..length]), Ok(None), "{}", bytes[..length].escape_ascii());
            }
            let followed = [bytes, b"HTTP"].concat();
            assert_eq!(reply(kind, &followed), Ok(Some((expected, bytes.len()))));
        }
    }

    #[test]
    fn what_cannot_be_delimited_is_refused() {
        for bytes in [
            &b"SSH-2.0\r\n"[..],
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(reply(Kind::Get, bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}

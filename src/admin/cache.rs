//! `/cache/{key}`: the cache, one value a request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Extension, State as Shared};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use percent_encoding::percent_decode;
use tokio::time::{Instant, timeout_at};

use super::exchange::{Exchange, Served};
use super::failure::Failure;
use crate::base::chunks::{BytesRef, Chunks, LARGE_BYTES};
use crate::command::commit::Commit;
use crate::command::executor::Batch;
use crate::command::flow::Flow;
use crate::command::session::Session;
use crate::command::state::State;
use crate::command::wait::Wait;
use crate::protocol::Args;
use crate::reply::{Error, Tree};

/// The beginning of a key's path.
pub const PREFIX: &str = "/cache/";

/// PUT's parameters, and the options of SET that they stand for.
const LIFETIMES: [(&str, &[u8]); 2] = [("ttl", b"EX"), ("ttl_ms", b"PX")];
/// An option of SET and its amount.
type Expiry = (&'static [u8], Vec<u8>);
/// How long a client may take to send a body: so much at first, and more for each so many bytes that came.
const BODY_PATIENCE: Duration = Duration::from_secs(20);
const BODY_BYTES_A_SECOND: f64 = 16.0 * 1024.0;

/// Answers a key's value, or 404.
pub async fn get(
    Shared(state): Shared<Arc<State>>,
    Extension(exchange): Extension<Arc<Exchange>>,
    uri: Uri,
) -> Result<Response, Failure> {
    let key = key(&uri)?;
    without_parameters(&uri)?;
    let body = match execute(&state, &exchange, &[&b"GET"[..], &key].map(BytesRef::Slice)).await? {
        Tree::Bulk(value) => Body::from(value),
        Tree::Chunks(chunks) => Body::new(ChunksBody { chunks, sent_bytes: 0 }),
        // With no body, since a client that looks at the status alone would leave it unread.
        _ => return Ok(StatusCode::NOT_FOUND.into_response()),
    };
    let limit_bytes = state.settings.client_output_buffer_limit.normal.get().hard_bytes;
    if limit_bytes > 0 && body.size_hint().lower() > limit_bytes {
        let text = format!("the value has more than the {limit_bytes} bytes of client-output-buffer-limit");
        return Err(Failure::new(StatusCode::INSUFFICIENT_STORAGE, text));
    }
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

/// Stores the body as a key's value, for as long as the query says.
pub async fn put(
    Shared(state): Shared<Arc<State>>,
    Extension(exchange): Extension<Arc<Exchange>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Failure> {
    let key = key(&uri)?;
    let expiry = expiry(&uri)?;
    let value = read(body, &headers, &state, &exchange).await?;
    let [set, key] = [&b"SET"[..], &key].map(BytesRef::Slice);
    // A short one in a row, as it is kept.
    let row = (value.len() < LARGE_BYTES).then(|| BytesRef::Chunks(&value).to_vec());
    let value = row.as_deref().map_or(BytesRef::Chunks(&value), BytesRef::Slice);
    match &expiry {
        Some((unit, amount)) => {
            let [unit, amount] = [*unit, &amount[..]].map(BytesRef::Slice);
            execute(&state, &exchange, &[set, key, value, unit, amount]).await?
        }
        None => execute(&state, &exchange, &[set, key, value]).await?,
    };
    Ok(StatusCode::OK)
}

/// Deletes a key.
pub async fn delete(
    Shared(state): Shared<Arc<State>>,
    Extension(exchange): Extension<Arc<Exchange>>,
    uri: Uri,
) -> Result<StatusCode, Failure> {
    let key = key(&uri)?;
    without_parameters(&uri)?;
    execute(&state, &exchange, &[&b"DEL"[..], &key].map(BytesRef::Slice)).await?;
    Ok(StatusCode::OK)
}

/// Executes a command, again where it has to wait first, and returns once what it changed is in the journal.
async fn execute(state: &State, exchange: &Exchange, args: &[BytesRef<'_>]) -> Result<Tree, Failure> {
    let _served = Served::new(&exchange.client);
    let mut session = Session::new(exchange.client.clone());
    let (reply, commit) = loop {
        let (reply, flow, commit) = try_execute(state, &mut session, args);
        match flow {
            Flow::Wait(cause) if cause.runs_again() => {
                Wait::new(cause, state, &mut session).over(state, &mut session).await;
            }
            _ => break (reply, commit),
        }
    };
    let tier = state.keyspace.tier();
    if commit.is_any() {
        // Others that are being served append meanwhile: one write, or sync, serves all of them.
        tokio::task::yield_now().await;
        poll_fn(|context| commit.poll(tier, context)).await;
    }
    match (commit.failure(tier), reply) {
        (Some(error), _) | (None, Tree::Error(error)) => Err(error.into()),
        (None, reply) => Ok(reply),
    }
}

fn try_execute(state: &State, session: &mut Session, args: &[BytesRef<'_>]) -> (Tree, Flow, Commit) {
    let mut batch = Batch::new(state);
    let mut flow = Flow::Continue;
    let reply = Tree::record(|sink| flow = batch.execute(session, Args::from_values(args), sink));
    (reply, flow, batch.take_commit())
}

/// The key that a path names.
fn key(uri: &Uri) -> Result<Vec<u8>, Failure> {
    let encoded = uri.path().strip_prefix(PREFIX).unwrap_or_default().as_bytes();
    if encoded.is_empty() {
        return Err(Failure::bad_request("the key is empty"));
    }
    let is_escape =
        |place: usize| encoded.get(place + 1..place + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if memchr::memchr_iter(b'%', encoded).any(|place| !is_escape(place)) {
        return Err(Failure::bad_request("a '%' in the key is not followed by two hexadecimal digits"));
    }
    Ok(percent_decode(encoded).collect())
}

fn without_parameters(uri: &Uri) -> Result<(), Failure> {
    match uri.query().unwrap_or_default() {
        "" => Ok(()),
        _ => Err(Failure::bad_request("parameters are known to PUT alone: ttl, ttl_ms")),
    }
}

/// SET's option and its amount that the parameters ask for.
fn expiry(uri: &Uri) -> Result<Option<Expiry>, Failure> {
    let mut expiry = None;
    for parameter in uri.query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, amount) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some((_, unit)) = LIFETIMES.iter().find(|(known, _)| *known == name) else {
            return Err(Failure::bad_request("unknown parameter; known are ttl (seconds) and ttl_ms"));
        };
        if expiry.is_some() {
            return Err(Failure::bad_request("more than one of ttl and ttl_ms"));
        }
        let is_number = amount.bytes().all(|byte| byte.is_ascii_digit());
        match amount.parse::<i64>() {
            Ok(number) if is_number && number > 0 => expiry = Some((*unit, number.to_string().into_bytes())),
            _ => return Err(Failure::bad_request(format!("{name} must be a whole number above 0"))),
        }
    }
    Ok(expiry)
}

/// Reads a body. Memory follows what has come, not what was announced.
async fn read(mut body: Body, headers: &HeaderMap, state: &State, exchange: &Exchange) -> Result<Chunks, Failure> {
    let limit_bytes = state.settings.proto_max_bulk_len.get().min(state.settings.client_query_buffer_limit.get());
    let too_long =
        || Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a value may have {limit_bytes} bytes at most"));
    let check_fits = |bytes: usize, present_bytes: usize| match state.keyspace.can_hold(bytes, present_bytes) {
        true => Ok(()),
        false => Err(Failure::from(Error::OUT_OF_MEMORY)),
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit_bytes) {
        return Err(too_long());
    }
    check_fits(announced.unwrap_or_default() as usize, 0)?;
    let begun = Instant::now();
    let mut value = Chunks::default();
    loop {
        let patience = BODY_PATIENCE + Duration::from_secs_f64(value.len() as f64 / BODY_BYTES_A_SECOND);
        let frame = match timeout_at(begun + patience, body.frame()).await {
            Ok(None) => return Ok(value),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(Failure::bad_request("the body is malformed or was cut off")),
            Err(_) => return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        };
        if let Ok(data) = frame.into_data() {
            if value.len() as u64 + data.len() as u64 > limit_bytes {
                return Err(too_long());
            }
            value.append(BytesRef::Slice(&data));
            exchange.keeps(value.len(), value.memory_bytes());
            check_fits(value.len(), value.len())?;
        }
    }
}

/// Sends chunks, one a frame, by reference.
struct ChunksBody {
    chunks: Chunks,
    sent_bytes: usize,
}

/// Of one chunk.
struct Part(Chunks);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        BytesRef::Chunks(&self.0).beginning()
    }
}

impl hyper::body::Body for ChunksBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let begin = self.sent_bytes;
        let Some(bytes) = self.chunks.parts_from(begin).next().map(<[u8]>::len) else { return Poll::Ready(None) };
        self.sent_bytes += bytes;
        let part = Part(self.chunks.part(begin..begin + bytes));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(part)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.chunks.len() - self.sent_bytes) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_any_bytes_but_none() {
        let key = |path: &str| key(&path.parse().unwrap()).ok();
        assert_eq!(key("/cache/a/b//c%2f"), Some(b"a/b//c/".to_vec()));
        assert_eq!(key("/cache/%00%fF%25+%3f?ttl=1"), Some(b"\x00\xff%+?".to_vec()));
        for bad in ["/cache/", "/cache/%", "/cache/a%1", "/cache/%g0", "/cache/%%41"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }

    #[test]
    fn one_positive_lifetime() {
        let expiry = |query: &str| expiry(&format!("/cache/k?{query}").parse().unwrap()).ok();
        assert_eq!(expiry(""), Some(None));
        assert_eq!(expiry("ttl=30&"), Some(Some((&b"EX"[..], b"30".to_vec()))));
        assert_eq!(expiry("ttl_ms=0500"), Some(Some((&b"PX"[..], b"500".to_vec()))));
        for bad in [
            "ttl",
            "ttl=",
            "ttl=0",
            "ttl=-1",
            "ttl=+1",
            "ttl=1.5",
            "ttl=1&ttl_ms=1",
            "TTL=1",
            "ttl=9999999999999999999",
        ] {
            assert_eq!(expiry(bad), None, "{bad}");
        }
    }
}

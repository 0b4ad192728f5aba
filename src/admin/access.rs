//! Who may come in.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{Extension, Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::exchange::Exchange;
use super::failure::Failure;
use super::origin;
use crate::command::access::PROTECTED;
use crate::command::state::State;
use crate::reply::Error;

/// The path that needs no password, for probes.
pub const HEALTH: &str = "/healthz";

const EXTRA: &str = "too many connections, and all of them are being served";
const FOREIGN: &str = "the request comes from a page of another site";

/// Lets a request pass, or answers it.
pub async fn admit(
    Shared(state): Shared<Arc<State>>,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
    next: Next,
) -> Response {
    let asks_health = request.uri().path() == HEALTH;
    if exchange.is_extra && !asks_health {
        let headers = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
        return (headers, Failure::new(StatusCode::SERVICE_UNAVAILABLE, EXTRA)).into_response();
    }
    if origin::is_foreign(request.headers()) && !(asks_health && request.method().is_safe()) {
        return Failure::new(StatusCode::FORBIDDEN, FOREIGN).into_response();
    }
    let client = &exchange.client;
    if state.is_protected_from(&client.peer) {
        return Failure::new(StatusCode::FORBIDDEN, PROTECTED.to_string()).into_response();
    }
    if !state.has_password() {
        if let Some(host) = origin::unknown_host(&request, &state.settings) {
            let text = format!("'{host}' is no name of this server: ask for an address, or add it to 'http-hosts'");
            return Failure::new(StatusCode::MISDIRECTED_REQUEST, text).into_response();
        }
    } else if !password(request.headers()).is_some_and(|password| state.authenticate(client, &password)) && !asks_health
    {
        if request.headers().contains_key(header::AUTHORIZATION) {
            tokio::time::sleep(state.note_wrong_password(client)).await;
        }
        let failure = Failure::new(StatusCode::UNAUTHORIZED, Error::NO_AUTH.to_string());
        return ([(header::WWW_AUTHENTICATE, "Basic realm=\"rockpool\"")], failure).into_response();
    }
    next.run(request).await
}

/// Has browsers take every reply for what it says it is, and give it to no page of another site.
pub async fn shield(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

/// The password that a request brings.
fn password(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let authorization = headers.get(header::AUTHORIZATION)?;
    let mut words = authorization.as_bytes().splitn(2, |byte| *byte == b' ');
    let (scheme, credentials) = (words.next()?, words.next()?);
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(Cow::Borrowed(credentials));
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let mut decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Cow::Owned(decoded.split_off(colon + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_carry_the_password() {
        let knows = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            password(&headers).as_deref() == Some(b"open: sesame")
        };
        let basic = |text: &str| format!("basic {}", BASE64_STANDARD.encode(text));
        assert!(
            knows("Bearer open: sesame") && knows(&basic("default:open: sesame")) && knows(&basic(":open: sesame"))
        );
        for value in ["", "Bearer", "Bearer ", "Bearer open: sesam", "Bearer open: sesame!", "Basic ?", "Digest x"] {
            assert!(!knows(value), "{value}");
        }
        assert!(!knows(&basic("open: sesame")) && !knows(&basic("default:")));
        assert_eq!(password(&HeaderMap::new()), None);
    }
}

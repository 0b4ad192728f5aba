//! Who may come in.

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
use super::routes::HEALTH;
use crate::command::state::State;

const PROTECTED: &str = "DENIED protected mode is on and no password is set: only the loopback interface is served; \
                         set 'requirepass', or 'protected-mode no' where only trusted clients can reach the server";

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
    let password = state.settings.requirepass.get();
    if password.is_empty() {
        if state.settings.protected_mode.get() && !exchange.client.peer.is_local {
            return Failure::new(StatusCode::FORBIDDEN, PROTECTED).into_response();
        }
        if let Some(host) = origin::unknown_host(&request, &state.settings) {
            let text = format!("'{host}' is no name of this server: ask for an address, or add it to 'http-hosts'");
            return Failure::new(StatusCode::MISDIRECTED_REQUEST, text).into_response();
        }
    } else if knows(request.headers(), password.as_bytes()) {
        exchange.client.set_authenticated(true);
    } else if !asks_health {
        if request.headers().contains_key(header::AUTHORIZATION) {
            tokio::time::sleep(state.note_wrong_password(&exchange.client)).await;
        }
        let failure = Failure::new(StatusCode::UNAUTHORIZED, "NOAUTH Authentication required.");
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

/// Whether the request brings the password.
fn knows(headers: &HeaderMap, password: &[u8]) -> bool {
    let Some(authorization) = headers.get(header::AUTHORIZATION) else { return false };
    let mut words = authorization.as_bytes().splitn(2, |byte| *byte == b' ');
    let (Some(scheme), Some(credentials)) = (words.next(), words.next()) else { return false };
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return equal(credentials, password);
    }
    if scheme.eq_ignore_ascii_case(b"Basic")
        && let Ok(decoded) = BASE64_STANDARD.decode(credentials)
        && let Some(colon) = decoded.iter().position(|byte| *byte == b':')
    {
        return equal(&decoded[colon + 1..], password);
    }
    false
}

/// Takes as long whether the first byte differs or the last.
fn equal(given: &[u8], password: &[u8]) -> bool {
    let differences =
        (0..given.len()).fold(0, |sum, index| sum | (given[index] ^ password[index % password.len().max(1)]));
    given.len() == password.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_carry_the_password() {
        let knows = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            knows(&headers, b"open: sesame")
        };
        let basic = |text: &str| format!("basic {}", BASE64_STANDARD.encode(text));
        assert!(
            knows("Bearer open: sesame") && knows(&basic("default:open: sesame")) && knows(&basic(":open: sesame"))
        );
        for value in ["", "Bearer", "Bearer ", "Bearer open: sesam", "Bearer open: sesame!", "Basic ?", "Digest x"] {
            assert!(!knows(value), "{value}");
        }
        assert!(!knows(&basic("open: sesame")) && !knows(&basic("default:")));
        assert!(!super::knows(&HeaderMap::new(), b"open: sesame"));
    }
}

use std::sync::Arc;

use axum::http::StatusCode;
use axum::middleware;
use axum::routing::{Router, get, post};

use super::access::{self, HEALTH};
use super::failure::Failure;
use super::{cache, exchange, metrics, status};
use crate::command::state::State;

/// All calls. Each connection adds its client.
pub fn router(state: Arc<State>) -> Router {
    let cache = get(cache::get).put(cache::put).delete(cache::delete);
    Router::new()
        .route("/", get(index))
        .route(cache::PREFIX, cache.clone())
        .route(&format!("{}{{*key}}", cache::PREFIX), cache)
        .route("/status", get(status::status))
        .route("/cluster", get(status::cluster))
        .route("/rebalance", post(status::rebalance))
        .route("/metrics", get(metrics::metrics))
        .route(HEALTH, get(status::health))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), access::admit))
        .layer(middleware::from_fn(access::shield))
        .layer(middleware::from_fn(exchange::follow))
        .with_state(state)
}

/// What a person reads who opens the port in a browser.
const INDEX: &str = "\
Rockpool serves its cache here, by REST:

  GET, PUT, DELETE  /cache/KEY   a value: the body; ?ttl=SECONDS or ?ttl_ms=MILLISECONDS with PUT
  GET               /status      sizes and counters, as JSON
  GET               /metrics     the same and more, for Prometheus
  GET               /healthz     200 while the node serves
  GET               /cluster     the members' addresses, as JSON
  POST              /rebalance   200

Redis clients have a port of their own, 6379 by default.
";

async fn index() -> &'static str {
    INDEX
}

async fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "no such path")
}

async fn method_not_allowed() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "the path does not know this method")
}

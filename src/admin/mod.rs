//! HTTP: the cache by REST, the node's state for people, probes and Prometheus.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | these paths, as text |
//! | `PUT /cache/{key}` | stores the body as a string; `?ttl=SECONDS` or `?ttl_ms=MILLISECONDS`; 200 |
//! | `GET /cache/{key}` | 200 and the bytes; 404, with no body, where there is none |
//! | `DELETE /cache/{key}` | 200, whether the key existed or not |
//! | `GET /status` | sizes and counters as JSON |
//! | `GET /cluster` | the members' addresses as a JSON list |
//! | `POST /rebalance` | 200 |
//! | `GET /metrics` | OpenMetrics text, which Prometheus reads |
//! | `GET /healthz` | 200 while the node serves; needs no password |
//!
//! The key is the rest of the path, slashes included, percent-decoded once: any bytes, but at least one. The calls act
//! on database 0. Errors are JSON, `{"error": "…"}`.
//!
//! Where `requirepass` is set, each call but `/healthz` needs it: `Authorization: Bearer PASSWORD`, or Basic with any
//! user name. Without a password, protected mode refuses who does not come over the loopback interface, and pages of other
//! sites are kept out by the name that they call the server by ([`access`]).

#![deny(missing_docs)]

mod access;
mod cache;
mod exchange;
mod failure;
mod metrics;
mod origin;
mod routes;
mod server;
mod socket;
mod status;

pub use server::HttpServer;

//! What the integration tests share: the server under test, a reference redis-server, and clients.
//!
//! Nothing here imports the crate: the tests look at the server from outside, as its users do.

// Every test binary compiles this module and uses its own part of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod client;
mod http;
pub mod older;
mod process;
mod value;

pub use client::{Client, encode};
pub use http::Http;
pub use process::{Engine, Redis, Server, ServerOptions};
pub use value::{Value, decode, oracle_disagreement};

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen soon before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `condition` until it holds or `deadline` has passed; tells whether it came to hold.
#[must_use]
pub fn eventually(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_micros(200);
    loop {
        if condition() {
            return true;
        }
        let now = Instant::now();
        if now >= end {
            return false;
        }
        std::thread::sleep(pause.min(end - now));
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Defines a test that runs its body once with a fresh server on every engine.
///
/// `on_every_engine!(set_then_get, |server| { ... });` or, with flags,
/// `on_every_engine!(evicts, ["--maxmemory", "1mb"], |server| { ... });`
macro_rules! on_every_engine {
    (memory only, $name:ident, $flags:tt, |$server:ident| $body:block) => {
        on_every_engine!(@ &[$crate::support::Engine::Memory], $name, $flags, |$server| $body);
    };
    ($name:ident, |$server:ident| $body:block) => {
        on_every_engine!($name, [], |$server| $body);
    };
    ($name:ident, $flags:tt, |$server:ident| $body:block) => {
        on_every_engine!(@ $crate::support::Engine::all(), $name, $flags, |$server| $body);
    };
    (@ $engines:expr, $name:ident, [$($flag:expr),* $(,)?], |$server:ident| $body:block) => {
        #[test]
        fn $name() {
            for &engine in $engines {
                let options = $crate::support::Server::options(engine)$(.flag($flag))*;
                #[allow(unused_mut)]
                let mut $server = options.start();
                $body
            }
        }
    };
}
pub(crate) use on_every_engine;

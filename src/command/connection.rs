//! The connection itself: PING, ECHO, SELECT, QUIT (<https://redis.io/docs/latest/commands/?group=connection>), and
//! HTTP sent to the wrong port.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::{Flow, Stop};
use crate::command::spec::Spec;
use crate::reply::Error;

const ANYTIME: Flags = Flags::LOADING.or(Flags::STALE).or(Flags::FAST);

pub const COMMANDS: &[Spec] = &[
    Spec::new("ping", -1, ping)
        .flags(Flags::FAST)
        .categories(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("connection", "1.0.0", "O(1)", "Answers PONG, or the argument"),
    Spec::new("echo", 2, echo).flags(ANYTIME).categories(Categories::CONNECTION).doc(
        "connection",
        "1.0.0",
        "O(1)",
        "Answers its argument",
    ),
    Spec::new("select", 2, select).flags(ANYTIME).categories(Categories::CONNECTION).doc(
        "connection",
        "1.0.0",
        "O(1)",
        "Changes the connection's database",
    ),
    Spec::new("quit", -1, quit)
        .flags(ANYTIME.or(Flags::NO_SCRIPT).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY))
        .categories(Categories::CONNECTION)
        .doc("connection", "1.0.0", "O(1)", "Closes the connection"),
    Spec::new("post", -1, http).flags(HTTP),
    Spec::new("host:", -1, http).flags(HTTP),
];

const HTTP: Flags = Flags::HTTP.or(Flags::NO_AUTH).or(Flags::IGNORES_PAUSE).or(SILENT);
const SILENT: Flags = Flags::SKIP_MONITOR.or(Flags::SKIP_SLOWLOG);
/// The least time between two log lines about HTTP, in milliseconds.
const HTTP_LOG_INTERVAL_MS: u64 = 60_000;

fn ping(context: &mut Context<'_>) -> Result<(), Stop> {
    match context.args.len() {
        1 => context.reply.simple("PONG"),
        2 => context.reply.bulk(context.args.at(1)),
        _ => return Err(Error::new("ERR wrong number of arguments for 'ping' command").into()),
    }
    Ok(())
}

fn echo(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.bulk(context.args.at(1));
    Ok(())
}

fn select(context: &mut Context<'_>) -> Result<(), Stop> {
    let database = context.database_number(1)?;
    context.session.client.select(database);
    context.reply.ok();
    Ok(())
}

fn quit(context: &mut Context<'_>) -> Result<(), Stop> {
    context.session.after = Flow::Close;
    context.reply.ok();
    Ok(())
}

/// A web page can make a browser send commands in the body of a request to any address; the request's own lines reveal it.
fn http(context: &mut Context<'_>) -> Result<(), Stop> {
    static LOGGED_MS: AtomicU64 = AtomicU64::new(0);
    let logged_ms = LOGGED_MS.load(Ordering::Relaxed);
    if context.now_ms.abs_diff(logged_ms) > HTTP_LOG_INTERVAL_MS {
        LOGGED_MS.store(context.now_ms, Ordering::Relaxed);
        tracing::warn!(
            address = context.session.client.peer.address,
            "possible attack: an HTTP request (POST or Host:) was sent to the RESP port; connection closed"
        );
    }
    context.session.after = Flow::Close;
    Ok(())
}

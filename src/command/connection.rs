//! The connection itself: PING, ECHO, SELECT, QUIT, …

use super::context::Context;
use super::session::After;
use super::spec::{Categories, Flags, Spec};
use crate::base::number;
use crate::keyspace::DATABASES;
use crate::reply::Error;

const ANYTIME: Flags = Flags::LOADING.or(Flags::STALE).or(Flags::FAST);

pub const COMMANDS: &[Spec] = &[
    Spec::new("ping", -1, ping)
        .flags(Flags::FAST)
        .categories(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc("connection", "1.0.0", "O(1)", "Ping the server"),
    Spec::new("echo", 2, echo).flags(ANYTIME).categories(Categories::CONNECTION).doc(
        "connection",
        "1.0.0",
        "O(1)",
        "Echo the given string",
    ),
    Spec::new("select", 2, select).flags(ANYTIME).categories(Categories::CONNECTION).doc(
        "connection",
        "1.0.0",
        "O(1)",
        "Change the selected database for the current connection",
    ),
    Spec::new("quit", -1, quit)
        .flags(ANYTIME.or(Flags::NO_SCRIPT).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY))
        .categories(Categories::CONNECTION)
        .doc("connection", "1.0.0", "O(1)", "Close the connection"),
];

fn ping(context: &mut Context<'_>) -> Result<(), Error> {
    match context.args.len() {
        1 => context.reply.simple("PONG"),
        2 => context.reply.bulk(context.args.at(1)),
        _ => return Err(Error::new("ERR wrong number of arguments for 'ping' command")),
    }
    Ok(())
}

fn echo(context: &mut Context<'_>) -> Result<(), Error> {
    context.reply.bulk(context.args.at(1));
    Ok(())
}

fn select(context: &mut Context<'_>) -> Result<(), Error> {
    let database = number::parse_i64(context.args.at(1)).ok_or(Error::NOT_AN_INTEGER)?;
    if !(0..DATABASES as i64).contains(&database) {
        return Err(Error::DB_INDEX_OUT_OF_RANGE);
    }
    context.session.client.select(database as usize);
    context.reply.ok();
    Ok(())
}

fn quit(context: &mut Context<'_>) -> Result<(), Error> {
    context.session.after = After::Close;
    context.reply.ok();
    Ok(())
}

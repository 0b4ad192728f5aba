//! WAIT, ROLE and REPLICAOF of a server that has no replicas.

use std::time::Duration;

use super::common::is_word;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::reply::Error;

/// Waits for replicas, of which there are none: until the timeout, or forever if that is 0
/// (<https://redis.io/docs/latest/commands/wait/>).
pub fn wait(context: &mut Context<'_>) -> Result<(), Stop> {
    let wanted = number::parse_i64(context.args.at(1)).ok_or(Error::NOT_AN_INTEGER)?;
    let timeout_ms =
        number::parse_i64(context.args.at(2)).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Error::new("ERR timeout is negative"))?;
    if wanted > 0 {
        let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms));
        context.block(timeout, |_| Ok(None::<()>))?;
    }
    context.reply.integer(0);
    Ok(())
}

/// A primary, the offset of its changes, and its replicas.
pub fn role(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.array(3);
    context.reply.bulk(b"master");
    context.reply.integer(0);
    context.reply.array(0);
    Ok(())
}

pub fn replica_of(context: &mut Context<'_>) -> Result<(), Stop> {
    if is_word(context.args.at(1), "NO") && is_word(context.args.at(2), "ONE") {
        context.reply.ok();
        return Ok(());
    }
    match number::parse_i64(context.args.at(2)) {
        Some(0..=65535) => Err(Error::new("ERR this server cannot be a replica").into()),
        _ => Err(Error::new("ERR Invalid master port").into()),
    }
}

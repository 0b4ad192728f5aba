//! FLUSHDB, FLUSHALL, SWAPDB: commands on whole databases, which run while no other command does.

use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::Flushed;
use crate::reply::Error;

pub fn flush_database(context: &mut Context<'_>) -> Result<(), Stop> {
    let database = context.database();
    flush(context, database..database + 1)
}

pub fn flush_all(context: &mut Context<'_>) -> Result<(), Stop> {
    let databases = context.keyspace().databases();
    flush(context, 0..databases)
}

fn flush(context: &mut Context<'_>, databases: std::ops::Range<usize>) -> Result<(), Stop> {
    let in_background = match (context.args.len(), context.args.at(1)) {
        (1, _) => context.state.settings.lazyfree_lazy_user_flush.get(),
        (2, mode) if mode.eq_ignore_ascii_case(b"async") => true,
        (2, mode) if mode.eq_ignore_ascii_case(b"sync") => false,
        _ => return Err(Error::SYNTAX.into()),
    };
    let flushed = context.keyspace().flush(databases)?;
    // SYNC and ASYNC alike: it is freed after the gate is released, so that no other command waits for that.
    if in_background {
        free_in_background(flushed);
    } else {
        *context.leftovers = Some(flushed);
    }
    context.reply.ok();
    Ok(())
}

fn free_in_background(flushed: Flushed) {
    // If no thread can be started, the closure is dropped here, and what it owns with it.
    if let Err(error) = std::thread::Builder::new().name("flush".to_owned()).spawn(move || drop(flushed)) {
        tracing::warn!(%error, "no thread to free flushed keys in");
    }
}

pub fn swap_databases(context: &mut Context<'_>) -> Result<(), Stop> {
    let check = |index: usize, message: &'static str| {
        let number = number::parse_i64(context.args.at(index)).and_then(|number| i32::try_from(number).ok());
        number.map(drop).ok_or(Error::new(message))
    };
    check(1, "ERR invalid first DB index")?;
    check(2, "ERR invalid second DB index")?;
    let (one, other) = (context.database_number(1)?, context.database_number(2)?);
    context.keyspace().swap(one, other)?;
    context.reply.ok();
    Ok(())
}

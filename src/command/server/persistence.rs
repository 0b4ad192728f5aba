//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF. What is on disk already is most of a checkpoint: making one is a last round and a
//! few hard links, without a fork.

use super::common::is_word;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::tier::Tier;
use crate::reply::Error;

const IN_PROGRESS: Error = Error::new("ERR Background save already in progress");
const NO_DISK: Error = Error::new("ERR the memory engine keeps nothing on disk");

fn tier<'a>(context: &Context<'a>) -> Result<&'a Tier, Error> {
    context.keyspace().tier().ok_or(NO_DISK)
}

/// Answers when the checkpoint is there (<https://redis.io/docs/latest/commands/save/>); others are served meanwhile.
pub fn save(context: &mut Context<'_>) -> Result<(), Stop> {
    let tier = tier(context)?;
    let state = tier.saves.state();
    match context.session.awaited_save {
        None if state.is_running => return Err(IN_PROGRESS.into()),
        None => {
            tier.requests.save(&tier.saves);
            context.session.awaited_save = Some(state.count);
            return Err(Stop::Stalled);
        }
        Some(count) if state.count == count => return Err(Stop::Stalled),
        Some(_) => context.session.awaited_save = None,
    }
    match state.last_error {
        Some(error) => Err(Error::owned(format!("ERR {error}")).into()),
        None => {
            context.reply.ok();
            Ok(())
        }
    }
}

/// <https://redis.io/docs/latest/commands/bgsave/>
pub fn save_in_background(context: &mut Context<'_>) -> Result<(), Stop> {
    let is_scheduled = match context.args.get(1) {
        None => false,
        Some(word) if context.args.len() == 2 && is_word(word, "SCHEDULE") => true,
        Some(_) => return Err(Error::SYNTAX.into()),
    };
    let tier = tier(context)?;
    if tier.requests.save(&tier.saves) || is_scheduled {
        context.reply.simple("Background saving started");
        return Ok(());
    }
    Err(IN_PROGRESS.into())
}

/// Unix seconds of the last checkpoint, or of the start (<https://redis.io/docs/latest/commands/lastsave/>).
pub fn last_save(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.integer(context.state.last_save_s() as i64);
    Ok(())
}

/// The journal is never rewritten: a round makes its segments obsolete, so this requests one.
pub fn rewrite_journal(context: &mut Context<'_>) -> Result<(), Stop> {
    tier(context)?.requests.round();
    context.reply.simple("Background append only file rewriting started");
    Ok(())
}

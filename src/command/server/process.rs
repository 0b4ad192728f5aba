//! SHUTDOWN and TIME.

use super::common::is_word;
use crate::base::clock;
use crate::command::context::Context;
use crate::command::flow::{Flow, Stop};
use crate::reply::Error;

/// Ends the server (<https://redis.io/docs/latest/commands/shutdown/>): connections are closed, what is dirty is written
/// to disk, and no reply is sent. It begins at once and waits for no replica, so that NOW and FORCE ask for nothing
/// more, and there is never a shutdown in progress that ABORT could stop.
pub fn shutdown(context: &mut Context<'_>) -> Result<(), Stop> {
    let (mut saves, mut saves_not, mut hurries, mut aborts) = (false, false, false, false);
    for option in context.args.iter_from(1) {
        match option {
            _ if is_word(option, "NOSAVE") => saves_not = true,
            _ if is_word(option, "SAVE") => saves = true,
            _ if is_word(option, "NOW") || is_word(option, "FORCE") => hurries = true,
            _ if is_word(option, "ABORT") => aborts = true,
            _ => return Err(Error::SYNTAX.into()),
        }
    }
    if saves && saves_not || aborts && (saves || saves_not || hurries) {
        return Err(Error::SYNTAX.into());
    }
    if aborts {
        return Err(Error::new("ERR No shutdown in progress.").into());
    }
    tracing::info!(client = context.session.client.id, "a client asks for the end");
    context.session.after = Flow::Close;
    context.state.request_shutdown();
    Ok(())
}

/// Seconds and microseconds since 1970.
pub fn time(context: &mut Context<'_>) -> Result<(), Stop> {
    let now_us = clock::now_us();
    context.reply.array(2);
    context.reply.bulk((now_us / 1_000_000).to_string().as_bytes());
    context.reply.bulk((now_us % 1_000_000).to_string().as_bytes());
    Ok(())
}

//! How a client is treated: NO-EVICT, NO-TOUCH, REPLY, PAUSE, UNBLOCK.

use crate::base::number;
use crate::command::clients::{Scope, Wake};
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::session::ReplyMode;
use crate::reply::Error;

/// CLIENT NO-EVICT ON|OFF.
pub(super) fn no_evict(context: &mut Context<'_>) -> Result<(), Stop> {
    context.session.client.set_evictable(!on_or_off(context.args.at(2))?);
    context.reply.ok();
    Ok(())
}

/// CLIENT NO-TOUCH ON|OFF, of Redis 7.2.
pub(super) fn no_touch(context: &mut Context<'_>) -> Result<(), Stop> {
    context.session.client.set_touches(!on_or_off(context.args.at(2))?);
    context.reply.ok();
    Ok(())
}

/// CLIENT REPLY ON|OFF|SKIP. Only ON is answered.
pub(super) fn reply(context: &mut Context<'_>) -> Result<(), Stop> {
    let mode = context.args.at(2);
    let session = &mut context.session;
    if mode.eq_ignore_ascii_case(b"on") {
        session.reply_mode = ReplyMode::On;
        context.reply.ok();
    } else if mode.eq_ignore_ascii_case(b"off") {
        session.reply_mode = ReplyMode::Off;
    } else if mode.eq_ignore_ascii_case(b"skip") {
        if session.reply_mode != ReplyMode::Off {
            session.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        return Err(Error::SYNTAX.into());
    }
    Ok(())
}

/// CLIENT PAUSE milliseconds [WRITE|ALL].
pub(super) fn pause(context: &mut Context<'_>) -> Result<(), Stop> {
    let args = context.args;
    let scope = match args.get(3) {
        _ if args.len() > 4 => return Err(wrong_number(context)),
        None => Scope::All,
        Some(mode) if mode.eq_ignore_ascii_case(b"all") => Scope::All,
        Some(mode) if mode.eq_ignore_ascii_case(b"write") => Scope::Write,
        Some(_) => return Err(Error::new("ERR CLIENT PAUSE mode must be WRITE or ALL").into()),
    };
    let timeout_ms =
        number::parse_i64(args.at(2)).ok_or(Error::new("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| Error::new("ERR timeout is negative"))?;
    context.state.clients.pause().begin(scope, context.now_ms.saturating_add(timeout_ms), context.now_ms);
    context.reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE.
pub(super) fn unpause(context: &mut Context<'_>) -> Result<(), Stop> {
    context.state.clients.lift_pause();
    context.reply.ok();
    Ok(())
}

/// CLIENT UNBLOCK id [TIMEOUT|ERROR].
pub(super) fn unblock(context: &mut Context<'_>) -> Result<(), Stop> {
    let args = context.args;
    let wake = match args.get(3) {
        _ if args.len() > 4 => return Err(wrong_number(context)),
        None => Wake::TimedOut,
        Some(reason) if reason.eq_ignore_ascii_case(b"timeout") => Wake::TimedOut,
        Some(reason) if reason.eq_ignore_ascii_case(b"error") => Wake::Unblocked,
        Some(_) => return Err(Error::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR").into()),
    };
    let id = number::parse_i64(args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let client = u64::try_from(id).ok().and_then(|id| context.state.clients.find(id));
    context.reply.integer(i64::from(client.is_some_and(|client| client.unblock(wake))));
    Ok(())
}

fn wrong_number(context: &Context<'_>) -> Stop {
    let message = "ERR unknown subcommand or wrong number of arguments for '";
    Error::quoting(message, context.args.at(1), "'. Try CLIENT HELP.").into()
}

/// ON or OFF, in any case.
fn on_or_off(word: &[u8]) -> Result<bool, Error> {
    if word.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(Error::SYNTAX)
    }
}

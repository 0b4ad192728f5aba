//! GET, and what gets a value and changes the key: GETDEL, GETEX.

use super::common::{is_option, reply_bytes, string_of};
use crate::command::context::Context;
use crate::command::expire_time::TimeOption;
use crate::command::flow::Stop;
use crate::keyspace::entry::Entry;
use crate::reply::{Error, Sink};

/// Answers the string of an entry, or null without one; tells whether there is one.
#[inline]
pub fn reply_string(reply: &mut dyn Sink, entry: Option<&Entry>) -> Result<bool, Error> {
    match entry {
        Some(entry) => reply_bytes(reply, string_of(entry)?),
        None => reply.null(),
    }
    Ok(entry.is_some())
}

/// GET.
pub fn get(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    reply_string(context.reply, slot.read(&key).as_deref())?;
    Ok(())
}

pub fn getdel(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    if reply_string(context.reply, slot.read(&key).as_deref())? {
        slot.remove(&key);
    }
    Ok(())
}

pub fn getex(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut time = TimeOption::default();
    let mut persists = false;
    let mut index = 2;
    while let Some(option) = context.args.get(index) {
        index += 1;
        if time.accept(option, context.args.get(index))? {
            index += 1;
        } else if is_option(option, "PERSIST") {
            persists = true;
        } else {
            return Err(Error::SYNTAX.into());
        }
    }
    if persists && time.is_given() {
        return Err(Error::SYNTAX.into());
    }

    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let Some(entry) = slot.read(&key) else {
        context.reply.null();
        return Ok(());
    };
    // The type is looked at before the time, and the time is not read where there is no key.
    let value = string_of(&entry)?;
    let had_expiry = entry.expiry_ms().is_some();
    let Some((notation, text)) = time.get() else {
        reply_bytes(context.reply, value);
        if persists && had_expiry {
            slot.set_expiry(&key, None);
        }
        return Ok(());
    };
    let expiry_ms = notation.positive_unix_ms(text, context.now_ms, "getex")?;
    reply_bytes(context.reply, value);
    if notation.is_absolute() && expiry_ms <= context.now_ms {
        slot.remove(&key);
    } else {
        slot.set_expiry(&key, Some(expiry_ms));
    }
    Ok(())
}

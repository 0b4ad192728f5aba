//! RENAME, RENAMENX, COPY, MOVE: a value gets another key.

use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Event, NewExpiry, Owned};
use crate::reply::Error;

const SAME_OBJECT: Error = Error::new("ERR source and destination objects are the same");

pub fn rename(context: &mut Context<'_>) -> Result<(), Stop> {
    rename_unless(context, false)?;
    context.reply.ok();
    Ok(())
}

pub fn rename_if_free(context: &mut Context<'_>) -> Result<(), Stop> {
    let is_renamed = rename_unless(context, true)?;
    context.reply.integer(i64::from(is_renamed));
    Ok(())
}

/// Renames a key; with `only_free` not to a name that exists, its own included.
fn rename_unless(context: &mut Context<'_>, only_free: bool) -> Result<bool, Stop> {
    let (source, target) = (context.key(1), context.key(2));
    let database = context.database();
    let slots = context.access.slots([(database, source), (database, target)].into_iter())?;
    if slots.of(database, &source).read_for_write(&source).is_none() {
        return Err(Error::NO_SUCH_KEY.into());
    }
    if source.bytes() == target.bytes() {
        return Ok(!only_free);
    }
    if only_free && slots.of(database, &target).peek(&target).is_some() {
        return Ok(false);
    }
    if let Some((value, expiry_ms)) = slots.of(database, &source).take(&source, Event::RenameFrom) {
        slots.of(database, &target).put(&target, value, same_expiry(expiry_ms), Event::RenameTo);
    }
    Ok(true)
}

pub fn copy(context: &mut Context<'_>) -> Result<(), Stop> {
    let (source, target) = (context.key(1), context.key(2));
    let source_database = context.database();
    let (mut target_database, mut replace) = (source_database, false);
    let mut index = 3;
    while let Some(option) = context.args.get(index) {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") && index + 1 < context.args.len() {
            index += 1;
            target_database = context.database_number(index)?;
        } else {
            return Err(Error::SYNTAX.into());
        }
        index += 1;
    }
    if source_database == target_database && source.bytes() == target.bytes() {
        return Err(SAME_OBJECT.into());
    }
    let both = [(source_database, source), (target_database, target)];
    let slots = context.access.slots(both.into_iter())?;
    let copied: Option<(Owned, Option<u64>)> =
        slots.of(source_database, &source).read(&source).map(|entry| (entry.copy_content(), entry.expiry_ms()));
    let target_slot = slots.of(target_database, &target);
    let copied = copied.filter(|_| replace || target_slot.peek(&target).is_none());
    let is_copied = copied.is_some();
    if let Some((value, expiry_ms)) = copied {
        target_slot.put(&target, value, same_expiry(expiry_ms), Event::CopyTo);
    }
    context.reply.integer(i64::from(is_copied));
    Ok(())
}

pub fn move_key(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let (source, target) = (context.database(), context.database_number(2)?);
    if source == target {
        return Err(SAME_OBJECT.into());
    }
    let slots = context.access.slots([(source, key), (target, key)].into_iter())?;
    let is_free = slots.of(target, &key).peek(&key).is_none();
    let moved = if is_free { slots.of(source, &key).take(&key, Event::MoveFrom) } else { None };
    let is_moved = moved.is_some();
    if let Some((value, expiry_ms)) = moved {
        slots.of(target, &key).put(&key, value, same_expiry(expiry_ms), Event::MoveTo);
    }
    context.reply.integer(i64::from(is_moved));
    Ok(())
}

/// The expiry of the old key for the new one: none stays none, whatever `default-ttl` says.
fn same_expiry(expiry_ms: Option<u64>) -> NewExpiry {
    expiry_ms.map_or(NewExpiry::Never, NewExpiry::At)
}

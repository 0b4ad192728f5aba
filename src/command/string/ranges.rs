//! Parts and lengths of strings: APPEND, STRLEN, GETRANGE (SUBSTR), SETRANGE.

use super::common::{check_fits, refusal, string_of};
use crate::base::chunks::{BytesRef, LARGE_BYTES};
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Event, Key, NewExpiry, Owned, SlotGuard};
use crate::protocol::Args;
use crate::reply::Error;
use crate::types::{Change, Value, string};

pub fn strlen(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let length = match slot.read(&key) {
        Some(entry) => string_of(&entry)?.len(),
        None => 0,
    };
    context.reply.integer(length as i64);
    Ok(())
}

pub fn getrange(context: &mut Context<'_>) -> Result<(), Stop> {
    let start = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let end = number::parse_i64(context.args.at(3)).ok_or(Error::NOT_AN_INTEGER)?;
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let Some(entry) = slot.read(&key) else {
        context.reply.bulk(b"");
        return Ok(());
    };
    let value = string_of(&entry)?;
    let range = string::range(value.len(), start, end);
    match value {
        BytesRef::Slice(bytes) => context.reply.bulk(&bytes[range]),
        BytesRef::Chunks(chunks) if range.len() < LARGE_BYTES => context.reply.bulk(&chunks.copy_part(range)),
        BytesRef::Chunks(chunks) => context.reply.chunks(chunks.part(range)),
    }
    Ok(())
}

/// How long a value becomes by an APPEND.
pub fn append_bytes(_: &Args<'_>, present_bytes: usize, added_bytes: usize) -> usize {
    present_bytes + added_bytes
}

/// How long a value becomes by a SETRANGE. The handler reports a bad offset.
pub fn setrange_bytes(args: &Args<'_>, present_bytes: usize, patch_bytes: usize) -> usize {
    let offset = number::parse_i64(args.at(2)).and_then(|offset| string::offset(offset).ok());
    offset.map_or(0, |offset| offset.saturating_add(patch_bytes)).max(present_bytes)
}

pub fn append(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let added = context.args.value(2);
    let slot = context.access.slot(&key)?;
    let length = match present_length(slot, &key)? {
        Some(length) => {
            let limit_bytes = context.state.settings.proto_max_bulk_len.get();
            let grown = string::grown_length(length, added.len(), limit_bytes).map_err(refusal)?;
            check_fits(context.state, &context.args, grown)?;
            slot.modify(&key, Change::append(added), Event::Append);
            grown
        }
        // Appending to a key that does not exist is SET.
        None => {
            slot.set_as(&key, added, NewExpiry::Clear, Event::Append);
            added.len()
        }
    };
    context.reply.integer(length as i64);
    Ok(())
}

pub fn setrange(context: &mut Context<'_>) -> Result<(), Stop> {
    let offset = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let offset = string::offset(offset).map_err(refusal)?;
    let key = context.key(1);
    let patch = context.args.value(3);
    let slot = context.access.slot(&key)?;
    let old_length = present_length(slot, &key)?;
    if patch.is_empty() {
        context.reply.integer(old_length.unwrap_or(0) as i64);
        return Ok(());
    }
    let limit_bytes = context.state.settings.proto_max_bulk_len.get();
    let end = string::grown_length(offset, patch.len(), limit_bytes).map_err(refusal)?;
    check_fits(context.state, &context.args, end)?;
    match old_length {
        // `grown_length` allowed no more than what a value can have.
        Some(_) => {
            slot.modify(&key, Change::set_range(offset as u32, patch), Event::SetRange);
        }
        None => {
            let mut value = Value::default();
            Change::set_range(offset as u32, patch).apply(&mut value);
            slot.put(&key, Owned::Boxed(Box::new(value)), NewExpiry::Clear, Event::SetRange);
        }
    }
    context.reply.integer(old_length.unwrap_or(0).max(end) as i64);
    Ok(())
}

/// The length of the key's string, if there is the key; its change counts as the use.
fn present_length(slot: &mut SlotGuard<'_>, key: &Key<'_>) -> Result<Option<usize>, Error> {
    slot.peek(key).map(|entry| string_of(&entry).map(BytesRef::len)).transpose()
}

//! Parts and lengths of strings: APPEND, STRLEN, GETRANGE (SUBSTR), SETRANGE.

use super::{refusal, string_of};
use crate::base::number;
use crate::command::context::Context;
use crate::keyspace::{Key, NewExpiry, Owned, SlotGuard};
use crate::reply::Error;
use crate::types::{Change, Value, string};

pub fn strlen(context: &mut Context<'_>) -> Result<(), Error> {
    let key = context.key(1);
    let mut slot = context.lock(&key)?;
    let length = match slot.read(&key) {
        Some(entry) => string_of(&entry)?.len(),
        None => 0,
    };
    context.reply.integer(length as i64);
    Ok(())
}

pub fn getrange(context: &mut Context<'_>) -> Result<(), Error> {
    let start = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let end = number::parse_i64(context.args.at(3)).ok_or(Error::NOT_AN_INTEGER)?;
    let key = context.key(1);
    let mut slot = context.lock(&key)?;
    match slot.read(&key) {
        Some(entry) => context.reply.bulk(string::range(string_of(&entry)?, start, end)),
        None => context.reply.bulk(b""),
    }
    Ok(())
}

pub fn append(context: &mut Context<'_>) -> Result<(), Error> {
    let key = context.key(1);
    let added = context.args.at(2);
    let mut slot = context.lock(&key)?;
    let length = match present_length(&mut slot, &key)? {
        Some(length) => {
            let limit_bytes = context.state.settings.proto_max_bulk_len.get();
            let grown = string::grown_length(length, added.len(), limit_bytes).map_err(refusal)?;
            slot.modify(&key, Change::Append(added));
            grown
        }
        // It is as good as SET.
        None => {
            slot.set_string(&key, added, NewExpiry::Clear);
            added.len()
        }
    };
    drop(slot);
    context.reply.integer(length as i64);
    Ok(())
}

pub fn setrange(context: &mut Context<'_>) -> Result<(), Error> {
    let offset = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let offset = string::offset(offset).map_err(refusal)?;
    let key = context.key(1);
    let patch = context.args.at(3);
    let mut slot = context.lock(&key)?;
    let old_length = present_length(&mut slot, &key)?;
    if patch.is_empty() {
        context.reply.integer(old_length.unwrap_or(0) as i64);
        return Ok(());
    }
    let limit_bytes = context.state.settings.proto_max_bulk_len.get();
    let end = string::grown_length(offset, patch.len(), limit_bytes).map_err(refusal)?;
    match old_length {
        // `grown_length` allowed no more than what a value can have.
        Some(_) => {
            slot.modify(&key, Change::SetRange(offset as u32, patch));
        }
        None => {
            let mut bytes = Vec::new();
            string::set_range(&mut bytes, offset, patch);
            slot.put(&key, Owned::Boxed(Box::new(Value::String(bytes))), NewExpiry::Clear);
        }
    }
    drop(slot);
    context.reply.integer(old_length.unwrap_or(0).max(end) as i64);
    Ok(())
}

/// The length of the key's string, if there is the key; its change counts as the use.
fn present_length(slot: &mut SlotGuard<'_>, key: &Key<'_>) -> Result<Option<usize>, Error> {
    slot.peek(key).map(|entry| string_of(&entry).map(<[u8]>::len)).transpose()
}

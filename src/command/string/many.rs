//! MGET, MSET and MSETNX: all slots are locked together, so that each is atomic.

use smallvec::SmallVec;

use super::common::reply_bytes;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Key, NewExpiry, SlotGuards};
use crate::protocol::Args;
use crate::reply::Error;

/// Up to so many keys of a command are kept without an allocation.
const INLINE_KEYS: usize = 16;

type KeyList<'a> = SmallVec<[Key<'a>; INLINE_KEYS]>;

/// Every `step`-th argument from the first on.
fn keys<'a>(context: &Context<'a>, step: usize) -> KeyList<'a> {
    (1..context.args.len()).step_by(step).map(|index| context.key(index)).collect()
}

pub fn mget(context: &mut Context<'_>) -> Result<(), Stop> {
    let keys = keys(context, 1);
    let database = context.database();
    let slots = context.access.slots(keys.iter().map(|key| (database, *key)))?;
    context.reply.array(keys.len());
    for key in &keys {
        match slots.of(database, key).read(key).as_ref().and_then(|entry| entry.string()) {
            Some(bytes) => reply_bytes(context.reply, bytes),
            None => context.reply.null(),
        }
    }
    Ok(())
}

pub fn mset(context: &mut Context<'_>) -> Result<(), Stop> {
    let keys = paired_keys(context, "mset")?;
    let database = context.database();
    let slots = context.access.slots_to_overwrite(keys.iter().copied())?;
    set_pairs(&context.args, database, &keys, slots);
    context.reply.ok();
    Ok(())
}

pub fn msetnx(context: &mut Context<'_>) -> Result<(), Stop> {
    let keys = paired_keys(context, "msetnx")?;
    let database = context.database();
    let slots = context.access.slots(keys.iter().map(|key| (database, *key)))?;
    let are_absent = keys.iter().all(|key| slots.of(database, key).read_for_write(key).is_none());
    if are_absent {
        set_pairs(&context.args, database, &keys, slots);
    }
    context.reply.integer(i64::from(are_absent));
    Ok(())
}

fn paired_keys<'a>(context: &Context<'a>, command: &str) -> Result<KeyList<'a>, Error> {
    if context.args.len().is_multiple_of(2) {
        return Err(Error::owned(format!("ERR wrong number of arguments for '{command}' command")));
    }
    Ok(keys(context, 2))
}

/// Sets every key to the argument after it, in their order: of a key that is named twice, the last value stays.
fn set_pairs(args: &Args<'_>, database: usize, keys: &[Key<'_>], slots: &mut SlotGuards<'_>) {
    for (index, key) in keys.iter().enumerate() {
        slots.of(database, key).set(key, args.value(2 * index + 2), NewExpiry::Clear);
    }
}

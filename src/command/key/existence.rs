//! DEL, UNLINK, EXISTS, TOUCH, TYPE.

use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Key, SlotGuard};

/// DEL and UNLINK. A string is freed in one step, so there is nothing to leave to another thread.
pub fn delete(context: &mut Context<'_>) -> Result<(), Stop> {
    let deleted = count(context, |slot, key| slot.remove(key))?;
    context.reply.integer(deleted);
    Ok(())
}

pub fn exists(context: &mut Context<'_>) -> Result<(), Stop> {
    let found = count(context, |slot, key| slot.inspect(key).is_some())?;
    context.reply.integer(found);
    Ok(())
}

/// TOUCH is a use of the keys whatever CLIENT NO-TOUCH says.
pub fn touch(context: &mut Context<'_>) -> Result<(), Stop> {
    context.access.count_uses();
    let found = count(context, |slot, key| slot.read(key).is_some())?;
    context.reply.integer(found);
    Ok(())
}

/// Counts the keys of a command for which `action` returns true; a key named twice counts twice. All of them are locked first,
/// so that no client sees it half done.
fn count(context: &mut Context<'_>, mut action: impl FnMut(&mut SlotGuard<'_>, &Key<'_>) -> bool) -> Result<i64, Stop> {
    if context.args.len() == 2 {
        let key = context.key(1);
        return Ok(i64::from(action(context.access.slot(&key)?, &key)));
    }
    let database = context.database();
    let keys: Vec<Key<'_>> = (1..context.args.len()).map(|index| context.key(index)).collect();
    let slots = context.access.slots(keys.iter().map(|key| (database, *key)))?;
    Ok(keys.iter().filter(|key| action(slots.of(database, key), key)).count() as i64)
}

pub fn type_of(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    context.reply.simple(slot.inspect(&key).map_or("none", |entry| entry.type_name()));
    Ok(())
}

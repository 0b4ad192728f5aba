//! Strings that are numbers. Their expiry stays.

use super::common::{refusal, string_of};
use crate::base::long_double::LongDouble;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Event, NewExpiry};
use crate::reply::Error;
use crate::types::string;

pub fn incr(context: &mut Context<'_>) -> Result<(), Stop> {
    add(context, 1)
}

pub fn decr(context: &mut Context<'_>) -> Result<(), Stop> {
    add(context, -1)
}

pub fn incrby(context: &mut Context<'_>) -> Result<(), Stop> {
    let by = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    add(context, by)
}

pub fn decrby(context: &mut Context<'_>) -> Result<(), Stop> {
    let by = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    add(context, string::increment_of_decrement(by).map_err(refusal)?)
}

fn add(context: &mut Context<'_>, by: i64) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    // Setting the key counts as its use.
    let old = match slot.peek(&key) {
        Some(entry) => string_of(&entry)?.slice().and_then(number::parse_i64).ok_or(Error::NOT_AN_INTEGER)?,
        None => 0,
    };
    let new = string::increment(old, by).map_err(refusal)?;
    // Digits on the stack, set in place: counting allocates nothing unless the entry outgrows its allocation.
    slot.set_string_as(&key, itoa::Buffer::new().format(new).as_bytes(), NewExpiry::Keep, Event::IncrBy);
    context.reply.integer(new);
    Ok(())
}

pub fn incrbyfloat(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let old = match slot.peek(&key) {
        Some(entry) => string_of(&entry)?.slice().and_then(LongDouble::parse),
        None => LongDouble::parse(b"0"),
    };
    let by = LongDouble::parse(context.args.at(2));
    let new = old.zip(by).map(|(old, by)| old + by).ok_or(Error::NOT_A_FLOAT)?;
    if new.is_nan_or_infinite() {
        return Err(Error::new("ERR increment would produce NaN or Infinity").into());
    }
    let digits = new.format_human();
    slot.set_string_as(&key, digits.as_bytes(), NewExpiry::Keep, Event::IncrByFloat);
    context.reply.bulk(digits.as_bytes());
    Ok(())
}

//! SET with its options, and the older commands that it includes: SETNX, SETEX, PSETEX, GETSET.

use super::common::is_option;
use super::get::reply_string;
use crate::command::context::Context;
use crate::command::expire_time::{Notation, TimeOption};
use crate::command::flow::Stop;
use crate::command::spec::KeyUse;
use crate::keyspace::NewExpiry;
use crate::protocol::Args;
use crate::reply::Error;

/// What must hold of the key for it to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// NX
    Absent,
    /// XX
    Present,
}

/// What a SET uses its key for: without GET, the old value does not matter.
pub fn key_use(args: &Args<'_>) -> KeyUse {
    let returns_old = args.iter_from(3).any(|option| is_option(option, "GET"));
    if returns_old { KeyUse::Update } else { KeyUse::Overwrite }
}

#[derive(Default)]
struct Options<'a> {
    condition: Option<Condition>,
    returns_old: bool,
    keeps_expiry: bool,
    time: TimeOption<'a>,
}

impl<'a> Options<'a> {
    #[inline]
    fn parse(args: &Args<'a>) -> Result<Options<'a>, Error> {
        let mut options = Options::default();
        let mut index = 3;
        while let Some(option) = args.get(index) {
            index += 1;
            if options.time.accept(option, args.get(index))? {
                index += 1;
            } else if is_option(option, "NX") {
                options.require(Condition::Absent)?;
            } else if is_option(option, "XX") {
                options.require(Condition::Present)?;
            } else if is_option(option, "GET") {
                options.returns_old = true;
            } else if is_option(option, "KEEPTTL") {
                options.keeps_expiry = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if options.keeps_expiry && options.time.is_given() {
            return Err(Error::SYNTAX);
        }
        Ok(options)
    }

    /// Whether the key is set unconditionally.
    fn is_blind(&self) -> bool {
        self.condition.is_none() && !self.returns_old && !self.keeps_expiry
    }

    fn require(&mut self, condition: Condition) -> Result<(), Error> {
        if self.condition.is_some_and(|other| other != condition) {
            return Err(Error::SYNTAX);
        }
        self.condition = Some(condition);
        Ok(())
    }

    fn expiry(&self, now_ms: u64) -> Result<NewExpiry, Error> {
        match self.time.get() {
            Some((notation, text)) => notation.positive_unix_ms(text, now_ms, "set").map(NewExpiry::At),
            None if self.keeps_expiry => Ok(NewExpiry::Keep),
            None => Ok(NewExpiry::Clear),
        }
    }
}

/// A time in the past sets the key, too; the next look at it finds it expired.
pub fn set(context: &mut Context<'_>) -> Result<(), Stop> {
    if context.args.len() == 3 {
        return overwrite(context, 2, NewExpiry::Clear);
    }
    let options = Options::parse(&context.args)?;
    let expiry = options.expiry(context.now_ms)?;
    let key = context.key(1);
    let slot = if options.is_blind() { context.access.slot_to_overwrite(&key)? } else { context.access.slot(&key)? };
    if options.returns_old {
        reply_string(context.reply, slot.read(&key).as_deref())?;
    }
    let applies = match options.condition {
        None => true,
        Some(Condition::Absent) => slot.read_for_write(&key).is_none(),
        // Setting the key counts as its use.
        Some(Condition::Present) => slot.peek(&key).is_some(),
    };
    if applies {
        slot.set(&key, context.args.value(2), expiry);
    }
    match (options.returns_old, applies) {
        (true, _) => {}
        (false, true) => context.reply.ok(),
        (false, false) => context.reply.null(),
    }
    Ok(())
}

pub fn setnx(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let is_absent = slot.read_for_write(&key).is_none();
    if is_absent {
        slot.set(&key, context.args.value(2), NewExpiry::Clear);
    }
    context.reply.integer(i64::from(is_absent));
    Ok(())
}

pub fn setex(context: &mut Context<'_>) -> Result<(), Stop> {
    set_with_expiry(context, Notation::SecondsFromNow, "setex")
}

pub fn psetex(context: &mut Context<'_>) -> Result<(), Stop> {
    set_with_expiry(context, Notation::MillisecondsFromNow, "psetex")
}

fn set_with_expiry(context: &mut Context<'_>, notation: Notation, command: &str) -> Result<(), Stop> {
    let expiry_ms = notation.positive_unix_ms(context.args.at(2), context.now_ms, command)?;
    overwrite(context, 3, NewExpiry::At(expiry_ms))
}

/// Sets the key, whatever it was, to the argument at `value`.
#[inline]
fn overwrite(context: &mut Context<'_>, value: usize, expiry: NewExpiry) -> Result<(), Stop> {
    let key = context.key(1);
    context.access.slot_to_overwrite(&key)?.set(&key, context.args.value(value), expiry);
    context.reply.ok();
    Ok(())
}

pub fn getset(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    reply_string(context.reply, slot.read(&key).as_deref())?;
    slot.set(&key, context.args.value(2), NewExpiry::Clear);
    Ok(())
}

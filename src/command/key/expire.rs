//! EXPIRE, TTL, PERSIST and their variants.

use crate::base::number;
use crate::command::context::Context;
use crate::command::expire_time::Notation;
use crate::command::flow::Stop;
use crate::protocol::until_nul;
use crate::reply::Error;

/// The options NX, XX, GT and LT of EXPIRE and its variants.
#[derive(Clone, Copy, Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_sooner: bool,
}

impl Conditions {
    fn parse<'a>(options: impl Iterator<Item = &'a [u8]>) -> Result<Conditions, Error> {
        let mut conditions = Conditions::default();
        for option in options {
            let option = until_nul(option);
            let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
            match () {
                () if is(b"nx") => conditions.only_without = true,
                () if is(b"xx") => conditions.only_with = true,
                () if is(b"gt") => conditions.only_later = true,
                () if is(b"lt") => conditions.only_sooner = true,
                () => return Err(Error::quoting("ERR Unsupported option ", option, "")),
            }
        }
        let Conditions { only_without, only_with, only_later, only_sooner } = conditions;
        if only_without && (only_with || only_later || only_sooner) {
            return Err(Error::new("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if only_later && only_sooner {
            return Err(Error::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `old_ms` may come to expire at `new_ms`; without expiry, it is as if it expired
    /// after all others.
    fn allow(self, old_ms: Option<u64>, new_ms: i64) -> bool {
        let is_later = old_ms.is_some_and(|old_ms| u64::try_from(new_ms).is_ok_and(|new_ms| new_ms > old_ms));
        let is_sooner = old_ms.is_none_or(|old_ms| u64::try_from(new_ms).map_or(true, |new_ms| new_ms < old_ms));
        !(self.only_without && old_ms.is_some()
            || self.only_with && old_ms.is_none()
            || self.only_later && !is_later
            || self.only_sooner && !is_sooner)
    }
}

pub fn expire(context: &mut Context<'_>) -> Result<(), Stop> {
    set_expiry(context, "expire", Notation::SecondsFromNow)
}

pub fn expire_milliseconds(context: &mut Context<'_>) -> Result<(), Stop> {
    set_expiry(context, "pexpire", Notation::MillisecondsFromNow)
}

pub fn expire_at(context: &mut Context<'_>) -> Result<(), Stop> {
    set_expiry(context, "expireat", Notation::UnixSeconds)
}

pub fn expire_at_milliseconds(context: &mut Context<'_>) -> Result<(), Stop> {
    set_expiry(context, "pexpireat", Notation::UnixMilliseconds)
}

fn set_expiry(context: &mut Context<'_>, name: &str, notation: Notation) -> Result<(), Stop> {
    let conditions = Conditions::parse(context.args.iter_from(3))?;
    let time = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let expiry_ms = notation.unix_ms(time, context.now_ms, name)?;

    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let old_ms = slot.read_for_write(&key).map(|entry| entry.expiry_ms());
    let is_set = old_ms.is_some_and(|old_ms| conditions.allow(old_ms, expiry_ms))
        && match u64::try_from(expiry_ms) {
            Ok(expiry_ms) if expiry_ms > context.now_ms => slot.set_expiry(&key, Some(expiry_ms)),
            // A time in the past deletes the key at once.
            _ => slot.remove(&key),
        };
    context.reply.integer(i64::from(is_set));
    Ok(())
}

#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
}

pub fn time_to_live(context: &mut Context<'_>) -> Result<(), Stop> {
    tell_expiry(context, Unit::Seconds, context.now_ms)
}

pub fn time_to_live_milliseconds(context: &mut Context<'_>) -> Result<(), Stop> {
    tell_expiry(context, Unit::Milliseconds, context.now_ms)
}

pub fn expire_time(context: &mut Context<'_>) -> Result<(), Stop> {
    tell_expiry(context, Unit::Seconds, 0)
}

pub fn expire_time_milliseconds(context: &mut Context<'_>) -> Result<(), Stop> {
    tell_expiry(context, Unit::Milliseconds, 0)
}

/// The time of expiry from `base_ms` on, seconds rounded to the nearest; -1 for a key without, -2 for no key.
fn tell_expiry(context: &mut Context<'_>, unit: Unit, base_ms: u64) -> Result<(), Stop> {
    let key = context.key(1);
    let answer = match context.access.slot(&key)?.inspect(&key).map(|entry| entry.expiry_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(expiry_ms)) => {
            let time_ms = expiry_ms.saturating_sub(base_ms);
            let time = match unit {
                Unit::Seconds => time_ms.saturating_add(500) / 1000,
                Unit::Milliseconds => time_ms,
            };
            i64::try_from(time).unwrap_or(i64::MAX)
        }
    };
    context.reply.integer(answer);
    Ok(())
}

pub fn persist(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(1);
    let slot = context.access.slot(&key)?;
    let expires = slot.read_for_write(&key).is_some_and(|entry| entry.expiry_ms().is_some());
    context.reply.integer(i64::from(expires && slot.set_expiry(&key, None)));
    Ok(())
}

//! Strings (<https://redis.io/docs/latest/commands/?group=string>).

use super::context::Context;
use super::spec::{Categories, Flags, KeyUse, Spec};
use crate::keyspace::NewExpiry;
use crate::reply::Error;

pub const COMMANDS: &[Spec] = &[
    Spec::new("get", 2, get)
        .flags(Flags::READONLY.or(Flags::FAST))
        .keys(1, 1, 1, KeyUse::Read)
        .categories(Categories::STRING)
        .doc("string", "1.0.0", "O(1)", "Get the value of a key"),
    Spec::new("set", -3, set)
        .flags(Flags::WRITE.or(Flags::DENY_OOM))
        .keys(1, 1, 1, KeyUse::Update)
        .categories(Categories::STRING)
        .doc("string", "1.0.0", "O(1)", "Set the string value of a key"),
];

fn get(context: &mut Context<'_>) -> Result<(), Error> {
    let key = context.key(1);
    let mut slot = context.lock(&key);
    match slot.read(&key) {
        Some(entry) => context.reply.bulk(entry.string().ok_or(Error::WRONG_TYPE)?),
        None => context.reply.null(),
    }
    Ok(())
}

fn set(context: &mut Context<'_>) -> Result<(), Error> {
    let key = context.key(1);
    context.lock(&key).set_string(&key, context.args.at(2), NewExpiry::Clear);
    context.reply.ok();
    Ok(())
}

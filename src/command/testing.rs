//! Commands for tests alone: what no command of today does, though the path of commands has room for it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{number, slot};
use crate::command::clients::{Client, Wake};
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::spec::{KeyUse, Spec};
use crate::keyspace::observer::{DatabaseChange, KeyChange, Observer};
use crate::reply::Error;

pub const COMMANDS: &[Spec] = &[
    Spec::new("several", 2, several).doc("test", "7.0.0", "O(N)", "Answers as many times as it is told to"),
    Spec::new("await", 3, await_key).flags(Flags::READONLY).keys(1, 1, 1, KeyUse::Inspect).doc(
        "test",
        "7.0.0",
        "O(1)",
        "Answers once a key exists, or a time in milliseconds has passed",
    ),
];

/// SEVERAL count: the numbers from 0 on, each of which is a reply.
fn several(context: &mut Context<'_>) -> Result<(), Stop> {
    let count = number::parse_i64(context.args.at(1)).ok_or(Error::NOT_AN_INTEGER)?;
    for number in 0..count {
        if number > 0 {
            context.reply.next_reply();
        }
        context.reply.integer(number);
    }
    Ok(())
}

/// Unblocks a client when a key changes.
struct Awaited {
    client: Arc<Client>,
    key: Vec<u8>,
}

impl Observer for Awaited {
    fn key_changed(&self, change: &KeyChange<'_>) {
        if change.key == self.key {
            self.client.unblock(Wake::Changed);
        }
    }

    fn databases_changed(&self, _: DatabaseChange) {}
}

/// AWAIT key milliseconds (0: without a limit).
fn await_key(context: &mut Context<'_>) -> Result<(), Stop> {
    let timeout_ms = number::parse_i64(context.args.at(2)).ok_or(Error::NOT_AN_INTEGER)?;
    let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms as u64));
    let found = context.block(timeout, |context| {
        let key = context.args.at(1);
        let slot = slot::slot(key);
        let awaited = Awaited { client: context.session.client.clone(), key: key.to_vec() };
        let id = context.keyspace().watch(slot..slot + 1, Arc::new(awaited));
        let key = context.key(1);
        let exists = context.access.slot(&key)?.peek(&key).is_some();
        if exists {
            // It locks the slots itself.
            context.access.release();
            context.keyspace().unwatch(id);
        }
        Ok(exists.then_some(()))
    })?;
    match found {
        Some(()) => context.reply.ok(),
        None => context.reply.null(),
    }
    Ok(())
}

//! CLIENT KILL (<https://redis.io/docs/latest/commands/client-kill/>).

use super::list::Kind;
use crate::base::number;
use crate::command::clients::Client;
use crate::command::context::Context;
use crate::command::flow::{Flow, Stop};
use crate::command::user::DEFAULT;
use crate::reply::Error;

/// The clients that are to be killed.
#[derive(Default)]
struct Filter<'a> {
    id: Option<u64>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    kind: Option<Kind>,
    /// Whether the caller is included.
    with_caller: bool,
}

impl Filter<'_> {
    fn fits(&self, client: &Client, caller: &Client) -> bool {
        let is = |wanted: Option<&[u8]>, actual: &str| wanted.is_none_or(|wanted| wanted == actual.as_bytes());
        is(self.address, &client.peer.address)
            && is(self.local_address, &client.peer.local_address)
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && self.id.is_none_or(|id| id == client.id)
            && (self.with_caller || client.id != caller.id)
    }
}

pub(super) fn kill(context: &mut Context<'_>) -> Result<(), Stop> {
    let is_old_form = context.args.len() == 3;
    let filter = if is_old_form {
        Filter { address: Some(context.args.at(2)), with_caller: true, ..Filter::default() }
    } else {
        parse(context)?
    };
    let caller = context.session.client.clone();
    let mut killed = 0;
    for client in context.state.clients.all() {
        if !filter.fits(&client, &caller) {
            continue;
        }
        killed += 1;
        if client.id == caller.id {
            context.session.after = Flow::Close;
        } else {
            context.state.clients.kill(&client);
        }
    }
    match (is_old_form, killed) {
        (true, 0) => return Err(Error::new("ERR No such client").into()),
        (true, _) => context.reply.ok(),
        (false, killed) => context.reply.integer(killed),
    }
    Ok(())
}

fn parse<'a>(context: &Context<'a>) -> Result<Filter<'a>, Error> {
    let mut filter = Filter::default();
    let mut index = 2;
    while let Some(option) = context.args.get(index) {
        let value = context.args.get(index + 1).ok_or(Error::SYNTAX)?;
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("id") {
            let id = number::parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            filter.id = Some(id.ok_or(Error::new("ERR client-id should be greater than 0"))?);
        } else if is("type") {
            filter.kind = Some(Kind::parse(value)?);
        } else if is("addr") {
            filter.address = Some(value);
        } else if is("laddr") {
            filter.local_address = Some(value);
        } else if is("user") {
            // There is one user, and all clients are it.
            if value != DEFAULT.as_bytes() {
                return Err(Error::quoting("ERR No such user '", value, "'"));
            }
        } else if is("skipme") {
            filter.with_caller = if value.eq_ignore_ascii_case(b"yes") {
                false
            } else if value.eq_ignore_ascii_case(b"no") {
                true
            } else {
                return Err(Error::SYNTAX);
            };
        } else {
            return Err(Error::SYNTAX);
        }
        index += 2;
    }
    Ok(filter)
}

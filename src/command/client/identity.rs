//! The identity of a client: AUTH, HELLO, RESET, names.

use crate::command::context::Context;
use crate::command::flow::{Cause, Flow, Stop};
use crate::command::session::ReplyMode;
use crate::command::spec::REDIS_VERSION;
use crate::command::user::{DEFAULT, User};
use crate::protocol::resp::Version;
use crate::reply::Error;

use crate::base::number;

const WRONG_PASSWORD: Error = Error::new("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: Error = Error::new(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
     configuration is correct?",
);
const HELLO_WITHOUT_AUTH: Error = Error::new(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option \
     can be used to authenticate the client and select the RESP protocol version at the same time",
);
const BAD_NAME: Error = Error::new("ERR Client names cannot contain spaces, newlines or special characters.");

/// AUTH password, AUTH user password.
pub(super) fn auth(context: &mut Context<'_>) -> Result<(), Stop> {
    let count = context.args.len();
    if count > 3 {
        return Err(Error::SYNTAX.into());
    }
    (1..count).for_each(|index| context.redact(index));
    if count == 2 && !context.state.has_password() {
        return Err(NO_PASSWORD_SET.into());
    }
    let user = if count == 2 { DEFAULT.as_bytes() } else { context.args.at(1) };
    authenticate(context, user, context.args.at(count - 1))?;
    context.reply.ok();
    Ok(())
}

fn authenticate(context: &mut Context<'_>, user: &[u8], password: &[u8]) -> Result<(), Error> {
    if user == DEFAULT.as_bytes() && context.state.authenticate(&context.session.client, password) {
        return Ok(());
    }
    let delay = context.state.note_wrong_password(&context.session.client);
    if !delay.is_zero() {
        context.session.after = Flow::Wait(Cause::Penalty(delay));
    }
    Err(WRONG_PASSWORD)
}

/// HELLO [version [AUTH user password] [SETNAME name]]. A password before a wrong option takes effect, as in Redis.
pub(super) fn hello(context: &mut Context<'_>) -> Result<(), Stop> {
    let args = context.args;
    let version = args.get(1).map(parse_version).transpose()?;
    let mut name = None;
    let mut index = 2;
    while let Some(option) = args.get(index) {
        let more = args.len() - 1 - index;
        if option.eq_ignore_ascii_case(b"auth") && more >= 2 {
            context.redact(index + 1);
            context.redact(index + 2);
            authenticate(context, args.at(index + 1), args.at(index + 2))?;
            index += 3;
        } else if option.eq_ignore_ascii_case(b"setname") && more >= 1 {
            name = Some(checked_name(args.at(index + 1))?);
            index += 2;
        } else {
            return Err(Error::quoting("ERR Syntax error in HELLO option '", option, "'").into());
        }
    }
    let client = &context.session.client;
    if client.user() == User::Unauthenticated {
        return Err(HELLO_WITHOUT_AUTH.into());
    }
    if let Some(name) = name {
        client.change_names(|names| names.name = name.to_vec());
    }
    if let Some(version) = version {
        client.set_version(version);
        context.reply.set_resp3(version == Version::Resp3);
    }
    let is_cluster = context.state.settings.cluster_enabled.get();
    let reply = &mut context.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if client.version() == Version::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(client.id as i64);
    reply.bulk(b"mode");
    reply.bulk(if is_cluster { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

fn parse_version(word: &[u8]) -> Result<Version, Error> {
    match number::parse_i64(word) {
        Some(2) => Ok(Version::Resp2),
        Some(3) => Ok(Version::Resp3),
        Some(_) => Err(Error::new("NOPROTO unsupported protocol version")),
        None => Err(Error::new("ERR Protocol version is not an integer or out of range")),
    }
}

/// RESET.
pub(super) fn reset(context: &mut Context<'_>) -> Result<(), Stop> {
    let client = &context.session.client;
    context.state.clients.end_monitoring(client);
    client.select(0);
    client.set_version(Version::Resp2);
    client.set_user(context.state.first_user());
    client.set_touches(true);
    client.change_names(|names| names.name.clear());
    if context.session.reply_mode != ReplyMode::Skip {
        context.session.reply_mode = ReplyMode::On;
    }
    context.reply.simple("RESET");
    Ok(())
}

/// CLIENT ID.
pub(super) fn id(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.integer(context.session.client.id as i64);
    Ok(())
}

/// CLIENT GETNAME.
pub(super) fn get_name(context: &mut Context<'_>) -> Result<(), Stop> {
    match context.session.client.names().name {
        name if name.is_empty() => context.reply.null(),
        name => context.reply.bulk(&name),
    }
    Ok(())
}

/// CLIENT SETNAME name.
pub(super) fn set_name(context: &mut Context<'_>) -> Result<(), Stop> {
    let name = checked_name(context.args.at(2))?;
    context.session.client.change_names(|names| names.name = name.to_vec());
    context.reply.ok();
    Ok(())
}

fn checked_name(name: &[u8]) -> Result<&[u8], Error> {
    if fits_the_list(name) { Ok(name) } else { Err(BAD_NAME) }
}

/// CLIENT SETINFO (LIB-NAME|LIB-VER) text, of Redis 7.2.
pub(super) fn set_info(context: &mut Context<'_>) -> Result<(), Stop> {
    let (attribute, text) = (context.args.at(2), context.args.at(3));
    let is_name = attribute.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !attribute.eq_ignore_ascii_case(b"lib-ver") {
        return Err(Error::quoting("ERR Unrecognized option '", attribute, "'").into());
    }
    if !fits_the_list(text) {
        return Err(Error::quoting("ERR ", attribute, " cannot contain spaces, newlines or special characters.").into());
    }
    context.session.client.change_names(|names| {
        *(if is_name { &mut names.library } else { &mut names.library_version }) = text.to_vec();
    });
    context.reply.ok();
    Ok(())
}

/// CLIENT LIST separates its fields by blanks.
fn fits_the_list(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

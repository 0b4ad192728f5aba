//! DEBUG: what tests of clients and of servers need (<https://redis.io/docs/latest/commands/debug/>). Subcommands that would harm the server or its data are missing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::common::{is_word, reply_lines, wrong_subcommand};
use super::digest::Digest;
use crate::base::chunks::BytesRef;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::{Cause, Flow, Stop};
use crate::keyspace::entry::Entry;
use crate::keyspace::{Caller, Cursor, Databases, Key, NewExpiry, Scan, Step, Visitor, Walk};
use crate::protocol::resp::Version;
use crate::reply::Error;
use crate::store::rocks::RocksError;
use crate::types::string;

const NOT_POSITIVE: Error = Error::new("ERR value is out of range, must be positive");
const NO_PROTOCOL_TYPE: Error = Error::new(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    Output a hex signature representing the current DB content.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Output a hex signature of the values of all the specified keys.",
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> string keys named key:<num>. If <prefix> is specified then",
    "    it is used instead of the 'key' prefix.",
    "PROTOCOL <type>",
    "    Reply with a test value of the specified type. <type> can be: string,",
    "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
    "    true, false.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed. Setting it to 1 reenables it.",
    "SLEEP <seconds>",
    "    Answer this connection only after <seconds>. Decimals allowed. Others are served meanwhile.",
    "QUICKLIST-PACKED-THRESHOLD <size>, SET-DISABLE-DENY-SCRIPTS <0|1>, REPLYBUFFER <setting> <value>",
    "    Taken for the sake of tests that set them; they change nothing here.",
    "HELP",
    "    Prints this help.",
];

type Subcommand = fn(&mut Context<'_>) -> Result<(), Stop>;

/// Name, least and most arguments beside the name, what it does.
const SUBCOMMANDS: &[(&str, usize, usize, Subcommand)] = &[
    ("HELP", 0, usize::MAX, |context| reply_lines(context, HELP)),
    ("DIGEST", 0, 0, digest),
    ("DIGEST-VALUE", 0, usize::MAX, digest_values),
    ("ERROR", 1, 1, error),
    ("LOG", 1, 1, log),
    ("OBJECT", 1, 1, object),
    ("POPULATE", 1, 3, populate),
    ("PROTOCOL", 1, 1, protocol),
    ("QUICKLIST-PACKED-THRESHOLD", 1, 1, quicklist_threshold),
    ("REPLYBUFFER", 2, 2, accept),
    ("SET-ACTIVE-EXPIRE", 1, 1, set_active_expire),
    ("SET-DISABLE-DENY-SCRIPTS", 1, 1, accept),
    ("SLEEP", 1, 1, sleep),
];

pub fn debug(context: &mut Context<'_>) -> Result<(), Stop> {
    let (name, arguments) = (context.args.at(1), context.args.len() - 2);
    let known = SUBCOMMANDS
        .iter()
        .find(|(known, least, most, _)| is_word(name, known) && (*least..=*most).contains(&arguments));
    match known {
        Some((.., run)) => run(context),
        None => Err(wrong_subcommand("DEBUG", name).into()),
    }
}

fn accept(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.ok();
    Ok(())
}

/// The number at the front of the argument, as C's `atoi` reads a flag; 0 if there is none.
fn flag(argument: &[u8]) -> bool {
    number::parse_i64(argument).is_some_and(|number| number != 0)
}

fn digest(context: &mut Context<'_>) -> Result<(), Stop> {
    let digest =
        context.walk(DigestWalk { caller: context.caller(), next: 0, scan: None, digest: Digest::default() })?;
    context.reply.simple(&digest.digest.to_string());
    Ok(())
}

/// A walk over the keys of all databases, one database after the other.
struct DigestWalk {
    caller: Caller,
    /// The number of the database that comes after `scan`'s.
    next: usize,
    scan: Option<Scan<Entries>>,
    digest: Digest,
}

/// The keys of one database; `None`: it has none.
#[derive(Default)]
struct Entries(Option<Digest>);

impl Visitor for Entries {
    const READS_VALUES: bool = true;

    fn visit(&mut self, entry: &Entry) {
        self.0.get_or_insert_default().add_entry(entry);
    }
}

impl Walk for DigestWalk {
    fn step(&mut self, databases: &Databases, may_read: bool) -> Result<Step, RocksError> {
        let Some(scan) = &mut self.scan else {
            if self.next == databases.databases() {
                return Ok(Step::Done);
            }
            self.scan = Some(databases.scan(self.caller, self.next, Cursor::START, usize::MAX, Entries::default()));
            self.next += 1;
            return Ok(Step::More);
        };
        match scan.step(databases, may_read)? {
            Step::Done => {
                if let Some(entries) = scan.visitor.0 {
                    self.digest.chain_database(self.next - 1);
                    self.digest.combine(&entries);
                }
                self.scan = None;
                Ok(Step::More)
            }
            step => Ok(step),
        }
    }
}

fn digest_values(context: &mut Context<'_>) -> Result<(), Stop> {
    let database = context.database();
    let keys: Vec<Key<'_>> = (2..context.args.len()).map(|index| context.key(index)).collect();
    let slots = context.access.slots(keys.iter().map(|key| (database, *key)))?;
    context.reply.array(keys.len());
    for key in &keys {
        let digest = slots.of(database, key).peek(key).map(|entry| Digest::of_value(&entry));
        context.reply.simple(&digest.unwrap_or_default().to_string());
    }
    Ok(())
}

fn error(context: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::verbatim(context.args.at(2)).into())
}

fn log(context: &mut Context<'_>) -> Result<(), Stop> {
    tracing::warn!("DEBUG LOG: {}", context.args.at(2).escape_ascii());
    context.reply.ok();
    Ok(())
}

/// One line of facts. The value's address is not disclosed: it reads as 0.
fn object(context: &mut Context<'_>) -> Result<(), Stop> {
    let key = context.key(2);
    let line = context.access.slot(&key)?.peek(&key).map(|entry| {
        format!(
            "Value at:0x0 refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
            entry.encoding(),
            serialized_bytes(&entry),
            entry.recency().bits(),
            entry.recency().idle_seconds(context.now_ms)
        )
    });
    context.reply.simple(&line.ok_or(Error::NO_SUCH_KEY)?);
    Ok(())
}

/// How long the value would be in an RDB file, uncompressed.
fn serialized_bytes(entry: &Entry) -> usize {
    let length = entry.data_bytes();
    let bytes = entry.string().and_then(BytesRef::slice);
    let as_integer = || bytes.and_then(number::parse_i64).filter(|_| entry.encoding() == string::INTEGER);
    match as_integer() {
        Some(integer) if i8::try_from(integer).is_ok() => 2,
        Some(integer) if i16::try_from(integer).is_ok() => 3,
        Some(integer) if i32::try_from(integer).is_ok() => 5,
        _ => {
            let length_bytes = match length {
                0..=0x3f => 1,
                0x40..=0x3fff => 2,
                _ => 5,
            };
            length_bytes + length
        }
    }
}

/// Makes keys of numbered names that are not there yet, in the client's database.
fn populate(context: &mut Context<'_>) -> Result<(), Stop> {
    let positive = |index: usize| -> Result<Option<u64>, Error> {
        let parse = |text| number::parse_i64(text).and_then(|number| u64::try_from(number).ok()).ok_or(NOT_POSITIVE);
        context.args.get(index).map(parse).transpose()
    };
    let count = positive(2)?.unwrap_or(0);
    let prefix = context.args.get(3).unwrap_or(b"key");
    let value_bytes = positive(4)?.unwrap_or(0);
    if value_bytes > context.state.settings.proto_max_bulk_len.get() {
        return Err(Error::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)").into());
    }
    for index in 0..count {
        let name = [prefix, format!(":{index}").as_bytes()].concat();
        let mut value = format!("value:{index}").into_bytes();
        if value_bytes > 0 {
            value.resize(value_bytes as usize, 0);
        }
        let key = context.keyspace().key(&name);
        // After a cold key it runs again from the start, and skips the keys that it has made.
        context.access.may_begin_again();
        let slot = context.access.slot(&key)?;
        if slot.peek(&key).is_none() {
            slot.set_string(&key, &value, NewExpiry::Clear);
        }
    }
    context.reply.ok();
    Ok(())
}

/// A reply of each type.
fn protocol(context: &mut Context<'_>) -> Result<(), Stop> {
    let is_resp3 = context.session.client.version() == Version::Resp3;
    let reply = &mut *context.reply;
    match context.args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        // Redis's example, which is not meant to be exact.
        #[allow(clippy::approx_constant, reason = "it is the documented reply")]
        b"double" => reply.double(3.141),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" | b"set" => {
            if is_word(context.args.at(2), "array") {
                reply.array(3)
            } else {
                reply.set(3)
            }
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !is_resp3 => return Err(Error::new("ERR RESP2 is not supported by this command").into()),
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => return Err(NO_PROTOCOL_TYPE.into()),
    }
    Ok(())
}

fn quicklist_threshold(context: &mut Context<'_>) -> Result<(), Stop> {
    const MAX_BYTES: u64 = 1 << 32;
    match number::parse_memory(context.args.at(2)) {
        Some(..MAX_BYTES) => accept(context),
        _ => Err(Error::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb").into()),
    }
}

fn set_active_expire(context: &mut Context<'_>) -> Result<(), Stop> {
    context.keyspace().expires_actively.store(flag(context.args.at(2)), Ordering::Relaxed);
    accept(context)
}

/// Redis blocks all clients meanwhile; here only this connection waits.
fn sleep(context: &mut Context<'_>) -> Result<(), Stop> {
    let seconds = number::parse_f64(context.args.at(2)).unwrap_or(0.0).max(0.0);
    // What no `Duration` can hold never ends.
    context.session.after = Flow::Wait(Cause::Delay(Duration::try_from_secs_f64(seconds).ok()));
    accept(context)
}

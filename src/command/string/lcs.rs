//! LCS: what two strings have in common.

use super::common::{is_option, refusal};
use crate::base::chunks::BytesRef;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::{Key, Owned, SlotGuards};
use crate::protocol::Args;
use crate::reply::{Error, Sink};
use crate::types::string::{self, Lcs};

#[derive(Default)]
struct Options {
    wants_length: bool,
    wants_matches: bool,
    wants_match_lengths: bool,
    min_match_length: i64,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Options, Error> {
        let mut options = Options::default();
        let mut index = 3;
        while let Some(option) = args.get(index) {
            index += 1;
            if is_option(option, "IDX") {
                options.wants_matches = true;
            } else if is_option(option, "LEN") {
                options.wants_length = true;
            } else if is_option(option, "WITHMATCHLEN") {
                options.wants_match_lengths = true;
            } else if is_option(option, "MINMATCHLEN") {
                let length = args.get(index).ok_or(Error::SYNTAX)?;
                options.min_match_length = number::parse_i64(length).ok_or(Error::NOT_AN_INTEGER)?;
                index += 1;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        if options.wants_matches && options.wants_length {
            return Err(Error::new("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

pub fn lcs(context: &mut Context<'_>) -> Result<(), Stop> {
    let (first, second) = (context.key(1), context.key(2));
    let database = context.database();
    // Copies, so that the slots are not locked for as long as the comparison takes.
    let slots = context.access.slots([(database, first), (database, second)].into_iter())?;
    let (first, second) = (copy(slots, database, &first), copy(slots, database, &second));
    context.access.release();
    let (Some(first), Some(second)) = (first, second) else {
        return Err(Error::new("ERR The specified keys must contain string values").into());
    };
    let options = Options::parse(&context.args)?;
    let limit_bytes = context.state.settings.proto_max_bulk_len.get();
    // Lengths are checked first, so that strings that are too long are not copied.
    let [first, second] = [&first, &second].map(|value| value.bytes().unwrap_or(BytesRef::Slice(&[])));
    string::check_lcs_limit(first.len(), second.len(), limit_bytes).map_err(refusal)?;
    let (first, second) = (first.to_vec(), second.to_vec());
    if options.wants_length {
        let length = string::lcs_length(&first, &second, limit_bytes).map_err(refusal)?;
        context.reply.integer(length as i64);
        return Ok(());
    }
    let found = string::lcs(&first, &second, limit_bytes).map_err(refusal)?;
    if options.wants_matches {
        reply_matches(context.reply, &found, &options);
    } else {
        context.reply.bulk(&found.sequence);
    }
    Ok(())
}

/// The key's bytes, none for a key that does not exist; `None` for another type.
fn copy(slots: &mut SlotGuards<'_>, database: usize, key: &Key<'_>) -> Option<Owned> {
    match slots.of(database, key).read(key) {
        Some(entry) => entry.string().map(|_| entry.copy_content()),
        None => Some(Owned::Inline(Vec::new())),
    }
}

fn reply_matches(reply: &mut dyn Sink, found: &Lcs, options: &Options) {
    let matches = || found.matches(options.min_match_length);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches().count());
    for run in matches() {
        reply.array(if options.wants_match_lengths { 3 } else { 2 });
        for range in [&run.first, &run.second] {
            reply.array(2);
            reply.integer(*range.start() as i64);
            reply.integer(*range.end() as i64);
        }
        if options.wants_match_lengths {
            reply.integer(run.length() as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(found.sequence.len() as i64);
}

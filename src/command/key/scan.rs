//! KEYS, SCAN, RANDOMKEY, DBSIZE.

use crate::base::{glob, number, thread};
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::keyspace::entry::Entry;
use crate::keyspace::{Cursor, Visitor};
use crate::protocol::until_nul;
use crate::reply::{Error, Sink};

const DEFAULT_COUNT: usize = 10;

/// Names of keys, copied so that no slot is locked while the reply is written; one allocation for all of them.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    fn add(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    fn reply(&self, reply: &mut dyn Sink) {
        reply.array(self.ends.len());
        let mut start = 0;
        for &end in &self.ends {
            reply.bulk(&self.bytes[start..end]);
            start = end;
        }
    }
}

/// Lists names: those that match a pattern, of keys of a type.
struct Listing {
    pattern: Vec<u8>,
    /// The type's name, in any case; `None`: any.
    type_name: Option<Vec<u8>>,
    names: Names,
}

impl Visitor for Listing {
    fn wants(&self, entry: &Entry) -> bool {
        let is_type = |name: &Vec<u8>| name.eq_ignore_ascii_case(entry.type_name().as_bytes());
        // For itself the star would not match the empty name.
        let matches = |pattern: &[u8]| pattern == b"*" || glob::matches(pattern, entry.key(), false);
        self.type_name.as_ref().is_none_or(is_type) && matches(&self.pattern)
    }

    fn visit(&mut self, entry: &Entry) {
        self.names.add(entry.key());
    }
}

pub fn keys(context: &mut Context<'_>) -> Result<(), Stop> {
    let listing = Listing { pattern: context.args.at(1).to_vec(), type_name: None, names: Names::default() };
    let (caller, database) = (context.caller(), context.database());
    let scan = context.walk(context.keyspace().scan(caller, database, Cursor::START, usize::MAX, listing))?;
    scan.visitor.names.reply(context.reply);
    Ok(())
}

pub fn scan(context: &mut Context<'_>) -> Result<(), Stop> {
    let cursor = parse_cursor(context.args.at(1)).ok_or(Error::new("ERR invalid cursor"))?;
    let mut listing = Listing { pattern: b"*".to_vec(), type_name: None, names: Names::default() };
    let mut count = DEFAULT_COUNT;
    let mut index = 2;
    while let Some(option) = context.args.get(index) {
        let value = context.args.get(index + 1).ok_or(Error::SYNTAX)?;
        if option.eq_ignore_ascii_case(b"count") {
            let wanted = number::parse_i64(value).ok_or(Error::NOT_AN_INTEGER)?;
            count = usize::try_from(wanted).ok().filter(|count| *count > 0).ok_or(Error::SYNTAX)?;
        } else if option.eq_ignore_ascii_case(b"match") {
            listing.pattern = value.to_vec();
        } else if option.eq_ignore_ascii_case(b"type") {
            listing.type_name = Some(until_nul(value).to_vec());
        } else {
            return Err(Error::SYNTAX.into());
        }
        index += 2;
    }
    let (caller, database) = (context.caller(), context.database());
    let scan = context.walk(context.keyspace().scan(caller, database, cursor, count, listing))?;
    context.reply.array(2);
    context.reply.bulk(scan.cursor().0.to_string().as_bytes());
    scan.visitor.names.reply(context.reply);
    Ok(())
}

/// Reads a cursor by the rules of C's `strtoul`, as Redis does: a sign may come first, a NUL ends the text, and an
/// empty text is 0; white space in front is refused.
fn parse_cursor(text: &[u8]) -> Option<Cursor> {
    let (negative, digits) = match until_nul(text) {
        [] => return Some(Cursor::START),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Cursor(if negative { magnitude.wrapping_neg() } else { magnitude }))
}

pub fn random_key(context: &mut Context<'_>) -> Result<(), Stop> {
    let draw = context.keyspace().draw(context.caller(), context.database(), thread::random);
    match context.walk(draw)?.name {
        Some(name) => context.reply.bulk(&name),
        None => context.reply.null(),
    }
    Ok(())
}

pub fn database_size(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.integer(context.keyspace().len(context.database()) as i64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_reads_them() {
        let accepted: [(&[u8], u64); 8] = [
            (b"0", 0),
            (b"", 0),
            (b"\0x", 0),
            (b"+7", 7),
            (b"007", 7),
            (b"18446744073709551615", u64::MAX),
            (b"-1", u64::MAX),
            (b"12\0x", 12),
        ];
        for (text, cursor) in accepted {
            assert_eq!(parse_cursor(text), Some(Cursor(cursor)), "{}", text.escape_ascii());
        }
        for text in ["-", "+", " 1", "1 ", "\t1", "0x1", "1.5", "abc", "+-1", "18446744073709551616"] {
            assert_eq!(parse_cursor(text.as_bytes()), None, "{text}");
        }
    }
}

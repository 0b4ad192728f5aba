//! When two replies to the same command count as equal.
//!
//! Equal bytes are. The table below lists the commands whose replies may differ for a good reason, and what is still
//! compared of them.

use crate::support::Value;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Freedom {
    /// Any order of the elements.
    Order,
    /// Any number within this distance; what is not positive (no key, no expiry) is compared exactly.
    Near(i64),
    /// Anything of the same type.
    Shape,
    /// One of the keys, or null in both.
    OneOf,
    /// A page of an iteration: the cursor and the number of keys are the server's own, unless all was asked for.
    Page,
    /// A map in which these fields may differ.
    Fields(&'static [&'static str]),
    /// A line of `name=value`, in which only these values are compared, and which names there are.
    Line(&'static [&'static str]),
    /// Flags and categories in any order, at any depth; the notes on keys are prose, and not compared.
    DeepOrder,
    /// Any one of these texts for another.
    Either(&'static [&'static str]),
}

/// First words of the command, and what is free in its reply. The clock may move on between the two servers, by
/// seconds on a busy machine.
const FREE: &[(&[&str], Freedom)] = &[
    (&["KEYS"], Freedom::Order),
    (&["RANDOMKEY"], Freedom::OneOf),
    (&["SCAN"], Freedom::Page),
    (&["TTL"], Freedom::Near(10)),
    (&["EXPIRETIME"], Freedom::Near(10)),
    (&["PTTL"], Freedom::Near(10_000)),
    (&["PEXPIRETIME"], Freedom::Near(10_000)),
    // Redis remembers that INCRBYFLOAT made an integer; what the server under test tells follows from the value alone.
    (&["OBJECT", "ENCODING"], Freedom::Either(&["int", "embstr"])),
    (&["OBJECT", "IDLETIME"], Freedom::Shape),
    // Redis shares small integers, though not the results of COPY and INCRBYFLOAT; here, nothing is shared.
    (&["OBJECT", "REFCOUNT"], Freedom::Shape),
    (&["MEMORY", "USAGE"], Freedom::Shape),
    (&["TIME"], Freedom::Shape),
    (&["INFO"], Freedom::Shape),
    (&["LOLWUT"], Freedom::Shape),
    (&["SLOWLOG", "LEN"], Freedom::Shape),
    (&["CLIENT", "ID"], Freedom::Shape),
    (&["CLIENT", "INFO"], Freedom::Line(&["name", "db", "sub", "psub", "multi", "cmd", "user", "resp"])),
    (&["CLIENT", "LIST"], Freedom::Shape),
    (&["COMMAND", "INFO"], Freedom::DeepOrder),
    (&["COMMAND", "LIST", "FILTERBY"], Freedom::Order),
    (&["COMMAND", "LIST"], Freedom::Shape),
    (&["COMMAND", "COUNT"], Freedom::Shape),
    (&["ACL", "CAT", "string"], Freedom::Order),
    (&["HELLO"], Freedom::Fields(&["id", "version"])),
];

/// Whether `left` and `right` are both right answers to `command`, if one of them is.
pub fn equal(command: &[Vec<u8>], left: &Value, right: &Value) -> bool {
    if same(left, right) {
        return true;
    }
    let is_for = |words: &[&str]| {
        words.len() <= command.len()
            && words.iter().zip(command).all(|(word, argument)| word.as_bytes().eq_ignore_ascii_case(argument))
    };
    let Some((_, freedom)) = FREE.iter().find(|(words, _)| is_for(words)) else { return false };
    match (freedom, left, right) {
        (Freedom::Order, Value::Array(left), Value::Array(right)) => sorted(left) == sorted(right),
        (Freedom::Near(distance), Value::Integer(left), Value::Integer(right)) => {
            *left > 0 && *right > 0 && left.abs_diff(*right) <= distance.unsigned_abs()
        }
        (Freedom::Shape, left, right) => !left.is_error() && shape(left) == shape(right),
        (Freedom::OneOf, Value::Bulk(_), Value::Bulk(_)) => true,
        (Freedom::Page, Value::Array(left), Value::Array(right)) => equal_pages(command, left, right),
        (Freedom::Fields(free), left, right) => match (pairs(left), pairs(right)) {
            (Some(left_pairs), Some(right_pairs)) => {
                shape(left) == shape(right)
                    && left_pairs.len() == right_pairs.len()
                    && left_pairs.iter().zip(right_pairs).all(|((left_key, left), (right_key, right))| {
                        let is_free = free.iter().any(|field| Value::bulk(field) == **left_key);
                        left_key == &right_key && (same(left, right) || (is_free && shape(left) == shape(right)))
                    })
            }
            _ => false,
        },
        (
            Freedom::Line(compared),
            Value::Bulk(left) | Value::Verbatim(_, left),
            Value::Bulk(right) | Value::Verbatim(_, right),
        ) => equal_lines(compared, left, right),
        (Freedom::Either(texts), Value::Bulk(left), Value::Bulk(right)) => {
            [left, right].iter().all(|text| texts.iter().any(|free| free.as_bytes() == text.as_slice()))
        }
        (Freedom::DeepOrder, left, right) => deeply_sorted(left) == deeply_sorted(right),
        _ => false,
    }
}

/// Equality in which NaN equals itself.
fn same(left: &Value, right: &Value) -> bool {
    left == right || matches!((left, right), (Value::Double(a), Value::Double(b)) if a.is_nan() && b.is_nan())
}

fn shape(value: &Value) -> std::mem::Discriminant<Value> {
    std::mem::discriminant(value)
}

fn sorted(values: &[Value]) -> Vec<String> {
    let mut texts: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    texts.sort();
    texts
}

fn deeply_sorted(value: &Value) -> String {
    let is_note = |name: &Value| *name == Value::bulk("notes");
    match value {
        Value::Array(items) if items.first().is_some_and(is_note) => deeply_sorted(&Value::Array(items[2..].to_vec())),
        Value::Map(pairs) => {
            let rest = pairs.iter().filter(|(name, _)| !is_note(name));
            rest.map(|(name, value)| format!("{}={}", deeply_sorted(name), deeply_sorted(value))).collect()
        }
        Value::Array(items) | Value::Set(items) => {
            let mut texts: Vec<String> = items.iter().map(deeply_sorted).collect();
            texts.sort();
            format!("{:?}[{}]", matches!(value, Value::Set(_)), texts.join(" "))
        }
        other => format!("{other:?}"),
    }
}

fn pairs(value: &Value) -> Option<Vec<(&Value, &Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs.iter().map(|(key, value)| (key, value)).collect()),
        Value::Array(items) => Some(items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect()),
        _ => None,
    }
}

fn equal_pages(command: &[Vec<u8>], left: &[Value], right: &[Value]) -> bool {
    let ([left_cursor, Value::Array(left)], [right_cursor, Value::Array(right)]) = (left, right) else { return false };
    let is_whole = command.iter().any(|argument| argument.as_slice() == b"100000");
    if is_whole {
        left_cursor == right_cursor && sorted(left) == sorted(right)
    } else {
        shape(left_cursor) == shape(right_cursor)
    }
}

fn equal_lines(compared: &[&str], left: &[u8], right: &[u8]) -> bool {
    let fields = |line: &[u8]| -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(line).into_owned();
        let pair = |field: &str| field.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    };
    let (left, right) = (fields(left), fields(right));
    // Fields of later versions may follow.
    left.len() <= right.len()
        && left.iter().zip(&right).all(|((left_name, left), (right_name, right))| {
            left_name == right_name && (left == right || !compared.contains(&left_name.as_str()))
        })
}

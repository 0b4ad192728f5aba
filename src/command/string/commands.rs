//! The commands of strings, declared.

use super::{get, lcs, many, numbers, ranges, set};
use crate::command::flags::{Categories, Flags};
use crate::command::spec::{Handler, KeyUse, Spec};

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = READ.or(Flags::FAST);
/// A change that needs no memory.
const FAST_SHRINK: Flags = Flags::WRITE.or(Flags::FAST);
const WRITE: Flags = Flags::WRITE.or(Flags::DENY_OOM);
const FAST_WRITE: Flags = WRITE.or(Flags::FAST);

const CONSTANT: &str = "O(1)";
const BY_KEYS: &str = "O(N) where N is the number of keys";
const BY_LENGTH: &str = "O(N) where N is the length of the returned bytes";

/// A command with one key, its first argument.
const fn one_key(name: &'static str, arity: i32, handler: Handler, flags: Flags, key_use: KeyUse) -> Spec {
    Spec::new(name, arity, handler).flags(flags).keys(1, 1, 1, key_use).categories(Categories::STRING)
}

/// A command with a key in every `step`-th argument.
const fn many_keys(
    name: &'static str,
    arity: i32,
    handler: Handler,
    flags: Flags,
    step: usize,
    key_use: KeyUse,
) -> Spec {
    Spec::new(name, arity, handler).flags(flags).keys(1, -1, step, key_use).categories(Categories::STRING)
}

pub const COMMANDS: &[Spec] = &[
    one_key("get", 2, get::get, FAST_READ, KeyUse::Read).doc("string", "1.0.0", CONSTANT, "Get the value of a key"),
    one_key("getset", 3, set::getset, FAST_WRITE, KeyUse::Update)
        .value(2)
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .doc("string", "1.0.0", CONSTANT, "Set a key and get the value it had before"),
    one_key("getdel", 2, get::getdel, FAST_SHRINK, KeyUse::Take).doc(
        "string",
        "6.2.0",
        CONSTANT,
        "Get the value of a key and delete the key",
    ),
    one_key("getex", -2, get::getex, FAST_SHRINK, KeyUse::Update).doc(
        "string",
        "6.2.0",
        CONSTANT,
        "Get the value of a key and set or remove its expiry",
    ),
    one_key("set", -3, set::set, WRITE, KeyUse::Update).value(2).key_use_by(set::key_use).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Set a key, on conditions and with an expiry if wanted",
    ),
    one_key("setnx", 3, set::setnx, FAST_WRITE, KeyUse::Create).value(2).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Set a key unless it exists",
    ),
    one_key("setex", 4, set::setex, WRITE, KeyUse::Overwrite).value(3).doc(
        "string",
        "2.0.0",
        CONSTANT,
        "Set a key with an expiry in seconds",
    ),
    one_key("psetex", 4, set::psetex, WRITE, KeyUse::Overwrite).value(3).doc(
        "string",
        "2.6.0",
        CONSTANT,
        "Set a key with an expiry in milliseconds",
    ),
    many_keys("mget", -2, many::mget, FAST_READ, 1, KeyUse::Read).tips(&["request_policy:multi_shard"]).doc(
        "string",
        "1.0.0",
        BY_KEYS,
        "Get the values of several keys at one moment",
    ),
    many_keys("mset", -3, many::mset, WRITE, 2, KeyUse::Overwrite)
        .values(2, 2)
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .doc("string", "1.0.1", BY_KEYS, "Set several keys at one moment"),
    many_keys("msetnx", -3, many::msetnx, WRITE, 2, KeyUse::Create)
        .values(2, 2)
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .doc("string", "1.0.1", BY_KEYS, "Set several keys at one moment unless one of them exists"),
    one_key("append", 3, ranges::append, FAST_WRITE, KeyUse::Extend).value(2).result_bytes(ranges::append_bytes).doc(
        "string",
        "2.0.0",
        "O(1) amortized: room doubles when it runs out",
        "Append to the value of a key",
    ),
    one_key("strlen", 2, ranges::strlen, FAST_READ, KeyUse::Inspect).doc(
        "string",
        "2.2.0",
        CONSTANT,
        "Get the length of a key's value",
    ),
    one_key("getrange", 4, ranges::getrange, READ, KeyUse::Read).doc(
        "string",
        "2.4.0",
        BY_LENGTH,
        "Get a part of a key's value",
    ),
    one_key("substr", 4, ranges::getrange, READ, KeyUse::Read).deprecated("2.0.0", "`GETRANGE`").doc(
        "string",
        "1.0.0",
        BY_LENGTH,
        "Get a part of a key's value (the former name of GETRANGE)",
    ),
    one_key("setrange", 4, ranges::setrange, WRITE, KeyUse::Adjust).value(3).result_bytes(ranges::setrange_bytes).doc(
        "string",
        "2.2.0",
        "O(N) where N is the length of the new bytes, and of the zero bytes before them",
        "Overwrite a part of a key's value from an offset on",
    ),
    one_key("incr", 2, numbers::incr, FAST_WRITE, KeyUse::Update).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Add one to the integer in a key",
    ),
    one_key("decr", 2, numbers::decr, FAST_WRITE, KeyUse::Update).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Subtract one from the integer in a key",
    ),
    one_key("incrby", 3, numbers::incrby, FAST_WRITE, KeyUse::Update).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Add to the integer in a key",
    ),
    one_key("decrby", 3, numbers::decrby, FAST_WRITE, KeyUse::Update).doc(
        "string",
        "1.0.0",
        CONSTANT,
        "Subtract from the integer in a key",
    ),
    one_key("incrbyfloat", 3, numbers::incrbyfloat, FAST_WRITE, KeyUse::Update).doc(
        "string",
        "2.6.0",
        CONSTANT,
        "Add to the number in a key, which may have a fraction",
    ),
    Spec::new("lcs", -3, lcs::lcs).flags(READ).keys(1, 2, 1, KeyUse::Read).categories(Categories::STRING).doc(
        "string",
        "7.0.0",
        "O(N*M) where N and M are the lengths of the two values",
        "Find the longest subsequence that two values have in common",
    ),
];

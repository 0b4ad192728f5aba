//! The commands of keys, declared.

use super::{existence, expire, flush, object, rename, scan};
use crate::command::flags::{Categories, Flags};
use crate::command::spec::{Handler, KeyUse, Spec};

const READ_FAST: Flags = Flags::READONLY.or(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.or(Flags::FAST);
const EXCLUSIVE: Flags = Flags::WRITE.or(Flags::EXCLUSIVE);
const WALK: Flags = Flags::READONLY.or(Flags::LOOKS_AROUND);
const KEYSPACE: Categories = Categories::KEYSPACE;
const DANGEROUS: Categories = KEYSPACE.or(Categories::DANGEROUS);

pub const COMMANDS: &[Spec] = &[
    on_all_keys("del", existence::delete, Flags::WRITE, KeyUse::Remove)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "generic",
            "1.0.0",
            "O(N) where N is the number of keys, and for each that holds a collection, O(M) in its elements",
            "Delete keys",
        ),
    on_all_keys("unlink", existence::delete, WRITE_FAST, KeyUse::Remove)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "generic",
            "4.0.0",
            "O(N) where N is the number of keys; large values are freed apart from that",
            "Delete keys without waiting for their memory to be freed",
        ),
    on_all_keys("exists", existence::exists, READ_FAST, KeyUse::Inspect)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc("generic", "1.0.0", "O(N) where N is the number of keys", "Count how many of the keys exist"),
    on_all_keys("touch", existence::touch, READ_FAST, KeyUse::Inspect)
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .doc(
            "generic",
            "3.2.1",
            "O(N) where N is the number of keys",
            "Note a use of the keys, and count how many exist",
        ),
    on_one_key("type", 2, existence::type_of, READ_FAST, KeyUse::Inspect).doc(
        "generic",
        "1.0.0",
        "O(1)",
        "Tell the type of the value at a key",
    ),
    on_two_keys("rename", 3, rename::rename, Flags::WRITE, KeyUse::Take).last_key(KeyUse::Overwrite).doc(
        "generic",
        "1.0.0",
        "O(1), and what it takes to free the value that was at the new name",
        "Give a key another name, in place of a key that may have it",
    ),
    on_two_keys("renamenx", 3, rename::rename_if_free, WRITE_FAST, KeyUse::Take).last_key(KeyUse::Create).doc(
        "generic",
        "1.0.0",
        "O(1)",
        "Give a key another name, unless a key has it",
    ),
    on_two_keys("copy", -3, rename::copy, Flags::WRITE.or(Flags::DENY_OOM), KeyUse::Read)
        .last_key(KeyUse::Overwrite)
        .doc(
            "generic",
            "6.2.0",
            "O(N) in the elements of a collection, O(1) for strings",
            "Copy a value to another key",
        ),
    on_one_key("move", 3, rename::move_key, WRITE_FAST, KeyUse::Update).doc(
        "generic",
        "1.0.0",
        "O(1)",
        "Move a key to another database",
    ),
    Spec::new("keys", 2, scan::keys)
        .flags(WALK)
        .categories(DANGEROUS)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .doc(
            "generic",
            "1.0.0",
            "O(N) where N is the number of keys in the database",
            "List the keys whose names match a pattern",
        ),
    Spec::new("scan", -2, scan::scan)
        .flags(WALK)
        .categories(KEYSPACE)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .doc(
            "generic",
            "2.8.0",
            "O(1) a call, O(N) for a whole iteration, where N is the number of keys in the database",
            "Iterate over the names of the keys, a few at a time",
        ),
    Spec::new("randomkey", 1, scan::random_key)
        .flags(WALK)
        .categories(KEYSPACE)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .doc("generic", "1.0.0", "O(1)", "Draw a key by chance"),
    Spec::new("dbsize", 1, scan::database_size)
        .flags(READ_FAST)
        .categories(KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .doc("server", "1.0.0", "O(1)", "Count the keys in the database"),
    Spec::new("flushdb", -1, flush::flush_database)
        .flags(EXCLUSIVE)
        .categories(DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc(
            "server",
            "1.0.0",
            "O(N) where N is the number of keys in the database",
            "Delete all keys of the database",
        ),
    Spec::new("flushall", -1, flush::flush_all)
        .flags(EXCLUSIVE)
        .categories(DANGEROUS)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .doc(
            "server",
            "1.0.0",
            "O(N) where N is the number of keys in all databases",
            "Delete all keys of all databases",
        ),
    Spec::new("swapdb", 3, flush::swap_databases).flags(EXCLUSIVE.or(Flags::FAST)).categories(DANGEROUS).doc(
        "server",
        "4.0.0",
        "O(1)",
        "Exchange two databases for all clients",
    ),
    on_one_key("expire", -3, expire::expire, WRITE_FAST, KeyUse::Adjust).doc(
        "generic",
        "1.0.0",
        "O(1)",
        "Have a key expire after some seconds",
    ),
    on_one_key("pexpire", -3, expire::expire_milliseconds, WRITE_FAST, KeyUse::Adjust).doc(
        "generic",
        "2.6.0",
        "O(1)",
        "Have a key expire after some milliseconds",
    ),
    on_one_key("expireat", -3, expire::expire_at, WRITE_FAST, KeyUse::Adjust).doc(
        "generic",
        "1.2.0",
        "O(1)",
        "Have a key expire at a Unix time in seconds",
    ),
    on_one_key("pexpireat", -3, expire::expire_at_milliseconds, WRITE_FAST, KeyUse::Adjust).doc(
        "generic",
        "2.6.0",
        "O(1)",
        "Have a key expire at a Unix time in milliseconds",
    ),
    on_one_key("ttl", 2, expire::time_to_live, READ_FAST, KeyUse::Read).tips(&["nondeterministic_output"]).doc(
        "generic",
        "1.0.0",
        "O(1)",
        "Tell how many seconds a key has left",
    ),
    on_one_key("pttl", 2, expire::time_to_live_milliseconds, READ_FAST, KeyUse::Read)
        .tips(&["nondeterministic_output"])
        .doc("generic", "2.6.0", "O(1)", "Tell how many milliseconds a key has left"),
    on_one_key("expiretime", 2, expire::expire_time, READ_FAST, KeyUse::Read).doc(
        "generic",
        "7.0.0",
        "O(1)",
        "Tell the Unix time in seconds at which a key expires",
    ),
    on_one_key("pexpiretime", 2, expire::expire_time_milliseconds, READ_FAST, KeyUse::Read).doc(
        "generic",
        "7.0.0",
        "O(1)",
        "Tell the Unix time in milliseconds at which a key expires",
    ),
    on_one_key("persist", 2, expire::persist, WRITE_FAST, KeyUse::Adjust).doc(
        "generic",
        "2.2.0",
        "O(1)",
        "Take a key's expiry away",
    ),
    Spec::new("object", -2, object::object)
        .doc("generic", "2.2.3", "Depends on subcommand", "Look into how a value is kept")
        .subcommands(object::SUBCOMMANDS),
];

const fn on_one_key(name: &'static str, arity: i32, handler: Handler, flags: Flags, key_use: KeyUse) -> Spec {
    Spec::new(name, arity, handler).flags(flags).keys(1, 1, 1, key_use).categories(KEYSPACE)
}

const fn on_two_keys(name: &'static str, arity: i32, handler: Handler, flags: Flags, key_use: KeyUse) -> Spec {
    Spec::new(name, arity, handler).flags(flags).keys(1, 2, 1, key_use).categories(KEYSPACE)
}

const fn on_all_keys(name: &'static str, handler: Handler, flags: Flags, key_use: KeyUse) -> Spec {
    Spec::new(name, -2, handler).flags(flags).keys(1, -1, 1, key_use).categories(KEYSPACE)
}

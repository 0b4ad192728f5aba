//! The commands of this family, declared.

use super::common::ANYTIME;
use super::{latency, memory, sections, slowlog};
use crate::command::flags::{Categories, Flags};
use crate::command::spec::Spec;

pub const COMMANDS: &[Spec] = &[
    Spec::new("info", -1, sections::info)
        .flags(ANYTIME.or(Flags::LOOKS_AROUND))
        .categories(Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .doc("server", "1.0.0", "O(1)", "Tell about the server and what it has counted"),
    slowlog::COMMAND,
    latency::COMMAND,
    memory::COMMAND,
];

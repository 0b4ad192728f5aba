//! What the server tells of itself: INFO, SLOWLOG, LATENCY, MEMORY.

use super::spec::Spec;

pub const COMMANDS: &[Spec] = &[];

//! Keys of any type (<https://redis.io/docs/latest/commands/?group=generic>).

use super::spec::Spec;

pub const COMMANDS: &[Spec] = &[];

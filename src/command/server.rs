//! The server itself: COMMAND, CONFIG, DEBUG, SHUTDOWN, …

use super::spec::Spec;

pub const COMMANDS: &[Spec] = &[];

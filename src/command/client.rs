//! HELLO, AUTH and CLIENT: who a connection is and how it is treated.

use super::spec::Spec;

pub const COMMANDS: &[Spec] = &[];

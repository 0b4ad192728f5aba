//! The two syntaxes of a configuration file, and how they are told apart.

use std::path::Path;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A flat table: `name = value`.
    Toml,
    /// That of redis.conf: `name value`.
    Redis,
}

impl Syntax {
    /// The syntax of a text: the first line that is no comment tells, by what follows its first word. `None` where there
    /// is no such line.
    pub fn of(text: &[u8]) -> Option<Syntax> {
        let line = text
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .find(|line| !line.is_empty() && !line.starts_with(b"#"))?;
        let name_length = match line[0] {
            quote @ (b'"' | b'\'') => {
                line.iter().skip(1).position(|byte| *byte == quote).map_or(0, |length| length + 2)
            }
            _ => line.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'=').unwrap_or(line.len()),
        };
        let is_table = line[name_length..].trim_ascii_start().starts_with(b"=") || line.starts_with(b"[");
        Some(if is_table { Syntax::Toml } else { Syntax::Redis })
    }

    /// The syntax of a text in a file of this name, which tells where there are only comments.
    pub fn of_file(text: &[u8], path: &Path) -> Syntax {
        let by_name = || if path.extension().is_some_and(|end| end == "conf") { Syntax::Redis } else { Syntax::Toml };
        Syntax::of(text).unwrap_or_else(by_name)
    }
}

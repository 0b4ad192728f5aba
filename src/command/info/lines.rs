//! Lines of INFO.

use std::fmt::Write;

pub(super) fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

/// Lines of `name value`.
macro_rules! lines {
    ($text:ident, $($name:literal: $value:expr),* $(,)?) => {
        $(line($text, $name, $value);)*
    };
}
pub(super) use lines;

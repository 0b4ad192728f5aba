//! Which protocol a server is asked by.

use serde::Serialize;

/// The protocols that the generator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RESP2.
    Resp,
    /// The book's length-prefixed TCP protocol, `docs/protocols.md`.
    Book,
    /// `/cache/{key}`.
    Http,
}

impl Protocol {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Resp => "resp",
            Protocol::Book => "book",
            Protocol::Http => "http",
        }
    }

    /// Where a Rockpool listens for it by default.
    pub fn default_port(self) -> u16 {
        match self {
            Protocol::Resp => 6379,
            Protocol::Http => 12345,
            Protocol::Book => 12346,
        }
    }
}

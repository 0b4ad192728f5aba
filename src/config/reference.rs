//! The reference page of the parameters, written from the table.

use super::parameter::{Group, Mutability};
use super::table::{PARAMETERS, Parameter, Settings};

const INTRODUCTION: &str = "\
# Configuration

<!-- Written from the table of parameters (src/config/table.rs). To renew it after a change there:
     UPDATE_REFERENCE=1 cargo test --lib config::reference -->

A setting can stand in several places. Each place overrides the ones above it; it replaces a value as a whole (of
`client-output-buffer-limit`, the classes that it names).

| place | example |
|---|---|
| default | |
| configuration file, in TOML | `maxmemory-policy = \"allkeys-lru\"` |
| or in the syntax of redis.conf | `maxmemory-policy allkeys-lru` |
| environment | `ROCKPOOL_MAXMEMORY_POLICY=allkeys-lru` |
| flag | `--maxmemory-policy allkeys-lru` |

The file is `rockpool.toml` in the directory where the server is started, if there is one. `rockpool FILE`,
`rockpool --config FILE` or the variable `ROCKPOOL_CONFIG` names another; `rockpool -` reads standard input, after the
file if there is one. What follows the first word of its first line tells the syntax, whatever the file is called.

- TOML: a flat table. Numbers and booleans can be written as such, lists as arrays: `port = 7000`,
  `protected-mode = false`, `bind = [\"127.0.0.1\", \"::1\"]`.
- redis.conf: words, in quotes where Redis has them so. Later lines override earlier ones; those of `save` and
  `client-output-buffer-limit` add up, until an empty one. `include` takes patterns. As in Redis, relative paths are taken from
  `dir`. What cannot be had here and would be missed (`replicaof`, `cluster-enabled yes`, `user`, `aclfile`,
  `rename-command`, `loadmodule`, TLS) stops the start.

A setting that is unknown or invalid stops the start with one line that says where it stands. That includes every
variable that begins with `ROCKPOOL_`. (Kubernetes adds such variables by itself where a service is called `rockpool`;
`enableServiceLinks: false` turns that off.)

While the server runs, `CONFIG GET` reads settings, `CONFIG SET` changes those that the table calls changeable, and
`CONFIG REWRITE` writes the present values into the file. A protected setting can be changed only where
`enable-protected-configs` allows it.

Sizes are bytes: `100`, `1k` (1000), `1kb` (1024), `1m`, `1mb`, `1g`, `1gb`.

Settings marked *without effect* are accepted because clients, tools and configuration files of Redis set them. They can
be set and read back, and do nothing; one line of the log names those that were given.
";

/// The reference page, in Markdown.
pub fn reference() -> String {
    let defaults = Settings::default();
    let mut page = INTRODUCTION.to_owned();
    for group in Group::ALL {
        page.push_str(&format!("\n## {}\n\n", group.title()));
        page.push_str("| setting | value | default | changeable | what it does |\n|---|---|---|---|---|\n");
        for parameter in PARAMETERS.iter().filter(|parameter| parameter.group == group) {
            page.push_str(&row(parameter, &defaults));
        }
    }
    page
}

fn row(parameter: &Parameter, defaults: &Settings) -> String {
    let value = parameter.value(defaults);
    let name = parameter.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let default = match value.documented().as_str() {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let mutability = match parameter.mutability {
        Mutability::Mutable => "yes",
        Mutability::Protected => "protected",
        Mutability::Immutable => "no",
    };
    let note = if parameter.without_effect { "*Without effect.* " } else { "" };
    let (form, doc) = (value.form(), parameter.doc());
    format!("| {name} | {} | {default} | {mutability} | {note}{} |\n", escape(&form), escape(doc))
}

/// Keeps a text within its cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_the_one_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/configuration.md is old: UPDATE_REFERENCE=1 cargo test --lib config::reference"
        );
    }
}

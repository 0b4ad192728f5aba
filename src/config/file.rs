//! The configuration file: a flat TOML table, read and rewritten.

use super::load::{Entry, LoadError, Place};
use super::table::{PARAMETERS, Parameter, Settings, find};
use super::value::{Value, system_text};
use crate::base::file;
use std::fs;
use std::io;
use std::path::Path;
use toml_edit::{Array, Document, DocumentMut, Item};

/// Reads the file. `place` is how messages call it.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, LoadError> {
    let text = fs::read_to_string(path)
        .map_err(|error| LoadError::Invalid(format!("{}: {}", path.display(), system_text(&error))))?;
    parse(&text, path)
}

/// Reads what is in the file at `path`.
fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, LoadError> {
    let at = |offset: usize| Place::File(path.to_owned(), 1 + text[..offset].matches('\n').count());
    let document = Document::parse(text).map_err(|error| {
        let place = at(error.span().map_or(0, |span| span.start));
        LoadError::Invalid(format!("{place}: {}", error.message().replace('\n', ", ")))
    })?;
    let table = document.as_table();
    let mut entries: Vec<Entry> = Vec::new();
    for (name, item) in table.iter() {
        let key = table.key(name).and_then(|key| key.span()).or_else(|| item.span());
        let place = at(key.map_or(0, |span| span.start));
        let (parameter, _) = find(name.as_bytes()).ok_or_else(|| LoadError::unknown(&place, name))?;
        let raw = item.span().and_then(|span| text.get(span)).unwrap_or_default();
        let value = text_of(parameter, item, raw)
            .map_err(|reason| LoadError::Invalid(format!("{place}: {}: {reason}", parameter.name)))?;
        entries.push(Entry { parameter, text: value, place });
    }
    Ok(entries)
}

/// A TOML value as the text that the parameter reads.
fn text_of(parameter: &Parameter, item: &Item, raw: &str) -> Result<String, String> {
    let defaults = Settings::default();
    let expected = parameter.value(&defaults).form();
    let wrong = |what: &str| format!("expected {expected}, not {what}");
    let scalar = |value: &toml_edit::Value, raw: &str| match value {
        toml_edit::Value::String(text) => Ok(text.value().clone()),
        // The digits of an octal number are what counts.
        toml_edit::Value::Integer(_) if raw.starts_with("0o") => Ok(raw.replace('_', "")),
        toml_edit::Value::Integer(number) => Ok(number.value().to_string()),
        toml_edit::Value::Float(number) => Ok(number.value().to_string()),
        toml_edit::Value::Boolean(flag) => Ok(if *flag.value() { "yes" } else { "no" }.to_owned()),
        toml_edit::Value::Array(_) => Err(wrong("an array")),
        toml_edit::Value::InlineTable(_) => Err(wrong("a table")),
        toml_edit::Value::Datetime(_) => Err(wrong("a date")),
    };
    match item {
        Item::Value(toml_edit::Value::Array(array)) if parameter.value(&defaults).is_list() => {
            let words: Result<Vec<_>, _> = array.iter().map(|value| scalar(value, "")).collect();
            Ok(words?.join(" "))
        }
        Item::Value(value) => scalar(value, raw),
        Item::None | Item::Table(_) | Item::ArrayOfTables(_) => Err(wrong("a table")),
    }
}

impl Settings {
    /// The file that `CONFIG REWRITE` writes to: the absolute path of the one that was read at the start.
    pub fn config_file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Writes the present values into the configuration file: what the file has already, in its place and with its
    /// comments, and after it what differs from the default. The file is replaced as a whole or not at all. The error
    /// is Redis's, without its "ERR ": <https://redis.io/commands/config-rewrite/>.
    pub fn rewrite(&self) -> Result<(), String> {
        let path = self.file.as_ref().ok_or("The server is running without a config file")?;
        let failed = |error: io::Error| format!("Rewriting config file: {}", system_text(&error));
        let _writing = self.writing.lock();
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result.map_err(failed)?,
        };
        let mut document: DocumentMut =
            text.parse().map_err(|_| "Rewriting config file: it is not valid TOML any more".to_owned())?;
        for parameter in PARAMETERS {
            self.rewrite_one(parameter, &mut document);
        }
        replace(path, document.to_string().as_bytes()).map_err(failed)
    }

    fn rewrite_one(&self, parameter: &Parameter, document: &mut DocumentMut) {
        // What a file says of one start is whoever wrote it to take away.
        if parameter.is_for_one_start {
            return;
        }
        let defaults = Settings::default();
        let present = parameter.value(self);
        let known = document.iter().find_map(|(key, item)| {
            let (found, _) = find(key.as_bytes())?;
            (found.name == parameter.name).then(|| (key.to_owned(), item.clone()))
        });
        let Some((key, item)) = known else {
            if present.text() != parameter.value(&defaults).text() {
                document.insert(parameter.name, Item::Value(present.toml()));
            }
            return;
        };
        let raw = item.to_string();
        let same = text_of(parameter, &item, raw.trim()).is_ok_and(|text| {
            let written = parameter.value(&defaults);
            written.assign(&super::load::normal(written, &text)).is_ok() && written.text() == present.text()
        });
        if same {
            return;
        }
        if let Some(Item::Value(old)) = document.get_mut(&key) {
            let mut new = if old.is_array() { array(present) } else { present.toml() };
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
    }
}

/// A list as a TOML array of its words.
fn array(value: &dyn Value) -> toml_edit::Value {
    value.text().split_whitespace().collect::<Array>().into()
}

/// Puts `content` in the place of what is in `path`. A link stays a link: what it points to is replaced.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        result => result?,
    };
    // A new one may hold a password, and is its owner's alone.
    let permissions = fs::metadata(&target).ok().map(|metadata| metadata.permissions());
    file::replace(&target, content, permissions)
}

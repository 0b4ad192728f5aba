//! A configuration file in TOML: a flat table, read and rewritten.

use super::entry::{Entry, LoadError, Place, normal};
use super::table::{Parameter, Settings, find};
use super::value::Value;
use std::path::Path;
use toml_edit::{Array, Document, DocumentMut, Item};

/// Reads what is in the file at `path`.
pub(super) fn parse(text: &[u8], path: &Path) -> Result<Vec<Entry>, LoadError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        LoadError::Invalid(format!("{}: not valid UTF-8", Place::File(path.to_owned(), line)))
    })?;
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

/// The text of a file with the present values of `parameters`; none if it is no TOML.
pub(super) fn rewritten(
    text: &[u8],
    settings: &Settings,
    parameters: impl Iterator<Item = &'static Parameter>,
) -> Option<String> {
    let mut document: DocumentMut = std::str::from_utf8(text).ok()?.parse().ok()?;
    for parameter in parameters {
        rewrite_one(settings, parameter, &mut document);
    }
    Some(document.to_string())
}

fn rewrite_one(settings: &Settings, parameter: &Parameter, document: &mut DocumentMut) {
    let defaults = Settings::default();
    let present = parameter.value(settings);
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
        written.assign(&normal(written, &text)).is_ok() && written.text() == present.text()
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

/// A list as a TOML array of its words.
fn array(value: &dyn Value) -> toml_edit::Value {
    value.text().split_whitespace().collect::<Array>().into()
}

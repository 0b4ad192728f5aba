//! Whatever a file of a program shows to its other files has a doc comment. The compiler's own lint, `missing_docs`, which the
//! library has, looks only at what a crate shows to other crates, and a program shows nothing.

use crate::rules::Source;

/// One line for each `pub` item that stands without a doc comment. What is shown again (`pub use`) has its own where it is.
pub fn undocumented(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for Source { path, text } in sources {
        let mut is_documented = false;
        let mut attribute_is_open = false;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if attribute_is_open || line.starts_with("#[") {
                attribute_is_open = !line.ends_with(']');
            } else if line.starts_with("///") {
                is_documented = true;
            } else {
                if is_shown(line) && !is_documented {
                    found.push(format!("{path}:{}: has no doc comment: {line}", index + 1));
                }
                is_documented = false;
            }
        }
    }
    found
}

fn is_shown(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("pub") else { return false };
    // `pub` or `pub(…)`.
    let rest = rest.split_once(')').filter(|_| rest.starts_with('(')).map_or(rest, |(_, rest)| rest);
    rest.strip_prefix(' ').is_some_and(|item| !item.starts_with("use ") && !item.starts_with("mod "))
}

#[test]
fn items_without_doc_comments_are_found() {
    let found = |text: &str| {
        undocumented(&[Source { path: "a.rs".to_owned(), text: text.to_owned() }])
            .iter()
            .filter_map(|line| line.split(':').nth(1)?.parse().ok())
            .collect::<Vec<usize>>()
    };
    assert_eq!(found("pub fn a() {}\n/// B.\npub fn b() {}\npub(super) struct C {\n    pub d: u8,\n}"), [1, 4, 5]);
    assert_eq!(
        found("/// A.\n#[derive(Debug)]\n#[serde(\n    rename = \"a\",\n)]\npub struct A;\npub const B: u8 = 1;"),
        [7]
    );
    assert_eq!(found("pub use a::A;\npub mod b;\nfn c() {}\n// Not for it.\nlet public = 1;\npublic();"), [0; 0]);
}

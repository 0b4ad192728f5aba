//! Rust sources as a list of words, marks and string literals: enough to read paths, no matter how they are laid out.

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Word(String),
    /// The text between the quotes of a string or byte string, as written.
    Text(String),
    Mark(char),
}

#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    /// Counted from 1.
    pub line: usize,
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    pub fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Comments, character literals and lifetimes are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let start = at;
        let next = text.get(at + 1).copied();
        let kind = match text[at] {
            '/' if next == Some('/') => {
                at = position(&text, at, |rest| rest[0] == '\n');
                None
            }
            '/' if next == Some('*') => {
                at = end_of_block_comment(&text, at);
                None
            }
            '"' => {
                at = end_of_string(&text, at);
                Some(Kind::Text(text[start + 1..at - 1].iter().collect()))
            }
            '\'' => {
                at = end_of_quote(&text, at);
                None
            }
            letter if letter.is_alphanumeric() || letter == '_' => {
                at = position(&text, at, |rest| !rest[0].is_alphanumeric() && rest[0] != '_');
                let word: String = text[start..at].iter().collect();
                let is_prefix = matches!(word.as_str(), "r" | "b" | "br" | "c" | "cr");
                match text.get(at) {
                    // The quote is the next token: b"…" is the same text as "…".
                    Some('"') if is_prefix && !word.ends_with('r') => None,
                    Some('\'') if word == "b" => None,
                    Some('"' | '#') if is_prefix && word.ends_with('r') => match end_of_raw_string(&text, at) {
                        Some((content, end)) => {
                            at = end;
                            Some(Kind::Text(text[content].iter().collect()))
                        }
                        // A raw identifier, as r#type.
                        None => {
                            at += 1;
                            None
                        }
                    },
                    _ => Some(Kind::Word(word)),
                }
            }
            mark => {
                at += 1;
                (!mark.is_whitespace()).then_some(Kind::Mark(mark))
            }
        };
        tokens.extend(kind.map(|kind| Token { kind, line }));
        line += text[start..at].iter().filter(|letter| **letter == '\n').count();
    }
    tokens
}

/// The first place from `start` on whose rest fulfils the condition, or the end.
fn position(text: &[char], start: usize, condition: impl Fn(&[char]) -> bool) -> usize {
    (start..text.len()).find(|&at| condition(&text[at..])).unwrap_or(text.len())
}

fn end_of_block_comment(text: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        match text[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// After a character literal, or after the quote of a lifetime.
fn end_of_quote(text: &[char], start: usize) -> usize {
    match text[start + 1..] {
        ['\\', _, ..] => position(text, start + 3, |rest| rest[0] == '\'') + 1,
        [_, '\'', ..] => start + 3,
        _ => start + 1,
    }
}

/// Where the content of the raw string lies whose hashes or quote are at `start`, and where the literal ends.
fn end_of_raw_string(text: &[char], start: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let quote = position(text, start, |rest| rest[0] != '#');
    if text.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - start;
    let is_end =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take(hashes).filter(|hash| **hash == '#').count() == hashes;
    let end = position(text, quote + 1, is_end);
    Some((quote + 1..end, (end + 1 + hashes).min(text.len())))
}

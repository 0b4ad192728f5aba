//! Glob patterns as `KEYS`, `SCAN MATCH`, `PSUBSCRIBE` and `CONFIG GET` understand them.
//!
//! The rules are those of Redis 7.0, oddities included, because clients can see each of them:
//! a bracket left open ends with the pattern, ranges compare bytes as signed numbers, an escaped byte in
//! a bracket never ignores case, and `*` does not match the empty text (the commands that want "everything"
//! test for the pattern `*` before they match).

/// A text is given up on when this many `*` had to be followed at once.
const MAX_STARS: usize = 1000;

/// Whether `text` as a whole matches `pattern`; `nocase` ignores the case of ASCII letters.
///
/// A `*` is only ever extended from the latest one met, so the cost is at most `pattern.len() * text.len()`,
/// on the heap nothing and on the stack one frame.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut at_pattern = 0;
    let mut at_text = 0;
    let mut stars = 0;
    // Where to resume when a guess fails: the pattern after the latest star, and the text it was tried against.
    let mut resume: Option<(usize, usize)> = None;
    loop {
        if at_text == text.len() {
            // A later start leaves less text for the same rest of the pattern: it cannot do better.
            return pattern[at_pattern..].iter().all(|&byte| byte == b'*');
        }
        let consumed = match pattern.get(at_pattern) {
            Some(b'*') => {
                while pattern.get(at_pattern) == Some(&b'*') {
                    at_pattern += 1;
                }
                if at_pattern == pattern.len() {
                    return true;
                }
                stars += 1;
                if stars > MAX_STARS {
                    return false;
                }
                resume = Some((at_pattern, at_text));
                continue;
            }
            Some(_) => match_one(&pattern[at_pattern..], text[at_text], nocase),
            None => None,
        };
        match (consumed, resume) {
            (Some(length), _) => {
                at_pattern += length;
                at_text += 1;
            }
            (None, Some((after_star, tried))) if tried + 1 < text.len() => {
                resume = Some((after_star, tried + 1));
                at_pattern = after_star;
                at_text = tried + 1;
            }
            (None, _) => return false,
        }
    }
}

/// Matches `byte` against the element `pattern` (not empty, not a star) begins with; the element's length if it does.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'[' => match_bracket(pattern, byte, nocase),
        b'\\' if pattern.len() >= 2 => same(pattern[1], byte, nocase).then_some(2),
        literal => same(literal, byte, nocase).then_some(1),
    }
}

/// Matches `byte` against the bracket `pattern` begins with; the bracket's length if it does.
fn match_bracket(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    let length = loop {
        match pattern[at..] {
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => break at + 1,
            [] => break at,
            [first, b'-', last, ..] => {
                found |= in_range(first, last, byte, nocase);
                at += 3;
            }
            [member, ..] => {
                found |= same(member, byte, nocase);
                at += 1;
            }
        }
    };
    (found != negated).then_some(length)
}

fn same(left: u8, right: u8, nocase: bool) -> bool {
    left == right || nocase && left.eq_ignore_ascii_case(&right)
}

/// The ends are ordered before their case is dropped, so that with `nocase` a range like `[Z-a]` is empty.
fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    let (first, last) = (first as i8, last as i8);
    let (start, end) = (first.min(last), first.max(last));
    if nocase {
        (lower(start)..=lower(end)).contains(&lower(byte as i8))
    } else {
        (start..=end).contains(&(byte as i8))
    }
}

/// C's `tolower` of a signed byte: bytes above 127 come out positive, except 255, which reads as end of file.
fn lower(byte: i8) -> i16 {
    match byte {
        -1 => -1,
        _ => i16::from((byte as u8).to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_redis_answers() {
        let cases: &[(&[u8], &[u8], bool)] = &[
            (b"h?llo", b"hello", true),
            (b"h?llo", b"hllo", false),
            (b"h*llo", b"hllo", true),
            (b"h*llo", b"heeeello", true),
            (b"h[ae]llo", b"hallo", true),
            (b"h[^e]llo", b"hello", false),
            (b"h[a-b]llo", b"hbllo", true),
            (b"h[b-a]llo", b"hallo", true),
            (b"a*b*c", b"a-b-b-c", true),
            (b"a*b*c", b"a-b-b-", false),
            (b"*a*a*b", b"aaaaaaaa", false),
            (b"a**", b"a", true),
            (b"*", b"", false),
            (b"", b"", true),
            (b"", b"a", false),
            (b"a?", b"a", false),
            (b"A", b"a", false),
            // Escapes; a last backslash stands for itself.
            (b"\\*", b"*", true),
            (b"\\*", b"a", false),
            (b"a\\", b"a\\", true),
            (b"\\a", b"a", true),
            (b"[\\]]", b"]", true),
            (b"[\\-x]", b"-", true),
            (b"[a\\-z]", b"b", false),
            // Brackets left open, empty, or with a range that takes the closing bracket.
            (b"[", b"[", false),
            (b"[a", b"a", true),
            (b"[a-", b"-", true),
            (b"[a-c", b"b", true),
            (b"[^", b"x", true),
            (b"[\\", b"\\", true),
            (b"[\\]", b"]", true),
            (b"[]", b"]", false),
            (b"[]a]", b"aa]", false),
            (b"[^]", b"x", true),
            (b"[a-]x", b"_", true),
            (b"x[^]*", b"xyz", true),
            // Any byte; ranges are signed, so they run from 0x80 up to 0x7f.
            (b"\0?\xff", b"\0\n\xff", true),
            (b"[\x80-\x01]", b"\xff", true),
            (b"[\x01-\xff]", b"a", false),
        ];
        for &(pattern, text, expected) in cases {
            let shown = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(pattern, text, false), expected, "{} {}", shown.0, shown.1);
        }
    }

    #[test]
    fn without_case() {
        let cases: &[(&[u8], &[u8], bool)] = &[
            (b"MaxMemory*", b"maxmemory-policy", true),
            (b"[A-C]", b"b", true),
            (b"[a-c]", b"B", true),
            (b"[ABC]", b"c", true),
            (b"\\A", b"a", true),
            (b"[\\A]", b"a", false),
            (b"[Z-a]", b"z", false),
            (b"[\x80-a]", b"b", false),
            (b"[a-\x80]", b"b", false),
        ];
        for &(pattern, text, expected) in cases {
            let shown = (pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(pattern, text, true), expected, "{} {}", shown.0, shown.1);
        }
    }

    #[test]
    fn stars_are_limited() {
        let text = vec![b'a'; 2 * MAX_STARS];
        assert!(matches(&b"*a".repeat(MAX_STARS), &text, false));
        assert!(matches(&[b"*a".repeat(MAX_STARS), b"*".to_vec()].concat(), &text, false));
        assert!(!matches(&b"*a".repeat(MAX_STARS + 1), &text, false));
    }

    #[test]
    fn hostile_patterns_end() {
        let text = vec![b'a'; 100_000];
        assert!(!matches(&[b"*a".repeat(900), b"b".to_vec()].concat(), &text, false));
        assert!(!matches(&[b'['; 100_000], &text, false));
        assert!(!matches(&[vec![b'*'; 100_000], b"b".to_vec()].concat(), &text, false));
    }

    proptest! {
        #[test]
        fn escaped_text_matches_itself(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let pattern: Vec<u8> = text.iter().flat_map(|&byte| [b'\\', byte]).collect();
            prop_assert!(matches(&pattern, &text, false));
        }

        #[test]
        fn question_marks_count(pattern in "[?]{0,8}", text in "[a-z]{0,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), pattern.len() == text.len());
        }

        #[test]
        fn stars_find_pieces(before in "[ab]{1,9}", piece in "[ab]{1,4}", after in "[ab]{1,9}") {
            let text = format!("{before}{piece}{after}");
            let star = format!("*{piece}*");
            prop_assert!(matches(star.as_bytes(), text.as_bytes(), false));
            let anchored = format!("{before}*{after}");
            prop_assert!(matches(anchored.as_bytes(), text.as_bytes(), false));
        }

        #[test]
        fn any_pattern_ends(pattern in "[ab*?\\[\\]^\\\\-]{0,40}", text in "[ab\\]^-]{0,40}", nocase: bool) {
            matches(pattern.as_bytes(), text.as_bytes(), nocase);
        }
    }
}

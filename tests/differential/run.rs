//! Runs the same sequence on two servers, finds where they differ, and makes the sequence as short as it can be.

use crate::commands::{FINAL, POOLS, SILENT};
use crate::compare;
use crate::grammar::Grammar;
use crate::support::{Client, Value, encode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    Command(Vec<Vec<u8>>),
    /// The same as one line of text, quoted where needed.
    Inline(Vec<Vec<u8>>),
    /// Bytes that nothing answers.
    Silent(&'static [u8]),
    /// Bytes after which the connection closes.
    Final(&'static [u8]),
}

impl Step {
    /// Whether it is a command that begins with these words.
    fn is_command(&self, words: &[&str]) -> bool {
        match self {
            Step::Command(arguments) | Step::Inline(arguments) => {
                words.len() <= arguments.len()
                    && words
                        .iter()
                        .zip(arguments)
                        .all(|(word, argument)| word.as_bytes().eq_ignore_ascii_case(argument))
            }
            Step::Silent(_) | Step::Final(_) => false,
        }
    }
}

/// Their errors together stay below what redis-server lets wait for a client that has not given the password.
const MOST_STEPS_OF_A_STRANGER: usize = 8;

/// A sequence of commands on an empty server.
#[derive(Clone, Debug)]
pub struct Sequence {
    protocol: &'static str,
    password: Option<&'static str>,
    steps: Vec<Step>,
    /// Sent in writes of so many bytes, so that commands arrive torn; most sequences go in one.
    piece_bytes: usize,
    /// The options of a SCAN that goes through all keys at the end.
    scan: Option<Vec<Vec<u8>>>,
}

impl Sequence {
    /// The sequence that belongs to `seed`. For servers with a password, half of the sequences start without
    /// having given it.
    pub fn generate(grammar: &Grammar, seed: u64, password: Option<&'static str>) -> Sequence {
        let mut random = StdRng::seed_from_u64(seed);
        let length = random.random_range(10..=40);
        let mut steps: Vec<Step> = (0..length)
            .map(|_| match random.random_range(0..100) {
                0 => Step::Silent(SILENT.choose(&mut random).expect("never empty")),
                1..=4 => Step::Inline(grammar.command(&mut random)),
                _ => Step::Command(grammar.command(&mut random)),
            })
            .collect();
        if password.is_some() {
            // Both have another effect before the password was given: CLIENT REPLY is refused, and redis-server closes
            // where more than 1 KiB waits to be written, which depends on how fast it is read.
            steps.retain(|step| !step.is_command(&["RESET"]) && !step.is_command(&["CLIENT", "REPLY"]));
            if random.random() {
                steps.truncate(MOST_STEPS_OF_A_STRANGER);
                steps.insert(0, Step::Command(vec![b"RESET".to_vec()]));
            }
        }
        // To redis-server an empty request is the one whose reply CLIENT REPLY SKIP skips.
        let mut after_skip = false;
        steps.retain(|step| {
            let is_kept = !(after_skip && matches!(step, Step::Silent(_)));
            after_skip = is_kept && step.is_command(&["CLIENT", "REPLY", "SKIP"]) || after_skip && !is_kept;
            is_kept
        });
        if random.random_ratio(1, 20) {
            steps.push(Step::Final(FINAL.choose(&mut random).expect("never empty")));
        }
        let scan = random.random_ratio(1, 4).then(|| {
            let mut options = Vec::new();
            for (option, pool) in [("MATCH", "pattern"), ("COUNT", "count"), ("TYPE", "type")] {
                if random.random_bool(0.4) {
                    let (_, pool) = POOLS.iter().find(|(name, _)| *name == pool).expect("a known pool");
                    options.push(option.as_bytes().to_vec());
                    options.push(pool.choose(&mut random).expect("never empty").to_vec());
                }
            }
            options
        });
        // Bytes that arrive after a server has closed reset the connection, and may take its last reply with them.
        let is_torn = random.random_ratio(1, 20) && !matches!(steps.last(), Some(Step::Final(_)));
        let piece_bytes = if is_torn { random.random_range(5..200) } else { usize::MAX };
        Sequence { protocol: if seed.is_multiple_of(2) { "2" } else { "3" }, password, steps, piece_bytes, scan }
    }

    fn closes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Final(_)))
    }

    /// What comes before every sequence, so that it starts from nothing.
    fn prelude(&self) -> Vec<Vec<Vec<u8>>> {
        let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        let mut prelude = vec![words("RESET")];
        prelude.extend(self.password.map(|password| words(&format!("AUTH {password}"))));
        prelude.extend([words("FLUSHALL"), words("SELECT 0"), words(&format!("HELLO {}", self.protocol))]);
        prelude
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.prelude().iter().flat_map(|command| encode(command)).collect();
        for step in &self.steps {
            match step {
                Step::Command(arguments) => bytes.extend(encode(arguments)),
                Step::Inline(arguments) => bytes.extend(inline(arguments)),
                Step::Silent(raw) | Step::Final(raw) => bytes.extend_from_slice(raw),
            }
        }
        if !self.closes() {
            if let Some(password) = self.password {
                bytes.extend(encode(&["AUTH", password]));
            }
            bytes.extend(encode(&["CLIENT", "REPLY", "ON"]));
            bytes.extend(encode(&["ECHO", MARKER]));
        }
        bytes
    }

    /// The commands that are answered, in order.
    fn answered(&self) -> Vec<Vec<Vec<u8>>> {
        let mut answered = self.prelude();
        let (mut is_off, mut is_skipped) = (false, false);
        for step in &self.steps {
            let arguments = match step {
                Step::Command(arguments) | Step::Inline(arguments) => arguments,
                Step::Silent(_) => {
                    is_skipped = false;
                    continue;
                }
                Step::Final(_) => break,
            };
            let upper: Vec<Vec<u8>> = arguments.iter().map(|word| word.to_ascii_uppercase()).collect();
            let upper: Vec<&[u8]> = upper.iter().map(Vec::as_slice).collect();
            let mut skips_next = false;
            match upper.as_slice() {
                [b"CLIENT", b"REPLY", b"OFF"] => is_off = true,
                [b"CLIENT", b"REPLY", b"SKIP"] => skips_next = !is_off,
                [b"CLIENT", b"REPLY", b"ON"] => (is_off, is_skipped) = (false, false),
                [b"RESET"] => is_off = false,
                _ => {}
            }
            if !is_off && !is_skipped && !skips_next {
                answered.push(arguments.clone());
            }
            is_skipped = skips_next;
        }
        answered
    }
}

/// The argument of the ECHO that ends a sequence.
const MARKER: &str = "the end of this sequence";

/// Quotes every argument, so that any byte fits on the line.
fn inline(arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for argument in arguments {
        let is_plain = argument.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.:{}*".contains(byte));
        if is_plain && !argument.is_empty() {
            line.extend_from_slice(argument);
        } else {
            line.push(b'"');
            for byte in argument {
                match byte {
                    b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
                    b' '..=b'~' => line.push(*byte),
                    b'\n' => line.extend_from_slice(b"\\n"),
                    _ => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
                }
            }
            line.push(b'"');
        }
        line.push(b' ');
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// What a server answered to a sequence.
#[derive(Debug, Default)]
struct Outcome {
    replies: Vec<Value>,
    /// How reading ended, where it did not end at the marker or with the expected close.
    failure: Option<String>,
    /// What the SCAN at the end came to: the keys, or the error.
    scan: Option<Result<BTreeSet<Vec<u8>>, String>>,
}

/// Where two servers differ.
#[derive(Clone, Debug)]
pub struct Difference {
    command: String,
    expected: String,
    actual: String,
}

impl Difference {
    /// Alike for differences that most likely have one cause.
    pub fn signature(&self) -> String {
        let name = self.command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        // Of an error its words count, of anything else its type.
        let beginning = |text: &str| {
            let letters = if text.starts_with('-') { 32 } else { 1 };
            text.chars().filter(|letter| !letter.is_ascii_digit()).take(letters).collect::<String>()
        };
        format!("{name} | {} | {}", beginning(&self.expected), beginning(&self.actual))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "  in the reply to {}", self.command)?;
        writeln!(formatter, "    reference: {}", self.expected)?;
        write!(formatter, "    subject:   {}", self.actual)
    }
}

#[derive(Debug)]
struct Side {
    address: SocketAddr,
    client: Option<Client>,
}

impl Side {
    fn start(&mut self, sequence: &Sequence) -> Result<(), String> {
        if self.client.is_none() {
            let mut client = Client::try_connect(self.address).map_err(|error| format!("cannot connect: {error}"))?;
            client.set_deadline(DEADLINE);
            self.client = Some(client);
        }
        let client = self.client.as_mut().expect("it has just been connected");
        for piece in sequence.bytes().chunks(sequence.piece_bytes) {
            client.try_raw_write(piece).map_err(|error| format!("cannot write: {error}"))?;
        }
        Ok(())
    }

    fn finish(&mut self, sequence: &Sequence) -> Outcome {
        let mut outcome = Outcome::default();
        let client = self.client.as_mut().expect("it has been started");
        loop {
            match client.try_read_value() {
                Ok(Value::Bulk(text)) if text == MARKER.as_bytes() && !sequence.closes() => {
                    if let Some(options) = &sequence.scan {
                        outcome.scan = Some(scan(client, options));
                    }
                    break;
                }
                Ok(value) => outcome.replies.push(value),
                Err(error) => {
                    let is_expected = sequence.closes() && error.kind() == std::io::ErrorKind::UnexpectedEof;
                    outcome.failure = (!is_expected).then(|| error.to_string());
                    self.client = None;
                    break;
                }
            }
        }
        outcome
    }
}

/// Goes through all keys; an error reply or an iteration without end is the error.
fn scan(client: &mut Client, options: &[Vec<u8>]) -> Result<BTreeSet<Vec<u8>>, String> {
    const MOST_PAGES: usize = 100_000;
    let mut keys = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    for _ in 0..MOST_PAGES {
        let mut command = vec![b"SCAN".to_vec(), cursor];
        command.extend_from_slice(options);
        client.try_raw_write(&encode(&command)).map_err(|error| error.to_string())?;
        match client.try_read_value().map_err(|error| error.to_string())? {
            Value::Array(page) => match page.as_slice() {
                [Value::Bulk(next), Value::Array(found)] => {
                    keys.extend(found.iter().map(|key| key.bytes().to_vec()));
                    cursor = next.clone();
                }
                _ => return Err(format!("no page: {page:?}")),
            },
            other => return Err(format!("{other:?}")),
        }
        if cursor == b"0" {
            return Ok(keys);
        }
    }
    Err(format!("no end after {MOST_PAGES} pages"))
}

/// A reply that takes longer than this is taken for none.
const DEADLINE: Duration = Duration::from_secs(10);

/// Two servers, side by side.
#[derive(Debug)]
pub struct Comparison {
    reference: Side,
    subject: Side,
}

impl Comparison {
    pub fn new(reference: SocketAddr, subject: SocketAddr) -> Comparison {
        let side = |address| Side { address, client: None };
        Comparison { reference: side(reference), subject: side(subject) }
    }

    /// Runs the sequence on both.
    pub fn run(&mut self, sequence: &Sequence) -> Option<Difference> {
        // Both work at the same time, and their clocks are close together.
        let started = [self.reference.start(sequence), self.subject.start(sequence)];
        if started.iter().any(Result::is_err) {
            (self.reference.client, self.subject.client) = (None, None);
            let [expected, actual] = started.map(|result| format!("{result:?}"));
            return Some(Difference { command: "the whole sequence".to_owned(), expected, actual });
        }
        let (expected, actual) = (self.reference.finish(sequence), self.subject.finish(sequence));
        let difference = first_difference(sequence, &expected, &actual);
        if difference.is_some() {
            // What is still under way on these connections must not reach the next sequence.
            (self.reference.client, self.subject.client) = (None, None);
        }
        difference
    }

    /// The shortest sequence found that still makes a difference, and that difference.
    pub fn shrink(&mut self, sequence: &Sequence, difference: Difference) -> (Sequence, Difference) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut best = (sequence.clone(), difference);
        let mut piece = best.0.steps.len().max(1);
        let mut attempt = |candidate: Sequence, best: &mut (Sequence, Difference)| -> bool {
            if Instant::now() > end {
                return false;
            }
            match self.run(&candidate) {
                Some(difference) => {
                    *best = (candidate, difference);
                    true
                }
                None => false,
            }
        };
        let without_scan = Sequence { scan: None, ..best.0.clone() };
        attempt(without_scan, &mut best);
        let in_one_write = Sequence { piece_bytes: usize::MAX, ..best.0.clone() };
        attempt(in_one_write, &mut best);
        // Delta debugging: ever smaller runs of commands are left out, for as long as the difference stays.
        loop {
            let mut start = 0;
            let mut has_shrunk = false;
            while start < best.0.steps.len() {
                let mut candidate = best.0.clone();
                candidate.steps.drain(start..(start + piece).min(candidate.steps.len()));
                if attempt(candidate, &mut best) {
                    has_shrunk = true;
                } else {
                    start += piece;
                }
            }
            if piece == 1 && !has_shrunk {
                break;
            }
            piece = (piece / 2).max(1);
        }
        for step in 0..best.0.steps.len() {
            let mut argument = 1;
            loop {
                let mut candidate = best.0.clone();
                let (Step::Command(arguments) | Step::Inline(arguments)) = &mut candidate.steps[step] else { break };
                if argument >= arguments.len() {
                    break;
                }
                let name = arguments[0].clone();
                arguments.remove(argument);
                if !is_safe_when_shortened(&name) || !attempt(candidate, &mut best) {
                    argument += 1;
                }
            }
        }
        best
    }
}

/// Some commands end, stop or flood the connection when they lose an argument.
fn is_safe_when_shortened(name: &[u8]) -> bool {
    ![b"SHUTDOWN".as_slice(), b"WAIT", b"CLIENT", b"DEBUG", b"COMMAND", b"CONFIG"]
        .iter()
        .any(|dangerous| dangerous.eq_ignore_ascii_case(name))
}

fn first_difference(sequence: &Sequence, expected: &Outcome, actual: &Outcome) -> Option<Difference> {
    let commands = sequence.answered();
    let nothing = Vec::new();
    for index in 0..expected.replies.len().max(actual.replies.len()) {
        let command = commands.get(index).unwrap_or(&nothing);
        let (left, right) = (expected.replies.get(index), actual.replies.get(index));
        let is_equal = matches!((left, right), (Some(left), Some(right)) if compare::equal(command, left, right));
        if !is_equal {
            let show = |reply: Option<&Value>, outcome: &Outcome| match reply {
                Some(value) => shortened(format!("{value:?}")),
                None => format!("nothing ({})", outcome.failure.as_deref().unwrap_or("the sequence ended")),
            };
            return Some(Difference {
                command: if command.is_empty() { "the end".to_owned() } else { display(command) },
                expected: show(left, expected),
                actual: show(right, actual),
            });
        }
    }
    if expected.failure.is_some() != actual.failure.is_some() {
        let show = |failure: &Option<String>| failure.clone().unwrap_or_else(|| "ended as it should".to_owned());
        let (expected, actual) = (show(&expected.failure), show(&actual.failure));
        return Some(Difference { command: "the end".to_owned(), expected, actual });
    }
    if expected.scan != actual.scan {
        let options = sequence.scan.as_deref().map(display).unwrap_or_default();
        let show = |keys: &Option<Result<BTreeSet<Vec<u8>>, String>>| match keys {
            Some(Ok(keys)) => display(&keys.iter().cloned().collect::<Vec<_>>()),
            other => format!("{other:?}"),
        };
        let (expected, actual) = (show(&expected.scan), show(&actual.scan));
        return Some(Difference { command: format!("SCAN of all keys with {options}"), expected, actual });
    }
    None
}

fn shortened(text: String) -> String {
    const MOST: usize = 1_500;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… and {} bytes more", &text[..end], text.len() - end),
        None => text,
    }
}

fn display(arguments: &[Vec<u8>]) -> String {
    let quoted = |argument: &Vec<u8>| {
        let is_plain = !argument.is_empty() && argument.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
        if is_plain { argument.escape_ascii().to_string() } else { format!("\"{}\"", argument.escape_ascii()) }
    };
    arguments.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for command in self.prelude() {
            write!(formatter, "  {};", display(&command))?;
        }
        writeln!(formatter)?;
        for step in &self.steps {
            match step {
                Step::Command(arguments) => writeln!(formatter, "  {}", display(arguments))?,
                Step::Inline(arguments) => writeln!(formatter, "  (inline) {}", display(arguments))?,
                Step::Silent(raw) | Step::Final(raw) => writeln!(formatter, "  (raw) {}", raw.escape_ascii())?,
            }
        }
        if self.piece_bytes != usize::MAX {
            writeln!(formatter, "  in writes of {} bytes", self.piece_bytes)?;
        }
        match &self.scan {
            Some(options) => writeln!(formatter, "  SCAN of all keys, with: {}", display(options)),
            None => Ok(()),
        }
    }
}

//! Writers that send random commands, each over a connection of its own, and write down what they sent and what was
//! answered.

use super::model::{
    Bytes, Class, Command, Expected, Moment, Name, SHARED_GROUPS, SetExpiry, State, group, group_count,
};
use super::observe::Observed;
use crate::support::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Values longer than this grow no further.
const MOST_VALUE_BYTES: usize = 24 << 10;
/// Commands of one writer in one round at most: what it sent has to be carried out again for the judgement.
const MOST_COMMANDS: usize = 12_000;

pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock that fits")
}

/// Distinguishes all values of a test's run.
static TOKENS: AtomicU64 = AtomicU64::new(1);

/// A command that was sent, perhaps carried out, and answered if `acknowledged`.
#[derive(Clone, Debug)]
pub struct Sent {
    pub command: Command,
    pub sent: Instant,
    pub sent_ms: i64,
    pub acknowledged: Option<(Instant, i64)>,
}

impl Sent {
    /// When it may have been carried out, if the server ended at `end_ms`. The server's clock may lag behind by a
    /// little, where it is read less often than for each command.
    pub fn moment(&self, end_ms: i64) -> Moment {
        Moment { earliest_ms: self.sent_ms - 20, latest_ms: self.acknowledged.map_or(end_ms, |(_, at_ms)| at_ms) + 1 }
    }
}

/// What one writer did in a round.
#[derive(Debug)]
pub struct History {
    pub start: State,
    pub sent: Vec<Sent>,
    /// A reply that is not what the state before it demands.
    pub wrong_reply: Option<String>,
}

impl History {
    /// How many of its commands were answered; they are the first ones.
    pub fn acknowledged(&self) -> usize {
        self.sent.iter().take_while(|sent| sent.acknowledged.is_some()).count()
    }

    /// How many of its commands were answered before `moment`.
    pub fn acknowledged_before(&self, moment: Instant) -> usize {
        self.sent.iter().take_while(|sent| sent.acknowledged.is_some_and(|(at, _)| at < moment)).count()
    }
}

/// What the writers and the one who ends the round tell each other.
#[derive(Debug, Default)]
pub struct Progress {
    pub acknowledged: AtomicUsize,
    pub finished: AtomicUsize,
    pub stop: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The longest pause between two batches of a writer.
    pub pause: Duration,
    /// Keys that are there to be read.
    pub ballast: u32,
}

/// Sends commands until the connection ends or is told to stop.
fn write(address: SocketAddr, start: State, seed: u64, shape: Shape, progress: &Progress) -> History {
    let mut history = History { start: start.clone(), sent: Vec::new(), wrong_reply: None };
    if let Ok(client) = Client::try_connect(address) {
        Writer { client, source: Source::new(start, seed, shape), progress }.run(&mut history);
    }
    progress.finished.fetch_add(1, Ordering::SeqCst);
    history
}

/// Starts a writer for each seed, which goes on where `observed` says its keys are, and returns what they did and whatever
/// `meanwhile` returns, which has to end the server: the writers go on until it has ended.
pub fn write_until<R>(
    address: SocketAddr,
    observed: &Observed,
    seeds: &[u64],
    shape: Shape,
    meanwhile: impl FnOnce(&Progress) -> R,
) -> (Vec<History>, R) {
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let writers: Vec<_> = seeds
            .iter()
            .enumerate()
            .map(|(writer, &seed)| {
                let (start, progress) = (observed.state(writer), &progress);
                scope.spawn(move || write(address, start, seed, shape, progress))
            })
            .collect();
        let ended = meanwhile(&progress);
        (writers.into_iter().map(|writer| writer.join().expect("no writer panics")).collect(), ended)
    })
}

struct Writer<'progress> {
    client: Client,
    source: Source,
    progress: &'progress Progress,
}

impl Writer<'_> {
    fn run(&mut self, history: &mut History) {
        while history.sent.len() < MOST_COMMANDS && !self.progress.stop.load(Ordering::Relaxed) {
            let depth = self.source.random.random_range(1..=32);
            let first = history.sent.len();
            let (sent, sent_ms) = (Instant::now(), unix_ms());
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..depth {
                let (command, reply) = self.source.next(sent_ms);
                bytes.extend(command.encode(self.source.state.writer));
                expected.push(reply);
                history.sent.push(Sent { command, sent, sent_ms, acknowledged: None });
            }
            if self.client.try_raw_write(&bytes).is_err() {
                return;
            }
            for (index, expected) in expected.iter().enumerate() {
                let Ok(reply) = self.client.try_read_value() else { return };
                let position = first + index;
                if !expected.allows(&reply) {
                    history.wrong_reply = Some(wrong_reply(history, position, expected, &reply));
                    return;
                }
                history.sent[position].acknowledged = Some((Instant::now(), unix_ms()));
                self.progress.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            let pause = self.source.shape.pause;
            if !pause.is_zero() {
                std::thread::sleep(pause.mul_f64(self.source.random.random()));
            }
        }
    }
}

/// The commands of a writer, made up one after the other.
pub struct Source {
    random: StdRng,
    /// As it is when all commands so far have been carried out.
    pub state: State,
    shape: Shape,
}

impl Source {
    pub fn new(start: State, seed: u64, shape: Shape) -> Source {
        Source { random: StdRng::seed_from_u64(seed), state: start, shape }
    }

    /// The next command, and what it has to be answered when it is carried out at `now_ms`.
    pub fn next(&mut self, now_ms: i64) -> (Command, Expected) {
        let command = self.command();
        let moment = Moment { earliest_ms: now_ms, latest_ms: now_ms };
        let reply = self.state.apply(&command, moment).reply;
        (command, reply)
    }

    fn one_of(&mut self, class: Class) -> Name {
        self.random.random_range(class.names())
    }

    /// A counter or a string.
    fn lasting(&mut self) -> Name {
        let class = if self.random.random_ratio(1, 4) { Class::Counter } else { Class::String };
        self.one_of(class)
    }

    fn bytes(&mut self, length: usize) -> Bytes {
        Bytes { token: TOKENS.fetch_add(1, Ordering::Relaxed), length }
    }

    /// Small ones most often; some that go to blob files.
    fn length(&mut self) -> usize {
        match self.random.random_range(0..20) {
            0..10 => self.random.random_range(0..100),
            10..16 => self.random.random_range(100..2_000),
            16..18 => self.random.random_range(3_900..4_300),
            _ => self.random.random_range(4_096..20_000),
        }
    }

    fn far_expiry(&mut self) -> SetExpiry {
        let ttl_ms = self.random.random_range(3_600_000..100_000_000);
        if self.random.random() { SetExpiry::In(ttl_ms) } else { SetExpiry::At(unix_ms() + ttl_ms) }
    }

    fn near_expiry(&mut self) -> SetExpiry {
        let ttl_ms = self.random.random_range(5..600);
        if self.random.random() { SetExpiry::In(ttl_ms) } else { SetExpiry::At(unix_ms() + ttl_ms) }
    }

    fn string_value(&mut self) -> Bytes {
        let length = self.length();
        self.bytes(length)
    }

    /// The bytes that `name` holds now.
    fn held(&self, name: Name) -> usize {
        self.state.get(name).map_or(0, |entry| entry.value.len())
    }

    fn some_database(&mut self) -> u32 {
        let databases: Vec<u32> = State::databases(self.state.writer).collect();
        databases[self.random.random_range(0..databases.len())]
    }

    fn command(&mut self) -> Command {
        let [one, other] = State::private_databases(self.state.writer);
        match self.random.random_range(0..1000) {
            0..200 => {
                let name = self.one_of(Class::String);
                let expiry = match self.random.random_range(0..10) {
                    0..2 => self.far_expiry(),
                    2 => SetExpiry::Keep,
                    _ => SetExpiry::None,
                };
                Command::Set(name, self.string_value(), expiry)
            }
            200..260 => Command::Get(self.lasting()),
            260..300 => {
                let count = self.random.random_range(1..4);
                Command::Del(
                    (0..count).map(|_| self.lasting()).collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
                )
            }
            300..450 => {
                let by = if self.random.random() { 1 } else { self.random.random_range(-50..1000) };
                Command::Incr(self.one_of(Class::Counter), by)
            }
            450..550 => {
                let name = self.one_of(Class::String);
                match self.held(name) {
                    held if held > MOST_VALUE_BYTES => Command::GetDel(name),
                    _ => {
                        let length = self.random.random_range(0..400);
                        Command::Append(name, self.bytes(length))
                    }
                }
            }
            550..600 => {
                let name = self.one_of(Class::String);
                let offset = self.random.random_range(0..self.held(name).min(MOST_VALUE_BYTES) + 30);
                let length = self.random.random_range(0..200);
                Command::SetRange(name, offset, self.bytes(length))
            }
            600..640 => Command::Expire(self.lasting(), self.far_expiry()),
            640..660 => Command::Persist(self.lasting()),
            660..680 => Command::GetDel(self.lasting()),
            680..760 => {
                let length = self.length().min(6_000);
                Command::MSet(group(self.random.random_range(0..group_count())), self.bytes(length))
            }
            760..780 => {
                let keys = group(self.random.random_range(0..group_count()));
                Command::Del(keys.collect())
            }
            780..820 if self.state.selected == 0 => {
                let length = self.random.random_range(0..500);
                Command::SharedMSet(self.random.random_range(0..SHARED_GROUPS), self.bytes(length))
            }
            820..870 => {
                let class = if self.random.random_ratio(1, 4) { Class::Counter } else { Class::String };
                let (from, to) = (self.one_of(class), self.one_of(class));
                if from == to { Command::Get(from) } else { Command::Rename(from, to) }
            }
            870..910 => {
                let class = if self.random.random_ratio(1, 4) { Class::Counter } else { Class::String };
                let (from, to, database) = (self.one_of(class), self.one_of(class), self.some_database());
                if from == to && database == self.state.selected {
                    return Command::Get(from);
                }
                Command::Copy { from, to, database, replace: self.random.random() }
            }
            910..930 => {
                let database = self.some_database();
                if database == self.state.selected {
                    return Command::Select(database);
                }
                Command::Move(self.lasting(), database)
            }
            930..960 => {
                let name = self.one_of(Class::Volatile);
                match self.random.random_range(0..5) {
                    0 => Command::Del(vec![name]),
                    1 => Command::Get(name),
                    2 => Command::Set(name, self.string_value(), SetExpiry::None),
                    _ => Command::Set(name, self.string_value(), self.near_expiry()),
                }
            }
            960..975 => Command::Select(self.some_database()),
            975..978 => Command::SwapDb(one, other),
            978..980 if self.state.selected != 0 => Command::FlushDb,
            _ if self.shape.ballast > 0 && self.state.selected == 0 => {
                Command::Ballast(self.random.random_range(0..self.shape.ballast))
            }
            _ => Command::Get(self.lasting()),
        }
    }
}

fn wrong_reply(history: &History, position: usize, expected: &Expected, reply: &impl std::fmt::Debug) -> String {
    let from = position.saturating_sub(12);
    let before: Vec<String> =
        history.sent[from..=position].iter().map(|sent| format!("  {:?}", sent.command)).collect();
    let (mut expected, mut reply) = (format!("{expected:?}"), format!("{reply:?}"));
    for text in [&mut expected, &mut reply] {
        if text.chars().count() > 200 {
            *text = text.chars().take(200).chain("…".chars()).collect();
        }
    }
    format!("command {position} was answered {reply} where {expected} is due, after\n{}", before.join("\n"))
}

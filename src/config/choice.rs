//! Parameters that are one of a few words.

use super::value::{Kind, Refusal};
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU8, Ordering};

/// The words of a choice and what they stand for, in the order in which error messages list them.
pub trait Options: Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// At most 256. The first word of several for one value is the one that is printed.
    const ALL: &'static [(&'static str, Self)];

    /// The word for the value.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("unknown", |(name, _)| name)
    }
}

/// One of the words of `E`.
pub struct Choice<E> {
    /// A place in `E::ALL`.
    place: AtomicU8,
    options: PhantomData<E>,
}

impl<E: Options> Choice<E> {
    pub(super) fn new(default: E) -> Self {
        Self { place: AtomicU8::new(place_of(default)), options: PhantomData }
    }

    /// The present value.
    pub fn get(&self) -> E {
        E::ALL[usize::from(self.place.load(Ordering::Relaxed))].1
    }
}

impl<E: Options> fmt::Debug for Choice<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(formatter)
    }
}

fn place_of<E: Options>(value: E) -> u8 {
    let place = E::ALL.iter().position(|(_, other)| *other == value);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

impl<E: Options> Kind for Choice<E> {
    type Stored = E;

    fn parse(&self, text: &str) -> Result<E, Refusal> {
        E::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("argument(s) must be one of the following: {}", self.form()))
    }

    fn load(&self) -> E {
        self.get()
    }

    fn store(&self, value: E) {
        self.place.store(place_of(value), Ordering::Relaxed);
    }

    fn print(&self, value: &E) -> String {
        value.name().to_owned()
    }

    fn form(&self) -> String {
        E::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! options {
    ($($(#[$doc:meta])+ $name:ident { $($(#[$variant_doc:meta])+ $variant:ident = $word:literal $(| $other:literal)*,)+ })+) => { $(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])+ $variant,)+ }

        impl Options for $name {
            const ALL: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant), $(($other, Self::$variant),)*)+];
        }
    )+ };
}

options! {
    /// Which keys go when `maxmemory` is reached.
    EvictionPolicy {
        /// The least recently used of those that expire.
        VolatileLru = "volatile-lru",
        /// The least frequently used of those that expire.
        VolatileLfu = "volatile-lfu",
        /// Any of those that expire.
        VolatileRandom = "volatile-random",
        /// The one that expires first.
        VolatileTtl = "volatile-ttl",
        /// The least recently used.
        AllkeysLru = "allkeys-lru",
        /// The least frequently used.
        AllkeysLfu = "allkeys-lfu",
        /// Any.
        AllkeysRandom = "allkeys-random",
        /// None: writes that need memory are refused.
        Noeviction = "noeviction",
        /// The one whose uses are farthest apart: <https://dl.acm.org/doi/10.1145/511399.511340>.
        AllkeysLirs = "allkeys-lirs" | "allkeys-s3fifo",
    }

    /// Where the data lives.
    Engine {
        /// In memory alone.
        Memory = "memory",
        /// In memory and, all of it, in RocksDB.
        Rocksdb = "rocksdb",
    }

    /// How much the log says.
    LogLevel {
        /// Everything, for development.
        Debug = "debug",
        /// Much, but not what floods a log.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// Only what needs attention.
        Warning = "warning",
        /// Nothing.
        Nothing = "nothing",
    }

    /// How a line of the log looks.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }

    /// Who may use what can harm the server.
    Permission {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from the same machine.
        Local = "local",
    }

    /// When the journal is synced to the device.
    JournalSync {
        /// Once a second.
        Everysec = "everysec",
        /// Before a write is acknowledged.
        Always = "always",
        /// When the operating system does.
        No = "no",
    }

    /// How the kernel's out-of-memory score is set.
    OomScore {
        /// Left alone.
        No = "no",
        /// Relative to the score at the start.
        Relative = "yes" | "relative",
        /// As given.
        Absolute = "absolute",
    }

    /// Who is told when the server is ready.
    Supervision {
        /// Nobody.
        No = "no",
        /// Upstart, by stopping once.
        Upstart = "upstart",
        /// Systemd, by its socket of notifications.
        Systemd = "systemd",
        /// Whichever of them has started the server.
        Auto = "auto",
    }

    /// What a new ACL user may subscribe to.
    PubsubDefault {
        /// Every channel.
        Allchannels = "allchannels",
        /// No channel.
        Resetchannels = "resetchannels",
    }
}

impl EvictionPolicy {
    /// Whether it takes keys with an expiry alone.
    pub fn is_volatile(self) -> bool {
        use EvictionPolicy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// Whether the least frequently used keys go.
    pub fn is_lfu(self) -> bool {
        matches!(self, EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu)
    }
}

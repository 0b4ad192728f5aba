//! How a command is declared: everything that dispatch, COMMAND, routing and the documentation need to know of it,
//! beside its handler.

use super::context::Context;
use crate::protocol::Args;
use crate::reply::Error;

/// A set of flags; see the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $wire:literal),* $(,)?) => {
        impl Flags {
            pub const NONE: Flags = Flags(0);
            $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*
            /// Every flag with the name that COMMAND gives it; empty: it is not shown.
            pub const ALL: &'static [(Flags, &'static str)] = &[$((Flags::$name, $wire)),*];
        }
    };
}

flags! {
    WRITE = 0 "write",
    READONLY = 1 "readonly",
    /// Refused while memory is over `maxmemory` and nothing can be evicted.
    DENY_OOM = 2 "denyoom",
    ADMIN = 3 "admin",
    NO_SCRIPT = 4 "noscript",
    BLOCKING = 5 "blocking",
    LOADING = 6 "loading",
    STALE = 7 "stale",
    SKIP_MONITOR = 8 "skip_monitor",
    SKIP_SLOWLOG = 9 "skip_slowlog",
    FAST = 10 "fast",
    /// Allowed before AUTH.
    NO_AUTH = 11 "no_auth",
    /// Its keys are found by looking at its arguments, not by position alone.
    MOVABLE_KEYS = 12 "movablekeys",
    NO_MULTI = 13 "no_multi",
    ALLOW_BUSY = 14 "allow_busy",
    PUBSUB = 15 "pubsub",
    MAY_REPLICATE = 16 "may_replicate",
    NO_MANDATORY_KEYS = 17 "no_mandatory_keys",
    /// Runs while no other command runs anywhere (FLUSHALL, SWAPDB).
    EXCLUSIVE = 18 "",
    /// Runs while clients are paused (CLIENT itself).
    IGNORES_PAUSE = 19 "",
    /// A line of HTTP sent to the wrong port: the connection is closed.
    HTTP = 20 "",
}

impl Flags {
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        self.or(other)
    }
}

/// ACL categories that do not follow from flags, by bit; the order is that of ACL CAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Categories(u32);

macro_rules! categories {
    ($($name:ident = $bit:literal $wire:literal),* $(,)?) => {
        impl Categories {
            $(pub const $name: Categories = Categories(1 << $bit);)*
            pub const ALL: &'static [(Categories, &'static str)] = &[$((Categories::$name, $wire)),*];
        }
    };
}

categories! {
    KEYSPACE = 0 "keyspace", READ = 1 "read", WRITE = 2 "write", SET = 3 "set", SORTEDSET = 4 "sortedset",
    LIST = 5 "list", HASH = 6 "hash", STRING = 7 "string", BITMAP = 8 "bitmap", HYPERLOGLOG = 9 "hyperloglog",
    GEO = 10 "geo", STREAM = 11 "stream", PUBSUB = 12 "pubsub", ADMIN = 13 "admin", FAST = 14 "fast",
    SLOW = 15 "slow", BLOCKING = 16 "blocking", DANGEROUS = 17 "dangerous", CONNECTION = 18 "connection",
    TRANSACTION = 19 "transaction", SCRIPTING = 20 "scripting",
}

impl Categories {
    pub const NONE: Categories = Categories(0);

    pub const fn or(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    pub const fn has(self, category: Categories) -> bool {
        self.0 & category.0 != 0
    }
}

impl std::ops::BitOr for Categories {
    type Output = Categories;
    fn bitor(self, other: Categories) -> Categories {
        self.or(other)
    }
}

/// Which arguments are keys.
#[derive(Clone, Copy)]
pub enum Keys {
    None,
    /// Every `step`-th argument from `first` to `last`; a negative `last` counts from the end (-1: the last one).
    Range {
        first: usize,
        last: i32,
        step: usize,
    },
    /// Found by looking at the arguments; gives their indices.
    Found(fn(&Args<'_>) -> Vec<usize>),
}

impl Keys {
    /// The indices of the arguments that are keys.
    pub fn indices(&self, args: &Args<'_>) -> Vec<usize> {
        match *self {
            Keys::None => Vec::new(),
            Keys::Range { first, last, step } => {
                let last = if last < 0 { args.len() as i64 + i64::from(last) } else { i64::from(last) };
                (first as i64..=last.min(args.len() as i64 - 1))
                    .step_by(step.max(1))
                    .map(|index| index as usize)
                    .collect()
            }
            Keys::Found(find) => find(args),
        }
    }
}

/// What a key is used for, as COMMAND's key specifications tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// RO: only read; `access`: its data is returned.
    Read,
    /// RO, but only metadata is looked at (EXISTS, TTL).
    Inspect,
    /// OW: set without a look at the old value.
    Overwrite,
    /// RW: data depends on the old value, or is returned.
    Update,
    /// RM: deleted.
    Remove,
}

pub type Handler = fn(&mut Context<'_>) -> Result<(), Error>;

/// A command or subcommand.
pub struct Spec {
    /// In lower case; a subcommand's own name, without its parent's.
    pub name: &'static str,
    /// Number of arguments, the name (and for a subcommand, its parent's) included; negative: at least so many.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub key_use: KeyUse,
    pub categories: Categories,
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    pub handler: Handler,
    pub subcommands: &'static [Spec],
}

impl Spec {
    pub const fn new(name: &'static str, arity: i32, handler: Handler) -> Spec {
        Spec {
            name,
            arity,
            flags: Flags::NONE,
            keys: Keys::None,
            key_use: KeyUse::Read,
            categories: Categories::NONE,
            group: "generic",
            since: "",
            summary: "",
            complexity: "",
            handler,
            subcommands: &[],
        }
    }

    pub const fn flags(mut self, flags: Flags) -> Spec {
        self.flags = flags;
        self
    }

    pub const fn keys(mut self, first: usize, last: i32, step: usize, key_use: KeyUse) -> Spec {
        self.keys = Keys::Range { first, last, step };
        self.key_use = key_use;
        self
    }

    pub const fn found_keys(mut self, find: fn(&Args<'_>) -> Vec<usize>, key_use: KeyUse) -> Spec {
        self.keys = Keys::Found(find);
        self.key_use = key_use;
        self
    }

    /// Categories beside those that follow from the flags.
    pub const fn categories(mut self, categories: Categories) -> Spec {
        self.categories = categories;
        self
    }

    pub const fn doc(
        mut self,
        group: &'static str,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Spec {
        self.group = group;
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self
    }

    pub const fn subcommands(mut self, subcommands: &'static [Spec]) -> Spec {
        self.subcommands = subcommands;
        self
    }

    /// Whether a call with `count` arguments, names included, fits the arity.
    #[inline]
    pub fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 { count == self.arity as usize } else { count >= self.arity.unsigned_abs() as usize }
    }
}

//! How a command is declared: everything that the executor, COMMAND, routing and the documentation need to know of it,
//! beside its handler.

use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::protocol::Args;
use crate::reply::Error;

/// The version of Redis whose commands and answers these are; clients and dashboards go by it.
pub const REDIS_VERSION: &str = "7.0.15";

/// A set of flags; see the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $wire:literal),* $(,)?) => {
        impl Flags {
            pub const NONE: Flags = Flags(0);
            $($(#[$doc])* pub const $name: Flags = Flags(1 << $bit);)*
            /// Every flag with the name that COMMAND gives it, in the order of its reply; empty: it is not shown.
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
    PUBSUB = 4 "pubsub",
    NO_SCRIPT = 5 "noscript",
    BLOCKING = 6 "blocking",
    LOADING = 7 "loading",
    STALE = 8 "stale",
    SKIP_MONITOR = 9 "skip_monitor",
    SKIP_SLOWLOG = 10 "skip_slowlog",
    FAST = 11 "fast",
    /// Allowed before AUTH.
    NO_AUTH = 12 "no_auth",
    MAY_REPLICATE = 13 "may_replicate",
    NO_MANDATORY_KEYS = 14 "no_mandatory_keys",
    NO_ASYNC_LOADING = 15 "no_async_loading",
    NO_MULTI = 16 "no_multi",
    /// Its keys are found by looking at its arguments, not by position alone.
    MOVABLE_KEYS = 17 "movablekeys",
    ALLOW_BUSY = 18 "allow_busy",
    /// Runs while no other command runs anywhere (FLUSHALL, SWAPDB).
    EXCLUSIVE = 19 "",
    /// Runs while clients are paused (CLIENT itself).
    IGNORES_PAUSE = 20 "",
    /// A line of HTTP sent to the wrong port: the connection is closed.
    HTTP = 21 "",
    /// Refused, unless `enable-debug-command` allows it.
    PROTECTED = 22 "",
}

impl Flags {
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// The names that COMMAND gives them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Flags::ALL.iter().filter(move |(flag, name)| self.has(*flag) && !name.is_empty()).map(|(_, name)| *name)
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

    /// The category with this name, whatever its case.
    pub fn named(name: &[u8]) -> Option<Categories> {
        let known = Categories::ALL.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
        known.map(|(category, _)| *category)
    }

    /// Their names, without the `@`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Categories::ALL.iter().filter(move |(category, _)| self.has(*category)).map(|(_, name)| *name)
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
    /// The index of the first key, where it does not depend on the arguments.
    pub fn first(&self) -> Option<usize> {
        match *self {
            Keys::Range { first, .. } => Some(first),
            Keys::None | Keys::Found(_) => None,
        }
    }

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

/// What a key is used for, as the flags of a key specification tell it
/// (<https://redis.io/docs/latest/develop/reference/key-specs/#flags>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// Only read, and its data is returned.
    Read,
    /// Only read, and no more than its metadata is looked at (EXISTS, STRLEN).
    Inspect,
    /// Set without a look at the old value.
    Overwrite,
    /// Set, unless it exists.
    Create,
    /// Changed, and its data is returned or decides what the new value is.
    Update,
    /// Changed, with no trace of its data in the reply (EXPIRE, SETRANGE).
    Adjust,
    /// Something is added to its data (APPEND).
    Extend,
    /// Returned or moved, and deleted.
    Take,
    /// Deleted.
    Remove,
}

impl KeyUse {
    /// The flags' names in COMMAND's reply.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            KeyUse::Read => &["RO", "access"],
            KeyUse::Inspect => &["RO"],
            KeyUse::Overwrite => &["OW", "update"],
            KeyUse::Create => &["OW", "insert"],
            KeyUse::Update => &["RW", "access", "update"],
            KeyUse::Adjust => &["RW", "update"],
            KeyUse::Extend => &["RW", "insert"],
            KeyUse::Take => &["RW", "access", "delete"],
            KeyUse::Remove => &["RM", "delete"],
        }
    }
}

/// See [`Spec::result_bytes`].
pub type ResultBytes = fn(&Args<'_>, usize, usize) -> usize;

pub type Handler = fn(&mut Context<'_>) -> Result<(), Stop>;

/// A command or subcommand.
pub struct Spec {
    /// In lower case; a subcommand's own name, without its parent's.
    pub name: &'static str,
    /// Number of arguments, the name (and for a subcommand, its parent's) included; negative: at least so many.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub key_use: KeyUse,
    /// What the last key is used for, where that differs from the others (RENAME, COPY).
    pub last_key_use: Option<KeyUse>,
    /// What the key is used for in a call with these arguments, where that is less than `key_use` says (SET).
    pub key_use_of: Option<fn(&Args<'_>) -> KeyUse>,
    /// Which arguments are values, for commands that take them in parts: the first, and how many more arguments there are from
    /// one to the next.
    pub values: Option<(usize, usize)>,
    /// How long the value becomes, where that is not the argument alone: from the arguments before it, the key's present length
    /// and the argument's.
    pub result_bytes: Option<ResultBytes>,
    /// Those beside the ones that follow from the flags; see [`Spec::all_categories`].
    pub categories: Categories,
    /// What clients of clusters can go by (<https://redis.io/docs/latest/develop/reference/command-tips/>).
    pub tips: &'static [&'static str],
    pub group: &'static str,
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// Since when there is something better, and what: Markdown.
    pub deprecated: Option<(&'static str, &'static str)>,
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
            last_key_use: None,
            key_use_of: None,
            values: None,
            result_bytes: None,
            categories: Categories::NONE,
            tips: &[],
            group: "generic",
            since: "",
            summary: "",
            complexity: "",
            deprecated: None,
            handler,
            subcommands: &[],
        }
    }

    /// A command that does nothing without a subcommand.
    pub const fn container(name: &'static str, subcommands: &'static [Spec]) -> Spec {
        // Not reached: with an argument more, that argument is looked up as a subcommand.
        Spec::new(name, -2, |_| Err(Error::SYNTAX.into())).subcommands(subcommands)
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

    /// What the last of several keys is used for.
    pub const fn last_key(mut self, key_use: KeyUse) -> Spec {
        self.last_key_use = Some(key_use);
        self
    }

    /// Tells what a call uses its key for, where not every call does what `key_use` says.
    pub const fn key_use_by(mut self, key_use_of: fn(&Args<'_>) -> KeyUse) -> Spec {
        self.key_use_of = Some(key_use_of);
        self
    }

    /// The argument at `index` is a value, whose handler takes it in parts (`Args::value`): a large one comes in chunks.
    pub const fn value(self, index: usize) -> Spec {
        self.values(index, usize::MAX)
    }

    /// The same of every `step`-th argument, from `first` on.
    pub const fn values(mut self, first: usize, step: usize) -> Spec {
        self.values = Some((first, step));
        self
    }

    /// Tells how long the value becomes by a large argument.
    pub const fn result_bytes(mut self, result_bytes: ResultBytes) -> Spec {
        self.result_bytes = Some(result_bytes);
        self
    }

    /// Whether the handler takes the argument at `index` in parts.
    pub fn takes_large(&self, index: usize) -> bool {
        self.values.is_some_and(|(first, step)| index >= first && (index - first).is_multiple_of(step))
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Spec {
        self.deprecated = Some((since, replaced_by));
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
    /// Its ACL categories: those that were declared, and those that Redis derives from the flags.
    pub fn all_categories(&self) -> Categories {
        let derived = [
            (Flags::WRITE, Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN, Categories::ADMIN.or(Categories::DANGEROUS)),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::FAST, Categories::FAST),
            (Flags::BLOCKING, Categories::BLOCKING),
        ];
        let is_script = self.categories.has(Categories::SCRIPTING);
        let mut categories = self.categories;
        for (flag, category) in derived {
            // Scripts that only read are no reads: what they run is.
            if self.flags.has(flag) && !(flag == Flags::READONLY && is_script) {
                categories = categories.or(category);
            }
        }
        if categories.has(Categories::FAST) { categories } else { categories.or(Categories::SLOW) }
    }
}

//! What a command is like: its flags and its ACL categories, by the names that COMMAND gives them.

/// A set of flags; see the constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $wire:literal),* $(,)?) => {
        impl Flags {
            /// No flag.
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
    /// Locks slots that are not those of its keys: it walks over all of them (KEYS, SCAN), or samples some (INFO).
    LOOKS_AROUND = 23 "",
}

impl Flags {
    /// The flags of both sets.
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether a flag of the other set is in this one.
    pub const fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }

    /// The flags of this set that are not in the other.
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
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
            /// Every category with its name.
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
    /// No category.
    pub const NONE: Categories = Categories(0);

    /// The categories of both sets.
    pub const fn or(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// Whether a category of the other set is in this one.
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

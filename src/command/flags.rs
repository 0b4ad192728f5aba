//! Flags and ACL categories of commands, with the names that COMMAND gives them.

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
    /// May change keys.
    WRITE = 0 "write",
    /// Reads keys and changes none.
    READONLY = 1 "readonly",
    /// Refused while memory is over `maxmemory` and nothing can be evicted.
    DENY_OOM = 2 "denyoom",
    /// For administrators: in the ACL category `admin`.
    ADMIN = 3 "admin",
    /// About channels.
    PUBSUB = 4 "pubsub",
    /// Not for scripts.
    NO_SCRIPT = 5 "noscript",
    /// May keep its client waiting for another.
    BLOCKING = 6 "blocking",
    /// Allowed while the data is loaded.
    LOADING = 7 "loading",
    /// Allowed on a replica that has lost its primary.
    STALE = 8 "stale",
    /// Not shown to MONITOR.
    SKIP_MONITOR = 9 "skip_monitor",
    /// Not put into the slow log.
    SKIP_SLOWLOG = 10 "skip_slowlog",
    /// Takes constant or logarithmic time.
    FAST = 11 "fast",
    /// Allowed before AUTH.
    NO_AUTH = 12 "no_auth",
    /// Changes no key, and may yet have to reach replicas (PUBLISH); waits while writes are paused.
    MAY_REPLICATE = 13 "may_replicate",
    /// May be called without any key.
    NO_MANDATORY_KEYS = 14 "no_mandatory_keys",
    /// Refused while a replica loads new data and serves the old.
    NO_ASYNC_LOADING = 15 "no_async_loading",
    /// Refused within MULTI.
    NO_MULTI = 16 "no_multi",
    /// Its keys are found by looking at its arguments, not by position alone.
    MOVABLE_KEYS = 17 "movablekeys",
    /// Allowed while a script runs for too long.
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
    /// The flags of both.
    pub const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether any of the flags of `flag` is set.
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
            $(#[doc = concat!("The category `@", $wire, "`.")] pub const $name: Categories = Categories(1 << $bit);)*
            /// Every category with its name, without the `@`, in the order of ACL CAT.
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

    /// The categories of both.
    pub const fn or(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// Whether any of the categories of `category` is in the set.
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

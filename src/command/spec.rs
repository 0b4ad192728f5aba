//! How a command is declared: everything that the executor, COMMAND, routing and the documentation need to know of it,
//! beside its handler.

use std::iter::StepBy;
use std::ops::Range;

use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::Stop;
use crate::protocol::Args;
use crate::reply::Error;

/// The version of Redis whose commands and answers these are; clients and dashboards go by it.
pub const REDIS_VERSION: &str = "7.0.15";

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
            Keys::Range { .. } => self.in_range(args.len()).collect(),
            Keys::Found(find) => find(args),
        }
    }

    /// Whether there may be a key behind the first, where it does not depend on the arguments.
    #[inline]
    pub fn may_be_several(&self) -> bool {
        matches!(*self, Keys::Range { first, last, .. } if last != first as i32)
    }

    /// How many arguments there are from one key to the next.
    #[inline]
    pub fn step(&self) -> usize {
        match *self {
            Keys::Range { step, .. } => step.max(1),
            Keys::None | Keys::Found(_) => 1,
        }
    }

    /// The same of so many arguments, as far as it does not depend on what these are.
    #[inline]
    pub fn in_range(&self, arguments: usize) -> StepBy<Range<usize>> {
        match *self {
            Keys::Range { first, last, step } => {
                let end = if last < 0 { arguments.saturating_add_signed(last as isize + 1) } else { last as usize + 1 };
                (first..end.min(arguments)).step_by(step.max(1))
            }
            Keys::None | Keys::Found(_) => (0..0).step_by(1),
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

/// What runs a command: it reads, changes and answers, or tells why it has stopped.
pub type Handler = fn(&mut Context<'_>) -> Result<(), Stop>;

/// A command or subcommand.
pub struct Spec {
    /// In lower case; a subcommand's own name, without its parent's.
    pub name: &'static str,
    /// Number of arguments, the name (and for a subcommand, its parent's) included; negative: at least so many.
    pub arity: i32,
    /// What is special about it.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: Keys,
    /// What its keys are used for.
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
    /// The group that COMMAND DOCS names.
    pub group: &'static str,
    /// The version of Redis that has it first.
    pub since: &'static str,
    /// What it does, in one line without a full stop.
    pub summary: &'static str,
    /// What it costs, as COMMAND DOCS tells it.
    pub complexity: &'static str,
    /// Since when there is something better, and what: Markdown.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// What runs it.
    pub handler: Handler,
    /// Its subcommands; with some, it does nothing by itself.
    pub subcommands: &'static [Spec],
}

impl Spec {
    /// Declares a command without keys and flags; the methods below add what it has.
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

    /// Sets its flags.
    pub const fn flags(mut self, flags: Flags) -> Spec {
        self.flags = flags;
        self
    }

    /// Declares as keys every `step`-th argument from `first` to `last`, as in [`Keys::Range`].
    pub const fn keys(mut self, first: usize, last: i32, step: usize, key_use: KeyUse) -> Spec {
        self.keys = Keys::Range { first, last, step };
        self.key_use = key_use;
        self
    }

    /// Declares keys that are found by looking at the arguments.
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

    /// Sets what clients of clusters can go by.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Spec {
        self.tips = tips;
        self
    }

    /// Declares since when there is something better, and what.
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Spec {
        self.deprecated = Some((since, replaced_by));
        self
    }

    /// Categories beside those that follow from the flags.
    pub const fn categories(mut self, categories: Categories) -> Spec {
        self.categories = categories;
        self
    }

    /// Documents it: group, first version, complexity, summary.
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

    /// Sets its subcommands.
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

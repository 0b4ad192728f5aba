//! All that is known of a parameter, and how the table of them is written.

use super::value::Value;

/// What the environment variables that set parameters begin with.
pub(super) const VARIABLE_PREFIX: &str = "ROCKPOOL_";

/// A part of the table, with a heading of its own in the help and the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// How the process runs.
    Process,
    /// Where the server listens, and what a connection may use.
    Network,
    /// Who may do what.
    Security,
    /// Databases, memory, expiry.
    Keyspace,
    /// Log, slow log, latency.
    Observation,
    /// What is kept on disk.
    Persistence,
    /// How values are laid out in memory.
    Encoding,
    /// Several nodes.
    Cluster,
    /// Names of Redis that clients and tools set.
    Compatibility,
}

impl Group {
    /// In the order of the reference page.
    pub const ALL: [Self; 9] = [
        Self::Process,
        Self::Network,
        Self::Security,
        Self::Keyspace,
        Self::Observation,
        Self::Persistence,
        Self::Encoding,
        Self::Cluster,
        Self::Compatibility,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Process => "Process",
            Self::Network => "Network",
            Self::Security => "Security",
            Self::Keyspace => "Keyspace and memory",
            Self::Observation => "Log and latency",
            Self::Persistence => "Persistence",
            Self::Encoding => "Encodings",
            Self::Cluster => "Cluster",
            Self::Compatibility => "Compatibility",
        }
    }
}

/// When a parameter can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// At the start and by `CONFIG SET`.
    Mutable,
    /// At the start; by `CONFIG SET` if `enable-protected-configs` allows it.
    Protected,
    /// At the start only.
    Immutable,
}

/// What loading and rewriting do with a parameter, besides keeping its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Plain,
    /// In the syntax of Redis, relative paths are taken from it. Its default is where the server is started.
    WorkingDirectory,
    /// What the working directory is filled with, which is made for that.
    FillsDirectory,
    /// Names a file whose first line is the value of the parameter of this name.
    FileOf(&'static str),
}

/// One row of the table that makes the settings `S`.
#[derive(Debug)]
pub struct Row<S> {
    /// The name in `CONFIG GET`, in the file and, after two hyphens, on the command line.
    pub name: &'static str,
    /// Other names for the same value.
    pub aliases: &'static [&'static str],
    /// Where it stands in the help and the reference page.
    pub group: Group,
    /// What it does, with units.
    doc: &'static str,
    /// When it can be set.
    pub mutability: Mutability,
    /// Taken for the sake of clients that set it; nothing reads it.
    pub without_effect: bool,
    /// It means the start that it was given for, and no later one: `CONFIG REWRITE` leaves it alone.
    pub is_for_one_start: bool,
    /// On the command line it needs no value: then it is `yes`.
    pub is_switch: bool,
    /// A secret: its value is in no message.
    pub sensitive: bool,
    pub(super) role: Role,
    /// Where its value is.
    access: fn(&S) -> &dyn Value,
}

impl<S> Row<S> {
    pub(super) const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        group: Group,
        doc: &'static str,
        access: fn(&S) -> &dyn Value,
    ) -> Self {
        let mutability = Mutability::Mutable;
        Self {
            name,
            aliases,
            group,
            doc,
            mutability,
            without_effect: false,
            is_for_one_start: false,
            is_switch: false,
            sensitive: false,
            role: Role::Plain,
            access,
        }
    }

    pub(super) const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    pub(super) const fn protected(mut self) -> Self {
        self.mutability = Mutability::Protected;
        self
    }

    pub(super) const fn without_effect(mut self) -> Self {
        self.without_effect = true;
        self
    }

    pub(super) const fn one_start(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self.is_for_one_start = true;
        self
    }

    pub(super) const fn switch(mut self) -> Self {
        self.is_switch = true;
        self
    }

    pub(super) const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    pub(super) const fn working_directory(mut self) -> Self {
        self.role = Role::WorkingDirectory;
        self
    }

    pub(super) const fn fills_directory(mut self) -> Self {
        self.role = Role::FillsDirectory;
        self
    }

    pub(super) const fn file_of(mut self, name: &'static str) -> Self {
        self.role = Role::FileOf(name);
        self
    }

    /// What it does, with units: one line.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// Its value in `settings`.
    pub fn value<'a>(&self, settings: &'a S) -> &'a dyn Value {
        (self.access)(settings)
    }

    /// Its names, with the one that counts first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{}{}", VARIABLE_PREFIX, self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

macro_rules! parameters {
    ($($group:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, [$name:literal $(| $alias:literal)*]
            $($trait:ident $(($argument:expr))?)*;)+
    })+) => {
        /// The value of every parameter. Values change under their readers, one at a time: read one where it is
        /// needed, and keep it no longer than the command or the round that needs it.
        #[derive(Debug)]
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $field: $type,)+)+
            /// What they were read from.
            pub(super) origin: Origin,
            /// Held by who changes values or the file.
            pub(super) writing: Mutex<()>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($($field: $default,)+)+ origin: Origin::default(), writing: Mutex::new(()) }
            }
        }

        /// Every parameter, by groups.
        pub static PARAMETERS: &[Parameter] = &[$($(
            Row::<Settings>::new(
                $name, &[$($alias),*], Group::$group, concat!($($doc),+), |settings| &settings.$field,
            )$(.$trait($($argument)?))*,
        )+)+];
    };
}

pub(super) use parameters;

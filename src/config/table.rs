//! The table of parameters, and all that is known of one.

use super::choice::{
    Choice, Engine, EvictionPolicy, JournalSync, LogFormat, LogLevel, OomScore, Permission, PubsubDefault,
};
use super::list::{Addresses, Events, OomScores, OutputLimit, OutputLimits, Percentiles, SavePoint, SavePoints};
use super::value::{Bytes, Directory, Flag, Integer, Octal, Portion, Text, Value};
use parking_lot::Mutex;
use std::path::PathBuf;

/// A part of the table, with a heading of its own in the help and the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
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
    pub const ALL: [Self; 8] = [
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

/// One row of the table.
#[derive(Debug)]
pub struct Parameter {
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
    /// Where its value is.
    access: fn(&Settings) -> &dyn Value,
}

impl Parameter {
    const fn new(
        name: &'static str,
        aliases: &'static [&'static str],
        group: Group,
        doc: &'static str,
        access: fn(&Settings) -> &dyn Value,
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
            access,
        }
    }

    const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    const fn protected(mut self) -> Self {
        self.mutability = Mutability::Protected;
        self
    }

    const fn without_effect(mut self) -> Self {
        self.without_effect = true;
        self
    }

    const fn one_start(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self.is_for_one_start = true;
        self
    }

    const fn switch(mut self) -> Self {
        self.is_switch = true;
        self
    }

    const fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// What it does, with units: one line.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// Its value in `settings`.
    pub fn value<'a>(&self, settings: &'a Settings) -> &'a dyn Value {
        (self.access)(settings)
    }

    /// Its names, with the one that counts first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{}{}", super::load::VARIABLE_PREFIX, self.name.to_ascii_uppercase().replace('-', "_"))
    }
}

/// The parameter with this name or alias in any case, and the spelling of the table.
pub fn find(name: &[u8]) -> Option<(&'static Parameter, &'static str)> {
    PARAMETERS.iter().find_map(|parameter| {
        let spelling = parameter.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((parameter, spelling))
    })
}

macro_rules! parameters {
    ($($group:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, [$name:literal $(| $alias:literal)*] $($trait:ident)*;)+
    })+) => {
        /// The value of every parameter. Values change under their readers, one at a time: read one where it is
        /// needed, and keep it no longer than the command or the round that needs it.
        #[derive(Debug)]
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $field: $type,)+)+
            /// The file that was read at the start, and that `CONFIG REWRITE` writes to.
            pub(super) file: Option<PathBuf>,
            /// Held by who changes values or the file.
            pub(super) writing: Mutex<()>,
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($($field: $default,)+)+ file: None, writing: Mutex::new(()) }
            }
        }

        /// Every parameter, by groups.
        pub static PARAMETERS: &[Parameter] = &[$($(
            Parameter::new(
                $name, &[$($alias),*], Group::$group, concat!($($doc),+), |settings| &settings.$field,
            )$(.$trait())*,
        )+)+];
    };
}

const INT: i64 = i32::MAX as i64;
const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;
const GB: u64 = 1 << 30;
/// The highest size that Redis keeps in a signed number.
const SIGNED: u64 = i64::MAX as u64;
/// Offsets into received commands and lengths of small values are 32 bits; buffers grow a little past their limit.
const INPUT_MAX: u64 = 3 * GB;

const NO_DEFRAGMENTATION: &str = "Active defragmentation cannot be enabled: it requires a Redis server compiled with \
    a modified Jemalloc like the one shipped by default with the Redis source distribution";

fn dbfilename(name: &str) -> Result<(), &'static str> {
    if name.contains('/') { Err("dbfilename can't be a path, just a filename") } else { Ok(()) }
}

fn appendfilename(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("appendfilename can't be empty"),
        name if name.contains('/') => Err("appendfilename can't be a path, just a filename"),
        _ => Ok(()),
    }
}

fn appenddirname(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("appenddirname can't be empty"),
        name if name.contains('/') => Err("appenddirname can't be a path, just a dirname"),
        _ => Ok(()),
    }
}

fn replicaof(primary: &str) -> Result<(), &'static str> {
    if primary.is_empty() { Ok(()) } else { Err("this server cannot be a replica") }
}

const fn output_limit(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> OutputLimit {
    OutputLimit { hard_bytes, soft_bytes, soft_seconds }
}

const fn save_point(seconds: i64, changes: i64) -> SavePoint {
    SavePoint { seconds, changes }
}

parameters! {
    Network {
        /// Port of the Redis protocol. 0: any that is free; the log tells which.
        port: Integer = Integer::new(6379, 0..=65535), ["port"];
        /// Addresses that all protocols listen on. One that starts with `-` may be missing on this machine; `*` and
        /// `::*` are every IPv4 and IPv6 address.
        bind: Addresses = Addresses::new("127.0.0.1 -::1"), ["bind"];
        /// Path of a Unix socket for the Redis protocol. Empty: none.
        unixsocket: Text = Text::new("", "path"), ["unixsocket"] immutable;
        /// Permission bits of the Unix socket. 0: as the process's mask gives them.
        unixsocketperm: Octal = Octal::new(0, 0o777), ["unixsocketperm"] immutable;
        /// Port of the REST interface and the metrics. 0: any that is free.
        http_port: Integer = Integer::new(12345, 0..=65535), ["http-port"] immutable;
        /// Port of the plain TCP cache protocol. 0: any that is free. Closed to clients while `requirepass` is set.
        tcp_port: Integer = Integer::new(12346, 0..=65535), ["tcp-port"] immutable;
        /// Connections that may wait to be accepted.
        tcp_backlog: Integer = Integer::new(511, 0..=INT), ["tcp-backlog"] immutable;
        /// Seconds after which an idle client is disconnected. 0: never.
        timeout: Integer = Integer::new(0, 0..=INT), ["timeout"];
        /// Seconds between TCP keepalive probes. 0: none.
        tcp_keepalive: Integer = Integer::new(300, 0..=INT), ["tcp-keepalive"];
        /// Connected clients at most.
        maxclients: Integer = Integer::new(10000, 1..=u32::MAX as i64), ["maxclients"];
        /// Threads that serve connections, at most: as many of them do as the load needs. 0: as many as there are CPUs.
        io_threads: Integer = Integer::new(0, 0..=128), ["io-threads"] immutable;
        /// What a client may send that is no complete command yet.
        client_query_buffer_limit: Bytes = Bytes::new(GB, MB..=INPUT_MAX), ["client-query-buffer-limit"];
        /// Replies that may wait for a client that does not read them, by class of client: at most the hard limit, and
        /// not more than the soft limit for the seconds given. The client is disconnected then. 0: no limit.
        client_output_buffer_limit: OutputLimits = OutputLimits::new(
            output_limit(GB, 256 * MB, 60),
            output_limit(256 * MB, 64 * MB, 60),
            output_limit(32 * MB, 8 * MB, 60),
        ), ["client-output-buffer-limit"];
        /// The longest value a client may send, by any protocol.
        proto_max_bulk_len: Bytes = Bytes::new(512 * MB, MB..=INPUT_MAX), ["proto-max-bulk-len"];
    }
    Security {
        /// Password of the default user. Empty: none is asked for.
        requirepass: Text = Text::new("", "text"), ["requirepass"] sensitive;
        /// Without a password, only clients on the same machine may connect.
        protected_mode: Flag = Flag::new(true), ["protected-mode"];
        /// Who may use DEBUG.
        enable_debug_command: Choice<Permission> = Choice::new(Permission::No), ["enable-debug-command"] immutable;
        /// Who may set protected parameters.
        enable_protected_configs: Choice<Permission> = Choice::new(Permission::No),
            ["enable-protected-configs"] immutable;
    }
    Keyspace {
        /// Number of databases.
        databases: Integer = Integer::new(16, 1..=INT), ["databases"] immutable;
        /// Storage engine.
        r#type: Choice<Engine> = Choice::new(Engine::Rocksdb), ["type"] immutable;
        /// Directory of everything the server writes.
        dir: Directory = Directory::new("."), ["dir"] protected;
        /// Memory that data may take, RocksDB's own included. With the RocksDB engine, what does not fit stays on disk
        /// alone. 0: no limit.
        maxmemory: Bytes = Bytes::new(0, 0..=u64::MAX), ["maxmemory"];
        /// Which keys go when `maxmemory` is reached.
        maxmemory_policy: Choice<EvictionPolicy> = Choice::new(EvictionPolicy::AllkeysS3fifo), ["maxmemory-policy"];
        /// Keys looked at for each key that the LRU, LFU and TTL policies evict: more is more exact and slower.
        maxmemory_samples: Integer = Integer::new(5, 1..=INT), ["maxmemory-samples"];
        /// How much time eviction may take from commands, from least to most.
        maxmemory_eviction_tenacity: Integer = Integer::new(10, 0..=100), ["maxmemory-eviction-tenacity"];
        /// How slowly the LFU counter of a key grows.
        lfu_log_factor: Integer = Integer::new(10, 0..=INT), ["lfu-log-factor"];
        /// Minutes after which the LFU counter of a key falls by one. 0: never.
        lfu_decay_time: Integer = Integer::new(1, 0..=INT), ["lfu-decay-time"];
        /// Seconds to live of every key that is set without an expiry. 0: no expiry.
        default_ttl: Integer = Integer::new(0, 0..=INT), ["default-ttl" | "ttl"];
        /// Runs of the background tasks a second.
        hz: Integer = Integer::new(10, 0..=INT).clamped(1..=500), ["hz"];
        /// How much work the search for expired keys may do, from least to most.
        active_expire_effort: Integer = Integer::new(1, 1..=10), ["active-expire-effort"];
    }
    Observation {
        /// What the log says.
        loglevel: Choice<LogLevel> = Choice::new(LogLevel::Notice), ["loglevel"];
        /// File of the log. Empty: standard output.
        logfile: Text = Text::new("", "path"), ["logfile"] immutable;
        /// How a line of the log looks.
        log_format: Choice<LogFormat> = Choice::new(LogFormat::Text), ["log-format"] immutable;
        /// Microseconds from which a command is in the slow log. 0: every command; -1: none.
        slowlog_log_slower_than: Integer = Integer::new(10000, -1..=i64::MAX), ["slowlog-log-slower-than"];
        /// Entries of the slow log at most.
        slowlog_max_len: Integer = Integer::new(128, 0..=i64::MAX), ["slowlog-max-len"];
        /// Milliseconds from which an event is a latency spike. 0: none is recorded.
        latency_monitor_threshold: Integer = Integer::new(0, 0..=i64::MAX), ["latency-monitor-threshold"];
        /// Keep the distribution of latencies of each command.
        latency_tracking: Flag = Flag::new(true), ["latency-tracking"];
        /// Percentiles of those distributions that INFO shows.
        latency_tracking_info_percentiles: Percentiles = Percentiles::new(&[50.0, 99.0, 99.9]),
            ["latency-tracking-info-percentiles"];
        /// Classes of keyspace events that are published.
        notify_keyspace_events: Events = Events::default(), ["notify-keyspace-events"] without_effect;
    }
    Persistence {
        /// When a snapshot is due.
        save: SavePoints = SavePoints::new(&[save_point(3600, 1), save_point(300, 100), save_point(60, 10000)]),
            ["save"] without_effect;
        /// Keep a journal of changes, from which what is not merged into RocksDB yet is restored after a crash. Without it,
        /// a crash loses what came after the last merge.
        appendonly: Flag = Flag::new(true), ["appendonly"];
        /// When the journal is synced to the device.
        appendfsync: Choice<JournalSync> = Choice::new(JournalSync::Everysec), ["appendfsync"];
        /// Milliseconds between two merges of what has changed into RocksDB; while writes go on, up to ten times as long
        /// where a merge takes more than a fiftieth of it.
        merge_interval: Integer = Integer::new(500, 1..=3_600_000), ["merge-interval"];
        /// Changes that may wait in memory to be merged: at half of it a merge begins, from all of it on writes are slowed down,
        /// at twice of it they wait. The journal holds up to three times as much.
        maxdirty: Bytes = Bytes::new(32 * MB, 64 * KB..=SIGNED), ["maxdirty"];
        /// Size of the data directory, checkpoints apart: the keys that were written longest ago are deleted for those that
        /// come. 0: no limit. The least is 64 MB; set while the server runs, 352 MB, unless it began with a limit. With
        /// `type memory` it means nothing.
        maxdisk: Bytes = Bytes::new(0, 0..=SIGNED), ["maxdisk"];
        /// Checkpoint (what SAVE made) to begin with: `dir` becomes a copy of it, and must be new or hold no data. Where it was
        /// restored from that checkpoint before, the server goes on with its data. Empty: none. CONFIG REWRITE leaves it out.
        restore: Text = Text::new("", "path"), ["restore"] one_start;
        /// Drop what is damaged in the journal, and all after it, into files beside it, and start; the log tells what. It is
        /// meant for one start: CONFIG REWRITE leaves it out.
        repair: Flag = Flag::new(false), ["repair"] one_start switch;
        /// Threads that read keys which are not in memory. 0: the thread that serves the client does, and its other clients wait.
        loader_threads: Integer = Integer::new(2, 0..=64), ["loader-threads"] immutable;
        /// No sync of the journal while it is rewritten.
        no_appendfsync_on_rewrite: Flag = Flag::new(false), ["no-appendfsync-on-rewrite"] without_effect;
        /// Growth of the journal, in hundredths, from which it is rewritten.
        auto_aof_rewrite_percentage: Integer = Integer::new(100, 0..=INT), ["auto-aof-rewrite-percentage"] without_effect;
        /// Size of the journal from which it is rewritten.
        auto_aof_rewrite_min_size: Bytes = Bytes::new(64 * MB, 0..=SIGNED), ["auto-aof-rewrite-min-size"] without_effect;
        /// Load a journal whose end is cut off.
        aof_load_truncated: Flag = Flag::new(true), ["aof-load-truncated"] without_effect;
        /// Rewrite the journal as a snapshot and changes.
        aof_use_rdb_preamble: Flag = Flag::new(true), ["aof-use-rdb-preamble"] without_effect;
        /// Name of the journal.
        appendfilename: Text = Text::new("appendonly.aof", "file name").checked(appendfilename),
            ["appendfilename"] immutable without_effect;
        /// Name of the journal's directory.
        appenddirname: Text = Text::new("appendonlydir", "directory name").checked(appenddirname),
            ["appenddirname"] immutable without_effect;
        /// Name of the snapshot.
        dbfilename: Text = Text::new("dump.rdb", "file name").checked(dbfilename), ["dbfilename"] protected without_effect;
        /// Compress the snapshot.
        rdbcompression: Flag = Flag::new(true), ["rdbcompression"] without_effect;
        /// Put a checksum at the end of the snapshot.
        rdbchecksum: Flag = Flag::new(true), ["rdbchecksum"] immutable without_effect;
        /// Refuse writes after a snapshot failed.
        stop_writes_on_bgsave_error: Flag = Flag::new(true), ["stop-writes-on-bgsave-error"] without_effect;
    }
    Encoding {
        /// Fields of a hash in the compact encoding at most.
        hash_max_listpack_entries: Integer = Integer::new(512, 0..=i64::MAX),
            ["hash-max-listpack-entries" | "hash-max-ziplist-entries"] without_effect;
        /// Length of a field or value of such a hash at most.
        hash_max_listpack_value: Bytes = Bytes::new(64, 0..=SIGNED),
            ["hash-max-listpack-value" | "hash-max-ziplist-value"] without_effect;
        /// Elements of a list's node at most; below zero, its size at most: -1 is 4 kb, each step down doubles it.
        list_max_listpack_size: Integer = Integer::new(-2, i64::from(i32::MIN)..=INT),
            ["list-max-listpack-size" | "list-max-ziplist-size"] without_effect;
        /// Nodes at each end of a list that stay uncompressed. 0: all.
        list_compress_depth: Integer = Integer::new(0, 0..=INT), ["list-compress-depth"] without_effect;
        /// Members of a set of integers in the compact encoding at most.
        set_max_intset_entries: Integer = Integer::new(512, 0..=i64::MAX), ["set-max-intset-entries"] without_effect;
        /// Members of a sorted set in the compact encoding at most.
        zset_max_listpack_entries: Integer = Integer::new(128, 0..=i64::MAX),
            ["zset-max-listpack-entries" | "zset-max-ziplist-entries"] without_effect;
        /// Length of a member of such a sorted set at most.
        zset_max_listpack_value: Bytes = Bytes::new(64, 0..=SIGNED),
            ["zset-max-listpack-value" | "zset-max-ziplist-value"] without_effect;
        /// Size of a stream's node at most. 0: no limit.
        stream_node_max_bytes: Bytes = Bytes::new(4 * KB, 0..=SIGNED), ["stream-node-max-bytes"] without_effect;
        /// Entries of a stream's node at most. 0: no limit.
        stream_node_max_entries: Integer = Integer::new(100, 0..=i64::MAX), ["stream-node-max-entries"] without_effect;
        /// Size of a HyperLogLog in the sparse encoding at most.
        hll_sparse_max_bytes: Bytes = Bytes::new(3000, 0..=SIGNED), ["hll-sparse-max-bytes"] without_effect;
    }
    Cluster {
        /// Address by which other nodes and clients know this one. Empty: the first address of `bind`.
        node: Text = Text::new("", "address"), ["node"] immutable without_effect;
        /// Address of any node of the cluster to join. Empty: this node starts alone.
        cluster: Text = Text::new("", "address"), ["cluster"] immutable without_effect;
        /// Port of the gossip between nodes.
        gossip_port: Integer = Integer::new(12347, 0..=65535), ["gossip-port"] immutable without_effect;
        /// Redirect clients to the node that owns a key.
        cluster_enabled: Flag = Flag::new(false), ["cluster-enabled"] immutable without_effect;
        /// Milliseconds after which a node that does not answer is failing.
        cluster_node_timeout: Integer = Integer::new(15000, 0..=i64::MAX), ["cluster-node-timeout"] without_effect;
        /// Refuse commands while a slot has no owner.
        cluster_require_full_coverage: Flag = Flag::new(true), ["cluster-require-full-coverage"] without_effect;
    }
    Compatibility {
        /// Milliseconds after which a script that runs is reported as busy.
        busy_reply_threshold: Integer = Integer::new(5000, 0..=i64::MAX),
            ["busy-reply-threshold" | "lua-time-limit"] without_effect;
        /// Memory that all clients' buffers may take.
        maxmemory_clients: Portion = Portion::new(0), ["maxmemory-clients"] without_effect;
        /// More background runs when there are many clients.
        dynamic_hz: Flag = Flag::new(true), ["dynamic-hz"] without_effect;
        /// Free evicted values in the background.
        lazyfree_lazy_eviction: Flag = Flag::new(false), ["lazyfree-lazy-eviction"] without_effect;
        /// Free expired values in the background.
        lazyfree_lazy_expire: Flag = Flag::new(false), ["lazyfree-lazy-expire"] without_effect;
        /// Free overwritten values in the background.
        lazyfree_lazy_server_del: Flag = Flag::new(false), ["lazyfree-lazy-server-del"] without_effect;
        /// DEL is UNLINK.
        lazyfree_lazy_user_del: Flag = Flag::new(false), ["lazyfree-lazy-user-del"] without_effect;
        /// FLUSHALL, FLUSHDB and SCRIPT FLUSH are asynchronous unless told otherwise.
        lazyfree_lazy_user_flush: Flag = Flag::new(false), ["lazyfree-lazy-user-flush"];
        /// Grow and shrink tables in the background.
        activerehashing: Flag = Flag::new(true), ["activerehashing"] without_effect;
        /// Defragment memory in the background.
        activedefrag: Flag = Flag::always_off(NO_DEFRAGMENTATION), ["activedefrag"] without_effect;
        /// Keys that tracked clients may have cached at most. 0: no limit.
        tracking_table_max_keys: Integer = Integer::new(1_000_000, 0..=i64::MAX),
            ["tracking-table-max-keys"] without_effect;
        /// Channels that a new user may subscribe to.
        acl_pubsub_default: Choice<PubsubDefault> = Choice::new(PubsubDefault::Resetchannels),
            ["acl-pubsub-default"] without_effect;
        /// Entries of the ACL log at most.
        acllog_max_len: Integer = Integer::new(128, 0..=i64::MAX), ["acllog-max-len"] without_effect;
        /// Address and port of the server to be a replica of. Empty, the only value that can be: none.
        replicaof: Text = Text::new("", "nothing").checked(replicaof), ["replicaof" | "slaveof"]
            immutable without_effect;
        /// User by which a replica logs in.
        masteruser: Text = Text::new("", "text"), ["masteruser"] sensitive without_effect;
        /// Password by which a replica logs in.
        masterauth: Text = Text::new("", "text"), ["masterauth"] sensitive without_effect;
        /// A replica answers while it has no primary.
        replica_serve_stale_data: Flag = Flag::new(true),
            ["replica-serve-stale-data" | "slave-serve-stale-data"] without_effect;
        /// A replica refuses writes.
        replica_read_only: Flag = Flag::new(true), ["replica-read-only" | "slave-read-only"] without_effect;
        /// Replicas without which writes are refused.
        min_replicas_to_write: Integer = Integer::new(0, 0..=INT),
            ["min-replicas-to-write" | "min-slaves-to-write"] without_effect;
        /// Seconds of lag from which a replica does not count.
        min_replicas_max_lag: Integer = Integer::new(10, 0..=INT),
            ["min-replicas-max-lag" | "min-slaves-max-lag"] without_effect;
        /// Changes kept for a replica that comes back.
        repl_backlog_size: Bytes = Bytes::new(MB, 1..=SIGNED).kept_from(16 * KB), ["repl-backlog-size"] without_effect;
        /// Seconds after which a replica that is silent is lost.
        repl_timeout: Integer = Integer::new(60, 1..=INT), ["repl-timeout"] without_effect;
        /// Seconds between a primary's signs of life.
        repl_ping_replica_period: Integer = Integer::new(10, 1..=INT),
            ["repl-ping-replica-period" | "repl-ping-slave-period"] without_effect;
        /// Adjust the kernel's out-of-memory score.
        oom_score_adj: Choice<OomScore> = Choice::new(OomScore::No), ["oom-score-adj"] without_effect;
        /// The scores of a primary, a replica and a background child.
        oom_score_adj_values: OomScores = OomScores::new([0, 200, 800]), ["oom-score-adj-values"] without_effect;
        /// Run in the background.
        daemonize: Flag = Flag::new(false), ["daemonize"] immutable without_effect;
        /// File of the process's number.
        pidfile: Text = Text::new("", "path"), ["pidfile"] immutable without_effect;
    }
}

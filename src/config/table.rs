//! The table of parameters.

use super::choice::{
    Choice, Engine, EvictionPolicy, JournalSync, LogFormat, LogLevel, OomScore, Permission, PubsubDefault, Supervision,
};
use super::list::{Addresses, Events, OomScores, OutputLimit, OutputLimits, Percentiles, SavePoint, SavePoints};
use super::origin::Origin;
use super::parameter::{Group, Row, parameters};
use super::value::{Bytes, Directory, Flag, Integer, Octal, Portion, Text};
use super::word::{Absent, Word, WordSet};
use parking_lot::Mutex;

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

const NO_CLUSTER: &str = "this version has no cluster";
const NO_REPLICAS: &str = "this server cannot be a replica, and has none";
const NO_TLS: &str = "this version has no TLS";
const NO_ACL_FILE: &str = "there are no users but the default one, whose password is requirepass";

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

const fn output_limit(hard_bytes: u64, soft_bytes: u64, soft_seconds: u64) -> OutputLimit {
    OutputLimit { hard_bytes, soft_bytes, soft_seconds }
}

const fn save_point(seconds: i64, changes: i64) -> SavePoint {
    SavePoint { seconds, changes }
}

/// A parameter of the server.
pub type Parameter = Row<Settings>;

/// The parameter with this name or alias in any case, and the spelling of the table.
pub fn find(name: &[u8]) -> Option<(&'static Parameter, &'static str)> {
    PARAMETERS.iter().find_map(|parameter| {
        let spelling = parameter.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((parameter, spelling))
    })
}

parameters! {
    Process {
        /// Run in the background: the command returns once the server is ready, or tells why it could not start. Has no
        /// effect under a supervisor.
        daemonize: Flag = Flag::new(false), ["daemonize"] immutable;
        /// Who is told that the server is ready and that it ends: systemd (`Type=notify`), upstart, or, with `auto`,
        /// whichever of them started it.
        supervised: Choice<Supervision> = Choice::new(Supervision::No), ["supervised"] immutable;
        /// File of the process's number, there while the server runs. Empty: none.
        pidfile: Text = Text::new("", "path"), ["pidfile"] immutable;
    }
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
        /// Seconds without traffic after which a client's system is asked whether it is still there. 0: never. The kernel
        /// takes 32,767 at most; more counts as that.
        tcp_keepalive: Integer = Integer::new(300, 0..=INT), ["tcp-keepalive"];
        /// Connected clients at most.
        maxclients: Integer = Integer::new(10000, 1..=u32::MAX as i64), ["maxclients"];
        /// HTTP connections at most. For one more, the one goes that has been idle for longest.
        http_maxclients: Integer = Integer::new(1024, 1..=u32::MAX as i64), ["http-maxclients"];
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
        /// File whose first line is the password, so that it stands neither in the environment nor among the arguments, which
        /// others on the machine can read. Empty: none.
        requirepass_file: Text = Text::new("", "path"), ["requirepass-file"] immutable file_of("requirepass");
        /// Start although other machines may do everything: it listens for them, there is no password, and `protected-mode`
        /// is off. The log warns then.
        allow_open: Flag = Flag::new(true), ["allow-open"] immutable;
        /// Without a password, only clients on the same machine may connect.
        protected_mode: Flag = Flag::new(true), ["protected-mode"];
        /// Names by which HTTP may be asked while there is no password, beside IP addresses, `localhost` and `node`, with spaces
        /// between them: a page of another site whose name was made to lead here is kept out. `*`: any.
        http_hosts: Text = Text::new("", "names"), ["http-hosts"];
        /// Who may use DEBUG.
        enable_debug_command: Choice<Permission> = Choice::new(Permission::No), ["enable-debug-command"] immutable;
        /// Who may set protected parameters.
        enable_protected_configs: Choice<Permission> = Choice::new(Permission::No),
            ["enable-protected-configs"] immutable;
    }
    Keyspace {
        /// Number of databases. A data directory with keys in one that is beyond it and the 16 that there are at least is refused.
        databases: Integer = Integer::new(16, 1..=255), ["databases"] immutable;
        /// Storage engine.
        r#type: Choice<Engine> = Choice::new(Engine::Rocksdb), ["type"] immutable;
        /// Directory of everything the server writes.
        dir: Directory = Directory::new("."), ["dir"] protected working_directory;
        /// Memory that data may take, RocksDB's own included. With the RocksDB engine, what does not fit stays on disk
        /// alone. 0: no limit.
        maxmemory: Bytes = Bytes::new(0, 0..=u64::MAX), ["maxmemory"];
        /// Which keys go when `maxmemory` is reached.
        maxmemory_policy: Choice<EvictionPolicy> = Choice::new(EvictionPolicy::AllkeysLirs), ["maxmemory-policy"];
        /// Keys looked at for each key that the LRU, LFU and TTL policies evict: more is more exact and slower.
        maxmemory_samples: Integer = Integer::new(5, 1..=INT), ["maxmemory-samples"];
        /// How much time eviction may take from commands, from least to most.
        maxmemory_eviction_tenacity: Integer = Integer::new(10, 0..=100), ["maxmemory-eviction-tenacity"];
        /// Memory that all clients' buffers may take; beyond, the largest clients are cut. 0: no limit.
        maxmemory_clients: Portion = Portion::new(0), ["maxmemory-clients"];
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
        /// restored from that checkpoint before, the server goes on with its data. Empty: none. CONFIG REWRITE does not add it to
        /// the file, and leaves a line of it alone.
        restore: Text = Text::new("", "path"), ["restore"] one_start fills_directory;
        /// Drop what is damaged in the journal, and all after it, into files beside it, do without what RocksDB's log has lost,
        /// and start; the log tells what. It is meant for one start: CONFIG REWRITE does not add it to the file, and leaves a line of
        /// it alone.
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
        /// Have the snapshot's file synced as it grows.
        rdb_save_incremental_fsync: Flag = Flag::new(true), ["rdb-save-incremental-fsync"] without_effect;
        /// Delete the snapshot that replicas were sent.
        rdb_del_sync_files: Flag = Flag::new(false), ["rdb-del-sync-files"] without_effect;
        /// Have the rewritten journal synced as it grows.
        aof_rewrite_incremental_fsync: Flag = Flag::new(true), ["aof-rewrite-incremental-fsync"] without_effect;
        /// Note times in the journal.
        aof_timestamp_enabled: Flag = Flag::new(false), ["aof-timestamp-enabled"] without_effect;
        /// Keep old files of the journal.
        aof_disable_auto_gc: Flag = Flag::new(false), ["aof-disable-auto-gc"] without_effect;
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
        /// Address by which other nodes and clients know this one; `GET /cluster` tells it. Empty: the first address of
        /// `bind`.
        node: Text = Text::new("", "address"), ["node"] immutable;
        /// Address of any node of the cluster to join. Empty, the only value that can be: this node is alone.
        cluster: Absent = Absent::new(&[""], NO_CLUSTER), ["cluster"] immutable;
        /// Port of the gossip between nodes.
        gossip_port: Integer = Integer::new(12347, 0..=65535), ["gossip-port"] immutable without_effect;
        /// Redirect clients to the node that owns a key: there is no cluster yet.
        cluster_enabled: Flag = Flag::always_off(NO_CLUSTER), ["cluster-enabled"] immutable;
        /// File of what a node knows of the cluster.
        cluster_config_file: Text = Text::new("nodes.conf", "file name"), ["cluster-config-file"] immutable without_effect;
        /// Milliseconds after which a node that does not answer is failing.
        cluster_node_timeout: Integer = Integer::new(15000, 0..=i64::MAX), ["cluster-node-timeout"] without_effect;
        /// Refuse commands while a slot has no owner.
        cluster_require_full_coverage: Flag = Flag::new(true), ["cluster-require-full-coverage"] without_effect;
        /// Port between nodes. 0: that of clients plus 10000.
        cluster_port: Integer = Integer::new(0, 0..=65535), ["cluster-port"] immutable without_effect;
        /// Address that other nodes are told.
        cluster_announce_ip: Text = Text::new("", "address"), ["cluster-announce-ip"] without_effect;
        /// Name that clients are told.
        cluster_announce_hostname: Text = Text::new("", "host name"), ["cluster-announce-hostname"] without_effect;
        /// Port that other nodes are told.
        cluster_announce_port: Integer = Integer::new(0, 0..=65535), ["cluster-announce-port"] without_effect;
        /// TLS port that other nodes are told.
        cluster_announce_tls_port: Integer = Integer::new(0, 0..=65535), ["cluster-announce-tls-port"] without_effect;
        /// Port between nodes that other nodes are told.
        cluster_announce_bus_port: Integer = Integer::new(0, 0..=65535), ["cluster-announce-bus-port"] without_effect;
        /// How a client is told of a node.
        cluster_preferred_endpoint_type: Word = Word::new(&["ip", "hostname", "unknown-endpoint"]),
            ["cluster-preferred-endpoint-type"] without_effect;
        /// Replicas that a primary keeps when others take some of them.
        cluster_migration_barrier: Integer = Integer::new(1, 0..=INT), ["cluster-migration-barrier"] without_effect;
        /// Let replicas go to primaries that have none.
        cluster_allow_replica_migration: Flag = Flag::new(true), ["cluster-allow-replica-migration"] without_effect;
        /// How old the data of a replica may be that takes over, in node timeouts.
        cluster_replica_validity_factor: Integer = Integer::new(10, 0..=INT),
            ["cluster-replica-validity-factor" | "cluster-slave-validity-factor"] without_effect;
        /// A replica never takes over by itself.
        cluster_replica_no_failover: Flag = Flag::new(false),
            ["cluster-replica-no-failover" | "cluster-slave-no-failover"] without_effect;
        /// Answer reads while the cluster is down.
        cluster_allow_reads_when_down: Flag = Flag::new(false), ["cluster-allow-reads-when-down"] without_effect;
        /// Serve shard channels while the cluster is down.
        cluster_allow_pubsubshard_when_down: Flag = Flag::new(true),
            ["cluster-allow-pubsubshard-when-down"] without_effect;
        /// Bytes that may wait to be sent to another node. 0: no limit.
        cluster_link_sendbuf_limit: Bytes = Bytes::new(0, 0..=SIGNED), ["cluster-link-sendbuf-limit"] without_effect;
    }
    Compatibility {
        /// Milliseconds after which a script that runs is reported as busy.
        busy_reply_threshold: Integer = Integer::new(5000, 0..=i64::MAX),
            ["busy-reply-threshold" | "lua-time-limit"] without_effect;
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
        /// Defragment memory in the background: there is nothing that does.
        activedefrag: Flag = Flag::always_off(NO_DEFRAGMENTATION), ["activedefrag"];
        /// Bytes of holes from which memory is defragmented.
        active_defrag_ignore_bytes: Bytes = Bytes::new(100 * MB, 1..=SIGNED), ["active-defrag-ignore-bytes"] without_effect;
        /// Percentage of holes from which memory is defragmented.
        active_defrag_threshold_lower: Integer = Integer::new(10, 0..=1000), ["active-defrag-threshold-lower"] without_effect;
        /// Percentage of holes from which it takes as much time as it may.
        active_defrag_threshold_upper: Integer = Integer::new(100, 0..=1000), ["active-defrag-threshold-upper"] without_effect;
        /// Percentage of a processor that it takes at least.
        active_defrag_cycle_min: Integer = Integer::new(1, 1..=99), ["active-defrag-cycle-min"] without_effect;
        /// Percentage of a processor that it takes at most.
        active_defrag_cycle_max: Integer = Integer::new(25, 1..=99), ["active-defrag-cycle-max"] without_effect;
        /// Elements of a collection that are looked at in one go.
        active_defrag_max_scan_fields: Integer = Integer::new(1000, 1..=i64::MAX),
            ["active-defrag-max-scan-fields"] without_effect;
        /// Have the allocator give memory back in a thread of its own.
        jemalloc_bg_thread: Flag = Flag::new(true), ["jemalloc-bg-thread"] without_effect;
        /// Have threads read what clients send, not only write.
        io_threads_do_reads: Flag = Flag::new(false), ["io-threads-do-reads"] immutable without_effect;
        /// Source address of connections that the server opens.
        bind_source_addr: Text = Text::new("", "address"), ["bind-source-addr"] without_effect;
        /// Mark of the sockets, for the system's filters.
        socket_mark_id: Integer = Integer::new(0, 0..=u32::MAX as i64), ["socket-mark-id"] immutable without_effect;
        /// Keys that tracked clients may have cached at most. 0: no limit.
        tracking_table_max_keys: Integer = Integer::new(1_000_000, 0..=i64::MAX),
            ["tracking-table-max-keys"] without_effect;
        /// Channels that a new user may subscribe to.
        acl_pubsub_default: Choice<PubsubDefault> = Choice::new(PubsubDefault::Resetchannels),
            ["acl-pubsub-default"] without_effect;
        /// Entries of the ACL log at most.
        acllog_max_len: Integer = Integer::new(128, 0..=i64::MAX), ["acllog-max-len"] without_effect;
        /// File of ACL users. Empty, the only value that can be: none.
        aclfile: Absent = Absent::new(&[""], NO_ACL_FILE), ["aclfile"] immutable;
        /// Who may load modules: there are none.
        enable_module_command: Choice<Permission> = Choice::new(Permission::No), ["enable-module-command"]
            immutable without_effect;
        /// Address and port of the server to be a replica of. Empty, the only value that can be: none.
        replicaof: Absent = Absent::new(&["", "no one"], NO_REPLICAS), ["replicaof" | "slaveof"] immutable;
        /// User by which a replica logs in.
        masteruser: Text = Text::new("", "text"), ["masteruser"] sensitive without_effect;
        /// Password by which a replica logs in.
        masterauth: Text = Text::new("", "text"), ["masterauth"] sensitive without_effect;
        /// A replica answers while it has no primary.
        replica_serve_stale_data: Flag = Flag::new(true),
            ["replica-serve-stale-data" | "slave-serve-stale-data"] without_effect;
        /// A replica refuses writes.
        replica_read_only: Flag = Flag::new(true), ["replica-read-only" | "slave-read-only"] without_effect;
        /// Replicas without which writes are refused: there are none.
        min_replicas_to_write: Absent = Absent::new(&["0"], NO_REPLICAS), ["min-replicas-to-write" | "min-slaves-to-write"];
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
        /// Seconds for which changes are kept after the last replica has gone. 0: for ever.
        repl_backlog_ttl: Integer = Integer::new(3600, 0..=INT), ["repl-backlog-ttl"] without_effect;
        /// Send a replica its first snapshot without a file.
        repl_diskless_sync: Flag = Flag::new(true), ["repl-diskless-sync"] without_effect;
        /// Seconds to wait for more replicas before that begins.
        repl_diskless_sync_delay: Integer = Integer::new(5, 0..=INT), ["repl-diskless-sync-delay"] without_effect;
        /// Replicas for which it begins at once.
        repl_diskless_sync_max_replicas: Integer = Integer::new(0, 0..=INT),
            ["repl-diskless-sync-max-replicas"] without_effect;
        /// Load a primary's snapshot without a file.
        repl_diskless_load: Word = Word::new(&["disabled", "on-empty-db", "swapdb"]), ["repl-diskless-load"] without_effect;
        /// Send changes to replicas in fewer, larger packets.
        repl_disable_tcp_nodelay: Flag = Flag::new(false), ["repl-disable-tcp-nodelay"] without_effect;
        /// Which replica takes over first; the lowest does.
        replica_priority: Integer = Integer::new(100, 0..=INT), ["replica-priority" | "slave-priority"] without_effect;
        /// Free a replica's old data in the background.
        replica_lazy_flush: Flag = Flag::new(false), ["replica-lazy-flush" | "slave-lazy-flush"] without_effect;
        /// A replica evicts nothing by itself.
        replica_ignore_maxmemory: Flag = Flag::new(true),
            ["replica-ignore-maxmemory" | "slave-ignore-maxmemory"] without_effect;
        /// A replica goes on when its disk fails.
        replica_ignore_disk_write_errors: Flag = Flag::new(false), ["replica-ignore-disk-write-errors"] without_effect;
        /// Let Sentinel know of this replica.
        replica_announced: Flag = Flag::new(true), ["replica-announced"] without_effect;
        /// Address that a replica tells its primary.
        replica_announce_ip: Text = Text::new("", "address"), ["replica-announce-ip" | "slave-announce-ip"] without_effect;
        /// Port that a replica tells its primary.
        replica_announce_port: Integer = Integer::new(0, 0..=65535),
            ["replica-announce-port" | "slave-announce-port"] without_effect;
        /// What a replica does about a change that it cannot make.
        propagation_error_behavior: Word = Word::new(&["ignore", "panic", "panic-on-replicas"]),
            ["propagation-error-behavior"] without_effect;
        /// Adjust the kernel's out-of-memory score.
        oom_score_adj: Choice<OomScore> = Choice::new(OomScore::No), ["oom-score-adj"] without_effect;
        /// The scores of a primary, a replica and a background child.
        oom_score_adj_values: OomScores = OomScores::new([0, 200, 800]), ["oom-score-adj-values"] without_effect;
        /// Keep the system's huge pages away from the process.
        disable_thp: Flag = Flag::new(true), ["disable-thp"] immutable without_effect;
        /// Processors of the threads that serve clients.
        server_cpulist: Text = Text::new("", "processors"), ["server_cpulist"] immutable without_effect;
        /// Processors of the threads in the background.
        bio_cpulist: Text = Text::new("", "processors"), ["bio_cpulist"] immutable without_effect;
        /// Processors of the process that rewrites the journal.
        aof_rewrite_cpulist: Text = Text::new("", "processors"), ["aof_rewrite_cpulist"] immutable without_effect;
        /// Processors of the process that makes a snapshot.
        bgsave_cpulist: Text = Text::new("", "processors"), ["bgsave_cpulist"] immutable without_effect;
        /// Warnings of the system's faults that do not stop the start.
        ignore_warnings: Text = Text::new("", "text"), ["ignore-warnings"] without_effect;
        /// Begin the log with a picture.
        always_show_logo: Flag = Flag::new(false), ["always-show-logo"] immutable without_effect;
        /// Tell address and state in the process's title.
        set_proc_title: Flag = Flag::new(true), ["set-proc-title"] immutable without_effect;
        /// What the process's title tells.
        proc_title_template: Text = Text::new("{title} {listen-addr} {server-mode}", "text"),
            ["proc-title-template"] without_effect;
        /// Log to the system's log too.
        syslog_enabled: Flag = Flag::new(false), ["syslog-enabled"] immutable without_effect;
        /// Name in the system's log.
        syslog_ident: Text = Text::new("redis", "text"), ["syslog-ident"] immutable without_effect;
        /// Facility in the system's log.
        syslog_facility: Word = Word::new(
            &["local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7", "user"],
        ), ["syslog-facility"] immutable without_effect;
        /// Write a report of a crash into the log.
        crash_log_enabled: Flag = Flag::new(true), ["crash-log-enabled"] without_effect;
        /// Test the memory after a crash.
        crash_memcheck_enabled: Flag = Flag::new(true), ["crash-memcheck-enabled"] without_effect;
        /// Seconds for which an end waits for replicas.
        shutdown_timeout: Integer = Integer::new(10, 0..=INT), ["shutdown-timeout"] without_effect;
        /// What SIGINT does besides ending the server.
        shutdown_on_sigint: WordSet = WordSet::new(&["default", "save", "nosave", "now", "force"]),
            ["shutdown-on-sigint"] without_effect;
        /// What SIGTERM does besides ending the server.
        shutdown_on_sigterm: WordSet = WordSet::new(&["default", "save", "nosave", "now", "force"]),
            ["shutdown-on-sigterm"] without_effect;
        /// Check values that RESTORE brings.
        sanitize_dump_payload: Word = Word::new(&["no", "yes", "clients"]), ["sanitize-dump-payload"] without_effect;
        /// TLS port of the Redis protocol: 0, since there is no TLS yet.
        tls_port: Absent = Absent::new(&["0"], NO_TLS), ["tls-port"];
        /// TLS between nodes: there is none yet.
        tls_cluster: Flag = Flag::always_off(NO_TLS), ["tls-cluster"];
        /// TLS between primary and replica: there is none yet.
        tls_replication: Flag = Flag::always_off(NO_TLS), ["tls-replication"];
        /// Whether clients must show a certificate: without TLS they cannot.
        tls_auth_clients: Absent = Absent::new(&["yes"], NO_TLS), ["tls-auth-clients"];
        /// Of TLS, which there is not yet: empty.
        tls_cert_file: Absent = Absent::new(&[""], NO_TLS), ["tls-cert-file"];
        /// Of TLS, which there is not yet: empty.
        tls_key_file: Absent = Absent::new(&[""], NO_TLS), ["tls-key-file"];
        /// Of TLS, which there is not yet: empty.
        tls_key_file_pass: Absent = Absent::new(&[""], NO_TLS), ["tls-key-file-pass"] sensitive;
        /// Of TLS, which there is not yet: empty.
        tls_client_cert_file: Absent = Absent::new(&[""], NO_TLS), ["tls-client-cert-file"];
        /// Of TLS, which there is not yet: empty.
        tls_client_key_file: Absent = Absent::new(&[""], NO_TLS), ["tls-client-key-file"];
        /// Of TLS, which there is not yet: empty.
        tls_client_key_file_pass: Absent = Absent::new(&[""], NO_TLS), ["tls-client-key-file-pass"] sensitive;
        /// Of TLS, which there is not yet: empty.
        tls_ca_cert_file: Absent = Absent::new(&[""], NO_TLS), ["tls-ca-cert-file"];
        /// Of TLS, which there is not yet: empty.
        tls_ca_cert_dir: Absent = Absent::new(&[""], NO_TLS), ["tls-ca-cert-dir"];
        /// Of TLS, which there is not yet: empty.
        tls_dh_params_file: Absent = Absent::new(&[""], NO_TLS), ["tls-dh-params-file"];
        /// Of TLS, which there is not yet: empty.
        tls_protocols: Absent = Absent::new(&[""], NO_TLS), ["tls-protocols"];
        /// Of TLS, which there is not yet: empty.
        tls_ciphers: Absent = Absent::new(&[""], NO_TLS), ["tls-ciphers"];
        /// Of TLS, which there is not yet: empty.
        tls_ciphersuites: Absent = Absent::new(&[""], NO_TLS), ["tls-ciphersuites"];
        /// Have TLS go by the server's order of ciphers.
        tls_prefer_server_ciphers: Flag = Flag::new(false), ["tls-prefer-server-ciphers"] without_effect;
        /// Keep TLS sessions, so that clients come back sooner.
        tls_session_caching: Flag = Flag::new(true), ["tls-session-caching"] without_effect;
        /// TLS sessions that are kept at most.
        tls_session_cache_size: Integer = Integer::new(20480, 0..=INT), ["tls-session-cache-size"] without_effect;
        /// Seconds for which TLS sessions are kept.
        tls_session_cache_timeout: Integer = Integer::new(300, 0..=INT), ["tls-session-cache-timeout"] without_effect;
    }
}

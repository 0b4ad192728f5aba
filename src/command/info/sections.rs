//! INFO: <https://redis.io/docs/latest/commands/info/>. The names and their order are those of Redis 7.0, since
//! dashboards read them; a concept that does not exist here shows as idle.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::lines::{line, lines};
use super::memory_report::{MemoryReport, human};
use super::{persistence, statistics};
use crate::base::{clock, system};
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::spec::REDIS_VERSION;
use crate::config::Options;
use crate::keyspace::table_strain;

const DAY_S: u64 = 24 * 3600;

struct Section {
    /// In lower case.
    name: &'static str,
    heading: &'static str,
    /// Shown without being asked for.
    is_default: bool,
    render: fn(&Context<'_>, &mut String),
}

const fn section(
    name: &'static str,
    heading: &'static str,
    is_default: bool,
    render: fn(&Context<'_>, &mut String),
) -> Section {
    Section { name, heading, is_default, render }
}

const SECTIONS: &[Section] = &[
    section("server", "Server", true, server),
    section("clients", "Clients", true, clients),
    section("memory", "Memory", true, memory),
    section("persistence", "Persistence", true, persistence::persistence),
    section("stats", "Stats", true, stats),
    section("replication", "Replication", true, replication),
    section("cpu", "CPU", true, cpu),
    section("tiering", "Tiering", true, persistence::tiering),
    section("modules", "Modules", true, |_, _| {}),
    section("commandstats", "Commandstats", false, statistics::command_statistics),
    section("errorstats", "Errorstats", true, statistics::error_statistics),
    section("latencystats", "Latencystats", false, statistics::latency_statistics),
    section("cluster", "Cluster", true, |_, text| line(text, "cluster_enabled", 0)),
    section("keyspace", "Keyspace", true, statistics::keyspace),
];

pub fn info(context: &mut Context<'_>) -> Result<(), Stop> {
    let shows = |section: &&Section| {
        let is_asked_for = |argument: &[u8]| {
            let is = |name: &str| argument.eq_ignore_ascii_case(name.as_bytes());
            is("all") || is("everything") || is(section.name) || is("default") && section.is_default
        };
        if context.args.len() == 1 { section.is_default } else { context.args.iter_from(1).any(is_asked_for) }
    };
    let mut text = String::with_capacity(8 * 1024);
    for section in SECTIONS.iter().filter(shows) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let _ = write!(text, "# {}\r\n", section.heading);
        (section.render)(context, &mut text);
    }
    context.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn server(context: &Context<'_>, text: &mut String) {
    let (state, settings) = (context.state, &context.state.settings);
    let uptime_s = state.started.elapsed().as_secs();
    let now_us = clock::now_us();
    let executable = std::env::current_exe().unwrap_or_default();
    let active_workers = state.active_workers.load(Ordering::Relaxed);
    lines!(text,
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": "0",
        "rockpool_version": env!("CARGO_PKG_VERSION"),
        "redis_mode": "standalone",
        "os": system::operating_system(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "epoll",
        "atomicvar_api": "rust-core",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": &state.run_id,
        "tcp_port": state.resp_port.load(Ordering::Relaxed),
        "server_time_usec": now_us,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / DAY_S,
        "hz": settings.hz.get(),
        "configured_hz": settings.hz.get(),
        "lru_clock": (now_us / 1_000_000) & 0xff_ffff,
        "executable": executable.display(),
        "config_file": settings.config_file().unwrap_or("".as_ref()).display(),
        "io_threads_active": u8::from(active_workers > 1),
        "workers_active": active_workers,
    );
}

fn clients(context: &Context<'_>, text: &mut String) {
    let clients = &context.state.clients;
    let sizes: Vec<_> = clients.all().iter().map(|client| client.buffer_sizes()).collect();
    lines!(text,
        "connected_clients": clients.len(),
        "cluster_connections": 0,
        "maxclients": context.state.settings.maxclients.get(),
        "client_recent_max_input_buffer": sizes.iter().map(|sizes| sizes.input_capacity).max().unwrap_or(0),
        "client_recent_max_output_buffer": sizes.iter().map(|sizes| sizes.output_capacity).max().unwrap_or(0),
        "blocked_clients": clients.blocked(),
        "tracking_clients": 0,
        "clients_in_timeout_table": 0,
    );
}

fn memory(context: &Context<'_>, text: &mut String) {
    let report = MemoryReport::new(context.state);
    let total = system::total_bytes();
    let settings = &context.state.settings;
    let maxmemory = settings.maxmemory.get();
    lines!(text,
        "used_memory": report.used,
        "used_memory_human": human(report.used),
        "used_memory_rss": report.resident,
        "used_memory_rss_human": human(report.resident),
        "used_memory_peak": report.peak,
        "used_memory_peak_human": human(report.peak),
        "used_memory_peak_perc": format_args!("{:.2}%", report.peak_percent()),
        "used_memory_overhead": report.overhead(),
        "used_memory_startup": report.startup,
        "used_memory_dataset": report.dataset(),
        "used_memory_dataset_perc": format_args!("{:.2}%", report.dataset_percent()),
        "allocator_allocated": report.allocator.allocated,
        "allocator_active": report.allocator.active,
        "allocator_resident": report.allocator.resident,
        "total_system_memory": total,
        "total_system_memory_human": human(total),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": maxmemory,
        "maxmemory_human": human(maxmemory),
        "maxmemory_policy": settings.maxmemory_policy.get().name(),
        "allocator_frag_ratio": format_args!("{:.2}", report.allocator_fragmentation().0),
        "allocator_frag_bytes": report.allocator_fragmentation().1,
        "allocator_rss_ratio": format_args!("{:.2}", report.allocator_overhead().0),
        "allocator_rss_bytes": report.allocator_overhead().1,
        "rss_overhead_ratio": format_args!("{:.2}", report.process_overhead().0),
        "rss_overhead_bytes": report.process_overhead().1,
        "mem_fragmentation_ratio": format_args!("{:.2}", report.fragmentation()),
        "mem_fragmentation_bytes": report.fragmentation_bytes(),
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": report.clients,
        "mem_cluster_links": 0,
        "mem_aof_buffer": 0,
        "mem_allocator": "jemalloc",
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
        "lazyfreed_objects": 0,
    );
}

fn stats(context: &Context<'_>, text: &mut String) {
    let (table_longest_probe, table_overflow_keys) = table_strain();
    let stats = &context.state.stats;
    let rates = stats.sampler.rates();
    let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    let cut = stats.sum(|shard| &shard.clients_cut_for_input) + stats.sum(|shard| &shard.clients_cut_for_output);
    lines!(text,
        "total_connections_received": stats.sum(|shard| &shard.connections_received),
        "total_commands_processed": stats.sum(|shard| &shard.commands_processed),
        "instantaneous_ops_per_sec": rates.commands,
        "total_net_input_bytes": stats.sum(|shard| &shard.network_input_bytes),
        "total_net_output_bytes": stats.sum(|shard| &shard.network_output_bytes),
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": kilobytes(rates.input_bytes),
        "instantaneous_output_kbps": kilobytes(rates.output_bytes),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": stats.sum(|shard| &shard.connections_rejected),
        "acl_access_denied_auth": stats.sum(|shard| &shard.wrong_passwords),
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": stats.sum(|shard| &shard.expired_keys),
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": stats.sum(|shard| &shard.expire_cycles_capped),
        "expire_cycle_cpu_milliseconds": stats.sum(|shard| &shard.expire_cycles_us) / 1000,
        "evicted_keys": stats.sum(|shard| &shard.evicted_keys),
        "evicted_clients": stats.sum(|shard| &shard.evicted_clients),
        "clients_cut_for_buffers": cut,
        "total_eviction_exceeded_time": stats.sum(|shard| &shard.eviction_exceeded_us) / 1000,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": stats.sum(|shard| &shard.keyspace_hits),
        "keyspace_misses": stats.sum(|shard| &shard.keyspace_misses),
        "table_longest_probe": table_longest_probe,
        "table_overflow_keys": table_overflow_keys,
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "pubsubshard_channels": 0,
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": 0,
        "total_error_replies": stats.sum(|shard| &shard.error_replies),
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.sum(|shard| &shard.batches),
        "total_writes_processed": stats.sum(|shard| &shard.batches),
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    );
}

fn replication(context: &Context<'_>, text: &mut String) {
    lines!(text,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": &context.state.replication_id,
        "master_replid2": "0000000000000000000000000000000000000000",
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": context.state.settings.repl_backlog_size.get(),
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    );
}

fn cpu(_: &Context<'_>, text: &mut String) {
    let (process, main) = (system::process_times(), system::main_thread_times());
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    lines!(text,
        "used_cpu_sys": seconds(process.system_us),
        "used_cpu_user": seconds(process.user_us),
        "used_cpu_sys_children": seconds(process.children_system_us),
        "used_cpu_user_children": seconds(process.children_user_us),
        "used_cpu_sys_main_thread": seconds(main.system_us),
        "used_cpu_user_main_thread": seconds(main.user_us),
    );
}

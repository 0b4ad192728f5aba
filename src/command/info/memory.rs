//! MEMORY: <https://redis.io/docs/latest/commands/memory-usage/> and its siblings.

use super::common::{ANYTIME, container, reply_help};
use super::memory_report::MemoryReport;
use crate::base::number;
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::spec::{KeyUse, Spec};
use crate::reply::Error;

const REPORT_TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub const COMMAND: Spec =
    Spec::new("memory", -2, container).doc("server", "4.0.0", "Depends on the subcommand", "Memory").subcommands(&[
        Spec::new("doctor", 2, doctor).flags(Flags::LOOKS_AROUND).tips(REPORT_TIPS).doc(
            "server",
            "4.0.0",
            "O(1)",
            "Tell what is wrong with memory",
        ),
        Spec::new("help", 2, help).flags(ANYTIME).doc("server", "4.0.0", "O(1)", "Describe the subcommands"),
        Spec::new("malloc-stats", 2, malloc_stats).tips(REPORT_TIPS).doc(
            "server",
            "4.0.0",
            "Depends on how much memory is allocated, could be slow",
            "Return statistics of the allocator",
        ),
        Spec::new("purge", 2, purge).tips(&["request_policy:all_shards", "response_policy:all_succeeded"]).doc(
            "server",
            "4.0.0",
            "Depends on how much memory is allocated, could be slow",
            "Have the allocator give memory back",
        ),
        Spec::new("stats", 2, stats).flags(Flags::LOOKS_AROUND).tips(REPORT_TIPS).doc(
            "server",
            "4.0.0",
            "O(1)",
            "Tell how the memory in use divides",
        ),
        Spec::new("usage", -3, usage).flags(Flags::READONLY).keys(2, 2, 1, KeyUse::Inspect).doc(
            "server",
            "4.0.0",
            "O(N) where N is the number of samples.",
            "Tell how much memory a key and its value take",
        ),
    ]);

/// An instance with less in use is too small to judge.
const SMALL_BYTES: u64 = 5 * 1024 * 1024;
/// Resident memory beyond what is in use that MEMORY DOCTOR does not report.
const TOLERATED_BYTES: i64 = 10 * 1024 * 1024;

fn usage(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut index = 3;
    while index < context.args.len() {
        if !context.args.at(index).eq_ignore_ascii_case(b"samples") || index + 1 == context.args.len() {
            return Err(Error::SYNTAX.into());
        }
        // Values know their sizes: how many elements to sample is checked, and then not needed.
        if number::parse_i64(context.args.at(index + 1)).ok_or(Error::NOT_AN_INTEGER)? < 0 {
            return Err(Error::SYNTAX.into());
        }
        index += 2;
    }
    let key = context.key(2);
    match context.access.slot(&key)?.memory_bytes(&key) {
        Some(bytes) => context.reply.integer(bytes as i64),
        None => context.reply.null(),
    }
    Ok(())
}

fn stats(context: &mut Context<'_>) -> Result<(), Stop> {
    let report = MemoryReport::new(context.state);
    let reply = &mut *context.reply;
    reply.map(27 + report.databases.len());
    for (name, bytes) in [
        ("peak.allocated", report.peak),
        ("total.allocated", report.used),
        ("startup.allocated", report.startup),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", report.clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(bytes as i64);
    }
    for (number, tables, deadlines) in &report.databases {
        reply.bulk(format!("db.{number}").as_bytes());
        reply.map(3);
        for (name, bytes) in [
            ("overhead.hashtable.main", *tables),
            ("overhead.hashtable.expires", *deadlines),
            ("overhead.hashtable.slot-to-keys", 0),
        ] {
            reply.bulk(name.as_bytes());
            reply.integer(bytes as i64);
        }
    }
    for (name, number) in [
        ("overhead.total", report.overhead()),
        ("keys.count", report.keys),
        ("keys.bytes-per-key", report.bytes_per_key()),
        ("dataset.bytes", report.dataset()),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
    let (fragmentation, overhead) = (report.allocator_fragmentation(), report.allocator_overhead());
    for (name, value) in [
        ("dataset.percentage", Value::Double(report.dataset_percent())),
        ("peak.percentage", Value::Double(report.peak_percent())),
        ("allocator.allocated", Value::Integer(report.allocator.allocated as i64)),
        ("allocator.active", Value::Integer(report.allocator.active as i64)),
        ("allocator.resident", Value::Integer(report.allocator.resident as i64)),
        ("allocator-fragmentation.ratio", Value::Double(fragmentation.0)),
        ("allocator-fragmentation.bytes", Value::Integer(fragmentation.1)),
        ("allocator-rss.ratio", Value::Double(overhead.0)),
        ("allocator-rss.bytes", Value::Integer(overhead.1)),
        ("rss-overhead.ratio", Value::Double(report.process_overhead().0)),
        ("rss-overhead.bytes", Value::Integer(report.process_overhead().1)),
        ("fragmentation", Value::Double(report.fragmentation())),
        ("fragmentation.bytes", Value::Integer(report.fragmentation_bytes())),
    ] {
        reply.bulk(name.as_bytes());
        match value {
            Value::Double(value) => reply.double(value),
            Value::Integer(value) => reply.integer(value),
        }
    }
    Ok(())
}

enum Value {
    Double(f64),
    Integer(i64),
}

fn malloc_stats(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.bulk(b"Stats not supported for the current allocator");
    Ok(())
}

/// The allocator gives pages back by itself, seconds after they fell free: nothing has to be purged by hand.
fn purge(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.ok();
    Ok(())
}

fn doctor(context: &mut Context<'_>) -> Result<(), Stop> {
    let report = MemoryReport::new(context.state);
    let mut issues = Vec::new();
    if report.peak as f64 / report.used.max(1) as f64 > 1.5 {
        issues.push(
            "Peak: memory in use was once more than half as much again. Pages that are only partly free stay in RAM \
             until they are used again.",
        );
    }
    if report.fragmentation() > 1.4 && report.fragmentation_bytes() > TOLERATED_BYTES {
        issues.push(
            "Fragmentation: the process takes 1.4 times the RAM that is in use, or more. It goes down as memory is used \
             again, or with a restart.",
        );
    }
    let text = if report.used < SMALL_BYTES {
        "Less than 5 MB are in use: too little to judge.\n".to_owned()
    } else if issues.is_empty() {
        "Nothing is wrong with memory.\n".to_owned()
    } else {
        issues.iter().map(|issue| format!(" * {issue}\n")).collect()
    };
    context.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn help(context: &mut Context<'_>) -> Result<(), Stop> {
    let lines = [
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ];
    reply_help(context, "MEMORY", &lines);
    Ok(())
}

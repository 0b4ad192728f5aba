//! LATENCY: <https://redis.io/docs/latest/commands/latency/>.

use super::common::{ADMIN, ANYTIME, container, reply_help};
use super::graph;
use crate::base::clock;
use crate::command::context::Context;
use crate::command::flags::Flags;
use crate::command::flow::Stop;
use crate::command::spec::Spec;
use crate::command::table::{Command, Table};
use crate::reply::Error;
use crate::stats::Distribution;

const QUERY: Flags = ADMIN.or(Flags::NO_SCRIPT);

const REPORT_TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub const COMMAND: Spec =
    Spec::new("latency", -2, container).doc("server", "2.8.13", "Depends on the subcommand", "Latency").subcommands(&[
        Spec::new("doctor", 2, doctor).flags(QUERY).tips(REPORT_TIPS).doc(
            "server",
            "2.8.13",
            "O(1)",
            "Explain the spikes of latency",
        ),
        Spec::new("graph", 3, graph).flags(QUERY).tips(REPORT_TIPS).doc(
            "server",
            "2.8.13",
            "O(1)",
            "Draw the spikes of an event",
        ),
        Spec::new("help", 2, help).flags(ANYTIME).doc("server", "2.8.13", "O(1)", "Describe the subcommands"),
        Spec::new("histogram", -2, histogram).flags(QUERY).tips(REPORT_TIPS).doc(
            "server",
            "7.0.0",
            "O(N) where N is the number of commands with latency information being retrieved",
            "Return how long the calls of commands took",
        ),
        Spec::new("history", 3, history).flags(QUERY).tips(REPORT_TIPS).doc(
            "server",
            "2.8.13",
            "O(1)",
            "Return the spikes of an event",
        ),
        Spec::new("latest", 2, latest).flags(QUERY).tips(REPORT_TIPS).doc(
            "server",
            "2.8.13",
            "O(1)",
            "Return the last spike of each event",
        ),
        Spec::new("reset", -2, reset)
            .flags(QUERY)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("server", "2.8.13", "O(1)", "Forget the spikes of events"),
    ]);

fn now_s() -> u64 {
    clock::now_ms() / 1000
}

fn history(context: &mut Context<'_>) -> Result<(), Stop> {
    let series = context.state.stats.latency_events.get(context.args.at(2)).unwrap_or_default();
    context.reply.array(series.spikes.len());
    for spike in series.spikes {
        context.reply.array(2);
        context.reply.integer(spike.time_s as i64);
        context.reply.integer(spike.latency_ms as i64);
    }
    Ok(())
}

fn latest(context: &mut Context<'_>) -> Result<(), Stop> {
    let mut events = context.state.stats.latency_events.all();
    events.retain(|(_, series)| !series.spikes.is_empty());
    context.reply.array(events.len());
    for (event, series) in events {
        let Some(last) = series.spikes.back() else { continue };
        context.reply.array(4);
        context.reply.bulk(event.as_bytes());
        context.reply.integer(last.time_s as i64);
        context.reply.integer(last.latency_ms as i64);
        context.reply.integer(series.worst_ms as i64);
    }
    Ok(())
}

fn graph(context: &mut Context<'_>) -> Result<(), Stop> {
    let event = context.args.at(2);
    let Some(series) = context.state.stats.latency_events.get(event) else {
        return Err(Error::quoting("ERR No samples available for event '", event, "'").into());
    };
    let text = graph::render(&String::from_utf8_lossy(event), &series, now_s());
    context.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn reset(context: &mut Context<'_>) -> Result<(), Stop> {
    let events = &context.state.stats.latency_events;
    let forgotten: usize = match context.args.len() {
        2 => events.forget(None),
        _ => context.args.iter_from(2).map(|event| events.forget(Some(event))).sum(),
    };
    context.reply.integer(forgotten as i64);
    Ok(())
}

fn histogram(context: &mut Context<'_>) -> Result<(), Stop> {
    let table = Table::get();
    let stats = &context.state.stats;
    let wanted: Vec<&Command> = match context.args.len() {
        2 => table.commands().iter().collect(),
        _ => context.args.iter_from(2).filter_map(|name| find(table, name)).flatten().collect(),
    };
    let found: Vec<(&Command, Distribution)> = wanted
        .into_iter()
        .filter_map(|command| stats.latencies(command.index).map(|distribution| (command, distribution)))
        .collect();
    context.reply.map(found.len());
    for (command, distribution) in found {
        context.reply.bulk(command.full_name.as_bytes());
        context.reply.map(2);
        context.reply.bulk(b"calls");
        context.reply.integer(distribution.total() as i64);
        context.reply.bulk(b"histogram_usec");
        let rows = distribution.cumulative_us();
        context.reply.map(rows.len());
        for (bound_us, count) in rows {
            context.reply.integer(bound_us as i64);
            context.reply.integer(count as i64);
        }
    }
    Ok(())
}

/// The command `name` and its subcommands, or the subcommand `parent|name`.
fn find<'a>(table: &'a Table, name: &[u8]) -> Option<Vec<&'a Command>> {
    if let Some(bar) = name.iter().position(|byte| *byte == b'|') {
        let parent = table.find(&name[..bar])?;
        return table.subcommand(parent, &name[bar + 1..]).map(|command| vec![command]);
    }
    let command = table.find(name)?;
    Some(std::iter::once(command).chain(table.subcommands(command)).collect())
}

fn doctor(context: &mut Context<'_>) -> Result<(), Stop> {
    let settings = &context.state.settings;
    let threshold_ms = settings.latency_monitor_threshold.get();
    let slow_us = settings.slowlog_log_slower_than.get();
    let events = context.state.stats.latency_events.all();
    let mut report = String::new();
    if events.is_empty() {
        report.push_str(if threshold_ms == 0 {
            "Latency is not monitored. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n"
        } else {
            "No event has taken as long as latency-monitor-threshold: there is nothing to explain.\n"
        });
    }
    for (number, (event, series)) in events.iter().enumerate() {
        let summary = series.summary(now_s());
        report.push_str(&format!(
            "{}. {event}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} sec). Worst all time event \
             {}ms.\n",
            number + 1,
            summary.count,
            summary.average_ms,
            summary.deviation_ms,
            summary.period_s,
            series.worst_ms
        ));
    }
    let has = |name: &str| events.iter().any(|(event, _)| *event == name);
    let mut advice = Vec::new();
    if has("command") {
        if slow_us < 0 {
            advice.push(format!(
                "The slow log is off. CONFIG SET slowlog-log-slower-than {} would show which commands are slow.",
                threshold_ms.saturating_mul(1000)
            ));
        } else if slow_us / 1000 > threshold_ms {
            advice.push(format!(
                "Some spikes are below the slow log's limit. CONFIG SET slowlog-log-slower-than {} would show them.",
                threshold_ms.saturating_mul(1000)
            ));
        }
        advice.push("SLOWLOG GET lists the commands that took longest, with their arguments.".to_owned());
        advice.push("Commands on large values take long: split such values, or read them in parts.".to_owned());
    }
    if has("fast-command") {
        advice.push(
            "Commands that do little were slow, so the process did not get the CPU: look for other load on this machine, \
             for limits on CPU time, and for swapping."
                .to_owned(),
        );
    }
    if has("expire-cycle") {
        advice.push("Many keys expire at the same time, or very large ones do: spread their expiry times.".to_owned());
    }
    if has("eviction-cycle") || has("eviction-del") {
        advice.push(
            "Much had to be evicted at once: lower 'maxmemory' in steps, and avoid very large values.".to_owned(),
        );
    }
    if crate::base::system::huge_pages_bytes() > 0 {
        advice.push(
            "The kernel gives this process transparent huge pages, which makes page faults slow; 'madvise' in \
             /sys/kernel/mm/transparent_hugepage/enabled stops that."
                .to_owned(),
        );
    }
    if !advice.is_empty() {
        report.push_str("\nWhat can be done:\n\n");
        advice.iter().for_each(|line| report.push_str(&format!("- {line}\n")));
    }
    context.reply.verbatim("txt", report.as_bytes());
    Ok(())
}

fn help(context: &mut Context<'_>) -> Result<(), Stop> {
    let lines = [
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
        "    If no commands are specified then all histograms are replied.",
    ];
    reply_help(context, "LATENCY", &lines);
    Ok(())
}

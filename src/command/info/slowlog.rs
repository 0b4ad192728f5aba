//! SLOWLOG: <https://redis.io/docs/latest/commands/slowlog/>.

use super::common::{ADMIN, ANYTIME, container, reply_help};
use crate::base::number;
use crate::command::context::Context;
use crate::command::flow::Stop;
use crate::command::spec::Spec;
use crate::reply::Error;

pub const COMMAND: Spec = Spec::new("slowlog", -2, container)
    .doc("server", "2.2.12", "Depends on the subcommand", "The slow log")
    .subcommands(&[
        Spec::new("get", -2, get).flags(ADMIN).tips(&["request_policy:all_nodes", "nondeterministic_output"]).doc(
            "server",
            "2.2.12",
            "O(N) where N is the number of entries returned",
            "Return entries of the slow log",
        ),
        Spec::new("len", 2, len)
            .flags(ADMIN)
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
            .doc("server", "2.2.12", "O(1)", "Count the entries of the slow log"),
        Spec::new("reset", 2, reset)
            .flags(ADMIN)
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .doc("server", "2.2.12", "O(N) where N is the number of entries", "Remove all entries of the slow log"),
        Spec::new("help", 2, help).flags(ANYTIME).doc("server", "6.2.0", "O(1)", "Describe the subcommands"),
    ]);

const DEFAULT_COUNT: usize = 10;
const BAD_COUNT: Error = Error::new("ERR count should be greater than or equal to -1");

fn get(context: &mut Context<'_>) -> Result<(), Stop> {
    let count = match context.args.len() {
        2 => DEFAULT_COUNT,
        3 => match number::parse_i64(context.args.at(2)).ok_or(BAD_COUNT)? {
            -1 => usize::MAX,
            count => usize::try_from(count).map_err(|_| BAD_COUNT)?,
        },
        _ => return Err(syntax_error(context, "SLOWLOG").into()),
    };
    let commands = context.state.stats.slow_log.newest(count, context.state.slow_log_max_len());
    context.reply.array(commands.len());
    for command in commands {
        context.reply.array(6);
        context.reply.integer(command.id as i64);
        context.reply.integer(command.time_s as i64);
        context.reply.integer(command.duration_us as i64);
        context.reply.array(command.arguments.len());
        for argument in &command.arguments {
            context.reply.bulk(argument);
        }
        context.reply.bulk(command.client_address.as_bytes());
        context.reply.bulk(&command.client_name);
    }
    Ok(())
}

fn len(context: &mut Context<'_>) -> Result<(), Stop> {
    let len = context.state.stats.slow_log.len(context.state.slow_log_max_len());
    context.reply.integer(len as i64);
    Ok(())
}

fn reset(context: &mut Context<'_>) -> Result<(), Stop> {
    context.state.stats.slow_log.clear();
    context.reply.ok();
    Ok(())
}

fn help(context: &mut Context<'_>) -> Result<(), Stop> {
    let lines = [
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ];
    reply_help(context, "SLOWLOG", &lines);
    Ok(())
}

/// What Redis says of a subcommand with too many arguments.
fn syntax_error(context: &Context<'_>, command: &str) -> Error {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    Error::quoting(before, context.args.at(1), &format!("'. Try {command} HELP."))
}

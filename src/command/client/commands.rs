//! The commands of clients, declared, and the trivial ones among them.

use super::{identity, kill, list, treatment};
use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::Stop;
use crate::command::spec::{Handler, Spec};
use crate::reply::Error;

const ANYTIME: Flags = Flags::NO_SCRIPT.or(Flags::LOADING).or(Flags::STALE);
const BEFORE_AUTH: Flags = ANYTIME.or(Flags::FAST).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY);
const ADMIN: Flags = ANYTIME.or(Flags::ADMIN);
/// Runs while clients are paused, so that the pause can be lifted.
const ADMIN_IN_PAUSE: Flags = ADMIN.or(Flags::IGNORES_PAUSE);

pub const COMMANDS: &[Spec] = &[
    connection("auth", -2, identity::auth, BEFORE_AUTH).doc(
        "connection",
        "1.0.0",
        "O(N) where N is the number of passwords defined for the user",
        "Gives the password",
    ),
    connection("hello", -1, identity::hello, BEFORE_AUTH).doc(
        "connection",
        "6.0.0",
        "O(1)",
        "Chooses the protocol's version, and may give the password and a name",
    ),
    connection("reset", 1, identity::reset, BEFORE_AUTH).doc(
        "connection",
        "6.2.0",
        "O(1)",
        "Makes the connection as good as new",
    ),
    Spec::new("client", -2, container).subcommands(SUBCOMMANDS).doc(
        "connection",
        "2.4.0",
        "Depends on subcommand.",
        "Commands about connections",
    ),
];

const SUBCOMMANDS: &[Spec] = &[
    connection("getname", 2, identity::get_name, ANYTIME).doc("connection", "2.6.9", "O(1)", "Answers the name"),
    connection("getredir", 2, get_redirection, ANYTIME).doc(
        "connection",
        "6.0.0",
        "O(1)",
        "Answers where invalidation messages go",
    ),
    connection("help", 2, help, Flags::LOADING.or(Flags::STALE)).doc(
        "connection",
        "5.0.0",
        "O(1)",
        "Describes the subcommands",
    ),
    connection("id", 2, identity::id, ANYTIME).doc("connection", "5.0.0", "O(1)", "Answers the connection's number"),
    connection("info", 2, list::info, ANYTIME).tips(&["nondeterministic_output"]).doc(
        "connection",
        "6.2.0",
        "O(1)",
        "Describes this connection",
    ),
    connection("kill", -3, kill::kill, ADMIN_IN_PAUSE).doc(
        "connection",
        "2.4.0",
        "O(N) where N is the number of client connections",
        "Ends connections",
    ),
    connection("list", -2, list::list, ADMIN_IN_PAUSE).tips(&["nondeterministic_output"]).doc(
        "connection",
        "2.4.0",
        "O(N) where N is the number of client connections",
        "Describes connections",
    ),
    connection("no-evict", 3, treatment::no_evict, ADMIN).doc(
        "connection",
        "7.0.0",
        "O(1)",
        "Exempts the connection from being cut for the sake of memory",
    ),
    connection("no-touch", 3, treatment::no_touch, ANYTIME).doc(
        "connection",
        "7.2.0",
        "O(1)",
        "Keeps the connection's commands from counting as uses of keys",
    ),
    connection("pause", -3, treatment::pause, ADMIN_IN_PAUSE).doc(
        "connection",
        "2.9.50",
        "O(1)",
        "Keeps all clients waiting for a time",
    ),
    connection("reply", 3, treatment::reply, ANYTIME).doc("connection", "3.2.0", "O(1)", "Turns replies off and on"),
    connection("setinfo", 4, identity::set_info, ANYTIME).doc(
        "connection",
        "7.2.0",
        "O(1)",
        "Names the client's library",
    ),
    connection("setname", 3, identity::set_name, ANYTIME).doc("connection", "2.6.9", "O(1)", "Names the connection"),
    connection("trackinginfo", 2, tracking_info, ANYTIME).doc(
        "connection",
        "6.2.0",
        "O(1)",
        "Answers how the connection's reads are tracked",
    ),
    connection("unblock", -3, treatment::unblock, ADMIN).doc(
        "connection",
        "5.0.0",
        "O(log N) where N is the number of client connections",
        "Ends the wait of a connection whose command is blocked",
    ),
    connection("unpause", 2, treatment::unpause, ADMIN_IN_PAUSE).doc(
        "connection",
        "6.2.0",
        "O(N) Where N is the number of paused clients",
        "Ends a pause",
    ),
];

const fn connection(name: &'static str, arity: i32, handler: Handler, flags: Flags) -> Spec {
    Spec::new(name, arity, handler).flags(flags).categories(Categories::CONNECTION)
}

/// CLIENT without a subcommand, which its arity excludes.
fn container(_: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::SYNTAX.into())
}

/// No connection is tracked.
fn get_redirection(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.integer(-1);
    Ok(())
}

fn tracking_info(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.map(3);
    context.reply.bulk(b"flags");
    context.reply.set(1);
    context.reply.bulk(b"off");
    context.reply.bulk(b"redirect");
    context.reply.integer(-1);
    context.reply.bulk(b"prefixes");
    context.reply.array(0);
    Ok(())
}

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of this connection.",
    "GETREDIR",
    "    Return where invalidation messages go: -1, since no connection is tracked.",
    "ID",
    "    Return the number of this connection.",
    "INFO",
    "    Describe this connection.",
    "KILL <ip:port>",
    "    End the connection from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    End all connections that every option fits:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "    * ID <number>",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "    * USER <username>",
    "    * SKIPME (YES|NO)",
    "      Whether this connection stays (default: yes).",
    "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <number> [<number> ...]]",
    "    Describe all connections, those of a type, or those with these numbers.",
    "NO-EVICT (ON|OFF)",
    "    Exempt this connection from being ended for the sake of memory.",
    "NO-TOUCH (ON|OFF)",
    "    Keep commands of this connection from counting as uses of keys.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Keep all clients, or those that write, waiting for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Turn the replies to this connection on or off, or skip the next.",
    "SETINFO (LIB-NAME|LIB-VER) <text>",
    "    Name the library that this client uses, or its version.",
    "SETNAME <name>",
    "    Name this connection.",
    "TRACKINGINFO",
    "    Return how this connection's reads are tracked.",
    "UNBLOCK <number> [TIMEOUT|ERROR]",
    "    Have the blocked command of the connection with this number time out, or fail.",
    "UNPAUSE",
    "    End a pause.",
    "HELP",
    "    Print this help.",
];

fn help(context: &mut Context<'_>) -> Result<(), Stop> {
    context.reply.array(HELP.len());
    for line in HELP {
        context.reply.simple(line);
    }
    Ok(())
}

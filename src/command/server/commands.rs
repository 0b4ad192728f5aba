//! The commands of the server, declared.

use super::common::{ADMIN, ANYTIME, CONSTANT};
use super::{access, configuration, debug, introspection, lolwut, persistence, process, replication};
use crate::command::context::Context;
use crate::command::flags::{Categories, Flags};
use crate::command::flow::Stop;
use crate::command::spec::Spec;
use crate::reply::Error;

const REPLICATION: Flags = Flags::ADMIN.or(Flags::NO_SCRIPT).or(Flags::STALE).or(Flags::NO_ASYNC_LOADING);
const SAVING: Flags = Flags::ADMIN.or(Flags::NO_SCRIPT).or(Flags::NO_ASYNC_LOADING);
const FAST_ANYTIME: Flags = ANYTIME.or(Flags::FAST);

const BY_SUBCOMMAND: &str = "Depends on the subcommand";

pub const COMMANDS: &[Spec] = &[
    Spec::new("command", -1, introspection::command)
        .flags(ANYTIME)
        .categories(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"])
        .doc("server", "2.8.13", "O(N) where N is the number of commands", "Describe all commands")
        .subcommands(introspection::SUBCOMMANDS),
    Spec::container("config", configuration::SUBCOMMANDS).doc(
        "server",
        "2.0.0",
        BY_SUBCOMMAND,
        "Read, change and write the settings",
    ),
    Spec::new("debug", -2, debug::debug).flags(ADMIN.or(Flags::PROTECTED)).doc(
        "server",
        "1.0.0",
        BY_SUBCOMMAND,
        "Look inside the server, and make it do what only tests want",
    ),
    Spec::container("acl", access::SUBCOMMANDS).doc("server", "6.0.0", BY_SUBCOMMAND, "Tell who may do what"),
    Spec::new("shutdown", -1, process::shutdown).flags(ADMIN.or(Flags::NO_MULTI).or(Flags::ALLOW_BUSY)).doc(
        "server",
        "1.0.0",
        "O(N) where N is the number of changes that are not on disk yet",
        "End the server in good order",
    ),
    Spec::new("save", 1, persistence::save).flags(SAVING.or(Flags::NO_MULTI)).doc(
        "server",
        "1.0.0",
        "O(N) where N is the number of changes that are not on disk yet",
        "Make a checkpoint of all data, and answer when it is there",
    ),
    Spec::new("bgsave", -1, persistence::save_in_background).flags(SAVING).doc(
        "server",
        "1.0.0",
        CONSTANT,
        "Make a checkpoint of all data in the background",
    ),
    Spec::new("bgrewriteaof", 1, persistence::rewrite_journal).flags(SAVING).doc(
        "server",
        "1.0.0",
        CONSTANT,
        "Have all that has changed merged, so that the journal can be let go",
    ),
    Spec::new("lastsave", 1, persistence::last_save)
        .flags(FAST_ANYTIME)
        .categories(Categories::ADMIN.or(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"])
        .doc("server", "1.0.0", CONSTANT, "Tell when the last checkpoint was made"),
    Spec::new("time", 1, process::time).flags(FAST_ANYTIME).tips(&["nondeterministic_output"]).doc(
        "server",
        "2.6.0",
        CONSTANT,
        "Tell the server's time",
    ),
    Spec::new("lolwut", -1, lolwut::lolwut).flags(Flags::READONLY.or(Flags::FAST)).doc(
        "server",
        "5.0.0",
        "O(N) where N is the number of characters drawn",
        "Draw a picture, and tell the version",
    ),
    Spec::new("wait", 3, replication::wait)
        .flags(Flags::NO_SCRIPT)
        .categories(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .doc("generic", "3.0.0", CONSTANT, "Wait until replicas have what this connection wrote"),
    Spec::new("role", 1, replication::role)
        .flags(Flags::NO_SCRIPT.or(FAST_ANYTIME))
        .categories(Categories::ADMIN.or(Categories::DANGEROUS))
        .doc("server", "2.8.12", CONSTANT, "Tell the server's part in replication"),
    Spec::new("replicaof", 3, replication::replica_of).flags(REPLICATION).doc(
        "server",
        "5.0.0",
        CONSTANT,
        "Make the server a replica of another, or of none",
    ),
    Spec::new("slaveof", 3, replication::replica_of).flags(REPLICATION).deprecated("5.0.0", "`REPLICAOF`").doc(
        "server",
        "1.0.0",
        CONSTANT,
        "Make the server a replica of another, or of none",
    ),
    on_cluster_connection("readonly", FAST_ANYTIME, "Let this connection read from a cluster's replicas"),
    on_cluster_connection("readwrite", FAST_ANYTIME, "End what READONLY began"),
    on_cluster_connection("asking", Flags::FAST, "Let the next command at a slot that is being imported"),
    Spec::new("cluster", -2, no_cluster).doc("cluster", "3.0.0", BY_SUBCOMMAND, "Look at the cluster, and change it"),
];

const fn on_cluster_connection(name: &'static str, flags: Flags, summary: &'static str) -> Spec {
    Spec::new(name, 1, no_cluster)
        .flags(flags)
        .categories(Categories::CONNECTION)
        .doc("cluster", "3.0.0", CONSTANT, summary)
}

fn no_cluster(_: &mut Context<'_>) -> Result<(), Stop> {
    Err(Error::new("ERR This instance has cluster support disabled").into())
}

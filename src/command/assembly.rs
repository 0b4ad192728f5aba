//! Assembles the table of all commands and the state that they act upon.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize};
use std::time::Instant;

use tokio::sync::watch;

use super::{client, connection, info, key, monitor, server, string};
use crate::base::key_hash::HashSecret;
use crate::base::memory;
use crate::command::clients::Clients;
use crate::command::spec::Spec;
use crate::command::state::State;
use crate::command::table::Table;
use crate::config::Settings;
use crate::keyspace::Keyspace;
use crate::keyspace::tier::Tier;
use crate::stats::Stats;

/// Every family's commands.
const FAMILIES: &[&[Spec]] = &[
    connection::COMMANDS,
    client::COMMANDS,
    monitor::COMMANDS,
    string::COMMANDS,
    key::COMMANDS,
    server::COMMANDS,
    info::COMMANDS,
    #[cfg(test)]
    super::testing::COMMANDS,
];

impl State {
    /// Makes the state of a server that has no key; `secret` is the key hash's, `tier` the disk below memory, if there is one.
    pub fn new(settings: Arc<Settings>, secret: HashSecret, tier: Option<Tier>) -> State {
        let stats = Arc::new(Stats::new(Table::fill(FAMILIES).commands().len()));
        State {
            keyspace: Arc::new(Keyspace::new(secret, tier, settings.clone(), stats.clone())),
            settings,
            stats,
            clients: Clients::default(),
            started: Instant::now(),
            run_id: random_id(),
            replication_id: random_id(),
            startup_memory_bytes: memory::used_bytes(),
            resp_port: AtomicU16::new(0),
            active_workers: AtomicUsize::new(1),
            reserved_descriptors: AtomicU64::new(0),
            peak_memory_bytes: AtomicU64::new(0),
            shutdown: watch::Sender::new(false),
            failed: AtomicBool::new(false),
        }
    }
}

/// 40 random hexadecimal digits.
fn random_id() -> String {
    let digits: String = (0..3).map(|part| format!("{:016x}", RandomState::new().hash_one(part))).collect();
    digits[..40].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::flags::Flags;
    use crate::command::spec::Keys;
    use crate::command::table::{Command, NAME_MAX_BYTES, NO_COMMAND};
    use crate::protocol::Args;

    fn table() -> &'static Table {
        Table::fill(FAMILIES)
    }

    /// The table's commands and subcommands; lines of HTTP are none.
    fn commands() -> impl Iterator<Item = &'static Command> {
        table().commands().iter().filter(|command| !command.spec.flags.has(Flags::HTTP))
    }

    #[test]
    fn every_name_leads_to_its_command() {
        for command in table().commands() {
            let name = command.spec.name;
            assert!(name.len() <= NAME_MAX_BYTES, "{name} is too long");
            assert_eq!(name, name.to_lowercase());
            let shouted = command.full_name.to_uppercase();
            let found = table().find_full(shouted.as_bytes()).map(|found| found.index);
            assert_eq!(found, Some(command.index), "{} is there twice", command.full_name);
        }
        for command in table().commands() {
            for name in [command.spec.name, &command.full_name] {
                let called = [name.to_uppercase()];
                let called = [called[0].as_bytes()];
                let look_up =
                    |previous| table().look_up(&Args::from_slices(&called), previous).map(|found| found.index);
                assert_eq!(look_up(command.index), look_up(NO_COMMAND), "{}, after itself", command.full_name);
            }
            let unknown: [&[u8]; 1] = [b"no such command"];
            assert!(table().look_up(&Args::from_slices(&unknown), command.index).is_err());
        }
        assert!(table().find(b"no such command").is_none());
        assert!(table().find_full(b"config|").is_none());
        assert!(table().find(&[b'a'; NAME_MAX_BYTES + 1]).is_none());
    }

    #[test]
    fn every_command_is_documented() {
        for Command { spec, full_name, .. } in commands() {
            let texts = [spec.summary, spec.since, spec.group, spec.complexity];
            assert!(texts.iter().all(|text| !text.is_empty()), "{full_name}: {texts:?}");
            assert_eq!(spec.since.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{full_name}");
            assert!(!spec.summary.ends_with('.'), "{full_name}: {}", spec.summary);
        }
    }

    #[test]
    fn keys_fit_the_flags_and_the_arity() {
        for Command { spec, full_name, .. } in commands() {
            let (writes, reads) = (spec.flags.has(Flags::WRITE), spec.flags.has(Flags::READONLY));
            assert!(!(writes && reads), "{full_name} both writes and only reads");
            let Keys::Range { first, last, step } = spec.keys else {
                assert!(spec.last_key_use.is_none(), "{full_name} has a last key, but no range of keys");
                continue;
            };
            assert!(writes != reads, "{full_name} has keys, and neither writes nor reads");
            let least_arguments = spec.arity.unsigned_abs() as usize;
            assert!(first >= 1 && step >= 1, "{full_name}");
            assert!(first < least_arguments, "{full_name}: its first key may be missing");
            assert!(last < least_arguments as i32, "{full_name}: its last key may be missing");
            assert!(last < 0 || last >= first as i32, "{full_name}: its last key is before the first");
            assert!(spec.last_key_use.is_none() || last > first as i32, "{full_name}: its last key is not another");
        }
    }

    #[test]
    fn categories_follow_from_flags() {
        let names =
            |name: &[u8]| -> Vec<_> { table().find_full(name).unwrap().spec.all_categories().names().collect() };
        assert_eq!(names(b"get"), ["read", "string", "fast"]);
        assert_eq!(names(b"config|set"), ["admin", "slow", "dangerous"]);
        assert_eq!(names(b"config"), ["slow"]);
    }
}

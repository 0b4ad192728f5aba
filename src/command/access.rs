//! Authentication and authorization, for every protocol.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock;
use crate::command::clients::{Client, Peer};
use crate::command::flags::Flags;
use crate::command::state::State;
use crate::command::table::Command;
use crate::command::user::User;
use crate::config::Permission;
use crate::protocol::Args;
use crate::reply::Error;

/// The least time between two log lines about wrong passwords, in milliseconds.
const WRONG_PASSWORD_LOG_INTERVAL_MS: u64 = 1000;
/// Wrong passwords in a row that are answered at once.
const FREE_WRONG_PASSWORDS: u32 = 3;
/// The delay of the reply to the next one; it doubles with each further one.
const WRONG_PASSWORD_DELAY_MIN: Duration = Duration::from_millis(100);
const WRONG_PASSWORD_DELAY_MAX: Duration = Duration::from_secs(5);

/// The answer of the plain TCP protocol, which has no way to say a password, where one is set.
pub const NO_PASSWORD: Error =
    Error::new("NOAUTH Authentication required: this protocol has none, use RESP or HTTP where 'requirepass' is set.");
/// The answer to a client of another machine in protected mode.
pub const PROTECTED: Error = Error::new(
    "DENIED Rockpool is running in protected mode because protected mode is enabled and no password is set for the \
     default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
     from external computers, either set a password with 'requirepass', or turn protected mode off with \
     'protected-mode no' where only trusted clients can reach the server.",
);
const NOT_ENABLED: Error = Error::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);
const MONITORS: Error = Error::new("ERR Replica can't interact with the keyspace");

/// What a client that monitors may not run: Redis counts it among the replicas.
const DATA_FLAGS: [Flags; 3] = [Flags::READONLY, Flags::WRITE, Flags::MAY_REPLICATE];

/// Checks whether a client's user may run a command with these arguments, whatever protocol it came by. No rule names
/// keys yet, which is what `args` is for.
///
/// # Errors
/// The answer to a client that may not.
#[inline]
pub fn authorize(state: &State, client: &Client, command: &Command, _args: &Args<'_>) -> Result<(), Error> {
    let flags = command.spec.flags;
    if flags.has(Flags::PROTECTED) && !state.allows_debug(client) {
        return Err(NOT_ENABLED);
    }
    if !flags.has(Flags::NO_AUTH) && state.requires_auth(client) {
        return Err(Error::NO_AUTH);
    }
    if client.is_monitor() && DATA_FLAGS.iter().any(|flag| flags.has(*flag)) {
        return Err(MONITORS);
    }
    Ok(())
}

impl State {
    /// Whether the client must give the password before anything else. A client that connected before one was set
    /// stays authenticated.
    #[inline]
    pub fn requires_auth(&self, client: &Client) -> bool {
        client.user() == User::Unauthenticated && self.has_password()
    }

    /// Whether `requirepass` is set.
    pub fn has_password(&self) -> bool {
        !self.settings.requirepass.get().is_empty()
    }

    /// The user of a new connection.
    pub fn first_user(&self) -> User {
        if self.has_password() { User::Unauthenticated } else { User::Default }
    }

    /// Whether protected mode refuses a client of this peer.
    pub fn is_protected_from(&self, peer: &Peer) -> bool {
        self.settings.protected_mode.get() && !self.has_password() && !peer.is_local
    }

    /// Lets a client act as the default user if it knows the password; where there is none, any will do, as in Redis. Returns
    /// whether it does; if not, the caller calls [`State::note_wrong_password`].
    pub fn authenticate(&self, client: &Client, password: &[u8]) -> bool {
        let expected = self.settings.requirepass.get();
        let knows = expected.is_empty() || equal_in_constant_time(password, expected.as_bytes());
        if knows {
            client.set_user(User::Default);
        }
        knows
    }

    /// Counts a wrong password, and logs it at most once a second. Returns how long to delay the reply: longer with each guess in a
    /// row, so that a connection cannot try many.
    pub fn note_wrong_password(&self, client: &Client) -> Duration {
        static LOGGED_MS: AtomicU64 = AtomicU64::new(0);
        self.stats.shard().wrong_passwords.add(1);
        let in_a_row = client.count_wrong_password();
        let now_ms = clock::now_ms();
        if now_ms.abs_diff(LOGGED_MS.load(Ordering::Relaxed)) >= WRONG_PASSWORD_LOG_INTERVAL_MS {
            LOGGED_MS.store(now_ms, Ordering::Relaxed);
            let since_start = self.stats.sum(|shard| &shard.wrong_passwords);
            tracing::warn!(address = client.peer.address, in_a_row, since_start, "a client gave a wrong password");
        }
        match in_a_row.checked_sub(FREE_WRONG_PASSWORDS + 1) {
            None => Duration::ZERO,
            Some(doublings) => (WRONG_PASSWORD_DELAY_MIN * (1 << doublings.min(10))).min(WRONG_PASSWORD_DELAY_MAX),
        }
    }

    /// Whether `enable-debug-command` lets the client use DEBUG.
    pub fn allows_debug(&self, client: &Client) -> bool {
        match self.settings.enable_debug_command.get() {
            Permission::No => false,
            Permission::Yes => true,
            Permission::Local => client.peer.is_local,
        }
    }
}

/// Compares in a time that depends on the lengths alone, and so does not reveal how much of a guess was right.
fn equal_in_constant_time(given: &[u8], expected: &[u8]) -> bool {
    let mut difference = u8::from(given.len() != expected.len());
    for (index, byte) in given.iter().enumerate() {
        difference |= byte ^ expected.get(index).copied().unwrap_or(0);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_compared_whole() {
        assert!(equal_in_constant_time(b"secret", b"secret"));
        for wrong in [b"".as_slice(), b"secre", b"secrets", b"Secret", b"secret\0"] {
            assert!(!equal_in_constant_time(wrong, b"secret"), "{wrong:?}");
        }
    }
}

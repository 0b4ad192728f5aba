//! How the execution of a command ends, and what its connection does next.

use std::time::Duration;

use crate::keyspace::Unavailable;
use crate::reply::Error;
use crate::store::rocks::RocksError;

/// The answer to one of several commands that are executed as one, where what it does cannot be done while others' slots are
/// held: it would wait for them, or for the gate, or is done at once.
pub(super) const NOT_AMONG_OTHERS: Error =
    Error::new("ERR this command cannot be one of several that are executed as one");
/// The answer to one of several commands that are executed as one, where it comes to a key that is not among its arguments'.
const NOT_NAMED: Error =
    Error::new("ERR this key is in another database than the commands executed with it, which is not supported");

/// Why a command has stopped, before it ran or on its way. Whatever the reason, it has changed nothing that is not meant to
/// stay; where it is to run again, nothing at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is answered with this error.
    Reply(Error),
    /// Keys that it needs are not in memory: it runs again once those are that its session names.
    Cold,
    /// The server has to catch up with something first: it runs again in a moment.
    Stalled,
    /// Clients are paused: it runs again once they are not.
    Paused,
    /// It waits for what others do, see [`Context::block`](super::context::Context::block): it runs again once that is over.
    Blocked,
}

// A handler's result is as small as that of one that could only fail.
const _: () = assert!(size_of::<Result<(), Stop>>() == size_of::<Result<(), Error>>());

impl From<Error> for Stop {
    #[inline]
    fn from(error: Error) -> Stop {
        Stop::Reply(error)
    }
}

impl From<Unavailable> for Stop {
    fn from(unavailable: Unavailable) -> Stop {
        match unavailable {
            Unavailable::Cold => Stop::Cold,
            Unavailable::Unreadable(reason) => {
                Error::owned(format!("IOERR the key cannot be read from disk: {reason}")).into()
            }
            Unavailable::NotNamed => NOT_NAMED.into(),
        }
    }
}

/// The disk refused something.
impl From<RocksError> for Stop {
    fn from(error: RocksError) -> Stop {
        Stop::Reply(Error::owned(format!("MISCONF Errors using the disk: {error}")))
    }
}

/// What the connection does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Execute what follows.
    #[default]
    Continue,
    /// Send what is written, then close.
    Close,
    /// Read and execute nothing more until that is over.
    Wait(Cause),
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The time that its command takes (DEBUG SLEEP), after which the reply is sent; `None`: for ever.
    Delay(Option<Duration>),
    /// The time that a wrong password costs: it does not count as the command's, and ends when the client closes its half. The
    /// reply is sent then.
    Penalty(Duration),
    /// What others do, or that its session's time for that is up; then the command runs again.
    Blocked,
    /// The end of the pause of all clients; then the command runs again.
    Paused,
    /// The session's cold keys, which are to be loaded; then the command runs again.
    Cold,
    /// The server, which has to catch up; then the command runs again.
    Stalled,
}

impl Cause {
    /// Whether the command has done nothing yet, and is executed once the wait is over.
    #[inline]
    pub fn runs_again(self) -> bool {
        matches!(self, Cause::Blocked | Cause::Paused | Cause::Cold | Cause::Stalled)
    }
}

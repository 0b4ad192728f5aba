//! Commands that wait for what others do.

use std::time::Duration;

use tokio::time::Instant;

use crate::command::clients::Wake;
use crate::command::context::Context;
use crate::command::flow::{Flow, Stop};
use crate::command::session::Blocked;
use crate::reply::Error;

const UNBLOCKED: Error = Error::new("UNBLOCKED client unblocked via CLIENT UNBLOCK");

impl Context<'_> {
    /// Runs `attempt`, again each time the client is woken by [`Client::unblock`](super::clients::Client::unblock), until it has
    /// something, or `timeout` has passed since the first time (`None`: there is no limit). Returns what it has; `None`: its
    /// time is up. A handler calls this before it has changed anything, and passes a stop on.
    ///
    /// An attempt that has nothing has seen to it, while it held the locks of the keys that it looked at, that whoever changes
    /// them unblocks the client. Nothing that happens from then on is missed.
    ///
    /// # Errors
    /// [`Stop::Blocked`] as long as it waits, those of the attempt, and the one that CLIENT UNBLOCK asks for.
    pub fn block<R>(
        &mut self,
        timeout: Option<Duration>,
        attempt: impl FnOnce(&mut Self) -> Result<Option<R>, Stop>,
    ) -> Result<Option<R>, Stop> {
        let new = || Blocked::until(timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
        let blocked = *self.session.blocked.get_or_insert_with(new);
        if blocked.was_shown {
            self.session.hide();
        }
        let result = match blocked.wake {
            None | Some(Wake::Changed) => {
                // First, so that whoever unblocks it from now on has an effect.
                self.session.client.begin_block();
                match attempt(self) {
                    Ok(None) => return Err(Stop::Blocked),
                    result => {
                        self.session.client.end_block();
                        result
                    }
                }
            }
            Some(Wake::TimedOut) => Ok(None),
            Some(Wake::Unblocked) => Err(UNBLOCKED.into()),
            Some(Wake::Left) => {
                self.session.after = Flow::Close;
                Ok(None)
            }
        };
        // Otherwise it has to wait for the server first, and runs again.
        if matches!(result, Ok(_) | Err(Stop::Reply(_))) {
            self.session.blocked = None;
        }
        result
    }
}

//! What keeps a client waiting, and for how long: the one place that knows how each wait ends, for every protocol.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::clock;
use crate::command::clients::Wake;
use crate::command::flow::Cause;
use crate::command::session::Session;
use crate::command::state::State;
use crate::keyspace::loader::Loading;

/// Nobody waits longer than this; it stands for "never".
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// How long a client that has closed its half is waited for, to be sent what it is owed: one that has gone looks the same.
const HALF_CLOSED: Duration = Duration::from_secs(5);
/// How soon a write is tried again that the disk was too far behind for.
const STALL_STEP: Duration = Duration::from_millis(1);

/// How a wait ends.
pub enum Outcome {
    /// What was waited for is there.
    Over,
    /// The client has gone; what it sent last is not executed any more.
    Left,
}

/// What ends a wait.
enum End {
    Time(Pin<Box<Sleep>>),
    /// Somebody who unblocks the client, or the time.
    Wake(Pin<Box<Sleep>>),
    Load(Loading),
}

/// A client's wait. Meanwhile nothing is read: what it sends stays in the kernel.
pub struct Wait {
    cause: Cause,
    end: End,
    /// Runs once the client has closed its half.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Begins to wait.
    pub fn new(cause: Cause, state: &State, session: &mut Session) -> Wait {
        let end = match (cause, state.keyspace.tier()) {
            (Cause::Cold, Some(tier)) => End::Load(state.keyspace.load(tier, session.cold())),
            (Cause::Stalled | Cause::Cold, _) => End::Time(timer(STALL_STEP)),
            (Cause::Delay(duration), _) => End::Time(timer(duration.unwrap_or(FOREVER))),
            (Cause::Penalty(duration), _) => End::Time(timer(duration)),
            (Cause::Blocked, _) => {
                let deadline = session.blocked.and_then(|blocked| blocked.deadline);
                End::Wake(deadline.map_or_else(|| timer(FOREVER), |deadline| Box::pin(sleep_until(deadline))))
            }
            (Cause::Paused, _) => {
                let now_ms = clock::now_ms();
                let end_ms = state.clients.pause().end_ms(now_ms).unwrap_or(now_ms);
                End::Time(timer(Duration::from_millis(end_ms.saturating_sub(now_ms))))
            }
        };
        Wait { cause, end, patience: None }
    }

    /// Waits to the end, for a client that nothing else wakes: who lifts a pause wakes it.
    pub async fn over(mut self, state: &State, session: &mut Session) {
        poll_fn(|context| {
            session.client.set_waker(context.waker().clone());
            self.poll(state, session, false, context).map(drop)
        })
        .await;
    }

    /// Goes on waiting for a client that may have closed its half or the connection (`is_closed`).
    pub fn poll(
        &mut self,
        state: &State,
        session: &mut Session,
        is_closed: bool,
        context: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let is_lifted = || self.cause == Cause::Paused && state.clients.pause().end_ms(clock::now_ms()).is_none();
        let is_over = match &mut self.end {
            End::Load(loading) => loading.poll(session.cold(), context).is_ready(),
            End::Time(timer) => timer.as_mut().poll(context).is_ready() || is_lifted(),
            End::Wake(timer) => {
                if timer.as_mut().poll(context).is_ready() {
                    session.client.unblock(Wake::TimedOut);
                } else if is_closed {
                    session.client.unblock(Wake::Left);
                }
                let wake = session.client.take_wake();
                if let Some(blocked) = &mut session.blocked {
                    blocked.wake = wake;
                }
                wake.is_some()
            }
        };
        match self.cause {
            _ if is_over => Poll::Ready(Outcome::Over),
            _ if !is_closed => Poll::Pending,
            // As in Redis: what is not executed yet is not owed.
            Cause::Penalty(_) | Cause::Paused => Poll::Ready(Outcome::Left),
            Cause::Delay(_) | Cause::Cold => {
                let patience = self.patience.get_or_insert_with(|| timer(HALF_CLOSED));
                patience.as_mut().poll(context).map(|()| Outcome::Left)
            }
            Cause::Stalled | Cause::Blocked => Poll::Pending,
        }
    }

    /// Whether it holds back the replies that were made before it.
    pub fn holds_replies(&self) -> bool {
        !self.cause.runs_again()
    }

    /// Whether it is the clients that want it so, and not the server that has something to do.
    pub fn is_wanted(&self) -> bool {
        matches!(self.cause, Cause::Delay(_) | Cause::Penalty(_) | Cause::Blocked | Cause::Paused)
    }
}

fn timer(wait: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + wait.min(FOREVER)))
}

//! What keeps a client waiting, and for how long.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::clock;
use crate::command::dispatch::Flow;
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

/// What a client waits for.
enum Cause {
    /// Its command wants it; the reply, too, is held back until then.
    Delay(Pin<Box<Sleep>>),
    /// Its command waits for what others do; so does the reply.
    Block(Pin<Box<Sleep>>),
    /// The pause of all clients, until its end or until it is lifted.
    Pause(Pin<Box<Sleep>>),
    /// Keys of its command are being loaded.
    Load(Loading),
    /// The disk has to catch up.
    Stall(Pin<Box<Sleep>>),
}

/// A client's wait. Meanwhile nothing is read: what it sends stays in the kernel.
pub struct Wait {
    cause: Cause,
    /// Runs once the client has closed its half.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Begins what `flow` asks for.
    pub fn new(flow: Flow, state: &State, session: &mut Session) -> Wait {
        let cause = match (flow, state.keyspace.tier()) {
            (Flow::Cold, Some(tier)) => Cause::Load(state.keyspace.load(tier, &mut session.cold)),
            (Flow::Stalled | Flow::Cold, _) => Cause::Stall(timer(STALL_STEP)),
            (Flow::Delay(duration), _) => Cause::Delay(timer(duration.unwrap_or(FOREVER))),
            (Flow::Block(duration), _) => Cause::Block(timer(duration.unwrap_or(FOREVER))),
            (Flow::Continue | Flow::Close | Flow::Paused, _) => {
                let now_ms = clock::now_ms();
                let end_ms = state.clients.pause().end_ms(now_ms).unwrap_or(now_ms);
                Cause::Pause(timer(Duration::from_millis(end_ms.saturating_sub(now_ms))))
            }
        };
        Wait { cause, patience: None }
    }

    /// Goes on waiting for a client that may have closed its half or the connection (`is_closed`).
    pub fn poll(
        &mut self,
        state: &State,
        session: &mut Session,
        is_closed: bool,
        context: &mut Context<'_>,
    ) -> Poll<Outcome> {
        let polled = match &mut self.cause {
            Cause::Load(loading) => loading.poll(&mut session.cold, context),
            Cause::Pause(_) if state.clients.pause().end_ms(clock::now_ms()).is_none() => Poll::Ready(()),
            Cause::Delay(timer) | Cause::Block(timer) | Cause::Stall(timer) | Cause::Pause(timer) => {
                timer.as_mut().poll(context)
            }
        };
        match self.cause {
            _ if polled.is_ready() => Poll::Ready(Outcome::Over),
            _ if !is_closed => Poll::Pending,
            // As in Redis: what is not executed yet, or waits for others, is not owed.
            Cause::Block(_) | Cause::Pause(_) => Poll::Ready(Outcome::Left),
            Cause::Delay(_) | Cause::Load(_) => {
                let patience = self.patience.get_or_insert_with(|| timer(HALF_CLOSED));
                patience.as_mut().poll(context).map(|()| Outcome::Left)
            }
            Cause::Stall(_) => Poll::Pending,
        }
    }

    /// Whether it holds back the replies that were made before it.
    pub fn holds_replies(&self) -> bool {
        matches!(self.cause, Cause::Delay(_) | Cause::Block(_))
    }

    /// Whether it is the clients that want it so, and not the server that has something to do.
    pub fn is_wanted(&self) -> bool {
        matches!(self.cause, Cause::Delay(_) | Cause::Block(_) | Cause::Pause(_))
    }
}

fn timer(wait: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + wait.min(FOREVER)))
}

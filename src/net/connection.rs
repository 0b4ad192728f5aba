//! One connection, which its worker takes through three steps again and again: receive, execute, deliver. There is no other way
//! in or out: who was woken by something else than its stream goes through the same ones.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::balance;
use super::buffers::{KEPT_BYTES, READ_BYTES};
use super::conversation::{Conversation, Next, Protocol};
use super::outgoing::Outgoing;
use super::stream::Stream;
use super::sweep;
use super::uncommitted::Uncommitted;
use crate::base::clock;
use crate::base::gather::{Gather, Mark};
use crate::command::clients::{BufferSizes, Client, Ending};
use crate::command::executor::{Ahead, Batch};
use crate::command::flow::Cause;
use crate::command::registration::Registration;
use crate::command::session::Session;
use crate::command::state::State;
use crate::command::wait::{Outcome, Wait};
use crate::keyspace::KeyHash;

/// Read at once of a long argument, in bytes.
const LARGE_READ_BYTES: usize = 512 * 1024;
/// Sent in one step, in bytes; then the worker's other connections go on.
const SENT_A_STEP_BYTES: usize = 512 * 1024;
/// Batches executed in one step, or pieces of a large argument read; then the worker's other connections go on.
const BATCHES_A_STEP: usize = 16;
/// What may wait for a client that has not given the password, in bytes.
const UNAUTHENTICATED_OUTPUT_BYTES: usize = 16 * 1024;

/// Where a connection is served, and where it should be.
struct Assignment {
    /// Which of the accepted connections it is.
    ordinal: usize,
    worker: usize,
    /// How many workers there were to share the connections when that was looked at last.
    active_workers: usize,
}

/// What a connection needs of its worker once it has gone through the steps.
#[derive(Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing, until it is woken or its stream becomes ready.
    Idle,
    /// To go through the steps again: there is more to receive, to execute or to send.
    Busy,
    /// A commit of what it has executed, for which its replies wait.
    Uncommitted,
    /// To go on with the worker of this number.
    Moves(usize),
    /// To be dropped: it is over.
    Over,
}

/// What a connection does next.
enum Stage {
    /// Receives: what the input holds is no complete command.
    Receive,
    /// Executes: there may be complete commands, in the input or in what was just received.
    Execute,
    /// Waits, and executes then, unless the client has gone.
    Wait(Wait),
    /// Ends, once what there is to send is sent. It receives and executes nothing more.
    Close,
    /// Is over, whatever there is to send.
    Over,
}

/// A client's connection.
pub struct Connection {
    // The first field is dropped first.
    _registration: Registration,
    stream: Stream,
    assignment: Assignment,
    state: Arc<State>,
    session: Session,
    conversation: Conversation,
    /// Received, but not complete or not executed yet.
    input: Vec<u8>,
    output: Outgoing,
    /// What of the output has to wait for the journal.
    uncommitted: Uncommitted,
    stage: Stage,
}

impl Connection {
    /// Creates the `ordinal`-th connection, to be served by worker number `worker`.
    pub fn new(
        stream: Stream,
        state: Arc<State>,
        client: Arc<Client>,
        protocol: Protocol,
        ordinal: usize,
        worker: usize,
    ) -> Self {
        Connection {
            _registration: Registration { state: state.clone(), client: client.clone() },
            stream,
            assignment: Assignment { ordinal, worker, active_workers: 0 },
            state,
            session: Session::new(client),
            conversation: Conversation::new(protocol),
            input: Vec::new(),
            output: Outgoing::default(),
            uncommitted: Uncommitted::default(),
            stage: Stage::Receive,
        }
    }

    /// Assigns it to worker number `worker`.
    pub fn assign_worker(&mut self, worker: usize) {
        self.assignment.worker = worker;
    }

    /// Has `waker` woken whenever another thread or connection has changed something about its client.
    pub fn set_waker(&self, waker: &Waker) {
        self.session.client.set_waker(waker.clone());
    }

    /// The stream, which is to be told what its socket becomes ready for.
    #[inline]
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Takes the first step: sees whether what it waits for has come, and reads once what the client has sent, unless it waits.
    /// Returns how many bytes of `buffer` it filled: none if they belong behind what it has received before.
    pub fn receive(&mut self, buffer: &mut [u8], context: &mut Context<'_>) -> usize {
        if self.session.client.ending() != Ending::Not {
            self.heed_ending();
        }
        if matches!(self.stage, Stage::Wait(_)) {
            self.poll_wait(context);
        }
        if !matches!(self.stage, Stage::Receive) || self.uncommitted.is_any() {
            return 0;
        }
        if !self.input.is_empty() {
            self.receive_more();
            return 0;
        }
        let polled = self.stream.read(buffer);
        self.received(polled)
    }

    /// Whether [`Connection::execute`] has something to do.
    #[inline]
    pub fn is_to_execute(&self) -> bool {
        matches!(self.stage, Stage::Execute)
    }

    /// Looks at the command that was received, if it is one alone; [`Connection::execute`] has to follow.
    pub fn look_ahead(&mut self, received: &mut [u8]) -> Option<Ahead> {
        self.conversation.look_ahead(&self.state, &self.session, received)
    }

    /// Where the key of a command is that was looked ahead at: in which database, and there.
    pub fn key_hash(&self, ahead: &Ahead) -> Option<(usize, KeyHash)> {
        Some((self.session.client.database(), ahead.key_hash()?))
    }

    /// Takes the second step, if there is anything to execute: the complete commands of what was `received`, or of what it had
    /// before. The replies are appended to `output`, to be delivered next.
    pub fn execute(
        &mut self,
        batch: &mut Batch<'_>,
        first: Option<Ahead>,
        received: &mut [u8],
        output: &mut Gather,
        context: &mut Context<'_>,
    ) {
        // What came before these commands is sent before their replies.
        self.session.client.take_pushes(self.output.buffer(), usize::MAX);
        let mut kept = std::mem::take(&mut self.input);
        let is_kept = !kept.is_empty();
        let input = if is_kept { &mut kept[..] } else { received };
        self.stage = Stage::Receive;
        self.session.client.set_input(input.len(), input.len().max(READ_BYTES));
        let output_max_bytes = (output.len() + self.output_limit_bytes()).saturating_sub(self.output.unsent_bytes());
        self.uncommitted.begin(self.output.buffer().mark());
        let (mut consumed, mut first, mut batches) = (0, first, 1);
        loop {
            let input = &mut input[consumed..];
            let progress =
                self.conversation.execute(batch, first.take(), &mut self.session, input, output, output_max_bytes);
            consumed += progress.consumed;
            self.uncommitted.add(progress.commit, progress.replies);
            match progress.next {
                Next::Read => {}
                Next::Again if batches < BATCHES_A_STEP && self.session.client.ending() == Ending::Not => {
                    batches += 1;
                    *batch = Batch::new(batch.state());
                    continue;
                }
                Next::Again => self.stage = Stage::Execute,
                Next::Close => self.close(),
                Next::Wait(cause) => self.begin_wait(cause, context),
            }
            break;
        }
        if matches!(self.stage, Stage::Close) {
            return;
        }
        if !is_kept {
            self.input.extend_from_slice(&input[consumed..]);
        } else {
            kept.drain(..consumed);
            if !kept.is_empty() || kept.capacity() <= KEPT_BYTES {
                self.input = kept;
            }
        }
    }

    /// Takes the third step: sends the replies that lie in `replies` between two marks, behind what waits. Returns what it needs
    /// next.
    pub fn deliver(&mut self, replies: &mut Gather, from: Mark, to: Mark) -> Status {
        match replies.plain_between(from, to) {
            Some(bytes) => self.send(bytes),
            None => replies.move_between(from, to, self.output.buffer()),
        }
        // Until the journal is there nothing goes, and nothing is decided.
        if self.awaits_commit() {
            return Status::Uncommitted;
        }
        let has_more = !self.output.is_empty()
            || self.uncommitted.is_any()
            || self.session.client.has_pushes()
            || self.stream.has_unsent();
        let is_flushed = !has_more || self.flush();
        let large_bytes = if self.input.is_empty() { 0 } else { self.conversation.large_bytes() };
        self.session.client.set_buffer_sizes(BufferSizes {
            input: self.input.len() + large_bytes,
            input_capacity: self.input.capacity() + large_bytes,
            output: self.output.unsent_bytes(),
            output_capacity: self.output.capacity(),
        });
        if let Some(max_bytes) = self.state.max_client_bytes() {
            self.limit_memory(max_bytes);
        }
        match self.stage {
            Stage::Over => return Status::Over,
            _ if self.uncommitted.is_any() => return Status::Uncommitted,
            Stage::Close if self.output.is_empty() && !self.stream.has_unsent() => return self.end(),
            Stage::Execute => return Status::Busy,
            _ if !is_flushed => return Status::Busy,
            Stage::Receive => {
                let active_workers = self.state.active_workers.load(Ordering::Relaxed);
                if active_workers != self.assignment.active_workers
                    && let Some(worker) = self.other_worker(active_workers)
                {
                    return Status::Moves(worker);
                }
                if self.stream.is_readable() {
                    return Status::Busy;
                }
            }
            Stage::Wait(_) | Stage::Close => {}
        }
        if self.session.client.ending() == Ending::Suspected && self.is_overdue() {
            return self.end();
        }
        Status::Idle
    }

    /// Whether its replies wait for the journal, and somebody for its replies.
    #[inline]
    fn awaits_commit(&self) -> bool {
        self.uncommitted.is_awaited(self.state.keyspace.tier())
            && !matches!(self.stage, Stage::Over)
            && self.session.client.ending() != Ending::Killed
    }

    /// Brings into the journal what its replies tell of, and with it what anybody's do. Ready: it is there, as `appendfsync`
    /// wants it, or the client need not wait for it any more.
    pub fn poll_commit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.uncommitted.poll(self.state.keyspace.tier(), context);
        if self.session.client.ending() == Ending::Killed { Poll::Ready(()) } else { polled }
    }

    /// Does what others have asked for.
    #[cold]
    fn heed_ending(&mut self) {
        match self.session.client.ending() {
            Ending::Not => {}
            Ending::Suspected => self.stream.look_again(),
            Ending::Drained => self.close(),
            Ending::Killed => self.fail(&io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn begin_wait(&mut self, cause: Cause, context: &mut Context<'_>) {
        let wait = Wait::new(cause, &self.state, &mut self.session);
        self.session.client.set_blocked(wait.is_wanted());
        self.stage = Stage::Wait(wait);
        self.poll_wait(context);
    }

    /// Ends its wait, if it has one and that is over.
    fn poll_wait(&mut self, context: &mut Context<'_>) {
        let Stage::Wait(wait) = &mut self.stage else { return };
        let is_closed = self.stream.is_closed();
        let Poll::Ready(outcome) = wait.poll(&self.state, &mut self.session, is_closed, context) else { return };
        match outcome {
            Outcome::Over => self.stage = Stage::Execute,
            Outcome::Left => self.close(),
        }
        self.session.client.set_blocked(false);
        self.mark_active();
    }

    /// Takes note of a read. Returns how many bytes it has brought that are to be executed.
    #[inline]
    fn received(&mut self, polled: Poll<io::Result<usize>>) -> usize {
        match polled {
            Poll::Pending => 0,
            Poll::Ready(Ok(0)) => {
                self.close();
                0
            }
            Poll::Ready(Ok(bytes)) => {
                self.state.stats.add(|shard| &shard.network_input_bytes, bytes as u64);
                self.mark_active();
                self.stage = Stage::Execute;
                bytes
            }
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                0
            }
        }
    }

    /// Reads on in an incomplete command. The buffer grows with what has come, never with what was announced.
    fn receive_more(&mut self) {
        for _ in 0..BATCHES_A_STEP {
            let old_bytes = self.input.len();
            let limit_bytes = self.state.settings.client_query_buffer_limit.get() as usize;
            if old_bytes + self.conversation.memory_bytes() > limit_bytes {
                self.state.stats.shard().clients_cut_for_input.add(1);
                let client = self.session.client.id;
                tracing::warn!(client, bytes = old_bytes, "query buffer limit reached, client cut");
                return self.fail(&io::ErrorKind::QuotaExceeded.into());
            }
            let Some(incoming) = self.conversation.incoming(&self.state, &self.session, &mut self.input) else {
                return self.receive_behind();
            };
            let polled = incoming.read(|room| self.stream.read(room));
            // It may be the end of its command.
            let is_whole = incoming.is_whole();
            if self.received(polled) == 0 || is_whole {
                return;
            }
            self.stage = Stage::Receive;
        }
    }

    /// Reads once, behind the input.
    fn receive_behind(&mut self) {
        let old_bytes = self.input.len();
        let missing = self.conversation.wanted_bytes().saturating_sub(old_bytes).max(READ_BYTES);
        if self.input.capacity() - old_bytes < READ_BYTES {
            self.input.reserve_exact(missing.min(old_bytes.max(READ_BYTES)));
        }
        let room = (self.input.capacity() - old_bytes).max(READ_BYTES);
        self.input.resize(old_bytes + missing.min(LARGE_READ_BYTES).min(room), 0);
        let polled = self.stream.read(&mut self.input[old_bytes..]);
        let bytes = if let Poll::Ready(Ok(bytes)) = polled { bytes } else { 0 };
        self.input.truncate(old_bytes + bytes);
        self.received(polled);
    }

    /// Sends plain replies; what the stream does not take at once is kept.
    fn send(&mut self, mut bytes: &[u8]) {
        if self.output.unsent_bytes() + bytes.len() > self.output_limit_bytes() {
            return self.cut_for_output();
        }
        let waits = !self.output.is_empty() || self.withholds_output();
        let kept_from = bytes.len().saturating_sub(SENT_A_STEP_BYTES);
        while bytes.len() > kept_from && !waits {
            let Poll::Ready(written) = self.stream.write(bytes) else { break };
            let Some(count) = self.wrote(written) else { return };
            bytes = &bytes[count..];
        }
        self.output.buffer().bytes().extend_from_slice(bytes);
    }

    /// Sends what waits, a part of it if it is much. False: more of it may be sent at once.
    fn flush(&mut self) -> bool {
        let waiting_bytes = self.output.unsent_bytes();
        let is_too_much = waiting_bytes > self.output_limit_bytes()
            || waiting_bytes > UNAUTHENTICATED_OUTPUT_BYTES && self.state.requires_auth(&self.session.client);
        if is_too_much {
            self.cut_for_output();
        }
        if self.session.client.ending() == Ending::Killed {
            self.heed_ending();
            return true;
        }
        let tier = self.state.keyspace.tier();
        if !self.uncommitted.is_awaited(tier) {
            self.uncommitted.end(tier, &self.conversation, &self.session, self.output.buffer());
        }
        if self.withholds_output() {
            return true;
        }
        let mut left_bytes = SENT_A_STEP_BYTES;
        loop {
            if self.output.is_empty() {
                self.output.clear();
                // No more than is sent soon: what others are sent as well is there once, as long as it is not taken.
                self.session.client.take_pushes(self.output.buffer(), READ_BYTES);
            }
            if self.output.is_empty() {
                if let Poll::Ready(Err(error)) = self.stream.flush() {
                    self.fail(&error);
                }
                return true;
            }
            let polled = if left_bytes > 0 { self.output.write(&mut *self.stream, left_bytes) } else { Poll::Pending };
            let Poll::Ready(written) = polled else {
                self.output.forget_sent();
                return left_bytes > 0;
            };
            let Some(count) = self.wrote(written) else { return true };
            left_bytes -= count;
            self.mark_active();
        }
    }

    /// Takes note of a write. Returns how many bytes it has taken; `None`: the connection has broken.
    #[inline]
    fn wrote(&mut self, written: io::Result<usize>) -> Option<usize> {
        match written {
            Ok(bytes) if bytes > 0 => {
                self.state.stats.add(|shard| &shard.network_output_bytes, bytes as u64);
                return Some(bytes);
            }
            Ok(_) => self.fail(&io::ErrorKind::WriteZero.into()),
            Err(error) => self.fail(&error),
        }
        None
    }

    /// Whether what there is to send is withheld.
    fn withholds_output(&self) -> bool {
        self.uncommitted.is_any() || matches!(&self.stage, Stage::Wait(wait) if wait.holds_replies())
    }

    fn output_limit_bytes(&self) -> usize {
        match self.state.settings.client_output_buffer_limit.normal.get().hard_bytes {
            0 => usize::MAX / 2,
            bytes => bytes as usize,
        }
    }

    /// Ends the connection, without what it should have been sent: nobody reads it.
    #[cold]
    fn cut_for_output(&mut self) {
        self.state.stats.shard().clients_cut_for_output.add(1);
        tracing::warn!(client = self.session.client.id, "output buffer limit reached, client cut");
        self.state.clients.kill(&self.session.client);
        self.heed_ending();
    }

    /// Notes that its client is not idle at present.
    fn mark_active(&self) {
        self.session.client.active_ms.store(clock::recent_ms(), Ordering::Relaxed);
    }

    /// Cuts clients off, it may be this one, if all of them take more than `max_bytes`.
    #[cold]
    fn limit_memory(&self, max_bytes: u64) {
        let cut = self.state.clients.limit_memory(&self.session.client, max_bytes);
        self.state.note_evicted_clients(cut);
    }

    /// Whether the sweep was right to suspect it, now that its socket has been read and written as far as that goes: after
    /// the process has stood still, what a client did meanwhile is still in the kernel.
    fn is_overdue(&self) -> bool {
        let is_served = matches!(self.stage, Stage::Wait(_));
        let is_overdue = sweep::is_overdue(&self.state, &self.session.client, is_served);
        if !is_overdue {
            self.session.client.clear_suspicion();
        }
        is_overdue
    }

    /// The worker that should serve it, if that is another one. Not to be asked while it waits for something: that wakes
    /// this worker's task, and timers belong to this thread.
    #[cold]
    fn other_worker(&mut self, active_workers: usize) -> Option<usize> {
        self.assignment.active_workers = active_workers;
        let home = balance::home(self.assignment.ordinal, active_workers);
        (home != self.assignment.worker && !self.state.is_shutting_down()).then_some(home)
    }

    /// Receives and executes nothing more: once what waits is sent, it is over. The client may have closed its half only, and
    /// still wait for replies.
    fn close(&mut self) {
        self.stage = Stage::Close;
        self.input = Vec::new();
        self.conversation.forget();
        self.state.clients.end_monitoring(&self.session.client);
    }

    /// Is over, since it is broken or was killed.
    #[cold]
    fn fail(&mut self, error: &io::Error) {
        tracing::debug!(%error, client = self.session.client.id, "connection broke");
        self.stage = Stage::Over;
        self.output.clear();
    }

    /// Is over in good order. What has come by now is read away: closing a socket that holds unread bytes resets the
    /// connection, and the last replies may be lost with it.
    #[cold]
    fn end(&mut self) -> Status {
        let mut discarded = vec![0; READ_BYTES];
        // Nobody may have told of the last of it.
        self.stream.look_again();
        for _ in 0..BATCHES_A_STEP {
            if !matches!(self.stream.read(&mut discarded), Poll::Ready(Ok(1..))) {
                break;
            }
        }
        Status::Over
    }
}

//! One connection: reads, executes, writes; whatever it waits for, it waits for here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use super::balance;
use super::buffers::{Buffers, KEPT_BYTES, READ_BYTES};
use super::conversation::{Conversation, Next, Protocol};
use super::outgoing::Outgoing;
use super::sockets::Readiness;
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
/// Sent at once, in bytes; then the worker's other connections go on.
const SENT_AT_ONCE_BYTES: usize = 512 * 1024;
/// Batches executed before the worker's other connections have theirs.
const BATCHES_A_POLL: usize = 16;
/// What may wait for a client that has not given the password, in bytes.
const UNAUTHENTICATED_OUTPUT_BYTES: usize = 16 * 1024;

/// Where a connection is served, and where it should be.
struct Place {
    /// Which of the accepted connections it is.
    ordinal: usize,
    worker: usize,
    /// How many workers there were to share the connections when that was looked at last.
    active_workers: usize,
}

/// Where a connection that ends here is going on.
pub enum End {
    /// It is over.
    Over,
    /// The worker of this number is to go on with it.
    Moves(usize),
}

/// What a connection does next.
enum Stage {
    /// Receives: what the input holds is no complete command.
    Receive,
    /// Executes: the input may hold complete commands.
    Execute,
    /// Waits, and executes then, unless the client has gone.
    Wait(Wait),
    /// Ends, once what there is to send is sent. It receives and executes nothing more.
    Close,
}

pub struct Connection {
    // The first field is dropped first.
    _registration: Registration,
    stream: Stream,
    place: Place,
    state: Arc<State>,
    session: Session,
    conversation: Conversation,
    /// Received, but not complete or not executed yet.
    input: Vec<u8>,
    output: Outgoing,
    /// What of the output has to wait for the journal.
    uncommitted: Uncommitted,
    stage: Stage,
    /// Of the present poll.
    batches_left: usize,
}

impl Connection {
    /// The `ordinal`-th connection, to be served by worker number `worker`.
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
            place: Place { ordinal, worker, active_workers: 0 },
            state,
            session: Session::new(client),
            conversation: Conversation::new(protocol),
            input: Vec::new(),
            output: Outgoing::default(),
            uncommitted: Uncommitted::default(),
            stage: Stage::Receive,
            batches_left: 0,
        }
    }

    /// Assigns it to worker number `worker`.
    pub fn assign_worker(&mut self, worker: usize) {
        self.place.worker = worker;
    }

    /// Has `waker` woken whenever another thread or connection has changed something about its client.
    pub fn set_waker(&self, waker: &Waker) {
        self.session.client.set_waker(waker.clone());
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Notes what its socket has become ready for.
    #[inline]
    pub fn set_ready(&mut self, ready: Readiness) {
        self.stream.set_ready(ready);
    }

    /// Reads once what the client has sent, if it waits for nothing and nothing of it waits: then it is the beginning of
    /// a command. Returns how many bytes were read.
    pub fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let is_at_rest = self.input.is_empty()
            && self.output.is_empty()
            && !self.uncommitted.is_any()
            && matches!(self.stage, Stage::Receive)
            && self.session.client.ending() == Ending::Not;
        if !is_at_rest {
            return 0;
        }
        let count = match self.stream.read(buffer) {
            Poll::Pending => return 0,
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => {
                self.broke(&error);
                0
            }
        };
        match count {
            0 => self.close(),
            count => self.received(count),
        }
        count
    }

    /// Looks at the command that was received, if it is one alone; [`Connection::execute`] has to follow.
    pub fn look_ahead(&mut self, input: &mut [u8]) -> Option<Ahead> {
        self.conversation.look_ahead(&self.state, &self.session, input)
    }

    /// Where the key of a command is that was looked ahead at: in which database, and there.
    pub fn key_hash(&self, ahead: &Ahead) -> Option<(usize, KeyHash)> {
        Some((self.session.client.database(), ahead.key_hash()?))
    }

    /// Executes the complete commands of what was received; the replies are appended to `output`, to be sent next.
    pub fn execute(&mut self, batch: &mut Batch<'_>, first: Option<Ahead>, input: &mut [u8], output: &mut Gather) {
        self.batches_left = BATCHES_A_POLL;
        let consumed = self.execute_all(batch, first, input, output);
        self.input.extend_from_slice(&input[consumed..]);
    }

    /// Sends what [`Connection::execute`] has made: what lies in `replies` between two marks. A socket that is broken ends
    /// the connection when it goes on.
    pub fn deliver(&mut self, replies: &mut Gather, from: Mark, to: Mark) {
        if let Err(error) = self.send(replies, from, to) {
            self.broke(&error);
            self.state.clients.kill(&self.session.client);
        }
    }

    /// Whether its replies wait for the journal: so long, polling it leads to nothing.
    pub fn awaits_commit(&self) -> bool {
        self.uncommitted.is_awaited(self.state.keyspace.tier()) && self.session.client.ending() != Ending::Killed
    }

    /// Whether it has not gone on since its replies had to wait for the journal.
    pub fn is_uncommitted(&self) -> bool {
        self.uncommitted.is_any()
    }

    /// Brings into the journal what its replies tell of, and with it what anybody's do. Ready: it is there, as `appendfsync`
    /// wants it, or the client need not wait for it any more.
    pub fn poll_commit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.uncommitted.poll(self.state.keyspace.tier(), context);
        if self.session.client.ending() == Ending::Killed { Poll::Ready(()) } else { polled }
    }

    /// Goes as far as it can without waiting.
    pub fn poll(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Poll<End> {
        self.batches_left = BATCHES_A_POLL;
        let mut result = self.progress(context, buffers);
        let large_bytes = self.conversation.large_bytes();
        self.session.client.set_buffer_sizes(BufferSizes {
            input: self.input.len() + large_bytes,
            input_capacity: self.input.capacity() + large_bytes,
            output: self.output.unsent_bytes(),
            output_capacity: self.output.capacity(),
        });
        if let Some(max_bytes) = self.state.max_client_bytes() {
            self.limit_memory(max_bytes);
        }
        if result.is_pending() && self.session.client.ending() == Ending::Suspected && self.is_overdue() {
            result = Poll::Ready(Ok(End::Over));
        }
        result.map(|end| match end {
            Ok(End::Moves(worker)) => End::Moves(worker),
            Ok(End::Over) => {
                self.discard_input(buffers);
                End::Over
            }
            Err(error) => {
                self.broke(&error);
                End::Over
            }
        })
    }

    /// Cuts clients off, it may be this one, if all of them take more than `max_bytes`.
    #[cold]
    fn limit_memory(&self, max_bytes: u64) {
        let cut = self.state.clients.limit_memory(&self.session.client, max_bytes);
        self.state.note_evicted_clients(cut);
    }

    fn broke(&self, error: &io::Error) {
        tracing::debug!(%error, client = self.session.client.id, "connection broke");
    }

    /// Whether the sweep was right to suspect it, now that its socket has been read and written as far as that goes: after
    /// the process has stood still, what a client did meanwhile is still in the kernel.
    fn is_overdue(&self) -> bool {
        let is_served = matches!(self.stage, Stage::Wait(_) | Stage::Execute) || self.uncommitted.is_any();
        let is_overdue = sweep::is_overdue(&self.state, &self.session.client, is_served);
        if !is_overdue {
            self.session.client.clear_suspicion();
        }
        is_overdue
    }

    /// Reads and executes nothing more: once what waits is sent, it is over. The client may have closed its half only, and
    /// still wait for replies.
    fn close(&mut self) {
        self.stage = Stage::Close;
        self.state.clients.end_monitoring(&self.session.client);
    }

    /// The worker that should serve it, if that is another one. Not to be asked while it waits for something: that wakes
    /// this worker's task, and timers belong to this thread.
    fn other_worker(&mut self) -> Option<usize> {
        let active_workers = self.state.active_workers.load(Ordering::Relaxed);
        if active_workers == self.place.active_workers {
            return None;
        }
        self.place.active_workers = active_workers;
        let home = balance::home(self.place.ordinal, active_workers);
        (home != self.place.worker && !self.state.is_shutting_down()).then_some(home)
    }

    fn progress(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Poll<io::Result<End>> {
        loop {
            match self.session.client.ending() {
                Ending::Not => {}
                Ending::Suspected => self.stream.look_again(),
                Ending::Drained => self.stage = Stage::Close,
                Ending::Killed => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
            if self.awaits_commit() {
                return Poll::Pending;
            }
            let tier = self.state.keyspace.tier();
            self.uncommitted.end(tier, &self.conversation, &self.session, self.output.buffer());
            self.session.client.take_pushes(self.output.buffer().bytes());
            let flushed = self.flush(context)?;
            match &mut self.stage {
                Stage::Close => {
                    self.input = Vec::new();
                    self.conversation.forget();
                    return flushed.map(|()| Ok(End::Over));
                }
                Stage::Wait(wait) => {
                    match ready!(wait.poll(&self.state, &mut self.session, self.stream.is_closed(), context)) {
                        Outcome::Over => self.stage = Stage::Execute,
                        Outcome::Left => self.close(),
                    }
                    self.session.client.set_blocked(false);
                    self.mark_active();
                    continue;
                }
                Stage::Receive | Stage::Execute => {}
            }
            if self.batches_left == 0 {
                // After the others of its worker, those included whose sockets have become ready meanwhile.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Stage::Execute = self.stage {
                self.stage = Stage::Receive;
                let mut input = std::mem::take(&mut self.input);
                let consumed = self.answer(&mut input, buffers)?;
                input.drain(..consumed);
                self.keep(input);
                continue;
            }
            if let Some(worker) = self.other_worker() {
                return Poll::Ready(Ok(End::Moves(worker)));
            }
            if ready!(self.poll_read(buffers))? == 0 {
                self.close();
            }
        }
    }

    /// Reads once and executes what is complete. Returns how many bytes were read; 0: the client has closed.
    fn poll_read(&mut self, buffers: &mut Buffers) -> Poll<io::Result<usize>> {
        if !self.input.is_empty() {
            return self.poll_read_more(buffers);
        }
        let mut input = std::mem::take(&mut buffers.input);
        input.resize(READ_BYTES, 0);
        let result = self.poll_read_into(&mut input, buffers);
        buffers.input = input;
        result
    }

    fn poll_read_into(&mut self, input: &mut [u8], buffers: &mut Buffers) -> Poll<io::Result<usize>> {
        let count = ready!(self.stream.read(input))?;
        if count > 0 {
            self.received(count);
            let consumed = self.answer(&mut input[..count], buffers)?;
            self.input.extend_from_slice(&input[consumed..count]);
        }
        Poll::Ready(Ok(count))
    }

    /// Goes on with an incomplete command. The buffer grows with what has come, never with what was announced.
    fn poll_read_more(&mut self, buffers: &mut Buffers) -> Poll<io::Result<usize>> {
        let old_bytes = self.input.len();
        let limit_bytes = self.state.settings.client_query_buffer_limit.get() as usize;
        if old_bytes + self.conversation.memory_bytes() > limit_bytes {
            self.state.stats.shard().clients_cut_for_input.add(1);
            let client = self.session.client.id;
            tracing::warn!(client, bytes = old_bytes, "query buffer limit reached, client cut");
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        if let Some(incoming) = self.conversation.incoming(&self.state, &self.session, &mut self.input) {
            let count = ready!(incoming.read(|room| self.stream.read(room)))?;
            // It may be the end of its command.
            if incoming.is_whole() {
                self.stage = Stage::Execute;
            }
            self.batches_left = self.batches_left.saturating_sub(1);
            self.received(count);
            return Poll::Ready(Ok(count));
        }
        let missing = self.conversation.wanted_bytes().saturating_sub(old_bytes).max(READ_BYTES);
        if self.input.capacity() - old_bytes < READ_BYTES {
            self.input.reserve_exact(missing.min(old_bytes.max(READ_BYTES)));
        }
        let count = ready!(self.poll_append(missing.min(LARGE_READ_BYTES)))?;
        if count > 0 {
            let mut input = std::mem::take(&mut self.input);
            let consumed = self.answer(&mut input, buffers)?;
            input.drain(..consumed);
            self.keep(input);
        }
        Poll::Ready(Ok(count))
    }

    /// Reads once, at most `most_bytes`, behind the input. Returns how many bytes came; 0: the client has closed.
    fn poll_append(&mut self, most_bytes: usize) -> Poll<io::Result<usize>> {
        let old_bytes = self.input.len();
        let room = (self.input.capacity() - old_bytes).max(READ_BYTES);
        self.input.resize(old_bytes + most_bytes.min(room), 0);
        let polled = self.stream.read(&mut self.input[old_bytes..]);
        let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
        self.input.truncate(old_bytes + count);
        ready!(polled)?;
        if count > 0 {
            self.received(count);
        }
        Poll::Ready(Ok(count))
    }

    /// Keeps what is left of the input.
    fn keep(&mut self, mut input: Vec<u8>) {
        if input.is_empty() && input.capacity() > KEPT_BYTES {
            input = Vec::new();
        }
        self.input = input;
    }

    fn received(&self, bytes: usize) {
        self.state.stats.add(|shard| &shard.network_input_bytes, bytes as u64);
        self.mark_active();
    }

    /// Notes that its client is not idle at present.
    fn mark_active(&self) {
        self.session.client.active_ms.store(clock::recent_ms(), Ordering::Relaxed);
    }

    /// Executes the complete commands of `input`, sends what can be sent at once and keeps the rest. Returns how many
    /// bytes of the input are done with.
    fn answer(&mut self, input: &mut [u8], buffers: &mut Buffers) -> io::Result<usize> {
        let output = &mut buffers.output;
        output.clear();
        let state = self.state.clone();
        let consumed = self.execute_all(&mut Batch::new(&state), None, input, output);
        let end = output.mark();
        let result = self.send(output, Mark::default(), end);
        Buffers::bound(output);
        result.map(|()| consumed)
    }

    /// Executes the complete commands of `input` and appends the replies to `output`. Returns how many bytes of the input
    /// are done with.
    fn execute_all(
        &mut self,
        batch: &mut Batch<'_>,
        mut first: Option<Ahead>,
        input: &mut [u8],
        output: &mut Gather,
    ) -> usize {
        self.session.client.set_input(input.len(), input.len().max(READ_BYTES));
        let output_max_bytes = (output.len() + self.output_limit_bytes()).saturating_sub(self.output.unsent_bytes());
        self.uncommitted.begin(self.output.buffer().mark());
        let mut consumed = 0;
        loop {
            self.batches_left = self.batches_left.saturating_sub(1);
            let input = &mut input[consumed..];
            let progress =
                self.conversation.execute(batch, first.take(), &mut self.session, input, output, output_max_bytes);
            consumed += progress.consumed;
            self.uncommitted.add(progress.commit, progress.replies);
            match progress.next {
                Next::Read => {}
                Next::Again if self.batches_left > 0 && self.session.client.ending() == Ending::Not => {
                    *batch = Batch::new(batch.state());
                    continue;
                }
                Next::Again => self.stage = Stage::Execute,
                Next::Close => self.close(),
                Next::Wait(cause) => self.begin_wait(cause),
            }
            return consumed;
        }
    }

    fn output_limit_bytes(&self) -> usize {
        match self.state.settings.client_output_buffer_limit.normal.get().hard_bytes {
            0 => usize::MAX / 2,
            bytes => bytes as usize,
        }
    }

    /// Ends the connection, without what it should have been sent: nobody reads it.
    fn cut_for_output(&mut self) {
        self.state.stats.shard().clients_cut_for_output.add(1);
        tracing::warn!(client = self.session.client.id, "output buffer limit reached, client cut");
        self.output.clear();
        self.state.clients.kill(&self.session.client);
    }

    fn begin_wait(&mut self, cause: Cause) {
        let wait = Wait::new(cause, &self.state, &mut self.session);
        self.session.client.set_blocked(wait.is_wanted());
        self.stage = Stage::Wait(wait);
    }

    /// Whether what there is to send is withheld.
    fn withholds_output(&self) -> bool {
        let holds_replies = matches!(&self.stage, Stage::Wait(wait) if wait.holds_replies());
        self.uncommitted.is_any() || holds_replies
    }

    /// Sends the replies between two marks, behind what waits already; what the socket does not take at once is kept.
    fn send(&mut self, replies: &mut Gather, from: Mark, to: Mark) -> io::Result<()> {
        match replies.plain_between(from, to) {
            Some(bytes) => self.send_plain(bytes)?,
            None => {
                replies.move_between(from, to, self.output.buffer());
                if self.output.unsent_bytes() > self.output_limit_bytes() {
                    self.cut_for_output();
                }
            }
        }
        if self.output.unsent_bytes() > UNAUTHENTICATED_OUTPUT_BYTES && self.state.requires_auth(&self.session.client) {
            self.cut_for_output();
        }
        Ok(())
    }

    fn send_plain(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.output.unsent_bytes() + bytes.len() > self.output_limit_bytes() {
            self.cut_for_output();
            return Ok(());
        }
        let waits = self.withholds_output() || !self.output.is_empty();
        let kept_from = bytes.len().saturating_sub(SENT_AT_ONCE_BYTES);
        while bytes.len() > kept_from && !waits {
            match self.stream.write(bytes) {
                Poll::Ready(written) => bytes = &bytes[self.wrote(written?)?..],
                Poll::Pending => break,
            }
        }
        self.output.buffer().bytes().extend_from_slice(bytes);
        Ok(())
    }

    fn wrote(&self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.state.stats.add(|shard| &shard.network_output_bytes, bytes as u64);
        Ok(bytes)
    }

    /// Sends what waits, a part of it if it is much. Ready: nothing waits any more.
    fn flush(&mut self, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        if self.output.is_empty() {
            return Ok(Poll::Ready(()));
        }
        if self.withholds_output() {
            return Ok(Poll::Pending);
        }
        let mut left_bytes = SENT_AT_ONCE_BYTES;
        while !self.output.is_empty() {
            let polled = if left_bytes > 0 { self.output.write(&mut self.stream, left_bytes) } else { Poll::Pending };
            match polled {
                Poll::Ready(written) => left_bytes -= self.wrote(written?)?,
                Poll::Pending => {
                    if left_bytes == 0 {
                        // After the others of its worker.
                        context.waker().wake_by_ref();
                    }
                    self.output.forget_sent();
                    return Ok(Poll::Pending);
                }
            }
            self.mark_active();
        }
        self.output.clear();
        Ok(Poll::Ready(()))
    }

    /// Reads away what has come by now: closing a socket that holds unread bytes resets the connection, and the last
    /// replies may be lost with it.
    fn discard_input(&mut self, buffers: &mut Buffers) {
        buffers.input.resize(READ_BYTES, 0);
        // Nobody may have told of the last of it.
        self.stream.look_again();
        for _ in 0..BATCHES_A_POLL {
            if !matches!(self.stream.read(&mut buffers.input), Poll::Ready(Ok(1..))) {
                break;
            }
        }
    }
}

//! One connection: reads, has turns taken, writes; whatever it waits for, it waits for here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use super::balance;
use super::conversation::{Conversation, Next};
use super::listener::Kind;
use super::sockets::Readiness;
use super::stream::Stream;
use super::sweep;
use super::wait::{Outcome, Wait};
use crate::base::clock;
use crate::command::clients::{BufferSizes, Client, Ending};
use crate::command::dispatch::{Flow, Foreseen, Turn};
use crate::command::session::Session;
use crate::command::state::State;
use crate::keyspace::Spot;
use crate::store::journal::Ticket;

/// Read at once, in bytes.
pub const READ_BYTES: usize = 64 * 1024;
/// Read at once of a long argument, in bytes.
const LARGE_READ_BYTES: usize = 512 * 1024;
/// A worker's buffers that grew past this are given back.
const KEPT_BY_WORKER_BYTES: usize = 1024 * 1024;
/// A connection's buffers that grew past this are given back once they are empty.
const KEPT_BYTES: usize = 16 * 1024;
/// Turns taken before the worker's other connections have theirs.
const TURNS_A_POLL: usize = 16;
/// What may wait for a client that has not given the password, in bytes.
const STRANGER_OUTPUT_BYTES: usize = 16 * 1024;

/// A worker's buffers. Connections use them while they are being polled, so that an idle one holds no memory, and all
/// of them work in the same warm cache lines.
#[derive(Default)]
pub struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Buffers {
    /// Gives a buffer back whose content has been sent, and that has become very large.
    pub fn bound(buffer: &mut Vec<u8>) {
        if buffer.capacity() > KEPT_BY_WORKER_BYTES {
            *buffer = Vec::new();
        }
    }
}

/// Where a connection is served, and where it should be.
struct Place {
    /// Which of the accepted connections it is.
    ordinal: usize,
    worker: usize,
    /// How many workers there were to share the connections when that was looked at last.
    active_workers: usize,
}

/// Takes the client out of the registry, before its socket is closed.
struct Registration {
    state: Arc<State>,
    client: Arc<Client>,
}

/// Where a connection that ends here is going on.
pub enum End {
    /// It is over.
    Over,
    /// The worker of this number is to go on with it.
    Moves(usize),
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
    /// To be sent; the first `sent` bytes of it are.
    output: Vec<u8>,
    sent: usize,
    wait: Option<Wait>,
    /// What has to be in the journal before the output may be sent.
    ticket: Option<Ticket>,
    /// Close once the output is sent.
    closing: bool,
    /// The input may hold complete commands.
    pending: bool,
    /// Of the present poll.
    turns_left: usize,
}

impl Connection {
    /// The `ordinal`-th connection, to be served by worker number `worker`.
    pub fn new(
        stream: Stream,
        state: Arc<State>,
        client: Arc<Client>,
        kind: Kind,
        ordinal: usize,
        worker: usize,
    ) -> Self {
        Connection {
            _registration: Registration { state: state.clone(), client: client.clone() },
            stream,
            place: Place { ordinal, worker, active_workers: 0 },
            state,
            session: Session::new(client),
            conversation: Conversation::new(kind),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            wait: None,
            ticket: None,
            closing: false,
            pending: false,
            turns_left: 0,
        }
    }

    /// Has worker number `worker` go on with it.
    pub fn settle(&mut self, worker: usize) {
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
    pub fn became(&mut self, ready: Readiness) {
        self.stream.became(ready);
    }

    /// Reads once what the client has sent, if it waits for nothing and nothing of it waits: then it is the beginning of
    /// a command. Returns how many bytes were read.
    pub fn receive(&mut self, buffer: &mut [u8]) -> usize {
        let is_at_rest = self.input.is_empty()
            && self.output.is_empty()
            && self.ticket.is_none()
            && self.wait.is_none()
            && !self.closing
            && !self.pending
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
    pub fn foresee(&mut self, input: &mut [u8]) -> Option<Foreseen> {
        self.conversation.foresee(&self.state, &self.session, input)
    }

    /// Where a foreseen command's key is: in which database, and there.
    pub fn spot(&self, foreseen: &Foreseen) -> Option<(usize, Spot)> {
        Some((self.session.client.database(), foreseen.spot()?))
    }

    /// Executes the complete commands of what was received; the replies are appended to `output`, to be sent next.
    pub fn execute(&mut self, turn: &mut Turn<'_>, first: Option<Foreseen>, input: &mut [u8], output: &mut Vec<u8>) {
        self.turns_left = TURNS_A_POLL;
        let consumed = self.take_turns(turn, first, input, output);
        self.input.extend_from_slice(&input[consumed..]);
    }

    /// Sends what [`Connection::execute`] has made. A socket that is broken ends the connection when it goes on.
    pub fn deliver(&mut self, replies: &[u8]) {
        if let Err(error) = self.send(replies) {
            self.broke(&error);
            self.state.clients.kill(&self.session.client);
        }
    }

    /// Whether its replies wait for the journal: so long, polling it leads to nothing.
    pub fn awaits_commit(&self) -> bool {
        match (self.ticket, self.state.keyspace.tier()) {
            (Some(ticket), Some(tier)) => {
                !tier.is_acknowledged(ticket) && self.session.client.ending() != Ending::Killed
            }
            _ => false,
        }
    }

    /// Whether it has not gone on since its replies had to wait for the journal.
    pub fn is_uncommitted(&self) -> bool {
        self.ticket.is_some()
    }

    /// Brings into the journal what its replies tell of, and with it what anybody's do. Ready: it is there, as `appendfsync`
    /// wants it, or the client need not wait for it any more.
    pub fn poll_commit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (Some(ticket), Some(tier)) = (self.ticket, self.state.keyspace.tier()) else { return Poll::Ready(()) };
        if tier.poll_acknowledged(ticket, context).is_ready() {
            return Poll::Ready(());
        }
        if self.session.client.ending() == Ending::Killed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Goes as far as it can without waiting.
    pub fn poll(&mut self, context: &mut Context<'_>, buffers: &mut Buffers) -> Poll<End> {
        self.turns_left = TURNS_A_POLL;
        let mut result = self.progress(context, buffers);
        self.session.client.set_buffer_sizes(BufferSizes {
            input: self.input.len(),
            input_capacity: self.input.capacity(),
            output: self.unsent_bytes(),
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
        let is_served = self.wait.is_some() || self.ticket.is_some() || self.pending;
        let is_overdue = sweep::is_overdue(&self.state, &self.session.client, is_served);
        if !is_overdue {
            self.session.client.clear_suspicion();
        }
        is_overdue
    }

    /// Reads and executes nothing more: once what waits is sent, it is over. The client may have closed its half only, and
    /// still wait for replies.
    fn close(&mut self) {
        self.closing = true;
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
                Ending::Drained => self.closing = true,
                Ending::Killed => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
            if self.awaits_commit() {
                return Poll::Pending;
            }
            self.ticket = None;
            self.session.client.take_pushes(&mut self.output);
            let flushed = self.flush()?;
            if self.closing {
                self.input = Vec::new();
                return flushed.map(|()| Ok(End::Over));
            }
            if let Some(wait) = &mut self.wait {
                match ready!(wait.poll(&self.state, &mut self.session, self.stream.is_closed(), context)) {
                    Outcome::Over => self.pending = true,
                    Outcome::Left => self.close(),
                }
                self.wait = None;
                self.session.client.set_blocked(false);
                self.mark_active();
                continue;
            }
            if self.turns_left == 0 {
                // After the others of its worker, those included whose sockets have become ready meanwhile.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.pending {
                self.pending = false;
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
        let consumed = self.take_turns(&mut Turn::new(&state), None, input, output);
        let result = self.send(output);
        Buffers::bound(output);
        result.map(|()| consumed)
    }

    /// Executes the complete commands of `input` and appends the replies to `output`. Returns how many bytes of the input
    /// are done with.
    fn take_turns(
        &mut self,
        turn: &mut Turn<'_>,
        mut first: Option<Foreseen>,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> usize {
        self.session.client.set_input(input.len(), input.len().max(READ_BYTES));
        let output_max_bytes = (output.len() + self.output_limit_bytes()).saturating_sub(self.unsent_bytes());
        let mut consumed = 0;
        loop {
            self.turns_left = self.turns_left.saturating_sub(1);
            let input = &mut input[consumed..];
            let progress =
                self.conversation.turn(turn, first.take(), &mut self.session, input, output, output_max_bytes);
            consumed += progress.consumed;
            self.ticket = progress.ticket.or(self.ticket);
            match progress.next {
                Next::Read => {}
                Next::Again if self.turns_left > 0 && self.session.client.ending() == Ending::Not => {
                    *turn = Turn::new(turn.state());
                    continue;
                }
                Next::Again => self.pending = true,
                Next::Close => self.close(),
                Next::Suspend(flow) => self.suspend(flow),
            }
            return consumed;
        }
    }

    fn unsent_bytes(&self) -> usize {
        self.output.len() - self.sent
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
        self.sent = 0;
        self.state.clients.kill(&self.session.client);
    }

    fn suspend(&mut self, flow: Flow) {
        let wait = Wait::new(flow, &self.state, &mut self.session);
        self.session.client.set_blocked(wait.is_wanted());
        self.wait = Some(wait);
    }

    /// Whether what there is to send is held back.
    fn is_held(&self) -> bool {
        self.ticket.is_some() || self.wait.as_ref().is_some_and(Wait::holds_replies) && !self.closing
    }

    /// Sends replies, behind what waits already; what the socket does not take is kept.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.unsent_bytes() + bytes.len() > self.output_limit_bytes() {
            self.cut_for_output();
            return Ok(());
        }
        let waits = self.is_held() || !self.output.is_empty();
        while !bytes.is_empty() && !waits {
            match self.stream.write(bytes) {
                Poll::Ready(written) => bytes = &bytes[self.wrote(written?)?..],
                Poll::Pending => break,
            }
        }
        self.output.extend_from_slice(bytes);
        if self.unsent_bytes() > STRANGER_OUTPUT_BYTES && self.state.requires_auth(&self.session.client) {
            self.cut_for_output();
        }
        Ok(())
    }

    fn wrote(&self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.state.stats.add(|shard| &shard.network_output_bytes, bytes as u64);
        Ok(bytes)
    }

    /// Sends what waits. Ready: nothing waits any more.
    fn flush(&mut self) -> io::Result<Poll<()>> {
        if self.output.is_empty() {
            return Ok(Poll::Ready(()));
        }
        if self.is_held() {
            return Ok(Poll::Pending);
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Poll::Ready(written) => self.sent += self.wrote(written?)?,
                Poll::Pending => {
                    self.forget_sent();
                    return Ok(Poll::Pending);
                }
            }
            self.mark_active();
        }
        self.sent = 0;
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES {
            self.output = Vec::new();
        }
        Ok(Poll::Ready(()))
    }

    /// A client that reads slowly and is sent more and more holds memory only for what it has not got yet. Moving at
    /// most half of the buffer makes the cost a constant for each byte sent.
    fn forget_sent(&mut self) {
        if self.sent > READ_BYTES && self.sent >= self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Reads away what has come by now: closing a socket that holds unread bytes resets the connection, and the last
    /// replies may be lost with it.
    fn discard_input(&mut self, buffers: &mut Buffers) {
        buffers.input.resize(READ_BYTES, 0);
        // Nobody may have told of the last of it.
        self.stream.look_again();
        for _ in 0..TURNS_A_POLL {
            if !matches!(self.stream.read(&mut buffers.input), Poll::Ready(Ok(1..))) {
                break;
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.state.clients.disconnect(&self.client);
    }
}

//! One connection: reads, has turns taken, writes; whatever it waits for, it waits for here.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::conversation::{Conversation, Next};
use super::listener::Kind;
use crate::base::clock;
use crate::command::clients::Client;
use crate::command::dispatch::Flow;
use crate::command::session::Session;
use crate::command::state::State;
use crate::protocol::{book, resp};
use crate::reply::{Error, Sink};

/// Read at once, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// Buffers of a worker and of a connection that grew past this are given back once they are empty.
const KEPT_BYTES: usize = 1024 * 1024;
/// Nobody waits longer than this; it stands for "never".
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A worker's buffers. Connections use them while they are being polled, so that an idle one holds no memory, and all
/// of them work in the same warm cache lines.
struct Scratch {
    input: Vec<u8>,
    output: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { input: Vec::new(), output: Vec::new() }) };
}

pub struct Connection<S> {
    stream: S,
    state: Arc<State>,
    session: Session,
    conversation: Conversation,
    /// Received, but not complete yet.
    input: Vec<u8>,
    /// To be sent; the first `sent` bytes of it are.
    output: Vec<u8>,
    sent: usize,
    /// Set while a command keeps this client waiting.
    suspended: Option<Pin<Box<Sleep>>>,
    /// Close once the output is sent.
    closing: bool,
    /// The input may hold complete commands.
    pending: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(stream: S, state: Arc<State>, client: Arc<Client>, kind: Kind) -> Self {
        Connection {
            stream,
            state,
            session: Session::new(client),
            conversation: Conversation::new(kind),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            suspended: None,
            closing: false,
            pending: false,
        }
    }

    /// Serves the client until it goes or is sent away.
    pub async fn serve(mut self) {
        let id = self.session.client.id;
        if let Err(error) = poll_fn(|context| self.poll(context)).await {
            tracing::debug!(%error, client = id, "connection broke");
        }
    }

    /// Goes as far as it can without waiting. Ready: the connection is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.client.register(context.waker());
        loop {
            if self.session.client.is_closing() {
                self.closing = true;
            }
            let flushed = self.poll_flush(context)?;
            if self.closing {
                return flushed.map(Ok);
            }
            if let Some(timer) = &mut self.suspended {
                ready!(timer.as_mut().poll(context));
                self.suspended = None;
                self.pending = true;
            }
            if self.pending {
                self.pending = false;
                let mut input = std::mem::take(&mut self.input);
                let consumed = self.take_turns(&mut input, context)?;
                input.drain(..consumed);
                self.input = input;
                continue;
            }
            if ready!(self.poll_read(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads once and executes what is complete. Returns how many bytes were read; 0: the client has closed.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.input.is_empty() {
            return self.poll_read_more(context);
        }
        // Taken out, not borrowed: polling the stream or a handler may not meet a borrowed cell.
        let mut input = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.input));
        input.resize(READ_BYTES, 0);
        let result = self.poll_read_into(context, &mut input);
        SCRATCH.with_borrow_mut(|scratch| scratch.input = input);
        result
    }

    fn poll_read_into(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        let count = read.filled().len();
        if count > 0 {
            self.received(count);
            let consumed = self.take_turns(&mut buffer[..count], context)?;
            self.input.extend_from_slice(&buffer[consumed..count]);
        }
        Poll::Ready(Ok(count))
    }

    /// Appends to an incomplete command. The buffer grows with what has come, never with what was announced.
    fn poll_read_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let old_bytes = self.input.len();
        let limit_bytes = self.state.settings.client_query_buffer_limit.get() as usize;
        if old_bytes + self.conversation.memory_bytes() > limit_bytes {
            self.state.stats.shard().clients_cut_for_input.add(1);
            tracing::warn!(
                client = self.session.client.id,
                bytes = old_bytes,
                "query buffer limit reached, client cut"
            );
            return Poll::Ready(Ok(0));
        }
        let missing = self.conversation.wanted_bytes().saturating_sub(old_bytes);
        self.input.resize(old_bytes + missing.clamp(READ_BYTES, old_bytes.max(READ_BYTES)), 0);
        let mut read = ReadBuf::new(&mut self.input[old_bytes..]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut read);
        let count = read.filled().len();
        self.input.truncate(old_bytes + count);
        ready!(polled)?;
        if count > 0 {
            self.received(count);
            let mut input = std::mem::take(&mut self.input);
            let consumed = self.take_turns(&mut input, context)?;
            input.drain(..consumed);
            if input.is_empty() && input.capacity() > KEPT_BYTES {
                input = Vec::new();
            }
            self.input = input;
        }
        Poll::Ready(Ok(count))
    }

    fn received(&self, bytes: usize) {
        self.state.stats.shard().network_input_bytes.add(bytes as u64);
        self.session.client.active_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// Executes all complete commands of `input`, sends what can be sent at once and keeps the rest. Returns how many
    /// bytes of the input are done with.
    fn take_turns(&mut self, input: &mut [u8], context: &mut Context<'_>) -> io::Result<usize> {
        let mut output = SCRATCH.with_borrow_mut(|scratch| std::mem::take(&mut scratch.output));
        output.clear();
        let unsent_bytes = self.output.len() - self.sent;
        let limit_bytes = self.state.settings.client_output_buffer_limit.normal.get().hard_bytes;
        let limit_bytes = if limit_bytes == 0 { usize::MAX } else { limit_bytes as usize };
        let mut consumed = 0;
        loop {
            let progress = self.conversation.turn(
                &self.state,
                &mut self.session,
                &mut input[consumed..],
                &mut output,
                limit_bytes.saturating_sub(unsent_bytes),
            );
            consumed += progress.consumed;
            match progress.next {
                Next::Read => break,
                Next::Again => continue,
                Next::Close => self.closing = true,
                Next::Suspend(flow) => self.suspend(flow),
            }
            break;
        }
        if unsent_bytes + output.len() > limit_bytes {
            self.state.stats.shard().clients_cut_for_output.add(1);
            tracing::warn!(client = self.session.client.id, "output buffer limit reached, client cut");
            self.output.clear();
            self.sent = 0;
            output.clear();
        }
        let result = self.send(&output, context);
        if output.capacity() > KEPT_BYTES {
            output = Vec::new();
        }
        SCRATCH.with_borrow_mut(|scratch| scratch.output = output);
        result.map(|()| consumed)
    }

    fn suspend(&mut self, flow: Flow) {
        let wait = match flow {
            Flow::Delay(duration) => duration.unwrap_or(FOREVER),
            Flow::Continue | Flow::Close | Flow::Paused => Duration::ZERO,
        };
        self.suspended = Some(Box::pin(sleep_until(Instant::now() + wait.min(FOREVER))));
    }

    /// Writes `bytes` behind what waits already; what the socket does not take is kept.
    fn send(&mut self, mut bytes: &[u8], context: &mut Context<'_>) -> io::Result<()> {
        let waits = self.suspended.is_some() || !self.output.is_empty();
        while !bytes.is_empty() && !waits {
            match Pin::new(&mut self.stream).poll_write(context, bytes) {
                Poll::Ready(written) => bytes = &bytes[self.wrote(written?)?..],
                Poll::Pending => break,
            }
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn wrote(&self, bytes: usize) -> io::Result<usize> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.state.stats.shard().network_output_bytes.add(bytes as u64);
        Ok(bytes)
    }

    /// Sends what waits. Ready: nothing waits any more.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> io::Result<Poll<()>> {
        if self.suspended.is_some() && !self.closing {
            return Ok(Poll::Pending);
        }
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(context, &self.output[self.sent..]) {
                Poll::Ready(written) => self.sent += self.wrote(written?)?,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.sent = 0;
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES {
            self.output = Vec::new();
        }
        Ok(Poll::Ready(()))
    }
}

/// However the connection ends, a panic included, its client is gone.
impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.state.clients.disconnect(self.session.client.id);
    }
}

/// Has the kernel probe an idle peer, as Redis does: first after `keepalive_s`, then each third of it, three times.
pub fn keep_alive(stream: &std::net::TcpStream, keepalive_s: u64) -> io::Result<()> {
    let interval = Duration::from_secs((keepalive_s / 3).max(1));
    let probes = socket2::TcpKeepalive::new().with_time(Duration::from_secs(keepalive_s)).with_interval(interval);
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes.with_retries(3))
}

/// Tells a client why it may not come in, as far as its socket takes it at once.
pub fn refuse(mut stream: std::net::TcpStream, kind: Kind, error: &Error) -> io::Result<()> {
    let mut bytes = Vec::new();
    match kind {
        Kind::Resp => resp::ReplyWriter::new(&mut bytes, resp::Version::Resp2).error(error),
        Kind::Book => book::ReplyWriter::new(&mut bytes).error(error),
    }
    io::Write::write_all(&mut stream, &bytes)
}

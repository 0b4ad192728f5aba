//! A client's socket, which tells what goes through it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use super::exchange::Exchange;
use crate::command::clients::SocketPermit;
use crate::command::registration::Registration;

/// A client's socket, its place among the open ones, and its place in the registry.
pub struct Socket {
    // Dropped in this order: the client leaves the registry, the socket is closed, its permit is free.
    _registration: Registration,
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    _permit: SocketPermit,
    exchange: Arc<Exchange>,
}

impl Socket {
    /// `write_patience`: how long the client may take no byte of what it is sent.
    pub fn new(
        registration: Registration,
        stream: TcpStream,
        permit: SocketPermit,
        exchange: Arc<Exchange>,
        write_patience: Duration,
    ) -> Socket {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(write_patience));
        Socket { _registration: registration, stream: Box::pin(stream), _permit: permit, exchange }
    }

    fn note_sent(&self, sent: io::Result<usize>) -> Poll<io::Result<usize>> {
        if let Ok(bytes) = sent {
            self.exchange.sent(bytes);
        }
        Poll::Ready(sent)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let old_bytes = buffer.filled().len();
        ready!(self.stream.as_mut().poll_read(context, buffer))?;
        if buffer.filled().len() > old_bytes {
            self.exchange.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = ready!(self.stream.as_mut().poll_write(context, bytes));
        self.note_sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.stream.as_mut().poll_write_vectored(context, slices));
        self.note_sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

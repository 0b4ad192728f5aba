//! What a connection asks of whatever carries its bytes.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::task::Poll;

/// What a socket is ready for. An error of its stream is found by reading and by writing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    /// It has bytes, or its end.
    pub read: bool,
    /// It takes bytes.
    pub write: bool,
    /// Whether the other side sends nothing more: it has closed the connection or its half of it, or has reset it. That may
    /// be told together with the last bytes, and then it is not told again.
    pub closed: bool,
}

/// What carries a connection's bytes: a socket, or a layer over one, whose readiness is another than the socket's. It may hold
/// bytes that can be read although the socket has none, need a socket that takes bytes in order to read, and keep bytes that it
/// was given to write. Nothing here blocks, and nothing is awaited: who goes on once the socket has become ready asks again.
pub trait Transport: Send {
    /// The socket, for the selector.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Notes what the socket has become ready for.
    fn set_ready(&mut self, ready: Readiness);

    /// Has the next read and write ask the kernel, whatever it was told of.
    fn look_again(&mut self);

    /// Whether the other side is known to send nothing more; what it sent before may be unread.
    fn is_closed(&self) -> bool;

    /// Whether a read may bring something, or go on with something, without further news of the socket.
    fn is_readable(&self) -> bool;

    /// Reads what has come in, at most as much as `buffer` takes. Pending: nothing has.
    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes as much of `bytes` as it has room for. Pending: that is nothing.
    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Takes bytes of several slices, one behind the other.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Whether bytes that it has taken are not in the socket.
    fn has_unsent(&self) -> bool;

    /// Brings them there. Pending: not all of them are.
    fn flush(&mut self) -> Poll<io::Result<()>>;
}

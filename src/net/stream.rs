//! What a connection needs of its socket.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Sized + 'static {
    /// The same socket without a runtime; it does not block.
    type Std: io::Write;

    fn into_std(self) -> io::Result<Self::Std>;

    fn from_std(socket: Self::Std) -> io::Result<Self>;

    /// Has the runtime of this thread, and no other any more, wake whoever waits for it. What has come in already is
    /// told to it as well.
    fn register_here(self) -> io::Result<Self> {
        Self::from_std(self.into_std()?)
    }
}

impl Stream for TcpStream {
    type Std = std::net::TcpStream;

    fn into_std(self) -> io::Result<Self::Std> {
        self.into_std()
    }

    fn from_std(socket: Self::Std) -> io::Result<Self> {
        TcpStream::from_std(socket)
    }
}

impl Stream for UnixStream {
    type Std = std::os::unix::net::UnixStream;

    fn into_std(self) -> io::Result<Self::Std> {
        self.into_std()
    }

    fn from_std(socket: Self::Std) -> io::Result<Self> {
        UnixStream::from_std(socket)
    }
}

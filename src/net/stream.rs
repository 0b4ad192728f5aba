//! What a connection needs of its socket.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Sized + 'static {
    /// Has the runtime of this thread, and no other any more, wake whoever waits for it. What has come in already is
    /// told to it as well.
    fn register_here(self) -> io::Result<Self>;
}

impl Stream for TcpStream {
    fn register_here(self) -> io::Result<Self> {
        TcpStream::from_std(self.into_std()?)
    }
}

impl Stream for UnixStream {
    fn register_here(self) -> io::Result<Self> {
        UnixStream::from_std(self.into_std()?)
    }
}

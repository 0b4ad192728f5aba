//! Connections that are ready for requests.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::protocol::Protocol;
use super::reply::{Malformed, Reply};
use super::resp;

/// The addresses of a host, which may be one itself.
///
/// # Errors
/// Those of the resolver, and where it knows none.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if found.is_empty() { Err(io::Error::new(ErrorKind::NotFound, "the name has no address")) } else { Ok(found) }
}

/// Opens connections and blocks meanwhile.
#[derive(Clone, Debug)]
pub struct Dialer {
    /// The protocol, which decides how the password is shown.
    pub protocol: Protocol,
    /// Sent as AUTH in RESP.
    pub password: Option<String>,
    /// For each step: connecting, and each read and write.
    pub timeout: Duration,
}

impl Dialer {
    /// A connection that may be used; in RESP the password has been accepted.
    ///
    /// # Errors
    /// Those of the socket; `PermissionDenied` with the server's words when it refuses the password.
    pub fn dial(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut stream = self.connect(addresses)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        if let (Protocol::Resp, Some(password)) = (self.protocol, &self.password) {
            let mut request = Vec::new();
            resp::auth(&mut request, password);
            stream.write_all(&request)?;
            exchange(&mut stream, |input| {
                Ok(resp::reply(input)?.map(|(reply, _)| match reply {
                    Reply::Failed(text) => Err(String::from_utf8_lossy(text).into_owned()),
                    _ => Ok(()),
                }))
            })?
            .map_err(|text| io::Error::new(ErrorKind::PermissionDenied, text))?;
        }
        Ok(stream)
    }

    fn connect(&self, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let mut failure = ErrorKind::NotFound.into();
        for address in addresses {
            match TcpStream::connect_timeout(address, self.timeout) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// Reads until `recognise` finds its reply.
///
/// # Errors
/// Those of the socket; `UnexpectedEof` when it closes, `InvalidData` when `recognise` refuses what came.
pub fn exchange<T>(
    stream: &mut TcpStream,
    mut recognise: impl FnMut(&[u8]) -> Result<Option<T>, Malformed>,
) -> io::Result<T> {
    let (mut input, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        if !input.is_empty()
            && let Some(found) = recognise(&input).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?
        {
            return Ok(found);
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
            Ok(count) => input.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

//! Listening sockets: bound before the server calls itself ready, served by the workers.

use std::fmt;
use std::fs::{Metadata, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::conversation::Protocol;
use crate::command::clients::Peer;

/// What Linux takes for the time without traffic before a probe, in seconds.
const KEEPALIVE_MAX_S: u64 = 32_767;

/// A bound socket, and the protocol that is spoken behind it: any transport goes with any protocol. A Unix socket's file goes
/// when this is dropped.
pub struct BoundListener {
    transport: Transport,
    protocol: Protocol,
}

enum Transport {
    Tcp(StdTcpListener),
    Unix(std::os::unix::net::UnixListener, SocketFile),
}

impl BoundListener {
    /// Binds every address of `hosts`. As in Redis, a host with a leading `-` may be unavailable, and `*` and `::*` mean
    /// all addresses of IPv4 and IPv6. Port 0 lets the system choose, once for all hosts.
    pub fn bind_tcp(hosts: &[String], port: u16, backlog: i32, protocol: Protocol) -> io::Result<Vec<BoundListener>> {
        let listeners = bind_hosts(hosts, port, backlog)?;
        let bound = |listener| BoundListener { transport: Transport::Tcp(listener), protocol };
        Ok(listeners.into_iter().map(bound).collect())
    }

    /// Binds a Unix socket, with the file mode `permissions` (0: as the process's mask gives it). A socket that nobody
    /// serves any more is replaced; any other file is not.
    pub fn bind_unix(path: &Path, permissions: u32, backlog: i32, protocol: Protocol) -> io::Result<BoundListener> {
        let bind = || {
            let (socket, file) = claim(path, permissions)?;
            socket.listen(backlog)?;
            socket.set_nonblocking(true)?;
            Ok(BoundListener { transport: Transport::Unix(OwnedFd::from(socket).into(), file), protocol })
        };
        bind().map_err(|error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()))
        })
    }

    /// The address, for TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.transport {
            Transport::Tcp(listener) => listener.local_addr().ok(),
            Transport::Unix(..) => None,
        }
    }

    /// The protocol that is spoken behind it.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The listener within the runtime that calls this.
    pub(super) fn into_async(self) -> io::Result<AsyncListener> {
        let transport = match self.transport {
            Transport::Tcp(listener) => AsyncTransport::Tcp(TcpListener::from_std(listener)?),
            Transport::Unix(listener, file) => AsyncTransport::Unix(UnixListener::from_std(listener)?, file),
        };
        Ok(AsyncListener { transport, protocol: self.protocol })
    }
}

impl fmt::Display for BoundListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(formatter, "{address}"),
                Err(error) => write!(formatter, "({error})"),
            },
            Transport::Unix(_, file) => write!(formatter, "{}", file.path.display()),
        }
    }
}

/// A [`BoundListener`] that accepts.
pub(super) struct AsyncListener {
    transport: AsyncTransport,
    protocol: Protocol,
}

enum AsyncTransport {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl AsyncListener {
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Waits for a client.
    ///
    /// # Errors
    /// When the system gives no socket, for want of file descriptors mostly.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.transport {
            AsyncTransport::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream.into_std()?, address))
            }
            AsyncTransport::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream.into_std()?, file.path.display().to_string()))
            }
        }
    }
}

/// A client's socket, as it was accepted.
pub(super) enum Accepted {
    /// With the client's address.
    Tcp(std::net::TcpStream, SocketAddr),
    /// With the path that it connected to.
    Unix(UnixStream, String),
}

impl Accepted {
    /// Sets the socket's options, and tells who is at its other end.
    ///
    /// # Errors
    /// When the socket is broken already.
    pub fn set_up(self, keepalive_s: u64) -> io::Result<(OwnedFd, Peer)> {
        match self {
            Accepted::Tcp(stream, address) => {
                set_options(&stream, keepalive_s);
                let peer = Peer::of_tcp(&stream, address, stream.local_addr()?);
                Ok((stream.into(), peer))
            }
            Accepted::Unix(stream, path) => {
                let peer = Peer::of_unix(&stream, &path);
                Ok((stream.into(), peer))
            }
        }
    }
}

/// Has the kernel send short replies at once and probe an idle peer, as Redis does: first after `keepalive_s` (0: never),
/// then each third of it, three times. What it refuses costs no connection.
fn set_options(stream: &std::net::TcpStream, keepalive_s: u64) {
    let mut result = stream.set_nodelay(true);
    if keepalive_s > 0 {
        let idle_s = keepalive_s.min(KEEPALIVE_MAX_S);
        let interval = Duration::from_secs((idle_s / 3).max(1));
        let probes = socket2::TcpKeepalive::new().with_time(Duration::from_secs(idle_s)).with_interval(interval);
        result = result.and(socket2::SockRef::from(stream).set_tcp_keepalive(&probes.with_retries(3)));
    }
    if let Err(error) = result {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| tracing::warn!(%error, "the system refuses socket options: connections go on without them"));
    }
}

/// The file of a Unix socket. Removes it when the listener is done with it, unless another has come in its place.
pub struct SocketFile {
    path: PathBuf,
    /// Its device and number there.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if identity(&metadata) != self.identity => return,
            Ok(_) => std::fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(%error, path = %self.path.display(), "socket file not removed");
        }
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Binds a Unix socket and sets the mode of its file. Nobody can connect to it before it listens.
fn claim(path: &Path, permissions: u32) -> io::Result<(Socket, SocketFile)> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        Ok(_) => {
            let connected = UnixStream::connect(path);
            if connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                std::fs::remove_file(path)?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&std::fs::symlink_metadata(path)?) };
    if permissions != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(permissions))?;
    }
    Ok((socket, file))
}

/// Binds every address of `hosts` as [`BoundListener::bind_tcp`] does, for whoever accepts by itself.
pub fn bind_hosts(hosts: &[String], port: u16, backlog: i32) -> io::Result<Vec<StdTcpListener>> {
    let mut listeners: Vec<StdTcpListener> = Vec::new();
    let mut chosen_port = port;
    for host in hosts {
        let (host, optional) = host.strip_prefix('-').map_or((host.as_str(), false), |host| (host, true));
        let host = match host {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        };
        match bind_host(host, chosen_port, backlog) {
            Ok(listener) => {
                chosen_port = listener.local_addr()?.port();
                listeners.push(listener);
            }
            // A port of the system's choice on one address may be taken on another: of those, the optional are left out.
            Err(error) if optional && (port == 0 || is_unavailable(&error)) => {
                tracing::debug!(%error, host, "optional address left out");
            }
            Err(error) => {
                let text = format!("cannot listen on {host}:{chosen_port}: {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    if listeners.is_empty() && !hosts.is_empty() {
        let text = format!("cannot listen on port {port}: none of the addresses exists here");
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
    }
    Ok(listeners)
}

/// Whether the machine lacks the address or its family.
fn is_unavailable(error: &io::Error) -> bool {
    let missing = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT];
    Errno::from_io_error(error).is_some_and(|code| missing.contains(&code))
}

fn bind_host(host: &str, port: u16, backlog: i32) -> io::Result<StdTcpListener> {
    let address = (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_connect_to_a_unix_socket_before_its_mode_is_set() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("socket");
        let (socket, file) = claim(&path, 0o640).expect("a socket");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
        let refusal = UnixStream::connect(&path).expect_err("nobody listens");
        assert_eq!(refusal.kind(), io::ErrorKind::ConnectionRefused);
        socket.listen(1).expect("a listener");
        UnixStream::connect(&path).expect("a connection");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_socket_is_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("socket");
        let first = BoundListener::bind_unix(&path, 0, 1, Protocol::Resp).expect("a socket");
        std::fs::remove_file(&path).expect("a file");
        let second = BoundListener::bind_unix(&path, 0, 1, Protocol::Resp).expect("a socket");
        drop(first);
        UnixStream::connect(&path).expect("the second is still there");
        drop(second);
        assert!(!path.exists());
    }
}

//! Listening sockets: bound before the server calls itself ready, served by the workers.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Which protocol is spoken behind a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Resp,
    /// The plain TCP cache protocol, see [`crate::protocol::book`].
    Book,
}

/// A bound socket. A Unix socket's file goes when this is dropped.
pub enum BoundListener {
    Tcp(StdTcpListener, Kind),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl BoundListener {
    /// Binds every address of `hosts`. As in Redis, a host with a leading `-` may be unavailable, and `*` and `::*` mean
    /// all addresses of IPv4 and IPv6. Port 0 lets the system choose, once for all hosts.
    pub fn bind_tcp(hosts: &[String], port: u16, backlog: i32, kind: Kind) -> io::Result<Vec<BoundListener>> {
        let listeners = bind_hosts(hosts, port, backlog)?;
        Ok(listeners.into_iter().map(|listener| BoundListener::Tcp(listener, kind)).collect())
    }

    /// Binds a Unix socket. A socket file that nobody serves any more is replaced.
    pub fn bind_unix(path: &Path, permissions: Option<u32>) -> io::Result<BoundListener> {
        let describe =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()));
        if std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path).map_err(describe)?;
        }
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(describe)?;
        if let Some(mode) = permissions.filter(|mode| *mode != 0) {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(describe)?;
        }
        listener.set_nonblocking(true)?;
        Ok(BoundListener::Unix(listener, path.to_owned()))
    }

    /// The address, for TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            BoundListener::Tcp(listener, _) => listener.local_addr().ok(),
            BoundListener::Unix(..) => None,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            BoundListener::Tcp(_, kind) => *kind,
            BoundListener::Unix(..) => Kind::Resp,
        }
    }

    /// The listener within the runtime that calls this.
    pub(super) fn into_async(self) -> io::Result<AsyncListener> {
        Ok(match self {
            BoundListener::Tcp(listener, _) => AsyncListener::Tcp(TcpListener::from_std(listener)?),
            BoundListener::Unix(listener, path) => {
                AsyncListener::Unix(UnixListener::from_std(listener)?, SocketFile(path))
            }
        })
    }
}

impl fmt::Display for BoundListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoundListener::Tcp(listener, _) => match listener.local_addr() {
                Ok(address) => write!(formatter, "{address}"),
                Err(error) => write!(formatter, "({error})"),
            },
            BoundListener::Unix(_, path) => write!(formatter, "{}", path.display()),
        }
    }
}

pub(super) enum AsyncListener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removes the file when the listener is done with it.
pub(super) struct SocketFile(PathBuf);

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "socket file not removed");
        }
    }
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
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

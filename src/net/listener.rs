//! Listening sockets: bound before the server calls itself ready, served by the workers.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

/// Which protocol is spoken behind a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Resp,
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
        let mut listeners = Vec::new();
        let mut port = port;
        for host in hosts {
            let (host, optional) = host.strip_prefix('-').map_or((host.as_str(), false), |host| (host, true));
            let host = match host {
                "*" => "0.0.0.0",
                "::*" => "::",
                host => host,
            };
            match bind_host(host, port, backlog) {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(BoundListener::Tcp(listener, kind));
                }
                Err(error) if optional => tracing::debug!(%error, host, "optional address left out"),
                Err(error) => {
                    let text = format!("cannot listen on {host}:{port}: {error}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        Ok(listeners)
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

    pub(super) fn kind(&self) -> Kind {
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

//! Assembly: the only place that wires the parts together, starts them and ends them.

#![deny(missing_docs)]

mod descriptors;
mod disk;
mod expiry;
pub mod launch;
pub mod logging;
mod schedule;
pub mod signals;
mod startup;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::Mode;
use rustix::process::umask;

use self::disk::Disk;
use self::launch::Launch;
use self::signals::Signals;
use crate::admin::HttpServer;
use crate::base::key_hash::HashSecret;
use crate::command::state::State;
use crate::config::{Engine, Settings};
use crate::net::{BoundListener, Protocol, Workers, bind_hosts};

/// Runs a server until it is asked to end.
///
/// # Errors
/// When it cannot start (an address that is in use, mostly), with a text for the operator; or when a part that it
/// cannot do without has failed.
pub async fn run(settings: Arc<Settings>, mut launch: Launch, signals: Signals) -> io::Result<()> {
    let watch = signals.watch(launch.pid_file())?;
    launch.extend_systemd_timeouts();
    let idle = settings.given_without_effect();
    if !idle.is_empty() {
        tracing::warn!("accepted, but without effect in this version: {}", idle.join(", "));
    }
    check_engine(&settings)?;
    // Before the data is touched.
    let bound = Bound::bind(&settings)?;
    check_open(&settings, &bound)?;
    let addresses = bound.addresses();
    // After the Unix socket, which has the mask that the process was given.
    keep_files_private();
    let workers = worker_count(&settings);
    let fitted = descriptors::fit(&settings, bound.clients.len() + bound.http.len(), workers)?;
    let resp_port = bound.first(Protocol::Resp).map_or(0, |address| address.port());
    let (opened, tier, secret) = match settings.r#type.get() {
        Engine::Rocksdb => {
            let (opened, tier, secret) = disk::open(&settings, fitted.open_files)?;
            (Some(opened), Some(tier), secret)
        }
        Engine::Memory => (None, None, HashSecret::random()?),
    };
    launch.write_pid_file(&settings);
    let state = Arc::new(State::new(settings.clone(), secret, tier));
    state.resp_port.store(resp_port, Ordering::Relaxed);
    state.reserved_descriptors.store(fitted.reserved, Ordering::Relaxed);

    let disk = match opened {
        Some(opened) => Disk::start(opened, &state)?,
        None => None,
    };
    watch.set_serving();
    let workers = Workers::start(&state, bound.clients, workers)?;
    let http = HttpServer::start(&state, bound.http)?;
    let expiry = expiry::start(&state)?;
    tracing::info!("ready {addresses}");
    launch.ready(&state.settings);

    tokio::select! {
        () = watch.end_requested() => {}
        () = state.shutdown_requested() => tracing::info!("shutdown requested"),
    }
    watch.set_ending();
    launch.ending();
    tracing::info!("ending: connections are drained");
    state.request_shutdown();
    let stop_workers = tokio::task::spawn_blocking(move || workers.stop());
    let ((), stopped) = tokio::join!(http.stop(), stop_workers);
    stopped.map_err(io::Error::other)?;
    let expiry_ended = expiry.join();
    // Last, since all others may still change keys.
    if let Some(disk) = disk {
        tracing::info!("ending: what has changed is brought to disk");
        tokio::task::spawn_blocking(move || disk.stop()).await.map_err(io::Error::other)??;
    }
    if state.has_failed() || expiry_ended.is_err() {
        return Err(io::Error::other("ended because a part of it failed; the log tells which"));
    }
    tracing::info!("bye");
    Ok(())
}

/// What the process makes from now on is its user's alone: directories 0700, files 0600, RocksDB's too. A stricter mask stays.
fn keep_files_private() {
    let private = Mode::RWXG | Mode::RWXO;
    let given = umask(private);
    umask(given | private);
}

/// Refuses what the memory engine would leave undone, and warns of what means nothing to it.
fn check_engine(settings: &Settings) -> io::Result<()> {
    if settings.r#type.get() != Engine::Memory {
        return Ok(());
    }
    if !settings.restore.get().is_empty() {
        return Err(io::Error::other("restore needs type rocksdb: type memory keeps nothing on disk"));
    }
    if settings.repair.get() || settings.maxdisk.get() > 0 {
        tracing::warn!("repair and maxdisk mean nothing with type memory, which keeps nothing on disk");
    }
    Ok(())
}

/// Refuses a start that lets everybody do everything, or warns of it.
fn check_open(settings: &Settings, bound: &Bound) -> io::Result<()> {
    let is_reached = || {
        let http = bound.http.iter().filter_map(|listener| listener.local_addr().ok());
        let clients = bound.clients.iter().filter_map(BoundListener::address);
        clients.chain(http).any(|address| !address.ip().is_loopback())
    };
    if !settings.requirepass.get().is_empty() || settings.protected_mode.get() || !is_reached() {
        return Ok(());
    }
    const OPEN: &str = "no password is set, protected-mode is off, and other machines reach the server: whoever does can read \
                        and change everything";
    if !settings.allow_open.get() {
        return Err(io::Error::other(format!("{OPEN}; set requirepass, or allow-open yes where that is meant")));
    }
    tracing::warn!("{OPEN}; set requirepass");
    Ok(())
}

fn worker_count(settings: &Settings) -> usize {
    match settings.io_threads.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    }
}

/// Every listening socket: all of them are bound before any is served.
struct Bound {
    /// Of the protocols that have clients: RESP, the plain TCP protocol.
    clients: Vec<BoundListener>,
    http: Vec<TcpListener>,
}

impl Bound {
    fn bind(settings: &Settings) -> io::Result<Bound> {
        let hosts: Vec<String> = settings.bind.get().iter().map(|host| host.to_string()).collect();
        let backlog = settings.tcp_backlog.get() as i32;
        let mut clients = BoundListener::bind_tcp(&hosts, settings.port.get() as u16, backlog, Protocol::Resp)?;
        let path = settings.unixsocket.get();
        if !path.is_empty() {
            clients.push(BoundListener::bind_unix(
                Path::new(&*path),
                settings.unixsocketperm.get(),
                backlog,
                Protocol::Resp,
            )?);
        }
        clients.extend(BoundListener::bind_tcp(&hosts, settings.tcp_port.get() as u16, backlog, Protocol::Book)?);
        let http = bind_hosts(&hosts, settings.http_port.get() as u16, backlog)?;
        Ok(Bound { clients, http })
    }

    /// The first address of each protocol, as the line that says "ready" gives them.
    fn addresses(&self) -> String {
        let http = self.http.first().and_then(|listener| listener.local_addr().ok());
        let describe = |address: Option<SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
        format!(
            "resp={} http={} tcp={}",
            describe(self.first(Protocol::Resp)),
            describe(http),
            describe(self.first(Protocol::Book))
        )
    }

    fn first(&self, protocol: Protocol) -> Option<SocketAddr> {
        self.clients.iter().find(|listener| listener.protocol() == protocol)?.address()
    }
}

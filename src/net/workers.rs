//! Worker threads. Each runs its own single-threaded runtime and keeps a connection for its whole life, so that
//! executing a command takes no hand-over between threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, LocalSet};

use super::connection::Connection;
use super::listener::{AsyncListener, BoundListener, Kind};
use super::sweep;
use crate::base::clock;
use crate::command::alarm::Alarm;
use crate::command::clients::{Client, Peer};
use crate::command::state::State;
use crate::protocol::{book, resp};
use crate::reply::{Error, Sink};

const MAX_CLIENTS: Error = Error::new("ERR max number of clients reached");
const PROTECTED: Error = Error::new(
    "DENIED Rockpool is running in protected mode because protected mode is enabled and no password is set for the \
     default user. In this mode connections are only accepted from the loopback interface. If you want to connect \
     from external computers, either set a password with 'requirepass', or turn protected mode off with \
     'protected-mode no' where only trusted clients can reach the server.",
);
/// The plain TCP protocol has no way to say a password.
const NO_PASSWORD: Error =
    Error::new("NOAUTH Authentication required: this protocol has none, use RESP or HTTP where 'requirepass' is set.");
/// How long to wait after accept failed (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open connections may take to send what they have when the server ends.
const DRAIN: Duration = Duration::from_secs(2);

enum Accepted {
    Tcp(std::net::TcpStream, SocketAddr, Kind),
    Unix(std::os::unix::net::UnixStream, String),
}

/// The running workers and the task that accepts for them.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `count` threads; accepts on `listeners`, and sweeps, in the calling runtime.
    pub fn start(state: &Arc<State>, listeners: Vec<BoundListener>, count: usize) -> io::Result<Workers> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        let mut queues = Vec::new();
        for index in 0..count.max(1) {
            let (queue, accepted) = mpsc::unbounded_channel();
            let (state, stopped) = (state.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let run = move || {
                let _alarm = Alarm::new(&state, "worker");
                LocalSet::new().block_on(&runtime, work(state, accepted, stopped));
            };
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
            queues.push(queue);
        }
        for listener in listeners {
            let kind = listener.kind();
            tokio::spawn(accept(state.clone(), listener.into_async()?, kind, queues.clone(), stopped.clone()));
        }
        tokio::spawn(sweep::run(state.clone(), stopped));
        Ok(Workers { threads, stop })
    }

    /// Ends all connections after what they were about to send, and the threads.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

async fn accept(
    state: Arc<State>,
    listener: AsyncListener,
    kind: Kind,
    queues: Vec<mpsc::UnboundedSender<Accepted>>,
    mut stopped: watch::Receiver<bool>,
) {
    let _alarm = Alarm::new(&state, "accept");
    let mut turn = 0;
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, kind) => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok(accepted) => {
                state.stats.shard().connections_received.add(1);
                turn = (turn + 1) % queues.len();
                // A worker is gone only when the server ends.
                let _ = queues[turn].send(accepted);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept_one(listener: &AsyncListener, kind: Kind) -> io::Result<Accepted> {
    match listener {
        AsyncListener::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Ok(Accepted::Tcp(stream.into_std()?, address, kind))
        }
        AsyncListener::Unix(listener, file) => {
            let (stream, _) = listener.accept().await?;
            Ok(Accepted::Unix(stream.into_std()?, file.path().display().to_string()))
        }
    }
}

/// One worker: welcomes who is handed over, until the server stops; then lets them have what they were about to get.
async fn work(state: Arc<State>, mut accepted: mpsc::UnboundedReceiver<Accepted>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        let next = tokio::select! {
            next = accepted.recv() => next,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        let Some(next) = next else { break };
        if let Err(error) = welcome(&state, next, &mut connections) {
            tracing::debug!(%error, "connection ended before it began");
        }
    }
    // Everybody's clients, not only this worker's: the others do the same.
    for client in state.clients.all() {
        client.drain();
    }
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(count = connections.len(), "connections that did not read their replies were cut");
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

fn welcome(state: &Arc<State>, accepted: Accepted, connections: &mut JoinSet<()>) -> io::Result<()> {
    match accepted {
        Accepted::Tcp(stream, address, kind) => {
            stream.set_nodelay(true)?;
            let keepalive_s = state.settings.tcp_keepalive.get();
            if keepalive_s > 0 {
                keep_alive(&stream, keepalive_s as u64)?;
            }
            let stream = TcpStream::from_std(stream)?;
            match admit(state, Peer::of_tcp(&stream, address)?, kind) {
                Ok(client) => serve(state, stream, client, kind, connections),
                Err(error) => refuse(stream.into_std()?, kind, &error)?,
            }
        }
        Accepted::Unix(stream, path) => {
            let stream = UnixStream::from_std(stream)?;
            match admit(state, Peer::of_unix(&stream, &path), Kind::Resp) {
                Ok(client) => serve(state, stream, client, Kind::Resp, connections),
                Err(error) => refuse(stream.into_std()?, Kind::Resp, &error)?,
            }
        }
    }
    Ok(())
}

fn serve<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    state: &Arc<State>,
    stream: S,
    client: Arc<Client>,
    kind: Kind,
    connections: &mut JoinSet<()>,
) {
    connections.spawn_local(Connection::new(stream, state.clone(), client, kind).serve());
}

/// Registers a client, or says why it may not come in.
fn admit(state: &State, peer: Peer, kind: Kind) -> Result<Arc<Client>, Error> {
    let has_password = state.has_password();
    let refused = if state.settings.protected_mode.get() && !has_password && !peer.is_local {
        PROTECTED
    } else if has_password && kind == Kind::Book {
        NO_PASSWORD
    } else {
        let max = state.settings.maxclients.get().max(0) as usize;
        match state.clients.connect(max, |id| Client::new(id, peer, clock::now_ms(), !has_password)) {
            Some(client) => return Ok(client),
            None => MAX_CLIENTS,
        }
    };
    state.stats.shard().connections_rejected.add(1);
    Err(refused)
}

/// Has the kernel probe an idle peer, as Redis does: first after `keepalive_s`, then each third of it, three times.
fn keep_alive(stream: &std::net::TcpStream, keepalive_s: u64) -> io::Result<()> {
    let interval = Duration::from_secs((keepalive_s / 3).max(1));
    let probes = socket2::TcpKeepalive::new().with_time(Duration::from_secs(keepalive_s)).with_interval(interval);
    socket2::SockRef::from(stream).set_tcp_keepalive(&probes.with_retries(3))
}

/// Tells a client why it may not come in, as far as its socket takes it at once.
fn refuse(mut stream: impl io::Write, kind: Kind, error: &Error) -> io::Result<()> {
    let mut bytes = Vec::new();
    match kind {
        Kind::Resp => resp::ReplyWriter::new(&mut bytes, resp::Version::Resp2).error(error),
        Kind::Book => book::ReplyWriter::new(&mut bytes).error(error),
    }
    stream.write_all(&bytes)
}

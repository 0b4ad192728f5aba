//! Worker threads. Each runs its own single-threaded runtime and keeps a connection for its whole life, so that
//! executing a command takes no hand-over between threads.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use super::connection::{self, Connection};
use super::listener::{AsyncListener, BoundListener, Kind};
use crate::base::clock;
use crate::command::alarm::Alarm;
use crate::command::clients::Client;
use crate::command::state::State;
use crate::reply::Error;

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
    /// Starts `count` threads and accepts on `listeners` in the calling runtime.
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

async fn work(state: Arc<State>, mut accepted: mpsc::UnboundedReceiver<Accepted>, mut stopped: watch::Receiver<bool>) {
    loop {
        let next = tokio::select! {
            next = accepted.recv() => next,
            _ = stopped.wait_for(|stopped| *stopped) => None,
        };
        match next {
            Some(Accepted::Tcp(stream, address, kind)) => {
                if let Err(error) = welcome_tcp(&state, stream, address, kind) {
                    tracing::debug!(%error, %address, "connection ended before it began");
                }
            }
            Some(Accepted::Unix(stream, path)) => match UnixStream::from_std(stream) {
                Ok(stream) => {
                    let (address, local) = (format!("{path}:0"), format!("{path}:0"));
                    if let Ok(client) = admit(&state, address, local, true, Kind::Resp) {
                        tokio::task::spawn_local(Connection::new(stream, state.clone(), client, Kind::Resp).serve());
                    }
                }
                Err(error) => tracing::debug!(%error, "connection ended before it began"),
            },
            None => break,
        }
    }
    for client in state.clients.all() {
        client.close();
    }
    let drained = async {
        while !state.clients.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("connections that did not read their replies were cut");
    }
}

fn welcome_tcp(state: &Arc<State>, stream: std::net::TcpStream, address: SocketAddr, kind: Kind) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive_s = state.settings.tcp_keepalive.get();
    if keepalive_s > 0 {
        connection::keep_alive(&stream, keepalive_s as u64)?;
    }
    let local = stream.local_addr()?;
    let is_local = address.ip().to_canonical().is_loopback();
    match admit(state, address.to_string(), local.to_string(), is_local, kind) {
        Ok(client) => {
            let stream = TcpStream::from_std(stream)?;
            tokio::task::spawn_local(Connection::new(stream, state.clone(), client, kind).serve());
            Ok(())
        }
        Err(error) => connection::refuse(stream, kind, &error),
    }
}

/// Registers a client, or says why it may not come in.
fn admit(state: &State, address: String, local: String, is_local: bool, kind: Kind) -> Result<Arc<Client>, Error> {
    let has_password = !state.settings.requirepass.get().is_empty();
    let refused = if state.settings.protected_mode.get() && !has_password && !is_local {
        PROTECTED
    } else if has_password && kind == Kind::Book {
        NO_PASSWORD
    } else {
        let max = state.settings.maxclients.get().max(0) as usize;
        let create = |id| Client::new(id, address, local, clock::now_ms(), !has_password);
        match state.clients.connect(max, create) {
            Some(client) => return Ok(client),
            None => MAX_CLIENTS,
        }
    };
    state.stats.shard().connections_rejected.add(1);
    Err(refused)
}

//! Accepts HTTP connections, and bounds what each may take.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::exchange::Exchange;
use super::routes;
use super::socket::Socket;
use crate::base::clock;
use crate::command::alarm::Alarm;
use crate::command::clients::{Client, Peer, SocketPermit};
use crate::command::registration::Registration;
use crate::command::state::State;

/// Connections beyond the limit, while all those within it are being served: they may ask for the node's health alone.
const EXTRAS_MAX: usize = 8;
/// How long one of them may take. They are few, and have nothing to wait for.
const EXTRA_PATIENCE: Duration = Duration::from_secs(1);
/// A request's line and headers, in bytes and in number.
const HEAD_MAX_BYTES: usize = 128 * 1024;
const HEADERS_MAX: usize = 100;
/// How long a client may take to send a request's head; it also ends a connection that is kept alive and idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// How long a client may leave a response unread.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait after accept failed (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long requests may take to end when the server does.
const DRAIN: Duration = Duration::from_secs(2);

/// The HTTP side of a running node.
pub struct HttpServer {
    listening: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl HttpServer {
    /// Serves `listeners`, which must not block, in the calling runtime.
    ///
    /// # Errors
    /// When a listener cannot be registered with the runtime.
    pub fn start(state: &Arc<State>, listeners: Vec<std::net::TcpListener>) -> io::Result<HttpServer> {
        let (stop, stopped) = watch::channel(false);
        let router = routes::router(state.clone());
        let extras = Arc::new(Semaphore::new(EXTRAS_MAX));
        let mut listening = Vec::new();
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            let acceptor = Acceptor { state: state.clone(), router: router.clone(), extras: extras.clone() };
            listening.push(tokio::spawn(acceptor.accept(listener, stopped.clone())));
        }
        Ok(HttpServer { listening, stop })
    }

    /// Accepts no more, lets requests end that have begun, closes idle connections.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.listening {
            if task.await.is_err() {
                tracing::error!("the task that accepts HTTP connections panicked");
            }
        }
    }
}

struct Acceptor {
    state: Arc<State>,
    router: Router,
    /// Of connections that are one too many.
    extras: Arc<Semaphore>,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let _alarm = Alarm::new(&self.state, "http");
        let sockets = &self.state.clients.http_sockets;
        sockets.add_acceptor();
        let graceful = GracefulShutdown::new();
        loop {
            let accept = async {
                let permit = sockets.take(|| max_connections(&self.state)).await;
                listener.accept().await.map(|accepted| (permit, accepted))
            };
            let accepted = tokio::select! {
                accepted = accept => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => break,
            };
            match accepted {
                Ok((permit, (stream, address))) => self.welcome(permit, stream, address, graceful.watcher()),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::warn!("HTTP requests that took too long were cut");
        }
    }

    fn welcome(&self, permit: SocketPermit, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        let counters = self.state.stats.shard();
        counters.connections_received.add(1);
        let local_address = stream.local_addr().unwrap_or(address);
        let peer = Peer::of_tcp(&stream, address, local_address);
        let create = |id| Client::new(id, peer.clone(), clock::now_ms(), true);
        let (http_max, max) = (max_connections(&self.state), self.state.max_clients());
        let registered = self.state.clients.connect_http(http_max, max, create);
        let extra = if registered.is_none() {
            counters.connections_rejected.add(1);
            let Ok(extra) = self.extras.clone().try_acquire_owned() else { return };
            Some(extra)
        } else {
            None
        };
        // Id 0 is nobody's.
        let client = registered.unwrap_or_else(|| Arc::new(create(0)));
        let exchange = Arc::new(Exchange::new(client.clone(), extra.is_some()));
        let registration = Registration { state: self.state.clone(), client };
        let router = self.router.clone().layer(Extension(exchange.clone()));
        tokio::spawn(async move {
            let served = serve(router, registration, stream, permit, exchange, watcher);
            let served = match extra {
                None => served.await,
                Some(_extra) => tokio::time::timeout(EXTRA_PATIENCE, served).await.unwrap_or(Ok(())),
            };
            if let Err(error) = served {
                tracing::debug!(%error, %address, "HTTP connection broke");
            }
        });
    }
}

fn max_connections(state: &State) -> usize {
    state.settings.http_maxclients.get().max(0) as usize
}

async fn serve(
    router: Router,
    registration: Registration,
    stream: TcpStream,
    permit: SocketPermit,
    exchange: Arc<Exchange>,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "short responses may wait for acknowledgements");
    }
    let socket = Socket::new(registration, stream, permit, exchange, WRITE_PATIENCE);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    watcher.watch(connection).await?;
    Ok(())
}

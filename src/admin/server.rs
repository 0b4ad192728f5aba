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
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_io_timeout::TimeoutStream;

use super::routes;
use crate::base::clock;
use crate::command::alarm::Alarm;
use crate::command::clients::{Client, Peer};
use crate::command::state::State;

/// Connections at one time; one more is told so and closed.
const MAX_CONNECTIONS: usize = 1024;
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
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
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut listening = Vec::new();
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            let acceptor = Acceptor { state: state.clone(), router: router.clone(), places: places.clone() };
            listening.push(tokio::spawn(acceptor.accept(listener, stopped.clone())));
        }
        Ok(HttpServer { listening, stop })
    }

    /// File descriptors that serving may take.
    pub fn max_descriptors() -> usize {
        MAX_CONNECTIONS
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
    places: Arc<Semaphore>,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let _alarm = Alarm::new(&self.state, "http");
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => break,
            };
            match accepted {
                Ok((stream, address)) => self.welcome(stream, address, graceful.watcher()),
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

    fn welcome(&self, stream: TcpStream, address: SocketAddr, watcher: Watcher) {
        let counters = self.state.stats.shard();
        counters.connections_received.add(1);
        match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                let router = self.router.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(router, stream, address, watcher, place).await {
                        tracing::debug!(%error, %address, "HTTP connection broke");
                    }
                });
            }
            Err(_) => {
                counters.connections_rejected.add(1);
                tokio::spawn(refuse(stream));
            }
        }
    }
}

/// As far as the socket takes it at once.
async fn refuse(mut stream: TcpStream) {
    let _ = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(TOO_MANY)).await;
}

async fn serve(
    router: Router,
    stream: TcpStream,
    address: SocketAddr,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %address, "short responses may wait for acknowledgements");
    }
    // It is in no list of clients: id 0 is nobody's.
    let peer = Peer::of_tcp(&stream, address, stream.local_addr()?);
    let client = Arc::new(Client::new(0, peer, clock::now_ms(), true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router.layer(Extension(client))));
    watcher.watch(connection).await?;
    Ok(())
}

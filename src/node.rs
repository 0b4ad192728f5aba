//! Assembly: the only place that wires the parts together, starts them and ends them.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::base::clock;
use crate::command::state::State;
use crate::config::Settings;
use crate::net::{BoundListener, Kind, Workers};

/// The active expiry cycle: how often, and how much of that time it may take.
const EXPIRE_INTERVAL: Duration = Duration::from_millis(50);
const EXPIRE_BUDGET: Duration = Duration::from_millis(12);

/// Runs a server until it is asked to end.
pub async fn run(settings: Settings) -> io::Result<()> {
    let settings = Arc::new(settings);
    let state = Arc::new(State::new(settings.clone(), clock::now_us()));
    let listeners = listen(&settings)?;
    let resp = listeners.iter().find_map(BoundListener::address);
    let workers = Workers::start(&state, listeners, worker_count(&settings))?;
    let expiry = start_expiry(&state)?;
    let describe =
        |address: Option<std::net::SocketAddr>| address.map_or("-".to_owned(), |address| address.to_string());
    tracing::info!("ready resp={} http=- tcp=-", describe(resp));

    wait_for_end(&state).await?;
    tracing::info!("ending: connections are drained");
    state.request_shutdown();
    tokio::task::spawn_blocking(move || workers.stop()).await.map_err(io::Error::other)?;
    expiry.join().map_err(|_| io::Error::other("the expiry thread panicked"))?;
    tracing::info!("bye");
    Ok(())
}

fn worker_count(settings: &Settings) -> usize {
    match settings.io_threads.get() {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count as usize,
    }
}

fn listen(settings: &Settings) -> io::Result<Vec<BoundListener>> {
    let hosts: Vec<String> = settings.bind.get().iter().map(|host| host.to_string()).collect();
    let backlog = settings.tcp_backlog.get() as i32;
    BoundListener::bind_tcp(&hosts, settings.port.get() as u16, backlog, Kind::Resp)
}

/// Deletes expired keys in the background, in a thread of its own.
fn start_expiry(state: &Arc<State>) -> io::Result<std::thread::JoinHandle<()>> {
    let state = state.clone();
    std::thread::Builder::new().name("expiry".to_owned()).spawn(move || {
        while !state.is_shutting_down() {
            let began = Instant::now();
            let finished = state.keyspace.expire_due(clock::now_ms(), began + EXPIRE_BUDGET);
            state.note_expire_cycle(began.elapsed(), finished);
            state.sample();
            std::thread::sleep(EXPIRE_INTERVAL);
        }
    })
}

async fn wait_for_end(state: &State) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM received"),
        _ = interrupt.recv() => tracing::info!("SIGINT received"),
        () = state.shutdown_requested() => tracing::info!("SHUTDOWN received"),
    }
    Ok(())
}

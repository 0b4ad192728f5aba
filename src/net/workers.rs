//! Worker threads. Each runs its own single-threaded runtime and keeps its connections until the number of workers that
//! serve changes ([`balance`]), so that executing a command takes no hand-over between threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::unconstrained;

use super::balance;
use super::listener::{AsyncListener, BoundListener};
use super::sweep;
use super::worker::{Arrival, Queues, Worker};
use crate::command::alarm::Alarm;
use crate::command::state::State;

/// How long to wait after accept failed (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running workers and the task that accepts for them.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    queues: Queues,
    stop: watch::Sender<bool>,
}

impl Workers {
    /// Starts `count` threads; accepts on `listeners`, sweeps, and balances, in the calling runtime.
    pub fn start(state: &Arc<State>, listeners: Vec<BoundListener>, count: usize) -> io::Result<Workers> {
        let count = count.max(1);
        let (stop, stopped) = watch::channel(false);
        let (queues, arrivals): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let queues = Queues::from(queues);
        let mut threads = Vec::new();
        state.active_workers.store(count, Ordering::Relaxed);
        let (tell_time, times) = std::sync::mpsc::channel();
        for (index, arrivals) in arrivals.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let worker = {
                let _entered = runtime.enter();
                Worker::new(index, state.clone(), queues.clone())?
            };
            let alarmed = state.clone();
            let tell_time = tell_time.clone();
            let run = move || {
                let _alarm = Alarm::new(&alarmed, "worker");
                let _ = tell_time.send(balance::processor_time_file());
                drop(tell_time);
                runtime.block_on(unconstrained(worker.work(arrivals)));
            };
            threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
        }
        drop(tell_time);
        let ordinals = Arc::new(AtomicUsize::new(0));
        for listener in listeners {
            let acceptor = Acceptor { state: state.clone(), queues: queues.clone(), ordinals: ordinals.clone() };
            tokio::spawn(acceptor.accept(listener.into_async()?, stopped.clone()));
        }
        tokio::spawn(sweep::run(state.clone(), stopped.clone()));
        match times.iter().collect::<io::Result<Vec<_>>>() {
            Ok(files) => drop(tokio::spawn(balance::run(state.clone(), files, stopped))),
            Err(error) => tracing::debug!(%error, "processor times cannot be read: all workers serve"),
        }
        Ok(Workers { threads, queues, stop })
    }

    /// Ends all connections after what they were about to send, and the threads.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for queue in self.queues.iter() {
            // One that has gone has panicked, and said so.
            let _ = queue.send(Arrival::Stop);
        }
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// Accepts for the workers.
struct Acceptor {
    state: Arc<State>,
    queues: Queues,
    /// Counts the connections of all listeners.
    ordinals: Arc<AtomicUsize>,
}

impl Acceptor {
    async fn accept(self, listener: AsyncListener, mut stopped: watch::Receiver<bool>) {
        let _alarm = Alarm::new(&self.state, "accept");
        self.state.clients.session_sockets.add_acceptor();
        loop {
            let accepted = tokio::select! {
                accepted = self.accept_one(&listener) => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok((arrival, ordinal)) => {
                    self.state.stats.shard().connections_received.add(1);
                    let worker = balance::home(ordinal, self.state.active_workers.load(Ordering::Relaxed));
                    // A worker is gone only when the server ends.
                    let _ = self.queues[worker].send(arrival);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept_one(&self, listener: &AsyncListener) -> io::Result<(Arrival, usize)> {
        let permit = self.state.clients.session_sockets.take(|| self.state.max_clients()).await;
        let socket = listener.accept().await?;
        let ordinal = self.ordinals.fetch_add(1, Ordering::Relaxed);
        Ok((Arrival::Client { permit, socket, protocol: listener.protocol(), ordinal }, ordinal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key_hash::HashSecret;
    use std::io::{BufRead, BufReader, Write};
    use std::net::SocketAddr;
    use std::sync::atomic::AtomicBool;

    use crate::config::Settings;
    use crate::net::conversation::Protocol;

    /// Runs `test` beside a server with so many workers; it is given the address.
    fn beside(state: &Arc<State>, workers: usize, test: impl FnOnce(SocketAddr) + Send + 'static) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        runtime.block_on(async {
            let listeners =
                BoundListener::bind_tcp(&["127.0.0.1".to_owned()], 0, 16, Protocol::Resp).expect("a listener");
            let address = listeners[0].address().expect("an address");
            let workers = Workers::start(state, listeners, workers).expect("workers");
            let test = tokio::task::spawn_blocking(move || test(address)).await;
            state.request_shutdown();
            tokio::task::spawn_blocking(move || workers.stop()).await.expect("an end");
            test.expect("the test passes");
        });
    }

    /// What a client is answered that increments its key again and again, several commands at a time.
    fn count(address: SocketAddr, key: &str, until: &AtomicBool) -> u64 {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let mut replies = BufReader::new(stream.try_clone().expect("a second handle"));
        let mut last = 0;
        while !until.load(Ordering::Relaxed) {
            // Also one that comes in two pieces.
            let command = format!("INCR {key}\r\n");
            let (first, second) = command.split_at(4);
            for piece in [&command.repeat(5), first, second] {
                stream.write_all(piece.as_bytes()).expect("a request is taken");
            }
            for _ in 0..6 {
                let mut line = String::new();
                replies.read_line(&mut line).expect("a reply");
                last += 1;
                assert_eq!(line, format!(":{last}\r\n"));
            }
        }
        last
    }

    #[test]
    fn connections_move_between_workers_and_lose_nothing() {
        let state = Arc::new(State::new(Arc::new(Settings::default()), HashSecret::Xxh3(1), None));
        let shared = state.clone();
        beside(&state, 4, move |address| {
            let state = &shared;
            let (end, counted) = (&AtomicBool::new(false), &AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for number in 0..12 {
                    scope.spawn(move || {
                        let last = count(address, &format!("k{number}"), end);
                        counted.fetch_add(last as usize, Ordering::Relaxed);
                    });
                }
                // Killing a connection that moves must not touch another one's socket.
                scope.spawn(move || {
                    while !end.load(Ordering::Relaxed) {
                        let mut victim = std::net::TcpStream::connect(address).expect("a connection");
                        victim.write_all(b"CLIENT ID\r\n").expect("a request is taken");
                        let mut line = String::new();
                        BufReader::new(&victim).read_line(&mut line).expect("a reply");
                        let id = line[1..].trim().parse().expect("an id");
                        victim.write_all(b"PING\r\n").expect("a request is taken");
                        if let Some(client) = state.clients.find(id) {
                            state.clients.kill(&client);
                        }
                    }
                });
                for round in 0..400 {
                    state.active_workers.store(1 + round * 7 % 4, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
                end.store(true, Ordering::Relaxed);
            });
            assert!(counted.load(Ordering::Relaxed) > 12 * 6);
            assert!(state.stats.sum(|shard| &shard.connections_moved) > 100);
        });
        assert!(state.clients.is_empty(), "everybody has left the registry");
    }
}

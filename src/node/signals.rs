//! Signals: SIGTERM and SIGINT end the server, in every phase; SIGHUP and a few others do nothing. Each has a handler from the
//! start on: Linux does not deliver a signal without one to process 1, which the server is in a container.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::{flag, low_level};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::launch::PidFile;

/// Signals whose default would end the process, and which are no reason to: a terminal that closes, log rotation (a log file
/// is opened for each line), a file size limit (the write fails, and that is handled). Rust's runtime ignores SIGPIPE.
const HARMLESS: [i32; 4] = [SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ];

/// The phases, in which SIGTERM and SIGINT mean different things: before anything is served, …
const STARTING: u8 = 0;
/// … while the server serves, …
const SERVING: u8 = 1;
/// … and while it is ending already.
const ENDING: u8 = 2;

/// The handlers, before there is a log and a runtime.
pub struct Signals {
    /// Whether SIGTERM and SIGINT end the process in their handler, since nothing needs an orderly end yet.
    ends_at_once: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses one.
    pub fn install() -> io::Result<Signals> {
        let ends_at_once = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 0, ends_at_once.clone())?;
        }
        for signal in HARMLESS {
            flag::register(signal, Arc::default())?;
        }
        Ok(Signals { ends_at_once })
    }

    /// Hands SIGTERM and SIGINT over to a task of the runtime, which needs a thread that the start does not keep busy.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn watch(self, pid_file: Arc<PidFile>) -> io::Result<Watch> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        self.ends_at_once.store(false, Ordering::SeqCst);
        let watch = Watch { phase: Arc::new(AtomicU8::new(STARTING)), asked: Arc::default() };
        let (phase, asked) = (watch.phase.clone(), watch.asked.clone());
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                match phase.load(Ordering::SeqCst) {
                    // What the start has done so far, a crash may interrupt at any time. Destructors would wait for it.
                    STARTING => {
                        tracing::info!("{name} received amid the start: ending at once, nothing was served yet");
                        exit(0, &pid_file);
                    }
                    SERVING => {
                        tracing::info!("{name} received");
                        phase.store(ENDING, Ordering::SeqCst);
                        asked.notify_one();
                    }
                    // As in Redis: a person asks twice, while supervisors may well repeat themselves.
                    _ if name == "SIGINT" => {
                        tracing::warn!("SIGINT received amid the end: ending at once, without the rest of it");
                        exit(1, &pid_file);
                    }
                    _ => tracing::info!("{name} received: the server is ending already"),
                }
            }
        });
        Ok(watch)
    }
}

fn exit(code: i32, pid_file: &PidFile) -> ! {
    pid_file.remove();
    low_level::exit(code)
}

/// The task's view: the phase that it is told, and the request for an end that it passes on.
pub struct Watch {
    phase: Arc<AtomicU8>,
    asked: Arc<Notify>,
}

impl Watch {
    /// Tells that the server serves: from now on a signal asks for an orderly end.
    pub fn set_serving(&self) {
        self.phase.store(SERVING, Ordering::SeqCst);
    }

    /// Completes once a signal has asked for the end.
    pub async fn end_requested(&self) {
        self.asked.notified().await;
    }

    /// Tells that the server is ending, whoever has asked for it: a second SIGINT ends it at once.
    pub fn set_ending(&self) {
        self.phase.store(ENDING, Ordering::SeqCst);
    }
}

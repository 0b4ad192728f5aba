//! Once a second, who is to be sent away for what it has not done: idle clients, and readers that stay too slow. One
//! look at everybody is cheaper than a timer for each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::base::clock;
use crate::command::clients::Client;
use crate::command::state::State;
use crate::config::OutputLimit;

const INTERVAL: Duration = Duration::from_secs(1);

/// Sweeps until the server stops.
pub async fn run(state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => sweep(&state, clock::now_ms()),
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Suspects those that are overdue. Their connections look at the sockets first and decide: after the process has stood
/// still, or while its workers are busy, what a client has done may be in the kernel only.
fn sweep(state: &State, now_ms: u64) {
    let limit = state.settings.client_output_buffer_limit.normal.get();
    for client in state.clients.all() {
        count_over_soft_limit(&client, &limit);
        if is_idle(&client, timeout_s(state), now_ms) || is_too_slow(&client, &limit) {
            client.suspect();
        }
    }
    // Who takes more is looked at where it grows; the limit, too, may have changed.
    if let Some(max_bytes) = state.max_client_bytes() {
        state.note_evicted_clients(state.clients.evict(max_bytes));
    }
}

/// Whether a client whose socket has just been looked at is to be sent away, which is counted and logged. One that
/// `is_served`, whose command is not done with, is not idle.
pub fn is_overdue(state: &State, client: &Client, is_served: bool) -> bool {
    let limit = state.settings.client_output_buffer_limit.normal.get();
    if !is_served && is_idle(client, timeout_s(state), clock::now_ms()) {
        tracing::debug!(client = client.id, "idle client closed");
        return true;
    }
    let is_too_slow = is_too_slow(client, &limit);
    if is_too_slow {
        tracing::warn!(client = client.id, "output buffer soft limit reached for too long, client cut");
        state.stats.shard().clients_cut_for_output.add(1);
    }
    is_too_slow
}

fn timeout_s(state: &State) -> u64 {
    state.settings.timeout.get().max(0) as u64
}

/// Whether it has been silent for longer than `timeout_s` (0: no limit). Those that are there to wait may be.
fn is_idle(client: &Client, timeout_s: u64, now_ms: u64) -> bool {
    let idle_s = (now_ms / 1000).saturating_sub(client.active_ms.load(Ordering::Relaxed) / 1000);
    timeout_s > 0 && idle_s > timeout_s && !client.is_monitor() && !client.is_blocked()
}

fn is_over_soft_limit(client: &Client, limit: &OutputLimit) -> bool {
    limit.soft_bytes > 0 && client.output_bytes() as u64 >= limit.soft_bytes
}

/// Sweeps are counted, and no time is taken: while the process stands still, nobody can be sent anything.
fn count_over_soft_limit(client: &Client, limit: &OutputLimit) {
    let count = &client.sweeps_over_soft_limit;
    let counted = if is_over_soft_limit(client, limit) { count.load(Ordering::Relaxed) + 1 } else { 0 };
    count.store(counted, Ordering::Relaxed);
}

/// Whether the soft limit has been exceeded for longer than it allows, at every sweep since the first that found it, and
/// still is.
fn is_too_slow(client: &Client, limit: &OutputLimit) -> bool {
    let seconds = client.sweeps_over_soft_limit.load(Ordering::Relaxed).saturating_sub(1) * INTERVAL.as_secs();
    is_over_soft_limit(client, limit) && seconds > limit.soft_seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::clients::{BufferSizes, Peer};

    #[test]
    fn the_soft_limit_counts_unbroken_seconds() {
        let client = Client::new(1, Peer::default(), 0, true);
        let limit = OutputLimit { hard_bytes: 0, soft_bytes: 100, soft_seconds: 2 };
        let holding = |output| client.set_buffer_sizes(BufferSizes { output, ..BufferSizes::default() });
        holding(100);
        let sweep = || {
            count_over_soft_limit(&client, &limit);
            is_too_slow(&client, &limit)
        };
        assert_eq!([sweep(), sweep(), sweep()], [false; 3]);
        holding(99);
        assert!(!sweep());
        holding(100);
        assert_eq!([sweep(), sweep(), sweep(), sweep()], [false, false, false, true]);
        assert!(!is_too_slow(&client, &OutputLimit::default()));
        holding(99);
        assert!(!is_too_slow(&client, &limit), "what it has read since the sweep counts");
    }

    #[test]
    fn monitors_and_those_kept_waiting_are_not_idle() {
        let client = Client::new(1, Peer::default(), 0, true);
        assert!(!is_idle(&client, 0, 60_000));
        assert!(!is_idle(&client, 10, 10_999));
        assert!(is_idle(&client, 10, 11_000));
        client.set_blocked(true);
        assert!(!is_idle(&client, 10, 11_000));
    }
}

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

fn sweep(state: &State, now_ms: u64) {
    let timeout_s = state.settings.timeout.get().max(0) as u64;
    let limit = state.settings.client_output_buffer_limit.normal.get();
    for client in state.clients.all() {
        if is_idle(&client, timeout_s, now_ms) {
            tracing::debug!(client = client.id, "idle client closed");
        } else if is_too_slow(&client, &limit, now_ms) {
            tracing::warn!(client = client.id, "output buffer soft limit reached for too long, client cut");
            state.stats.shard().clients_cut_for_output.add(1);
        } else {
            continue;
        }
        state.clients.kill(&client);
    }
    // Who takes more is looked at where it grows; the limit, too, may have changed.
    if let Some(max_bytes) = state.max_client_bytes() {
        state.note_evicted_clients(state.clients.evict(max_bytes));
    }
}

/// Whether it has been silent for longer than `timeout_s` (0: no limit). Those that are there to wait may be.
fn is_idle(client: &Client, timeout_s: u64, now_ms: u64) -> bool {
    let idle_s = (now_ms / 1000).saturating_sub(client.active_ms.load(Ordering::Relaxed) / 1000);
    timeout_s > 0 && idle_s > timeout_s && !client.is_monitor() && !client.is_blocked()
}

/// Whether the soft limit has been exceeded for longer than it allows, at every sweep.
fn is_too_slow(client: &Client, limit: &OutputLimit, now_ms: u64) -> bool {
    let since_ms = &client.over_soft_limit_ms;
    if limit.soft_bytes == 0 || (client.output_bytes() as u64) < limit.soft_bytes {
        since_ms.store(0, Ordering::Relaxed);
        return false;
    }
    match since_ms.load(Ordering::Relaxed) {
        0 => {
            since_ms.store(now_ms, Ordering::Relaxed);
            false
        }
        since_ms => now_ms.saturating_sub(since_ms) / 1000 > limit.soft_seconds,
    }
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
        assert!(!is_too_slow(&client, &limit, 1_000));
        assert!(!is_too_slow(&client, &limit, 3_900));
        holding(99);
        assert!(!is_too_slow(&client, &limit, 4_000));
        holding(100);
        assert!(!is_too_slow(&client, &limit, 5_000));
        assert!(!is_too_slow(&client, &limit, 7_999));
        assert!(is_too_slow(&client, &limit, 8_000));
        assert!(!is_too_slow(&client, &OutputLimit::default(), 9_000));
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

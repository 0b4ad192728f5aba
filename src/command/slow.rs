//! Slow commands: recorded in the slow log and as latency events.

use crate::base::clock;
use crate::command::flags::Flags;
use crate::command::session::Session;
use crate::command::state::State;
use crate::command::table::Command;
use crate::protocol::Args;
use crate::stats::{SlowCommand, shortened};

/// The durations from which a command is recorded.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Microseconds (`slowlog-log-slower-than`); negative: never.
    pub slow_us: i64,
    /// Milliseconds (`latency-monitor-threshold`); 0: never.
    pub spike_ms: i64,
}

impl Limits {
    fn is_slow(self, duration_ns: u64) -> bool {
        self.slow_us >= 0 && duration_ns >= (self.slow_us as u64).saturating_mul(1_000)
    }

    fn is_spike(self, duration_ns: u64) -> bool {
        self.spike_ms > 0 && duration_ns >= (self.spike_ms as u64).saturating_mul(1_000_000)
    }

    #[inline]
    pub fn reached(self, duration_ns: u64) -> bool {
        self.is_slow(duration_ns) || self.is_spike(duration_ns)
    }
}

/// Records a command that has reached one of the limits.
#[cold]
pub fn note(state: &State, session: &Session, command: &Command, args: &Args<'_>, duration_ns: u64, limits: Limits) {
    let time_s = clock::now_ms() / 1000;
    let event = if command.spec.flags.has(Flags::FAST) { "fast-command" } else { "command" };
    state.stats.latency_events.add(event, duration_ns / 1_000_000, limits.spike_ms, time_s);
    if !limits.is_slow(duration_ns) || command.spec.flags.has(Flags::SKIP_SLOWLOG) {
        return;
    }
    let slow = SlowCommand {
        id: 0,
        time_s,
        duration_us: duration_ns / 1000,
        arguments: shortened((0..args.len()).map(|index| session.shown(args, index))),
        client_address: session.client.peer.address.clone(),
        client_name: session.client.names().name,
    };
    state.stats.slow_log.add(slow, state.slow_log_max_len());
}

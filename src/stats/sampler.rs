//! Rates: how much was done a second, as a mean over the last 16 samples, which are taken 100 ms apart.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const SAMPLES: usize = 16;
const INTERVAL: Duration = Duration::from_millis(100);

/// What is sampled: totals that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Commands that were executed.
    pub commands: u64,
    /// Bytes from clients.
    pub input_bytes: u64,
    /// Bytes to clients.
    pub output_bytes: u64,
}

impl Readings {
    fn map(self, other: Readings, combine: impl Fn(u64, u64) -> u64) -> Readings {
        Readings {
            commands: combine(self.commands, other.commands),
            input_bytes: combine(self.input_bytes, other.input_bytes),
            output_bytes: combine(self.output_bytes, other.output_bytes),
        }
    }
}

/// The last samples, from which the rates come.
#[derive(Default)]
pub struct Sampler(Mutex<Window>);

#[derive(Default)]
struct Window {
    /// When the last sample was taken, and of which totals.
    last: Option<(Instant, Readings)>,
    /// Amounts a second.
    rates: [Readings; SAMPLES],
    next: usize,
}

impl Sampler {
    /// Takes a sample if one is due; to be called at least every 100 ms.
    pub fn sample(&self, now: Instant, read: impl FnOnce() -> Readings) {
        let mut window = self.0.lock();
        let Some((then, before)) = window.last else {
            window.last = Some((now, read()));
            return;
        };
        let elapsed = now.saturating_duration_since(then);
        if elapsed < INTERVAL {
            return;
        }
        let readings = read();
        let elapsed_ms = elapsed.as_millis() as u64;
        let next = window.next;
        window.rates[next] =
            readings.map(before, |new, old| new.saturating_sub(old).saturating_mul(1000) / elapsed_ms.max(1));
        window.next = (next + 1) % SAMPLES;
        window.last = Some((now, readings));
    }

    /// Amounts a second.
    pub fn rates(&self) -> Readings {
        let sum = self.0.lock().rates.iter().fold(Readings::default(), |sum, rate| sum.map(*rate, u64::saturating_add));
        sum.map(sum, |sum, _| sum / SAMPLES as u64)
    }

    pub(super) fn reset(&self) {
        *self.0.lock() = Window::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_means_over_the_window() {
        let sampler = Sampler::default();
        let start = Instant::now();
        let commands = |commands| move || Readings { commands, input_bytes: 0, output_bytes: commands * 10 };
        for step in 0..=16 {
            sampler.sample(start + step * INTERVAL, commands(u64::from(step) * 50));
        }
        assert_eq!(sampler.rates(), Readings { commands: 500, input_bytes: 0, output_bytes: 5000 });
        sampler.sample(start + 16 * INTERVAL + INTERVAL / 2, || unreachable!("not due yet"));
        sampler.reset();
        assert_eq!(sampler.rates(), Readings::default());
    }
}

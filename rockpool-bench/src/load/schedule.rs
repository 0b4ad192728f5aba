//! When requests are sent.

use std::time::Duration;

use super::Length;

/// When the requests of one thread are due. All times are nanoseconds since the start of the run.
#[derive(Debug)]
pub struct Schedule {
    /// Requests that are still to be sent.
    remaining: u64,
    /// No request is sent from here on.
    end: u64,
    open: Option<Open>,
}

/// Open loop: the moments when requests are due depend on nothing that the server does.
#[derive(Debug)]
struct Open {
    first: f64,
    interval: f64,
    /// Requests that were sent.
    sent: u64,
}

impl Schedule {
    /// The schedule of thread number `thread` of `threads`: its share of the requests, those of all threads evenly
    /// interleaved.
    pub fn new(length: Length, rate_per_s: Option<f64>, thread: usize, threads: usize) -> Schedule {
        let (thread, threads) = (thread as u64, threads as u64);
        let (remaining, end) = match length {
            // A trace's length is known by now.
            Length::Trace => (0, u64::MAX),
            Length::Requests(count) => (count / threads + u64::from(thread < count % threads), u64::MAX),
            Length::For(duration) => (u64::MAX, nanoseconds(duration)),
        };
        let open = rate_per_s.map(|rate| {
            let interval = 1e9 / rate;
            Open { first: thread as f64 * interval, interval: threads as f64 * interval, sent: 0 }
        });
        Schedule { remaining, end, open }
    }

    /// Whether requests are due at a rate, whatever the replies.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Open loop: when the next request is due; none when there is no further.
    pub fn next_due(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let due = open.due(open.sent);
        (self.remaining > 0 && due < self.end).then_some(due)
    }

    /// Whether no further request will be sent.
    pub fn is_over(&self, now: u64) -> bool {
        self.remaining == 0 || now >= self.end || (self.is_open() && self.next_due().is_none())
    }

    /// When no request is sent any more, where that is known beforehand.
    pub fn end(&self) -> Option<u64> {
        (self.end < u64::MAX).then_some(self.end)
    }

    /// Closed loop: how many of `wanted` requests may be sent now; they count as sent.
    pub fn take(&mut self, wanted: usize, now: u64) -> usize {
        let taken = if now < self.end { self.remaining.min(wanted as u64) } else { 0 };
        self.remaining -= taken;
        taken as usize
    }

    /// Open loop: the moment when the next request was due, if that has come; it counts as sent.
    pub fn take_due(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due().filter(|due| *due <= now && now < self.end)?;
        self.remaining -= 1;
        if let Some(open) = &mut self.open {
            open.sent += 1;
        }
        Some(due)
    }

    /// Open loop: how late the next request is.
    pub fn behind(&self, now: u64) -> u64 {
        self.next_due().map_or(0, |due| now.saturating_sub(due))
    }

    /// Open loop, by time: requests that were due before the end and are not sent.
    pub fn unsent(&self) -> u64 {
        match &self.open {
            Some(open) if self.end < u64::MAX => {
                let due = ((self.end as f64 - open.first) / open.interval).ceil().max(0.0) as u64;
                due.saturating_sub(open.sent)
            }
            _ => 0,
        }
    }
}

impl Open {
    fn due(&self, number: u64) -> u64 {
        (self.first + number as f64 * self.interval) as u64
    }
}

/// The duration in nanoseconds; 584 years, where it is longer.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedules(length: Length, rate_per_s: Option<f64>, threads: usize) -> Vec<Schedule> {
        (0..threads).map(|thread| Schedule::new(length, rate_per_s, thread, threads)).collect()
    }

    #[test]
    fn threads_share_the_requests() {
        let mut threads = schedules(Length::Requests(11), None, 3);
        let taken: Vec<usize> = threads.iter_mut().map(|thread| thread.take(100, 0)).collect();
        assert_eq!(taken, [4, 4, 3]);
        assert!(threads.iter().all(|thread| thread.is_over(0)));
    }

    #[test]
    fn nothing_is_sent_after_the_end() {
        let mut closed = schedules(Length::For(Duration::from_nanos(100)), None, 1);
        assert_eq!((closed[0].take(7, 99), closed[0].take(7, 100)), (7, 0));
        let mut open = schedules(Length::For(Duration::from_secs(1)), Some(10.0), 1);
        assert_eq!(open[0].take_due(0), Some(0));
        assert_eq!((open[0].take_due(2_000_000_000), open[0].unsent()), (None, 9));
    }

    #[test]
    fn open_loops_of_threads_interleave() {
        let mut threads = schedules(Length::Requests(10), Some(1000.0), 2);
        let mut due = Vec::new();
        while threads.iter().any(|thread| !thread.is_over(0)) {
            threads.iter_mut().for_each(|thread| due.extend(thread.take_due(1_000_000_000)));
        }
        assert_eq!(due, (0..10).map(|number| number * 1_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_late_request_keeps_the_time_it_was_due() {
        let mut open = schedules(Length::Requests(3), Some(1000.0), 1);
        assert_eq!((open[0].take_due(0), open[0].take_due(999_999)), (Some(0), None));
        assert_eq!(open[0].behind(5_000_000), 4_000_000);
        assert_eq!((open[0].take_due(5_000_000), open[0].take_due(5_000_000)), (Some(1_000_000), Some(2_000_000)));
        assert!(open[0].is_over(5_000_000) && open[0].unsent() == 0);
    }
}

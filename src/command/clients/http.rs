//! Clients of HTTP: the one that is idle longest makes room for another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Client;

/// One pass over all clients finds the idlest ones, one part in so many.
const PASS_SHARE: usize = 16;

#[derive(Default)]
pub(super) struct HttpClients {
    pub by_id: BTreeMap<u64, Arc<Client>>,
    /// Since when they were idle, and the ids, of those that were idle longest at the last pass; the longest last. All others were
    /// idle for less long, which still holds as far as these have been idle since.
    idlest: Vec<(u64, u64)>,
}

impl HttpClients {
    /// Removes the one that has been idle for longest. `None`: all are being served.
    pub fn take_idlest(&mut self) -> Option<Arc<Client>> {
        self.next_of_last_pass().or_else(|| {
            self.find_idlest();
            self.next_of_last_pass()
        })
    }

    fn next_of_last_pass(&mut self) -> Option<Arc<Client>> {
        while let Some((since_ms, id)) = self.idlest.pop() {
            if self.by_id.get(&id).and_then(|client| idle_since_ms(client)) == Some(since_ms) {
                return self.by_id.remove(&id);
            }
        }
        None
    }

    fn find_idlest(&mut self) {
        let idle = self.by_id.iter().filter_map(|(id, client)| Some((idle_since_ms(client)?, *id)));
        self.idlest = idle.collect();
        let kept = self.idlest.len().div_ceil(PASS_SHARE);
        if kept < self.idlest.len() {
            self.idlest.select_nth_unstable(kept);
            self.idlest.truncate(kept);
        }
        self.idlest.sort_unstable_by(|one, other| other.cmp(one));
    }
}

/// Unix milliseconds; `None`: it is being served.
fn idle_since_ms(client: &Client) -> Option<u64> {
    (!client.is_blocked()).then(|| client.active_ms.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::super::entry::Peer;
    use super::*;

    #[test]
    fn the_order_is_that_of_idleness_whatever_happens_in_between() {
        let mut clients = HttpClients::default();
        for id in 1..=100 {
            let since_ms = 1000 + (id * 37) % 101;
            clients.by_id.insert(id, Arc::new(Client::new(id, Peer::default(), since_ms, true)));
        }
        let mut last_ms = 0;
        for step in 0..60 {
            let idlest = clients.by_id.values().filter_map(|client| idle_since_ms(client)).min();
            let gone = clients.take_idlest().expect("somebody is idle");
            let since_ms = gone.active_ms.load(Ordering::Relaxed);
            assert_eq!(Some(since_ms), idlest, "step {step}");
            assert!(since_ms >= last_ms);
            last_ms = since_ms;
            // One that would have been next does something; another is being served.
            let mut next = clients.by_id.values().filter(|client| !client.is_blocked());
            let (first, second) = (next.next().expect("one"), next.next().expect("one more"));
            first.active_ms.store(2000 + step, Ordering::Relaxed);
            second.set_blocked(step % 5 == 0);
        }
        clients.by_id.values().for_each(|client| client.set_blocked(true));
        assert!(clients.take_idlest().is_none());
    }
}

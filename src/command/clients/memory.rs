//! Client eviction: the memory of all clients, kept below `maxmemory-clients`
//! (<https://redis.io/docs/latest/develop/reference/clients/#client-eviction>).

use std::cmp::Reverse;
use std::sync::atomic::Ordering;

use super::{Client, Clients};

impl Clients {
    /// Counts what `client` takes now, and cuts off the largest clients if all of them take more than `max_bytes`
    /// together. Returns how many were cut off.
    pub fn limit_memory(&self, client: &Client, max_bytes: u64) -> usize {
        let grew = self.count_memory(client, client.memory_bytes());
        let is_over = self.memory_bytes.load(Ordering::Relaxed) > max_bytes.min(i64::MAX as u64) as i64;
        if grew && is_over { self.evict(max_bytes) } else { 0 }
    }

    /// Cuts off the largest clients until the others take at most `max_bytes` together. Those that CLIENT NO-EVICT
    /// protects count, but stay, as in Redis. Returns how many were cut off.
    pub fn evict(&self, max_bytes: u64) -> usize {
        // Two threads at a time would disconnect twice as many as needed.
        let Some(_evicting) = self.evicting.try_lock() else { return 0 };
        let mut clients: Vec<_> =
            self.all().into_iter().map(|client| (Reverse(client.memory_bytes()), client)).collect();
        let mut total_bytes: u64 = clients.iter().map(|(Reverse(bytes), _)| *bytes as u64).sum();
        clients.sort_by_key(|(bytes, _)| *bytes);
        let mut cut = 0;
        for (Reverse(bytes), client) in clients.iter().filter(|(_, client)| client.is_evictable()) {
            if total_bytes <= max_bytes {
                break;
            }
            tracing::warn!(client = client.id, bytes, "clients take more than maxmemory-clients, client cut");
            self.kill(client);
            total_bytes -= *bytes as u64;
            cut += 1;
        }
        cut
    }

    /// Updates the sum with `bytes` as the share of `client`. Returns whether that is more than before.
    pub(super) fn count_memory(&self, client: &Client, bytes: usize) -> bool {
        let before = client.counted_bytes.swap(bytes, Ordering::Relaxed);
        if bytes != before {
            self.memory_bytes.fetch_add(bytes as i64 - before as i64, Ordering::Relaxed);
        }
        bytes > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::clients::{BufferSizes, Ending, Peer};
    use std::sync::Arc;

    fn holding(clients: &Clients, bytes: usize) -> Arc<Client> {
        let client = clients.connect(9, |id| Client::new(id, Peer::default(), 0, true)).expect("room");
        client.set_buffer_sizes(BufferSizes { input_capacity: bytes, ..BufferSizes::default() });
        client
    }

    #[test]
    fn the_largest_go_until_the_rest_fits() {
        let clients = Clients::default();
        let all: Vec<_> = [300_000, 100_000, 400_000, 500_000].map(|bytes| holding(&clients, bytes)).into();
        all[3].set_evictable(false);
        for client in &all[..3] {
            assert_eq!(clients.limit_memory(client, 900_000), 0);
        }
        assert_eq!(clients.limit_memory(&all[3], 910_000), 1, "400,000 go, 900,000 stay");
        assert_eq!(all[2].ending(), Ending::Killed);
        assert_eq!(clients.evict(1), 2, "all but the one that is protected");
        assert_eq!((clients.len(), all[3].ending()), (1, Ending::Not));
        all.iter().for_each(|client| clients.disconnect(client));
        assert_eq!(clients.memory_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_has_not_grown_makes_nobody_go() {
        let clients = Clients::default();
        let client = holding(&clients, 500_000);
        assert_eq!(clients.limit_memory(&client, u64::MAX), 0);
        assert_eq!(clients.limit_memory(&client, 1000), 0);
        assert_eq!(clients.evict(1000), 1);
    }
}

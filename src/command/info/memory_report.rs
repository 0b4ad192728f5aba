//! How the memory in use divides, for INFO, MEMORY STATS and MEMORY DOCTOR.

use crate::base::memory::{self, AllocatorBytes};
use crate::base::system;
use crate::command::state::State;

/// Bytes, where nothing else is said.
#[derive(Clone, Debug)]
pub struct MemoryReport {
    pub used: u64,
    pub peak: u64,
    pub resident: u64,
    pub allocator: AllocatorBytes,
    /// In use before there was any key or client.
    pub startup: u64,
    /// Of each database with keys: its number, the slots and tables, the deadlines.
    pub databases: Vec<(usize, u64, u64)>,
    pub keys: u64,
    /// Clients' buffers.
    pub clients: u64,
}

impl MemoryReport {
    pub fn new(state: &State) -> MemoryReport {
        let used_databases = (0..state.keyspace.databases()).filter(|number| !state.keyspace.is_empty(*number));
        let overhead = |number| {
            let (tables, deadlines) = state.keyspace.overhead_bytes(number);
            (number, tables, deadlines)
        };
        let peak = state.peak_memory_bytes();
        MemoryReport {
            used: memory::used_bytes(),
            peak,
            resident: system::resident_bytes(),
            allocator: memory::allocator_bytes(),
            startup: state.startup_memory_bytes,
            databases: used_databases.map(overhead).collect(),
            clients: state.clients.all().iter().map(|client| client.memory_bytes() as u64).sum(),
            keys: state.keyspace.total_keys(),
        }
    }

    /// All that is neither key nor value.
    pub fn overhead(&self) -> u64 {
        let databases: u64 = self.databases.iter().map(|(_, tables, deadlines)| tables + deadlines).sum();
        (self.startup + databases + self.clients).min(self.used)
    }

    pub fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// The share of keys and values in the memory added since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used.saturating_sub(self.startup))
    }

    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    /// RAM taken for each byte in use.
    pub fn fragmentation(&self) -> f64 {
        self.resident as f64 / self.used.max(1) as f64
    }

    /// RAM taken beyond what is in use; negative where pages are not in RAM.
    pub fn fragmentation_bytes(&self) -> i64 {
        self.resident as i64 - self.used as i64
    }

    /// Pages in use for each byte in use.
    pub fn allocator_fragmentation(&self) -> (f64, i64) {
        beside(self.allocator.active, self.allocator.allocated)
    }

    /// Pages held for each that is in use.
    pub fn allocator_overhead(&self) -> (f64, i64) {
        beside(self.allocator.resident, self.allocator.active)
    }

    /// RAM taken for each byte that the allocator holds: programs, stacks.
    pub fn process_overhead(&self) -> (f64, i64) {
        beside(self.resident, self.allocator.resident)
    }

    pub fn bytes_per_key(&self) -> u64 {
        self.used.saturating_sub(self.startup).checked_div(self.keys).unwrap_or(0)
    }
}

/// The ratio and the difference.
fn beside(whole: u64, part: u64) -> (f64, i64) {
    (whole as f64 / part.max(1) as f64, whole as i64 - part as i64)
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A size as INFO shows it: two digits and the unit.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() as usize / 10).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / (1_u64 << (10 * power)) as f64, UNITS[power - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_redis() {
        let sizes = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (916_320, "894.84K"), (25_276_502_016, "23.54G")];
        sizes.iter().for_each(|(bytes, text)| assert_eq!(human(*bytes), *text));
        assert_eq!(human(u64::MAX), "16384.00P");
    }
}

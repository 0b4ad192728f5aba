//! The commands that took longest: <https://redis.io/docs/latest/commands/slowlog-get/>.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::chunks::BytesRef;

/// Arguments that an entry keeps at most.
const MAX_ARGUMENTS: usize = 32;
/// Bytes of an argument that an entry keeps at most.
const MAX_ARGUMENT_BYTES: usize = 128;

/// A command that was slow.
#[derive(Debug)]
pub struct SlowCommand {
    /// Numbers grow by one over the server's life.
    pub id: u64,
    /// Unix seconds.
    pub time_s: u64,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// Cut as [`shortened`] cuts them.
    pub arguments: Vec<Vec<u8>>,
    /// `address:port` of the client.
    pub client_address: String,
    /// What the client calls itself (CLIENT SETNAME); empty: nothing.
    pub client_name: Vec<u8>,
}

/// The slow commands that are kept.
#[derive(Default)]
pub struct SlowLog(Mutex<Log>);

#[derive(Default)]
struct Log {
    next_id: u64,
    /// The newest first.
    entries: VecDeque<Arc<SlowCommand>>,
}

impl SlowLog {
    /// Adds a command, whose `id` is given here, and drops the oldest beyond `max_len`.
    pub fn add(&self, mut command: SlowCommand, max_len: usize) {
        let mut log = self.0.lock();
        command.id = log.next_id;
        log.next_id += 1;
        log.entries.push_front(Arc::new(command));
        log.entries.truncate(max_len);
    }

    /// The newest `count` commands, the newest first. Those beyond `max_len`, which may have become less, go.
    pub fn newest(&self, count: usize, max_len: usize) -> Vec<Arc<SlowCommand>> {
        let mut log = self.0.lock();
        log.entries.truncate(max_len);
        log.entries.iter().take(count).cloned().collect()
    }

    /// How many commands are kept. Those beyond `max_len`, which may have become less, go.
    pub fn len(&self, max_len: usize) -> usize {
        let mut log = self.0.lock();
        log.entries.truncate(max_len);
        log.entries.len()
    }

    /// Forgets all of them. Numbers go on.
    pub fn clear(&self) {
        self.0.lock().entries.clear();
    }
}

/// Arguments as the log keeps them: at most 32, the last of which tells how many more there were; each at most 128
/// bytes long, behind which it tells how many more there were.
pub fn shortened<'a>(arguments: impl ExactSizeIterator<Item = BytesRef<'a>>) -> Vec<Vec<u8>> {
    let count = arguments.len();
    let kept = if count > MAX_ARGUMENTS { MAX_ARGUMENTS - 1 } else { count };
    let shorten = |argument: BytesRef<'a>| {
        let beginning: Vec<u8> = argument.parts().flatten().take(MAX_ARGUMENT_BYTES).copied().collect();
        match argument.len() - beginning.len() {
            0 => beginning,
            more => [&beginning, format!("... ({more} more bytes)").as_bytes()].concat(),
        }
    };
    let mut shortened: Vec<_> = arguments.take(kept).map(shorten).collect();
    if kept < count {
        shortened.push(format!("... ({} more arguments)", count - kept).into_bytes());
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chunks::{Chunks, LARGE_BYTES};

    #[test]
    fn arguments_are_cut_at_their_limits_and_not_before() {
        let long = [b'a'; 129];
        let all = |count: usize| shortened(std::iter::repeat_n(BytesRef::Slice(&long[..128]), count));
        assert_eq!((all(32).len(), all(32)[31].len()), (32, 128));
        assert_eq!((all(33).len(), all(33)[31].as_slice()), (32, &b"... (2 more arguments)"[..]));
        let cut = shortened([BytesRef::Slice(&long)].into_iter());
        assert_eq!(cut[0], [&long[..128], b"... (1 more bytes)"].concat());
        let large = Chunks::from(&vec![b'a'; 3 * LARGE_BYTES + 128][..]);
        let cut = shortened([BytesRef::Chunks(&large)].into_iter());
        assert_eq!(cut[0], [&long[..128], format!("... ({} more bytes)", 3 * LARGE_BYTES).as_bytes()].concat());
    }
}

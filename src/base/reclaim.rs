//! Freeing much memory where nobody waits for it. It is counted off at once: whoever makes room need not look for more.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};

use super::memory::{self, PENDING_BYTES};

/// What may wait to be freed, in bytes; whoever lets go of more frees it himself.
const PENDING_MAX_BYTES: u64 = 2 << 30;

type Chunk = Vec<u8>;

/// Frees `chunks` soon, in a thread of its own.
pub fn free(chunks: Vec<Chunk>) {
    static THREAD: OnceLock<Option<Sender<Vec<Chunk>>>> = OnceLock::new();
    let bytes = allocated_bytes(&chunks);
    let thread = THREAD.get_or_init(start).as_ref();
    let is_much = PENDING_BYTES.load(Ordering::Relaxed) + bytes > PENDING_MAX_BYTES;
    let Some(thread) = thread.filter(|_| bytes > 0 && !is_much) else { return };
    PENDING_BYTES.fetch_add(bytes, Ordering::Relaxed);
    memory::count_off(bytes);
    if let Err(refused) = thread.send(chunks) {
        free_counted_off(refused.0);
    }
}

/// `None`: there are no threads left, and everyone frees for himself.
fn start() -> Option<Sender<Vec<Chunk>>> {
    let (sender, receiver) = channel::<Vec<Chunk>>();
    let free_all = move || receiver.into_iter().for_each(free_counted_off);
    std::thread::Builder::new().name("reclaim".to_owned()).spawn(free_all).ok().map(|_| sender)
}

fn free_counted_off(chunks: Vec<Chunk>) {
    for chunk in chunks {
        let bytes = chunk.capacity() as u64;
        memory::count_in(bytes);
        drop(chunk);
        PENDING_BYTES.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn allocated_bytes(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|chunk| chunk.capacity() as u64).sum()
}

//! What a start does: take over the counts that are on disk, then replay what the journal has beyond them, then begin numbers
//! of changes that were never used. No record is read but those that a change in place is replayed on.

use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::thread::ScopedJoinHandle;

use super::super::memory::counts::Size;
use super::super::memory::databases::Databases;
use super::super::memory::guard::{NewExpiry, SlotGuard};
use super::super::memory::key::Caller;
use super::super::residency::loader::{Cold, Loader};
use super::super::residency::resident::Residence;
use super::super::watch::effect::{ChangeId, Effect};
use super::super::watch::event::Event;
use crate::base::progress::Progress;
use crate::base::slot::SLOTS;
use crate::store::journal::Replay;
use crate::store::record::RecordKey;
use crate::store::rocks::{Batch, Rocks, RocksError};

/// Nothing expires while it is replayed: it had not when it was written.
const REPLAY: Caller = Caller { now_ms: 0, touches: false };

/// The numbers of changes begin with that of their boot, in the upper half.
const BOOT_SHIFT: u32 = 32;

/// How many blocks wait for a thread that replays, at most.
const BLOCKS_AHEAD: usize = 64;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    /// Blocks that were looked through.
    pub blocks: u64,
    /// Changes that were not on disk yet.
    pub applied: u64,
    /// Changes that were.
    pub known: u64,
}

/// Replays blocks of the journal: what its slots do not have yet, in their order. Each thread has its share of the slots.
pub struct Replayer<'scope> {
    databases: &'scope Databases,
    shares: Vec<Share<'scope>>,
    progress: &'scope Progress,
    done: Recovery,
}

struct Share<'scope> {
    queue: mpsc::SyncSender<Block>,
    thread: ScopedJoinHandle<'scope, Result<Recovery, String>>,
}

/// A block, and where in it the changes to the slots of a share are.
struct Block {
    bytes: Arc<[u8]>,
    changes: Vec<(ChangeId, usize)>,
}

impl Replayer<'_> {
    /// What was replayed, once the journal has ended.
    pub fn done(&self) -> Recovery {
        self.done
    }
}

impl Replay for Replayer<'_> {
    fn begin(&mut self, total_bytes: u64) {
        self.progress.begin(total_bytes);
    }

    fn pass(&mut self, bytes: u64) {
        self.progress.advance(bytes);
    }

    /// Looks through it and hands it over.
    fn block(&mut self, payload: &[u8]) -> Result<(), String> {
        self.done.blocks += 1;
        let bytes: Arc<[u8]> = payload.into();
        let mut parts: Vec<Vec<(ChangeId, usize)>> = self.shares.iter().map(|_| Vec::new()).collect();
        let mut rest = payload;
        while !rest.is_empty() {
            let offset = payload.len() - rest.len();
            let (id, key, _) = Effect::decode(&mut rest).ok_or("a change in it cannot be read")?;
            check_database(self.databases, id.database)?;
            if id.slot != crate::base::slot::slot(key) {
                return Err("a change in it is of another slot than its key's".to_owned());
            }
            let share = usize::from(id.slot) % parts.len();
            parts[share].push((id, offset));
        }
        for (share, changes) in self.shares.iter().zip(parts) {
            // A thread that has failed takes no more, and says why in the end.
            let _ = share.queue.send(Block { bytes: bytes.clone(), changes });
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        for Share { queue, thread } in self.shares.drain(..) {
            drop(queue);
            let replayed = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            self.done.applied += replayed.applied;
            self.done.known += replayed.known;
        }
        Ok(())
    }
}

/// Refuses what belongs to a database beyond those that there are.
fn check_database(databases: &Databases, physical: u8) -> Result<(), String> {
    let (number, present) = (usize::from(physical), databases.databases());
    if number < present {
        return Ok(());
    }
    Err(format!("it was used with more than {present} databases: start with `databases {}` or more", number + 1))
}

/// Takes over what the store tells of its slots, before anything is replayed or served.
///
/// # Errors
/// When the store cannot be read.
pub fn adopt(databases: &Databases, store: &Rocks) -> Result<(), RocksError> {
    check_secret(databases, store)?;
    if let Some(order) = store.order()? {
        order.iter().try_for_each(|physical| check_database(databases, *physical)).map_err(RocksError::not_tried)?;
        databases.set_order(&order);
    }
    for (physical, number, meta) in store.slots()? {
        check_database(databases, physical).map_err(RocksError::not_tried)?;
        let database = &databases.all[usize::from(physical)];
        if number >= SLOTS {
            return Err(RocksError::corruption(format!("there is no slot {number} of database {physical}")));
        }
        let slots = database.slots.get().unwrap_or_else(|| databases.begin_slots(physical));
        let mut slot = slots.slots[usize::from(number)].lock();
        slot.sequence = meta.sequence;
        let size =
            Size { keys: meta.keys, expiring: meta.expiring, key_bytes: meta.key_bytes, value_bytes: meta.value_bytes };
        slot.size = size.into();
        (slot.cold, slot.differences.may_be_stored) = (meta.keys as u32, meta.keys > 0);
        database.counts.add(number, size.as_change());
        database.counts.add_cold(number, meta.keys as i64);
    }
    Ok(())
}

/// Checks that keys have the hash that they had when their records were written: with another secret none would be found.
fn check_secret(databases: &Databases, store: &Rocks) -> Result<(), RocksError> {
    let mut is_right = true;
    let looked = store.scan_records(&[], |bytes, _| {
        let Some(record_key) = RecordKey::decode(bytes) else { return Ok(ControlFlow::Continue(())) };
        if let Some(key) = store.whole_key(&record_key, bytes)? {
            is_right = databases.key_hash(&key).hash >> 32 == u64::from(record_key.hash);
        }
        Ok(ControlFlow::Break(()))
    });
    if let Err(error) = looked {
        // Whoever reads that record is told. The others can be read.
        tracing::warn!(%error, "the first record cannot be read");
    }
    match is_right {
        true => Ok(()),
        false => Err(RocksError::corruption("the secret in FORMAT is not the one that keys were placed by".to_owned())),
    }
}

/// Begins a boot, once all is replayed and before anything changes: it has a number of its own, and the changes of all slots
/// have numbers beyond those of earlier boots.
///
/// The last numbers that a crash has cut off are known to nobody: the journal may have lost its end, and never had the
/// expiries. But an observer may have been told of these changes, and must not meet their numbers again with others. Within
/// a boot, so many changes of one slot that are in no round and in no journal (2^32) cannot be.
///
/// # Errors
/// When the boot's number cannot be read or written.
pub fn begin_boot(databases: &Databases, store: &Rocks) -> Result<u64, RocksError> {
    let last = store.last_boot()?.max(databases.last_sequence() >> BOOT_SHIFT);
    let next = last.checked_add(1).and_then(|boot| Some((boot, boot.checked_mul(1 << BOOT_SHIFT)?)));
    let exhausted = || RocksError::corruption(format!("there is no number for a boot beyond {last}"));
    let (boot, floor) = next.ok_or_else(exhausted)?;
    let mut batch = Batch::default();
    batch.put_boot(boot);
    store.write(&batch)?;
    // On disk before it is used.
    store.flush_wal(true)?;
    databases.raise_sequences(floor);
    Ok(boot)
}

/// Lets `read` have what replays a journal on so many threads, and counts in `progress` what they have done.
pub fn replaying<T>(
    databases: &Databases,
    threads: usize,
    progress: &Progress,
    read: impl FnOnce(&mut Replayer<'_>) -> T,
) -> T {
    std::thread::scope(|scope| {
        let shares = (0..threads.max(1)).map(|_| {
            let (queue, blocks) = mpsc::sync_channel(BLOCKS_AHEAD);
            Share { queue, thread: scope.spawn(move || replay_share(databases, blocks, progress)) }
        });
        read(&mut Replayer { databases, shares: shares.collect(), progress, done: Recovery::default() })
    })
}

/// Replays what is handed over, up to the first failure.
fn replay_share(databases: &Databases, blocks: mpsc::Receiver<Block>, progress: &Progress) -> Result<Recovery, String> {
    let mut recovery = Recovery::default();
    for Block { bytes, mut changes } in blocks {
        // Threads put their changes in side by side; a slot's are told apart by their numbers.
        changes.sort_unstable();
        for (id, offset) in changes {
            let mut rest = &bytes[offset..];
            let (_, key, effect) = Effect::decode(&mut rest).ok_or("a change cannot be read a second time")?;
            if replay_effect(databases, id, key, effect)? {
                recovery.applied += 1;
            } else {
                recovery.known += 1;
            }
            progress.advance((bytes.len() - offset - rest.len()) as u64);
        }
    }
    Ok(recovery)
}

fn replay_effect(databases: &Databases, id: ChangeId, key: &[u8], effect: Effect<'_>) -> Result<bool, String> {
    let key = databases.key(key);
    let mut guard = SlotGuard::from(databases.lock_slot(REPLAY, id.database, id.slot));
    if id.sequence <= guard.slot.sequence {
        return Ok(false);
    }
    // The journal has this change already.
    guard.staged = Some(Box::default());
    if matches!(effect, Effect::Expire(_) | Effect::Modify(_)) {
        let mut cold = Cold::default();
        loop {
            match guard.make_resident(&key, &mut cold) {
                Residence::Here => break,
                Residence::Failed(error) => return Err(error),
                Residence::Cold => load_now(databases, &mut cold),
            }
        }
    }
    match effect {
        Effect::Put { value, expiry_ms } => {
            let expiry = expiry_ms.map_or(NewExpiry::Never, NewExpiry::At);
            let value = value.decode().ok_or_else(|| format!("unknown type {}", value.kind()))?;
            guard.put(&key, value, expiry, Event::Set);
        }
        Effect::Delete | Effect::Expired | Effect::Evicted if guard.remove(&key) => {}
        Effect::Delete | Effect::Expired | Effect::Evicted => guard.add_blind_tombstone(&key),
        Effect::Expire(expiry_ms) => drop(guard.set_expiry(&key, expiry_ms)),
        Effect::Modify(change) => drop(guard.modify(&key, change, Event::Set)),
    }
    guard.slot.sequence = id.sequence;
    Ok(true)
}

/// Loads in this thread, while there is nobody else.
fn load_now(databases: &Databases, cold: &mut Cold) {
    if let Some(tier) = databases.tier() {
        Loader::load_here(&tier.store, cold);
    }
}

//! A power cut, simulated: of what was not synced, any part may be on disk.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Write,
    Sync,
    Release,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..3000_usize).prop_map(Step::Append),
        6 => Just(Step::Write),
        1 => Just(Step::Sync),
        1 => Just(Step::Release),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Loses some of the sectors and headers that were not synced.
fn damage(path: &Path, durable: u64, header_is_durable: bool, losses: &mut impl FnMut() -> bool, sector_bytes: usize) {
    let mut bytes = std::fs::read(path).expect("a segment");
    let unsynced: Vec<_> = layout(path).into_iter().filter(|&(number, _)| number > durable).collect();
    for (_, range) in &unsynced {
        // A block lost whole or in part, down to the size that a disk writes whole.
        let mut begin = range.start;
        while begin < range.end {
            let end = (begin / sector_bytes * sector_bytes + sector_bytes).min(range.end);
            if losses() {
                bytes[begin..end].fill(0);
            }
            begin = end;
        }
    }
    if !header_is_durable && losses() {
        bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&SegmentHeader::spare().encode());
    }
    std::fs::write(path, bytes).expect("a write");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_leaves_a_prefix_with_all_that_was_durable(
        steps in steps(),
        losses in proptest::collection::vec(any::<bool>(), 64),
        sector_bytes in prop_oneof![Just(512_usize), Just(4096), Just(1 << 20)],
    ) {
        let place = Place::new();
        let settings = Options { segment_bytes: 12 * 1024, ..options(SyncPolicy::Never) };
        let mut journal = place.open(settings.clone()).0;
        // What each block holds, beginning with block 1.
        let mut written: Vec<Vec<u8>> = Vec::new();
        let mut open_block: Vec<u8> = Vec::new();
        let mut released = 0;
        let mut number = 0_u32;
        // Its name and header are on disk.
        let newest_segment = || super::super::files::list(place.path()).expect("a list").segments.pop().unwrap_or(0);
        let mut durable_segment = newest_segment();
        for step in steps {
            match step {
                Step::Append(length) => {
                    number += 1;
                    let record = number.to_le_bytes().repeat(length.div_ceil(4));
                    append(&journal, &record);
                    open_block.extend_from_slice(&record);
                }
                Step::Write | Step::Sync => {
                    if matches!(step, Step::Sync) {
                        journal.sync().expect("a sync");
                        durable_segment = newest_segment();
                    } else {
                        journal.write_all().expect("a write");
                    }
                    if !open_block.is_empty() {
                        written.push(std::mem::take(&mut open_block));
                    }
                }
                Step::Release => {
                    let durable = journal.status().durable_block;
                    released = released.max(durable);
                    journal.release(Ticket(durable));
                }
                Step::Reopen => {
                    // The process is killed: what it has written is there.
                    drop(journal);
                    open_block.clear();
                    let (again, replayed) = place.open(settings.clone());
                    prop_assert!(replayed.len() >= written.len() - released as usize);
                    prop_assert!(written.ends_with(&replayed), "{} of {}", replayed.len(), written.len());
                    journal = again;
                    durable_segment = newest_segment();
                }
            }
        }
        let durable = journal.status().durable_block;
        drop(journal);

        let mut losses = losses.into_iter().cycle();
        let cut = TempDir::new().expect("a directory");
        copy(place.path(), cut.path());
        crate::store::mark::end_boot(cut.path());
        let mut segments = super::super::files::list(cut.path()).expect("a list").segments;
        // The newest segments may not have got their names.
        while let Some(&last) = segments.last()
            && last > durable_segment
            && losses.next().unwrap_or_default()
        {
            let name = format!("spare-{:020}", 1000 + last);
            std::fs::rename(super::super::files::segment_path(cut.path(), last), cut.path().join(name)).expect("a rename");
            segments.pop();
        }
        for &segment in &segments {
            let path = super::super::files::segment_path(cut.path(), segment);
            damage(&path, durable, segment <= durable_segment, &mut || losses.next().unwrap_or_default(), sector_bytes);
        }
        for attempt in 0..3 {
            let (journal, replayed) = open(cut.path(), settings.clone());
            let first = replayed.first().and_then(|first| written.iter().position(|block| block == first));
            let first = first.unwrap_or(durable as usize);
            prop_assert!(first as u64 <= released, "begins after {first}, released {released}");
            prop_assert!(first + replayed.len() >= durable as usize, "{durable} durable, {} there", replayed.len());
            prop_assert_eq!(&written[first..first + replayed.len()], &replayed[..]);
            if attempt == 0 {
                written.truncate(first + replayed.len());
            }
            // Nothing is lost from now on.
            prop_assert_eq!(first + replayed.len(), written.len());
            // It goes on, and what is written now is there after the next start.
            let payload = vec![attempt; 5000];
            prop_assert_eq!(block(&journal, &payload).block(), written.len() as u64 + 1);
            written.push(payload);
        }
        let distinct: HashSet<&Vec<u8>> = written.iter().collect();
        prop_assert_eq!(distinct.len(), written.len());
    }
}

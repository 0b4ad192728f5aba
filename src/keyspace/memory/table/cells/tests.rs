use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::keyspace::entry::Content;
use crate::keyspace::recency::Recency;

fn entry(key: &[u8], value: u32) -> Entry {
    Entry::new(key, Content::Inline(&value.to_le_bytes()), None, Recency::from_bits(0))
}

fn value(entry: &Entry) -> u32 {
    u32::from_le_bytes(entry.inline().try_into().unwrap())
}

/// What holds of every table between two operations.
fn check(table: &Table) {
    assert_eq!(table.cells().iter().filter(|cell| **cell != Cell::EMPTY).count(), table.filled as usize);
    for (index, cell) in table.cells().iter().enumerate().filter(|(_, cell)| **cell != Cell::EMPTY) {
        let (mut probe, block) = (table.home(cell.token()), table.block(index));
        assert!(block.contains(&probe), "an entry is in a block that is not its own");
        while probe != index {
            assert!(table.cells()[probe] != Cell::EMPTY, "a gap between an entry and its home");
            probe = table.after(probe);
        }
    }
    let Some(overflow) = &table.overflow else { return };
    assert_eq!(overflow.order.len(), overflow.cells.len());
    assert!(!overflow.cells.is_empty());
    for (order, number) in &overflow.order {
        let cell = overflow.cells[*number];
        assert_eq!(*order, overflow_order(cell.token(), cell.entry().key()));
        let block = table.block(table.home(cell.token()));
        assert!(table.cells()[block].iter().all(|cell| *cell != Cell::EMPTY), "overflow of a block with room");
    }
}

/// The entries from `first` on, until at least `count` were visited, and where to go on.
fn scan(table: &Table, first: u32, count: usize, mut visit: impl FnMut(&Entry)) -> Option<u32> {
    let (mut visited, mut last) = (0, first);
    for (token, entry) in table.ordered(first) {
        assert!(token >= last, "out of order");
        if visited >= count && token > last {
            return Some(token);
        }
        visit(&entry);
        (visited, last) = (visited + 1, token);
    }
    None
}

/// How keys are spread over the tokens: as a hash does, over a few of them, within a range, all in one.
fn token_of(key: u32, spread: u32) -> u32 {
    let hash = key.wrapping_mul(0x9E37_79B1) >> (32 - TOKEN_BITS);
    match spread % 4 {
        0 => hash,
        1 => hash % 13 * 80_000,
        2 => 700_000 + hash / 40,
        _ => (1 << TOKEN_BITS) - 1,
    }
}

proptest! {
    #[test]
    fn a_table_is_a_map(steps in prop::collection::vec((0u32..900, 0u32..3, any::<u32>()), 0..3000), spread in 0u32..4) {
        let token = |key: u32| token_of(key, spread);
        let (mut table, mut model) = (Table::default(), BTreeMap::new());
        for (step, (key, kind, number)) in steps.into_iter().enumerate() {
            let (name, insert) = (key.to_string().into_bytes(), kind > 0);
            match (table.find_key(token(key), &name), insert) {
                (Some(index), true) => table.get_mut(index).set_inline(&number.to_le_bytes(), None),
                (Some(index), false) => drop(table.remove(index)),
                (None, true) => drop(table.insert(token(key), entry(&name, number))),
                (None, false) => {}
            }
            if insert { model.insert(name, number); } else { model.remove(&name); }
            prop_assert_eq!(table.len(), model.len());
            if step % 100 == 0 {
                check(&table);
            }
        }
        check(&table);
        let content: BTreeMap<Vec<u8>, u32> = table.iter().map(|entry| (entry.key().to_vec(), value(&entry))).collect();
        prop_assert_eq!(&content, &model);
        for key in 0..900u32 {
            let name = key.to_string().into_bytes();
            prop_assert_eq!(table.find_key(token(key), &name).map(|index| value(&table.get(index))), model.get(&name).copied());
            prop_assert_eq!(table.find(token(key), |entry| entry.key() == name).is_some(), model.contains_key(&name));
        }
        let odd = |entry: &Entry| value(entry) % 2 == 1;
        prop_assert_eq!(table.remove_where(odd), model.values().filter(|number| **number % 2 == 1).count());
        check(&table);
        prop_assert!(table.iter().all(|entry| !odd(&entry)));
        prop_assert_eq!(table.len(), model.values().filter(|number| **number % 2 == 0).count());
    }

    /// What is there throughout a scan is seen exactly once, while other keys come and go between its calls.
    #[test]
    fn scan_sees_what_stays_once(stay in prop::collection::btree_set(any::<u32>(), 0..400),
                                 churn in prop::collection::vec((any::<u32>(), any::<bool>()), 0..1500),
                                 count in 1usize..20, spread in 0u32..4) {
        let token = |key: u32| token_of(key, spread);
        let mut table = Table::default();
        for key in &stay { table.insert(token(*key), entry(&key.to_le_bytes(), 0)); }
        let (mut seen, mut cursor, mut churn) = (Vec::new(), Some(0), churn.into_iter());
        while let Some(first) = cursor {
            cursor = scan(&table, first, count, |entry| seen.push(u32::from_le_bytes(entry.key().try_into().unwrap())));
            for (key, insert) in churn.by_ref().take(60).filter(|(key, _)| !stay.contains(key)) {
                match table.find_key(token(key), &key.to_le_bytes()) {
                    Some(index) if !insert => drop(table.remove(index)),
                    None if insert => drop(table.insert(token(key), entry(&key.to_le_bytes(), 0))),
                    _ => {}
                }
            }
        }
        let stayed: Vec<u32> = seen.iter().copied().filter(|key| stay.contains(key)).collect();
        prop_assert_eq!(stayed.len(), stay.len());
        prop_assert_eq!(stayed.into_iter().collect::<BTreeSet<_>>(), stay);
    }
}

#[test]
fn memory_follows_the_number_of_entries() {
    let mut table = Table::default();
    for key in 0..1000u32 {
        table.insert(key * 1048, entry(&key.to_le_bytes(), 0));
    }
    assert!(table.memory_bytes() <= 1000 * 8 * 2, "{}", table.memory_bytes());
    for key in 0..1000u32 {
        let index = table.find_key(key * 1048, &key.to_le_bytes()).unwrap();
        table.remove(index);
    }
    assert!(table.memory_bytes() <= MIN_CAPACITY * 8 * 2);
}

/// Whoever picks keys by their tokens gets no more work out of the table than others: the cells that are looked at, and the
/// resizes, stay what they are.
#[test]
fn keys_that_lie_together_cost_what_others_do() {
    const KEYS: u32 = 40_000;
    type PlaceOf = fn(u32) -> u32;
    let spreads: [(&str, PlaceOf); 4] = [
        ("all in one token", |_| 12_345),
        ("in a twenty-fifth of all tokens", |key| 500_000 + key.wrapping_mul(0x9E37_79B1) % 40_000),
        ("one beside the other", |key| key),
        ("one before the other", |key| (1 << TOKEN_BITS) - 1 - key),
    ];
    for (name, token) in spreads {
        let mut table = Table::default();
        let began = std::time::Instant::now();
        for key in 0..KEYS {
            let bytes = key.to_le_bytes();
            assert_eq!(table.find_key(token(key), &bytes), None);
            table.insert(token(key), entry(&bytes, key));
        }
        check(&table);
        for key in 0..KEYS {
            let index = table.find_key(token(key), &key.to_le_bytes()).expect(name);
            assert_eq!(value(&table.get(index)), key);
        }
        let mut seen = 0;
        scan(&table, 0, usize::MAX, |_| seen += 1);
        assert_eq!(seen, KEYS);
        let drawn: BTreeSet<u32> =
            (0..1000).filter_map(|_| Some(value(&table.get(table.draw(crate::base::thread::random)?)))).collect();
        assert!(drawn.len() > 950, "{name}: {}", drawn.len());
        for key in 0..KEYS {
            let index = table.find_key(token(key), &key.to_le_bytes()).expect(name);
            table.remove(index);
        }
        assert_eq!((table.len(), table.capacity as usize), (0, MIN_CAPACITY), "{name}");
        assert!(began.elapsed().as_secs() < 60, "{name}: {:?}", began.elapsed());
    }
}

/// Keys that come and go make a table grow and shrink; what lies in its overflow is left alone by that.
#[test]
fn a_resize_costs_the_same_however_full_the_overflow_is() {
    let cost = |overflowing: u32| {
        let mut table = Table::default();
        for key in 0..overflowing {
            table.insert(0, entry(&key.to_le_bytes(), key));
        }
        let began = std::time::Instant::now();
        for _ in 0..20 {
            let others = || (0..1000).map(|other| (other * 1048, other.to_string().into_bytes()));
            for (token, key) in others() {
                table.insert(token, entry(&key, 0));
            }
            assert!(table.capacity >= 1024);
            for (token, key) in others() {
                let index = table.find_key(token, &key).unwrap();
                table.remove(index);
            }
            assert!(table.capacity <= 320);
        }
        let cost = began.elapsed();
        check(&table);
        assert_eq!(table.len(), overflowing as usize);
        cost
    };
    let (few, many) = (cost(1000), cost(150_000));
    assert!(many < 4 * few + std::time::Duration::from_millis(500), "{few:?}, {many:?}");
}

#[test]
fn keys_that_nobody_picked_seldom_overflow() {
    let mut table = Table::default();
    let mut most = 0.0_f64;
    for key in 0..200_000u32 {
        table.insert(token_of(key, 0), entry(&key.to_le_bytes(), key));
        if key % 1000 == 999 {
            most = most.max(table.overflowing() as f64 / table.len() as f64);
        }
    }
    check(&table);
    assert!(most < 0.005, "{most}");
    assert!(table.memory_bytes() < 200_000 * 8 * 3 / 2);
    let mut drawn = BTreeSet::new();
    for _ in 0..2000 {
        drawn.insert(value(&table.get(table.draw(crate::base::thread::random).unwrap())));
    }
    assert!(drawn.len() > 1900);
}

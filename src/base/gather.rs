//! Bytes in a row, of which large parts lie elsewhere and are only referred to.

use std::io::IoSlice;
use std::ops::Range;

use smallvec::SmallVec;

use super::chunks::{BytesRef, Chunks, LARGE_BYTES};

/// So many slices go into one system call.
pub const SLICES: usize = 16;

/// Chunks that come before the byte `at` of the others.
#[derive(Clone, Debug)]
struct Shared {
    at: usize,
    chunks: Chunks,
}

/// A buffer to append to, by copy or by reference.
#[derive(Clone, Debug, Default)]
pub struct Gather {
    bytes: Vec<u8>,
    shared: Vec<Shared>,
    shared_bytes: usize,
}

/// A place between two appends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    shared: usize,
}

impl Mark {
    /// Whether between the other place and this something is appended by reference.
    #[inline]
    pub fn refers_more_than(self, other: Mark) -> bool {
        self.shared != other.shared
    }
}

impl Gather {
    /// Where bytes are appended that are to be copied; nothing may be taken away from it.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Everything, if nothing of it lies elsewhere.
    #[inline]
    pub fn plain(&self) -> Option<&[u8]> {
        self.shared.is_empty().then_some(&self.bytes[..])
    }

    /// The bytes that do not lie elsewhere.
    #[inline]
    pub fn own(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends chunks by reference.
    pub fn share(&mut self, chunks: Chunks) {
        self.shared_bytes += chunks.len();
        self.shared.push(Shared { at: self.bytes.len(), chunks });
    }

    /// Appends a large string by reference, any other by copy.
    #[inline]
    pub fn put(&mut self, bytes: BytesRef<'_>) {
        match bytes {
            BytesRef::Slice(bytes) => self.bytes.extend_from_slice(bytes),
            BytesRef::Chunks(chunks) => self.put_chunks(chunks),
        }
    }

    #[cold]
    fn put_chunks(&mut self, chunks: &Chunks) {
        match chunks.len() {
            ..LARGE_BYTES => chunks.parts().for_each(|part| self.bytes.extend_from_slice(part)),
            _ => self.share(chunks.clone()),
        }
    }

    /// Length in bytes, of shared strings as well.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Whether there is nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.shared.is_empty()
    }

    /// What it has allocated of its own, and what it refers to.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.shared_bytes
    }

    /// Takes out everything.
    #[inline]
    pub fn clear(&mut self) {
        self.truncate(Mark::default());
    }

    /// Gives memory back beyond `bytes`.
    #[inline]
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.shrink_to(bytes);
        self.shared.shrink_to(bytes / size_of::<Shared>());
    }

    /// The present end, to which `truncate` can go back.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), shared: self.shared.len() }
    }

    /// Takes back what was appended since the mark.
    #[inline]
    pub fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        if self.shared.len() > mark.shared {
            self.truncate_shared(mark.shared);
        }
    }

    #[cold]
    fn truncate_shared(&mut self, count: usize) {
        self.shared.truncate(count);
        self.shared_bytes = self.shared.iter().map(|shared| shared.chunks.len()).sum();
    }

    /// What was appended between two marks, if nothing of it lies elsewhere.
    #[inline]
    pub fn plain_between(&self, from: Mark, to: Mark) -> Option<&[u8]> {
        (from.shared == to.shared).then(|| &self.bytes[from.bytes..to.bytes])
    }

    /// Appends all of another one.
    pub fn extend(&mut self, other: &Gather) {
        let mut copied = 0;
        for shared in &other.shared {
            self.bytes.extend_from_slice(&other.bytes[copied..shared.at]);
            copied = shared.at;
            self.share(shared.chunks.clone());
        }
        self.bytes.extend_from_slice(&other.bytes[copied..]);
    }

    /// Moves what was appended between two marks to the end of `into`. In its place stay empty references.
    pub fn move_between(&mut self, from: Mark, to: Mark, into: &mut Gather) {
        let mut copied = from.bytes;
        for shared in &mut self.shared[from.shared..to.shared] {
            into.bytes.extend_from_slice(&self.bytes[copied..shared.at]);
            copied = shared.at;
            self.shared_bytes -= shared.chunks.len();
            into.share(std::mem::take(&mut shared.chunks));
        }
        into.bytes.extend_from_slice(&self.bytes[copied..to.bytes]);
    }

    /// All parts, in order.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.parts_from(0)
    }

    /// What follows the first `offset` bytes.
    fn parts_from(&self, offset: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let begin_of = move |index: usize| index.checked_sub(1).map_or(0, |before: usize| self.shared[before].at);
        let mut skipped = offset;
        let mut skip = move |bytes: usize| {
            let skips = skipped.min(bytes);
            skipped -= skips;
            skips
        };
        let rows = (0..=self.shared.len()).flat_map(move |index| {
            let next = self.shared.get(index);
            let row = &self.bytes[begin_of(index)..next.map_or(self.bytes.len(), |shared| shared.at)];
            let row = &row[skip(row.len())..];
            let chunks = next.map(|shared| shared.chunks.parts_from(skip(shared.chunks.len())));
            std::iter::once(row).chain(chunks.into_iter().flatten())
        });
        rows.filter(|part| !part.is_empty())
    }

    /// A copy of the bytes in `range`, which must lie within.
    pub fn copy_part(&self, range: Range<usize>) -> Vec<u8> {
        let mut part = Vec::with_capacity(range.len());
        for bytes in self.parts_from(range.start) {
            part.extend_from_slice(&bytes[..bytes.len().min(range.len() - part.len())]);
        }
        part
    }

    /// The beginning of what follows the first `offset` bytes, for a system call: at most `most_bytes` bytes.
    pub fn slices(&self, offset: usize, most_bytes: usize) -> SmallVec<[IoSlice<'_>; SLICES]> {
        let mut left = most_bytes;
        let bounded = self.parts_from(offset).take(SLICES).map_while(|part| {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            (!part.is_empty()).then(|| IoSlice::new(part))
        });
        bounded.collect()
    }

    /// Lets go of the first `bytes` bytes.
    pub fn drop_front(&mut self, bytes: usize) {
        let (mut left, mut dropped, mut passed) = (bytes, 0, 0);
        for shared in &mut self.shared {
            let before = shared.at - dropped;
            if left <= before {
                break;
            }
            left -= before;
            dropped = shared.at;
            let front = left.min(shared.chunks.len());
            left -= front;
            self.shared_bytes -= front;
            if front < shared.chunks.len() {
                shared.chunks.drop_front(front);
                break;
            }
            passed += 1;
        }
        dropped += left;
        self.shared.drain(..passed);
        self.bytes.drain(..dropped.min(self.bytes.len()));
        self.shared.iter_mut().for_each(|shared| shared.at -= dropped);
    }

    /// A copy in a row.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece() -> impl Strategy<Value = (bool, Vec<u8>)> {
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..30))
    }

    fn add(gather: &mut Gather, expected: &mut Vec<u8>, (is_shared, bytes): (bool, Vec<u8>)) {
        match is_shared {
            true => gather.share(Chunks::from(&bytes[..])),
            false => gather.bytes().extend_from_slice(&bytes),
        }
        expected.extend(bytes);
    }

    fn rest(gather: &Gather, offset: usize, most_bytes: usize) -> Vec<u8> {
        gather.slices(offset, most_bytes).iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn a_gather_reads_as_one_row(
            before in prop::collection::vec(piece(), 0..6),
            middle in prop::collection::vec(piece(), 0..6),
            after in prop::collection::vec(piece(), 0..6),
            cut in any::<prop::sample::Index>(),
            most_bytes in 0..200_usize,
        ) {
            let (mut gather, mut expected) = (Gather::default(), Vec::new());
            before.into_iter().for_each(|piece| add(&mut gather, &mut expected, piece));
            let (from, from_bytes) = (gather.mark(), expected.len());
            middle.into_iter().for_each(|piece| add(&mut gather, &mut expected, piece));
            let (to, to_bytes) = (gather.mark(), expected.len());
            after.into_iter().for_each(|piece| add(&mut gather, &mut expected, piece));
            prop_assert_eq!(gather.len(), expected.len());
            prop_assert_eq!(gather.to_vec(), &expected[..]);
            prop_assert!(gather.plain().is_none_or(|plain| plain == expected));

            let at = cut.index(expected.len() + 1);
            prop_assert_eq!(gather.copy_part(at / 2..at), &expected[at / 2..at]);
            let begin = rest(&gather, at, most_bytes);
            prop_assert_eq!(&begin[..], &expected[at..at + begin.len()]);
            prop_assert!(begin.len() <= most_bytes);
            prop_assert!(!begin.is_empty() || at == expected.len() || most_bytes == 0);

            let mut front = gather.clone();
            front.drop_front(at);
            prop_assert_eq!(front.to_vec(), &expected[at..]);
            prop_assert_eq!(front.len(), expected.len() - at);

            let mut undone = gather.clone();
            undone.truncate(from);
            prop_assert_eq!(undone.to_vec(), &expected[..from_bytes]);
            prop_assert_eq!(undone.len(), from_bytes);

            if let Some(plain) = gather.plain_between(from, to) {
                prop_assert_eq!(plain, &expected[from_bytes..to_bytes]);
            }
            let mut moved = Gather::default();
            moved.bytes().extend_from_slice(b"before");
            gather.move_between(from, to, &mut moved);
            prop_assert_eq!(moved.to_vec(), [b"before", &expected[from_bytes..to_bytes]].concat());
            prop_assert_eq!(gather.to_vec().len(), gather.len());
        }
    }
}

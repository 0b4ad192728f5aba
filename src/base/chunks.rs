//! Large byte strings in chunks that are shared: a copy, a part and what is being sent of it cost references, and a change
//! copies no more than the chunks it touches.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use super::reclaim;

/// The most that a chunk holds, in bytes.
pub const CHUNK_BYTES: usize = 128 * 1024;
/// Strings of this length or more are kept in chunks.
pub const LARGE_BYTES: usize = CHUNK_BYTES;
/// So many chunks are freed where they are let go; more are left to the thread that frees.
const FREED_AT_ONCE: usize = 8;

/// A byte string as it is handed around: a large one in chunks, any other in a row.
#[derive(Clone, Copy)]
pub enum BytesRef<'a> {
    /// In a row.
    Slice(&'a [u8]),
    /// In chunks.
    Chunks(&'a Chunks),
}

impl<'a> BytesRef<'a> {
    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            BytesRef::Slice(bytes) => bytes.len(),
            BytesRef::Chunks(chunks) => chunks.len(),
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The string, unless it is in chunks: for who wants a short one.
    #[inline]
    pub fn slice(self) -> Option<&'a [u8]> {
        match self {
            BytesRef::Slice(bytes) => Some(bytes),
            BytesRef::Chunks(_) => None,
        }
    }

    /// Its beginning: all of it, or the first part.
    pub fn beginning(self) -> &'a [u8] {
        match self {
            BytesRef::Slice(bytes) => bytes,
            BytesRef::Chunks(chunks) => chunks.parts().next().unwrap_or_default(),
        }
    }

    /// Its parts, in order.
    pub fn parts(self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let (slice, chunks) = match self {
            BytesRef::Slice(bytes) => (Some(bytes), None),
            BytesRef::Chunks(chunks) => (None, Some(chunks.parts())),
        };
        slice.into_iter().chain(chunks.into_iter().flatten())
    }

    /// A copy in a row.
    pub fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// The same in chunks: shared if it is so already, else copied.
    pub fn to_chunks(self) -> Chunks {
        match self {
            BytesRef::Slice(bytes) => Chunks::from(bytes),
            BytesRef::Chunks(chunks) => chunks.clone(),
        }
    }
}

impl PartialEq for BytesRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_vec() == other.to_vec()
    }
}

impl Eq for BytesRef<'_> {}

impl fmt::Debug for BytesRef<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slice() {
            Some(bytes) => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            None => write!(formatter, "{} bytes", self.len()),
        }
    }
}

/// A part of a chunk, and where in the string it ends.
#[derive(Clone)]
struct Piece {
    chunk: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

/// A byte string in shared chunks. Of two pieces side by side one is at least half a chunk, near enough, so that there are
/// never many more of them than the length needs; and no short piece keeps a long chunk alive, but in a [`Chunks::part`].
#[derive(Clone, Default)]
pub struct Chunks {
    /// Shared, too, so that a reference to all of them is one.
    pieces: Arc<Vec<Piece>>,
}

impl Chunks {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |piece| piece.end)
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// About what it takes in memory, were nothing of it shared.
    pub fn memory_bytes(&self) -> usize {
        self.len() + self.pieces.capacity() * size_of::<Piece>() + self.pieces.len() * size_of::<[usize; 5]>()
    }

    /// The bytes, piece after piece.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.parts_from(0)
    }

    /// What follows the first `offset` bytes.
    pub fn parts_from(&self, offset: usize) -> impl Iterator<Item = &[u8]> + Clone {
        let first = self.piece_at(offset);
        let mut skipped = offset - self.begin(first).min(offset);
        (first..self.pieces.len()).map(move |index| &self.bytes(index)[std::mem::take(&mut skipped)..])
    }

    /// The bytes in `range`, which must lie within the string, shared.
    pub fn part(&self, range: Range<usize>) -> Chunks {
        let mut part = Chunks::default();
        let (first, mut at) = (self.piece_at(range.start), range.start);
        for index in first..self.pieces.len() {
            if at >= range.end {
                break;
            }
            let Piece { chunk, start, end } = &self.pieces[index];
            let begin = start + at - self.begin(index);
            at = range.end.min(*end);
            part.pieces_mut().push(Piece { chunk: chunk.clone(), start: begin, end: at - range.start });
        }
        part
    }

    /// A copy of the bytes in `range`, which must lie within the string.
    pub fn copy_part(&self, range: Range<usize>) -> Vec<u8> {
        BytesRef::Chunks(&self.part(range)).to_vec()
    }

    /// Lets go of the first `bytes` bytes.
    pub fn drop_front(&mut self, bytes: usize) {
        *self = self.part(bytes.min(self.len())..self.len());
    }

    /// Puts `added` at the end.
    pub fn append(&mut self, added: BytesRef<'_>) {
        match added {
            BytesRef::Slice(bytes) => self.append_slice(bytes),
            BytesRef::Chunks(chunks) => self.append_shared(chunks),
        }
    }

    /// Writes `patch` at `offset`; zeros come between the end and an offset behind it, unless the patch is empty.
    pub fn write_at(&mut self, offset: usize, patch: BytesRef<'_>) {
        if patch.is_empty() {
            return;
        }
        self.pad_to(offset);
        match patch {
            BytesRef::Slice(patch) => {
                let overwritten = patch.len().min(self.len() - offset);
                self.overwrite(offset, &patch[..overwritten]);
                self.append_slice(&patch[overwritten..]);
            }
            BytesRef::Chunks(patch) => {
                let (length, end) = (self.len(), offset + patch.len());
                let mut patched = Chunks::default();
                patched.append_shared(&self.part(0..offset));
                patched.append_shared(patch);
                patched.append_shared(&self.part(end.min(length)..length));
                *self = patched;
            }
        }
    }

    /// Lets `read` put bytes behind the present ones, at most `most`, into room for some of them. Returns what it returns:
    /// how many it was.
    pub fn read_more(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let tail = self.tail(most);
        let old_bytes = tail.len();
        tail.resize(tail.capacity().min(CHUNK_BYTES).min(old_bytes + most), 0);
        let polled = read(&mut tail[old_bytes..]);
        let count = if let Poll::Ready(Ok(count)) = polled { count } else { 0 };
        tail.truncate(old_bytes + count);
        self.grew(count);
        polled
    }

    fn pieces_mut(&mut self) -> &mut Vec<Piece> {
        Arc::make_mut(&mut self.pieces)
    }

    /// The piece with the byte at `offset`; behind the last, if there is none.
    fn piece_at(&self, offset: usize) -> usize {
        self.pieces.partition_point(|piece| piece.end <= offset)
    }

    /// Where in the string a piece begins.
    fn begin(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.pieces[before].end)
    }

    fn bytes(&self, index: usize) -> &[u8] {
        let piece = &self.pieces[index];
        &piece.chunk[piece.start..piece.start + piece.end - self.begin(index)]
    }

    /// The last chunk, with room for some of `wanted` more bytes, none of it shared; [`Chunks::grew`] is to follow.
    fn tail(&mut self, wanted: usize) -> &mut Vec<u8> {
        let begin = self.begin(self.pieces.len().saturating_sub(1));
        let length = self.len() - begin;
        if self.pieces.is_empty() || length >= CHUNK_BYTES {
            let end = self.len();
            let chunk = Arc::new(Vec::with_capacity(wanted.min(CHUNK_BYTES)));
            self.pieces_mut().push(Piece { chunk, start: 0, end });
        } else {
            self.own_tail(length, (length + wanted).min(CHUNK_BYTES));
        }
        match self.pieces_mut().last_mut().and_then(|piece| Arc::get_mut(&mut piece.chunk)) {
            Some(chunk) => chunk,
            None => unreachable!("it is nobody else's"),
        }
    }

    /// Makes the last chunk one that is not shared, ends with the string and has room up to a length of `wanted`.
    fn own_tail(&mut self, length: usize, wanted: usize) {
        let Some(piece) = self.pieces_mut().last_mut() else { return };
        let start = piece.start;
        match Arc::get_mut(&mut piece.chunk).filter(|_| start == 0) {
            Some(chunk) => {
                chunk.truncate(length);
                if chunk.capacity() < wanted {
                    // Doubled, so that appending byte by byte copies each a few times at most.
                    let capacity = wanted.max(2 * chunk.capacity()).min(CHUNK_BYTES);
                    chunk.reserve_exact(capacity - length);
                }
            }
            None => {
                let mut chunk = Vec::with_capacity(wanted.max(2 * length).min(CHUNK_BYTES));
                chunk.extend_from_slice(&piece.chunk[start..start + length]);
                (piece.chunk, piece.start) = (Arc::new(chunk), 0);
            }
        }
    }

    /// The tail has so many bytes more.
    fn grew(&mut self, bytes: usize) {
        let pieces = self.pieces_mut();
        if let Some(piece) = pieces.last_mut() {
            piece.end += bytes;
        }
        pieces.pop_if(|piece| piece.chunk.is_empty());
    }

    fn append_slice(&mut self, mut added: &[u8]) {
        while !added.is_empty() {
            let tail = self.tail(added.len());
            let (now, later) = added.split_at(added.len().min(CHUNK_BYTES - tail.len()));
            tail.extend_from_slice(now);
            self.grew(now.len());
            added = later;
        }
    }

    fn append_shared(&mut self, added: &Chunks) {
        self.pieces_mut().reserve(added.pieces.len());
        for (index, piece) in added.pieces.iter().enumerate() {
            self.append_piece(&piece.chunk, piece.start, added.bytes(index));
        }
    }

    /// Appends `bytes`, which begin at `start` of the chunk: shared, unless they are so few that they had better be copied.
    fn append_piece(&mut self, chunk: &Arc<Vec<u8>>, start: usize, bytes: &[u8]) {
        let last_bytes = self.len() - self.begin(self.pieces.len().saturating_sub(1));
        if last_bytes > 0 && last_bytes + bytes.len() <= CHUNK_BYTES {
            return self.append_slice(bytes);
        }
        let (chunk, start) =
            if 2 * bytes.len() < chunk.capacity() { (Arc::new(bytes.to_vec()), 0) } else { (chunk.clone(), start) };
        let end = self.len() + bytes.len();
        self.pieces_mut().push(Piece { chunk, start, end });
    }

    fn pad_to(&mut self, length: usize) {
        static ZEROS: OnceLock<Arc<Vec<u8>>> = OnceLock::new();
        let zeros = ZEROS.get_or_init(|| Arc::new(vec![0; CHUNK_BYTES]));
        while self.len() < length {
            let missing = (length - self.len()).min(CHUNK_BYTES);
            self.append_piece(zeros, 0, &zeros[..missing]);
        }
    }

    /// Writes `patch` over bytes that there are.
    fn overwrite(&mut self, mut offset: usize, mut patch: &[u8]) {
        while !patch.is_empty() {
            let index = self.piece_at(offset);
            let (begin, length) = (self.begin(index), self.bytes(index).len());
            let within = offset - begin;
            let (now, later) = patch.split_at(patch.len().min(length - within));
            let piece = &mut self.pieces_mut()[index];
            let start = piece.start;
            match Arc::get_mut(&mut piece.chunk) {
                Some(chunk) => chunk[start + within..][..now.len()].copy_from_slice(now),
                None => {
                    let mut chunk = piece.chunk[start..start + length].to_vec();
                    chunk[within..][..now.len()].copy_from_slice(now);
                    (piece.chunk, piece.start) = (Arc::new(chunk), 0);
                }
            }
            (offset, patch) = (offset + now.len(), later);
        }
    }
}

impl From<&[u8]> for Chunks {
    fn from(bytes: &[u8]) -> Chunks {
        let mut chunks = Chunks::default();
        chunks.append_slice(bytes);
        chunks
    }
}

impl PartialEq for Chunks {
    fn eq(&self, other: &Self) -> bool {
        BytesRef::Chunks(self) == BytesRef::Chunks(other)
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes in {} pieces", self.len(), self.pieces.len())
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        if self.pieces.len() > FREED_AT_ONCE
            && let Some(pieces) = Arc::get_mut(&mut self.pieces)
        {
            // Those that nobody else has.
            reclaim::free(pieces.drain(..).filter_map(|piece| Arc::into_inner(piece.chunk)).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        AppendChunks(usize),
        WriteAt(prop::sample::Index, usize),
        WriteChunksAt(prop::sample::Index, usize),
        Share,
        AppendPart(prop::sample::Index, prop::sample::Index),
        DropFront(prop::sample::Index),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let length = || prop_oneof![0..40_usize, CHUNK_BYTES - 2..CHUNK_BYTES + 3, 0..3 * CHUNK_BYTES];
        let step = prop_oneof![
            length().prop_map(Step::Append),
            length().prop_map(Step::AppendChunks),
            (any::<prop::sample::Index>(), length()).prop_map(|(at, length)| Step::WriteAt(at, length)),
            (any::<prop::sample::Index>(), length()).prop_map(|(at, length)| Step::WriteChunksAt(at, length)),
            Just(Step::Share),
            any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(from, to)| Step::AppendPart(from, to)),
            any::<prop::sample::Index>().prop_map(Step::DropFront),
        ];
        prop::collection::vec(step, 1..12)
    }

    fn filler(length: usize, number: usize) -> Vec<u8> {
        (0..length).map(|index| (index / 251 + index + number) as u8).collect()
    }

    fn assert_is(chunks: &Chunks, expected: &[u8]) {
        assert_eq!(chunks.len(), expected.len());
        assert!(BytesRef::Chunks(chunks).to_vec() == expected, "other bytes");
        // The first may be what `drop_front` has left of one.
        let pairs = chunks.pieces.windows(3).filter(|pieces| pieces[2].end - pieces[0].end < CHUNK_BYTES / 2);
        assert_eq!(pairs.count(), 0, "short pieces side by side");
        for (index, piece) in chunks.pieces.iter().enumerate().skip(1) {
            assert!(chunks.bytes(index).len() * 2 + 64 >= piece.chunk.len(), "a short piece of a long chunk");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn chunks_behave_as_a_row_of_bytes(steps in steps()) {
            let (mut chunks, mut expected) = (Chunks::default(), Vec::<u8>::new());
            let mut shared: Vec<(Chunks, Vec<u8>)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append(length) => {
                        chunks.append(BytesRef::Slice(&filler(length, number)));
                        expected.extend(filler(length, number));
                    }
                    Step::AppendChunks(length) => {
                        chunks.append(BytesRef::Chunks(&Chunks::from(&filler(length, number)[..])));
                        expected.extend(filler(length, number));
                    }
                    Step::WriteAt(at, length) | Step::WriteChunksAt(at, length) => {
                        let (at, patch) = (at.index(expected.len() * 2 + 1), filler(length, number));
                        let in_chunks = Chunks::from(&patch[..]);
                        let is_slice = matches!(step, Step::WriteAt(..));
                        chunks.write_at(at, if is_slice { BytesRef::Slice(&patch) } else { BytesRef::Chunks(&in_chunks) });
                        if !patch.is_empty() {
                            expected.resize(expected.len().max(at + length), 0);
                            expected[at..at + length].copy_from_slice(&patch);
                        }
                    }
                    Step::Share => shared.push((chunks.clone(), expected.clone())),
                    Step::AppendPart(from, to) => {
                        let (from, to) = (from.index(expected.len() + 1), to.index(expected.len() + 1));
                        let range = from.min(to)..from.max(to);
                        let part = chunks.part(range.clone());
                        prop_assert!(BytesRef::Chunks(&part).to_vec() == expected[range.clone()]);
                        prop_assert!(chunks.copy_part(range.clone()) == expected[range.clone()]);
                        prop_assert!(chunks.parts_from(range.start).collect::<Vec<_>>().concat() == expected[range.start..]);
                        chunks.append(BytesRef::Chunks(&part));
                        expected.extend_from_within(range);
                    }
                    Step::DropFront(bytes) => {
                        let bytes = bytes.index(expected.len() + 1);
                        chunks.drop_front(bytes);
                        expected.drain(..bytes);
                    }
                }
                prop_assert!(BytesRef::Chunks(&chunks).to_vec() == expected);
            }
            for (copy, as_it_was) in shared {
                prop_assert!(BytesRef::Chunks(&copy).to_vec() == as_it_was, "a change of one changed the other");
            }
        }
    }

    #[test]
    fn patches_side_by_side_leave_neither_many_pieces_nor_long_chunks() {
        let (mut chunks, mut expected) = (Chunks::default(), vec![0; 3 * CHUNK_BYTES]);
        chunks.append(BytesRef::Slice(&expected));
        for offset in 0..200 {
            let patch = filler(LARGE_BYTES, offset);
            chunks.write_at(offset, BytesRef::Chunks(&Chunks::from(&patch[..])));
            expected[offset..offset + patch.len()].copy_from_slice(&patch);
            assert_is(&chunks, &expected);
        }
        assert!(chunks.pieces.len() <= 8, "{chunks:?}");
    }

    #[test]
    fn what_was_only_announced_is_not_allocated() {
        let mut chunks = Chunks::default();
        assert!(
            chunks
                .read_more(1 << 40, |room| {
                    assert_eq!(room.len(), CHUNK_BYTES);
                    Poll::Pending
                })
                .is_pending()
        );
        assert!(chunks.is_empty());
        for (read, most) in [(CHUNK_BYTES - 1, CHUNK_BYTES), (1, 1), (7, CHUNK_BYTES)] {
            let result = chunks.read_more(1 << 40, |room| {
                assert_eq!(room.len(), most);
                room[..read].fill(7);
                Poll::Ready(Ok(read))
            });
            assert!(matches!(result, Poll::Ready(Ok(count)) if count == read));
        }
        assert_is(&chunks, &vec![7; CHUNK_BYTES + 7]);
    }

    #[test]
    fn zeros_take_no_memory_until_they_are_written_to() {
        let mut chunks = Chunks::default();
        chunks.write_at(64 << 20, BytesRef::Slice(b"x"));
        let zeros = chunks.pieces[0].chunk.as_ptr();
        assert_eq!(chunks.pieces.iter().filter(|piece| piece.chunk.as_ptr() == zeros).count(), 512);
        chunks.write_at(5, BytesRef::Slice(b"y"));
        assert_eq!(chunks.copy_part(4..7), b"\0y\0");
        assert_eq!(chunks.copy_part(CHUNK_BYTES..CHUNK_BYTES + 6), [0; 6]);
    }
}

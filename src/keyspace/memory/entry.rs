//! One key with its value and its expiry in one allocation.
//!
//! ```text
//! Header (16 bytes) | expiry_ms: u64, if EXPIRES | Box<Value>, if BOXED | key | value bytes, unless BOXED
//! ```
//! A string as it was set lies inline; whatever grows in place, and what is large, is a boxed [`Value`]. One allocation instead of
//! three (key, value, node) is most of what makes a small key cheaper here than in Redis; see
//! ARCHITECTURE.md for the measured figures, which are the reason for the `unsafe` in this file. All of it is
//! here: the rest of the crate sees safe methods.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::recency::Recency;
use crate::base::chunks::BytesRef;
pub use crate::types::{Content, Owned};
use crate::types::{Encoded, Value};

const EXPIRES: u64 = 1;
const BOXED: u64 = 2;
/// How an entry stands to what is on disk is the rest of the flags.
const MARKS_SHIFT: u32 = 2;
const MARKS: u64 = 0x3f << MARKS_SHIFT;
const FLAG_BITS: u32 = 8;

const HEADER_BYTES: usize = size_of::<Header>();
const FIELD_BYTES: usize = 8;
/// Allocations are rounded up to what allocators hand out anyway, so that a value can change its length in place.
const ROUNDING_BYTES: usize = 16;

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Header {
    key_bytes: u32,
    /// Length of the inline value; 0 if boxed.
    value_bytes: u32,
    /// Eviction's metadata in the upper 56 bits (see `recency`), flags in the lower 8.
    recency_and_flags: u64,
}

impl Header {
    fn has(&self, flag: u64) -> bool {
        self.recency_and_flags & flag != 0
    }

    fn boxed_offset(&self) -> usize {
        HEADER_BYTES + if self.has(EXPIRES) { FIELD_BYTES } else { 0 }
    }

    fn key_offset(&self) -> usize {
        self.boxed_offset() + if self.has(BOXED) { FIELD_BYTES } else { 0 }
    }

    fn value_offset(&self) -> usize {
        self.key_offset() + self.key_bytes as usize
    }

    fn layout(&self) -> Layout {
        let bytes = (self.value_offset() + self.value_bytes as usize).next_multiple_of(ROUNDING_BYTES);
        // Both lengths are u32, so the sum cannot overflow isize on the 64-bit targets this crate supports.
        Layout::from_size_align(bytes, ROUNDING_BYTES).unwrap_or(Layout::new::<Header>())
    }
}

/// How an entry in memory stands to its record on disk; `states` tells what the combinations mean. All unset is an
/// entry that is nowhere but here, and will not be: the memory engine's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

/// Of the round that took an entry last, above the marks.
const ROUND_SHIFT: u32 = 4;

impl Marks {
    /// It differs from what is on disk, or is about to be there by the round that is under way.
    pub const DIRTY: Marks = Marks(1);
    /// There is a record on disk, or will be once the round under way is written.
    pub const STORED: Marks = Marks(2);
    /// It was written without a look at the disk: whether an older record is there is not known.
    pub const BLIND: Marks = Marks(4);
    /// The key is deleted; the entry stands for that until the disk knows.
    pub const DELETED: Marks = Marks(8);

    /// Adds marks.
    pub const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// Takes marks away.
    pub const fn without(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }

    /// Whether one of these marks is set.
    pub const fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }

    /// Those of an entry that this round has taken. Of its number, the remainder by three is kept.
    pub const fn taken_by(self, round: u32) -> Marks {
        Marks(self.0 & !(3 << ROUND_SHIFT) | ((1 + round % 3) as u8) << ROUND_SHIFT)
    }

    /// False: it was not this round that took the entry last. True: it was, or one of every third before it.
    pub const fn may_be_taken_by(self, round: u32) -> bool {
        self.0 >> ROUND_SHIFT == 1 + (round % 3) as u8
    }
}

/// An owned entry.
pub struct Entry(NonNull<Header>);

// SAFETY: an Entry owns its allocation exclusively, and what it holds (bytes, a `Value`) may move between threads.
unsafe impl Send for Entry {}

impl Entry {
    /// Key and inline value must be shorter than 4 GiB (the protocol's limits are far below).
    pub fn new(key: &[u8], content: Content<'_>, expiry_ms: Option<u64>, recency: Recency) -> Entry {
        let (inline, boxed) = match content {
            Content::Inline(bytes) => (bytes, None),
            Content::Boxed(value) => ([].as_slice(), Some(value)),
        };
        assert!(key.len() <= u32::MAX as usize && inline.len() <= u32::MAX as usize, "an entry of 4 GiB");
        let flags = if expiry_ms.is_some() { EXPIRES } else { 0 } | if boxed.is_some() { BOXED } else { 0 };
        let header = Header {
            key_bytes: key.len() as u32,
            value_bytes: inline.len() as u32,
            recency_and_flags: recency.bits() << FLAG_BITS | flags,
        };
        let layout = header.layout();
        // SAFETY: the layout has at least the header's size. All writes below stay within it, because `layout` is
        // computed from the same offsets; the regions do not overlap, and key and inline come from elsewhere.
        unsafe {
            let Some(base) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            base.cast::<Header>().write(header);
            if let Some(expiry_ms) = expiry_ms {
                base.add(HEADER_BYTES).cast::<u64>().write(expiry_ms);
            }
            if let Some(value) = boxed {
                base.add(header.boxed_offset()).cast::<*mut Value>().write(Box::into_raw(value));
            }
            base.add(header.key_offset()).copy_from_nonoverlapping(NonNull::from(key).cast(), key.len());
            base.add(header.value_offset()).copy_from_nonoverlapping(NonNull::from(inline).cast(), inline.len());
            Entry(base.cast())
        }
    }

    #[inline]
    fn header(&self) -> Header {
        // SAFETY: the pointer is valid and initialised from `new` until `drop`.
        unsafe { *self.0.as_ptr() }
    }

    #[inline]
    fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        // SAFETY: callers pass regions of the layout that `new` or `set_inline` initialised; `&self` keeps them alive
        // and unchanged.
        unsafe { std::slice::from_raw_parts(self.0.cast::<u8>().as_ptr().add(offset), len) }
    }

    /// The name of the key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let header = self.header();
        self.bytes(header.key_offset(), header.key_bytes as usize)
    }

    /// When the key ceases to exist, in Unix milliseconds.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        // SAFETY: with EXPIRES set, a u64 lies behind the header, 8-byte aligned.
        self.header().has(EXPIRES).then(|| unsafe { self.0.cast::<u8>().add(HEADER_BYTES).cast::<u64>().read() })
    }

    fn boxed_pointer(&self) -> Option<NonNull<*mut Value>> {
        let header = self.header();
        // SAFETY: the offset lies within the allocation.
        header.has(BOXED).then(|| unsafe { self.0.cast::<u8>().add(header.boxed_offset()).cast() })
    }

    /// The bytes of a string, inline or boxed; `None` for any other type.
    #[inline]
    pub fn string(&self) -> Option<BytesRef<'_>> {
        match self.boxed() {
            None => Some(BytesRef::Slice(self.inline())),
            Some(value) => value.string(),
        }
    }

    /// The string that lies inline; empty, if the value is boxed.
    #[inline]
    pub(in crate::keyspace) fn inline(&self) -> &[u8] {
        let header = self.header();
        self.bytes(header.value_offset(), header.value_bytes as usize)
    }

    /// What a record keeps of the value.
    #[inline]
    pub fn encoded(&self) -> Encoded<'_> {
        match self.boxed() {
            Some(value) => Encoded::from(value),
            None => Encoded::inline(self.inline()),
        }
    }

    /// The name that TYPE gives.
    pub fn type_name(&self) -> &'static str {
        self.encoded().type_name().unwrap_or_default()
    }

    /// The name that OBJECT ENCODING gives.
    pub fn encoding(&self) -> &'static str {
        self.encoded().encoding()
    }

    /// The value, if it is boxed.
    pub fn boxed(&self) -> Option<&Value> {
        // SAFETY: the pointer came from Box::into_raw in `new` and is owned by this entry.
        self.boxed_pointer().map(|pointer| unsafe { &*pointer.read() })
    }

    /// The value to change in place, if it is boxed.
    pub fn boxed_mut(&mut self) -> Option<&mut Value> {
        // SAFETY: as in `boxed`, and `&mut self` makes the access exclusive.
        self.boxed_pointer().map(|pointer| unsafe { &mut *pointer.read() })
    }

    /// How it stands to its record on disk.
    #[inline]
    pub fn marks(&self) -> Marks {
        Marks(((self.header().recency_and_flags & MARKS) >> MARKS_SHIFT) as u8)
    }

    /// Notes how it stands to its record on disk.
    #[inline]
    pub fn set_marks(&mut self, marks: Marks) {
        let others = self.header().recency_and_flags & !MARKS;
        // SAFETY: the pointer is valid and `&mut self` makes the access exclusive.
        unsafe { (*self.0.as_ptr()).recency_and_flags = others | u64::from(marks.0) << MARKS_SHIFT }
    }

    /// What eviction knows of its uses.
    pub fn recency(&self) -> Recency {
        Recency::from_bits(self.header().recency_and_flags >> FLAG_BITS)
    }

    /// Notes what eviction is to know of its uses.
    #[inline]
    pub fn set_recency(&mut self, recency: Recency) {
        let flags = self.header().recency_and_flags & ((1 << FLAG_BITS) - 1);
        // SAFETY: the pointer is valid and `&mut self` makes the access exclusive.
        unsafe { (*self.0.as_ptr()).recency_and_flags = recency.bits() << FLAG_BITS | flags }
    }

    /// Makes the value the string `bytes`, in place where the allocation stays as large as it is.
    #[inline]
    pub fn set_inline(&mut self, bytes: &[u8], expiry_ms: Option<u64>) {
        let old = self.header();
        let mut new = old;
        let flags = if expiry_ms.is_some() { EXPIRES } else { 0 };
        new.recency_and_flags = old.recency_and_flags & !(EXPIRES | BOXED) | flags;
        new.value_bytes = bytes.len() as u32;
        if old.has(BOXED) || bytes.len() > u32::MAX as usize || new.layout() != old.layout() {
            self.replace(Content::Inline(bytes), expiry_ms);
            return;
        }
        // SAFETY: the allocation fits `new` exactly as it fitted `old`. The key may move by the 8 bytes of the expiry,
        // over itself, which `copy_to` allows; `bytes` cannot overlap, being borrowed apart from `&mut self`.
        unsafe {
            let base = self.0.cast::<u8>();
            if new.key_offset() != old.key_offset() {
                base.add(old.key_offset()).copy_to(base.add(new.key_offset()), new.key_bytes as usize);
            }
            self.0.write(new);
            if let Some(expiry_ms) = expiry_ms {
                base.add(HEADER_BYTES).cast::<u64>().write(expiry_ms);
            }
            base.add(new.value_offset()).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
    }

    /// Sets when the key ceases to exist, in Unix milliseconds; `None`: it does not.
    pub fn set_expiry(&mut self, expiry_ms: Option<u64>) {
        match expiry_ms {
            // SAFETY: with EXPIRES set, the field is there; `&mut self` makes the access exclusive.
            Some(expiry_ms) if self.header().has(EXPIRES) => unsafe {
                self.0.cast::<u8>().add(HEADER_BYTES).cast::<u64>().write(expiry_ms);
            },
            None if !self.header().has(EXPIRES) => {}
            _ => self.rebuild(expiry_ms),
        }
    }

    /// Makes the value boxed, if it is not yet, so that it can change in place.
    pub fn make_boxed(&mut self) -> &mut Value {
        if self.boxed_pointer().is_none() {
            let value = Value::from_inline(self.inline());
            self.replace(Content::Boxed(Box::new(value)), self.expiry_ms());
        }
        match self.boxed_mut() {
            Some(value) => value,
            None => unreachable!("it was boxed just now"),
        }
    }

    /// The value apart from its key, for RENAME and MOVE.
    pub fn take_content(&mut self) -> Owned {
        match self.take_boxed() {
            Some(value) => Owned::Boxed(value),
            None => Owned::Inline(self.inline().to_vec()),
        }
    }

    /// A copy of the value apart from its key, for COPY.
    pub fn copy_content(&self) -> Owned {
        match self.boxed() {
            Some(value) => Owned::Boxed(Box::new(value.clone())),
            None => Owned::Inline(self.inline().to_vec()),
        }
    }

    /// Bytes of data that the value holds, whatever it takes to keep them: for a string, its length.
    #[inline]
    pub fn data_bytes(&self) -> usize {
        match self.boxed() {
            None => self.header().value_bytes as usize,
            Some(value) => value.data_bytes(),
        }
    }

    /// Bytes allocated for the entry, the value's own allocations included.
    pub fn memory_bytes(&self) -> usize {
        self.header().layout().size() + self.boxed().map_or(0, Value::memory_bytes)
    }

    /// A new allocation with another expiry.
    fn rebuild(&mut self, expiry_ms: Option<u64>) {
        let (recency, marks) = (self.recency(), self.marks());
        *self = match self.take_boxed() {
            Some(value) => Entry::new(self.key(), Content::Boxed(value), expiry_ms, recency),
            None => Entry::new(self.key(), Content::Inline(self.inline()), expiry_ms, recency),
        };
        self.set_marks(marks);
    }

    /// A new allocation with another value; all else stays.
    fn replace(&mut self, content: Content<'_>, expiry_ms: Option<u64>) {
        let marks = self.marks();
        *self = Entry::new(self.key(), content, expiry_ms, self.recency());
        self.set_marks(marks);
    }

    /// Moves the boxed value out and leaves an empty one, so that the entry stays whole whatever happens next.
    fn take_boxed(&mut self) -> Option<Box<Value>> {
        self.boxed_mut().map(|value| Box::new(std::mem::take(value)))
    }

    /// Gives up ownership; `from_address` takes it back. The low 4 bits of an address are 0.
    pub fn into_address(self) -> usize {
        let address = self.0.as_ptr().expose_provenance();
        std::mem::forget(self);
        address
    }

    /// # Safety
    /// `address` must come from `into_address`, and each such address may be owned by one `Entry` at a time.
    pub unsafe fn from_address(address: usize) -> Entry {
        // SAFETY: addresses of allocations are not null.
        unsafe { Entry(NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address))) }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: the entry is owned: nobody else frees the box or the allocation, whose layout the header still tells.
        unsafe {
            if let Some(pointer) = self.boxed_pointer() {
                drop(Box::from_raw(pointer.read()));
            }
            dealloc(self.0.as_ptr().cast(), self.header().layout());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Change;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        SetInline(Vec<u8>, Option<u64>),
        SetExpiry(Option<u64>),
        Append(Vec<u8>),
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..60);
        prop::collection::vec(
            prop_oneof![
                (bytes(), any::<Option<u64>>()).prop_map(|(value, expiry)| Step::SetInline(value, expiry)),
                any::<Option<u64>>().prop_map(Step::SetExpiry),
                bytes().prop_map(Step::Append),
                Just(Step::Take),
            ],
            0..20,
        )
    }

    proptest! {
        #[test]
        fn an_entry_behaves_as_its_three_parts(key in prop::collection::vec(any::<u8>(), 0..40), steps in steps()) {
            let mut entry = Entry::new(&key, Content::Inline(b"v"), None, Recency::from_bits(7));
            let (mut value, mut expiry) = (b"v".to_vec(), None);
            for step in steps {
                match step {
                    Step::SetInline(bytes, expiry_ms) => {
                        entry.set_inline(&bytes, expiry_ms);
                        (value, expiry) = (bytes, expiry_ms);
                    }
                    Step::SetExpiry(expiry_ms) => {
                        entry.set_expiry(expiry_ms);
                        expiry = expiry_ms;
                    }
                    Step::Append(bytes) => {
                        Change::append(BytesRef::Slice(&bytes)).apply(entry.make_boxed());
                        value.extend(bytes);
                    }
                    Step::Take => {
                        let copy = entry.copy_content();
                        let owned = entry.take_content();
                        prop_assert_eq!(&copy, &owned);
                        let content = match owned {
                            Owned::Inline(bytes) => bytes,
                            Owned::Boxed(boxed) => boxed.string().expect("a string").to_vec(),
                        };
                        prop_assert_eq!(&content, &value);
                        entry = Entry::new(&key, Content::Inline(&content), expiry, Recency::from_bits(7));
                    }
                }
                prop_assert_eq!(entry.key(), &key[..]);
                prop_assert_eq!(entry.string(), Some(BytesRef::Slice(&value)));
                prop_assert_eq!(entry.expiry_ms(), expiry);
                prop_assert_eq!(entry.recency(), Recency::from_bits(7));
                // The table keeps 44 bits of the address.
                let address = entry.into_address();
                prop_assert_eq!(address & 0xf, 0);
                // SAFETY: given up in the line before.
                entry = unsafe { Entry::from_address(address) };
            }
        }
    }

    #[test]
    fn a_small_string_takes_its_bytes_and_a_header() {
        let entry = Entry::new(&[b'k'; 16], Content::Inline(&[b'v'; 64]), None, Recency::from_bits(0));
        assert_eq!(entry.memory_bytes(), 96);
    }
}

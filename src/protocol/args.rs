use crate::base::chunks::BytesRef;

/// Where an argument lies in the input buffer, in bytes. Buffers stay below 4 GiB (`client-query-buffer-limit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Offset of its first byte.
    pub start: u32,
    /// Its length.
    pub len: u32,
}

/// In place of the range of an argument that is not in the buffer, since it is large.
pub(super) const LARGE: Range = Range { start: u32::MAX, len: u32::MAX };

/// A command's arguments, its name first, borrowed from where they were received.
#[derive(Clone, Copy)]
pub struct Args<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Ranges {
        buffer: &'a [u8],
        ranges: &'a [Range],
    },
    Slices(&'a [&'a [u8]]),
    /// Some are large.
    Values(&'a [BytesRef<'a>]),
}

impl<'a> Args<'a> {
    /// Every range must lie within `buffer`; one that does not reads as empty.
    pub fn from_ranges(buffer: &'a [u8], ranges: &'a [Range]) -> Self {
        Args(Source::Ranges { buffer, ranges })
    }

    /// Takes the arguments from where they lie, none of them large.
    pub fn from_slices(slices: &'a [&'a [u8]]) -> Self {
        Args(Source::Slices(slices))
    }

    /// Takes arguments of any length.
    pub fn from_values(values: &'a [BytesRef<'a>]) -> Self {
        Args(Source::Values(values))
    }

    /// How many there are, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Ranges { ranges, .. } => ranges.len(),
            Source::Slices(slices) => slices.len(),
            Source::Values(values) => values.len(),
        }
    }

    /// Whether some of them are large, and so not among the ranges.
    pub(super) fn has_large(&self) -> bool {
        matches!(self.0, Source::Ranges { ranges, .. } if ranges.contains(&LARGE))
    }

    /// Whether there is none, not even a name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of a large argument no more than its beginning, which is what messages and logs show; [`Args::value`] has all of it.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        match self.0 {
            Source::Ranges { buffer, ranges } => {
                let range = ranges.get(index)?;
                let start = range.start as usize;
                buffer.get(start..start + range.len as usize)
            }
            Source::Slices(slices) => slices.get(index).copied(),
            Source::Values(values) => values.get(index).map(|value| value.beginning()),
        }
    }

    /// The argument at `index`, of any length; empty where there is none.
    #[inline]
    pub fn value(&self, index: usize) -> BytesRef<'a> {
        match self.0 {
            Source::Values(values) => values.get(index).copied().unwrap_or(BytesRef::Slice(&[])),
            _ => BytesRef::Slice(self.at(index)),
        }
    }

    /// The argument at `index`; empty where there is none, so that a handler relying on its arity cannot panic.
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        self.get(index).unwrap_or_default()
    }

    /// All arguments, the name first.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.iter_from(0)
    }

    /// The arguments from `first` on.
    pub fn iter_from(&self, first: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let args = *self;
        (first..args.len()).map(move |index| args.at(index))
    }

    /// The sum of all arguments' lengths in bytes.
    pub fn total_bytes(&self) -> usize {
        (0..self.len()).map(|index| self.value(index).len()).sum()
    }
}

/// An argument as Redis takes it where it works on C strings (some options and names, quotes in messages): up to its
/// first NUL.
pub fn until_nul(argument: &[u8]) -> &[u8] {
    memchr::memchr(0, argument).map_or(argument, |end| &argument[..end])
}

//! What a type is to the rest of the house.

use crate::base::chunks::BytesRef;
use crate::base::gather::Gather;

/// A value of one type, as it lies in an allocation of its own.
pub trait DataType: Sized {
    /// What records of the type are marked with, on disk and in the journal: below 0x80, and never that of another.
    const RECORD_KIND: u8;
    /// The name that TYPE gives.
    const NAME: &'static str;
    /// Whether a record may have a value of any length in it. Those of other types keep what is larger than a leaf in leaves.
    const IS_WHOLE_IN_RECORD: bool;
    /// What changes such a value in place.
    type Change<'c>: DataChange<'c>;

    /// A value without data: it stands for one whose type is known and whose data nobody asks for.
    fn empty() -> Self;

    /// The name that OBJECT ENCODING gives.
    fn encoding(&self) -> &'static str;

    /// Bytes of data held; known without a walk, since it is asked for before and after every change.
    fn data_bytes(&self) -> usize;

    /// Bytes allocated beyond the value's own size.
    fn allocated_bytes(&self) -> usize;

    /// How many bytes [`DataType::encode`] writes.
    fn encoded_bytes(&self) -> usize;

    /// Appends what a record keeps of the value, piece by piece: large ones by reference, since the slot is locked meanwhile.
    fn encode(&self, into: &mut Gather);

    /// The value that a record keeps in these bytes; `None`: no encoder of ours wrote them.
    fn decode(payload: BytesRef<'_>) -> Option<Self>;

    /// Does what the change says.
    fn apply(&mut self, change: Self::Change<'_>);
}

/// A change of a value in place: commands make it, and the journal keeps it instead of the whole value.
pub trait DataChange<'c>: Sized {
    /// Appends it, large parts by reference. The first byte is below 0x80 for a string's, and told by the type for others'.
    fn encode(self, into: &mut Gather);

    /// `None`: no encoder of ours wrote the bytes.
    fn decode(bytes: &'c [u8]) -> Option<Self>;
}

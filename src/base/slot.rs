//! The slot of a key, as Redis Cluster defines it: CRC16 of the key or of its hash tag, modulo 16384.

/// The number of slots keys are spread over.
pub const SLOTS: u16 = 16384;

/// CRC16/XMODEM: x^16 + x^12 + x^5 + 1, highest bit first, from 0.
const POLYNOMIAL: u16 = 0x1021;

/// Bytes taken in one step.
const STEP: usize = 8;

/// `TABLES[k][byte]` is the checksum of `byte` followed by `k` zero bytes.
static TABLES: [[u16; 256]; STEP] = tables();

/// The slot of `key`, in `0..SLOTS`. If the key has a `{` and a later `}` with something between the first pair,
/// only that counts, so that keys with the same tag share a slot.
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    checksum(hashed_part(key)) % SLOTS
}

/// What of `key` decides its slot.
#[inline]
fn hashed_part(key: &[u8]) -> &[u8] {
    if is_plain(key) { key } else { tag_or_all(key) }
}

/// Whether a key of 8 to 16 bytes has no `{`, told by its first and its last eight: most keys are of that kind, and any search
/// takes longer.
#[inline]
fn is_plain(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The highest bit of a byte is set where it is the first that is `{`.
    let found = |bytes: &[u8; 8]| {
        let zeros = u64::from_le_bytes(*bytes) ^ (ONES * b'{' as u64);
        zeros.wrapping_sub(ONES) & !zeros
    };
    match (key.first_chunk(), key.last_chunk()) {
        (Some(first), Some(last)) if key.len() <= 16 => (found(first) | found(last)) & ONES << 7 == 0,
        _ => false,
    }
}

#[inline(never)]
fn tag_or_all(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let after = &key[open + 1..];
    match memchr::memchr(b'}', after) {
        None | Some(0) => key,
        Some(length) => &after[..length],
    }
}

/// CRC16 by slices of eight bytes, whose table look-ups do not wait for each other (Kounavis and Berry, "A systematic
/// approach to building high performance software-based CRC generators", 2005).
///
/// The odd bytes go first: from the initial value 0 they too need not wait for each other.
#[inline]
fn checksum(bytes: &[u8]) -> u16 {
    let (odd, slices) = bytes.split_at(bytes.len() % STEP);
    let (rest, half) = odd.split_at(odd.len() % (STEP / 2));
    let mut crc = 0;
    if let &[first, second, third, fourth] = half {
        crc = TABLES[3][usize::from(first)]
            ^ TABLES[2][usize::from(second)]
            ^ TABLES[1][usize::from(third)]
            ^ TABLES[0][usize::from(fourth)];
    }
    for (table, &byte) in TABLES[half.len()..odd.len()].iter().rev().zip(rest) {
        crc ^= table[usize::from(byte)];
    }
    for slice in slices.chunks_exact(STEP) {
        let [high, low] = crc.to_be_bytes();
        crc = TABLES[7][usize::from(slice[0] ^ high)]
            ^ TABLES[6][usize::from(slice[1] ^ low)]
            ^ TABLES[5][usize::from(slice[2])]
            ^ TABLES[4][usize::from(slice[3])]
            ^ TABLES[3][usize::from(slice[4])]
            ^ TABLES[2][usize::from(slice[5])]
            ^ TABLES[1][usize::from(slice[6])]
            ^ TABLES[0][usize::from(slice[7])];
    }
    crc
}

const fn tables() -> [[u16; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One byte at a time, one bit at a time.
    fn checksum_bitwise(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(
                crc ^ u16::from(byte) << 8,
                |crc, _| {
                    if crc & 0x8000 != 0 { (crc << 1) ^ POLYNOMIAL } else { crc << 1 }
                },
            )
        })
    }

    #[test]
    fn known_vectors() {
        assert_eq!(checksum(b""), 0);
        assert_eq!(checksum(b"123456789"), 0x31c3);
        assert_eq!(slot(b"123456789"), 12739);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn hash_tags() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"{user1000}.following", b"user1000"),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"foo{bar", b"foo{bar"),
            (b"foo}bar{", b"foo}bar{"),
            (b"}{a}", b"a"),
            (b"{}", b"{}"),
            (b"{", b"{"),
        ];
        for (key, part) in cases {
            assert_eq!(hashed_part(key), part, "{}", key.escape_ascii());
        }
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
    }

    proptest! {
        #[test]
        fn slices_equal_bits(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(checksum(&bytes), checksum_bitwise(&bytes));
            prop_assert!(slot(&bytes) < SLOTS);
        }

        #[test]
        fn clients_route_to_the_same_slot(key in "[a-z{}]{0,20}") {
            prop_assert_eq!(slot(key.as_bytes()), redis_protocol::redis_keyslot(key.as_bytes()));
        }

        #[test]
        fn keys_without_a_brace_are_told(key in prop::collection::vec(prop::sample::select(&b"z{|\xfb\0"[..]), 0..20)) {
            let is_short = (8..=16).contains(&key.len());
            prop_assert_eq!(is_plain(&key), is_short && !key.contains(&b'{'));
        }

        #[test]
        fn a_tag_alone_decides(tag in "[a-z]{1,20}", before in "[a-z]{0,20}", after in "[a-z{}]{0,20}") {
            let key = format!("{before}{{{tag}}}{after}");
            prop_assert_eq!(slot(key.as_bytes()), slot(tag.as_bytes()));
        }
    }
}

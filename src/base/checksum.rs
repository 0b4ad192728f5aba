//! CRC-32C, the checksum of what is written to disk.
//!
//! The crate `crc32c` is made for long buffers: of what a block of one command has (a header, a record, a mark, some fifty
//! bytes each) it takes most bytes one at a time. Those are done here, eight bytes an instruction.

/// Up to this length the instruction's latency costs less than what the crate prepares.
#[cfg(target_arch = "x86_64")]
const SHORT_BYTES: usize = 256;

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The checksum of what `checksum` is of, with `bytes` behind it.
#[inline]
pub fn crc32c_append(checksum: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= SHORT_BYTES && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instructions.
        return unsafe { append_short(checksum, bytes) };
    }
    crc32c::crc32c_append(checksum, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn append_short(checksum: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};

    let (words, rest) = bytes.as_chunks();
    let words = words.iter().fold(u64::from(!checksum), |crc, word| _mm_crc32_u64(crc, u64::from_le_bytes(*word)));
    let (half, rest) = rest.as_chunks();
    let half = half.iter().fold(words as u32, |crc, half| _mm_crc32_u32(crc, u32::from_le_bytes(*half)));
    !rest.iter().fold(half, |crc, &byte| _mm_crc32_u8(crc, byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_and_place_has_the_checksum_of_the_standard() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> = (0..600_u32).map(|number| ((number * number) >> 3) as u8).collect();
        for length in 0..600 {
            for start in 0..(600 - length).min(9) {
                let part = &bytes[start..start + length];
                assert_eq!(crc32c_append(7, part), crc32c::crc32c_append(7, part), "{length} bytes from {start} on");
                let (one, other) = part.split_at(length / 3);
                assert_eq!(crc32c_append(crc32c(one), other), crc32c(part), "{length} bytes from {start} on, in two");
            }
        }
    }
}

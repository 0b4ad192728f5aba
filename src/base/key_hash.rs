//! The hash of keys, by which they are placed.
//!
//! It is a pseudorandom function of its secret: AES-128-CMAC (RFC 4493), of whose result the first 64 bits are taken. Who does
//! not know the secret cannot tell the hash of a key from the hashes of others. Where the processor has instructions for AES,
//! keys of up to 16 bytes take some ten instructions more than with XXH3, which promises nothing of that kind.
//!
//! Directories of format 1 have their records in the order of XXH3 with a 64-bit seed, and keep it.

use std::{fmt, io};

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use rustix::rand::{GetRandomFlags, getrandom};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Which function the hash is, and its secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HashSecret {
    /// XXH3 of 64 bits, by its seed: that of data directories of format 1.
    Xxh3(u64),
    /// AES-128-CMAC, by its key.
    AesCmac([u8; 16]),
}

impl HashSecret {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> io::Result<HashSecret> {
        let mut key = [0; 16];
        let mut filled = 0;
        while filled < key.len() {
            match getrandom(&mut key[filled..], GetRandomFlags::empty()) {
                Ok(bytes) => filled += bytes,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(HashSecret::AesCmac(key))
    }
}

/// Without what is secret.
impl fmt::Debug for HashSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            HashSecret::Xxh3(_) => "Xxh3(..)",
            HashSecret::AesCmac(_) => "AesCmac(..)",
        })
    }
}

/// A hash function of keys, ready to be computed.
pub struct KeyHasher(Function);

#[expect(clippy::large_enum_variant, reason = "there is one a server, and each lookup would follow a pointer to it")]
enum Function {
    #[cfg(target_arch = "x86_64")]
    Instructions(instructions::Cmac),
    /// For a processor without instructions for AES, or with those that only the `aes` crate knows.
    Portable(Box<PortableCmac>),
    Xxh3(u64),
}

impl KeyHasher {
    /// The function of this secret.
    pub fn new(secret: HashSecret) -> KeyHasher {
        let key = match secret {
            HashSecret::Xxh3(seed) => return KeyHasher(Function::Xxh3(seed)),
            HashSecret::AesCmac(key) => key,
        };
        #[cfg(target_arch = "x86_64")]
        if let Some(cmac) = instructions::Cmac::new(key) {
            return KeyHasher(Function::Instructions(cmac));
        }
        KeyHasher(Function::Portable(Box::new(PortableCmac::new(key))))
    }

    /// Hashes a key.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Function::Instructions(cmac) => cmac.hash(bytes),
            _ => self.hash_otherwise(bytes),
        }
    }

    #[inline(never)]
    fn hash_otherwise(&self, bytes: &[u8]) -> u64 {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Function::Instructions(cmac) => cmac.hash(bytes),
            Function::Portable(cmac) => cmac.hash(bytes),
            Function::Xxh3(seed) => xxh3_64_with_seed(bytes, *seed),
        }
    }
}

/// What is added to a message's last block, by the number of its bytes modulo 16: the subkey of whole blocks, or that of
/// others with the bit that follows the message. A block is a number here, its first byte the lowest.
#[derive(Clone, Copy)]
struct Endings {
    by_length: [u128; 16],
    /// The last block of the empty message.
    empty: u128,
}

impl Endings {
    fn new(encrypted_zero: u128) -> Endings {
        // In the field of 2¹²⁸ elements, whose bits RFC 4493 has in big-endian order.
        let double = |block: u128| {
            let bits = block.swap_bytes();
            ((bits << 1) ^ ((bits >> 127) * 0x87)).swap_bytes()
        };
        let whole = double(encrypted_zero);
        let with_bit = |length: usize| double(whole) ^ 0x80 << (8 * length);
        let by_length = std::array::from_fn(|length| if length == 0 { whole } else { with_bit(length) });
        Endings { by_length, empty: with_bit(0) }
    }

    /// The last block of a message with what is added.
    #[inline(always)]
    fn last_block(&self, message: &[u8]) -> u128 {
        let length = message.len();
        if length == 0 {
            return self.empty;
        }
        let block = match message.last_chunk() {
            Some(last) => u128::from_le_bytes(*last) >> (length.wrapping_neg() % 16 * 8),
            None => short_block(message),
        };
        block ^ self.by_length[length % 16]
    }
}

/// Up to 15 bytes as a number, read by loads that overlap.
#[inline(always)]
fn short_block(bytes: &[u8]) -> u128 {
    let length = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (length - 8));
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)));
        return u128::from(first | last << (8 * (length - 4)));
    }
    let byte = |index: usize| bytes.get(index).map_or(0, |byte| u32::from(*byte) << (8 * index));
    u128::from(byte(0) | byte(1) | byte(2))
}

struct PortableCmac {
    cipher: aes::Aes128,
    endings: Endings,
}

impl PortableCmac {
    fn new(key: [u8; 16]) -> PortableCmac {
        let mut cmac = PortableCmac { cipher: aes::Aes128::new(&key.into()), endings: Endings::new(0) };
        cmac.endings = Endings::new(cmac.encrypt(0));
        cmac
    }

    fn encrypt(&self, block: u128) -> u128 {
        let mut block = block.to_le_bytes().into();
        self.cipher.encrypt_block(&mut block);
        u128::from_le_bytes(block.into())
    }

    fn hash(&self, message: &[u8]) -> u64 {
        let (blocks, _) = message[..message.len().saturating_sub(1)].as_chunks();
        let chained = blocks.iter().fold(0, |state, block| self.encrypt(state ^ u128::from_le_bytes(*block)));
        self.encrypt(chained ^ self.endings.last_block(message)) as u64
    }
}

#[cfg(target_arch = "x86_64")]
mod instructions {
    use std::arch::x86_64::*;

    use super::Endings;

    /// The round keys, for a processor that has the instructions.
    pub struct Cmac {
        rounds: [__m128i; 11],
        endings: Endings,
    }

    impl Cmac {
        /// `None`: the processor has no instructions for AES.
        pub fn new(key: [u8; 16]) -> Option<Cmac> {
            let has_them = is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse4.1");
            // SAFETY: the processor has them.
            has_them.then(|| unsafe { Cmac::expand(key) })
        }

        #[target_feature(enable = "aes,sse4.1")]
        fn expand(key: [u8; 16]) -> Cmac {
            let mut rounds = [to_vector(u128::from_le_bytes(key)); 11];
            macro_rules! round {
                ($number:literal, $constant:literal) => {
                    let assisted = _mm_aeskeygenassist_si128::<$constant>(rounds[$number - 1]);
                    rounds[$number] = next(rounds[$number - 1], assisted);
                };
            }
            round!(1, 0x01);
            round!(2, 0x02);
            round!(3, 0x04);
            round!(4, 0x08);
            round!(5, 0x10);
            round!(6, 0x20);
            round!(7, 0x40);
            round!(8, 0x80);
            round!(9, 0x1b);
            round!(10, 0x36);
            let zero = encrypt(&rounds, _mm_setzero_si128());
            let (low, high) = (_mm_cvtsi128_si64(zero) as u64, _mm_extract_epi64::<1>(zero) as u64);
            Cmac { rounds, endings: Endings::new(u128::from(high) << 64 | u128::from(low)) }
        }

        #[inline]
        pub fn hash(&self, message: &[u8]) -> u64 {
            // SAFETY: there is a `Cmac` only where the processor has the instructions.
            unsafe {
                match message.len() {
                    1..=16 => self.hash_block(message),
                    17..=32 => self.hash_two_blocks(message),
                    _ => self.hash_blocks(message),
                }
            }
        }

        /// What most keys are: not longer than a block.
        #[target_feature(enable = "aes,sse4.1")]
        fn hash_block(&self, message: &[u8]) -> u64 {
            _mm_cvtsi128_si64(encrypt(&self.rounds, to_vector(self.endings.last_block(message)))) as u64
        }

        /// Without a loop, for it is what most longer keys are.
        #[target_feature(enable = "aes,sse4.1")]
        fn hash_two_blocks(&self, message: &[u8]) -> u64 {
            let first = message.first_chunk().map_or(0, |first| u128::from_le_bytes(*first));
            let chained = encrypt(&self.rounds, to_vector(first));
            let last = to_vector(self.endings.last_block(message));
            _mm_cvtsi128_si64(encrypt(&self.rounds, _mm_xor_si128(chained, last))) as u64
        }

        #[target_feature(enable = "aes,sse4.1")]
        fn hash_blocks(&self, message: &[u8]) -> u64 {
            let (blocks, _) = message[..message.len().saturating_sub(1)].as_chunks();
            let add = |state, block: &[u8; 16]| {
                encrypt(&self.rounds, _mm_xor_si128(state, to_vector(u128::from_le_bytes(*block))))
            };
            let chained = blocks.iter().fold(_mm_setzero_si128(), add);
            let last = to_vector(self.endings.last_block(message));
            _mm_cvtsi128_si64(encrypt(&self.rounds, _mm_xor_si128(chained, last))) as u64
        }
    }

    /// The round key behind `key`: each of its words is the exclusive-or of all up to its own, and of the assisted word.
    #[target_feature(enable = "aes,sse4.1")]
    fn next(key: __m128i, assisted: __m128i) -> __m128i {
        let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
        let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
        _mm_xor_si128(key, _mm_shuffle_epi32::<0xff>(assisted))
    }

    #[inline]
    #[target_feature(enable = "aes,sse4.1")]
    fn encrypt(rounds: &[__m128i; 11], block: __m128i) -> __m128i {
        let [first, middle @ .., last] = rounds;
        let state = _mm_xor_si128(block, *first);
        let state = middle.iter().fold(state, |state, key| _mm_aesenc_si128(state, *key));
        _mm_aesenclast_si128(state, *last)
    }

    #[inline]
    #[target_feature(enable = "aes,sse4.1")]
    fn to_vector(block: u128) -> __m128i {
        _mm_set_epi64x((block >> 64) as i64, block as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4493, section 4.
    #[test]
    fn the_cmac_is_that_of_the_rfc() {
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let message = [
            0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128,
            0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51,
            0x30c8_1c46_a35c_e411_e5fb_c119_1a0a_52ef,
            0xf69f_2445_df4f_9b17_ad2b_417b_e66c_3710,
        ];
        let message: Vec<u8> = message.iter().flat_map(|block| block.to_be_bytes()).collect();
        let cases = [
            (0, 0xbb1d_6929_e959_3728_u64),
            (16, 0x070a_16b4_6b4d_4144),
            (40, 0xdfa6_6747_de9a_e630),
            (64, 0x51f0_bebf_7e3b_9d92),
        ];
        for (length, tag) in cases {
            let tag = u64::from_le_bytes(tag.to_be_bytes());
            assert_eq!(KeyHasher::new(HashSecret::AesCmac(key)).hash(&message[..length]), tag, "{length} bytes");
            assert_eq!(PortableCmac::new(key).hash(&message[..length]), tag, "{length} bytes, without instructions");
        }
    }

    #[test]
    fn secrets_differ_and_are_not_shown() {
        let secrets: Vec<HashSecret> = (0..4).map(|_| HashSecret::random().unwrap()).collect();
        for (index, secret) in secrets.iter().enumerate() {
            assert!(!secrets[..index].contains(secret));
            assert_eq!(format!("{secret:?}"), "AesCmac(..)");
        }
        assert_ne!(KeyHasher::new(secrets[0]).hash(b"key"), KeyHasher::new(secrets[1]).hash(b"key"));
    }

    /// What directories of format 1 have their records by.
    #[test]
    fn the_old_hash_stays_what_it_was() {
        let hash = KeyHasher::new(HashSecret::Xxh3(0x0005_1234_5678_9abc));
        for length in [0, 3, 8, 16, 40, 300] {
            let key = vec![b'k'; length];
            assert_eq!(hash.hash(&key), xxh3_64_with_seed(&key, 0x0005_1234_5678_9abc));
        }
        assert_eq!(KeyHasher::new(HashSecret::Xxh3(1)).hash(b"key"), 0x0c37_033b_f421_05f2);
    }

    proptest! {
        #[test]
        fn processors_agree(key in any::<[u8; 16]>(), message in prop::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(KeyHasher::new(HashSecret::AesCmac(key)).hash(&message), PortableCmac::new(key).hash(&message));
        }
    }
}

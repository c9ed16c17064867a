//! SipHash with 128 bits of output: a hash under a secret that nobody who only chooses inputs can steer.

const COMPRESSION_ROUNDS: usize = 1;
const FINAL_ROUNDS: usize = 3;

/// SipHash-1-3 of 128 bits.
pub(super) fn hash128(secret: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    sip::<COMPRESSION_ROUNDS, FINAL_ROUNDS>(secret, bytes)
}

fn sip<const C: usize, const D: usize>(secret: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    let mut state = [
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        absorb::<C>(&mut state, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    absorb::<C>(&mut state, u64::from_le_bytes(last));
    state[2] ^= 0xee;
    (0..D).for_each(|_| round(&mut state));
    let first = state[0] ^ state[1] ^ state[2] ^ state[3];
    state[1] ^= 0xdd;
    (0..D).for_each(|_| round(&mut state));
    [first, state[0] ^ state[1] ^ state[2] ^ state[3]]
}

#[inline]
fn absorb<const C: usize>(state: &mut [u64; 4], word: u64) {
    state[3] ^= word;
    (0..C).for_each(|_| round(state));
    state[0] ^= word;
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the authors' list for SipHash-2-4 with 128 bits: the secret is 00 01 .. 0f, the input 00 01 .. of that length.
    #[test]
    fn it_is_siphash() {
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes = |words: [u64; 2]| u128::from(words[0]) | u128::from(words[1]) << 64;
        let empty = u128::from_le_bytes([
            0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93,
        ]);
        let one = u128::from_le_bytes([
            0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45,
        ]);
        assert_eq!(bytes(sip::<2, 4>(secret, &[])), empty);
        assert_eq!(bytes(sip::<2, 4>(secret, &[0])), one);
    }

    #[test]
    fn every_byte_and_the_length_count() {
        let secret = [1, 2];
        let mut seen = std::collections::BTreeSet::new();
        for len in 0..40 {
            assert!(seen.insert(hash128(secret, &vec![0; len])), "{len} zeros");
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at] = 1;
                assert!(seen.insert(hash128(secret, &bytes)), "byte {at} of {len}");
            }
        }
        assert_ne!(hash128([1, 3], b"a"), hash128([1, 2], b"a"));
    }
}

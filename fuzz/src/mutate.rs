//! Damage to bytes that were good: bits, lengths and counts at their extremes, cuts, repeats, splices.

use crate::chance::Chance;

/// The longest input that is made.
pub const MAX_LEN: usize = 256 << 10;
/// The most damages to one input.
const MAX_DAMAGES: usize = 6;

const EXTREMES_32: [u32; 10] = [
    0,
    1,
    u32::MAX,
    u32::MAX - 1,
    i32::MAX as u32,
    i32::MIN as u32,
    0x10_0000,
    0x7fff_fff0,
    0xffff,
    0x1_0000,
];
const EXTREMES_64: [u64; 5] = [0, u64::MAX, i64::MAX as u64, i64::MIN as u64, 1 << 32];
const VARINTS: [&[u8]; 8] = [
    &[0x00],
    &[0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80],
    &[0x80, 0x00],
    &[0xff, 0xff, 0x7f],
];

/// Damages `bytes`; `other` is another good sample, for splicing.
pub fn damage(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    // Some samples go through as they are: targets also check what they accept.
    for _ in 0..chance.below(MAX_DAMAGES + 1) {
        damage_once(bytes, other, chance);
    }
    bytes.truncate(MAX_LEN);
}

fn damage_once(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    if bytes.is_empty() {
        let len = chance.below(32);
        *bytes = chance.bytes(len);
        return;
    }
    let at = chance.below(bytes.len());
    let rest = bytes.len() - at;
    match chance.below(13) {
        0 | 1 => bytes[at] ^= 1 << chance.below(8),
        2 => bytes[at] = *chance.pick(&[0, 1, 0x7f, 0x80, 0xff, 0xfe]),
        3 => bytes[at] = chance.draw() as u8,
        4 => overwrite(bytes, at, &(*chance.pick(&EXTREMES_32) as u16).to_be_bytes()),
        5 | 6 => overwrite(bytes, at, &chance.pick(&EXTREMES_32).to_be_bytes()),
        7 => overwrite(bytes, at, &chance.pick(&EXTREMES_64).to_be_bytes()),
        8 => {
            let removed = if chance.one_in(2) { 1 } else { 0 };
            bytes.splice(at..at + removed, chance.pick(&VARINTS).iter().copied());
        }
        9 => bytes.truncate(at),
        10 => drop(bytes.drain(at..at + chance.below(rest.min(64)) + 1)),
        11 => {
            let part = bytes[at..at + chance.below(rest) + 1].to_vec();
            let times = if chance.one_in(8) { 64 } else { 1 };
            for _ in 0..times {
                if bytes.len() < MAX_LEN {
                    bytes.splice(at..at, part.iter().copied());
                }
            }
        }
        _ => {
            let from = chance.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (byte, value) in bytes[at..].iter_mut().zip(value) {
        *byte = *value;
    }
}

//! What is in a record, so that a reader can tell that it is what was sent.
//!
//! A value begins with a head that tells how the rest was made, and the rest is made again to compare:
//!
//! ```text
//! moment u64 | seed u64 | filler ... (a function of the seed)
//! ```
//!
//! The moment is when the record was due, in nanoseconds of the run, or 0. Values shorter than the head are the filler of seed 0.

use std::collections::HashMap;

use bytes::Bytes;
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use crate::Outcome;

const HEAD: usize = 16;
/// Set in the seed when the filler is to shrink under compression, as text does.
const TEXT: u64 = 1 << 63;
/// The most that a batch may unpack to.
const UNPACKED: u64 = 512 << 20;

/// A generator that is good enough for filler (SplitMix64).
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `out`: noise or, with [`TEXT`] in the seed, words of a small vocabulary with some noise, which shrink to about a third.
fn fill(seed: u64, out: &mut [u8]) {
    let mut state = seed;
    for chunk in out.chunks_mut(8) {
        let noise = mix(&mut state);
        let word = if seed & TEXT != 0 && noise & 3 != 0 { mix(&mut (noise >> 2 & 63)) } else { noise };
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

fn write_value(value: &mut [u8], moment: u64, seed: u64) {
    if value.len() < HEAD {
        return fill(0, value);
    }
    value[..8].copy_from_slice(&moment.to_le_bytes());
    value[8..HEAD].copy_from_slice(&seed.to_le_bytes());
    fill(seed, &mut value[HEAD..]);
}

/// What the batches of a load have in common.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    pub codec: Compression,
    pub records: usize,
    /// Bytes of each value.
    pub size: usize,
    /// How many different keys there are; 0 for records without keys.
    pub keys: u64,
}

impl Recipe {
    /// A batch. Those with different `seed`s have different bytes.
    pub fn batch(&self, seed: u32, moment: u64, now: TimestampMs) -> Batch {
        let mut value = vec![0; self.size];
        let mut builder = BatchBuilder::new(self.codec);
        let kind = if self.codec == Compression::None { 0 } else { TEXT };
        for record in 0..self.records {
            let seed = u64::from(seed) << 20 | record as u64;
            write_value(&mut value, moment, kind | seed);
            let key = (self.keys > 0).then(|| mix(&mut seed.clone()) % self.keys).map(u64::to_be_bytes);
            builder.append(now, key.as_ref().map(|key| &key[..]), Some(&value), &[]);
        }
        builder.build(Offset::ZERO, LeaderEpoch::NONE)
    }
}

/// When the first record of a batch was due, in nanoseconds of the run.
pub fn moment(batch: &Batch) -> Outcome<u64> {
    let first = batch.records(UNPACKED).next().ok_or("a batch without records")??;
    let value = first.value.ok_or("a record without a value")?;
    let head = value.get(..8).ok_or("a record without a head")?;
    Ok(u64::from_le_bytes(head.try_into().expect("eight bytes")))
}

/// Proves batches. A body that was proved once is only compared from then on.
#[derive(Debug, Default)]
pub struct Proof {
    known: HashMap<u32, Bytes>,
    /// Bytes of values that the batch with this checksum holds.
    sizes: HashMap<u32, u64>,
    scratch: Vec<u8>,
}

impl Proof {
    /// How many bodies are remembered.
    const KNOWN: usize = 1024;

    /// Checks the checksum and every record's content; gives the bytes of values.
    pub fn check(&mut self, batch: &Batch) -> Outcome<u64> {
        batch.check_crc()?;
        let crc = batch.header.crc;
        if let (Some(body), Some(size)) = (self.known.get(&crc), self.sizes.get(&crc))
            && *body == batch.body
        {
            return Ok(*size);
        }
        let size = self.records(batch)?;
        if self.known.len() < Self::KNOWN {
            self.known.insert(crc, Bytes::copy_from_slice(&batch.body));
            self.sizes.insert(crc, size);
        }
        Ok(size)
    }

    fn records(&mut self, batch: &Batch) -> Outcome<u64> {
        let mut size = 0;
        let mut next = batch.header.base_offset;
        for record in batch.records(UNPACKED) {
            let record = record?;
            if record.offset != next {
                return Err(format!("record {} came where {next} was due", record.offset).into());
            }
            next = next.next();
            let value = record.value.ok_or("a record without a value")?;
            self.value(&value).map_err(|fault| format!("offset {}: {fault}", record.offset))?;
            size += value.len() as u64;
        }
        Ok(size)
    }

    fn value(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let word = |at: usize| u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes"));
        let (moment, seed) = if value.len() < HEAD { (0, 0) } else { (word(0), word(8)) };
        self.scratch.resize(value.len(), 0);
        write_value(&mut self.scratch, moment, seed);
        if self.scratch == value { Ok(()) } else { Err("the content is not what was sent") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_proved() {
        for codec in Compression::ALL {
            for size in [1, 15, 16, 100, 1024] {
                let batch = Recipe { codec, records: 10, size, keys: 3 }.batch(7, 99, TimestampMs(1));
                let mut proof = Proof::default();
                assert_eq!(proof.check(&batch).unwrap(), 10 * size as u64);
                assert_eq!(proof.check(&batch).unwrap(), 10 * size as u64);
                if size >= HEAD {
                    assert_eq!(moment(&batch).unwrap(), 99);
                }
            }
        }
    }

    #[test]
    fn one_changed_bit_is_found_with_and_without_its_checksum() {
        let recipe = Recipe { codec: Compression::None, records: 3, size: 100, keys: 0 };
        let good = recipe.batch(7, 0, TimestampMs(1));
        let mut body = good.body.to_vec();
        *body.last_mut().unwrap() ^= 0; // the last byte is the count of headers
        let at = body.len() - 10;
        body[at] ^= 1;
        let mut bad = Batch { header: good.header, body: body.into() };
        assert!(Proof::default().check(&bad).is_err());
        bad.seal();
        assert!(Proof::default().check(&bad).unwrap_err().to_string().contains("content"));
    }

    #[test]
    fn filler_shrinks_when_it_is_to_be_compressed() {
        let recipe = Recipe { codec: Compression::Zstd, records: 63, size: 1024, keys: 0 };
        let packed = recipe.batch(1, 0, TimestampMs(1)).body.len();
        assert!((10_000..35_000).contains(&packed), "{packed}");
    }
}

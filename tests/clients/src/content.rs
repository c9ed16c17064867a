//! The record that stands at a place, made from a seed alone, and the digest that a partition of such records must have.
//!
//! The same rule is written once in each client's language (`docs/clients.md`); a client whose copy differs fails here.

const POOL: usize = 65536;
const BASE_TIMESTAMP: i64 = 1_700_000_000_000;
/// What a batch adds to the body of its only record: Kafka's batch header.
const BATCH_HEADER: usize = 61;

/// What a topic holds: `count` records of a seed, dealt out to the partitions in turn.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    pub seed: u32,
    pub partitions: u64,
    pub count: u64,
    /// Whether the writing client can send a header without a value; otherwise that value is empty.
    pub header_nulls: bool,
}

impl Contents {
    /// The digest of each partition, as the clients print it.
    pub fn digests(&self) -> Vec<String> {
        let maker = Maker::of(self);
        let digest = |partition| {
            let mut crc = crc32fast::Hasher::new();
            let mut bytes = Vec::new();
            for (offset, index) in (partition..self.count).step_by(self.partitions as usize).enumerate() {
                bytes.clear();
                maker.put_canonical(&mut bytes, offset as i64, index);
                crc.update(&bytes);
            }
            format!("{:08x}", crc.finalize())
        };
        (0..self.partitions).map(digest).collect()
    }

    /// The CRC-32 of each value of a partition, in order; a value that is not there counts as empty.
    pub fn value_crcs(&self, partition: u64) -> Vec<u32> {
        let maker = Maker::of(self);
        let indexes = (partition..self.count).step_by(self.partitions as usize);
        indexes.map(|index| crc32fast::hash(&maker.value(index).unwrap_or_default())).collect()
    }

    /// The timestamp of the record at an offset of a partition.
    pub fn timestamp(&self, partition: u64, offset: u64) -> i64 {
        timestamp(self.seed, offset * self.partitions + partition)
    }

    /// The first offset of a partition whose timestamp is not before `from`; -1 when there is none.
    pub fn offset_at(&self, partition: u64, from: i64) -> i64 {
        let records = (self.count - partition).div_ceil(self.partitions);
        (0..records).find(|&o| self.timestamp(partition, o) >= from).map_or(-1, |o| o as i64)
    }

    /// The arguments that tell a client about these contents.
    pub fn arguments(&self) -> String {
        let nulls = if self.header_nulls { "yes" } else { "no" };
        format!("seed={} partitions={} count={} header_nulls={nulls}", self.seed, self.partitions, self.count)
    }
}

/// How long a value must be for a batch of it alone (no key, no headers, no compression) to take `batch` bytes.
pub fn value_bytes_for_batch(batch: usize) -> usize {
    let body = |value: usize| 4 + varint_len(value as u64) + value + 1; // attributes, deltas, no key, value, no headers
    let size = |value: usize| BATCH_HEADER + varint_len(body(value) as u64) + body(value);
    let found = (0..batch).rev().find(|&v| size(v) <= batch).expect("a batch larger than its header");
    assert_eq!(size(found), batch, "no value gives a batch of exactly this size");
    found
}

struct Maker {
    seed: u32,
    header_nulls: bool,
    pool: Vec<u8>,
}

impl Maker {
    fn of(contents: &Contents) -> Maker {
        let mut x = contents.seed | 1;
        let mut pool = Vec::with_capacity(POOL + 1024);
        for i in 0..POOL + 1024 {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            pool.push(if i < POOL / 2 { x as u8 } else { 97 + (x >> 28) as u8 });
        }
        Maker { seed: contents.seed, header_nulls: contents.header_nulls, pool }
    }

    fn put_canonical(&self, out: &mut Vec<u8>, offset: i64, index: u64) {
        let h = chance(self.seed, index);
        out.extend(offset.to_be_bytes());
        out.extend(timestamp(self.seed, index).to_be_bytes());
        match h & 7 {
            0 => put(out, None),
            1 => put(out, Some(b"")),
            _ => put(out, Some(format!("key-{index}").as_bytes())),
        }
        put(out, self.value(index).as_deref());
        self.put_headers(out, index, h);
    }

    fn value(&self, index: u64) -> Option<Vec<u8>> {
        let h = chance(self.seed, index);
        match h & 63 {
            2 => None,
            3 => Some(Vec::new()),
            _ => {
                let (from, len) = ((h >> 6 & 0xFFFF) as usize, (h >> 22 & 0xFF) as usize);
                let mut value = format!("value-{}-{index}-", self.seed).into_bytes();
                value.extend(&self.pool[from..from + len]);
                Some(value)
            }
        }
    }

    fn put_headers(&self, out: &mut Vec<u8>, index: u64, h: u32) {
        let (a, b, trace) = (format!("a{index}"), format!("b{index}"), h.to_be_bytes());
        let from = (h % 1000) as usize;
        let empty = (!self.header_nulls).then_some(b"".as_slice());
        let headers: &[(&str, Option<&[u8]>)] = match h >> 20 & 3 {
            0 => &[],
            1 => &[("trace", Some(&trace))],
            2 => &[("dup", Some(a.as_bytes())), ("dup", Some(b.as_bytes())), ("null", empty)],
            _ => &[("empty", Some(b"")), ("größe", Some(&self.pool[from..from + 8]))],
        };
        out.extend((headers.len() as i32).to_be_bytes());
        for (key, value) in headers {
            put(out, Some(key.as_bytes()));
            put(out, *value);
        }
    }
}

fn put(out: &mut Vec<u8>, field: Option<&[u8]>) {
    out.extend(field.map_or(-1, |f| f.len() as i32).to_be_bytes());
    out.extend(field.unwrap_or_default());
}

fn timestamp(seed: u32, index: u64) -> i64 {
    BASE_TIMESTAMP + index as i64 * 10 + i64::from(chance(seed, index) % 10)
}

/// The bits that decide about a record.
fn chance(seed: u32, index: u64) -> u32 {
    let mut x = seed.wrapping_add((index as u32).wrapping_mul(0x9E37_79B9));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// The length of a non-negative number in Kafka's zigzag varint.
fn varint_len(n: u64) -> usize {
    let zigzag = n << 1;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_never_go_back_within_a_topic() {
        assert!((0..10_000).all(|i| timestamp(7, i) <= timestamp(7, i + 1)));
    }

    #[test]
    fn a_batch_of_the_default_limit_has_its_value_length() {
        assert_eq!(value_bytes_for_batch(1_048_588), 1_048_588 - 61 - 3 - 4 - 3 - 1);
    }
}

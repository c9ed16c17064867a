//! Random values of every message at every version, and the catalog of all messages: what tests and fuzzers walk through.

// Half of this is generated.
#![allow(clippy::all, unused_qualifications, unused_variables)]

use bytes::Bytes;
use dohle_types::Uuid;

use crate::message::Message;
use crate::{DecodeError, EncodeError, Reader, RecordBytes, Text, UnknownTags, Writer, messages};

/// A source of random bits, such as `&mut || rng.next_u64()`.
pub type Chance<'a> = &'a mut dyn FnMut() -> u64;

/// A message or part of one that can be made up.
pub trait Arbitrary {
    /// A value that can be written at `version`.
    fn random(c: Chance<'_>, version: i16) -> Self;
}

/// One message of the protocol, its type forgotten.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub min_version: i16,
    pub max_version: i16,
    pub flexible_since: Option<i16>,
    /// A random value, written at a version.
    pub random: fn(Chance<'_>, i16) -> Bytes,
    /// Reads all of the bytes at a version and writes them again.
    pub recode: fn(Bytes, i16) -> Result<Bytes, RecodeError>,
    /// Reads all of the bytes at a version.
    pub check: fn(Bytes, i16) -> Result<(), DecodeError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecodeError {
    Decode(DecodeError),
    Encode(EncodeError),
}

impl Entry {
    const fn of<M: Message + Arbitrary>(name: &'static str, flexible_since: Option<i16>) -> Self {
        Self {
            name,
            min_version: M::MIN_VERSION,
            max_version: M::MAX_VERSION,
            flexible_since,
            random: random_bytes::<M>,
            recode: recode::<M>,
            check: |bytes, version| decode::<M>(bytes, version).map(drop),
        }
    }

    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_since.is_some_and(|since| version >= since)
    }
}

fn decode<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version)?;
    r.finish()?;
    Ok(message)
}

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.encode(&mut w, version)?;
    Ok(w.into_bytes())
}

fn recode<M: Message>(bytes: Bytes, version: i16) -> Result<Bytes, RecodeError> {
    let message = decode::<M>(bytes, version).map_err(RecodeError::Decode)?;
    encode(&message, version).map_err(RecodeError::Encode)
}

fn random_bytes<M: Message + Arbitrary>(c: Chance<'_>, version: i16) -> Bytes {
    let message = M::random(c, version);
    encode(&message, version).expect("a random value fits its version")
}

/// A generator of random bits of its own, for callers that have none (SplitMix64).
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn coin(c: Chance<'_>) -> bool {
    c() & 1 == 0
}

fn one_in_four(c: Chance<'_>) -> bool {
    c() & 3 == 0
}

/// How many elements a list gets.
fn few(c: Chance<'_>) -> usize {
    (c() % 4) as usize
}

/// A number of any size, small ones and the ends of the range more often than chance would have it.
fn number(c: Chance<'_>) -> i64 {
    let bits = c();
    match bits & 7 {
        0 => 0,
        1 => -1,
        2 => i64::MAX,
        3 => i64::MIN,
        4 => (bits >> 8) as i8 as i64,
        _ => c() as i64,
    }
}

fn float(c: Chance<'_>) -> f64 {
    number(c) as f64 / 1024.0
}

fn uuid(c: Chance<'_>) -> Uuid {
    if one_in_four(c) { Uuid::ZERO } else { Uuid::from_u128(u128::from(c()) << 64 | u128::from(c())) }
}

/// A length: mostly short, sometimes around the place where a varint takes a second byte.
fn length(c: Chance<'_>) -> usize {
    let bits = c();
    match bits & 15 {
        0 => 0,
        1 => 126 + (bits >> 8) as usize % 4,
        _ => (bits >> 8) as usize % 12,
    }
}

fn text(c: Chance<'_>) -> Text {
    const LETTERS: [char; 16] =
        ['a', 'b', 'c', 'x', 'y', 'z', '0', '9', '-', '_', '.', '/', ' ', 'ä', '語', '🦀'];
    let count = length(c);
    Text::from((0..count).map(|_| LETTERS[(c() & 15) as usize]).collect::<String>())
}

fn bytes(c: Chance<'_>) -> Bytes {
    let count = length(c);
    (0..count).map(|_| c() as u8).collect::<Vec<_>>().into()
}

fn records(c: Chance<'_>) -> RecordBytes {
    if one_in_four(c) {
        // Long enough to become a segment, in the middle of shorter ones.
        return vec![bytes(c), Bytes::from(vec![c() as u8; 1024 + length(c)]), bytes(c)].into();
    }
    bytes(c).into()
}

fn unknown_tags(c: Chance<'_>) -> UnknownTags {
    const BEYOND_KNOWN: u32 = 64;
    let mut tags = UnknownTags::default();
    if c() & 7 == 0 {
        for _ in 0..few(c) {
            tags.set(BEYOND_KNOWN + (c() % 1000) as u32, bytes(c));
        }
    }
    tags
}

include!(concat!(env!("OUT_DIR"), "/arbitrary.rs"));

//! The hostile matrix: every message at every version, cut, bent and inflated in every place.
//!
//! Whatever the bytes: no panic, an error where the bytes are not a message, and memory within the multiple of the bytes that
//! the reader promises.

mod counting;

use bytes::Bytes;
use dohle_wire::arbitrary::{CATALOG, Entry, SplitMix};
use dohle_wire::{
    ConsumerOffsetsKey, ConsumerOffsetsValue, DecodeError, MEMORY_FACTOR, MEMORY_SLACK, MetadataRecord,
    Reader, ShareGroupStateKey, ShareGroupStateValue, TransactionStateKey, TransactionStateValue,
    decode_request_header,
};

/// While a vector grows, its old and new block exist side by side.
const WHILE_GROWING: usize = 2;

/// What is written over a place: counts and lengths of all widths that are huge, negative, overlong or beyond their type, and bytes
/// that no text holds.
const BENT: &[&[u8]] = &[
    &[0x00],
    &[0xff],
    &[0x7f, 0xff],
    &[0x80, 0x00],
    &[0xc0, 0x80],
    &[0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xfe],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
];

/// Calls `test` with every message at every version.
fn each(mut test: impl FnMut(&Entry, i16)) {
    let mut pairs = 0;
    for entry in CATALOG {
        for version in entry.min_version..=entry.max_version {
            test(entry, version);
            pairs += 1;
        }
    }
    assert!(pairs > 700, "only {pairs} pairs of message and version");
}

fn sample(entry: &Entry, version: i16, seed: u64) -> Bytes {
    let mut rng = SplitMix(seed ^ (version as u64) << 32);
    (entry.random)(&mut || rng.next(), version)
}

/// Decodes, and holds the decoder to its promise about memory.
fn decode(entry: &Entry, version: i16, frame: &[u8]) -> Result<(), DecodeError> {
    let bytes = Bytes::copy_from_slice(frame);
    let (result, peak) = counting::peak_of(|| (entry.check)(bytes, version));
    let allowed = WHILE_GROWING * (MEMORY_FACTOR * frame.len() + MEMORY_SLACK);
    assert!(peak <= allowed, "{} v{version}: {peak} bytes of memory for {} bytes", entry.name, frame.len());
    result
}

#[test]
fn truncated_everywhere() {
    each(|entry, version| {
        let whole = sample(entry, version, 1);
        assert_eq!(decode(entry, version, &whole), Ok(()), "{} v{version}", entry.name);
        for end in 0..whole.len() {
            let result = decode(entry, version, &whole[..end]);
            assert!(result.is_err(), "{} v{version} cut at {end} of {}", entry.name, whole.len());
        }
    });
}

#[test]
fn trailing_bytes() {
    each(|entry, version| {
        let mut frame = sample(entry, version, 2).to_vec();
        frame.push(0);
        let result = decode(entry, version, &frame);
        assert_eq!(result, Err(DecodeError::TrailingBytes { count: 1 }), "{} v{version}", entry.name);
    });
}

#[test]
fn bent_everywhere() {
    each(|entry, version| {
        let whole = sample(entry, version, 3);
        let mut frame = Vec::with_capacity(whole.len());
        for place in 0..whole.len() {
            for bent in BENT {
                // Written over what is there, and put between.
                for skip in [bent.len(), 0] {
                    frame.clear();
                    frame.extend_from_slice(&whole[..place]);
                    frame.extend_from_slice(bent);
                    frame.extend_from_slice(&whole[(place + skip).min(whole.len())..]);
                    let _ = decode(entry, version, &frame);
                }
            }
        }
    });
}

/// A frame long enough to hold what a huge count claims, so that only the price of the elements stops it.
#[test]
fn inflated() {
    const TAIL: usize = 64 * 1024;
    each(|entry, version| {
        let mut rng = SplitMix(4);
        let whole = sample(entry, version, 4);
        for filler in [0x00, 0x01, 0x02] {
            for claim in [&[0x00, 0x00, 0xff, 0x00][..], &[0x80, 0xf0, 0x03], &[0xff, 0x7f]] {
                let place = rng.next() as usize % (whole.len() + 1);
                let mut frame = whole[..place].to_vec();
                frame.extend_from_slice(claim);
                frame.resize(frame.len() + TAIL, filler);
                let _ = decode(entry, version, &frame);
            }
        }
    });
}

#[test]
fn noise() {
    each(|entry, version| {
        let mut rng = SplitMix(5);
        for _ in 0..50 {
            let frame: Vec<u8> = (0..rng.next() % 100).map(|_| rng.next() as u8 & rng.next() as u8).collect();
            let _ = decode(entry, version, &frame);
        }
    });
}

#[test]
fn tagged_fields() {
    each(|entry, version| {
        if !entry.is_flexible(version) {
            return;
        }
        // This chance sets no tagged field, so the message ends in the count of the outermost struct's.
        let plain = (entry.random)(&mut || 1, version);
        let (&last, body) = plain.split_last().expect("a flexible message is never empty");
        assert_eq!(last, 0, "{} v{version}", entry.name);
        let with = |tags: &[u8]| decode(entry, version, &[body, tags].concat());
        let told = format!("{} v{version}", entry.name);
        assert_eq!(with(&[1, 100, 0]), Ok(()), "{told}");
        assert_eq!(with(&[2, 100, 0, 101, 1, 9]), Ok(()), "{told}");
        assert_eq!(with(&[2, 100, 0, 100, 0]), Err(DecodeError::TagOrder), "twice: {told}");
        assert_eq!(with(&[2, 101, 0, 100, 0]), Err(DecodeError::TagOrder), "out of order: {told}");
        assert_eq!(with(&[1, 100, 1]), Err(DecodeError::Truncated), "{told}");
        assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Err(DecodeError::Truncated), "{told}");
        assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::Varint), "{told}");
        assert_eq!(with(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), Err(DecodeError::Varint), "{told}");
        let mut recoded = [body, &[1, 100, 2, 7, 8]].concat();
        assert_eq!((entry.recode)(recoded.clone().into(), version).as_deref(), Ok(&recoded[..]), "{told}");
        recoded.push(0);
        let trailing = Err(DecodeError::TrailingBytes { count: 1 });
        assert_eq!(decode(entry, version, &recoded), trailing, "{told}");
    });
}

/// The frames around messages: request headers of every API, and records of the internal topics.
#[test]
fn frames() {
    let mut rng = SplitMix(6);
    for _ in 0..200_000 {
        let mut frame: Vec<u8> = (0..rng.next() % 60).map(|_| rng.next() as u8 & rng.next() as u8).collect();
        // Types and versions are small numbers; without help noise would seldom get past them.
        let small = [1, 0, (rng.next() % 30) as u8, (rng.next() % 4) as u8];
        for (place, value) in frame.iter_mut().zip(small) {
            *place = value;
        }
        let bytes = Bytes::from(frame);
        let type_id = (rng.next() % 25) as i16;
        let _ = MetadataRecord::decode(bytes.slice(bytes.len().min(1)..));
        let _ = MetadataRecord::decode(bytes.clone());
        let _ = ConsumerOffsetsValue::decode(type_id, bytes.slice(bytes.len().min(1)..));
        let _ = TransactionStateValue::decode(0, bytes.slice(bytes.len().min(1)..));
        let _ = ShareGroupStateValue::decode(type_id & 1, bytes.slice(bytes.len().min(1)..));
        let key = bytes.slice(bytes.len().min(1)..);
        let _ = ConsumerOffsetsKey::decode(key.clone());
        let _ = TransactionStateKey::decode(key.clone());
        let _ = ShareGroupStateKey::decode(key.clone());
        let _ = decode_request_header(&mut Reader::new(key));
    }
}

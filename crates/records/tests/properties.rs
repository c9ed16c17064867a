//! What has to hold for any records and any bytes.

use bytes::Bytes;
use dohle_records::codec::{Compressor, Decompressor};
use dohle_records::{
    Batch, BatchBuilder, BatchError, Compression, DEFAULT_OUTPUT_LIMIT, Entry, Header, Record, RecordFault,
    parse_batches, parse_entries,
};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn any_bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..longest).prop_map(Bytes::from)
}

fn any_record() -> impl Strategy<Value = Record> {
    let header = (any_bytes(8), option::of(any_bytes(20))).prop_map(|(key, value)| Header { key, value });
    let long = prop_oneof![any_bytes(40), (0..200_000usize).prop_map(|len| Bytes::from(vec![b'x'; len]))];
    (0..i64::MAX / 2, option::of(any_bytes(40)), option::of(long), vec(header, 0..4)).prop_map(
        |(timestamp, key, value, headers)| Record {
            offset: Offset::ZERO,
            timestamp: TimestampMs(timestamp),
            attributes: 0,
            key,
            value,
            headers,
        },
    )
}

fn any_codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL[..])
}

fn build(codec: Compression, records: &mut [Record], base: Offset) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    for (i, record) in records.iter_mut().enumerate() {
        record.offset = base.plus(i as i64);
        builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
    }
    builder.build(base, LeaderEpoch(5))
}

fn read_all(bytes: Bytes) {
    for entry in parse_entries(bytes).flatten() {
        match entry {
            Entry::Batch(batch) => {
                batch.records(1 << 20).for_each(drop);
            }
            Entry::Legacy(entry) => entry.records(1 << 20).for_each(drop),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_built_is_read(codec in any_codec(), mut records in vec(any_record(), 1..20), base in 0..1i64 << 40) {
        let batch = build(codec, &mut records, Offset(base));
        let bytes = Bytes::from(batch.to_vec());
        let parsed: Vec<Batch> = parse_batches(bytes).map(Result::unwrap).collect();
        prop_assert_eq!(&parsed, &vec![batch]);
        parsed[0].check_crc().unwrap();
        let read: Result<Vec<Record>, BatchError> = parsed[0].records(DEFAULT_OUTPUT_LIMIT).collect();
        prop_assert_eq!(read.unwrap(), records);
    }

    #[test]
    fn any_flipped_bit_is_found(codec in any_codec(), mut records in vec(any_record(), 1..4), place in any::<prop::sample::Index>()) {
        let mut bytes = build(codec, &mut records, Offset::ZERO).to_vec();
        let bit = place.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let set_by_brokers = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        match Batch::parse(&Bytes::from(bytes)) {
            Ok(batch) => prop_assert_eq!(batch.check_crc().is_ok(), set_by_brokers),
            Err(_) => prop_assert!(!set_by_brokers),
        }
    }

    /// The checksum is no proof of good will: bytes that match it may still be anything.
    #[test]
    fn damaged_bodies_do_not_panic(
        codec in any_codec(),
        mut records in vec(any_record(), 1..6),
        place in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let batch = build(codec, &mut records, Offset::ZERO);
        let mut bytes = batch.to_vec();
        let at = place.index(bytes.len());
        bytes[at] = value;
        read_all(Bytes::from(bytes.clone()));
        bytes.truncate(cut.index(bytes.len()));
        read_all(Bytes::from(bytes));
        let mut shorter = batch.clone();
        shorter.body.truncate(cut.index(batch.body.len() + 1));
        shorter.records(DEFAULT_OUTPUT_LIMIT).for_each(drop);
    }

    #[test]
    fn noise_is_never_more_than_an_error(noise in any_bytes(300), codec in any_codec(), magic in 0..3u8) {
        let mut entry = noise.to_vec();
        if entry.len() > 16 {
            let size = (entry.len() - 12) as u32;
            entry[8..12].copy_from_slice(&size.to_be_bytes());
            entry[16] = magic;
        }
        read_all(entry.into());
        if let Ok(mut decoder) = Decompressor::new(codec, noise, 1 << 20) {
            let _ = decoder.read_to_end();
        }
    }

    #[test]
    fn codecs_round_trip(codec in any_codec(), pieces in vec(any_bytes(5000), 0..20), repeats in 1..40usize) {
        let mut compressor = Compressor::new(codec, codec.default_level());
        let mut whole = Vec::new();
        for _ in 0..repeats {
            for piece in &pieces {
                compressor.write(piece);
                whole.extend_from_slice(piece);
            }
        }
        let packed = Bytes::from(compressor.finish());
        let mut decoder = Decompressor::new(codec, packed.clone(), whole.len() as u64).unwrap();
        prop_assert!(decoder.read_to_end().unwrap() == whole);
        if !whole.is_empty() {
            let mut capped = Decompressor::new(codec, packed, whole.len() as u64 - 1).unwrap();
            let refused = capped.read_to_end();
            assert!(matches!(refused, Err(BatchError::OutputLimit { .. })));
        }
    }
}

/// A GiB of zeros, packed by `codec`.
fn zeros_packed(codec: Compression) -> Vec<u8> {
    const PART: usize = 16 << 20;
    const PARTS: usize = (1 << 30) / PART;
    let mut compressor = Compressor::new(codec, 1);
    compressor.write(&vec![0; PART]);
    let part = compressor.finish();
    if codec != Compression::Lz4 {
        return part.repeat(PARTS);
    }
    // One frame: its header once, its blocks again and again, its end mark once.
    let (header, rest) = part.split_at(7);
    let (blocks, end) = rest.split_at(rest.len() - 4);
    [header, &blocks.repeat(PARTS), end].concat()
}

/// Refused after at most the limit and a piece.
#[test]
fn bombs_are_refused() {
    const LIMIT: u64 = 8 << 20;
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = Bytes::from(zeros_packed(codec));
        let mut decoder = Decompressor::new(codec, packed.clone(), LIMIT).unwrap();
        let mut piece = vec![0; 64 << 10];
        let mut produced = 0;
        let refused = loop {
            match decoder.read(&mut piece) {
                Ok(0) => panic!("{codec:?} ended"),
                Ok(read) => produced += read as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(refused, BatchError::OutputLimit { limit: LIMIT }, "{codec:?}");
        assert!(produced <= LIMIT);

        let mut batch = BatchBuilder::new(codec).build(Offset::ZERO, LeaderEpoch(0));
        batch.header.attributes = batch.header.attributes.with_compression(codec);
        batch.header.record_count = 1;
        batch.body = packed;
        // The first byte is a record's length, 0: a record of no bytes.
        let first = batch.records(LIMIT).next().unwrap();
        assert_eq!(first, Err(RecordFault::RecordsRemaining.into()), "{codec:?}");
    }
}

/// A raw snappy block that claims a GiB in ten bytes is not believed.
#[test]
fn a_claim_allocates_nothing() {
    let mut claim = vec![0x80, 0x80, 0x80, 0x80, 0x04];
    claim.extend_from_slice(&[0; 5]);
    let refused = Decompressor::new(Compression::Snappy, claim.into(), u64::MAX).unwrap().read(&mut [0; 16]);
    assert!(matches!(refused, Err(BatchError::Decompression(_))));
}

#[test]
fn snappy_without_frames_is_read() {
    let text = b"as kafka-python and others have sent it ".repeat(5000);
    let raw = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    let mut decoder = Decompressor::new(Compression::Snappy, raw.into(), 1 << 20).unwrap();
    assert_eq!(decoder.read_to_end().unwrap(), text);
}

#[test]
fn joined_streams_are_one() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
        let mut joined = Vec::new();
        for part in [&b"first "[..], b"second"] {
            let mut compressor = Compressor::new(codec, 1);
            compressor.write(part);
            joined.extend_from_slice(&compressor.finish());
        }
        let mut decoder = Decompressor::new(codec, joined.into(), 1 << 20).unwrap();
        assert_eq!(decoder.read_to_end().unwrap(), b"first second", "{codec:?}");
    }
}

#[test]
fn every_level_writes_what_is_read() {
    let text = b"levels trade time for space, ".repeat(3000);
    for (codec, levels) in [
        (Compression::Gzip, -1..=9),
        (Compression::Lz4, 1..=17),
        (Compression::Zstd, -10..=19),
        (Compression::Zstd, i32::MIN..=i32::MIN),
    ] {
        for level in levels {
            let mut compressor = Compressor::new(codec, level);
            compressor.write(&text);
            let packed = compressor.finish();
            let mut decoder = Decompressor::new(codec, packed.into(), 1 << 20).unwrap();
            assert!(decoder.read_to_end().unwrap() == text, "{codec:?} at {level}");
        }
    }
}

/// A batch, its records half read and its builder go wherever the partition's owner runs.
#[test]
fn everything_may_change_threads() {
    fn may<T: Send>() {}
    may::<Batch>();
    may::<BatchBuilder>();
    may::<Decompressor>();
    may::<dohle_records::Records>();
    may::<dohle_records::legacy::LegacyRecords>();
}

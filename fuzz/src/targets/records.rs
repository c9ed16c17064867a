//! Batches as disks and producers give them, old messages, codecs.

use bytes::Bytes;
use dohle_config::{StoredCompression, TimestampType, TopicSettings};
use dohle_records::codec::{Compressor, Decompressor};
use dohle_records::control::ControlRecord;
use dohle_records::{
    BatchBuilder, BatchError, Compression, Entry, HEADER_LEN, Header, ProducePolicy, batch_crc,
    parse_batches, parse_entries, validate_produce,
};
use dohle_types::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::chance::Chance;

/// What a batch may be decompressed to here.
pub const LIMIT: usize = 1 << 20;
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

/// A segment of any entries. Checksums are looked at and ignored, as by a reader that trusts its disk.
pub fn batch(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let mut at = 0;
    for entry in parse_entries(bytes.clone()) {
        let Ok(Entry::Batch(batch)) = entry else { break };
        let size = batch.size();
        assert!(batch.segments().concat() == bytes[at..at + size], "a batch is written as it was read");
        at += size;
        let _ = batch.check_crc();
        let mut count = 0;
        for record in batch.records(LIMIT as u64).flatten() {
            count += 1;
            if batch.header.is_control() {
                let _ = ControlRecord::parse(&record);
            }
        }
        assert!(count <= batch.header.record_count.max(0));
    }
    parse_batches(bytes).for_each(drop);
}

/// `settings u8 | seal u8 | records`: what a producer sends to a topic of some settings. A sealed batch has a good length and
/// checksum, so that the damage reaches what stands behind them.
pub fn produce(data: &[u8]) {
    let [settings, seal, records @ ..] = data else { return };
    let mut records = records.to_vec();
    if seal & 1 == 1 && records.len() > HEADER_LEN {
        let length = (records.len() - 12) as u32;
        records[..8].fill(0);
        records[8..12].copy_from_slice(&length.to_be_bytes());
        records[16] = 2;
        let crc = batch_crc(&[&records[21..]]);
        records[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let policy = policy_of(*settings);
    let Ok(produced) = validate_produce(records.into(), &policy, 12, NOW) else { return };
    let [batch] = &produced.batches[..] else { panic!("one batch, not {}", produced.batches.len()) };
    batch.check_crc().expect("what is stored is whole");
    assert!(batch.size() <= policy.max_message_bytes as usize);
    assert_eq!(batch.header.base_offset, Offset::ZERO);
    if batch.header.compression() == Ok(Compression::None) {
        let offsets = batch.records(LIMIT as u64).map(|record| record.expect("walked and found good").offset);
        assert!(offsets.eq((0..i64::from(batch.header.record_count)).map(Offset)));
    }
}

fn policy_of(settings: u8) -> ProducePolicy<'static> {
    let defaults = TopicSettings::default();
    let mut policy = ProducePolicy::new("fuzz", PartitionIndex(0), &defaults);
    policy.max_uncompressed_bytes = LIMIT as u64;
    policy.compression = match settings & 7 {
        0 => StoredCompression::Uncompressed,
        1 => StoredCompression::Gzip,
        2 => StoredCompression::Snappy,
        3 => StoredCompression::Lz4,
        4 => StoredCompression::Zstd,
        _ => StoredCompression::Producer,
    };
    policy.compacted = settings & 0x08 != 0;
    if settings & 0x10 != 0 {
        policy.timestamp_type = TimestampType::LogAppendTime;
    }
    if settings & 0x20 != 0 {
        policy.timestamp_before_max_ms = 1000;
    }
    policy
}

pub fn produce_sample(chance: &mut Chance) -> Vec<u8> {
    let mut data = vec![chance.draw() as u8, u8::from(!chance.one_in(8))];
    data.extend(built(chance));
    data
}

pub fn batch_sample(chance: &mut Chance) -> Vec<u8> {
    (0..=chance.below(2)).flat_map(|_| built(chance)).collect()
}

fn built(chance: &mut Chance) -> Vec<u8> {
    let mut builder = BatchBuilder::new(*chance.pick(&Compression::ALL));
    if chance.one_in(3) {
        let sequence = Sequence(chance.draw() as i32 & i32::MAX);
        builder = builder.producer(ProducerId(7), ProducerEpoch(1), sequence).transactional(chance.one_in(2));
    }
    if chance.one_in(20) {
        builder = builder.control();
    }
    for _ in 0..=chance.below(8) {
        let timestamp = TimestampMs(NOW.0 - chance.below(2000) as i64);
        let key = (!chance.one_in(4)).then(|| chance.bytes(4));
        let len = if chance.one_in(6) { chance.below(3000) } else { chance.below(30) };
        let value =
            (!chance.one_in(5)).then(|| if chance.one_in(2) { vec![b'v'; len] } else { chance.bytes(len) });
        let headers: Vec<Header> =
            (0..chance.below(3)).map(|i| Header::new("key", (i > 0).then_some("value"))).collect();
        builder.append(timestamp, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0)).to_vec()
}

/// `seal u8 | entries`: a segment of formats 0 and 1.
pub fn legacy(data: &[u8]) {
    let [seal, entry @ ..] = data else { return };
    let mut bytes = entry.to_vec();
    if seal & 1 == 1 && bytes.len() >= 26 {
        let size = (bytes.len() - 12) as u32;
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        let crc = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    }
    for entry in parse_entries(bytes.into()) {
        let Ok(Entry::Legacy(entry)) = entry else { break };
        let _ = entry.check_crc();
        entry.records(LIMIT as u64).for_each(drop);
    }
}

pub fn legacy_sample(chance: &mut Chance) -> Vec<u8> {
    const WRITTEN_BY_KAFKA: [&[u8]; 8] = [
        include_bytes!("../../../crates/records/tests/golden/v0-none.bin"),
        include_bytes!("../../../crates/records/tests/golden/v0-gzip.bin"),
        include_bytes!("../../../crates/records/tests/golden/v0-snappy.bin"),
        include_bytes!("../../../crates/records/tests/golden/v0-lz4.bin"),
        include_bytes!("../../../crates/records/tests/golden/v1-none.bin"),
        include_bytes!("../../../crates/records/tests/golden/v1-gzip.bin"),
        include_bytes!("../../../crates/records/tests/golden/v1-snappy.bin"),
        include_bytes!("../../../crates/records/tests/golden/v1-lz4.bin"),
    ];
    let mut data = vec![u8::from(chance.one_in(2))];
    let set = WRITTEN_BY_KAFKA[chance.below(WRITTEN_BY_KAFKA.len())];
    data.extend_from_slice(set);
    data
}

/// `codec u8 | stream`.
pub fn decompress(data: &[u8]) {
    let [codec, stream @ ..] = data else { return };
    let codec = Compression::ALL[usize::from(*codec) % Compression::ALL.len()];
    let Ok(mut decoder) = Decompressor::new(codec, Bytes::copy_from_slice(stream), LIMIT as u64) else {
        return;
    };
    let mut piece = vec![0; 16 << 10];
    let mut produced = 0;
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => produced += read,
            Err(BatchError::OutputLimit { limit }) => {
                assert_eq!(limit, LIMIT as u64);
                break;
            }
            Err(_) => break,
        }
    }
    assert!(produced <= LIMIT);
}

pub fn decompress_sample(chance: &mut Chance) -> Vec<u8> {
    let codec = *chance.pick(&Compression::ALL);
    let mut compressor = Compressor::new(codec, codec.default_level());
    for _ in 0..chance.below(6) {
        let len = chance.below(20_000);
        let piece = if chance.one_in(2) { vec![b'z'; len] } else { chance.bytes(len / 8) };
        compressor.write(&piece);
    }
    let mut data = vec![codec.id()];
    data.extend(compressor.finish());
    data
}

/// Whatever goes in comes out.
pub fn codec_round_trip(data: &[u8]) {
    for codec in Compression::ALL {
        let mut compressor = Compressor::new(codec, codec.default_level());
        compressor.write(data);
        let packed = Bytes::from(compressor.finish());
        let mut decoder =
            Decompressor::new(codec, packed, data.len() as u64).expect("what was packed is opened");
        assert!(decoder.read_to_end().expect("what was packed is unpacked") == data);
    }
}

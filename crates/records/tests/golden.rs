//! Batches written by Kafka's own classes, read here to the last byte.
//!
//! Beside each `tests/golden/*.bin` lies what Kafka's classes read from it, in lines: a batch's fields, a record's fields. Bytes
//! are `x` and hex, or `#length:crc32` where they are long.

#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dohle_config::TimestampType;
use dohle_records::control::{ControlRecord, ControlType, EndTransaction};
use dohle_records::legacy::LegacyEntry;
use dohle_records::{
    Batch, BatchBuilder, BatchError, Compression, DEFAULT_OUTPUT_LIMIT, Entry, Record, parse_entries,
};

/// Asked for when the test runs: what was built may have been built in another clone.
fn golden_folder() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    Path::new(&package).join("tests/golden")
}

fn golden_files() -> Vec<PathBuf> {
    let folder = golden_folder();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    assert!(files.len() > 30);
    files
}

fn load(name: &str) -> Bytes {
    let path = golden_folder().join(name);
    std::fs::read(path).unwrap().into()
}

fn only_batch(name: &str) -> Batch {
    let Entry::Batch(batch) = parse_entries(load(name)).next().unwrap().unwrap() else { panic!("{name}") };
    batch
}

#[test]
fn every_file_reads_as_kafka_reads_it() {
    for path in golden_files() {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let expected = std::fs::read_to_string(path.with_extension("tsv")).unwrap();
        let mut shown = String::new();
        let mut size = 0;
        for entry in parse_entries(bytes.clone()) {
            match entry.unwrap() {
                Entry::Batch(batch) => {
                    size += batch.size();
                    show_batch(&mut shown, &batch);
                }
                Entry::Legacy(entry) => {
                    size += entry.size();
                    show_legacy(&mut shown, &entry);
                }
            }
        }
        assert_eq!(shown, expected, "{}", path.display());
        assert_eq!(size, bytes.len(), "{}", path.display());
    }
}

/// What is uncompressed comes out of the builder as the very bytes that Kafka wrote; what is compressed, with the same records.
#[test]
fn rebuilt_batches_are_kafkas() {
    for path in golden_files() {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        for entry in parse_entries(bytes) {
            let Entry::Batch(batch) = entry.unwrap() else { continue };
            let header = batch.header;
            let mut builder = BatchBuilder::new(header.compression().unwrap())
                .producer(header.producer_id, header.producer_epoch, header.base_sequence)
                .transactional(header.is_transactional());
            if header.is_control() {
                builder = builder.control();
            }
            if header.timestamp_type() == TimestampType::LogAppendTime {
                builder = builder.log_append_time(header.max_timestamp);
            }
            if let Some(horizon) = header.delete_horizon() {
                builder = builder.delete_horizon(horizon);
            }
            let mut scan = batch.scan(DEFAULT_OUTPUT_LIMIT).unwrap();
            while scan
                .next_with(|view| {
                    let headers: Vec<_> = view
                        .headers
                        .map(|(key, value)| dohle_records::Header {
                            key: Bytes::copy_from_slice(key),
                            value: value.map(Bytes::copy_from_slice),
                        })
                        .collect();
                    let timestamp = (header.base_timestamp.get() + view.timestamp_delta).into();
                    builder.append_at(view.offset_delta, timestamp, view.key, view.value, &headers);
                })
                .unwrap()
                .is_some()
            {}
            builder.extend_to(header.last_offset_delta);
            let rebuilt = builder.build(header.base_offset, header.leader_epoch);
            rebuilt.check_crc().unwrap();
            if header.compression() == Ok(Compression::None) && header.record_count > 0 {
                assert_eq!(rebuilt, batch, "{}", path.display());
            } else {
                let records = |batch: &Batch| -> Vec<Record> {
                    batch.records(DEFAULT_OUTPUT_LIMIT).map(Result::unwrap).collect()
                };
                assert_eq!(records(&rebuilt), records(&batch), "{}", path.display());
            }
        }
    }
}

#[test]
fn control_records() {
    let parse = |name: &str| {
        let batch = only_batch(name);
        assert!(batch.header.is_control());
        let record = batch.records(DEFAULT_OUTPUT_LIMIT).next().unwrap().unwrap();
        (batch, ControlRecord::parse(&record).unwrap())
    };
    for (name, marker) in [
        ("v2-commit.bin", EndTransaction { committed: true, coordinator_epoch: 12 }),
        ("v2-abort.bin", EndTransaction { committed: false, coordinator_epoch: 13 }),
    ] {
        let (batch, record) = parse(name);
        assert_eq!(record, ControlRecord::EndTransaction(marker));
        let header = batch.header;
        let ours = marker.to_batch(
            header.producer_id,
            header.producer_epoch,
            header.max_timestamp,
            header.base_offset,
            header.leader_epoch,
        );
        assert_eq!(ours, batch);
    }
    for (name, kind) in [
        ("v2-leader-change.bin", ControlType::LeaderChange),
        ("v2-snapshot-header.bin", ControlType::SnapshotHeader),
        ("v2-snapshot-footer.bin", ControlType::SnapshotFooter),
        ("v2-kraft-version.bin", ControlType::KRaftVersion),
        ("v2-kraft-voters.bin", ControlType::KRaftVoters),
    ] {
        let (batch, record) = parse(name);
        let ControlRecord::KRaft(found, value) = record else { panic!("{name}") };
        assert_eq!(found, kind);
        let header = batch.header;
        let ours = dohle_records::control::kraft_batch(
            &[(kind, value)],
            header.max_timestamp,
            header.base_offset,
            header.leader_epoch,
        );
        assert_eq!(ours, batch, "{name}");
    }
}

/// Any flipped bit in what a checksum covers is found; what is not covered is what brokers set.
#[test]
fn flipped_bits_are_found() {
    for path in golden_files() {
        let original = std::fs::read(&path).unwrap();
        for at in 0..original.len().min(700) {
            let mut bytes = original.clone();
            bytes[at] ^= 1 << (at % 8);
            let Some(Ok(entry)) = parse_entries(bytes.into()).next() else { continue };
            match entry {
                Entry::Batch(batch) if at < batch.size() => {
                    let covered = (8..12).contains(&at) || at >= 17;
                    assert_eq!(batch.check_crc().is_err(), covered, "{} byte {at}", path.display());
                }
                Entry::Legacy(entry) if at < entry.size() => {
                    let covered = at >= 8;
                    assert_eq!(entry.check_crc().is_err(), covered, "{} byte {at}", path.display());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn truncated_files_end_in_an_error() {
    for path in golden_files() {
        let original = Bytes::from(std::fs::read(&path).unwrap());
        for len in (0..original.len()).step_by(1 + original.len() / 500) {
            let last = parse_entries(original.slice(..len)).last();
            if let Some(Err(error)) = last {
                assert!(
                    matches!(error, BatchError::Incomplete { .. }),
                    "{} at {len}: {error}",
                    path.display()
                );
            }
        }
    }
}

fn show_batch(out: &mut String, batch: &Batch) {
    batch.check_crc().unwrap();
    let header = &batch.header;
    let horizon = header.delete_horizon().map_or("none".to_owned(), |horizon| horizon.to_string());
    writeln!(
        out,
        "batch\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{horizon}",
        header.magic,
        header.size(),
        header.base_offset,
        header.last_offset(),
        header.leader_epoch,
        header.crc,
        header.compression().unwrap().name(),
        type_name(header.timestamp_type()),
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence(),
        header.record_count,
        header.is_transactional(),
        header.is_control(),
    )
    .unwrap();
    for record in batch.records(DEFAULT_OUTPUT_LIMIT) {
        show_record(out, &record.unwrap());
    }
}

fn show_legacy(out: &mut String, entry: &LegacyEntry) {
    entry.check_crc().unwrap();
    let kind = if entry.magic == 0 { "NoTimestampType" } else { type_name(entry.timestamp_type()) };
    writeln!(
        out,
        "batch\t{}\t{}\t{}\t{}\t-1\t{}\t{}\t{kind}\t{}\t-1\t-1\t-1\t-1\tnull\tfalse\tfalse\tnone",
        entry.magic,
        entry.size(),
        entry.offset,
        entry.offset,
        entry.crc,
        entry.compression().unwrap().name(),
        entry.timestamp,
    )
    .unwrap();
    for record in entry.records(DEFAULT_OUTPUT_LIMIT) {
        show_record(out, &record.unwrap());
    }
}

fn show_record(out: &mut String, record: &Record) {
    let headers: Vec<String> = record
        .headers
        .iter()
        .map(|header| {
            format!("{}={}", std::str::from_utf8(&header.key).unwrap(), shown(header.value.as_ref()))
        })
        .collect();
    writeln!(
        out,
        "record\t{}\t{}\t{}\t{}\t{}",
        record.offset,
        record.timestamp,
        shown(record.key.as_ref()),
        shown(record.value.as_ref()),
        headers.join(",")
    )
    .unwrap();
}

fn shown(bytes: Option<&Bytes>) -> String {
    const LONGEST_HEX: usize = 64;
    match bytes {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() > LONGEST_HEX => format!("#{}:{:x}", bytes.len(), crc32fast::hash(bytes)),
        Some(bytes) => bytes.iter().fold("x".to_owned(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        }),
    }
}

fn type_name(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

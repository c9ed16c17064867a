//! Messages of formats 0 and 1 that Kafka's classes do not write any more, or never should have been written.

use bytes::{BufMut, Bytes};
use dohle_records::codec::Compressor;
use dohle_records::{
    BatchError, Compression, DEFAULT_OUTPUT_LIMIT, Entry, Record, RecordFault, parse_entries,
};

const LOG_APPEND_TIME: i8 = 8;

fn message(magic: i8, attributes: i8, offset: i64, timestamp: i64, value: Option<&[u8]>) -> Vec<u8> {
    let mut covered = Vec::new();
    covered.put_i8(magic);
    covered.put_i8(attributes);
    if magic > 0 {
        covered.put_i64(timestamp);
    }
    covered.put_i32(-1);
    covered.put_i32(value.map_or(-1, |value| value.len() as i32));
    covered.put_slice(value.unwrap_or_default());
    let mut bytes = Vec::new();
    bytes.put_i64(offset);
    bytes.put_i32(covered.len() as i32 + 4);
    bytes.put_u32(crc32fast::hash(&covered));
    bytes.put_slice(&covered);
    bytes
}

fn wrapper(magic: i8, attributes: i8, offset: i64, inside: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(Compression::Gzip, -1);
    compressor.write(inside);
    message(magic, Compression::Gzip as i8 | attributes, offset, 999, Some(&compressor.finish()))
}

fn read(bytes: Vec<u8>) -> Result<Vec<Record>, BatchError> {
    read_up_to(bytes, DEFAULT_OUTPUT_LIMIT)
}

fn read_up_to(bytes: Vec<u8>, limit: u64) -> Result<Vec<Record>, BatchError> {
    let Entry::Legacy(entry) = parse_entries(bytes.into()).next().unwrap()? else { panic!("a legacy entry") };
    entry.check_crc()?;
    entry.records(limit).collect()
}

fn offsets_and_times(records: &[Record]) -> Vec<(i64, i64)> {
    records.iter().map(|record| (record.offset.0, record.timestamp.0)).collect()
}

#[test]
fn offsets_inside_wrappers() {
    let inside = |magic| [message(magic, 0, 0, 5, Some(b"a")), message(magic, 0, 1, 6, None)].concat();
    assert_eq!(offsets_and_times(&read(wrapper(0, 0, 41, &inside(0))).unwrap()), [(0, -1), (1, -1)]);
    assert_eq!(offsets_and_times(&read(wrapper(1, 0, 41, &inside(1))).unwrap()), [(40, 5), (41, 6)]);
    assert_eq!(offsets_and_times(&read(wrapper(1, 0, 0, &inside(1))).unwrap()), [(0, 5), (1, 6)]);
    let stamped = read(wrapper(1, LOG_APPEND_TIME, 41, &inside(1))).unwrap();
    assert_eq!(offsets_and_times(&stamped), [(40, 999), (41, 999)]);
    assert_eq!(stamped[0].value.as_deref(), Some(&b"a"[..]));
    assert_eq!(stamped[1].value, None);
}

#[test]
fn what_is_refused() {
    let fault = |fault| Err(BatchError::Record(fault));
    let inner = message(1, 0, 7, 5, Some(b"a"));
    assert_eq!(read(wrapper(1, 0, 3, &inner)), fault(RecordFault::WrapperOffset { wrapper: 3, last: 7 }));
    assert_eq!(read(wrapper(1, 0, 3, &[])), fault(RecordFault::EmptyWrapper));
    assert_eq!(read(wrapper(0, 0, 3, &[])), fault(RecordFault::EmptyWrapper));
    assert_eq!(read(wrapper(1, 0, 9, &wrapper(1, 0, 3, &inner))), fault(RecordFault::NestedCompression));
    assert_eq!(read(message(1, Compression::Gzip as i8, 3, 5, None)), fault(RecordFault::NullWrapper));
    assert_eq!(
        read(message(1, Compression::Zstd as i8, 3, 5, Some(b"x"))),
        Err(BatchError::UnknownCompression(4))
    );
    let mut broken = inner.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert!(matches!(read(broken.clone()), Err(BatchError::Checksum { .. })));
    assert!(matches!(read(wrapper(1, 0, 9, &broken)), Err(BatchError::Checksum { .. })));
    let large = message(1, 0, 0, 5, Some(&[0; 100_000]));
    assert_eq!(read_up_to(wrapper(1, 0, 9, &large), 10_000), Err(BatchError::OutputLimit { limit: 10_000 }));
    // Cut short inside the wrapper: as if it were not there, as Kafka has it.
    let cut = [&inner[..], &inner[..20]].concat();
    assert_eq!(read(wrapper(1, 0, 9, &cut)).unwrap().len(), 1);
    let short: Bytes = inner[..20].to_vec().into();
    assert!(matches!(parse_entries(short).next(), Some(Err(BatchError::Incomplete { .. }))));
}

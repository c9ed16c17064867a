//! The records of the internal topics.

use bytes::Bytes;
use dohle_wire::arbitrary::{CATALOG, Entry};
use dohle_wire::{
    ConsumerOffsetsKey, ConsumerOffsetsValue, MetadataRecord, ShareGroupStateKey, ShareGroupStateValue,
    TransactionStateKey, TransactionStateValue,
};

use crate::chance::Chance;

pub fn metadata_record(data: &[u8]) {
    let Ok((record, version)) = MetadataRecord::decode(Bytes::copy_from_slice(data)) else { return };
    let written = record.encode(version).expect("what was read at a version fits it");
    let again = MetadataRecord::decode(written.clone()).expect("what was written is read");
    assert_eq!(again.1, version);
    assert!(again.0.encode(version).is_ok_and(|bytes| bytes == written));
}

pub fn metadata_sample(chance: &mut Chance) -> Vec<u8> {
    const TYPES: u8 = 64;
    let records: Vec<_> = CATALOG.iter().filter(|entry| entry.name.ends_with("Record")).collect();
    let entry = **chance.pick(&records);
    let version = version_of(&entry, chance);
    let mut frame = vec![1, 0, version as u8];
    frame.extend_from_slice(&(entry.random)(&mut || chance.draw(), version));
    // The catalog does not tell the type: the first that reads these bytes will do.
    frame[1] = (0..TYPES)
        .find(|type_id| {
            frame[1] = *type_id;
            MetadataRecord::decode(Bytes::copy_from_slice(&frame)).is_ok()
        })
        .unwrap_or_default();
    frame
}

fn version_of(entry: &Entry, chance: &mut Chance) -> i16 {
    entry.min_version + chance.below((entry.max_version - entry.min_version + 1) as usize) as i16
}

/// `which log u8 | length of the key u8 | key | value`.
pub fn coordinator_record(data: &[u8]) {
    let [log, key_len, rest @ ..] = data else { return };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*key_len)));
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    macro_rules! check {
        ($key:ident $value:ident) => {{
            let Ok(key) = $key::decode(key) else { return };
            let written = key.encode().expect("what was read fits");
            assert!($key::decode(written).expect("what was written is read") == key);
            let Ok((value, version)) = $value::decode(key.type_id(), value) else { return };
            let written = value.encode(version).expect("what was read at a version fits it");
            let again = $value::decode(key.type_id(), written.clone()).expect("what was written is read");
            assert!(again.0.encode(version).is_ok_and(|bytes| bytes == written));
        }};
    }
    match log % 3 {
        0 => check!(ConsumerOffsetsKey ConsumerOffsetsValue),
        1 => check!(TransactionStateKey TransactionStateValue),
        _ => check!(ShareGroupStateKey ShareGroupStateValue),
    }
}

pub fn coordinator_sample(chance: &mut Chance) -> Vec<u8> {
    let keys: Vec<_> = CATALOG.iter().filter(|entry| entry.name.ends_with("Key")).collect();
    let key = **chance.pick(&keys);
    let value_name = key.name.replace("Key", "Value");
    let value = CATALOG.iter().find(|entry| entry.name == value_name).unwrap_or(&key);
    let version = version_of(value, chance);
    let mut value_bytes = version.to_be_bytes().to_vec();
    value_bytes.extend_from_slice(&(value.random)(&mut || chance.draw(), version));
    let body = (key.random)(&mut || chance.draw(), key.min_version);
    let (log, mut key_bytes) = find_home(&body, &value_bytes);
    key_bytes.truncate(usize::from(u8::MAX));
    let mut data = vec![log, key_bytes.len() as u8];
    data.extend_from_slice(&key_bytes);
    data.extend_from_slice(&value_bytes);
    data
}

/// A log and a type that read these as key and value: the catalog does not tell them.
fn find_home(body: &[u8], value: &[u8]) -> (u8, Vec<u8>) {
    const TYPES: u16 = 32;
    let mut key = vec![0, 0];
    key.extend_from_slice(body);
    for type_id in 0..TYPES {
        key[..2].copy_from_slice(&type_id.to_be_bytes());
        let (bytes, value) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(value));
        macro_rules! fits {
            ($key:ident $value:ident) => {
                $key::decode(bytes.clone())
                    .is_ok_and(|key| $value::decode(key.type_id(), value.clone()).is_ok())
            };
        }
        if fits!(ConsumerOffsetsKey ConsumerOffsetsValue) {
            return (0, key);
        }
        if fits!(TransactionStateKey TransactionStateValue) {
            return (1, key);
        }
        if fits!(ShareGroupStateKey ShareGroupStateValue) {
            return (2, key);
        }
    }
    (0, key)
}

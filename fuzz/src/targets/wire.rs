//! Requests, responses, and every message by itself.

use bytes::Bytes;
use dohle_wire::arbitrary::{CATALOG, Entry, RecodeError};
use dohle_wire::{
    AnyRequest, AnyResponse, ApiKey, Reader, Writer, decode_request_header, encode_request_header,
};

use crate::chance::Chance;

/// A frame as a broker gets it: a header of whatever API and version, and a body.
pub fn request(data: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    let Ok(head) = decode_request_header(&mut reader) else { return };
    if AnyRequest::decode(head.key, head.version, &mut reader).is_ok() {
        let _ = reader.finish();
    }
}

pub fn request_sample(chance: &mut Chance) -> Vec<u8> {
    let key = *chance.pick(ApiKey::ALL);
    let entry = entry_of(key, "Request");
    let version = version_of(entry, chance);
    let mut writer = Writer::new();
    encode_request_header(&mut writer, key, version, chance.draw() as i32, Some("fuzz".into()))
        .expect("the header fits every version");
    let mut frame = writer.into_bytes().to_vec();
    frame.extend_from_slice(&(entry.random)(&mut || chance.draw(), version));
    frame
}

/// `api key i16 | version i16 | body`, as a client that knows what it asked gets it.
pub fn response(data: &[u8]) {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    let (Ok(code), Ok(version)) = (reader.i16(), reader.i16()) else { return };
    let Some(key) = ApiKey::from_code(code) else { return };
    if AnyResponse::decode(key, version, &mut reader).is_ok() {
        let _ = reader.finish();
    }
}

pub fn response_sample(chance: &mut Chance) -> Vec<u8> {
    let key = *chance.pick(ApiKey::ALL);
    let entry = entry_of(key, "Response");
    let version = version_of(entry, chance);
    let mut frame = key.code().to_be_bytes().to_vec();
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&(entry.random)(&mut || chance.draw(), version));
    frame
}

/// `entry of the catalog u16 | version u8 | body`: what was read is written, and what was written is read as the same.
pub fn round_trip(data: &[u8]) {
    let [high, low, version, body @ ..] = data else { return };
    let entry = &CATALOG[usize::from(u16::from_be_bytes([*high, *low])) % CATALOG.len()];
    let version = entry.min_version + i16::from(*version) % (entry.max_version - entry.min_version + 1);
    let written = match (entry.recode)(Bytes::copy_from_slice(body), version) {
        Ok(written) => written,
        Err(RecodeError::Decode(_)) => return,
        Err(error) => panic!("{} {version} does not write what it read: {error:?}", entry.name),
    };
    let again = (entry.recode)(written.clone(), version)
        .unwrap_or_else(|error| panic!("{} {version} does not read what it wrote: {error:?}", entry.name));
    assert!(again == written, "{} {version} writes one thing in two ways", entry.name);
}

pub fn round_trip_sample(chance: &mut Chance) -> Vec<u8> {
    let index = chance.below(CATALOG.len());
    let entry = &CATALOG[index];
    let version = version_of(entry, chance);
    let mut data = (index as u16).to_be_bytes().to_vec();
    data.push((version - entry.min_version) as u8);
    data.extend_from_slice(&(entry.random)(&mut || chance.draw(), version));
    data
}

fn entry_of(key: ApiKey, direction: &str) -> &'static Entry {
    CATALOG
        .iter()
        .find(|entry| entry.name.strip_prefix(key.name()) == Some(direction))
        .unwrap_or_else(|| panic!("{}{direction} is in the catalog", key.name()))
}

fn version_of(entry: &Entry, chance: &mut Chance) -> i16 {
    let count = entry.max_version - entry.min_version + 1;
    entry.min_version + chance.below(count as usize) as i16
}

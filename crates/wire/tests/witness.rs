//! A second witness: what we write, the crate `kafka-protocol` reads and writes again to the same bytes.

use bytes::{Bytes, BytesMut};
use dohle_wire::ApiKey;
use dohle_wire::arbitrary::{CATALOG, Entry, SplitMix};
use kafka_protocol::messages::{ApiKey as WitnessKey, RequestKind, ResponseKind};

const VALUES: u64 = 5;

/// Requests that the witness, which is older, knows without their highest version.
const UNKNOWN_TO_IT: &[(&str, i16)] =
    &[("OffsetCommitRequest", 10), ("OffsetFetchRequest", 10), ("InitProducerIdRequest", 6)];

fn recode_request(key: WitnessKey, bytes: Bytes, version: i16) -> Result<Bytes, String> {
    let mut rest = bytes;
    let request = RequestKind::decode(key, &mut rest, version).map_err(|error| error.to_string())?;
    let mut again = BytesMut::new();
    request.encode(&mut again, version).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(again.freeze()) } else { Err(format!("{} bytes left over", rest.len())) }
}

fn recode_response(key: WitnessKey, bytes: Bytes, version: i16) -> Result<Bytes, String> {
    let mut rest = bytes;
    let response = ResponseKind::decode(key, &mut rest, version).map_err(|error| error.to_string())?;
    let mut again = BytesMut::new();
    response.encode(&mut again, version).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(again.freeze()) } else { Err(format!("{} bytes left over", rest.len())) }
}

/// Compares a message at a version; tells what differs.
fn compare(
    entry: &Entry,
    version: i16,
    recode: impl Fn(Bytes) -> Result<Bytes, String>,
) -> Result<(), String> {
    for seed in 0..VALUES {
        let mut rng = SplitMix(seed);
        let bytes = (entry.random)(&mut || rng.next(), version);
        match recode(bytes.clone()) {
            Ok(again) if again == bytes => {}
            Ok(again) => return Err(format!("{} v{version}: {bytes:x} became {again:x}", entry.name)),
            Err(error) => return Err(format!("{} v{version}: {error}", entry.name)),
        }
    }
    Ok(())
}

#[test]
fn the_witness_agrees() {
    let entry = |name: String| CATALOG.iter().find(|entry| entry.name == name).expect("every API is listed");
    let (mut pairs, mut faults) = (0, Vec::new());
    for key in ApiKey::ALL {
        let Ok(witness) = WitnessKey::try_from(key.code()) else { continue };
        let known = witness.valid_versions();
        let (request, response) =
            (entry(format!("{}Request", key.name())), entry(format!("{}Response", key.name())));
        for version in key.min_version().max(known.min)..=key.max_version().min(known.max) {
            let of_request = compare(request, version, |bytes| recode_request(witness, bytes, version));
            let of_response = compare(response, version, |bytes| recode_response(witness, bytes, version));
            for (entry, result) in [(request, of_request), (response, of_response)] {
                match result {
                    Ok(()) => pairs += 1,
                    Err(_) if UNKNOWN_TO_IT.contains(&(entry.name, version)) => {}
                    Err(fault) => faults.push(fault),
                }
            }
        }
    }
    assert!(faults.is_empty(), "{pairs} agree, {} do not:\n{}", faults.len(), faults.join("\n"));
    println!("{pairs} pairs of message and version agree");
    assert_eq!(pairs, 577);
}

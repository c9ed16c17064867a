//! Producer snapshots, `NNN.snapshot`: the producers as they were before offset NNN.
//!
//! ```text
//! version 1 (i16) | CRC-32C of what follows (u32) | count (i32) | count times 46 bytes:
//!   producer id (i64) | epoch (i16) | last sequence (i32) | last offset (i64) | offset delta of the last batch (i32)
//!   | timestamp (i64) | coordinator epoch (i32) | first offset of the open transaction (i64, -1 without)
//! ```

use bytes::{Buf, BufMut};
use dohle_records::batch_crc;
use dohle_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::producers::{ProducerState, RememberedBatch, States};

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const ENTRIES_AT: usize = 6;
const ENTRY_BYTES: usize = 46;

pub(crate) fn encode(states: &States) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRIES_AT + 4 + states.len() * ENTRY_BYTES);
    bytes.put_i16(VERSION);
    bytes.put_u32(0);
    bytes.put_i32(i32::try_from(states.len()).expect("producers fit in memory"));
    for (id, state) in states {
        let last = state.last_batch();
        bytes.put_i64(id.get());
        bytes.put_i16(state.epoch.get());
        bytes.put_i32(state.last_sequence().get());
        bytes.put_i64(last.map_or(Offset::NONE, |batch| batch.last_offset).get());
        bytes.put_i32(last.map_or(0, |batch| batch.offset_delta));
        bytes.put_i64(state.last_timestamp.get());
        bytes.put_i32(state.coordinator_epoch);
        bytes.put_i64(state.transaction_start.get());
    }
    let crc = batch_crc(&[&bytes[ENTRIES_AT..]]);
    bytes[CRC_AT..ENTRIES_AT].copy_from_slice(&crc.to_be_bytes());
    bytes
}

pub(crate) fn decode(contents: &[u8]) -> Result<States, String> {
    let Some((mut head, entries)) = contents.split_at_checked(ENTRIES_AT + 4) else {
        return Err("it is cut short".to_owned());
    };
    let version = head.get_i16();
    if version != VERSION {
        return Err(format!("it has version {version}"));
    }
    let (stored, computed) = (head.get_u32(), batch_crc(&[&contents[ENTRIES_AT..]]));
    if stored != computed {
        return Err(format!("its checksum is {stored:08x}, its bytes give {computed:08x}"));
    }
    let claimed = head.get_i32();
    let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
    if i32::try_from(entries.len()) != Ok(claimed) || !rest.is_empty() {
        return Err(format!("it claims {claimed} producers and holds {}", entries.len()));
    }
    Ok(entries.iter().map(decode_entry).collect())
}

fn decode_entry(entry: &[u8; ENTRY_BYTES]) -> (ProducerId, Box<ProducerState>) {
    let mut entry = &entry[..];
    let id = ProducerId(entry.get_i64());
    let epoch = ProducerEpoch(entry.get_i16());
    let last_sequence = Sequence(entry.get_i32());
    let last_offset = Offset(entry.get_i64());
    let offset_delta = entry.get_i32();
    let timestamp = TimestampMs(entry.get_i64());
    let coordinator_epoch = entry.get_i32();
    let transaction_start = Offset(entry.get_i64().max(-1));
    let mut state = ProducerState::new(epoch, coordinator_epoch, timestamp, transaction_start);
    if last_offset.get() >= 0 {
        state.remember(RememberedBatch { last_offset, timestamp, last_sequence, offset_delta });
    }
    (id, Box::new(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Apache Kafka 4.3.1 for a log without producers.
    const EMPTY: [u8; 10] = [0x00, 0x01, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0];

    #[test]
    fn the_empty_snapshot_is_kafkas() {
        assert_eq!(encode(&States::new()), EMPTY);
        assert_eq!(decode(&EMPTY), Ok(States::new()));
    }

    #[test]
    fn states_round_trip_and_damage_is_seen() {
        let mut state = ProducerState::new(ProducerEpoch(3), 7, TimestampMs(1_700_000_000_000), Offset(90));
        let (last_offset, timestamp) = (Offset(99), state.last_timestamp);
        state.remember(RememberedBatch {
            last_offset,
            timestamp,
            last_sequence: Sequence(41),
            offset_delta: 9,
        });
        let silent = ProducerState::new(ProducerEpoch(0), -1, TimestampMs::NONE, Offset::NONE);
        let states = States::from([(ProducerId(5), Box::new(state)), (ProducerId(6), Box::new(silent))]);
        let bytes = encode(&states);
        assert_eq!(bytes.len(), 10 + 2 * ENTRY_BYTES);
        assert_eq!(decode(&bytes), Ok(states));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}

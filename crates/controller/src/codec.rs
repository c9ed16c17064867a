//! The bytes of the metadata log: the quorum's control records and the controller's records, as batches.

use bytes::Bytes;
use dohle_metadata::ReplayError;
use dohle_raft::{
    Body, ControlRecord, Endpoint, Entry, KRaftVersions, LeaderChange, Replica, Voter, VoterSet,
};
use dohle_records::control::{ControlRecord as Stored, ControlType, kraft_batch};
use dohle_records::{Batch, BatchBuilder, BatchError, Compression};
use dohle_types::{LeaderEpoch, NodeId, Offset, TimestampMs};
use dohle_wire::messages::{
    KRaftVersionRecord, LeaderChangeMessage, VotersRecord, leader_change_message, voters_record,
};
use dohle_wire::{DecodeError, Message, MetadataRecord, Reader, Writer};

/// The largest batch of the log that is read, and the largest that may come out of it. Kafka writes batches of up to 8 MiB.
pub(crate) const MAX_BATCH_BYTES: usize = 64 << 20;
/// How many records one batch takes when more may follow in another, as in Kafka.
pub(crate) const MAX_RECORDS_PER_BATCH: usize = 10_000;

/// The versions in which Kafka 4.3 writes its control records.
const CONTROL_VERSION: i16 = 0;

/// Bytes of the log that do not say what they should.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("batch at offset {offset}: {source}")]
    Batch { offset: Offset, source: BatchError },
    #[error("record at offset {offset}: {source}")]
    Record { offset: Offset, source: DecodeError },
    #[error("record at offset {offset} has no value")]
    NoValue { offset: Offset },
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A message of the quorum's own, as the value of a control record.
pub(crate) fn encode_message<M: Message>(message: &M) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, CONTROL_VERSION).expect("made for this version");
    writer.into_bytes()
}

/// The batch for an entry, encoding what the quorum has only named.
pub(crate) fn to_batch(entry: Entry, now: TimestampMs) -> Result<Batch, BatchError> {
    match entry.body {
        Body::Encoded { bytes, .. } => Batch::parse(&bytes),
        Body::Control(records) => {
            let encoded: Vec<_> = records.iter().map(encode_control).collect();
            Ok(kraft_batch(&encoded, now, entry.base_offset, entry.epoch))
        }
    }
}

pub(crate) fn encode_control(record: &ControlRecord) -> (ControlType, Bytes) {
    match record {
        ControlRecord::LeaderChange(change) => {
            // Version 0, which Kafka 4.3 writes at every `kraft.version`, has no room for directories.
            let voter = |replica: &Replica| leader_change_message::Voter {
                voter_id: replica.id.get(),
                ..Default::default()
            };
            let message = LeaderChangeMessage {
                version: CONTROL_VERSION,
                leader_id: change.leader.get(),
                voters: change.voters.iter().map(voter).collect(),
                granting_voters: change.granting.iter().map(voter).collect(),
                ..Default::default()
            };
            (ControlType::LeaderChange, encode_message(&message))
        }
        ControlRecord::KRaftVersion(level) => {
            let message =
                KRaftVersionRecord { version: CONTROL_VERSION, kraft_version: *level, ..Default::default() };
            (ControlType::KRaftVersion, encode_message(&message))
        }
        ControlRecord::Voters(voters) => {
            (ControlType::KRaftVoters, encode_message(&voters_record_of(voters)))
        }
        ControlRecord::Other => unreachable!("the quorum writes only what it knows"),
    }
}

fn voters_record_of(voters: &VoterSet) -> VotersRecord {
    let endpoint = |endpoint: &Endpoint| voters_record::Endpoint {
        name: endpoint.name.as_str().into(),
        host: endpoint.host.as_str().into(),
        port: endpoint.port,
        ..Default::default()
    };
    let voter = |voter: &Voter| voters_record::Voter {
        voter_id: voter.replica.id.get(),
        voter_directory_id: voter.replica.directory,
        endpoints: voter.endpoints.iter().map(endpoint).collect(),
        kraft_version_feature: voters_record::KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.min,
            max_supported_version: voter.kraft_versions.max,
            ..Default::default()
        },
        ..Default::default()
    };
    VotersRecord {
        version: CONTROL_VERSION,
        voters: voters.iter().map(voter).collect(),
        ..Default::default()
    }
}

fn decode_message<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(value);
    M::decode(&mut reader, CONTROL_VERSION)
}

fn decode_control(kind: ControlType, value: Bytes) -> Result<ControlRecord, DecodeError> {
    Ok(match kind {
        ControlType::LeaderChange => {
            let message: LeaderChangeMessage = decode_message(value)?;
            let replica = |voter: &leader_change_message::Voter| {
                Replica::new(NodeId(voter.voter_id), voter.voter_directory_id)
            };
            ControlRecord::LeaderChange(LeaderChange {
                leader: NodeId(message.leader_id),
                voters: message.voters.iter().map(replica).collect(),
                granting: message.granting_voters.iter().map(replica).collect(),
            })
        }
        ControlType::KRaftVersion => {
            let message: KRaftVersionRecord = decode_message(value)?;
            ControlRecord::KRaftVersion(message.kraft_version)
        }
        ControlType::KRaftVoters => {
            let message: VotersRecord = decode_message(value)?;
            ControlRecord::Voters(VoterSet::new(message.voters.into_iter().map(voter_of)))
        }
        ControlType::SnapshotHeader
        | ControlType::SnapshotFooter
        | ControlType::Abort
        | ControlType::Commit => ControlRecord::Other,
    })
}

fn voter_of(voter: voters_record::Voter) -> Voter {
    let endpoint = |endpoint: voters_record::Endpoint| Endpoint {
        name: endpoint.name.to_string(),
        host: endpoint.host.to_string(),
        port: endpoint.port,
    };
    Voter {
        replica: Replica::new(NodeId(voter.voter_id), voter.voter_directory_id),
        endpoints: voter.endpoints.into_iter().map(endpoint).collect(),
        kraft_versions: KRaftVersions {
            min: voter.kraft_version_feature.min_supported_version,
            max: voter.kraft_version_feature.max_supported_version,
        },
    }
}

/// The control records of a control batch with their raw types, in order.
pub(crate) fn control_values(batch: &Batch) -> Result<Vec<(Offset, Stored)>, CodecError> {
    let at = |offset| move |source| CodecError::Batch { offset, source };
    let mut values = Vec::new();
    for record in batch.records(MAX_BATCH_BYTES as u64) {
        let record = record.map_err(at(batch.header.base_offset))?;
        values.push((record.offset, Stored::parse(&record).map_err(at(record.offset))?));
    }
    Ok(values)
}

/// The quorum's records in a control batch, in order.
pub(crate) fn control_records(batch: &Batch) -> Result<Vec<ControlRecord>, CodecError> {
    let decode = |(offset, stored)| match stored {
        Stored::KRaft(kind, value) => {
            decode_control(kind, value).map_err(|source| CodecError::Record { offset, source })
        }
        Stored::EndTransaction(_) | Stored::Unknown(_) => Ok(ControlRecord::Other),
    };
    control_values(batch)?.into_iter().map(decode).collect()
}

/// The metadata records of a batch, each with its offset, one at a time: a batch may hold many. Nothing for a control batch.
pub(crate) fn metadata_records(
    batch: &Batch,
) -> impl Iterator<Item = Result<(Offset, MetadataRecord), CodecError>> + '_ {
    let numbered = (batch.header.base_offset.get()..).map(Offset);
    let records = metadata_records_with_versions(batch);
    numbered.zip(records).map(|(offset, record)| record.map(|(record, _)| (offset, record)))
}

/// The metadata records of a batch, each with the version it is written in. Nothing for a control batch. Nobody compacts the
/// metadata log, so that a batch's records take its offsets one after the other.
pub(crate) fn metadata_records_with_versions(
    batch: &Batch,
) -> impl Iterator<Item = Result<(MetadataRecord, i16), CodecError>> + '_ {
    let base = batch.header.base_offset;
    let records = (!batch.header.is_control()).then(|| batch.records(MAX_BATCH_BYTES as u64));
    records.into_iter().flatten().map(move |record| {
        let record = record.map_err(|source| CodecError::Batch { offset: base, source })?;
        let offset = record.offset;
        let value = record.value.ok_or(CodecError::NoValue { offset })?;
        MetadataRecord::decode(value).map_err(|source| CodecError::Record { offset, source })
    })
}

/// One batch of metadata records.
pub(crate) fn metadata_batch(
    records: &[(MetadataRecord, i16)],
    now: TimestampMs,
    base_offset: Offset,
    epoch: LeaderEpoch,
) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for (record, version) in records {
        let value = record.encode(*version).expect("records are made for the version they are written in");
        builder.append(now, None, Some(&value), &[]);
    }
    builder.build(base_offset, epoch)
}

/// How the quorum sees a batch of ours.
pub(crate) fn entry_of(batch: &Batch, control: Vec<ControlRecord>) -> Entry {
    let header = &batch.header;
    let records = header.next_offset().get() - header.base_offset.get();
    Entry {
        base_offset: header.base_offset,
        epoch: header.leader_epoch,
        records: u32::try_from(records).expect("a batch spans at most 2^31 offsets"),
        body: Body::Encoded { bytes: batch.to_vec().into(), control },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dohle_types::Uuid;

    #[test]
    fn control_records_round_trip() {
        let replica = Replica::new(NodeId(1), Uuid::ZERO);
        let voter = Voter {
            replica: Replica::new(NodeId(1), Uuid::from_u128(4711)),
            endpoints: vec![Endpoint { name: "CONTROLLER".into(), host: "localhost".into(), port: 9093 }],
            kraft_versions: KRaftVersions::SUPPORTED,
        };
        let records = vec![
            ControlRecord::LeaderChange(LeaderChange {
                leader: NodeId(1),
                voters: vec![replica],
                granting: vec![replica],
            }),
            ControlRecord::KRaftVersion(1),
            ControlRecord::Voters(VoterSet::new([voter])),
        ];
        let entry = Entry {
            base_offset: Offset(7),
            epoch: LeaderEpoch(3),
            records: 3,
            body: Body::Control(records.clone()),
        };
        let batch = to_batch(entry, TimestampMs(99)).expect("it can be encoded");
        assert_eq!(batch.header.next_offset(), Offset(10));
        assert_eq!(control_records(&batch).expect("and decoded"), records);
        let again = to_batch(entry_of(&batch, records), TimestampMs(0)).expect("and parsed");
        assert_eq!(again, batch);
    }
}

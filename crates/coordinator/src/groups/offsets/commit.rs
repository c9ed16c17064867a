//! OffsetCommit: by members of classic and consumer groups, and by clients that only keep their offsets here.

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::messages as m;
use m::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use m::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

use crate::groups::classic::{self, ClassicGroup, Phase};
use crate::groups::request::Call;
use crate::groups::{Effects, Group, GroupCoordinator, GroupRecord, Response};

/// The version of the value that Kafka 4.3 writes, and the one that has room for a time of expiry.
const VALUE_VERSION: i16 = 4;
const EXPIRING_VALUE_VERSION: i16 = 1;
/// What a request says that leaves the retention to the broker.
const DEFAULT_RETENTION_MS: i64 = -1;

/// Who commits, as the request says.
#[derive(Clone, Copy, Debug)]
pub(in crate::groups) struct Committer<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    /// The generation of a classic group, the member's epoch in a consumer group; negative for neither.
    pub epoch: i32,
    pub transactional: bool,
    pub version: i16,
}

pub(in crate::groups) fn commit(
    c: &mut GroupCoordinator,
    call: &Call,
    request: m::OffsetCommitRequest,
    effects: &mut Effects,
) {
    if let Err(code) = validate(c, call, &request) {
        let response = answer(&request, |_| code);
        return effects.reply(call.to, Response::OffsetCommit(response));
    }
    classic::heard_of_committer(c, &request.group_id, &request.member_id, call.moment, effects);
    let now_ms = call.moment.wall.get();
    let expires_ms = match request.retention_time_ms {
        DEFAULT_RETENTION_MS => -1,
        retention_ms => now_ms.saturating_add(retention_ms),
    };
    let max_bytes = c.settings.offset_metadata_max_bytes;
    for topic in &request.topics {
        for partition in topic.partitions.iter().filter(|partition| metadata_fits(partition, max_bytes)) {
            effects.record(record(&request, topic, partition, now_ms, expires_ms));
        }
    }
    let response = answer(&request, |partition| {
        if metadata_fits(partition, max_bytes) { ErrorCode::None } else { ErrorCode::OffsetMetadataTooLarge }
    });
    effects.reply(call.to, Response::OffsetCommit(response));
}

fn validate(c: &GroupCoordinator, call: &Call, request: &m::OffsetCommitRequest) -> Result<(), ErrorCode> {
    let committer = Committer {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        epoch: request.generation_id_or_member_epoch,
        transactional: false,
        version: call.version,
    };
    match c.groups.get(&request.group_id) {
        // Whoever is in no group makes one that only keeps offsets.
        None if committer.epoch < 0 => Ok(()),
        None => Err(super::not_found(call.version)),
        Some(Group::Classic(group)) => group.validate_offset_commit(&committer),
        Some(Group::Consumer(group)) => {
            let max_bytes = c.settings.offset_metadata_max_bytes;
            let mut partitions = request.topics.iter().flat_map(|topic| {
                let fit = topic.partitions.iter().filter(|partition| metadata_fits(partition, max_bytes));
                fit.map(|partition| (topic.name.as_str(), topic.topic_id, partition.partition_index))
            });
            group.validate_offset_commit(&committer, &mut partitions)
        }
    }
}

impl ClassicGroup {
    pub(in crate::groups) fn validate_offset_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if by.epoch < 0 && self.is_empty() {
            return Ok(());
        }
        if cfg!(dohle_bug = "any-generation") && by.epoch >= 0 {
            return Ok(());
        }
        if by.epoch >= 0 || !by.member_id.is_empty() || by.instance_id.is_some() {
            self.validate_committer(by)?;
        } else if !by.transactional {
            // Members are there, and this one does not say that it is one of them.
            return Err(ErrorCode::UnknownMemberId);
        }
        // A member knows its new generation, but not yet what it may read in it.
        if !by.transactional && matches!(self.phase(), Phase::CompletingRebalance { .. }) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }
}

/// The limit counts characters as Java does: UTF-16 units.
fn metadata_fits(partition: &OffsetCommitRequestPartition, max: usize) -> bool {
    let Some(metadata) = &partition.committed_metadata else { return true };
    metadata.len() <= max || metadata.encode_utf16().count() <= max
}

fn record(
    request: &m::OffsetCommitRequest,
    topic: &OffsetCommitRequestTopic,
    partition: &OffsetCommitRequestPartition,
    now_ms: i64,
    expires_ms: i64,
) -> GroupRecord {
    let key = m::OffsetCommitKey {
        group: request.group_id.clone(),
        topic: topic.name.clone(),
        partition: partition.partition_index,
    };
    let value = m::OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: if partition.committed_leader_epoch < 0 {
            -1
        } else {
            partition.committed_leader_epoch
        },
        metadata: partition.committed_metadata.clone().unwrap_or_default(),
        commit_timestamp: now_ms,
        expire_timestamp: expires_ms,
        topic_id: topic.topic_id,
        ..Default::default()
    };
    let version = if expires_ms == -1 { VALUE_VERSION } else { EXPIRING_VALUE_VERSION };
    GroupRecord::put_at(key, kept_by(value, version), version)
}

/// The value as it will be read back: older versions have no room for everything.
fn kept_by(value: m::OffsetCommitValue, version: i16) -> m::OffsetCommitValue {
    if version == EXPIRING_VALUE_VERSION {
        m::OffsetCommitValue { leader_epoch: -1, topic_id: TopicId::ZERO, ..value }
    } else {
        value
    }
}

fn answer(
    request: &m::OffsetCommitRequest,
    code: impl Fn(&OffsetCommitRequestPartition) -> ErrorCode,
) -> m::OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: code(partition).code(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    m::OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

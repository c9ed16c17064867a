//! The topic under load: created when missing, and known by name and id as the versions of the protocol ask.

use std::time::Duration;

use dohle_types::{ErrorCode, Uuid};
use dohle_wire::Text;
use dohle_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use dohle_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use dohle_wire::messages::metadata_request::MetadataRequestTopic;
use dohle_wire::messages::{CreateTopicsRequest, ListOffsetsRequest, MetadataRequest};

use super::clock::{Moment, pause};
use super::connection::Connection;
use crate::Outcome;

/// How long a broker may take to have leaders for a new topic.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// The number ListOffsets knows the ends of a log by.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

#[derive(Clone, Debug)]
pub struct Topic {
    pub name: Text,
    pub id: Uuid,
    pub partitions: i32,
}

impl Topic {
    /// Creates the topic unless it is there, and waits until every partition has a leader.
    pub fn create(
        connection: &mut Connection,
        name: &str,
        partitions: i32,
        configs: &[String],
    ) -> Outcome<Self> {
        let deadline = Moment::now().plus(PATIENCE);
        let request = creation(name, partitions, configs)?;
        loop {
            let response = connection.call(&request)?;
            let result = response.topics.first().ok_or("CreateTopics was answered without a topic")?;
            match ErrorCode::from_code(result.error_code) {
                Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => break,
                // A broker that has just started may not be registered yet.
                Some(code) if retriable(code) && Moment::now() < deadline => pause(BETWEEN_TRIES),
                code => {
                    let message = result.error_message.as_deref().unwrap_or_default();
                    return Err(format!("cannot create {name}: {code:?} {message}").into());
                }
            }
        }
        loop {
            // A leader is told of before it knows of it itself; it leads when it answers.
            if let Some(topic) = Self::found(connection, name)?
                && topic.offsets(connection, LATEST)?.is_some()
            {
                return Ok(topic);
            }
            if Moment::now() > deadline {
                return Err(format!("{name} has partitions without a leader").into());
            }
            pause(BETWEEN_TRIES);
        }
    }

    /// The topic, if it is there and every partition has a leader.
    pub fn found(connection: &mut Connection, name: &str) -> Outcome<Option<Self>> {
        let wanted = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let response = connection.call(&request)?;
        let topic = response.topics.first().ok_or("Metadata was answered without the topic")?;
        let led = topic.partitions.iter().all(|p| p.error_code == 0 && p.leader_id >= 0);
        if topic.error_code != 0 || topic.partitions.is_empty() || !led {
            return Ok(None);
        }
        let partitions = i32::try_from(topic.partitions.len())?;
        Ok(Some(Self { name: name.into(), id: topic.topic_id, partitions }))
    }

    /// The start and the end of every partition.
    pub fn ends(&self, connection: &mut Connection) -> Outcome<Vec<(i64, i64)>> {
        let not_led = || format!("{} has partitions without a leader", self.name);
        let starts = self.offsets(connection, EARLIEST)?.ok_or_else(not_led)?;
        let ends = self.offsets(connection, LATEST)?.ok_or_else(not_led)?;
        Ok(starts.into_iter().zip(ends).collect())
    }

    /// One end of every partition, or where it was at a time; `None` while one of them has no leader.
    pub fn offsets(&self, connection: &mut Connection, which: i64) -> Outcome<Option<Vec<i64>>> {
        let asked = |partition| ListOffsetsPartition {
            partition_index: partition,
            timestamp: which,
            ..Default::default()
        };
        let topic = ListOffsetsTopic {
            name: self.name.clone(),
            partitions: (0..self.partitions).map(asked).collect(),
            ..Default::default()
        };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let response = connection.call(&request)?;
        let mut offsets = vec![0; usize::try_from(self.partitions)?];
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            match ErrorCode::from_code(partition.error_code) {
                Some(ErrorCode::None) => {}
                Some(code) if code.is_retriable() => return Ok(None),
                _ => return Err(format!("ListOffsets: {}", name_of(partition.error_code)).into()),
            }
            let place = offsets.get_mut(usize::try_from(partition.partition_index)?);
            *place.ok_or("ListOffsets was answered for a strange partition")? = partition.offset;
        }
        Ok(Some(offsets))
    }
}

fn creation(name: &str, partitions: i32, configs: &[String]) -> Outcome<CreateTopicsRequest> {
    let config = |text: &String| {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("{text}: a setting is name=value"))?;
        Outcome::Ok(CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
            ..Default::default()
        })
    };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect::<Outcome<_>>()?,
        ..Default::default()
    };
    Ok(CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() })
}

/// What a broker says for a moment after its start, too.
fn retriable(code: ErrorCode) -> bool {
    code.is_retriable() || code == ErrorCode::InvalidReplicationFactor
}

/// Kafka's name of a code.
pub fn name_of(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |code| code.name().to_owned())
}

//! Produce: batches checked here, appended by their partitions' owners, acknowledged when they are stored.
//!
//! The one API whose requests are pipelined. [`start`] judges all batches and hands them over in the order of the requests; what it
//! returns only waits.

use std::collections::HashMap;
use std::time::Duration;

use dohle_env::task;
use dohle_log::Appended;
use dohle_metadata::Image;
use dohle_records::{BatchHeader, ProducePolicy, ProduceRejection, validate_produce};
use dohle_types::{
    ErrorCode, NodeId, Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition, is_internal_topic,
};
use dohle_wire::messages::ProduceRequest;
use dohle_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use dohle_wire::{DecodeError, Message, Reader, Text};
use tokio::sync::oneshot;

use crate::api::leader_hint;
use crate::partition::{Acknowledged, Refused};
use crate::request::{Context, Reply, Response};

/// From this version on topics are named by id.
const IDS_SINCE: i16 = 13;
/// How long a client waits for the disk at least, whatever it asks for: `timeout.ms` is meant for replicas.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// The client id by which Kafka's own tools write to internal topics (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// When the client wants to hear of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acks {
    Never,
    Leader,
    All,
}

/// What became of one partition's batch.
enum Outcome {
    Waiting(oneshot::Receiver<Result<Acknowledged, Refused>>),
    /// Not appended; the answer tells where the log starts all the same.
    Rejected(Failed, oneshot::Receiver<Offset>),
    Done(Result<Acknowledged, Failed>),
}

/// A batch that is not stored, and what the client is told.
struct Failed {
    code: ErrorCode,
    log_start: Offset,
    message: Option<String>,
    record_errors: Vec<(i32, Option<String>)>,
}

struct Topic {
    name: Text,
    id: TopicId,
    partitions: Vec<(PartitionIndex, Outcome)>,
}

pub fn start(context: Context, mut reader: Reader) -> Result<Reply, DecodeError> {
    let request = ProduceRequest::decode(&mut reader, context.version)?;
    let acks = match request.acks {
        0 => Some(Acks::Never),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let image = context.core.image();
    let topics = if request.transactional_id.is_none() && request.topic_data.iter().any(has_transaction) {
        // Who may write to a transaction is told by its id.
        let code = ErrorCode::TransactionalIdAuthorizationFailed;
        request.topic_data.into_iter().map(|topic| refuse(topic, code)).collect()
    } else {
        request.topic_data.into_iter().map(|topic| dispatch(&context, &image, acks, topic)).collect()
    };
    context.core.metrics.produce_requests.add(1);
    Ok(Reply::Later(Box::pin(finish(context, acks.unwrap_or(Acks::Leader), timeout, topics))))
}

/// Whether a batch in front says that it belongs to a transaction.
fn has_transaction(topic: &TopicProduceData) -> bool {
    topic.partition_data.iter().flat_map(|data| &data.records).any(|records| {
        let header = records.chunks().first().and_then(|first| BatchHeader::parse(first).ok());
        header.is_some_and(|header| header.is_transactional())
    })
}

fn refuse(topic: TopicProduceData, code: ErrorCode) -> Topic {
    let done =
        |data: PartitionProduceData| (PartitionIndex(data.index), Outcome::Done(Err(Failed::new(code))));
    Topic {
        name: topic.name,
        id: topic.topic_id,
        partitions: topic.partition_data.into_iter().map(done).collect(),
    }
}

/// Hands the batches of one topic to their partitions.
fn dispatch(context: &Context, image: &Image, acks: Option<Acks>, topic: TopicProduceData) -> Topic {
    let found = if context.version >= IDS_SINCE {
        image.topics.by_id(topic.topic_id)
    } else {
        image.topics.by_name(&topic.name)
    };
    let unknown = if context.version >= IDS_SINCE {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    let (name, id) = match found {
        Some(found) => (found.name.clone(), found.id),
        None => (topic.name, topic.topic_id),
    };
    let partitions = topic.partition_data.into_iter().map(|data| {
        let index = PartitionIndex(data.index);
        let failed = |code| Outcome::Done(Err(Failed::new(code)));
        let outcome = match (found, acks) {
            (None, _) => failed(unknown),
            (Some(found), _) if found.partitions.get(index).is_none() => {
                failed(ErrorCode::UnknownTopicOrPartition)
            }
            (Some(_), None) => failed(ErrorCode::InvalidRequiredAcks),
            (Some(_), Some(acks)) => {
                append(context, image, acks, &name, TopicPartition { topic: id, partition: index }, data)
            }
        };
        (index, outcome)
    });
    let partitions = partitions.collect();
    Topic { name, id, partitions }
}

/// Judges one partition's records and sends them to the partition's owner.
fn append(
    context: &Context,
    image: &Image,
    acks: Acks,
    name: &Text,
    id: TopicPartition,
    data: PartitionProduceData,
) -> Outcome {
    if is_internal_topic(name) && context.client_id.as_deref() != Some(ADMIN_CLIENT_ID) {
        return Outcome::Done(Err(Failed::new(ErrorCode::InvalidTopicException)));
    }
    let settings = context.core.settings(image, id.topic, name);
    let policy = ProducePolicy::new(name, id.partition, &settings);
    let now = context.core.env().clock.now();
    let records = data.records.unwrap_or_default().into_bytes();
    let checked = match validate_produce(records, &policy, context.version, now) {
        Ok(checked) => checked,
        Err(rejection) => return reject(context, id, rejection),
    };
    if checked.batches.iter().any(|batch| batch.header.is_transactional()) {
        // Nobody coordinates transactions here, so none can be open.
        return Outcome::Done(Err(Failed::new(ErrorCode::InvalidTxnState)));
    }
    let (answer, answered) = oneshot::channel();
    let core = &context.core;
    core.tell(core.owner(id), move |owner| {
        owner.enter(
            id,
            Box::new(move |owner, partition| match partition {
                Ok(partition) => {
                    partition.append(owner, checked.batches, acks == Acks::All, acks == Acks::Never, answer)
                }
                Err(code) => _ = answer.send(Err(Refused::new(code))),
            }),
        );
    });
    Outcome::Waiting(answered)
}

/// A batch that is not handed on. Where the answer tells the start of the log, its owner is asked.
fn reject(context: &Context, id: TopicPartition, rejection: ProduceRejection) -> Outcome {
    let tells_log_start = rejection.tells_log_start;
    let failed = Failed::rejected(rejection);
    if !tells_log_start {
        return Outcome::Done(Err(failed));
    }
    let log_start = context.core.ask(id, |_, partition, answer| {
        let start = partition.map(|partition| partition.with_log(|log| log.start_offset()));
        _ = answer.send(start.ok().flatten().unwrap_or(Offset::NONE));
    });
    Outcome::Rejected(failed, log_start)
}

/// Waits for the partitions and makes the response.
async fn finish(context: Context, acks: Acks, timeout: Duration, topics: Vec<Topic>) -> Response {
    if acks == Acks::Never {
        return finish_silently(topics).await;
    }
    let deadline = context.received.plus(timeout.max(FLUSH_TIMEOUT));
    let mut responses = Vec::with_capacity(topics.len());
    let mut hints = HashMap::new();
    for topic in topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, outcome) in topic.partitions {
            let result = match outcome {
                Outcome::Done(result) => result,
                Outcome::Rejected(failed, log_start) => {
                    Err(Failed { log_start: log_start.await.unwrap_or(Offset::NONE), ..failed })
                }
                Outcome::Waiting(answer) => {
                    let left = deadline.since(context.core.env().clock.tick());
                    wait(answer, left).await
                }
            };
            let id = TopicPartition { topic: topic.id, partition: index };
            partitions.push(respond(&context, id, result, &mut hints));
        }
        let (name, topic_id) =
            if context.version >= IDS_SINCE { (Text::new(), topic.id) } else { (topic.name, TopicId::ZERO) };
        responses.push(TopicProduceResponse {
            name,
            topic_id,
            partition_responses: partitions,
            ..Default::default()
        });
    }
    let node_endpoints = hints.into_values().collect();
    context.respond(&ProduceResponse { responses, node_endpoints, ..Default::default() })
}

async fn wait(
    mut answer: oneshot::Receiver<Result<Acknowledged, Refused>>,
    left: Duration,
) -> Result<Acknowledged, Failed> {
    let answered = match answer.try_recv() {
        Ok(answered) => Ok(answered),
        Err(oneshot::error::TryRecvError::Closed) => return Err(Failed::new(ErrorCode::NotLeaderOrFollower)),
        Err(oneshot::error::TryRecvError::Empty) => match task::timeout(left, answer).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => Err(ErrorCode::NotLeaderOrFollower),
            Err(task::Elapsed) => Err(ErrorCode::RequestTimedOut),
        },
    };
    answered.map_err(Failed::new)?.map_err(Failed::refused)
}

/// A producer that wants no answer learns of a failure by the connection's end.
async fn finish_silently(topics: Vec<Topic>) -> Response {
    for topic in topics {
        for (_, outcome) in topic.partitions {
            let failed = match outcome {
                Outcome::Done(result) => result.is_err(),
                Outcome::Rejected(..) => true,
                // An answer comes only when the append failed; otherwise the channel just closes.
                Outcome::Waiting(answer) => matches!(answer.await, Ok(Err(_))),
            };
            if failed {
                return Response::Close;
            }
        }
    }
    Response::Nothing
}

fn respond(
    context: &Context,
    id: TopicPartition,
    result: Result<Acknowledged, Failed>,
    hints: &mut HashMap<NodeId, NodeEndpoint>,
) -> PartitionProduceResponse {
    let index = id.partition.get();
    match result {
        Ok(acknowledged) => {
            let Appended { first, log_append_time, log_start, .. } = *acknowledged.appended();
            PartitionProduceResponse {
                index,
                base_offset: first.get(),
                log_append_time_ms: log_append_time.get(),
                log_start_offset: log_start.get(),
                ..Default::default()
            }
        }
        Err(failed) => {
            let mut response = PartitionProduceResponse {
                index,
                error_code: failed.code.code(),
                base_offset: Offset::NONE.get(),
                log_append_time_ms: TimestampMs::NONE.get(),
                log_start_offset: failed.log_start.get(),
                error_message: failed.message.map(Text::from),
                ..Default::default()
            };
            response.record_errors = failed.record_errors.into_iter().map(record_error).collect();
            if failed.code == ErrorCode::NotLeaderOrFollower && context.version >= 10 {
                response.current_leader = hint(context, id, hints);
            }
            response
        }
    }
}

fn record_error((batch_index, message): (i32, Option<String>)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: message.map(Text::from),
        ..Default::default()
    }
}

fn hint(
    context: &Context,
    id: TopicPartition,
    hints: &mut HashMap<NodeId, NodeEndpoint>,
) -> LeaderIdAndEpoch {
    let image = context.core.image();
    let (leader, epoch) = leader_hint::leader(&image, id);
    if let Some(broker) = image.brokers.get(leader)
        && let Some(endpoint) = broker.endpoint(&context.peer.session.door.name)
    {
        hints.entry(leader).or_insert_with(|| NodeEndpoint {
            node_id: leader.get(),
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            rack: broker.rack.clone(),
            ..Default::default()
        });
    }
    LeaderIdAndEpoch { leader_id: leader.get(), leader_epoch: epoch.get(), ..Default::default() }
}

impl Failed {
    fn new(code: ErrorCode) -> Self {
        Self { code, log_start: Offset::NONE, message: None, record_errors: Vec::new() }
    }

    fn rejected(rejection: ProduceRejection) -> Self {
        let message = rejection.response_message().map(str::to_owned);
        Self { message, record_errors: rejection.record_errors, ..Self::new(rejection.code) }
    }

    fn refused(refused: Refused) -> Self {
        Self { log_start: refused.log_start, message: refused.message, ..Self::new(refused.code) }
    }
}

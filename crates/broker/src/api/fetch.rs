//! Fetch: records from where a consumer stands, at once or as soon as there are enough.
//!
//! A request becomes a plan (its partitions, by its session or by itself); the plan is read, each core reading its own partitions; if
//! less than `min_bytes` is there, a watcher is left with every partition, the plan is read again so that nothing is missed in between,
//! and the request parks until it is woken or `max_wait_ms` is over.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_env::task;
use dohle_metadata::Image;
use dohle_types::{
    ErrorCode, HighWatermark, LeaderEpoch, LogStartOffset, NodeId, Offset, PartitionIndex, TopicPartition,
};
use dohle_wire::messages::fetch_request::{FetchRequest, FetchTopic};
use dohle_wire::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};
use dohle_wire::{AnyRequest, AnyResponse, DecodeError, Message, RecordBytes, Text};
use tokio::sync::oneshot;

use crate::api::{forward, leader_hint};
use crate::budget::Charge;
use crate::cold_reads::Reader;
use crate::core::Core;
use crate::fetch_session::{Answered, PartitionName, Plan, TopicName, Wanted};
use crate::partition::Refused;
use crate::reading::{Found, Isolation, ReadRequest, Reading};
use crate::request::{Context, Reply};
use crate::waiters::Watcher;

/// From this version on topics are named by id.
const IDS_SINCE: i16 = 13;
/// From this version on requests may belong to a session.
const SESSIONS_SINCE: i16 = 7;
/// A consumer that may read what is not committed yet (`FetchRequest.DEBUGGING_CONSUMER_ID`).
const DEBUGGING_CONSUMER: i32 = -2;

/// How much is to be read, and how.
#[derive(Clone, Copy)]
struct Terms {
    /// Who reads.
    reader: Reader,
    isolation: Isolation,
    max_bytes: usize,
}

/// One partition of the plan, resolved.
#[derive(Clone, Copy)]
struct Want {
    /// Its place in the plan.
    at: usize,
    id: TopicPartition,
    wanted: Wanted,
}

type Outcome = Result<Found, Refused>;

pub fn start(context: Context, mut reader: dohle_wire::Reader) -> Result<Reply, DecodeError> {
    let request = FetchRequest::decode(&mut reader, context.version)?;
    Ok(Reply::Later(Box::pin(async move {
        let (response, charge) = handle(&context, request).await;
        context.respond(&response).holding(charge)
    })))
}

/// The answer, and the charge for the records in it.
async fn handle(context: &Context, request: FetchRequest) -> (FetchResponse, Option<Charge>) {
    if context.peer.session.door.controller {
        return (fetch_metadata(context, request).await, None);
    }
    let replica = if context.version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let isolation = match (replica, request.isolation_level) {
        (DEBUGGING_CONSUMER, _) => Isolation::LogEnd,
        (_, 1) => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let max_bytes = usize::try_from(request.max_bytes).unwrap_or(0).min(context.core.limits().fetch_max);
    let (min_bytes, max_wait) =
        (i64::from(request.min_bytes), u64::try_from(request.max_wait_ms).unwrap_or(0));
    let plan = match plan(context, request) {
        Ok(plan) => plan,
        Err((code, session_id)) => {
            return (FetchResponse { error_code: code.code(), session_id, ..Default::default() }, None);
        }
    };
    let image = context.core.image();
    let (wants, mut outcomes) = resolve(&image, &plan, replica);
    let terms = Terms { reader: context.peer.session.peer, isolation, max_bytes };
    let mut charge = read(&context.core, &wants, terms, None, &mut outcomes).await;
    if max_wait > 0 && !is_enough(&outcomes, min_bytes) {
        let waiting = Waiting(Watcher::new(min_bytes));
        charge = read(&context.core, &wants, terms, Some(&waiting.0), &mut outcomes).await;
        if !is_enough(&outcomes, min_bytes) {
            waiting.0.found(bytes_found(&outcomes));
            let left = Duration::from_millis(max_wait)
                .saturating_sub(context.core.env().clock.tick().since(context.received));
            _ = task::timeout(left, waiting.0.woken()).await;
            charge = read(&context.core, &wants, terms, None, &mut outcomes).await;
        }
    }
    (respond(context, plan, outcomes), Some(charge))
}

/// Tells the partitions that nobody waits any more, also when the client goes away.
struct Waiting(Arc<Watcher>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// A fetch of the metadata log, by a member of the quorum or an observer.
async fn fetch_metadata(context: &Context, request: FetchRequest) -> FetchResponse {
    match forward::ask(context, context.version, AnyRequest::Fetch(request)).await {
        Ok(AnyResponse::Fetch(response)) => response,
        Ok(other) => unreachable!("a fetch is answered by a fetch, not by {:?}", other.key()),
        Err(refused) => FetchResponse { error_code: refused.code().code(), ..Default::default() },
    }
}

/// Which partitions to read, by the request and its session.
fn plan(context: &Context, request: FetchRequest) -> Result<Plan, (ErrorCode, i32)> {
    let uses_ids = context.version >= IDS_SINCE;
    let mut named = Vec::new();
    for topic in &request.topics {
        let topic_name = topic_name(uses_ids, topic);
        for partition in &topic.partitions {
            let wanted = Wanted {
                offset: Offset(partition.fetch_offset),
                log_start: LogStartOffset(Offset(partition.log_start_offset)),
                max_bytes: partition.partition_max_bytes,
                // Below zero means that the client knows none.
                current_leader_epoch: partition.current_leader_epoch.max(-1),
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            let name =
                PartitionName { topic: topic_name.clone(), partition: PartitionIndex(partition.partition) };
            named.push((name, wanted));
        }
    }
    let named = last_of_each(named);
    if context.version < SESSIONS_SINCE {
        return Ok(Plan { session_id: 0, partitions: named, incremental: false });
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_name =
            if uses_ids { TopicName::Id(topic.topic_id) } else { TopicName::Name(topic.topic.clone()) };
        forgotten.extend(topic.partitions.iter().map(|&partition| PartitionName {
            topic: topic_name.clone(),
            partition: PartitionIndex(partition),
        }));
    }
    let now = context.core.env().clock.tick();
    let chance = (context.core.env().rng.u64() >> 32) as u32;
    let session = (request.session_id, request.session_epoch);
    let mut sessions = context.core.sessions.borrow_mut();
    sessions.plan(now, chance, session, uses_ids, named, &forgotten).map_err(|code| (code, 0))
}

/// A partition that is named again is asked for once, at its first place and as it was named last.
fn last_of_each(named: Vec<(PartitionName, Wanted)>) -> Vec<(PartitionName, Wanted)> {
    let mut places: HashMap<PartitionName, usize> = HashMap::with_capacity(named.len());
    let mut each: Vec<(PartitionName, Wanted)> = Vec::with_capacity(named.len());
    for (name, wanted) in named {
        match places.get(&name) {
            Some(&at) => each[at].1 = wanted,
            None => {
                places.insert(name.clone(), each.len());
                each.push((name, wanted));
            }
        }
    }
    each
}

fn topic_name(uses_ids: bool, topic: &FetchTopic) -> TopicName {
    if uses_ids { TopicName::Id(topic.topic_id) } else { TopicName::Name(topic.topic.clone()) }
}

/// Finds the partitions in the metadata. Those that are not there have their outcome already.
fn resolve(image: &Image, plan: &Plan, replica: i32) -> (Vec<Want>, Vec<Outcome>) {
    let mut wants = Vec::with_capacity(plan.partitions.len());
    let mut outcomes = Vec::with_capacity(plan.partitions.len());
    for (at, (name, wanted)) in plan.partitions.iter().enumerate() {
        let (topic, unknown) = match &name.topic {
            TopicName::Id(id) => (image.topics.by_id(*id), ErrorCode::UnknownTopicId),
            TopicName::Name(name) => (image.topics.by_name(name), ErrorCode::UnknownTopicOrPartition),
        };
        let Some(topic) = topic else {
            outcomes.push(Err(Refused::new(unknown)));
            continue;
        };
        let Some(partition) = topic.partitions.get(name.partition) else {
            outcomes.push(Err(Refused::new(ErrorCode::UnknownTopicOrPartition)));
            continue;
        };
        // A replica that the controller did not assign is not served as one, nor is the leader itself.
        let follows = partition.replicas.contains(&NodeId(replica)) && NodeId(replica) != partition.leader;
        if replica >= 0 && !follows {
            outcomes.push(Err(Refused::new(ErrorCode::NotLeaderOrFollower)));
            continue;
        }
        wants.push(Want {
            at,
            id: TopicPartition { topic: topic.id, partition: name.partition },
            wanted: *wanted,
        });
        outcomes.push(Ok(Found::default()));
    }
    (wants, outcomes)
}

/// Reads the plan's partitions, core by core, in the order in which their first partitions come, until `max_bytes` are there or the
/// node's budget for answers is used up. Gives the charge for what was found.
async fn read(
    core: &Rc<Core>,
    wants: &[Want],
    terms: Terms,
    watcher: Option<&Arc<Watcher>>,
    outcomes: &mut [Outcome],
) -> Charge {
    let mut groups: Vec<(usize, Vec<Want>)> = Vec::new();
    for want in wants {
        let owner = core.owner(want.id);
        match groups.iter_mut().find(|(core, _)| *core == owner) {
            Some((_, group)) => group.push(*want),
            None => groups.push((owner, vec![*want])),
        }
    }
    // Clients that do not read what they asked for leave less to the others, but always one batch.
    let mut charge = core.responses().claim_up_to(terms.max_bytes);
    let mut left = charge.held();
    let (mut found_any, mut total) = (false, 0);
    for (owner, group) in groups {
        let terms = Terms { max_bytes: left, ..terms };
        let places: Vec<usize> = group.iter().map(|want| want.at).collect();
        let results = if owner == core.index {
            read_own(core, group, terms, found_any, watcher.cloned()).await
        } else {
            let (sender, receiver) = oneshot::channel();
            let watcher = watcher.cloned();
            core.tell(owner, move |owner| {
                let owner = owner.clone();
                task::spawn(async move {
                    _ = sender.send(read_own(&owner, group, terms, found_any, watcher).await);
                });
            });
            // A core that has ended serves nothing any more.
            receiver.await.unwrap_or_else(|_| {
                places.iter().map(|_| Err(Refused::new(ErrorCode::NotLeaderOrFollower))).collect()
            })
        };
        for (at, result) in places.into_iter().zip(results) {
            let bytes = result.as_ref().map_or(0, |found| found.slice.bytes);
            found_any |= bytes > 0;
            left = left.saturating_sub(bytes);
            total += bytes;
            outcomes[at] = result;
        }
    }
    charge.shrink_to(total);
    charge
}

/// Reads partitions of this core. The first batch found goes out whatever its size, so that every consumer gets on.
async fn read_own(
    core: &Rc<Core>,
    wants: Vec<Want>,
    terms: Terms,
    mut found_any: bool,
    watcher: Option<Arc<Watcher>>,
) -> Vec<Outcome> {
    let mut left = terms.max_bytes;
    let mut outcomes = Vec::with_capacity(wants.len());
    for want in wants {
        let request = ReadRequest {
            offset: want.wanted.offset,
            max_bytes: usize::try_from(want.wanted.max_bytes).unwrap_or(0).min(left),
            at_least_one: !found_any,
            may_defer: true,
            isolation: terms.isolation,
            current_leader_epoch: LeaderEpoch(want.wanted.current_leader_epoch),
            last_fetched_epoch: LeaderEpoch(want.wanted.last_fetched_epoch),
        };
        let outcome = read_one(core, want.id, &request, terms.reader, watcher.as_ref()).await;
        let bytes = outcome.as_ref().map_or(0, |found| found.slice.bytes);
        found_any |= bytes > 0;
        left = left.saturating_sub(bytes);
        outcomes.push(outcome);
    }
    outcomes
}

async fn read_one(
    core: &Rc<Core>,
    id: TopicPartition,
    request: &ReadRequest,
    reader: Reader,
    watcher: Option<&Arc<Watcher>>,
) -> Outcome {
    let partition = core.partition(id).await.map_err(Refused::new)?;
    if let Some(watcher) = watcher {
        partition.watch(watcher.clone());
    }
    let (mut found, has_aborted) = match partition.read(request)? {
        Reading::Ready(found) => (found, true),
        Reading::WithoutAborted(found) => (found, false),
        Reading::Cold(mut found, cold) => {
            let read = core.cold_reads.run(reader, move |manners| cold.run(manners)).await;
            found.slice = partition.finish_read(read)?;
            (found, request.isolation != Isolation::ReadCommitted)
        }
    };
    if !has_aborted {
        let (from, to) = (request.offset, found.slice.end);
        found.aborted = Some(partition.find_aborted(&core.cold_reads, reader, from, to).await?);
    }
    Ok(found)
}

/// Whether the request can be answered now (`ReplicaManager.fetchMessages`).
fn is_enough(outcomes: &[Outcome], min_bytes: i64) -> bool {
    let noteworthy = |outcome: &Outcome| outcome.as_ref().map_or(true, |found| found.diverging.is_some());
    outcomes.is_empty() || outcomes.iter().any(noteworthy) || bytes_found(outcomes) >= min_bytes
}

fn bytes_found(outcomes: &[Outcome]) -> i64 {
    let bytes: usize = outcomes.iter().flatten().map(|found| found.slice.bytes).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn respond(context: &Context, plan: Plan, outcomes: Vec<Outcome>) -> FetchResponse {
    let answered: Vec<Answered> = outcomes.iter().map(answered).collect();
    let named = context.core.sessions.borrow_mut().answer(&plan, &answered);
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut hints = HashMap::new();
    let mut sent = 0;
    for (((name, _), outcome), named) in plan.partitions.iter().zip(outcomes).zip(named) {
        if !named {
            continue;
        }
        sent += outcome.as_ref().map_or(0, |found| found.slice.bytes);
        let data = partition_data(context, name, outcome, &mut hints);
        let (topic, topic_id) = match &name.topic {
            TopicName::Id(id) => (Text::new(), *id),
            TopicName::Name(name) => (name.clone(), Default::default()),
        };
        // Partitions of one topic that follow each other go under one heading.
        match responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => last.partitions.push(data),
            _ => responses.push(FetchableTopicResponse {
                topic,
                topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }
    context.core.metrics.fetched(sent);
    let node_endpoints = if context.version >= 16 { hints.into_values().collect() } else { Vec::new() };
    FetchResponse { session_id: plan.session_id, responses, node_endpoints, ..Default::default() }
}

fn answered(outcome: &Outcome) -> Answered {
    match outcome {
        Ok(found) => Answered {
            has_records: found.slice.bytes > 0,
            has_error: false,
            has_notice: found.diverging.is_some(),
            high_watermark: found.watermarks.high_watermark,
            log_start: found.watermarks.log_start,
        },
        Err(_) => Answered {
            has_records: false,
            has_error: true,
            has_notice: false,
            high_watermark: HighWatermark(Offset::NONE),
            log_start: LogStartOffset(Offset::NONE),
        },
    }
}

fn partition_data(
    context: &Context,
    name: &PartitionName,
    outcome: Outcome,
    hints: &mut HashMap<NodeId, NodeEndpoint>,
) -> PartitionData {
    let partition_index = name.partition.get();
    match outcome {
        Ok(found) => {
            let aborted = found.aborted.map(|aborted| {
                let aborted = aborted.into_iter().map(|transaction| AbortedTransaction {
                    producer_id: transaction.producer_id.get(),
                    first_offset: transaction.first_offset.get(),
                    ..Default::default()
                });
                aborted.collect()
            });
            let diverging_epoch = found.diverging.map_or_else(EpochEndOffset::default, |(epoch, end)| {
                EpochEndOffset { epoch: epoch.get(), end_offset: end.get(), ..Default::default() }
            });
            PartitionData {
                partition_index,
                high_watermark: found.watermarks.high_watermark.get().get(),
                last_stable_offset: found.watermarks.last_stable.get().get(),
                log_start_offset: found.watermarks.log_start.get().get(),
                diverging_epoch,
                aborted_transactions: aborted,
                preferred_read_replica: NodeId::NONE.get(),
                records: Some(Found::records(found.slice)),
                ..Default::default()
            }
        }
        Err(refused) => {
            let unknown =
                matches!(refused.code, ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId);
            let mut data = PartitionData {
                partition_index,
                error_code: refused.code.code(),
                high_watermark: Offset::NONE.get(),
                // Only an answer that no log had a part in has an empty list here.
                aborted_transactions: unknown.then(Vec::new),
                records: Some(RecordBytes::default()),
                ..Default::default()
            };
            let elsewhere =
                matches!(refused.code, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
            if elsewhere && context.version >= 16 {
                data.current_leader = hint(context, name, hints);
            }
            data
        }
    }
}

fn hint(
    context: &Context,
    name: &PartitionName,
    hints: &mut HashMap<NodeId, NodeEndpoint>,
) -> LeaderIdAndEpoch {
    let image = context.core.image();
    let topic = match &name.topic {
        TopicName::Id(id) => *id,
        TopicName::Name(name) => image.topics.by_name(name).map(|topic| topic.id).unwrap_or_default(),
    };
    let (leader, epoch) = leader_hint::leader(&image, TopicPartition { topic, partition: name.partition });
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

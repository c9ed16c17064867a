//! Metadata: the brokers, and the leaders of the topics that were asked for; makes topics that are missing where that is allowed.

use std::collections::HashSet;
use std::hash::Hash;

use dohle_metadata::{Broker, Image, PartitionState, Topic};
use dohle_types::{ErrorCode, NodeId, TopicId, is_internal_topic, validate_topic_name};
use dohle_wire::Text;
use dohle_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use dohle_wire::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::api::operations;
use crate::auto_topics;
use crate::request::Context;

/// Before this version a topic list that is empty means all topics; since, a null one does.
const NULL_IS_ALL_SINCE: i16 = 1;
/// From this version on topics may be asked for by id.
const IDS_SINCE: i16 = 12;
/// From this version on a broker without the client's listener has an error of its own.
const LISTENER_NOT_FOUND_SINCE: i16 = 6;

pub async fn handle(context: Context, request: MetadataRequest) -> MetadataResponse {
    let mut image = context.core.image();
    let listener = context.peer.session.door.name.clone();
    let mut topics = Vec::new();
    match &request.topics {
        Some(asked) if context.version < IDS_SINCE && asked.iter().any(|topic| !topic.topic_id.is_zero()) => {
            return no_ids_yet(asked);
        }
        Some(asked) if asked.iter().any(|topic| !topic.topic_id.is_zero()) => {
            // Who names one topic by its id names all by their ids.
            let ids: Vec<TopicId> =
                asked.iter().map(|topic| topic.topic_id).filter(|id| !id.is_zero()).collect();
            topics.extend(unique(ids).into_iter().map(|id| by_id(&context, &image, id)));
        }
        Some(asked) if context.version >= NULL_IS_ALL_SINCE || !asked.is_empty() => {
            let asked: Vec<Option<Text>> = unique(asked.iter().map(|topic| topic.name.clone()).collect());
            let missing: Vec<Text> =
                asked.iter().flatten().filter(|name| image.topics.by_name(name).is_none()).cloned().collect();
            let mut failures = Vec::new();
            if request.allow_auto_topic_creation && !missing.is_empty() {
                failures = auto_topics::create(&context, &missing).await;
                image = context.core.image();
            }
            topics.extend(asked.iter().map(|name| match name {
                Some(name) => by_name(&context, &image, name, &failures),
                None => by_id(&context, &image, TopicId::ZERO),
            }));
        }
        _ => topics.extend(image.topics.iter().map(|topic| describe(&context, &image, topic))),
    }
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code != ErrorCode::UnknownTopicId.code()) {
            topic.topic_authorized_operations = operations::ON_TOPIC;
        }
    }
    let brokers = alive(&image, &listener).map(|broker| describe_broker(broker, &listener)).collect();
    let cluster_authorized_operations = if request.include_cluster_authorized_operations {
        operations::ON_CLUSTER
    } else {
        operations::NOT_ASKED
    };
    MetadataResponse {
        brokers,
        cluster_id: Some(Text::from(context.core.shared().cluster_id.as_str())),
        controller_id: some_broker(&image, &context).get(),
        topics,
        cluster_authorized_operations,
        ..Default::default()
    }
}

/// The elements in their order, each once.
fn unique<T: Clone + Eq + Hash>(elements: Vec<T>) -> Vec<T> {
    let mut seen = HashSet::new();
    elements.into_iter().filter(|element| seen.insert(element.clone())).collect()
}

/// The answer to ids in a version whose requests have room for them, but may not use it yet.
fn no_ids_yet(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let topics = asked.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), ..Default::default() }
}

/// The brokers that clients of a listener can reach.
pub fn alive<'a>(image: &'a Image, listener: &'a str) -> impl Iterator<Item = &'a Broker> {
    image.brokers.iter().filter(move |broker| !broker.fenced && broker.endpoint(listener).is_some())
}

/// The broker that clients shall take for the controller: any, as every broker passes their requests on.
pub fn some_broker(image: &Image, context: &Context) -> NodeId {
    let node = context.core.shared().node;
    let own = image.brokers.get(node).filter(|broker| !broker.fenced);
    let any = || image.brokers.iter().find(|broker| !broker.fenced);
    own.or_else(any).map_or(NodeId::NONE, |broker| broker.id)
}

fn describe_broker(broker: &Broker, listener: &str) -> MetadataResponseBroker {
    let endpoint = broker.endpoint(listener).expect("only brokers that have the listener are described");
    MetadataResponseBroker {
        node_id: broker.id.get(),
        host: endpoint.host.clone(),
        port: endpoint.port.into(),
        rack: broker.rack.clone(),
        ..Default::default()
    }
}

fn by_name(
    context: &Context,
    image: &Image,
    name: &Text,
    failures: &[(Text, ErrorCode)],
) -> MetadataResponseTopic {
    if let Some(topic) = image.topics.by_name(name) {
        return describe(context, image, topic);
    }
    let failure = failures.iter().find(|(failed, _)| failed == name).map(|(_, code)| *code);
    let code = if validate_topic_name(name).is_err() {
        ErrorCode::InvalidTopicException
    } else {
        failure.unwrap_or(ErrorCode::UnknownTopicOrPartition)
    };
    MetadataResponseTopic {
        error_code: code.code(),
        name: Some(name.clone()),
        is_internal: is_internal_topic(name),
        ..Default::default()
    }
}

fn by_id(context: &Context, image: &Image, id: TopicId) -> MetadataResponseTopic {
    match image.topics.by_id(id) {
        Some(topic) => describe(context, image, topic),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            topic_id: id,
            // Versions before 12 have no null name.
            name: (context.version < IDS_SINCE).then(Text::new),
            ..Default::default()
        },
    }
}

fn describe(context: &Context, image: &Image, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().map(|(index, state)| {
        let (error, leader) = leader(context, image, state);
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index.get(),
            leader_id: leader.get(),
            leader_epoch: state.leader_epoch.get(),
            replica_nodes: state.replicas.iter().map(|node| node.get()).collect(),
            isr_nodes: state.isr.iter().map(|node| node.get()).collect(),
            offline_replicas: offline(image, state, &context.peer.session.door.name),
            ..Default::default()
        }
    });
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        ..Default::default()
    }
}

/// The leader that the client can reach, or why there is none.
fn leader(context: &Context, image: &Image, state: &PartitionState) -> (ErrorCode, NodeId) {
    let listener = &context.peer.session.door.name;
    match image.brokers.get(state.leader).filter(|broker| !broker.fenced) {
        None => (ErrorCode::LeaderNotAvailable, NodeId::NONE),
        Some(broker) if broker.endpoint(listener).is_none() => {
            let known = context.version >= LISTENER_NOT_FOUND_SINCE;
            (if known { ErrorCode::ListenerNotFound } else { ErrorCode::LeaderNotAvailable }, NodeId::NONE)
        }
        Some(broker) => (ErrorCode::None, broker.id),
    }
}

/// The replicas that cannot be reached.
pub fn offline(image: &Image, state: &PartitionState, listener: &str) -> Vec<i32> {
    let is_offline = |node: &NodeId| {
        let broker =
            image.brokers.get(*node).filter(|broker| !broker.fenced && broker.endpoint(listener).is_some());
        let directory = state.directory_of(*node).unwrap_or_default();
        broker.is_none_or(|broker| !broker.has_online_dir(directory))
    };
    state.replicas.iter().filter(|node| is_offline(node)).map(|node| node.get()).collect()
}

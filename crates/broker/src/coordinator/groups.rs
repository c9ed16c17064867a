//! The coordinator of groups in this broker: which shard a group belongs to, and what of the configuration and the metadata it has
//! to know.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_config::Config;
use dohle_coordinator::frame::Answer;
use dohle_coordinator::groups::{
    Ask, ConsumerSettings, Event, GroupCoordinator, GroupOverrides, MigrationPolicy, Request, Settings, Tally,
};
use dohle_metadata::features::GROUP_VERSION;
use dohle_metadata::{ConfigMap, Image, ResourceType};
use dohle_records::Compression;
use dohle_types::{ErrorCode, PartitionIndex, TopicPartition};
use dohle_wire::Text;
use tokio::sync::oneshot;
use tracing::warn;

use super::host::{Host, Linger, Question, Terms};
use super::{Hosted, News, cluster};
use crate::core::Core;
use crate::request::Context;

/// The topic of groups and their offsets.
pub const TOPIC: &str = "__consumer_offsets";

/// Server-side assignors, and the classes by which Kafka's configuration may name them.
const ASSIGNORS: &[(&str, &str)] = &[
    ("uniform", "org.apache.kafka.coordinator.group.assignor.UniformAssignor"),
    ("range", "org.apache.kafka.coordinator.group.assignor.RangeAssignor"),
];

/// The settings as this core's shards know them.
#[derive(Default)]
pub struct GroupSettings(RefCell<Option<Arc<Settings>>>);

impl Hosted for GroupCoordinator {
    const TOPIC: &'static str = TOPIC;

    type Tally = Tally;

    fn tally(&self) -> Tally {
        self.tally()
    }

    fn kept_bytes(&self) -> usize {
        self.kept_bytes()
    }

    fn would_keep(&self, request: &Request) -> usize {
        self.would_keep(request)
    }

    fn host(core: &Core) -> &Host<Self> {
        &core.coordinators.groups
    }

    fn fresh(core: &Rc<Core>, image: &Arc<Image>, partition: PartitionIndex) -> Self {
        let settings = settings(core, image);
        *core.coordinators.group_settings.0.borrow_mut() = Some(settings.clone());
        let config = core.config().with_dynamic(&crate::settings::dynamic(image, core.shared().node)).0;
        let mut overrides = BTreeMap::new();
        for (group, own) in image.configs.resources(ResourceType::GROUP) {
            if partition_of_group(image, group) == Some(partition) {
                overrides.insert(group.clone(), group_overrides(own, &config));
            }
        }
        Self::new(settings, core.coordinators.topics.at(image), overrides)
    }

    fn news(core: &Rc<Core>, old: &Arc<Image>, new: &Arc<Image>) -> Vec<News<Self>> {
        let mut news: Vec<News<Self>> = Vec::new();
        let node = core.shared().node;
        let dynamic_changed = old.configs.broker("") != new.configs.broker("")
            || old.configs.broker(&node.to_string()) != new.configs.broker(&node.to_string());
        if dynamic_changed || old.features != new.features {
            let (now, before) = (settings(core, new), settings(core, old));
            if now != before {
                *core.coordinators.group_settings.0.borrow_mut() = Some(now.clone());
                news.push(News::All(Box::new(move || Event::Settings(now.clone()))));
            }
        }
        if let Some(changes) = cluster::changes(old, new) {
            let (topics, changes) = (core.coordinators.topics.at(new), Arc::new(changes));
            news.push(News::All(Box::new(move || Event::Topics(topics.clone(), changes.clone()))));
        }
        if old.configs != new.configs {
            news.extend(override_news(core, old, new));
        }
        news
    }
}

/// The groups whose own configuration is another now.
fn override_news(core: &Rc<Core>, old: &Image, new: &Image) -> Vec<News<GroupCoordinator>> {
    let of = |image: &Image| {
        let config = core.config().with_dynamic(&crate::settings::dynamic(image, core.shared().node)).0;
        let groups = image.configs.resources(ResourceType::GROUP);
        groups.map(|(group, own)| (group.clone(), group_overrides(own, &config))).collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (of(old), of(new));
    let groups: BTreeSet<&Text> = before.keys().chain(after.keys()).collect();
    let changed = groups.into_iter().filter(|group| before.get(*group) != after.get(*group));
    let news = changed.filter_map(|group| {
        let partition = partition_of_group(new, group)?;
        let (group, own) = (group.clone(), after.get(group).cloned().unwrap_or_default());
        let event: Box<dyn Fn() -> Event> = Box::new(move || Event::Overrides(group.clone(), own.clone()));
        Some(News::One(partition, event))
    });
    news.collect()
}

/// How groups are coordinated, by what the node was started with.
pub fn terms(config: &Config) -> Terms {
    let codec = config.int("offsets.topic.compression.codec");
    let millis = |key| Duration::from_millis(u64::try_from(config.int(key)).unwrap_or(0));
    Terms {
        compression: u8::try_from(codec).ok().and_then(Compression::from_id).unwrap_or(Compression::None),
        linger: match config.int("group.coordinator.append.linger.ms") {
            0 => Linger::None,
            ..0 => Linger::Turn,
            1.. => Linger::For(millis("group.coordinator.append.linger.ms")),
        },
        commit_timeout: millis("offsets.commit.timeout.ms"),
        load_bytes: usize::try_from(config.int("offsets.load.buffer.size")).unwrap_or(1),
    }
}

/// The settings of group coordination at a moment.
pub fn settings(core: &Core, image: &Image) -> Arc<Settings> {
    let config = core.config().with_dynamic(&crate::settings::dynamic(image, core.shared().node)).0;
    let settings = read_settings(&config, consumer_protocol(&config, image));
    let held = core.coordinators.group_settings.0.borrow();
    // Shards share what is the same.
    match &*held {
        Some(held) if **held == settings => held.clone(),
        _ => Arc::new(settings),
    }
}

/// Whether the consumer protocol is on: the configuration names it, and the cluster's features have reached it.
pub fn consumer_protocol(config: &Config, image: &Image) -> bool {
    let named = config.list("group.coordinator.rebalance.protocols");
    named.iter().any(|protocol| protocol.eq_ignore_ascii_case("consumer"))
        && image.features.level(GROUP_VERSION) >= 1
}

fn read_settings(config: &Config, consumer_protocol: bool) -> Settings {
    let size = |key| usize::try_from(config.int(key)).unwrap_or(0);
    Settings {
        initial_rebalance_delay_ms: config.int("group.initial.rebalance.delay.ms").into(),
        min_session_timeout_ms: config.int("group.min.session.timeout.ms"),
        max_session_timeout_ms: config.int("group.max.session.timeout.ms"),
        max_size: size("group.max.size"),
        consumer: ConsumerSettings {
            max_size: size("group.consumer.max.size"),
            session_timeout_ms: config.int("group.consumer.session.timeout.ms"),
            heartbeat_interval_ms: config.int("group.consumer.heartbeat.interval.ms"),
            assignment_interval_ms: config.int("group.consumer.assignment.interval.ms"),
            assignors: assignors(config.list("group.consumer.assignors")),
            migration: migration(config.text("group.consumer.migration.policy").unwrap_or_default()),
            regex_refresh_interval_ms: config.int("group.consumer.regex.refresh.interval.ms").into(),
        },
        offset_metadata_max_bytes: size("offset.metadata.max.bytes"),
        offsets_retention_ms: i64::from(config.int("offsets.retention.minutes")) * 60_000,
        offsets_retention_check_interval_ms: config.long("offsets.retention.check.interval.ms"),
        consumer_protocol,
    }
}

fn assignors(named: &[String]) -> Vec<Text> {
    let known = |named: &String| {
        let found = ASSIGNORS.iter().find(|(name, class)| named == name || named == class);
        if found.is_none() {
            warn!(
                assignor = named,
                "group.consumer.assignors names an assignor that is not known; it is left out"
            );
        }
        found.map(|(name, _)| Text::from_static(name))
    };
    let found: Vec<Text> = named.iter().filter_map(known).collect();
    if found.is_empty() { ASSIGNORS.iter().map(|(name, _)| Text::from_static(name)).collect() } else { found }
}

fn migration(policy: &str) -> MigrationPolicy {
    match policy.to_ascii_lowercase().as_str() {
        "disabled" => MigrationPolicy::Disabled,
        "downgrade" => MigrationPolicy::Downgrade,
        "upgrade" => MigrationPolicy::Upgrade,
        _ => MigrationPolicy::Bidirectional,
    }
}

/// What a group's own configuration says, held to the bounds that the broker has now (`GroupConfig.evaluate`).
fn group_overrides(own: &ConfigMap, config: &Config) -> GroupOverrides {
    let bounded = |name: &str| {
        let value: i32 = own.get(format!("consumer.{name}").as_str())?.trim().parse().ok()?;
        let (least, most) = (
            config.int(&format!("group.consumer.min.{name}")),
            config.int(&format!("group.consumer.max.{name}")),
        );
        Some(value.min(most).max(least))
    };
    GroupOverrides {
        consumer_session_timeout_ms: bounded("session.timeout.ms"),
        consumer_heartbeat_interval_ms: bounded("heartbeat.interval.ms"),
        consumer_assignment_interval_ms: bounded("assignment.interval.ms"),
    }
}

/// The partition that keeps a group (`Utils.abs(groupId.hashCode()) % partitions`).
pub fn partition_of(group: &str, partitions: usize) -> PartitionIndex {
    // Java hashes strings by their UTF-16 units.
    let hash =
        group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    let partitions = u32::try_from(partitions).expect("a topic's partitions are counted in 31 bits");
    PartitionIndex(i32::try_from(positive % partitions).expect("a remainder of 31 bits"))
}

fn partition_of_group(image: &Image, group: &str) -> Option<PartitionIndex> {
    let topic = image.topics.by_name(TOPIC).filter(|topic| !topic.partitions.is_empty())?;
    Some(partition_of(group, topic.partitions.len()))
}

/// The partition that keeps a group, if this node leads it.
pub fn coordinated_here(context: &Context, group: &str) -> Result<TopicPartition, ErrorCode> {
    let image = context.core.image();
    let topic = image.topics.by_name(TOPIC).filter(|topic| !topic.partitions.is_empty());
    let topic = topic.ok_or(ErrorCode::NotCoordinator)?;
    let partition = partition_of(group, topic.partitions.len());
    match topic.partitions.get(partition) {
        Some(state) if state.leader == context.core.shared().node => {
            Ok(TopicPartition { topic: topic.id, partition })
        }
        _ => Err(ErrorCode::NotCoordinator),
    }
}

fn request(context: &Context, ask: Ask) -> Request {
    let client = context.peer.client(context.client_id.as_ref());
    Request { client, version: context.version, ask }
}

/// Asks the coordinator of a group. An error is one of the partition's or the shell's: [`super::errors`] has what clients are told.
pub async fn ask(context: &Context, group: &str, ask: Ask) -> Answer<GroupCoordinator> {
    send(context, group, ask).answer().await
}

/// As [`ask`], where [`coordinated_here`] has told the partition.
pub async fn ask_at(context: &Context, id: TopicPartition, ask: Ask) -> Answer<GroupCoordinator> {
    Asked(Ok(hand_over(context, id, ask))).answer().await
}

/// A question that is under way.
pub struct Asked(Result<oneshot::Receiver<Answer<GroupCoordinator>>, ErrorCode>);

impl Asked {
    pub async fn answer(self) -> Answer<GroupCoordinator> {
        // A shard that has gone without a word has gone with its core.
        self.0?.await.unwrap_or(Err(ErrorCode::NotCoordinator))
    }
}

/// As [`ask`], for whoever has more than one question.
pub fn send(context: &Context, group: &str, ask: Ask) -> Asked {
    Asked(coordinated_here(context, group).map(|id| hand_over(context, id, ask)))
}

fn hand_over(context: &Context, id: TopicPartition, ask: Ask) -> oneshot::Receiver<Answer<GroupCoordinator>> {
    let (asker, answer) = oneshot::channel();
    let request = request(context, ask);
    let charge = context.peer.parking.take();
    let core = &context.core;
    let sent = core.env().clock.tick();
    core.tell(core.owner(id), move |owner| {
        let host = GroupCoordinator::host(owner);
        host.runtime.queue.record(owner.env().clock.tick().since(sent));
        host.handle(owner, id, Question { request, asker, charge });
    });
    answer
}

/// The share of one shard in a request about several groups: the groups, and what became of them.
pub struct Share {
    pub groups: Vec<Text>,
    pub answer: Answer<GroupCoordinator>,
}

/// Asks about several groups, each shard about its own, all at once.
pub async fn ask_each(context: &Context, groups: Vec<Text>, ask: impl Fn(Vec<Text>) -> Ask) -> Vec<Share> {
    let mut shares: Vec<(Result<TopicPartition, ErrorCode>, Vec<Text>)> = Vec::new();
    for group in groups {
        let id = coordinated_here(context, &group);
        match shares.iter_mut().find(|(of, _)| *of == id) {
            Some((_, share)) => share.push(group),
            None => shares.push((id, vec![group])),
        }
    }
    let mut asked = Vec::with_capacity(shares.len());
    for (id, groups) in shares {
        let answer = Asked(id.map(|id| hand_over(context, id, ask(groups.clone()))));
        asked.push((groups, answer));
    }
    let mut answered = Vec::with_capacity(asked.len());
    for (groups, answer) in asked {
        answered.push(Share { groups, answer: answer.answer().await });
    }
    answered
}

/// Asks every shard of this node.
pub async fn ask_all(context: &Context, ask: Ask) -> Vec<Answer<GroupCoordinator>> {
    let core = &context.core;
    let mut cores = Vec::new();
    for owner in 0..core.shared().mailboxes.cores() {
        let (sender, receiver) = oneshot::channel();
        let request = request(context, ask.clone());
        core.tell(owner, move |owner| {
            let owner = owner.clone();
            dohle_env::task::spawn(async move {
                let asked = GroupCoordinator::host(&owner).ask_all(&owner, || request.clone()).await;
                _ = sender.send(asked);
            });
        });
        cores.push(receiver);
    }
    let mut answers = Vec::new();
    for core in cores {
        for answer in core.await.unwrap_or_default() {
            answers.push(answer.await.unwrap_or(Err(ErrorCode::NotCoordinator)));
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_where_kafka_puts_them() {
        // Utils.abs("...".hashCode()) % 50, by a JVM.
        let of = |group| partition_of(group, 50).get();
        assert_eq!(of(""), 0);
        assert_eq!(of("a"), 97 % 50);
        assert_eq!(of("console-consumer-1"), 24);
        // A hash of Integer.MIN_VALUE, whose absolute value Kafka takes for 0.
        assert_eq!(of("polygenelubricants"), 0);
        assert_eq!(of("\u{1f426}"), 25);
    }
}

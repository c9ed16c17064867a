//! One request's turn: what it may look at, and what it makes.

use dohle_types::{DirectoryId, NodeId, Offset, PartitionIndex, TimestampMs, TopicId};
use dohle_wire::messages::PartitionChangeRecord;

use super::batch::Batch;
use super::error::{ApiError, Result};
use super::partition_change::{Election, PartitionChange, Surroundings};
use super::sessions::Sessions;
use super::{ControllerSettings, Registrations, RequestContext};
use crate::MetadataVersion;
use crate::chance::Chance;
use crate::directory;
use crate::image::{Image, PartitionState, Topic};

/// Everything a handler works with. The handlers are in files of their own, one per API.
pub(super) struct Turn<'a> {
    pub settings: &'a ControllerSettings,
    pub context: &'a RequestContext,
    pub sessions: &'a mut Sessions,
    pub registrations: &'a Registrations,
    pub version: i16,
    pub now: TimestampMs,
    /// The offset of the first record this turn makes.
    pub next_offset: Offset,
    pub chance: Chance,
    pub kraft_version: i16,
    /// The level that `kraft.version` is to be raised to.
    pub kraft_upgrade: Option<i16>,
    pub batch: Batch,
}

/// Which brokers stop or start to count while leaders are chosen anew.
#[derive(Clone, Copy, Default)]
pub(super) struct Movement {
    /// Leaves the ISR of whatever it is in.
    pub leaving: Option<NodeId>,
    /// May lead although its registration does not say so yet.
    pub arriving: Option<NodeId>,
    /// As `leaving`, and lost what it had not flushed.
    pub unclean: Option<NodeId>,
}

/// A partition whose leader is to be chosen anew.
struct Picked {
    topic: TopicId,
    partition: PartitionIndex,
    /// Whether a replica that is not in sync may lead.
    unclean: bool,
    min_isr: usize,
}

impl Movement {
    fn allows(self, image: &Image, node: NodeId) -> bool {
        let here = Some(node);
        here != self.leaving
            && here != self.unclean
            && (here == self.arriving || image.brokers.is_active(node))
    }
}

impl Turn<'_> {
    pub fn image(&self) -> &Image {
        self.batch.image()
    }

    /// The cluster's `metadata.version`, which its first record sets.
    pub fn metadata_version(&self) -> MetadataVersion {
        self.image().features.metadata_version().expect("the log is bootstrapped before anything is asked")
    }

    /// Refuses what a former incarnation of a broker asks.
    pub fn check_broker_epoch(&self, id: i32, epoch: i64) -> Result<()> {
        match self.image().brokers.get(NodeId(id)) {
            None => {
                Err(ApiError::stale_broker_epoch(format!("No broker registration found for broker id {id}")))
            }
            Some(broker) if broker.epoch.get() != epoch => Err(ApiError::stale_broker_epoch(format!(
                "Expected broker epoch {}, but got broker epoch {epoch}",
                broker.epoch
            ))),
            Some(_) => Ok(()),
        }
    }

    /// Where a broker will put a new replica.
    pub fn default_dir(&self, node: NodeId) -> DirectoryId {
        default_dir(self.image(), self.metadata_version(), node)
    }

    /// Changes one partition as `with` asks, elects a leader among the active brokers, and records what came of it.
    pub fn change_partition(
        &mut self,
        topic: TopicId,
        partition: PartitionIndex,
        with: impl FnOnce(&mut PartitionChange<'_>),
    ) -> Result<bool> {
        let min_isr = self.image().topics.by_id(topic).map_or(0, |topic| self.effective_min_isr(topic));
        let record = self.partition_change(topic, partition, min_isr, Movement::default(), with);
        self.push_change(record)
    }

    /// Chooses leaders and ISRs anew for the partitions that `which` picks.
    pub fn move_leaders(
        &mut self,
        movement: Movement,
        which: impl Fn(TopicId, PartitionIndex, &PartitionState) -> bool,
    ) -> Result<()> {
        for Picked { topic, partition, unclean, min_isr } in self.pick(which) {
            let record = self.partition_change(topic, partition, min_isr, movement, |change| {
                if unclean {
                    change.election = Election::Unclean;
                }
                change.unclean_shutdown = movement.unclean;
                change.isr.retain(|&node| Some(node) != movement.leaving && Some(node) != movement.unclean);
            });
            self.push_change(record)?;
        }
        Ok(())
    }

    /// The partitions that `which` picks. What their topics' settings say is looked up once a topic.
    fn pick(&self, which: impl Fn(TopicId, PartitionIndex, &PartitionState) -> bool) -> Vec<Picked> {
        let mut picked = Vec::new();
        for topic in self.image().topics.iter() {
            let settings = std::cell::LazyCell::new(|| {
                (self.unclean_election_enabled(&topic.name), self.effective_min_isr(topic))
            });
            for (partition, state) in topic.partitions.iter() {
                if which(topic.id, partition, state) {
                    let (unclean, min_isr) = *settings;
                    picked.push(Picked { topic: topic.id, partition, unclean, min_isr });
                }
            }
        }
        picked
    }

    fn partition_change(
        &self,
        topic: TopicId,
        partition: PartitionIndex,
        min_isr: usize,
        movement: Movement,
        with: impl FnOnce(&mut PartitionChange<'_>),
    ) -> Option<PartitionChangeRecord> {
        let (image, version) = (self.image(), self.metadata_version());
        let topic = image.topics.by_id(topic).expect("the caller found the topic");
        let before = topic.partitions.get(partition).expect("the caller found the partition");
        let may_lead = |node: NodeId, directory: DirectoryId| {
            movement.allows(image, node)
                && image.brokers.get(node).is_some_and(|broker| broker.has_online_dir(directory))
        };
        let around = Surroundings {
            version,
            elr_enabled: image.features.elr_enabled(),
            min_isr,
            may_lead: &may_lead,
            default_dir: &|node| default_dir(image, version, node),
        };
        let mut change = PartitionChange::new(before, &around);
        with(&mut change);
        change.build(topic.id, partition)
    }

    fn push_change(&mut self, record: Option<PartitionChangeRecord>) -> Result<bool> {
        let version = self.metadata_version().partition_record_version();
        match record {
            Some(record) => self.batch.push(record, version).map(|()| true),
            None => Ok(false),
        }
    }

    /// `min.insync.replicas` of a topic, but never more than it has replicas.
    pub fn effective_min_isr(&self, topic: &Topic) -> usize {
        let replicas = topic.partitions.iter().next().map_or(0, |(_, partition)| partition.replicas.len());
        let configured = self.effective_topic_value(&topic.name, "min.insync.replicas");
        let configured = configured.and_then(|text| text.trim().parse::<i32>().ok());
        let configured = configured.unwrap_or_else(|| self.settings.config.int("min.insync.replicas"));
        usize::try_from(configured).unwrap_or(0).min(replicas)
    }

    pub fn unclean_election_enabled(&self, topic: &str) -> bool {
        match self.effective_topic_value(topic, "unclean.leader.election.enable") {
            Some(text) => text.trim().eq_ignore_ascii_case("true"),
            None => self.settings.config.boolean("unclean.leader.election.enable"),
        }
    }

    /// The dynamic value of a key that topics and brokers have under the same name, if there is any.
    fn effective_topic_value(&self, topic: &str, key: &str) -> Option<&str> {
        let configs = &self.image().configs;
        let node = self.settings.node_id.to_string();
        [configs.topic(topic), configs.broker(&node), configs.broker("")]
            .into_iter()
            .find_map(|map| map.get(key))
            .map(|text| &**text)
    }
}

fn default_dir(image: &Image, version: MetadataVersion, node: NodeId) -> DirectoryId {
    match image.brokers.get(node) {
        _ if !version.directory_assignment_supported() => directory::MIGRATING,
        Some(broker) => broker.default_dir(),
        None => directory::UNASSIGNED,
    }
}

//! One member of a consumer group: what it asked for, and what it owns at which epochs.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dohle_types::TopicId;
use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::messages::consumer_group_current_member_assignment_value::TopicPartitions;
use dohle_wire::messages::consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};

use crate::groups::Client;

/// The epoch of a member that has not joined yet, and of a request to join.
pub const JOINING: i32 = 0;
/// The epoch of a member that is gone, and of a request to leave.
pub const LEFT: i32 = -1;
/// The epoch of a static member that is away and may come back.
pub const AWAY: i32 = -2;

/// Partitions by topic, each with the epoch at which it was given to the member.
pub type Epochs = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// Where a member stands on its way to the group's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have at its epoch.
    Stable,
    /// It must give up partitions before it moves on.
    UnrevokedPartitions,
    /// It waits for partitions that others own.
    UnreleasedPartitions,
    /// Newer software wrote a state that this one does not know.
    Unknown,
}

impl MemberState {
    pub const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    pub const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub id: Text,
    pub instance: Option<Text>,
    pub rack: Option<Text>,
    pub client: Client,
    pub topics: Arc<BTreeSet<Text>>,
    /// The pattern of topics it subscribes to; empty or none is the same to the group, not to the record.
    pub regex: Option<Text>,
    pub rebalance_timeout_ms: i32,
    pub assignor: Option<Text>,
    /// What it said as a member of the classic protocol, if it speaks that one.
    pub classic: Option<ClassicMemberMetadata>,
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Epochs,
    pub revoking: Epochs,
}

impl Member {
    pub fn new(id: Text) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client: Client::default(),
            topics: Arc::default(),
            regex: Some(Text::new()),
            rebalance_timeout_ms: -1,
            assignor: None,
            classic: None,
            epoch: JOINING,
            previous_epoch: LEFT,
            state: MemberState::Stable,
            assigned: Epochs::new(),
            revoking: Epochs::new(),
        }
    }

    pub fn is_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// The pattern, if there is one.
    pub fn pattern(&self) -> Option<&Text> {
        self.regex.as_ref().filter(|regex| !regex.is_empty())
    }

    pub fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// The first protocol it named when it joined, which is the one it is spoken to in.
    pub fn classic_protocol(&self) -> Option<&ClassicProtocol> {
        self.classic.as_ref()?.supported_protocols.first()
    }

    /// The epoch at which it got a partition that it still has or is giving up.
    pub fn epoch_of(&self, topic: TopicId, partition: i32) -> Option<i32> {
        let of = |epochs: &Epochs| epochs.get(&topic)?.get(&partition).copied();
        of(&self.assigned).or_else(|| of(&self.revoking))
    }

    pub fn move_to_epoch(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// Takes over what a record says it asked for. Nothing of it holds the record's buffer.
    pub fn read_metadata(&mut self, value: m::ConsumerGroupMemberMetadataValue) {
        let detached = |text: Option<Text>| text.map(|text| text.detached());
        self.instance = detached(value.instance_id);
        self.rack = detached(value.rack_id);
        self.client = Client { id: value.client_id.detached(), host: value.client_host.detached() };
        if !same_names(&self.topics, &value.subscribed_topic_names) {
            self.topics = Arc::new(value.subscribed_topic_names.iter().map(Text::detached).collect());
        }
        self.regex = detached(value.subscribed_topic_regex);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = detached(value.server_assignor);
        self.classic = value.classic_member_metadata.map(|mut classic| {
            for protocol in &mut classic.supported_protocols {
                protocol.name = protocol.name.detached();
                protocol.metadata = protocol.metadata.to_vec().into();
            }
            classic
        });
    }

    /// Takes over what a record says it owns.
    pub fn read_assignment(&mut self, value: &m::ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        self.assigned = read_epochs(&value.assigned_partitions, value.member_epoch);
        self.revoking = read_epochs(&value.partitions_pending_revocation, value.member_epoch);
    }
}

/// Records of older software have no epochs by partition; the member's is the nearest to the truth then.
fn read_epochs(topics: &[TopicPartitions], default: i32) -> Epochs {
    let epochs_of = |topic: &TopicPartitions| match &topic.assignment_epochs {
        Some(epochs) if epochs.len() == topic.partitions.len() => {
            topic.partitions.iter().copied().zip(epochs.iter().copied()).collect()
        }
        _ => topic.partitions.iter().map(|partition| (*partition, default.max(0))).collect(),
    };
    topics.iter().map(|topic| (topic.topic_id, epochs_of(topic))).collect()
}

/// What a request wants of a member. What it does not mention stays.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    pub client: &'a Client,
    pub instance: Option<&'a Text>,
    pub rack: Option<&'a Text>,
    pub rebalance_timeout_ms: Option<i32>,
    pub assignor: Option<&'a Text>,
    pub topics: Option<&'a [Text]>,
    pub regex: Option<&'a Text>,
    pub classic: Option<&'a ClassicMemberMetadata>,
}

impl Wish<'_> {
    /// The member as it wishes to be; borrowed if it is that already.
    pub fn granted<'m>(&self, member: &'m Member) -> Cow<'m, Member> {
        let mut granted = Cow::Borrowed(member);
        let names = [
            (self.instance, (|member| &mut member.instance) as fn(&mut Member) -> &mut Option<Text>),
            (self.rack, |member| &mut member.rack),
            (self.assignor, |member| &mut member.assignor),
            (self.regex, |member| &mut member.regex),
        ];
        let current = [&member.instance, &member.rack, &member.assignor, &member.regex];
        for ((wanted, field), current) in names.into_iter().zip(current) {
            if let Some(wanted) = wanted
                && current.as_ref() != Some(wanted)
            {
                *field(granted.to_mut()) = Some(wanted.clone());
            }
        }
        if let Some(timeout) = self.rebalance_timeout_ms
            && timeout != member.rebalance_timeout_ms
        {
            granted.to_mut().rebalance_timeout_ms = timeout;
        }
        if let Some(topics) = self.topics
            && !same_names(&member.topics, topics)
        {
            granted.to_mut().topics = Arc::new(topics.iter().cloned().collect());
        }
        if *self.client != member.client {
            granted.to_mut().client = self.client.clone();
        }
        if self.classic != member.classic.as_ref() {
            granted.to_mut().classic = self.classic.cloned();
        }
        granted
    }
}

/// Whether a list, which may name a topic twice, is a set of names.
fn same_names(set: &BTreeSet<Text>, list: &[Text]) -> bool {
    if !list.iter().all(|name| set.contains(name)) {
        return false;
    }
    list.is_sorted_by(|a, b| a < b) && list.len() == set.len()
        || list.iter().collect::<BTreeSet<_>>().len() == set.len()
}

//! How much memory the members of groups make a coordinator keep, so that a node can hold it to a budget.
//!
//! Counted is what members say of themselves and are given: ids, metadata, subscriptions, assignments, and what a group's last record
//! repeats of these. What a request would add is known before it is handled ([`GroupCoordinator::would_keep`]): the shell has the
//! node's budget, and refuses a request that there is no room for. What is in the log is loaded whatever it takes.
//!
//! Not counted: names of groups and offsets that were committed. They are data on the disk as the records of a topic are.
//!
//! Invariant `KeptIsCounted`: a group's number is what counting its parts would give, and the coordinator's the sum of its groups'.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::classic;
use super::consumer;
use super::{Ask, Group, GroupCoordinator, Request};

/// What a member costs beside the bytes that it brings: its place in maps, its timers, the blocks of the allocator.
const MEMBER: usize = 1024;
/// What an id costs that was given out and not used yet.
const PENDING: usize = 512;
/// What a name in a list costs, or a partition, beside its bytes.
const ENTRY: usize = 64;
const PARTITION: usize = 32;

/// What one group keeps. It is part of its coordinator's sum from when the group is put there until it is gone.
#[derive(Debug, Default)]
pub struct Kept {
    sum: Option<Arc<AtomicUsize>>,
    bytes: usize,
}

impl Kept {
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if let Some(sum) = &self.sum {
            sum.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub fn take(&mut self, bytes: usize) {
        self.bytes -= bytes;
        if let Some(sum) = &self.sum {
            sum.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Makes it part of a sum.
    pub fn join(&mut self, sum: &Arc<AtomicUsize>) {
        if self.sum.is_none() {
            sum.fetch_add(self.bytes, Ordering::Relaxed);
            self.sum = Some(sum.clone());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.take(self.bytes);
    }
}

/// A copy of a group is part of no sum.
impl Clone for Kept {
    fn clone(&self) -> Self {
        Self { sum: None, bytes: self.bytes }
    }
}

/// Two groups are equal whatever they are part of.
impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl GroupCoordinator {
    /// What the members of all groups make this coordinator keep.
    pub fn kept_bytes(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// What a request could make it keep in addition. Of members that are known only what they say beyond what they said counts,
    /// so that a group goes on while there is no room for others.
    pub fn would_keep(&self, request: &Request) -> usize {
        match &request.ask {
            Ask::JoinGroup(join) => self.would_keep_of_join(join, &request.client.id),
            Ask::SyncGroup(sync) => self.would_keep_of_sync(sync),
            Ask::ConsumerGroupHeartbeat(heartbeat) => {
                self.would_keep_of_heartbeat(heartbeat, &request.client.id)
            }
            _ => 0,
        }
    }

    fn would_keep_of_join(&self, join: &m::JoinGroupRequest, client_id: &Text) -> usize {
        let protocols = join.protocols.iter();
        let said = protocols.map(|told| ENTRY + told.name.len() + told.metadata.len()).sum();
        let instance = join.group_instance_id.as_deref();
        let known = match self.groups.get(&join.group_id) {
            Some(Group::Classic(group)) => {
                let id =
                    instance.and_then(|instance| group.static_member(instance)).unwrap_or(&join.member_id);
                group.member(id).map(|member| (member.client.id.len(), protocols_of(member)))
            }
            Some(Group::Consumer(group)) => {
                let stands_in = instance.and_then(|instance| group.static_member(instance));
                let member = stands_in.or_else(|| group.members.get(&join.member_id));
                member.map(|member| (member.client.id.len(), classic_protocols_of(member)))
            }
            None => None,
        };
        match known {
            Some((client, known)) => beyond(client_id.len(), client) + beyond(said, known),
            None => MEMBER + instance.map_or(0, str::len) + client_id.len() + said,
        }
    }

    /// Assignments are kept by their members and in the group's record.
    fn would_keep_of_sync(&self, sync: &m::SyncGroupRequest) -> usize {
        if sync.assignments.is_empty() {
            return 0;
        }
        let told: usize = sync.assignments.iter().map(|of| of.assignment.len()).sum();
        let known = match self.groups.get(&sync.group_id) {
            // A rebalance that was interrupted has emptied what the members have, but not what the record says.
            Some(Group::Classic(group)) => {
                let stored = group.stored().into_iter().flat_map(|stored| &stored.members);
                let stored: usize = stored.map(|member| member.assignment.len()).sum();
                stored.max(group.members().map(|member| member.assignment.len()).sum())
            }
            _ => 0,
        };
        2 * beyond(told, known)
    }

    fn would_keep_of_heartbeat(&self, told: &m::ConsumerGroupHeartbeatRequest, client_id: &Text) -> usize {
        if told.member_epoch < 0 {
            return 0;
        }
        let names = told.subscribed_topic_names.as_ref().map(of_names);
        let len = |text: &Option<Text>| text.as_ref().map(|text| text.len());
        let texts = [&told.subscribed_topic_regex, &told.rack_id, &told.instance_id, &told.server_assignor];
        let member = match self.groups.get(&told.group_id) {
            Some(Group::Consumer(group)) => {
                let stands_in =
                    told.instance_id.as_deref().and_then(|instance| group.static_member(instance));
                stands_in.or_else(|| group.members.get(&told.member_id))
            }
            Some(Group::Classic(_)) | None => None,
        };
        let Some(member) = member else {
            return MEMBER
                + client_id.len()
                + names.unwrap_or(0)
                + texts.into_iter().filter_map(len).sum::<usize>();
        };
        let known = [&member.regex, &member.rack, &member.instance, &member.assignor];
        // What is not told stays as it is.
        let texts = texts
            .into_iter()
            .zip(known)
            .map(|(told, known)| beyond(len(told).unwrap_or(0), len(known).unwrap_or(0)));
        let names = names.map_or(0, |names| beyond(names, of_names(&*member.topics)));
        beyond(client_id.len(), member.client.id.len()) + names + texts.sum::<usize>()
    }

    /// Puts a group in its place.
    pub(super) fn put_group(&mut self, id: Text, mut group: Group) {
        group.kept().join(&self.kept);
        self.groups.insert(id, group);
    }
}

impl Group {
    fn kept(&mut self) -> &mut Kept {
        match self {
            Self::Classic(group) => group.kept(),
            Self::Consumer(group) => group.kept(),
        }
    }
}

#[cfg(test)]
impl Group {
    pub(super) fn kept_bytes(&self) -> usize {
        match self {
            Self::Classic(group) => group.kept_bytes(),
            Self::Consumer(group) => group.kept_bytes(),
        }
    }
}

fn beyond(told: usize, known: usize) -> usize {
    told.saturating_sub(known)
}

fn protocols_of(member: &classic::Member) -> usize {
    member.protocols.iter().map(|told| ENTRY + told.name.len() + told.metadata.len()).sum()
}

/// What a member of a consumer group says that speaks the classic protocol.
fn classic_protocols_of(member: &consumer::Member) -> usize {
    let classic = member.classic.iter().flat_map(|classic| &classic.supported_protocols);
    classic.map(|told| ENTRY + told.name.len() + told.metadata.len()).sum()
}

/// A member of a classic group.
pub(super) fn of_classic(member: &classic::Member) -> usize {
    let instance = member.instance_id.as_ref().map_or(0, |instance| instance.len());
    let texts = member.id.len() + member.client.id.len() + instance;
    MEMBER + texts + protocols_of(member) + member.assignment.len()
}

/// An id that was given out.
pub(super) fn of_pending(id: &Text) -> usize {
    PENDING + id.len()
}

/// What a classic group's record repeats.
pub(super) fn of_stored(stored: &m::GroupMetadataValue) -> usize {
    let len = |bytes: &Bytes| bytes.len();
    stored.members.iter().map(|member| ENTRY + len(&member.subscription) + len(&member.assignment)).sum()
}

/// A member of a consumer group.
pub(super) fn of_consumer(member: &consumer::Member) -> usize {
    let texts = [&member.instance, &member.rack, &member.regex, &member.assignor];
    let texts = texts.into_iter().flatten().map(|text| text.len()).sum::<usize>();
    let texts = texts + member.id.len() + member.client.id.len();
    let partitions =
        |epochs: &consumer::Epochs| epochs.values().map(|of| ENTRY + PARTITION * of.len()).sum::<usize>();
    let has = partitions(&member.assigned) + partitions(&member.revoking);
    MEMBER + texts + of_names(&*member.topics) + classic_protocols_of(member) + has
}

/// Names of topics.
pub(super) fn of_names<'a>(names: impl IntoIterator<Item = &'a Text>) -> usize {
    names.into_iter().map(|name| ENTRY + name.len()).sum()
}

#[cfg(test)]
mod tests {
    use dohle_types::TimestampMs;
    use m::join_group_request::JoinGroupRequestProtocol;
    use m::sync_group_request::SyncGroupRequestAssignment;

    use super::*;
    use crate::frame::{Moment, ReplyTo, Shard};
    use crate::groups::{Client, Settings};
    use crate::topics::Topics;

    const LARGE: usize = 100_000;

    struct Rig(Shard<GroupCoordinator>, u64);

    impl Rig {
        fn new() -> Self {
            let settings = Settings { initial_rebalance_delay_ms: 0, ..Settings::default() };
            let coordinator = GroupCoordinator::new(settings.into(), Topics::default(), Default::default());
            Self(Shard::new(coordinator, 1_000_000), 0)
        }

        fn would_keep(&self, ask: Ask) -> usize {
            self.0.coordinator().would_keep(&Request { client: Client::default(), version: 3, ask })
        }

        fn kept(&self) -> usize {
            self.0.coordinator().kept_bytes()
        }

        fn advance(&mut self, ms: u64) {
            self.1 += ms;
            let moment = self.moment();
            while self.0.next_due().is_some_and(|due| due <= self.1) {
                self.0.advance(moment);
            }
            self.0.take_batch();
        }

        fn moment(&self) -> Moment {
            Moment { wall: TimestampMs(self.1.cast_signed()), tick_ms: self.1, chance: self.1 }
        }

        fn ask(&mut self, version: i16, ask: Ask) {
            let (to, moment) = (ReplyTo(self.1), self.moment());
            self.0.handle(moment, to, Request { client: Client::default(), version, ask });
            self.advance(1);
        }

        fn join(&mut self, version: i16, member: &str, bytes: usize) {
            self.ask(version, Ask::JoinGroup(joining(member, bytes)));
        }

        fn classic_member(&self) -> Text {
            match self.0.coordinator().groups.get("g") {
                Some(Group::Classic(group)) => group.members().next().expect("a member").id.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    fn joining(member: &str, bytes: usize) -> m::JoinGroupRequest {
        let metadata = Bytes::from(vec![0; bytes]);
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata, ..Default::default() };
        m::JoinGroupRequest {
            group_id: "g".into(),
            member_id: member.into(),
            session_timeout_ms: 6000,
            rebalance_timeout_ms: 6000,
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        }
    }

    /// What a member brings is counted when it comes, adds nothing when it says the same again, and is gone with it.
    #[test]
    fn members_of_classic_groups_are_counted_while_they_are_there() {
        let mut rig = Rig::new();
        assert!(rig.would_keep(Ask::JoinGroup(joining("", LARGE))) > LARGE);
        rig.join(3, "", LARGE);
        let id = rig.classic_member();
        let kept = rig.kept();
        assert!((LARGE..LARGE + 2 * MEMBER).contains(&kept), "{kept}");
        assert_eq!(rig.would_keep(Ask::JoinGroup(joining(&id, LARGE))), 0);
        let more = rig.would_keep(Ask::JoinGroup(joining(&id, 3 * LARGE)));
        assert_eq!(more, 2 * LARGE, "what is new of it");
        let assignment = SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: vec![0; LARGE].into(),
            ..Default::default()
        };
        let sync = m::SyncGroupRequest {
            group_id: "g".into(),
            generation_id: 1,
            member_id: id.clone(),
            assignments: vec![assignment],
            ..Default::default()
        };
        assert_eq!(rig.would_keep(Ask::SyncGroup(sync.clone())), 2 * LARGE);
        rig.ask(3, Ask::SyncGroup(sync.clone()));
        assert!(rig.kept() >= kept + 3 * LARGE, "in the member, and in the record with what it said");
        assert_eq!(rig.would_keep(Ask::SyncGroup(sync.clone())), 0);
        // What it was given is nothing that it may say more for.
        assert_eq!(rig.would_keep(Ask::JoinGroup(joining(&id, LARGE + 7))), 7);
        rig.join(3, &id, LARGE);
        assert_eq!(rig.would_keep(Ask::SyncGroup(sync)), 0, "as much again, in the next generation");
        let heartbeat = m::HeartbeatRequest { group_id: "g".into(), member_id: id, ..Default::default() };
        assert_eq!(rig.would_keep(Ask::Heartbeat(heartbeat)), 0);
        rig.advance(10_000);
        rig.advance(10_000);
        assert_eq!(rig.kept(), 0, "its session is over");
    }

    /// Ids that were given out cost something too, and only until their time is over.
    #[test]
    fn ids_given_out_are_counted() {
        let mut rig = Rig::new();
        (0..100).for_each(|_| rig.join(9, "", 0));
        assert!(rig.kept() >= 100 * PENDING, "{}", rig.kept());
        rig.advance(10_000);
        assert_eq!(rig.kept(), 0);
    }

    #[test]
    fn members_of_consumer_groups_are_counted_while_they_are_there() {
        let mut rig = Rig::new();
        let names: Vec<Text> = (0..1000).map(|n| format!("a-topic-that-is-called-{n}").into()).collect();
        let joining = m::ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: "m".into(),
            rebalance_timeout_ms: 6000,
            subscribed_topic_names: Some(names),
            topic_partitions: Some(vec![]),
            ..Default::default()
        };
        let would = rig.would_keep(Ask::ConsumerGroupHeartbeat(joining.clone()));
        rig.ask(1, Ask::ConsumerGroupHeartbeat(joining.clone()));
        assert!(would <= rig.kept() && rig.kept() < 2 * would, "{would} {}", rig.kept());
        assert_eq!(rig.would_keep(Ask::ConsumerGroupHeartbeat(joining.clone())), 0);
        let quiet = m::ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            member_epoch: 1,
            ..joining.clone()
        };
        assert_eq!(rig.would_keep(Ask::ConsumerGroupHeartbeat(quiet.clone())), 0);
        let rack = m::ConsumerGroupHeartbeatRequest { rack_id: Some("far-away".into()), ..quiet.clone() };
        assert_eq!(rig.would_keep(Ask::ConsumerGroupHeartbeat(rack)), "far-away".len());
        let client = Client { id: "renamed".into(), ..Client::default() };
        let ask = Ask::ConsumerGroupHeartbeat(quiet);
        let renamed = Request { client, version: 1, ask };
        assert_eq!(rig.0.coordinator().would_keep(&renamed), "renamed".len());
        let leaving = m::ConsumerGroupHeartbeatRequest { member_epoch: -1, ..joining };
        rig.ask(1, Ask::ConsumerGroupHeartbeat(leaving));
        assert_eq!(rig.kept(), 0);
    }
}

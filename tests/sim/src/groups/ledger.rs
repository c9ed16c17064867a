//! Who has committed what, and what members ask for. No two commits commit the same offset, so an offset tells which it was.

use dohle_coordinator::groups::Ask;
use dohle_types::Offset;
use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::messages::{offset_commit_request as commit, offset_fetch_request as fetch};

use super::member::{Hands, Member, REQUEST_TIMEOUT_MS, Slot};
use super::truth::{Place, Spot};

/// The last version that names topics, and the first that has their ids.
const COMMIT_VERSIONS: [i16; 2] = [9, 10];
const FETCH_VERSION: i16 = 9;

/// A commit as its member meant it.
#[derive(Clone, Debug)]
pub struct Commit {
    pub place: Place,
    pub spot: Spot,
    pub member_id: Text,
    pub epoch: i32,
}

#[derive(Clone, Debug, Default)]
pub struct Ledger(Vec<Commit>);

impl Ledger {
    /// Returns the offset that stands for it.
    fn enter(&mut self, commit: Commit) -> i64 {
        self.0.push(commit);
        self.0.len() as i64
    }

    pub fn commit(&self, offset: i64) -> Option<&Commit> {
        self.0.get(usize::try_from(offset).ok()?.checked_sub(1)?)
    }
}

/// Commits one of the partitions that the member owns, if it owns any.
pub fn commit(member: &mut Member, hands: &mut Hands<'_>) {
    if member.owned.is_empty() || member.slots[Slot::Offsets as usize].is_some() {
        return;
    }
    let owned: Vec<Spot> = member.owned.iter().copied().collect();
    let spot = *hands.chance.pick(&owned);
    let topic = hands.catalog.by_id(spot.0).expect("it was once");
    let name = hands.catalog.name(topic).clone();
    let offset = hands.ledger.enter(Commit {
        place: (member.group.clone(), name.clone(), spot.1),
        spot,
        member_id: member.id.clone(),
        epoch: member.epoch,
    });
    let partition = commit::OffsetCommitRequestPartition {
        partition_index: spot.1,
        committed_offset: offset,
        ..Default::default()
    };
    let topic = commit::OffsetCommitRequestTopic {
        name,
        topic_id: spot.0,
        partitions: vec![partition],
        ..Default::default()
    };
    let request = m::OffsetCommitRequest {
        group_id: member.group.clone(),
        generation_id_or_member_epoch: member.epoch,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    let version = *hands.chance.pick(&COMMIT_VERSIONS);
    let slot = &mut member.slots[Slot::Offsets as usize];
    hands.send(slot, version, Ask::OffsetCommit(request), REQUEST_TIMEOUT_MS);
}

/// Fetches what was committed to the topics that the member subscribes to, as a member or as a passer-by.
pub fn fetch(member: &mut Member, as_member: bool, hands: &mut Hands<'_>) {
    if member.topics.is_empty() || member.slots[Slot::Offsets as usize].is_some() {
        return;
    }
    let topic = *hands.chance.pick(&member.topics);
    let topics = fetch::OffsetFetchRequestTopics {
        name: hands.catalog.name(topic).clone(),
        topic_id: hands.catalog.id(topic),
        partition_indexes: (0..hands.catalog.partitions(topic)).collect(),
        ..Default::default()
    };
    let group = fetch::OffsetFetchRequestGroup {
        group_id: member.group.clone(),
        member_id: as_member.then(|| member.id.clone()),
        member_epoch: if as_member { member.epoch } else { Offset::NONE.0 as i32 },
        topics: Some(vec![topics]),
        ..Default::default()
    };
    let slot = &mut member.slots[Slot::Offsets as usize];
    hands.send(slot, FETCH_VERSION, Ask::OffsetFetch { group, stable: true }, REQUEST_TIMEOUT_MS);
}

//! The group coordinator of whichever program runs, asked by frames of our own: for what a tool does not show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dohle_tests_protocol::connection::Connection;
use dohle_types::ErrorCode;
use dohle_wire::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use dohle_wire::messages::consumer_group_describe_response::{Assignment, DescribedGroup};
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use dohle_wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What a group has committed: offset, leader epoch and metadata by topic and partition.
pub type Offsets = BTreeMap<(String, i32), (i64, i32, String)>;

/// A connection to the program that runs now.
#[derive(Debug)]
pub struct Coordinator(Connection);

impl Coordinator {
    pub fn on(bootstrap: &str) -> Coordinator {
        let address: SocketAddr = bootstrap.parse().expect("an address");
        Coordinator(Connection::open(address))
    }

    /// Commits as one who is a member of nothing: partition, offset, metadata.
    pub fn commit(&mut self, group: &str, topic: &str, offsets: &[(i32, i64, String)]) {
        let partition = |(index, offset, metadata): &(i32, i64, String)| OffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: *offset,
            committed_metadata: Some(metadata.as_str().into()),
            ..Default::default()
        };
        let partitions = offsets.iter().map(partition).collect();
        let topic = OffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() };
        let request =
            OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() };
        self.ready(group, |connection| {
            let answer = connection.ask(&request, 9).expect("an answer");
            let mut codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            (codes.find(|code| *code != 0).unwrap_or(0), ())
        });
    }

    /// All that a group has committed.
    pub fn committed(&mut self, group: &str) -> Offsets {
        let asked = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![asked], ..Default::default() };
        let answer = self.ready(group, |connection| {
            let mut answer = connection.ask(&request, 8).expect("an answer");
            let group = answer.groups.remove(0);
            (group.error_code, group)
        });
        let mut offsets = Offsets::new();
        for topic in &answer.topics {
            for found in &topic.partitions {
                let metadata = found.metadata.as_ref().map(ToString::to_string).unwrap_or_default();
                let place = (topic.name.to_string(), found.partition_index);
                offsets.insert(place, (found.committed_offset, found.committed_leader_epoch, metadata));
            }
        }
        offsets
    }

    /// A group with members of KIP-848, in an order that is the same for every program.
    pub fn described(&mut self, group: &str) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
        let mut described = self.ready(group, |connection| {
            let mut answer = connection.ask(&request, 1).expect("an answer");
            let group = answer.groups.remove(0);
            (group.error_code, group)
        });
        described.members.sort_by_key(|member| member.member_id.to_string());
        for member in &mut described.members {
            sort(&mut member.assignment);
            sort(&mut member.target_assignment);
        }
        described
    }

    /// Asks again while the coordinator is not there yet.
    fn ready<T>(&mut self, group: &str, mut ask: impl FnMut(&mut Connection) -> (i16, T)) -> T {
        const LATER: [ErrorCode; 4] = [
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::UnknownTopicOrPartition,
        ];
        let find = FindCoordinatorRequest { key: group.into(), ..Default::default() };
        let until = Instant::now() + READY_WITHIN;
        loop {
            // Whoever looks for it first has its topic made.
            self.0.ask(&find, 1).expect("an answer");
            let (code, answer) = ask(&mut self.0);
            if code == 0 {
                return answer;
            }
            assert!(LATER.iter().any(|later| later.code() == code), "{group}: answered {code}");
            assert!(Instant::now() < until, "{group}: still answers {code}");
            std::thread::sleep(POLL);
        }
    }
}

fn sort(assignment: &mut Assignment) {
    assignment.topic_partitions.sort_by_key(|topic| topic.topic_name.to_string());
    assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
}

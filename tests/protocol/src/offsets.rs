//! Commits and fetches of offsets of partition 0 of the topic `t`, for groups that have no members.

use std::time::{Duration, Instant};

use dohle_types::ErrorCode;
use dohle_wire::messages as m;
use m::{offset_commit_request as commit, offset_fetch_request as fetch};

use crate::connection::Connection;

const IN_TIME: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Who commits.
#[derive(Debug)]
pub struct Committer(pub Connection);

impl Committer {
    pub fn commit(&mut self, group: &str, offset: i64) -> ErrorCode {
        let partition =
            commit::OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic = commit::OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = m::OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.0.ask(&request, 9).expect("an answer");
        ErrorCode::from_code(answer.topics[0].partitions[0].error_code).expect("a known code")
    }

    /// Commits until it is taken; what it was told before.
    pub fn commit_at_last(&mut self, group: &str, offset: i64) -> Vec<ErrorCode> {
        let until = Instant::now() + IN_TIME;
        let mut told = Vec::new();
        loop {
            let find = m::FindCoordinatorRequest { key: group.into(), ..Default::default() };
            self.0.ask(&find, 3).expect("an answer");
            match self.commit(group, offset) {
                ErrorCode::None => return told,
                code => told.push(code),
            }
            assert!(Instant::now() < until, "{told:?}");
            std::thread::sleep(POLL);
        }
    }

    pub fn committed(&mut self, group: &str) -> Result<i64, ErrorCode> {
        let topic = fetch::OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let asked = fetch::OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request = m::OffsetFetchRequest { groups: vec![asked], ..Default::default() };
        let answer = self.0.ask(&request, 8).expect("an answer");
        match ErrorCode::from_code(answer.groups[0].error_code).expect("a known code") {
            ErrorCode::None => Ok(answer.groups[0].topics[0].partitions[0].committed_offset),
            code => Err(code),
        }
    }
}

//! ElectLeaders: back to the preferred leader, or to any leader at the price of data.

use dohle_types::{ErrorCode, PartitionIndex};
use dohle_wire::messages::elect_leaders_request::ElectLeadersRequest;
use dohle_wire::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::error::{ApiError, Result, parts};
use super::partition_change::Election;
use super::turn::Turn;

/// `ElectLeadersRequest.election_type`.
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

impl Turn<'_> {
    pub(super) fn elect_leaders(&mut self, request: &ElectLeadersRequest) -> Result<ElectLeadersResponse> {
        let election = match request.election_type {
            PREFERRED => Election::Preferred,
            UNCLEAN => Election::Unclean,
            other => return Err(ApiError::invalid_request(format!("Unknown election type {other}"))),
        };
        let results = match &request.topic_partitions {
            None => self.elect_everywhere(election)?,
            Some(topics) => {
                let mut results = Vec::with_capacity(topics.len());
                for topic in topics {
                    let mut partition_result = Vec::with_capacity(topic.partitions.len());
                    for &partition in &topic.partitions {
                        let elected = self.elect_leader(&topic.topic, PartitionIndex(partition), election);
                        partition_result.push(result_of(partition, &elected));
                    }
                    results.push(ReplicaElectionResult {
                        topic: topic.topic.clone(),
                        partition_result,
                        ..Default::default()
                    });
                }
                results
            }
        };
        Ok(ElectLeadersResponse { replica_election_results: results, ..Default::default() })
    }

    fn elect_everywhere(&mut self, election: Election) -> Result<Vec<ReplicaElectionResult>> {
        let topics: Vec<_> =
            self.image().topics.iter().map(|topic| (topic.name.clone(), topic.partitions.clone())).collect();
        let mut results = Vec::with_capacity(topics.len());
        for (topic, partitions) in topics {
            let mut partition_result = Vec::new();
            for (index, _) in partitions.iter() {
                match self.elect_leader(&topic, index, election) {
                    Err(error) if error.code == ErrorCode::ElectionNotNeeded => {}
                    elected => partition_result.push(result_of(index.get(), &elected)),
                }
            }
            results.push(ReplicaElectionResult { topic, partition_result, ..Default::default() });
        }
        Ok(results)
    }

    pub(super) fn elect_leader(
        &mut self,
        name: &str,
        index: PartitionIndex,
        election: Election,
    ) -> Result<()> {
        let topic = self.image().topics.by_name(name);
        let topic = topic.ok_or_else(|| ApiError::unknown_topic(format!("No such topic as {name}")))?;
        let partition = topic.partitions.get(index);
        let partition = partition
            .ok_or_else(|| ApiError::unknown_topic(format!("No such partition as {name}-{index}")))?;
        let needless = match election {
            Election::Preferred => partition.leader == partition.preferred_leader(),
            Election::Online | Election::Unclean => partition.has_leader(),
        };
        if needless {
            let sentence = "Leader election not needed for topic partition.";
            return Err(ApiError::new(ErrorCode::ElectionNotNeeded, sentence));
        }
        if self.change_partition(topic.id, index, |change| change.election = election)? {
            return Ok(());
        }
        Err(match election {
            Election::Preferred => {
                let sentence = "The preferred leader was not available.";
                ApiError::new(ErrorCode::PreferredLeaderNotAvailable, sentence)
            }
            Election::Online | Election::Unclean => {
                let sentence = "Eligible topic partition leaders are not available.";
                ApiError::new(ErrorCode::EligibleLeadersNotAvailable, sentence)
            }
        })
    }
}

fn result_of(partition: i32, elected: &Result<()>) -> PartitionResult {
    let (error_code, error_message) = parts(elected);
    PartitionResult { partition_id: partition, error_code, error_message, ..Default::default() }
}

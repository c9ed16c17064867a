//! Who leads a partition now, told beside the error that sends a client away (KIP-951), so that it need not ask for metadata.

use dohle_metadata::Image;
use dohle_types::{LeaderEpoch, NodeId, TopicPartition};

/// The leader of a partition and its epoch; -1 and -1 when nobody leads it or nobody knows it.
pub fn leader(image: &Image, id: TopicPartition) -> (NodeId, LeaderEpoch) {
    let partition = image.topics.by_id(id.topic).and_then(|topic| topic.partitions.get(id.partition));
    partition
        .map_or((NodeId::NONE, LeaderEpoch::NONE), |partition| (partition.leader, partition.leader_epoch))
}

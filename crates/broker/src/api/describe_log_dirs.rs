//! DescribeLogDirs: what lies in each log directory, and how large it is.

use std::collections::{BTreeMap, HashSet};

use dohle_metadata::Image;
use dohle_types::{ErrorCode, PartitionIndex, TopicPartition};
use dohle_wire::Text;
use dohle_wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use dohle_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::log_dirs::Described;
use crate::request::Context;

/// The partitions of each topic in a directory, with their sizes.
type Sizes = BTreeMap<Text, Vec<DescribeLogDirsPartition>>;

pub async fn handle(context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let image = context.core.image();
    let described = context.core.shared().log_dirs.describe();
    let mut sizes: Vec<Sizes> = described.iter().map(|_| Sizes::new()).collect();
    for (name, id) in wanted(&context, &image, &request) {
        let answer = context.core.ask(id, |_, partition, answer| {
            let found = partition.ok().and_then(|partition| {
                partition.with_log(|log| (log.dir().to_owned(), log.size_in_bytes(), log.end_offset()))
            });
            _ = answer.send(found);
        });
        // A partition that cannot be opened is told of by nobody, as in Kafka.
        let Ok(Some((folder, size, end))) = answer.await else { continue };
        // Nor is anything in a directory that is offline.
        let holds = |directory: &Described| !directory.offline && folder.starts_with(&directory.path);
        let Some(at) = described.iter().position(holds) else { continue };
        let described_log = |size, offset_lag, is_future_key| DescribeLogDirsPartition {
            partition_index: id.partition.get(),
            partition_size: i64::try_from(size).unwrap_or(i64::MAX),
            offset_lag,
            is_future_key,
            ..Default::default()
        };
        if let Some(moving) = context.core.shared().moves.of(&name, id)
            && !described[moving.future.directory].offline
        {
            let lag = (end.get() - moving.progress.end().get()).max(0);
            let future = described_log(moving.progress.bytes(), lag, true);
            sizes[moving.future.directory].entry(name.clone()).or_default().push(future);
        }
        sizes[at].entry(name).or_default().push(described_log(size, 0, false));
    }
    let cordoned = context.core.shared().lifecycle.cordoned();
    let results = described.into_iter().zip(sizes).map(|(directory, sizes)| {
        let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        DescribeLogDirsResult {
            log_dir: Text::from(directory.path.to_string_lossy().into_owned()),
            topics: sizes
                .into_iter()
                .map(|(name, partitions)| DescribeLogDirsTopic { name, partitions, ..Default::default() })
                .collect(),
            total_bytes: bytes(directory.total),
            usable_bytes: bytes(directory.available),
            error_code: if directory.offline { ErrorCode::KafkaStorageError.code() } else { 0 },
            is_cordoned: directory.id.is_some_and(|id| cordoned.contains(&id)),
            ..Default::default()
        }
    });
    DescribeLogDirsResponse { results: results.collect(), ..Default::default() }
}

/// The partitions of this node that the request asks for; all when it names none.
fn wanted(context: &Context, image: &Image, request: &DescribeLogDirsRequest) -> Vec<(Text, TopicPartition)> {
    let node = context.core.shared().node;
    let mut wanted = Vec::new();
    let mut add = |topic: &dohle_metadata::Topic, is_asked: &dyn Fn(PartitionIndex) -> bool| {
        for (partition, state) in topic.partitions.iter() {
            if state.replicas.contains(&node) && is_asked(partition) {
                wanted.push((topic.name.clone(), TopicPartition { topic: topic.id, partition }));
            }
        }
    };
    match &request.topics {
        None => image.topics.iter().for_each(|topic| add(topic, &|_| true)),
        Some(topics) => {
            for asked in topics {
                if let Some(topic) = image.topics.by_name(&asked.topic) {
                    add(topic, &|partition| asked.partitions.contains(&partition.get()));
                }
            }
        }
    }
    // What is asked for twice is told once.
    let mut seen = HashSet::new();
    wanted.retain(|(_, id)| seen.insert(*id));
    wanted
}

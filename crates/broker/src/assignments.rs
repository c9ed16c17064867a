//! Tells the controller in which directory a partition was put, where the metadata does not say so (KIP-858): only then does it know
//! what is lost with a directory.
//!
//! Bound: one entry a partition of this node, and [`MOST_TOGETHER`] of them in one request.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use dohle_env::task;
use dohle_types::{DirectoryId, ErrorCode, PartitionIndex, TopicId, TopicPartition};
use dohle_wire::messages::assign_replicas_to_dirs_request::{
    AssignReplicasToDirsRequest, DirectoryData, PartitionData, TopicData,
};
use dohle_wire::messages::assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
use dohle_wire::{AnyRequest, AnyResponse, ApiKey};
use tokio::sync::Notify;
use tracing::warn;

use crate::core::Core;
use crate::partition::Partition;

/// `AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST`
const MOST_TOGETHER: usize = 2250;
/// How long others are waited for that are opened at the same time.
const LINGER: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_millis(500);

type Waiting = BTreeMap<TopicPartition, DirectoryId>;

/// What the controller is still to be told.
#[derive(Default)]
pub struct Assignments {
    waiting: Mutex<Waiting>,
    some: Notify,
}

impl Assignments {
    /// A partition's directory is to be told, in place of what was noted of it before.
    pub fn note(&self, id: TopicPartition, directory: DirectoryId) {
        self.waiting().insert(id, directory);
        self.some.notify_one();
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting();
        match waiting.keys().nth(MOST_TOGETHER).copied() {
            Some(next) => {
                let rest = waiting.split_off(&next);
                std::mem::replace(&mut waiting, rest)
            }
            None => std::mem::take(&mut waiting),
        }
    }

    /// For later; what was noted meanwhile is newer.
    fn put_back(&self, taken: Waiting) {
        let mut waiting = self.waiting();
        taken.into_iter().for_each(|(id, directory)| _ = waiting.entry(id).or_insert(directory));
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while it is locked")
    }
}

/// A partition was opened: its directory is told if the metadata names another.
pub fn note(core: &Rc<Core>, partition: &Partition, named: DirectoryId) {
    let Some(folder) = partition.with_log(|log| log.dir().to_owned()) else { return };
    if let Some(lies_in) = core.shared().log_dirs.id_of(&folder).filter(|&lies_in| lies_in != named) {
        core.shared().assignments.note(partition.id, lies_in);
    }
}

/// Tells the controller what is noted, for as long as the core lives.
pub async fn tell(core: Rc<Core>) {
    loop {
        core.shared().assignments.some.notified().await;
        task::sleep(LINGER).await;
        loop {
            let batch = core.shared().assignments.take();
            if batch.is_empty() {
                break;
            }
            // Clusters from before directories were tracked say nothing of them.
            let version = core.image().features.metadata_version();
            if !version.is_some_and(|version| version.directory_assignment_supported()) {
                continue;
            }
            if !ask(&core, &batch).await {
                core.shared().assignments.put_back(batch);
                task::sleep(RETRY).await;
            }
        }
    }
}

/// Says whether the controller has taken it.
async fn ask(core: &Rc<Core>, batch: &Waiting) -> bool {
    let request = AssignReplicasToDirsRequest {
        broker_id: core.shared().node.get(),
        broker_epoch: core.shared().lifecycle.epoch().get(),
        directories: directories(batch),
        ..Default::default()
    };
    let version = ApiKey::AssignReplicasToDirs.max_version();
    let lifecycle = &core.shared().lifecycle;
    match lifecycle.ask(version, AnyRequest::AssignReplicasToDirs(request)).await {
        Ok(AnyResponse::AssignReplicasToDirs(response)) if response.error_code == 0 => {
            tell_refusals(&response);
            true
        }
        Ok(AnyResponse::AssignReplicasToDirs(response)) => {
            warn!(
                code = response.error_code,
                "the controller does not take the directories of partitions yet"
            );
            false
        }
        Ok(other) => unreachable!("an assignment is answered by one, not by {:?}", other.key()),
        Err(refused) => {
            warn!(%refused, "the controller was not told the directories of partitions; it is tried again");
            false
        }
    }
}

fn directories(batch: &Waiting) -> Vec<DirectoryData> {
    let mut grouped: BTreeMap<DirectoryId, BTreeMap<TopicId, Vec<PartitionIndex>>> = BTreeMap::new();
    for (id, directory) in batch {
        grouped.entry(*directory).or_default().entry(id.topic).or_default().push(id.partition);
    }
    let partition =
        |index: PartitionIndex| PartitionData { partition_index: index.get(), ..Default::default() };
    let topic = |(topic_id, partitions): (TopicId, Vec<PartitionIndex>)| TopicData {
        topic_id,
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let directory = |(id, topics): (DirectoryId, BTreeMap<TopicId, Vec<PartitionIndex>>)| DirectoryData {
        id,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    grouped.into_iter().map(directory).collect()
}

/// A topic that is gone needs no directory; anything else is worth a line.
fn tell_refusals(response: &AssignReplicasToDirsResponse) {
    let topics = response.directories.iter().flat_map(|directory| &directory.topics);
    for (topic, partition) in topics.flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p))) {
        let gone = [ErrorCode::None, ErrorCode::UnknownTopicId, ErrorCode::UnknownTopicOrPartition];
        if !gone.iter().any(|code| code.code() == partition.error_code) {
            let (topic, index) = (topic.topic_id, partition.partition_index);
            warn!(%topic, partition = index, code = partition.error_code, "a partition's directory was refused");
        }
    }
}

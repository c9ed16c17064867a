//! What a core counts of itself. Each core adds to counters of its own; whoever shows them sums up.
//!
//! What can be asked for is not counted: the numbers of the logs are collected from the cores when somebody reads them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dohle_config::TopicSettings;
use dohle_log::Damage;
use dohle_metadata::PartitionState;
use dohle_observe::Latencies;
use dohle_types::{ErrorCode, Offset, PartitionIndex};
use dohle_wire::{ApiKey, Text};
use tokio::sync::oneshot;

use crate::core::{Core, Shared};
use crate::settings;

/// A number that one core adds to and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one core. Clones count into the same numbers.
#[derive(Clone, Debug, Default)]
pub struct CoreMetrics(Arc<Counters>);

#[derive(Debug, Default)]
pub struct Counters {
    pub records_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub produce_requests: Counter,
    pub fetch_requests: Counter,
    pub requests: Counter,
    pub connections_opened: Counter,
    pub connections_closed: Counter,
    apis: Apis,
}

/// What a core counts of one API. An API that nobody uses costs a few words.
#[derive(Debug, Default)]
pub struct ApiCounters {
    pub requests: Counter,
    times: OnceLock<Latencies>,
    /// In the order of [`ErrorCode::ALL`].
    errors: OnceLock<Box<[Counter]>>,
}

impl ApiCounters {
    fn answered(&self, took: Duration, errors: &[i16]) {
        self.times.get_or_init(Latencies::default).record(took);
        if errors.is_empty() {
            return;
        }
        let counts = self.errors.get_or_init(|| ErrorCode::ALL.iter().map(|_| Counter::default()).collect());
        for code in errors {
            if let Ok(at) = ErrorCode::ALL.binary_search_by_key(code, |known| known.code()) {
                counts[at].add(1);
            }
        }
    }

    /// How long requests took from their last byte to their answer; `None` where there was none yet.
    pub fn times(&self) -> Option<Latencies> {
        self.times.get().cloned()
    }

    /// The error codes that were in answers, and how often.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        let counts = self.errors.get().map_or(&[][..], |counts| counts);
        ErrorCode::ALL.iter().zip(counts).map(|(code, count)| (*code, count.get())).filter(|(_, n)| *n > 0)
    }
}

/// The counters of every API, in the order of [`ApiKey::ALL`].
#[derive(Debug)]
struct Apis(Box<[ApiCounters]>);

impl Default for Apis {
    fn default() -> Self {
        Self(ApiKey::ALL.iter().map(|_| ApiCounters::default()).collect())
    }
}

impl std::ops::Deref for CoreMetrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

impl CoreMetrics {
    /// What was counted of an API.
    pub fn api(&self, key: ApiKey) -> &ApiCounters {
        let at = ApiKey::ALL.binary_search_by_key(&key.code(), |known| known.code());
        &self.apis.0[at.expect("every API is in the list of all")]
    }

    /// A request was read.
    pub fn started(&self, key: ApiKey) {
        self.api(key).requests.add(1);
    }

    /// A request was answered, with these error codes somewhere in its answer.
    pub fn answered(&self, key: ApiKey, took: Duration, errors: &[i16]) {
        self.api(key).answered(took, errors);
    }

    pub fn appended(&self, records: u64, bytes: u64) {
        self.records_in.add(records);
        self.bytes_in.add(bytes);
    }

    pub fn fetched(&self, bytes: usize) {
        self.fetch_requests.add(1);
        self.bytes_out.add(bytes as u64);
    }
}

/// What a broker has of the cluster's partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaNumbers {
    pub held: usize,
    pub led: usize,
    /// Led, with replicas that are not in sync.
    pub under_replicated: usize,
    /// Led, with fewer replicas in sync than `acks=all` needs.
    pub under_min_isr: usize,
    /// Held in log directories that are offline.
    pub offline: usize,
}

/// Counts this node's replicas, as the newest metadata has them.
pub fn of_replicas(shared: &Shared) -> ReplicaNumbers {
    let (image, node) = (shared.controller.image(), shared.node);
    let (current, _) = shared.config.with_dynamic(&settings::dynamic(&image, node));
    let mut numbers = ReplicaNumbers::default();
    let any_offline = shared.log_dirs.any_offline();
    let is_offline = |topic: &str, index, partition: &PartitionState| {
        shared.log_dirs.is_offline(topic, index, partition.directory_of(node).unwrap_or_default())
    };
    for topic in image.topics.iter() {
        let own = settings::overrides(image.configs.topic(&topic.name));
        let least = TopicSettings::of(&own, &current).map_or(1, |settings| settings.min_insync_replicas);
        for (index, partition) in topic.partitions.iter() {
            let (replicas, in_sync) = (partition.replicas.len(), partition.isr.len());
            let (held, led) = (partition.replicas.contains(&node), partition.leader == node);
            numbers.held += usize::from(held);
            numbers.led += usize::from(led);
            numbers.offline += usize::from(held && any_offline && is_offline(&topic.name, index, partition));
            numbers.under_replicated += usize::from(led && in_sync < replicas);
            numbers.under_min_isr += usize::from(led && in_sync < replicas.min(least as usize));
        }
    }
    numbers
}

/// The numbers of one partition's log.
#[derive(Clone, Debug)]
pub struct LogNumbers {
    pub topic: Text,
    pub partition: PartitionIndex,
    pub size: u64,
    pub start: Offset,
    pub end: Offset,
    pub segments: usize,
    pub folder: PathBuf,
    /// Out of service after a failure of its disk.
    pub failed: bool,
    /// What of it cannot be read.
    pub damaged: Vec<Damage>,
}

/// What is damaged of the logs that are open, as far as a reader has met it. One that has damage does not rest.
pub async fn of_damage(shared: &Shared) -> Vec<Damage> {
    let of_core = |core: &Core| -> Vec<Damage> {
        let of = |log: &mut dohle_log::Log| log.damage().cloned().collect::<Vec<_>>();
        core.open_partitions().iter().filter_map(|partition| partition.with_log(of)).flatten().collect()
    };
    from_cores(shared, of_core).await
}

/// The numbers of every log that was opened, from the cores that own them.
pub async fn of_logs(shared: &Shared) -> Vec<LogNumbers> {
    from_cores(shared, numbers).await
}

/// What every core has to tell, one after the other.
async fn from_cores<T: Send + 'static>(
    shared: &Shared,
    tell: impl Fn(&Core) -> Vec<T> + Copy + Send + 'static,
) -> Vec<T> {
    let ask = |core| {
        let (sender, answer) = oneshot::channel();
        shared.mailboxes.tell(core, move |core| _ = sender.send(tell(core)));
        answer
    };
    let answers: Vec<_> = (0..shared.mailboxes.cores()).map(ask).collect();
    let mut found = Vec::new();
    for answer in answers {
        // A core that has ended has no open logs.
        found.extend(answer.await.unwrap_or_default());
    }
    found
}

fn numbers(core: &Core) -> Vec<LogNumbers> {
    let open = core.open_partitions();
    let numbers = open.iter().filter_map(|partition| {
        partition.with_log(|log| LogNumbers {
            topic: partition.name.clone(),
            partition: partition.id.partition,
            size: log.size_in_bytes(),
            start: log.start_offset(),
            end: log.end_offset(),
            segments: log.segments().len(),
            folder: log.dir().to_owned(),
            failed: log.failure().is_some(),
            damaged: log.damage().cloned().collect(),
        })
    });
    let resting = core.resting().into_iter().filter_map(|(id, rested)| {
        let folder = core.shared().log_dirs.folder(&rested.name, id.partition)?;
        Some(LogNumbers {
            topic: rested.name,
            partition: id.partition,
            size: rested.size,
            start: rested.start,
            end: rested.end,
            segments: rested.segments,
            folder,
            failed: false,
            // A log with damage that is known of does not rest.
            damaged: Vec::new(),
        })
    });
    numbers.chain(resting).collect()
}

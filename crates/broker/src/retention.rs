//! Retention, every `log.retention.check.interval.ms`: over the partitions of a core that are open, and those others that may have something
//! due.
//!
//! Of a partition that rests it was noted when. One that was never opened is looked at from outside once
//! ([`dohle_log::due_at_a_glance`]), and what that has told is kept in [`Unopened`]: a hundred thousand idle partitions are not opened, nor
//! looked at again before their time. What is opened for retention only goes back to rest.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dohle_config::TopicSettings;
use dohle_env::{Tick, task};
use dohle_types::{PartitionIndex, TimestampMs, TopicId, TopicPartition};
use tracing::error;

use crate::core::Core;
use crate::partition::Partition;
use crate::{resting, upkeep};

/// When retention first looks, after start (`InitialTaskDelayMs`).
const FIRST: Duration = Duration::from_secs(30);
/// How long a flush is waited for; what is not stored by then goes at the next look.
const FLUSHED_WITHIN: Duration = Duration::from_secs(5);
/// How many partitions are looked at in a row, before others get their turn.
const LOOKED_AT_TOGETHER: usize = 256;

/// From when on partitions that were never opened may have something due. Sixteen bytes each, under their topic.
#[derive(Default)]
pub struct Unopened {
    topics: HashMap<TopicId, OfTopic>,
    /// How often something was forgotten.
    changes: u64,
}

struct OfTopic {
    /// What `due` was told by.
    settings: Arc<TopicSettings>,
    /// Sorted.
    due: Vec<(PartitionIndex, TimestampMs)>,
}

impl Unopened {
    fn due(&self, id: TopicPartition, settings: &TopicSettings) -> Option<TimestampMs> {
        let topic = self.topics.get(&id.topic).filter(|topic| *topic.settings == *settings)?;
        let at = topic.due.binary_search_by_key(&id.partition, |(partition, _)| *partition).ok()?;
        Some(topic.due[at].1)
    }

    fn note(
        &mut self,
        topic: TopicId,
        settings: &Arc<TopicSettings>,
        found: Vec<(PartitionIndex, TimestampMs)>,
    ) {
        let known = self
            .topics
            .entry(topic)
            .or_insert_with(|| OfTopic { settings: settings.clone(), due: Vec::new() });
        if known.settings != *settings {
            *known = OfTopic { settings: settings.clone(), due: Vec::new() };
        }
        let of = |due: &Vec<(PartitionIndex, TimestampMs)>, wanted| {
            due.binary_search_by_key(&wanted, |(at, _)| *at)
        };
        for (partition, due) in found {
            match of(&known.due, partition) {
                Ok(at) => known.due[at].1 = due,
                Err(at) => known.due.insert(at, (partition, due)),
            }
        }
    }

    /// Logs have changed that are not open: nothing is known of any.
    pub fn forget(&mut self) {
        self.changes += 1;
        self.topics.clear();
    }

    fn retain(&mut self, is_there: impl Fn(TopicId) -> bool) {
        self.topics.retain(|topic, _| is_there(*topic));
    }
}

pub fn start(core: &Rc<Core>) {
    let core = core.clone();
    let interval = u64::try_from(core.config().long("log.retention.check.interval.ms")).unwrap_or(300_000);
    let interval = Duration::from_millis(interval);
    task::spawn(async move {
        task::sleep(FIRST.min(interval)).await;
        loop {
            retain(&core).await;
            task::sleep(interval).await;
        }
    });
}

async fn retain(core: &Rc<Core>) {
    let mut unstored = Vec::new();
    for partition in core.open_partitions() {
        if core.is_draining() {
            return;
        }
        // What it closes a segment of gets a file for the next one.
        if is_due(core, &partition) && core.partition(partition.id).await.is_err() {
            continue;
        }
        maintain(core, &partition).await;
        if is_due(core, &partition) {
            partition.flush_if_needed(core);
            unstored.push(partition);
        }
        // Many partitions: others get their turn in between.
        task::yield_now().await;
    }
    // A segment goes when it is stored that it was closed. Their flushes went together.
    let until = core.env().clock.tick().plus(FLUSHED_WITHIN);
    for partition in unstored {
        stored(core, &partition, until).await;
        // More may be due by now, and the files gone.
        if is_due(core, &partition) && core.partition(partition.id).await.is_ok() {
            maintain(core, &partition).await;
        }
        task::yield_now().await;
    }
    let image = core.image();
    core.unopened.borrow_mut().retain(|topic| image.topics.by_id(topic).is_some());
    let mut rested = false;
    let closed = core.shared().log_dirs.partitions();
    'closed: for some in closed
        .chunk_by(|(name, _), (next, _)| name == next)
        .flat_map(|topic| topic.chunks(LOOKED_AT_TOGETHER))
    {
        for id in due_among(core, some).await {
            if core.is_draining() {
                break 'closed;
            }
            let Ok(partition) = core.partition(id).await else { continue };
            maintain(core, &partition).await;
            if is_due(core, &partition) {
                partition.flush_if_needed(core);
                stored(core, &partition, core.env().clock.tick().plus(FLUSHED_WITHIN)).await;
                maintain(core, &partition).await;
            }
            // Opened for this only: it goes back to rest, so that a round over many never has many open.
            rested |= resting::rest(core, vec![partition]).await;
        }
        task::yield_now().await;
    }
    if rested {
        resting::write_checkpoints(core).await;
    }
    core.shared().log_dirs.trim_buffers();
}

/// Which of some partitions of one topic's name are this core's, not open, and have to be.
async fn due_among(core: &Rc<Core>, partitions: &[(Arc<str>, PartitionIndex)]) -> Vec<TopicPartition> {
    let (image, now) = (core.image(), core.env().clock.now());
    let Some((name, _)) = partitions.first() else { return Vec::new() };
    let Some(topic) = image.topics.by_name(name) else { return Vec::new() };
    let settings = core.settings(&image, topic.id, &topic.name);
    let (mut due, mut unknown) = (Vec::new(), Vec::new());
    for (_, partition) in partitions {
        let id = TopicPartition { topic: topic.id, partition: *partition };
        if topic.partitions.get(*partition).is_none() || core.owner(id) != core.index {
            continue;
        }
        let known = match core.retention_due(id) {
            Some(known) => known,
            None => match core.unopened.borrow().due(id, &settings) {
                Some(at) => at <= now,
                None => {
                    unknown.push(*partition);
                    false
                }
            },
        };
        if known {
            due.push(id);
        }
    }
    if !unknown.is_empty() {
        let (dirs, name, told) = (core.shared().log_dirs.clone(), name.clone(), settings.clone());
        let (background, seen) = (core.shared().background.clone(), core.unopened.borrow().changes);
        let found = task::blocking(move || {
            let mut pieces = background.begin();
            let found = dirs.glance(&name, &unknown, &told);
            _ = pieces.rest();
            found
        })
        .await;
        let of = |(partition, _): &(PartitionIndex, TimestampMs)| TopicPartition {
            topic: topic.id,
            partition: *partition,
        };
        due.extend(found.iter().filter(|(_, at)| *at <= now).map(of));
        let mut unopened = core.unopened.borrow_mut();
        // What was found of logs that have changed since says nothing.
        if unopened.changes == seen {
            unopened.note(topic.id, &settings, found);
        }
    }
    due
}

fn is_due(core: &Core, partition: &Partition) -> bool {
    partition.has_retirable(core.env().clock.now())
}

/// Waits for the end of a flush, if that comes before `until`: one that is produced to may always have one under way.
async fn stored(core: &Core, partition: &Partition, until: Tick) {
    while partition.is_flushing() && core.env().clock.tick() < until {
        task::sleep(upkeep::FLUSH_STEP).await;
    }
}

/// What is due for one partition.
async fn maintain(core: &Rc<Core>, partition: &Rc<Partition>) {
    let now = core.env().clock.now();
    let maintenance = match partition.maintain(now) {
        Ok(Some(maintenance)) => maintenance,
        Ok(None) => return,
        Err(problem) => return error!(partition = %partition.id, %problem, "retention failed"),
    };
    if maintenance.log_start_moved {
        upkeep::checkpoint_soon(core, partition);
    }
    if let Some(cleanup) = maintenance.cleanup {
        let background = core.shared().background.clone();
        let cleaned = task::blocking(move || {
            let mut pieces = background.begin();
            cleanup.run(&mut || pieces.rest())
        })
        .await;
        if let Some(Err(problem)) = partition.with_log(|log| log.finish_cleanup(cleaned, now)) {
            error!(partition = %partition.id, %problem, "retention failed");
        }
    }
}

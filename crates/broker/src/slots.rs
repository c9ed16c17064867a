//! The partitions of a core: opened when somebody comes for them, kept in step with the metadata, closed when they rest, given up when
//! their topic is gone.
//!
//! Opening and closing wait for the disk on other threads; who comes meanwhile waits in the partition's slot, in order.

use std::path::Path;
use std::rc::Rc;

use dohle_env::task;
use dohle_log::{Log, LogError};
use dohle_metadata::{Image, PartitionState};
use dohle_types::{ErrorCode, TopicPartition};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::assignments;
use crate::cleaner;
use crate::core::Core;
use crate::partition::Partition;
use crate::resting::{self, Rested};
use crate::upkeep;

/// What to do with a partition once it is open, or cannot be.
pub type Entered = Box<dyn FnOnce(&Rc<Core>, Result<&Rc<Partition>, ErrorCode>)>;

/// A partition's place on its core.
pub enum Slot {
    /// Its files are being opened; what waits for it, in order.
    Opening(Vec<Entered>),
    Open(Rc<Partition>),
    /// Nobody has used it for a while: closed, and opened again for whoever comes.
    Resting(Rested),
}

impl Core {
    /// Every open partition of this core.
    pub fn open_partitions(&self) -> Vec<Rc<Partition>> {
        let partitions = self.partitions.borrow();
        partitions
            .values()
            .filter_map(|slot| if let Slot::Open(open) = slot { Some(open.clone()) } else { None })
            .collect()
    }

    /// Works with one of this core's partitions as soon as it is open, in the order of the calls.
    pub fn enter(self: &Rc<Self>, id: TopicPartition, entered: Entered) {
        let open = match self.partitions.borrow_mut().get_mut(&id) {
            Some(Slot::Open(partition)) => Some(partition.clone()),
            Some(Slot::Opening(waiting)) => {
                waiting.push(entered);
                return;
            }
            Some(Slot::Resting(_)) | None => None,
        };
        match open {
            Some(partition) => self.enter_open(&partition, entered),
            None => self.open(id, vec![entered]),
        }
    }

    /// Works with a partition that is open as soon as it may have files open.
    fn enter_open(self: &Rc<Self>, partition: &Rc<Partition>, entered: Entered) {
        if self.admits(partition) {
            return entered(self, Ok(partition));
        }
        self.files.borrow_mut().wait(partition, entered);
    }

    /// Whether somebody who comes for a partition may work with it now. What has to be flushed for others to be admitted is, either way.
    fn admits(self: &Rc<Self>, partition: &Rc<Partition>) -> bool {
        let admitted = self.files.borrow_mut().admits(partition);
        self.flush_for_room();
        admitted
    }

    /// Who waits for files that may be open looks again.
    pub fn flush_is_over(self: &Rc<Self>) {
        self.files.borrow_mut().flushed();
        if !self.files.borrow().anybody_waits() {
            return;
        }
        loop {
            let next = self.files.borrow_mut().next();
            let Some((partition, entered)) = next else { break };
            entered(self, Ok(&partition));
        }
        self.flush_for_room();
    }

    /// Flushes what keeps files open that others wait for.
    pub fn flush_for_room(self: &Rc<Self>) {
        let unflushed = self.files.borrow_mut().take_unflushed();
        unflushed.iter().for_each(|partition| self.flush_soon(partition));
    }

    /// One of this core's partitions, once it is open.
    pub async fn partition(self: &Rc<Self>, id: TopicPartition) -> Result<Rc<Partition>, ErrorCode> {
        if let Some(partition) = self.opened_partition(id)
            && self.admits(&partition)
        {
            return Ok(partition);
        }
        let (sender, receiver) = oneshot::channel();
        self.enter(id, Box::new(move |_, partition| _ = sender.send(partition.cloned())));
        receiver.await.unwrap_or(Err(ErrorCode::NotLeaderOrFollower))
    }

    /// Opens a partition's files, off this thread, if this node leads it.
    fn open(self: &Rc<Self>, id: TopicPartition, waiting: Vec<Entered>) {
        let image = self.image();
        let found =
            image.topics.by_id(id.topic).and_then(|topic| Some((topic, topic.partitions.get(id.partition)?)));
        let refusal = match found {
            None => Some(ErrorCode::UnknownTopicOrPartition),
            Some((topic, state)) if state.leader != self.shared().node => {
                let named = state.directory_of(self.shared().node).unwrap_or_default();
                let offline = self.shared().log_dirs.is_offline(&topic.name, id.partition, named);
                Some(if offline { ErrorCode::KafkaStorageError } else { ErrorCode::NotLeaderOrFollower })
            }
            Some(_) => None,
        };
        let (Some((topic, state)), None) = (found, refusal) else {
            let code = refusal.unwrap_or(ErrorCode::UnknownTopicOrPartition);
            return waiting.into_iter().for_each(|entered| entered(self, Err(code)));
        };
        let (name, state) = (topic.name.clone(), state.clone());
        let settings = self.settings(&image, id.topic, &name);
        self.partitions.borrow_mut().insert(id, Slot::Opening(waiting));
        let core = self.clone();
        task::spawn(async move {
            let dirs = core.shared().log_dirs.clone();
            let directory = state.directory_of(core.shared().node).unwrap_or_default();
            let (opening_name, cordoned) = (name.clone(), core.shared().lifecycle.cordoned());
            let opened =
                task::blocking(move || dirs.open(id, &opening_name, directory, &cordoned, settings)).await;
            let opened = match opened {
                Ok(log) => Ok(Rc::new(Partition::new(id, name, log, &state))),
                Err(problem) => {
                    // That its directory is offline was said when it went.
                    if !matches!(problem, LogError::Offline { .. }) {
                        error!(partition = %id, %problem, "a partition cannot be opened");
                    }
                    Err(ErrorCode::KafkaStorageError)
                }
            };
            core.opened(id, opened);
        });
    }

    /// Takes an open partition out of service for a moment; who comes for it waits until [`Core::rested`] says what became of it.
    pub fn start_resting(&self, partition: &Partition) {
        self.partitions.borrow_mut().insert(partition.id, Slot::Opening(Vec::new()));
    }

    /// A partition was closed to rest, or, should that have failed, is to be opened anew by who comes next.
    pub fn rested(self: &Rc<Self>, id: TopicPartition, name: &str, rested: Option<Rested>) {
        // Before the slot is taken: metadata that was not followed yet must find the partition in it.
        let image = self.image();
        let Some(Slot::Opening(waiting)) = self.partitions.borrow_mut().remove(&id) else { return };
        let is_there =
            image.topics.by_id(id.topic).is_some_and(|topic| topic.partitions.get(id.partition).is_some());
        if let Some(rested) = rested {
            self.partitions.borrow_mut().insert(id, Slot::Resting(rested));
            // Its settings may have changed while it was being closed.
            self.refresh_resting(&image, id);
        } else {
            self.unopened.borrow_mut().forget();
        }
        if !waiting.is_empty() {
            self.open(id, waiting);
        }
        if !is_there {
            self.give_up(id, name);
        }
    }

    /// Every partition of this core that rests.
    pub fn resting(&self) -> Vec<(TopicPartition, Rested)> {
        let partitions = self.partitions.borrow();
        let resting = |(id, slot): (&TopicPartition, &Slot)| match slot {
            Slot::Resting(rested) => Some((*id, rested.clone())),
            Slot::Opening(_) | Slot::Open(_) => None,
        };
        partitions.iter().filter_map(resting).collect()
    }

    /// Whether retention has to open a partition, as far as that is known here: it is not of one that was never opened.
    pub fn retention_due(&self, id: TopicPartition) -> Option<bool> {
        match self.partitions.borrow().get(&id)? {
            Slot::Resting(rested) => Some(rested.is_due(self.env().clock.now())),
            Slot::Opening(_) | Slot::Open(_) => Some(false),
        }
    }

    /// What a partition that rests has left.
    pub fn rests(&self, id: TopicPartition) -> Option<Rested> {
        match self.partitions.borrow().get(&id) {
            Some(Slot::Resting(rested)) => Some(rested.clone()),
            _ => None,
        }
    }

    /// Forgets what was opened in a directory before it was lost: whoever comes opens what is there now.
    pub fn forget_lost(&self, directory: &Path) {
        let lies_there = |name: &str, partition| {
            let folder = self.shared().log_dirs.folder(name, partition);
            folder.is_some_and(|folder| folder.starts_with(directory))
        };
        self.unopened.borrow_mut().forget();
        let mut lost = Vec::new();
        self.partitions.borrow_mut().retain(|id, slot| match slot {
            Slot::Open(open) if open.is_lost() => {
                lost.push(open.clone());
                false
            }
            Slot::Resting(rested) => !lies_there(&rested.name, id.partition),
            Slot::Open(_) | Slot::Opening(_) => true,
        });
        // Who still holds one finds that nothing is behind it.
        lost.iter().for_each(|partition| _ = partition.take_log(ErrorCode::NotLeaderOrFollower));
    }

    pub fn opened(self: &Rc<Self>, id: TopicPartition, opened: Result<Rc<Partition>, ErrorCode>) {
        // Its directory may have been lost while it was being opened.
        let opened = opened.and_then(|open| match open.is_lost() {
            true => Err(ErrorCode::KafkaStorageError),
            false => Ok(open),
        });
        let before = match &opened {
            Ok(partition) => self.partitions.borrow_mut().insert(id, Slot::Open(partition.clone())),
            Err(_) => {
                // It may have been open before: what was known when it was not yet is old.
                self.unopened.borrow_mut().forget();
                self.partitions.borrow_mut().remove(&id)
            }
        };
        if let Some(Slot::Opening(waiting)) = before {
            for entered in waiting {
                match &opened {
                    Ok(partition) => self.enter_open(partition, entered),
                    Err(code) => entered(self, Err(*code)),
                }
            }
        }
        if let Ok(partition) = &opened {
            if !partition.uses.has_files() {
                // What was opened with it.
                _ = partition.with_log(Log::let_go_of_files);
            }
            resting::look_later(self);
        }
        // The topic may have changed, or gone, while its files were being opened.
        let (image, Ok(partition)) = (self.image(), opened) else { return };
        match image.topics.by_id(id.topic).and_then(|topic| topic.partitions.get(id.partition)) {
            Some(state) => {
                partition.follow(state, self.shared().node);
                // Of one that moves, whoever moves it tells.
                if !partition.moving.get() {
                    let named = state.directory_of(self.shared().node).unwrap_or_default();
                    assignments::note(self, &partition, named);
                }
                // So may its configuration: who was being opened was not told.
                self.refresh_settings(&image, id);
            }
            None => self.give_up(id, &partition.name),
        }
    }

    /// Brings the core in line with new metadata. Costs what changed, not what there is.
    pub fn follow(self: &Rc<Self>, old: &Image, new: &Image) {
        let settings_changed = old.configs != new.configs;
        if settings_changed {
            self.topic_settings.borrow_mut().clear();
        }
        for (before, after) in old.topics.changes(&new.topics) {
            let topic = after.or(before).expect("a change has a side");
            for (partition, _) in topic.partitions.iter() {
                let id = TopicPartition { topic: topic.id, partition };
                match after.and_then(|after| after.partitions.get(partition)) {
                    Some(state) => self.follow_partition(id, state),
                    None => self.give_up(id, &topic.name),
                }
            }
        }
        if settings_changed {
            let dynamic = crate::settings::dynamic(new, self.shared().node);
            self.doorkeeper.borrow_mut().follow(&self.shared().config.with_dynamic(&dynamic).0);
            let held: Vec<_> = self.partitions.borrow().keys().copied().collect();
            held.into_iter().for_each(|id| self.refresh_settings(new, id));
        }
    }

    fn follow_partition(self: &Rc<Self>, id: TopicPartition, state: &PartitionState) {
        if let Some(partition) = self.opened_partition(id) {
            partition.follow(state, self.shared().node);
        }
    }

    /// Puts aside what this node has of a partition that is gone.
    fn give_up(self: &Rc<Self>, id: TopicPartition, name: &str) {
        if self.owner(id) != self.index {
            return;
        }
        self.topic_settings.borrow_mut().remove(&id.topic);
        self.shared().moves.forget(name, id.partition);
        // One that is being opened is given up when it is open.
        if matches!(self.partitions.borrow().get(&id), Some(Slot::Opening(_))) {
            return;
        }
        let (open, delay_ms) = match self.partitions.borrow_mut().remove(&id) {
            Some(Slot::Open(open)) => (Some(open), None),
            Some(Slot::Resting(rested)) => (None, Some(rested.file_delete_delay_ms())),
            Some(Slot::Opening(_)) | None => (None, None),
        };
        info!(partition = %id.partition, topic = name, id = %id.topic, "deleting a partition");
        upkeep::put_aside(self, open, delay_ms, name.to_owned(), id);
    }

    fn refresh_settings(self: &Rc<Self>, image: &Image, id: TopicPartition) {
        if self.rests(id).is_some() {
            return self.refresh_resting(image, id);
        }
        if let Some(partition) = self.opened_partition(id) {
            let settings = self.settings(image, id.topic, &partition.name);
            partition.set_settings(settings);
            partition.time_flush_anew(self);
            cleaner::note(self, &partition);
        }
    }

    /// Other settings may make something due that was not.
    fn refresh_resting(self: &Rc<Self>, image: &Image, id: TopicPartition) {
        let Some(topic) = image.topics.by_id(id.topic) else { return };
        let settings = self.settings(image, id.topic, &topic.name);
        if let Some(Slot::Resting(rested)) = self.partitions.borrow_mut().get_mut(&id) {
            rested.follow(&settings);
        }
    }

    pub fn opened_partition(&self, id: TopicPartition) -> Option<Rc<Partition>> {
        match self.partitions.borrow().get(&id) {
            Some(Slot::Open(partition)) => Some(partition.clone()),
            _ => None,
        }
    }
}

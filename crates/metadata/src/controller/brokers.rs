//! What follows for partitions when a broker comes, goes, or stays silent.

use std::collections::BTreeSet;

use dohle_types::{BrokerEpoch, DirectoryId, NodeId};
use dohle_wire::messages::{BrokerRegistrationChangeRecord, UnregisterBrokerRecord};

use super::error::Result;
use super::turn::{Movement, Turn};
use crate::image::Broker;

impl Turn<'_> {
    /// Takes a broker out of every ISR and every leadership, and marks it as fenced.
    pub(super) fn fence(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<()> {
        self.take_out(id)?;
        let record = BrokerRegistrationChangeRecord { fenced: 1, ..change_of(id, epoch) };
        self.batch.push(record, 0)
    }

    /// Marks a broker as alive, and gives it the partitions that nobody else can lead.
    pub(super) fn unfence(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<()> {
        let record = BrokerRegistrationChangeRecord { fenced: -1, ..change_of(id, epoch) };
        self.batch.push(record, 0)?;
        let movement = Movement { arriving: Some(id), ..Movement::default() };
        self.move_leaders(movement, |_, _, partition| !partition.has_leader())
    }

    /// Moves leaderships away from a broker that wants to stop.
    pub(super) fn shut_down(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<()> {
        let begun = self.image().brokers.get(id).is_some_and(|broker| broker.in_controlled_shutdown);
        if !begun {
            let record = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change_of(id, epoch) };
            self.batch.push(record, 1)?;
        }
        self.take_out(id)
    }

    /// Clears away what a former incarnation held. One that did not stop cleanly may have lost what it had not flushed, and
    /// with eligible leader replicas that ends its eligibility (KIP-966).
    pub(super) fn end_incarnation(&mut self, id: NodeId, clean: bool) -> Result<()> {
        if clean || !self.image().features.elr_enabled() {
            return self.take_out(id);
        }
        let movement = Movement { unclean: Some(id), ..Movement::default() };
        self.move_leaders(movement, |_, _, partition| {
            partition.isr.contains(&id) || partition.elr.contains(&id)
        })
    }

    pub(super) fn unregister(&mut self, id: NodeId, epoch: BrokerEpoch) -> Result<()> {
        let movement = Movement { leaving: Some(id), ..Movement::default() };
        self.move_leaders(movement, |_, _, partition| {
            partition.isr.contains(&id) || partition.elr.contains(&id)
        })?;
        let record =
            UnregisterBrokerRecord { broker_id: id.get(), broker_epoch: epoch.get(), ..Default::default() };
        self.batch.push(record, 0)
    }

    /// Directories of a broker failed: what was in them is out of sync.
    pub(super) fn directories_offline(&mut self, broker: &Broker, offline: &[DirectoryId]) -> Result<()> {
        let (lost, online): (Vec<DirectoryId>, Vec<DirectoryId>) =
            broker.log_dirs.iter().copied().partition(|dir| offline.contains(dir));
        if lost.is_empty() {
            return Ok(());
        }
        let movement = Movement { leaving: Some(broker.id), ..Movement::default() };
        self.move_leaders(movement, |_, _, partition| {
            partition.directory_of(broker.id).is_some_and(|dir| lost.contains(&dir))
        })?;
        let record =
            BrokerRegistrationChangeRecord { log_dirs: online, ..change_of(broker.id, broker.epoch) };
        self.batch.push(record, 2)
    }

    /// Directories of a broker are there again: what lies in them and has no leader gets one. In Kafka that takes a restart.
    pub(super) fn directories_online(&mut self, id: NodeId, back: &BTreeSet<DirectoryId>) -> Result<()> {
        if back.is_empty() {
            return Ok(());
        }
        self.move_leaders(Movement::default(), |_, _, partition| {
            !partition.has_leader() && partition.directory_of(id).is_some_and(|dir| back.contains(&dir))
        })
    }

    pub(super) fn directories_cordoned(&mut self, broker: &Broker, cordoned: &[DirectoryId]) -> Result<()> {
        let as_set = |dirs: &[DirectoryId]| dirs.iter().copied().collect::<BTreeSet<_>>();
        if broker.cordoned_log_dirs.as_deref().is_some_and(|known| as_set(known) == as_set(cordoned)) {
            return Ok(());
        }
        let record = BrokerRegistrationChangeRecord {
            cordoned_log_dirs: Some(cordoned.to_vec()),
            ..change_of(broker.id, broker.epoch)
        };
        self.batch.push(record, 3)
    }

    fn take_out(&mut self, id: NodeId) -> Result<()> {
        let movement = Movement { leaving: Some(id), ..Movement::default() };
        self.move_leaders(movement, |_, _, partition| partition.isr.contains(&id))
    }
}

fn change_of(id: NodeId, epoch: BrokerEpoch) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord { broker_id: id.get(), broker_epoch: epoch.get(), ..Default::default() }
}

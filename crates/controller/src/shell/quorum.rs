//! What the quorum wants done, and what follows from what it says: store, commit, publish, answer.

use std::collections::VecDeque;
use std::sync::Arc;

use dohle_metadata::RequestContext;
use dohle_raft::{Effect, Event, Ticket};
use dohle_types::{ErrorCode, Offset, TimestampMs};
use dohle_wire::AnyResponse;
use tracing::{info, warn};

use super::{Committed, MAINTAIN_AFTER_MS, Shell};
use crate::error::StoreError;
use crate::handle::Refused;
use crate::{answers, codec, quorum_api, registration};

impl Shell {
    /// Appends what was decided, stores it, and goes on until nothing is left to do.
    pub(super) fn finish_turn(&mut self) -> Result<(), StoreError> {
        if self.is_offline() {
            return Ok(());
        }
        self.drive([Event::Tick].into())?;
        self.tick()?;
        self.idle()?;
        loop {
            self.propose()?;
            if std::mem::take(&mut self.activating) {
                self.activate()?;
            } else if let Some(flushed) = self.flush_wanted.take() {
                self.durable = self.store.flush()?;
                self.drive([flushed].into())?;
            } else {
                break;
            }
        }
        self.publish();
        self.release();
        self.start_snapshot();
        let now = self.env.clock.now();
        if self.maintain_at.is_some_and(|at| at <= now) {
            self.maintain_at = self.store.maintain(now, self.applied)?;
        }
        Ok(())
    }

    pub(super) fn propose(&mut self) -> Result<(), StoreError> {
        if self.proposal.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.proposal);
        self.step_all([Event::Propose { entries }].into())
    }

    /// Hands events to the quorum, after what was decided before them.
    pub(super) fn drive(&mut self, events: VecDeque<Event>) -> Result<(), StoreError> {
        self.propose()?;
        self.step_all(events)
    }

    pub(super) fn step_all(&mut self, mut events: VecDeque<Event>) -> Result<(), StoreError> {
        while let Some(event) = events.pop_front() {
            let now = self.now_ms();
            for effect in self.raft.step(now, event) {
                events.extend(self.perform(effect)?);
            }
        }
        // The quorum's own records took offsets that hold nothing for the core.
        if let Some(leading) = self.raft.leading().filter(|_| self.active && self.proposal.is_empty()) {
            self.core_end = leading.next_offset;
        }
        Ok(())
    }

    /// Does one thing the quorum wants, and gives what it has to be told of it.
    pub(super) fn perform(&mut self, effect: Effect) -> Result<Option<Event>, StoreError> {
        match effect {
            Effect::PersistElection(state) => {
                self.store.persist_election(state, self.raft.voters().kraft_version())?;
            }
            Effect::Append { entries } => {
                let leads = self.raft.leading().is_some();
                self.bytes_since_snapshot += self.store.append(entries, leads, self.env.clock.now())?;
                self.last_append = self.env.clock.tick();
                let soon = TimestampMs(self.env.clock.now().get() + MAINTAIN_AFTER_MS);
                self.maintain_at = self.maintain_at.or(Some(soon));
            }
            Effect::Flush { era, up_to } => self.flush_wanted = Some(Event::Flushed { era, up_to }),
            Effect::Truncate { end } => self.truncate(end)?,
            // A quorum of one has nobody to speak to; a voter to be is not reached.
            Effect::Send { call, .. } => return Ok(Some(Event::Unanswered { call })),
            Effect::Reply { ticket, response } => self.answer(ticket, response)?,
            Effect::HighWatermarkAdvanced { to } => self.apply(to)?,
            Effect::BecameLeader { epoch, start } => {
                info!(%epoch, %start, "this node leads the metadata quorum");
                self.activating = true;
                self.replay_log(self.store.end())?;
            }
            Effect::ResignedLeader { epoch } => {
                info!(%epoch, "this node no longer leads the metadata quorum");
                self.step_back();
            }
            Effect::LeaderChanged { leader, epoch } => self.status.send_modify(|status| {
                (status.leader, status.epoch) = (leader, epoch);
            }),
            Effect::StoreSnapshotChunk { id, position, bytes } => {
                self.store.store_chunk(id, position, &bytes)?
            }
            Effect::InstallSnapshot { id } => return self.install_snapshot(id).map(Some),
            Effect::Halt(fault) => return Err(StoreError::Fault(fault)),
        }
        Ok(None)
    }

    pub(super) fn truncate(&mut self, end: Offset) -> Result<(), StoreError> {
        assert!(end >= self.core_end, "the core of a follower holds only what is committed");
        self.store.truncate(end, self.env.clock.now())
    }

    pub(super) fn answer(
        &mut self,
        ticket: Ticket,
        response: dohle_raft::Response,
    ) -> Result<(), StoreError> {
        let Some(asking) = self.asking.remove(&ticket) else {
            return Ok(());
        };
        let filled = quorum_api::fill(&mut self.store, response)?;
        let _ = asking.answer.send(Ok(answers::response(asking.api, filled, &asking.asker)));
        Ok(())
    }

    /// Brings the core up to `end` of the log.
    pub(super) fn replay_log(&mut self, end: Offset) -> Result<(), StoreError> {
        while self.core_end < end {
            for batch in self.store.read(self.core_end, end)? {
                for record in codec::metadata_records(&batch) {
                    let (offset, record) = record?;
                    if offset >= self.core_end {
                        self.core.replay(&record, offset).map_err(codec::CodecError::from)?;
                    }
                }
                self.core_end = batch.header.next_offset();
                self.core_timestamp = batch.header.max_timestamp;
                self.bytes_since_snapshot += if self.active { 0 } else { batch.size() as u64 };
            }
        }
        Ok(())
    }

    /// Records below `to` are committed.
    pub(super) fn apply(&mut self, to: Offset) -> Result<(), StoreError> {
        self.replay_log(to)?;
        if self.core_end == to && self.proposal.is_empty() {
            self.image = self.core.image().clone();
        } else {
            self.apply_from_log(to)?;
        }
        self.applied = to;
        Ok(())
    }

    /// The core is further: the image is made from the log.
    pub(super) fn apply_from_log(&mut self, to: Offset) -> Result<(), StoreError> {
        let mut next = self.applied;
        while next < to {
            for batch in self.store.read(next, to)? {
                for record in codec::metadata_records(&batch) {
                    let (offset, record) = record?;
                    if offset >= self.applied {
                        self.image.replay(&record, offset).map_err(codec::CodecError::from)?;
                    }
                }
                next = batch.header.next_offset();
            }
        }
        Ok(())
    }

    /// The new leader's core has replayed the whole log: nothing of it will be taken back while it leads.
    pub(super) fn activate(&mut self) -> Result<(), StoreError> {
        if self.raft.leading().is_none() {
            return Ok(());
        }
        self.active = true;
        self.core_end = self.store.end();
        self.core.set_kraft_version(self.raft.voters().kraft_version());
        let records = self.core.activation_records(&self.bootstrap);
        // One batch: a cluster has all of its beginning or none.
        self.take_records(&records, true)?;
        let now = self.now();
        self.core.activate(now);
        self.register()?;
        self.tick()
    }

    /// Registers this controller with itself.
    pub(super) fn register(&mut self) -> Result<(), StoreError> {
        let Some(request) = registration::request(&self.settings, self.core.image()) else {
            return Ok(());
        };
        let (now, chance) = (self.now(), self.env.rng.u64());
        let context = RequestContext::default();
        let outcome = self.core.handle(now, self.core_end, chance, &context, &request, registration::VERSION);
        if let AnyResponse::ControllerRegistration(response) = &outcome.reply
            && response.error_code != ErrorCode::None.code()
        {
            warn!(code = response.error_code, message = ?response.error_message, "this controller is not registered");
        }
        self.take_records(&outcome.records, outcome.atomic)
    }

    /// What was decided and not committed may never be.
    pub(super) fn step_back(&mut self) {
        (self.active, self.activating) = (false, false);
        self.proposal.clear();
        self.core.reset_to(self.image.clone());
        self.core_end = self.applied;
        for owed in self.owed.drain(..) {
            let _ = owed.answer.send(Err(Refused::NotActive));
        }
    }

    pub(super) fn publish(&mut self) {
        let image = self.image.stable();
        if self.images.borrow().offset != image.offset {
            self.images.send_replace(Arc::new(image.clone()));
        }
        let mut now = self.status.borrow().clone();
        (now.active, now.end, now.last_applied) = (self.active, self.store.end(), image.offset);
        now.high_watermark = self.raft.high_watermark();
        now.kraft_version = self.raft.voters().kraft_version();
        self.status.send_if_modified(|status| {
            let changed = *status != now;
            *status = now;
            changed
        });
    }

    pub(super) fn release(&mut self) {
        let committed = Committed::new(self.applied, self.durable);
        while self.owed.front().is_some_and(|owed| owed.needs <= committed.up_to) {
            self.owed.pop_front().expect("looked at above").release(committed);
        }
    }
}

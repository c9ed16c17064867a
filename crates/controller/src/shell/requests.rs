//! Requests: whose they are, what they come to, and what the controller does unasked.

use dohle_metadata::{ApiError, Controller, RequestContext};
use dohle_raft::{Event, Ticket};
use dohle_types::ErrorCode;
use dohle_wire::messages::NoOpRecord;
use dohle_wire::{AnyRequest, MetadataRecord};

use super::{AnswerSender, Asking, Owed, Shell};
use crate::answers::{Asker, QuorumApi};
use crate::error::StoreError;
use crate::handle::{Asked, Refused};
use crate::{codec, quorum_api, translate};

impl Shell {
    pub(super) fn ask(&mut self, asked: Asked) -> Result<(), StoreError> {
        let Asked { context, version, request, answer } = asked;
        if answer.is_closed() {
            return Ok(());
        }
        if self.is_offline() {
            let _ = answer.send(Err(Refused::Offline));
            return Ok(());
        }
        if let AnyRequest::DescribeQuorum(request) = &request {
            let described = self.raft.describe(self.now_ms());
            let clocks = (self.now_ms(), self.env.clock.now());
            let _ =
                answer.send(Ok(quorum_api::describe_quorum(request, described.as_ref(), clocks, version)));
            return Ok(());
        }
        match translate::request(&request, version) {
            Some(Ok(quorums)) => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                let asker = Asker { version, listener: context.listener };
                self.asking.insert(ticket, Asking { answer, asker, api: QuorumApi::of(&quorums) });
                self.drive([Event::Request { ticket, request: quorums }].into())
            }
            Some(Err(response)) => {
                let _ = answer.send(Ok(*response));
                Ok(())
            }
            None => self.decide(&context, version, &request, answer),
        }
    }

    /// Lets the controller decide, and takes the records up at once.
    pub(super) fn decide(
        &mut self,
        context: &RequestContext,
        version: i16,
        request: &AnyRequest,
        answer: AnswerSender,
    ) -> Result<(), StoreError> {
        if !Controller::serves(request.key()) {
            let _ = answer.send(Err(Refused::Unknown));
            return Ok(());
        }
        if !self.active {
            let refusal = Controller::refusal(request, version, &ApiError::bare(ErrorCode::NotController));
            let _ = answer.send(Ok(refusal));
            return Ok(());
        }
        let (now, chance) = (self.now(), self.env.rng.u64());
        let outcome = self.core.handle(now, self.core_end, chance, context, request, version);
        self.take_records(&outcome.records, outcome.atomic)?;
        if let Some(level) = outcome.kraft_upgrade {
            if !self.raft.can_raise_kraft_version(level) {
                let refusal =
                    Controller::refusal(request, version, &ApiError::bare(ErrorCode::InvalidUpdateVersion));
                let _ = answer.send(Ok(refusal));
                return Ok(());
            }
            self.drive([Event::RaiseKRaftVersion { level }].into())?;
            self.core.set_kraft_version(level);
        }
        // What only reads also waits: what it has read may not be committed.
        self.owed.push_back(Owed { needs: self.core_end, reply: outcome.reply, answer });
        Ok(())
    }

    /// Replays records into the core, and makes the batches that carry them.
    pub(super) fn take_records(
        &mut self,
        records: &[(MetadataRecord, i16)],
        atomic: bool,
    ) -> Result<(), StoreError> {
        let size = if atomic { records.len().max(1) } else { codec::MAX_RECORDS_PER_BATCH };
        let now = self.env.clock.now();
        for records in records.chunks(size) {
            let leading = self.raft.leading().expect("only the leader decides");
            let batch = codec::metadata_batch(records, now, self.core_end, leading.epoch);
            for (record, _) in records {
                self.core.replay(record, self.core_end).map_err(codec::CodecError::from)?;
                self.core_end = self.core_end.next();
            }
            self.core_timestamp = now;
            self.proposal.push(codec::entry_of(&batch, Vec::new()));
        }
        Ok(())
    }

    /// What the active controller does unasked.
    pub(super) fn tick(&mut self) -> Result<(), StoreError> {
        if !self.active {
            return Ok(());
        }
        let (now, chance) = (self.now(), self.env.rng.u64());
        let tick = self.core.tick(now, self.core_end, chance);
        self.tick_at = tick.next;
        self.take_records(&tick.records, false)
    }

    /// Tells those who follow that this controller is there, when nothing else has for a while.
    pub(super) fn idle(&mut self) -> Result<(), StoreError> {
        match self.idle_due() {
            Some(due) if due <= self.env.clock.tick().millis() => {
                self.take_records(&[(NoOpRecord::default().into(), 0)], true)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn idle_due(&self) -> Option<u64> {
        let interval =
            self.settings.idle_interval_ms.filter(|_| self.active && self.raft.is_followed(self.now_ms()))?;
        Some(self.last_append.millis() + interval)
    }
}

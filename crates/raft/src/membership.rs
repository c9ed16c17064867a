//! Changes of the voters, one at a time (KIP-853). A new set counts from the moment the leader has written it; the next change
//! waits until it is committed.

use dohle_types::{ErrorCode, NodeId, Offset};

use crate::connections::Subject;
use crate::event::Ticket;
use crate::message::{
    AddVoterRequest, ChangeResult, ControlRecord, RemoveVoterRequest, Request, Response, UpdateVoterRequest,
};
use crate::raft::Raft;
use crate::role::{ChangeKind, PendingChange, Role};
use crate::voters::{Endpoint, KRaftVersions, Replica, Voter, VoterSet};

/// A replica counts as caught up when it has fetched within this time and had then everything at some point.
const CAUGHT_UP_WITHIN_MS: u64 = 3_600_000;

impl Raft {
    pub(crate) fn on_add_voter(&mut self, ticket: Ticket, request: AddVoterRequest) {
        if let Err(result) = self.start_adding(ticket, request) {
            self.reply(ticket, Response::AddVoter(result));
        }
    }

    fn start_adding(&mut self, ticket: Ticket, request: AddVoterRequest) -> Result<(), ChangeResult> {
        self.check_changeable(request.cluster_id.as_deref())?;
        check_voter(request.voter, "Add")?;
        let endpoint = self.quorum_endpoint(&request.endpoints).ok_or_else(|| {
            let listener = self.listener().unwrap_or_default();
            let message =
                format!("Add voter request didn't include the endpoint for the default listener {listener}");
            ChangeResult::failed(ErrorCode::InvalidRequest, message)
        })?;
        self.check_settled("adding")?;
        let voters = self.voters.latest();
        if voters.get(request.voter.id).is_some() {
            let message =
                format!("The voter id for {} is already part of the set of voters {voters}.", request.voter);
            return Err(ChangeResult::failed(ErrorCode::DuplicateVoter, message));
        }
        let peer = crate::event::Peer { id: request.voter.id, endpoint };
        if !self.send(peer, Subject::ApiVersions, |_| Request::ApiVersions) {
            let message = format!("New voter {} is not ready to receive requests", request.voter);
            return Err(ChangeResult::failed(ErrorCode::RequestTimedOut, message));
        }
        let kind = ChangeKind::Add {
            voter: request.voter,
            endpoints: request.endpoints,
            ack_when_committed: request.ack_when_committed,
        };
        self.set_change(ticket, kind, None);
        Ok(())
    }

    /// The voter to be has said what it understands, or has not answered.
    pub(crate) fn on_voter_versions(&mut self, peer: NodeId, versions: Option<Option<KRaftVersions>>) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let is_expected = leader.change.as_ref().is_some_and(|change| {
            change.written.is_none()
                && matches!(&change.kind, ChangeKind::Add { voter, .. } if voter.id == peer)
        });
        if !is_expected {
            return;
        }
        let mut change = leader.change.take().expect("looked at above");
        let ChangeKind::Add { voter, endpoints, ack_when_committed } = &change.kind else {
            unreachable!("looked at above")
        };
        match self.admissible(*voter, versions) {
            Err(result) => self.reply(change.ticket, Response::AddVoter(result)),
            Ok(kraft_versions) => {
                let voter = Voter { replica: *voter, endpoints: endpoints.clone(), kraft_versions };
                let voters = self.voters.latest().with(voter).expect("no other change was let in");
                let is_answered = !ack_when_committed;
                if is_answered {
                    self.reply(change.ticket, Response::AddVoter(ChangeResult::done()));
                }
                let written = self.append_voters(voters);
                change.written = Some(written);
                if let Role::Leader(leader) = &mut self.role
                    && !is_answered
                {
                    leader.change = Some(change);
                }
            }
        }
    }

    fn admissible(
        &self,
        voter: Replica,
        versions: Option<Option<KRaftVersions>>,
    ) -> Result<KRaftVersions, ChangeResult> {
        let Some(versions) = versions else {
            let message = format!("Aborted add voter operation for {voter} since it did not answer");
            return Err(ChangeResult::failed(ErrorCode::RequestTimedOut, message));
        };
        let level = self.voters.kraft_version();
        let versions = versions.unwrap_or(KRaftVersions { min: 0, max: 0 });
        if !versions.contains(level) {
            let message = format!(
                "Aborted add voter operation for {voter} since the kraft.version range (min: {}, max: {}) doesn't support the \
                 finalized version {level}",
                versions.min, versions.max
            );
            return Err(ChangeResult::failed(ErrorCode::InvalidRequest, message));
        }
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader admits voters") };
        let caught_up = leader.progress(voter).is_some_and(|progress| {
            let recent = progress.last_fetch.is_some_and(|last| self.now.since(last) < CAUGHT_UP_WITHIN_MS);
            recent && progress.caught_up.is_some()
        });
        if !caught_up {
            let message = format!("Aborted add voter operation for {voter} since it is lagging behind");
            return Err(ChangeResult::failed(ErrorCode::RequestTimedOut, message));
        }
        Ok(versions)
    }

    pub(crate) fn on_remove_voter(&mut self, ticket: Ticket, request: &RemoveVoterRequest) {
        match self.check_removal(request) {
            Err(result) => self.reply(ticket, Response::RemoveVoter(result)),
            Ok(voters) => {
                let written = self.append_voters(voters);
                self.set_change(ticket, ChangeKind::Remove, Some(written));
            }
        }
    }

    fn check_removal(&mut self, request: &RemoveVoterRequest) -> Result<VoterSet, ChangeResult> {
        self.check_changeable(request.cluster_id.as_deref())?;
        check_voter(request.voter, "Remove")?;
        self.check_settled("removing")?;
        let voters = self.voters.latest();
        voters.without(request.voter).ok_or_else(|| {
            let message = format!("Cannot remove voter {} from the set of voters {voters}", request.voter);
            ChangeResult::failed(ErrorCode::VoterNotFound, message)
        })
    }

    pub(crate) fn on_update_voter(&mut self, ticket: Ticket, request: UpdateVoterRequest) {
        let error = match self.check_update(request) {
            Ok(voters) => {
                self.append_voters(voters);
                ErrorCode::None
            }
            Err(error) => error,
        };
        let standing = self.standing(error);
        self.reply(ticket, Response::UpdateVoter(standing));
    }

    fn check_update(&mut self, request: UpdateVoterRequest) -> Result<VoterSet, ErrorCode> {
        if !self.is_our_cluster(request.cluster_id.as_deref()) {
            return Err(ErrorCode::InconsistentClusterId);
        }
        if let Some(error) = self.leader_error(request.epoch) {
            return Err(error);
        }
        let versions = request.kraft_versions;
        let is_valid = check_voter(request.voter, "Update").is_ok()
            && self.quorum_endpoint(&request.endpoints).is_some()
            && versions.min >= 0
            && versions.max >= versions.min;
        if !is_valid {
            return Err(ErrorCode::InvalidRequest);
        }
        self.check_settled("updating").map_err(|result| result.error)?;
        if !versions.contains(self.voters.kraft_version()) {
            return Err(ErrorCode::InvalidRequest);
        }
        let voter = Voter {
            replica: request.voter,
            endpoints: request.endpoints,
            kraft_versions: request.kraft_versions,
        };
        self.voters.latest().updated(voter).ok_or(ErrorCode::VoterNotFound)
    }

    /// Whether `kraft.version` can be raised now. From level 1 on the log names the voters with their directories; a leader knows
    /// its own, so that it can write them down when it is the only one.
    pub fn can_raise_kraft_version(&self, level: i16) -> bool {
        let is_settled = matches!(&self.role, Role::Leader(leader) if leader.high_watermark.is_some());
        let is_higher = level > self.voters.kraft_version() && KRaftVersions::SUPPORTED.contains(level);
        is_settled && is_higher && self.is_only_voter()
    }

    pub(crate) fn raise_kraft_version(&mut self, level: i16) {
        assert!(self.can_raise_kraft_version(level), "only what was allowed is asked for");
        let voters = self.voters.latest().updated(self.local_voter()).expect("it is the only voter");
        self.append_control(vec![ControlRecord::KRaftVersion(level), ControlRecord::Voters(voters)]);
    }

    fn check_changeable(&self, cluster_id: Option<&str>) -> Result<(), ChangeResult> {
        if !self.is_our_cluster(cluster_id) {
            let message = format!(
                "The given id \"{}\" doesn't match the cluster id \"{}\"",
                cluster_id.unwrap_or_default(),
                self.settings.cluster_id
            );
            return Err(ChangeResult::failed(ErrorCode::InconsistentClusterId, message));
        }
        match self.leader_error(self.epoch()) {
            Some(error) => Err(ChangeResult { error, message: None }),
            None => Ok(()),
        }
    }

    /// Whether the voters can be changed now: this leader knows what is committed, and that includes the latest voters.
    fn check_settled(&mut self, what: &str) -> Result<(), ChangeResult> {
        self.expire_change();
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader changes voters") };
        let timed_out = |message: String| Err(ChangeResult::failed(ErrorCode::RequestTimedOut, message));
        if leader.change.is_some() {
            return timed_out(
                "Request timed out waiting for leader to handle previous voter change request".to_owned(),
            );
        }
        let Some(high_watermark) = leader.high_watermark else {
            return timed_out(
                "Request timed out waiting for leader to establish HWM and fence previous voter changes"
                    .to_owned(),
            );
        };
        let level = self.voters.kraft_version();
        if level < 1 {
            let message =
                format!("Cluster doesn't support {what} voter because the kraft.version feature is {level}");
            return Err(ChangeResult::failed(ErrorCode::UnsupportedVersion, message));
        }
        match self.voters.latest_offset() {
            Some(offset) if offset < high_watermark => Ok(()),
            offset => {
                let at = offset.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
                timed_out(format!(
                    "Request timed out waiting for voters to commit the latest voter change at {at} with HWM {high_watermark}"
                ))
            }
        }
    }

    fn quorum_endpoint(&self, endpoints: &[Endpoint]) -> Option<Endpoint> {
        let name = self.listener()?;
        endpoints.iter().find(|endpoint| endpoint.name == name).cloned()
    }

    fn set_change(&mut self, ticket: Ticket, kind: ChangeKind, written: Option<Offset>) {
        let deadline = self.now + self.settings.request_timeout_ms;
        if let Role::Leader(leader) = &mut self.role {
            leader.change = Some(PendingChange { ticket, kind, deadline, written });
        }
        self.wake(deadline);
        // A single voter may have what it needs already.
        if let Some(committed) = self.role.high_watermark() {
            self.finish_change(committed);
        }
    }

    /// What was changed is committed.
    pub(crate) fn finish_change(&mut self, committed: Offset) {
        let local = self.local();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let done = leader.change.take_if(|change| change.written.is_some_and(|written| written < committed));
        let voters_committed = self.voters.latest_offset().is_some_and(|offset| offset < committed);
        leader.resigning = voters_committed && !self.voters.latest().contains(local);
        if let Some(change) = done {
            self.answer_change(&change, ChangeResult::done());
        }
    }

    pub(crate) fn expire_change(&mut self) {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        match leader.change.take_if(|change| change.deadline <= now) {
            Some(change) => {
                self.answer_change(&change, ChangeResult { error: ErrorCode::RequestTimedOut, message: None })
            }
            None => {
                if let Some(due) = leader.change.as_ref().map(|change| change.deadline) {
                    self.wake(due);
                }
            }
        }
    }

    pub(crate) fn fail_change(&mut self, change: &PendingChange, error: ErrorCode, message: &str) {
        self.answer_change(change, ChangeResult::failed(error, message));
    }

    fn answer_change(&mut self, change: &PendingChange, result: ChangeResult) {
        let response = match change.kind {
            ChangeKind::Add { .. } => Response::AddVoter(result),
            ChangeKind::Remove => Response::RemoveVoter(result),
        };
        self.reply(change.ticket, response);
    }
}

fn check_voter(voter: Replica, what: &str) -> Result<(), ChangeResult> {
    if voter.id.0 < 0 || voter.directory.is_zero() {
        let message = format!("{what} voter request didn't include a valid voter");
        return Err(ChangeResult::failed(ErrorCode::InvalidRequest, message));
    }
    Ok(())
}

//! Elections: Vote and its pre-vote, BeginQuorumEpoch, EndQuorumEpoch, and what every answer tells of the quorum.

use dohle_types::{ErrorCode, LeaderEpoch, NodeId};

use crate::connections::Subject;
use crate::event::{Call, Effect, TickMs, Ticket};
use crate::message::{
    BeginQuorumEpochRequest, EndQuorumEpochRequest, Request, Response, Standing, VoteRequest,
};
use crate::raft::Raft;
use crate::role::{Plea, Role};
use crate::voters::{Endpoint, Replica};

/// The check-quorum time as a multiple of the fetch timeout, in halves: tolerance for the way of the messages.
const CHECK_QUORUM_HALVES: u64 = 3;

impl Raft {
    pub(crate) fn on_vote_request(&mut self, ticket: Ticket, request: &VoteRequest) {
        let last_epoch_fits = if request.pre_vote {
            request.last.epoch <= request.epoch
        } else {
            request.last.epoch < request.epoch
        };
        let is_valid = request.last.offset.0 >= 0 && request.last.epoch.0 >= 0 && last_epoch_fits;
        let error = if is_valid {
            self.voter_error(request.candidate.id, request.epoch)
        } else {
            Some(ErrorCode::InvalidRequest)
        };
        if let Some(error) = error {
            self.reply_vote(ticket, error, false);
            return;
        }
        if request.epoch > self.epoch() {
            self.enter_epoch(request.epoch);
        }
        if !self.is_meant(request.voter) {
            self.reply_vote(ticket, ErrorCode::InvalidVoterKey, false);
            return;
        }
        let up_to_date = request.last >= self.log.last_point();
        let plea = Plea { candidate: request.candidate, up_to_date, pre_vote: request.pre_vote };
        let granted = self.role.grants(plea);
        if granted && !request.pre_vote {
            self.remember_vote(request.candidate);
        }
        self.reply_vote(ticket, ErrorCode::None, granted);
    }

    fn reply_vote(&mut self, ticket: Ticket, error: ErrorCode, granted: bool) {
        let standing = self.standing(error);
        self.reply(ticket, Response::Vote { standing, granted });
    }

    fn remember_vote(&mut self, candidate: Replica) {
        let fresh = matches!(&self.role, Role::Unattached(role) if role.voted.is_none())
            || matches!(&self.role, Role::Prospective(role) if role.voted.is_none());
        if !fresh {
            return;
        }
        let patience = self.election_deadline();
        self.transition(|role| match role {
            Role::Unattached(role) => Role::Unattached(role.vote_for(candidate, patience)),
            Role::Prospective(role) => Role::Unattached(role.vote_for(candidate, patience)),
            other => other,
        });
    }

    pub(crate) fn on_begin_quorum_epoch_request(
        &mut self,
        ticket: Ticket,
        request: &BeginQuorumEpochRequest,
    ) {
        let error = self.hear_of_leader(request.leader, request.epoch, &request.endpoints, request.voter);
        let standing = self.standing(error);
        self.reply(ticket, Response::BeginQuorumEpoch(standing));
    }

    pub(crate) fn on_end_quorum_epoch_request(&mut self, ticket: Ticket, request: &EndQuorumEpochRequest) {
        let error = self.hear_of_leader(request.leader, request.epoch, &request.endpoints, None);
        let delay = self.succession_delay(&request.preferred);
        let now = self.now;
        if let Role::Follower(role) = &mut self.role
            && error == ErrorCode::None
            && role.leader == request.leader
        {
            role.fetch_deadline = now + delay;
            // The leader itself says that it is gone: whoever asks for a pre-vote now has a point.
            role.heard_from_leader = false;
        }
        let standing = self.standing(error);
        self.reply(ticket, Response::EndQuorumEpoch(standing));
    }

    /// How long to leave it to better successors: the first tries at once, the last after the full election timeout.
    fn succession_delay(&self, preferred: &[Replica]) -> u64 {
        let local = self.local();
        let Some(position) = preferred.iter().position(|replica| replica.is(local)) else {
            return self.settings.election_timeout_ms;
        };
        let last = preferred.len() - 1;
        if position == 0 { 0 } else { self.settings.election_timeout_ms >> (last - position).min(63) }
    }

    /// Someone says that it leads. Gives the error to answer with.
    fn hear_of_leader(
        &mut self,
        leader: NodeId,
        epoch: LeaderEpoch,
        endpoints: &[Endpoint],
        voter: Option<Replica>,
    ) -> ErrorCode {
        if let Some(error) = self.voter_error(leader, epoch) {
            return error;
        }
        if !self.agrees(leader, epoch) {
            return ErrorCode::InvalidRequest;
        }
        self.follow_if_new(Some(leader), epoch, endpoints);
        if self.is_meant(voter) { ErrorCode::None } else { ErrorCode::InvalidVoterKey }
    }

    fn voter_error(&self, from: NodeId, epoch: LeaderEpoch) -> Option<ErrorCode> {
        if epoch < self.epoch() {
            Some(ErrorCode::FencedLeaderEpoch)
        } else if from.0 < 0 || from == self.local().id {
            Some(ErrorCode::InvalidRequest)
        } else {
            None
        }
    }

    /// Whether a request names us, if it names anyone.
    fn is_meant(&self, voter: Option<Replica>) -> bool {
        voter.is_none_or(|voter| voter.is(self.local()))
    }

    /// Whether what someone says of the leader can be true beside what is known: an epoch has one leader.
    fn agrees(&self, leader: NodeId, epoch: LeaderEpoch) -> bool {
        epoch != self.epoch() || self.leader().is_none_or(|known| known == leader) && !self.has_led(epoch)
    }

    fn has_led(&self, epoch: LeaderEpoch) -> bool {
        matches!(&self.role, Role::Resigned(role) if role.epoch == epoch)
    }

    pub(crate) fn enter_epoch(&mut self, epoch: LeaderEpoch) {
        let patience = self.election_deadline();
        let election = self.is_voter().then_some(patience);
        self.transition(|role| role.into_unattached(epoch, election));
    }

    /// Takes up what is new of the leader and the epoch.
    fn follow_if_new(&mut self, leader: Option<NodeId>, epoch: LeaderEpoch, endpoints: &[Endpoint]) {
        match leader {
            Some(leader) if leader != self.local().id => {
                let is_new = epoch > self.epoch() || self.leader().is_none();
                // A follower that has given up on a leader takes it back when it shows up again.
                let is_back = epoch == self.epoch() && matches!(self.role, Role::Prospective(_));
                if is_new || is_back {
                    let deadline = self.now + self.settings.fetch_timeout_ms;
                    self.transition(|role| role.into_follower(leader, epoch, deadline));
                }
                if !endpoints.is_empty() {
                    self.leader_endpoints = endpoints.to_vec();
                }
            }
            _ if epoch > self.epoch() => self.enter_epoch(epoch),
            _ => {}
        }
    }

    /// What all answers have in common. Gives whether there is more in it for who asked.
    fn take_standing(&mut self, standing: &Standing) -> bool {
        if standing.epoch < self.epoch() || standing.error == ErrorCode::UnknownLeaderEpoch {
            return false;
        }
        let local = self.local().id;
        if standing.leader.is_some_and(|leader| leader != local && !self.agrees(leader, standing.epoch)) {
            return false;
        }
        let is_other = standing.epoch > self.epoch()
            || matches!(standing.error, ErrorCode::FencedLeaderEpoch | ErrorCode::NotLeaderOrFollower);
        if is_other {
            self.follow_if_new(standing.leader, standing.epoch, &standing.endpoints);
            return false;
        }
        if standing.leader.is_some() && self.leader().is_none() {
            self.follow_if_new(standing.leader, standing.epoch, &standing.endpoints);
        }
        standing.error == ErrorCode::None
    }

    pub(crate) fn on_response(&mut self, call: Call, response: Response) {
        let Some((peer, subject)) = self.connections.close(call) else {
            return;
        };
        let useful = match (subject, response) {
            (Subject::Vote { pre_vote: true }, Response::Rejected(ErrorCode::UnsupportedVersion)) => {
                // A voter that knows no pre-vote has none to refuse.
                self.record_vote(peer, true);
                true
            }
            (Subject::Vote { pre_vote }, Response::Vote { standing, granted }) => {
                let useful = self.take_standing(&standing);
                let counts = match &self.role {
                    Role::Prospective(_) => pre_vote,
                    Role::Candidate(_) => !pre_vote,
                    _ => false,
                };
                if useful && counts && standing.epoch == self.epoch() {
                    self.record_vote(peer, granted);
                }
                useful
            }
            (Subject::BeginQuorumEpoch, Response::BeginQuorumEpoch(standing)) => {
                let useful = self.take_standing(&standing);
                if let Role::Leader(leader) = &mut self.role
                    && useful
                    && let Some(progress) = leader.voters.get_mut(&peer)
                {
                    progress.acknowledged = true;
                }
                useful
            }
            (Subject::EndQuorumEpoch, Response::EndQuorumEpoch(standing)) => {
                let useful = self.take_standing(&standing);
                if let Role::Resigned(role) = &mut self.role
                    && useful
                {
                    role.unaware.remove(&peer);
                }
                useful
            }
            (Subject::Fetch, Response::Fetch(response)) => {
                let useful = self.take_standing(&response.standing);
                useful && self.on_fetched(peer, response)
            }
            (Subject::FetchSnapshot, Response::FetchSnapshot(response)) => {
                if response.standing.epoch == self.epoch() {
                    self.on_snapshot_error(response.standing.error, response.id);
                }
                let useful = self.take_standing(&response.standing);
                useful && self.on_snapshot_chunk(peer, response)
            }
            (Subject::ApiVersions, Response::ApiVersions(versions)) => {
                self.on_voter_versions(peer, Some(versions));
                true
            }
            (subject, _) => {
                self.on_unanswered(peer, subject);
                true
            }
        };
        if !useful && self.connections.busy_until(peer, self.now).is_none() {
            self.connections.pause(peer, self.now + self.settings.retry_backoff_ms);
        }
    }

    pub(crate) fn on_unanswered(&mut self, peer: NodeId, subject: Subject) {
        self.connections.pause(peer, self.now + self.settings.retry_backoff_ms);
        if subject == Subject::ApiVersions {
            self.on_voter_versions(peer, None);
        }
    }

    fn record_vote(&mut self, peer: NodeId, granted: bool) {
        match &mut self.role {
            Role::Prospective(role) => role.ballot.record(peer, granted),
            Role::Candidate(role) => role.ballot.record(peer, granted),
            _ => {}
        }
    }

    /// Prospective and candidate: win, lose, or go on asking. Gives whether the role has changed.
    pub(crate) fn poll_election(&mut self) -> bool {
        let (ballot, due, pre_vote) = match &self.role {
            Role::Prospective(role) => (&role.ballot, role.election, true),
            Role::Candidate(role) => (&role.ballot, role.election, false),
            _ => unreachable!("only who holds a ballot is polled for it"),
        };
        let (is_won, is_over) = (ballot.is_won(), ballot.is_lost() || due <= self.now);
        let unanswered = ballot.unanswered();
        if is_won {
            self.win_election(pre_vote);
            return true;
        }
        if is_over {
            self.lose_election();
            return true;
        }
        self.wake(due);
        if let Role::Prospective(role) = &self.role
            && role.ask_from > self.now
        {
            let ask_from = role.ask_from;
            self.wake(ask_from);
            return false;
        }
        for voter in unanswered {
            self.ask_for_vote(voter, pre_vote);
        }
        false
    }

    fn ask_for_vote(&mut self, voter: Replica, pre_vote: bool) {
        let Some(peer) = self.peer(voter.id) else {
            return;
        };
        self.send(peer, Subject::Vote { pre_vote }, |raft| {
            Request::Vote(VoteRequest {
                cluster_id: Some(raft.settings.cluster_id.clone()),
                voter: Some(voter),
                candidate: raft.local(),
                epoch: raft.epoch(),
                last: raft.log.last_point(),
                pre_vote,
            })
        });
    }

    fn win_election(&mut self, pre_vote: bool) {
        let (local, voters, patience) = (self.local(), self.latest_voters(), self.election_deadline());
        if pre_vote {
            self.transition(|role| match role {
                Role::Prospective(role) => Role::Candidate(role.stand(local, &voters, patience)),
                other => other,
            });
            return;
        }
        let (start, now, check_quorum) = (self.log.end(), self.now, self.check_quorum_deadline());
        self.transition(|role| match role {
            Role::Candidate(role) => Role::Leader(Box::new(role.win(start, &voters, check_quorum, now))),
            other => other,
        });
        self.effects.push(Effect::BecameLeader { epoch: self.epoch(), start });
        self.append_start_of_epoch();
    }

    fn lose_election(&mut self) {
        let (voters, patience) = (self.latest_voters(), self.election_deadline());
        // Candidates that have taken each other's votes must not meet again at once.
        let ask_from =
            self.now + self.election_deadline().since(self.now + self.settings.election_timeout_ms);
        let fetch_deadline = self.now + self.settings.fetch_timeout_ms;
        self.transition(|role| match role {
            Role::Prospective(role) => role.give_up(patience, fetch_deadline),
            Role::Candidate(role) => Role::Prospective(role.lose(&voters, ask_from, patience)),
            other => other,
        });
    }

    pub(crate) fn check_quorum_deadline(&self) -> TickMs {
        self.now + self.settings.fetch_timeout_ms * CHECK_QUORUM_HALVES / 2
    }

    pub(crate) fn send_end_quorum_epoch(&mut self) {
        let Role::Resigned(role) = &self.role else {
            return;
        };
        let (unaware, preferred) = (role.unaware.clone(), role.preferred.clone());
        for id in unaware {
            let Some(peer) = self.peer(id) else {
                continue;
            };
            self.send(peer, Subject::EndQuorumEpoch, |raft| {
                Request::EndQuorumEpoch(EndQuorumEpochRequest {
                    cluster_id: Some(raft.settings.cluster_id.clone()),
                    leader: raft.local().id,
                    epoch: raft.epoch(),
                    preferred: preferred.clone(),
                    endpoints: raft.settings.endpoints.clone(),
                })
            });
        }
    }

    /// Tells the voters that do not fetch who leads.
    pub(crate) fn send_begin_quorum_epoch(&mut self) {
        let interval = self.settings.fetch_timeout_ms / 2;
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.voters.is_empty() {
            return;
        }
        let is_due = leader.announce_at <= now;
        if is_due {
            leader.announce_at = now + interval;
        }
        let silent = leader.voters.values().filter(|progress| {
            !progress.acknowledged
                || is_due && progress.last_fetch.is_none_or(|last| now.since(last) >= interval)
        });
        let silent: Vec<Replica> = silent.map(|progress| progress.replica).collect();
        let next = leader.announce_at;
        self.wake(next);
        for voter in silent {
            let Some(peer) = self.peer(voter.id) else {
                continue;
            };
            self.send(peer, Subject::BeginQuorumEpoch, |raft| {
                Request::BeginQuorumEpoch(BeginQuorumEpochRequest {
                    cluster_id: Some(raft.settings.cluster_id.clone()),
                    voter: Some(voter),
                    leader: raft.local().id,
                    epoch: raft.epoch(),
                    endpoints: raft.settings.endpoints.clone(),
                })
            });
        }
    }
}

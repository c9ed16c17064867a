//! The replica: its state, the step, the timers and the transitions. What the roles do with messages is in `election`,
//! `leading`, `following` and `membership`.

use dohle_types::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::connections::Connections;
use crate::event::{Effect, ElectionState, Event, TailEra, TickMs, Ticket};
use crate::message::{Request, Response, Standing};
use crate::role::{Role, Unattached};
use crate::settings::{Recovered, Settings};
use crate::shape::LogShape;
use crate::voters::{Endpoint, Replica, VoterHistory, VoterSet};

/// How many roles a step can pass through, with room to spare; more would be a circle.
const MAX_TRANSITIONS: u32 = 8;

/// One replica of the metadata quorum. See the crate's documentation for the roles and the contract of [`Effect`].
#[derive(Clone, Debug)]
pub struct Raft {
    pub(crate) settings: Settings,
    pub(crate) role: Role,
    pub(crate) log: LogShape,
    pub(crate) voters: VoterHistory,
    pub(crate) connections: Connections,
    /// Where the present leader listens, as it or others have said.
    pub(crate) leader_endpoints: Vec<Endpoint>,
    /// What the shell has been told is committed. Never falls.
    pub(crate) announced: Option<Offset>,
    pub(crate) now: TickMs,
    pub(crate) effects: Vec<Effect>,
    persisted: ElectionState,
    era: TailEra,
    flush_asked: Offset,
    wake_at: Option<TickMs>,
    chance: u64,
    pub(crate) next_bootstrap: usize,
}

/// The leader's side of a proposal: what it appends next has to carry these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leading {
    pub epoch: LeaderEpoch,
    pub next_offset: Offset,
}

impl Raft {
    /// Takes part with what was found on disk. `chance` seeds the election timeouts. The only voter leads when this returns.
    pub fn start(settings: Settings, recovered: Recovered, chance: u64, now: TickMs) -> (Self, Vec<Effect>) {
        let Recovered { election, log, voters } = recovered;
        let end = log.end();
        let mut raft = Self {
            announced: log.latest_snapshot().map(|id| id.offset),
            settings,
            role: Role::default(),
            log,
            voters,
            connections: Connections::default(),
            leader_endpoints: Vec::new(),
            now,
            effects: Vec::new(),
            persisted: election,
            era: TailEra(0),
            flush_asked: end,
            wake_at: None,
            chance,
            next_bootstrap: 0,
        };
        raft.role = raft.role_after_restart(election);
        let effects = raft.finish_step();
        (raft, effects)
    }

    /// Takes one event. The effects are to be performed in order.
    pub fn step(&mut self, now: TickMs, event: Event) -> Vec<Effect> {
        self.now = self.now.max(now);
        match event {
            Event::Tick => {}
            Event::Request { ticket, request } => self.on_request(ticket, request),
            Event::Response { call, response } => self.on_response(call, response),
            Event::Unanswered { call } => {
                if let Some((peer, subject)) = self.connections.close(call) {
                    self.on_unanswered(peer, subject);
                }
            }
            Event::Propose { entries } => self.on_propose(entries),
            Event::Flushed { era, up_to } => {
                if era == self.era {
                    self.log.mark_flushed(up_to);
                    self.on_flushed();
                }
            }
            Event::SnapshotTaken { id } => {
                assert!(
                    self.announced.is_some_and(|committed| id.offset <= committed),
                    "a snapshot is of committed records"
                );
                self.log.add_snapshot(id);
            }
            Event::Trimmed { start, earliest } => {
                self.log.trim(start, earliest);
                self.voters.trim(earliest.offset);
            }
            Event::SnapshotInstalled { id, kraft_version, voters } => {
                self.on_snapshot_installed(id, kraft_version, voters)
            }
            Event::SnapshotDamaged { id } => self.on_snapshot_damaged(id),
            Event::RaiseKRaftVersion { level } => self.raise_kraft_version(level),
            // The only voter would have nobody to hand over to, and would lead the next epoch at once.
            Event::Resign => {
                if !self.is_only_voter() {
                    self.resign();
                }
            }
        }
        self.finish_step()
    }

    /// When the next [`Event::Tick`] is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<TickMs> {
        self.wake_at
    }

    pub fn role(&self) -> &Role {
        &self.role
    }

    pub fn epoch(&self) -> LeaderEpoch {
        self.role.epoch()
    }

    pub fn leader(&self) -> Option<NodeId> {
        self.role.leader(self.local().id)
    }

    /// Everything below is committed. `None` until this replica knows of anything.
    pub fn high_watermark(&self) -> Option<Offset> {
        self.announced
    }

    pub fn log(&self) -> &LogShape {
        &self.log
    }

    pub fn voters(&self) -> &VoterHistory {
        &self.voters
    }

    /// What to append with, if this replica leads.
    pub fn leading(&self) -> Option<Leading> {
        match &self.role {
            Role::Leader(leader) => Some(Leading { epoch: leader.epoch, next_offset: self.log.end() }),
            _ => None,
        }
    }

    pub(crate) fn local(&self) -> Replica {
        self.settings.local
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.voters.latest().contains(self.local())
    }

    pub fn is_only_voter(&self) -> bool {
        self.is_voter() && self.voters.latest().len() == 1
    }

    /// The name of the listener that the quorum uses.
    pub(crate) fn listener(&self) -> Option<&str> {
        self.settings.endpoints.first().map(|endpoint| endpoint.name.as_str())
    }

    fn role_after_restart(&mut self, election: ElectionState) -> Role {
        let patience = self.election_deadline();
        let election_at = self.is_voter().then_some(patience);
        let last_epoch = self.log.last_epoch();
        let unattached = |epoch, leader, voted| {
            let high_watermark = None;
            Role::Unattached(Unattached { epoch, leader, voted, election: election_at, high_watermark })
        };
        if election.epoch < last_epoch {
            return unattached(last_epoch, None, None);
        }
        let role = unattached(election.epoch, election.leader, election.voted);
        match election.leader {
            Some(leader) if leader == self.local().id => Role::Resigned(crate::role::Resigned {
                epoch: election.epoch,
                election: patience,
                unaware: self.other_voters().collect(),
                preferred: Vec::new(),
                high_watermark: None,
            }),
            Some(leader) if self.voters.latest().get(leader).is_some() => {
                role.into_follower(leader, election.epoch, self.now + self.settings.fetch_timeout_ms)
            }
            _ => role,
        }
    }

    fn finish_step(&mut self) -> Vec<Effect> {
        self.wake_at = None;
        self.poll();
        if self.log.end() > self.flush_asked {
            self.flush_asked = self.log.end();
            self.effects.push(Effect::Flush { era: self.era, up_to: self.flush_asked });
        }
        let election = self.role.election(self.local());
        if election != self.persisted {
            self.persisted = election;
            self.effects.insert(0, Effect::PersistElection(election));
        }
        std::mem::take(&mut self.effects)
    }

    /// Lets every timer that is due act, sends what can be sent, and notes when to look again.
    fn poll(&mut self) {
        // The only voter passes through all of resigned, unattached, prospective, candidate and leader without waiting.
        for _ in 0..MAX_TRANSITIONS {
            if !self.poll_role() {
                return;
            }
        }
        unreachable!("no role is passed through twice without waiting");
    }

    /// Gives whether the role has changed, and is to be polled again.
    fn poll_role(&mut self) -> bool {
        if !self.is_voter() && !matches!(self.role, Role::Leader(_)) {
            return self.poll_observer();
        }
        let alone = self.is_only_voter();
        match &self.role {
            Role::Unattached(role) => {
                let due = role.election.unwrap_or(TickMs(0));
                if role.election.is_some() && due > self.now && !alone {
                    self.wake(due);
                    return false;
                }
                self.seek();
                true
            }
            Role::Resigned(_) if alone => {
                self.seek();
                true
            }
            Role::Resigned(role) => {
                let due = role.election;
                if due > self.now {
                    self.wake(due);
                    self.send_end_quorum_epoch();
                    return false;
                }
                let patience = self.election_deadline();
                self.transition(|role| match role {
                    Role::Resigned(role) => Role::Unattached(role.rejoin(patience)),
                    other => other,
                });
                true
            }
            Role::Prospective(_) | Role::Candidate(_) => self.poll_election(),
            Role::Leader(_) => self.poll_leader(),
            Role::Follower(role) => {
                let due = role.fetch_deadline;
                if due <= self.now && !matches!(role.source, crate::role::Source::Installing { .. }) {
                    self.seek();
                    return true;
                }
                self.wake(due);
                self.fetch_from_leader();
                false
            }
        }
    }

    /// An observer only follows. It asks around for a leader while it has none.
    fn poll_observer(&mut self) -> bool {
        match &self.role {
            Role::Follower(role) if role.fetch_deadline > self.now => {
                let due = role.fetch_deadline;
                self.wake(due);
                self.fetch_from_leader();
                false
            }
            Role::Follower(_) => {
                self.transition(|role| match role {
                    Role::Follower(role) => Role::Unattached(role.detach()),
                    other => other,
                });
                true
            }
            Role::Unattached(_) => {
                self.ask_anyone();
                false
            }
            // Has been voted out while it was standing or had led.
            Role::Prospective(_) | Role::Candidate(_) | Role::Resigned(_) => {
                let epoch = LeaderEpoch(self.epoch().0 + 1);
                self.transition(|role| role.into_unattached(epoch, None));
                true
            }
            Role::Leader(_) => unreachable!("a leader is polled as one"),
        }
    }

    /// Starts looking for votes.
    fn seek(&mut self) {
        let (local, voters, election) =
            (self.local(), self.voters.latest().clone(), self.election_deadline());
        self.transition(|role| match role {
            Role::Unattached(role) => Role::Prospective(role.seek(local, &voters, election)),
            Role::Follower(role) => Role::Prospective(role.seek(local, &voters, election)),
            Role::Resigned(role) => Role::Prospective(role.seek(local, &voters, election)),
            other => other,
        });
    }

    /// Steps down, if this replica leads.
    pub(crate) fn resign(&mut self) {
        let election = self.election_deadline();
        self.transition(|role| match role {
            Role::Leader(leader) => Role::Resigned(leader.resign(election)),
            other => other,
        });
    }

    /// Replaces the role by what becomes of it, and tells the shell of what has changed by that.
    pub(crate) fn transition(&mut self, change: impl FnOnce(Role) -> Role) {
        let before = (self.leader(), self.epoch());
        if let Role::Leader(leader) = &mut self.role {
            let (parked, pending) = (std::mem::take(&mut leader.parked), leader.change.take());
            let epoch = leader.epoch;
            self.role = change(std::mem::take(&mut self.role));
            assert!(!matches!(self.role, Role::Leader(_)), "a leader becomes something else");
            self.effects.push(Effect::ResignedLeader { epoch });
            for parked in parked {
                self.reply_fetch_error(parked.ticket, ErrorCode::NotLeaderOrFollower);
            }
            if let Some(pending) = pending {
                self.fail_change(
                    &pending,
                    ErrorCode::NotLeaderOrFollower,
                    "this node is no longer the leader",
                );
            }
        } else {
            self.role = change(std::mem::take(&mut self.role));
        }
        self.connections.reset();
        let after = (self.leader(), self.epoch());
        if after != before {
            if after.0.is_none() || after.0 != before.0 {
                self.leader_endpoints.clear();
            }
            self.effects.push(Effect::LeaderChanged { leader: after.0, epoch: after.1 });
        }
    }

    fn on_request(&mut self, ticket: Ticket, request: Request) {
        let cluster_id = match &request {
            Request::Vote(request) => &request.cluster_id,
            Request::BeginQuorumEpoch(request) => &request.cluster_id,
            Request::EndQuorumEpoch(request) => &request.cluster_id,
            Request::Fetch(request) => &request.cluster_id,
            Request::FetchSnapshot(request) => &request.cluster_id,
            // These say what is wrong in words, and do so themselves.
            Request::AddVoter(_)
            | Request::RemoveVoter(_)
            | Request::UpdateVoter(_)
            | Request::ApiVersions => &None,
        };
        if !self.is_our_cluster(cluster_id.as_deref()) {
            self.reply(ticket, Response::Rejected(ErrorCode::InconsistentClusterId));
            return;
        }
        match request {
            Request::Vote(request) => self.on_vote_request(ticket, &request),
            Request::BeginQuorumEpoch(request) => self.on_begin_quorum_epoch_request(ticket, &request),
            Request::EndQuorumEpoch(request) => self.on_end_quorum_epoch_request(ticket, &request),
            Request::Fetch(request) => self.on_fetch_request(ticket, request),
            Request::FetchSnapshot(request) => self.on_fetch_snapshot_request(ticket, &request),
            Request::AddVoter(request) => self.on_add_voter(ticket, request),
            Request::RemoveVoter(request) => self.on_remove_voter(ticket, &request),
            Request::UpdateVoter(request) => self.on_update_voter(ticket, request),
            Request::ApiVersions => unreachable!("the shell answers ApiVersions"),
        }
    }

    /// Nobody has to name the cluster, but who does has to name ours.
    pub(crate) fn is_our_cluster(&self, named: Option<&str>) -> bool {
        named.is_none_or(|named| named == self.settings.cluster_id)
    }

    pub(crate) fn reply(&mut self, ticket: Ticket, response: Response) {
        self.effects.push(Effect::Reply { ticket, response });
    }

    pub(crate) fn standing(&self, error: ErrorCode) -> Standing {
        let leader = self.leader();
        let endpoints = leader.map_or_else(Vec::new, |leader| self.endpoints_of(leader));
        Standing { error, leader, epoch: self.epoch(), endpoints }
    }

    pub(crate) fn wake(&mut self, at: TickMs) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(crate) fn announce_high_watermark(&mut self, to: Offset) {
        if to > self.announced.unwrap_or(Offset::ZERO) {
            self.announced = Some(to);
            self.effects.push(Effect::HighWatermarkAdvanced { to });
        }
    }

    pub(crate) fn truncate_log(&mut self, end: Offset) {
        if end >= self.log.end() {
            return;
        }
        self.log.truncate(end);
        self.voters.truncate(end);
        self.start_tail_era();
        self.effects.push(Effect::Truncate { end });
    }

    pub(crate) fn start_tail_era(&mut self) {
        self.era = TailEra(self.era.0 + 1);
        self.flush_asked = self.log.flushed();
    }

    /// A random time within the election timeout, after the timeout: replicas that lose a leader together do not all stand at
    /// once.
    pub(crate) fn election_deadline(&mut self) -> TickMs {
        // SplitMix64; only has to differ between replicas.
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let timeout = self.settings.election_timeout_ms;
        self.now + timeout + (z ^ (z >> 31)) % timeout.max(1)
    }

    /// The voters a ballot is held with, and the replicas it is sent to.
    pub(crate) fn latest_voters(&self) -> VoterSet {
        self.voters.latest().clone()
    }
}

//! What a leader does: append, serve fetches, count what a majority has, notice that it has lost its followers.

use dohle_types::{ErrorCode, Offset};

use crate::event::{Effect, Ticket};
use crate::message::{
    Body, Chunk, ControlRecord, Entry, FetchRequest, FetchResponse, FetchSnapshotRequest,
    FetchSnapshotResponse, Fetched, LeaderChange, Response,
};
use crate::raft::Raft;
use crate::role::{Parked, Role};
use crate::shape::{BOOTSTRAP_SNAPSHOT, Relation};
use crate::voters::{KRaftVersions, Voter, VoterSet};

/// How many fetches may wait at the leader; a further one is answered at once, with nothing.
pub const MAX_PARKED_FETCHES: usize = 10_000;

impl Raft {
    /// Appends what the shell has made for [`crate::Leading`].
    pub(crate) fn on_propose(&mut self, entries: Vec<Entry>) {
        let leading = self.leading().expect("only a leader's shell proposes");
        assert!(
            entries.iter().all(|entry| entry.epoch == leading.epoch),
            "a proposal is made for the leader's epoch"
        );
        if !entries.is_empty() {
            self.append(entries);
            self.answer_parked();
        }
    }

    /// The first batch of an epoch: who leads it, and the voters if the log does not yet hold them as they are.
    pub(crate) fn append_start_of_epoch(&mut self) {
        let Role::Leader(leader) = &self.role else { unreachable!("only a leader starts an epoch") };
        let voters = self.voters.latest();
        let mut records = vec![ControlRecord::LeaderChange(LeaderChange {
            leader: leader.local.id,
            voters: voters.iter().map(|voter| voter.replica).collect(),
            granting: leader.granting.clone(),
        })];
        let level = self.voters.kraft_version();
        if level > 0 {
            let local = self.local_voter();
            let is_written = self.voters.latest_offset().is_some_and(|offset| offset >= Offset::ZERO);
            let is_current = voters.get(local.replica.id) == Some(&local);
            if !is_written || !is_current {
                let updated = voters.updated(local).expect("a leader is a voter");
                records.push(ControlRecord::KRaftVersion(level));
                records.push(ControlRecord::Voters(updated));
            }
        }
        self.append_control(records);
    }

    pub(crate) fn local_voter(&self) -> Voter {
        Voter {
            replica: self.local(),
            endpoints: self.settings.endpoints.clone(),
            kraft_versions: KRaftVersions::SUPPORTED,
        }
    }

    /// Appends one batch of the quorum's own records. Gives the offset of the last.
    pub(crate) fn append_control(&mut self, records: Vec<ControlRecord>) -> Offset {
        let leading = self.leading().expect("only a leader appends");
        let count = u32::try_from(records.len()).expect("a handful of records");
        let entry = Entry {
            base_offset: leading.next_offset,
            epoch: leading.epoch,
            records: count,
            body: Body::Control(records),
        };
        let last = entry.next_offset().plus(-1);
        self.append(vec![entry]);
        self.answer_parked();
        last
    }

    /// Takes entries into the outline of the log, and hands them to the shell.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            self.log.append(entry.base_offset, entry.records, entry.epoch);
            self.take_control_records(entry);
        }
        self.effects.push(Effect::Append { entries });
    }

    fn take_control_records(&mut self, entry: &Entry) {
        let mut offset = entry.base_offset;
        let mut changed = false;
        for record in entry.control() {
            match record {
                ControlRecord::KRaftVersion(level) => self.voters.record_kraft_version(offset, *level),
                ControlRecord::Voters(voters) => {
                    self.voters.record_voters(offset, voters.clone());
                    changed = true;
                }
                ControlRecord::LeaderChange(_) | ControlRecord::Other => {}
            }
            offset = offset.next();
        }
        if changed && let Role::Leader(leader) = &mut self.role {
            leader.set_voters(self.voters.latest());
        }
    }

    /// More of the log is on this replica's disk.
    pub(crate) fn on_flushed(&mut self) {
        self.advance_high_watermark();
    }

    pub(crate) fn advance_high_watermark(&mut self) {
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(to) = leader.majority_end(self.voters.latest(), self.log.flushed()) else {
            return;
        };
        leader.high_watermark = Some(to);
        self.announce_high_watermark(to);
        self.finish_change(to);
        self.answer_parked();
    }

    /// Timers of a leader, and who has to be told that it leads. Gives whether the role has changed.
    pub(crate) fn poll_leader(&mut self) -> bool {
        let now = self.now;
        let Role::Leader(leader) = &mut self.role else { unreachable!("only a leader is polled as one") };
        let has_lost_quorum = !leader.voters.is_empty() && leader.check_quorum <= now;
        if leader.resigning || has_lost_quorum {
            self.resign();
            return true;
        }
        let quorum_due = (!leader.voters.is_empty()).then_some(leader.check_quorum);
        let expired: Vec<Parked> = leader.parked.extract_if(.., |parked| parked.deadline <= now).collect();
        let parked_due = leader.parked.iter().map(|parked| parked.deadline).min();
        for parked in expired {
            let response = self.try_fetch(&parked.request);
            self.reply(parked.ticket, Response::Fetch(response));
        }
        for due in [quorum_due, parked_due].into_iter().flatten() {
            self.wake(due);
        }
        self.expire_change();
        self.send_begin_quorum_epoch();
        false
    }

    pub(crate) fn on_fetch_request(&mut self, ticket: Ticket, request: FetchRequest) {
        let is_valid = request.from.offset >= Offset::ZERO
            && request.from.epoch.0 >= 0
            && request.from.epoch <= request.epoch
            && request.replica.id != self.local().id;
        if !is_valid {
            self.reply_fetch_error(ticket, ErrorCode::InvalidRequest);
            return;
        }
        let response = self.try_fetch(&request);
        let has_news = request.high_watermark.is_some() && response.high_watermark > request.high_watermark;
        let can_wait = response.standing.error == ErrorCode::None
            && response.fetched == Fetched::Nothing
            && request.max_wait_ms > 0
            && !has_news;
        let deadline = self.now + u64::from(request.max_wait_ms);
        match &mut self.role {
            Role::Leader(leader) if can_wait && leader.parked.len() < MAX_PARKED_FETCHES => {
                leader.parked.push(Parked { ticket, request, deadline });
            }
            _ => self.reply(ticket, Response::Fetch(response)),
        }
    }

    /// Answers a fetch as things are now. What it says of the asker's log is taken note of.
    fn try_fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        let error = self.leader_error(request.epoch);
        let end = self.log.end();
        let relation = self.log.relation(request.from);
        let now = self.now;
        let deadline = self.check_quorum_deadline();
        let counts_itself = self.is_voter();
        let mut fetched = Fetched::Nothing;
        if let Role::Leader(leader) = &mut self.role
            && error.is_none()
        {
            fetched = match relation {
                Relation::Prefix => {
                    if request.replica.id.0 >= 0 {
                        leader.note_fetch(request.replica, request.from.offset, end, now);
                        leader.note_heard(request.replica, counts_itself, deadline);
                    }
                    if request.from.offset < end {
                        Fetched::ReadFrom { offset: request.from.offset, max_bytes: request.max_bytes }
                    } else {
                        Fetched::Nothing
                    }
                }
                Relation::Diverging(point) => Fetched::Diverging(point),
                Relation::Snapshotted(id) => Fetched::Snapshot(id),
            };
            self.advance_high_watermark();
        }
        FetchResponse {
            standing: self.standing(error.unwrap_or(ErrorCode::None)),
            high_watermark: if error.is_none() { self.role.high_watermark() } else { None },
            log_start: self.log.start(),
            fetched,
        }
    }

    /// Answers the waiting fetches that there is now something for.
    fn answer_parked(&mut self) {
        let end = self.log.end();
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let high_watermark = leader.high_watermark;
        let ready: Vec<Parked> = leader
            .parked
            .extract_if(.., |parked| {
                let has_news =
                    parked.request.high_watermark.is_some() && high_watermark > parked.request.high_watermark;
                parked.request.from.offset < end || has_news
            })
            .collect();
        for parked in ready {
            let response = self.try_fetch(&parked.request);
            self.reply(parked.ticket, Response::Fetch(response));
        }
    }

    pub(crate) fn reply_fetch_error(&mut self, ticket: Ticket, error: ErrorCode) {
        let response = FetchResponse {
            standing: self.standing(error),
            high_watermark: None,
            log_start: self.log.start(),
            fetched: Fetched::Nothing,
        };
        self.reply(ticket, Response::Fetch(response));
    }

    pub(crate) fn on_fetch_snapshot_request(&mut self, ticket: Ticket, request: &FetchSnapshotRequest) {
        let mut error = self.leader_error(request.epoch);
        if error.is_none() && request.id == BOOTSTRAP_SNAPSHOT {
            error = Some(ErrorCode::SnapshotNotFound);
        }
        let deadline = self.check_quorum_deadline();
        let counts_itself = self.is_voter();
        let mut chunk = Chunk::Nothing;
        if let Role::Leader(leader) = &mut self.role
            && error.is_none()
        {
            leader.note_heard(request.replica, counts_itself, deadline);
            chunk = Chunk::ReadFrom { position: request.position, max_bytes: request.max_bytes };
        }
        let standing = self.standing(error.unwrap_or(ErrorCode::None));
        self.reply(
            ticket,
            Response::FetchSnapshot(FetchSnapshotResponse { standing, id: request.id, chunk }),
        );
    }

    /// Why a request made to a leader of `epoch` cannot be served here.
    pub(crate) fn leader_error(&self, epoch: dohle_types::LeaderEpoch) -> Option<ErrorCode> {
        if epoch < self.epoch() {
            Some(ErrorCode::FencedLeaderEpoch)
        } else if epoch > self.epoch() {
            Some(ErrorCode::UnknownLeaderEpoch)
        } else if !matches!(self.role, Role::Leader(_)) {
            Some(ErrorCode::NotLeaderOrFollower)
        } else {
            None
        }
    }

    /// Writes a new set of voters. It counts from now on. Gives its offset.
    pub(crate) fn append_voters(&mut self, voters: VoterSet) -> Offset {
        self.append_control(vec![ControlRecord::Voters(voters)])
    }
}

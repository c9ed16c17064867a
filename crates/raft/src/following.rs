//! What a follower does: fetch, cut off what the leader does not have, append, fetch a snapshot when the log is gone.

use dohle_types::{ErrorCode, NodeId, Offset};

use crate::connections::Subject;
use crate::event::{Effect, Fault, Peer};
use crate::message::{
    Chunk, FetchRequest, FetchResponse, FetchSnapshotRequest, FetchSnapshotResponse, Fetched, Request,
};
use crate::raft::Raft;
use crate::role::{Role, Source};
use crate::shape::{LogPoint, SnapshotId};
use crate::voters::VoterSet;

impl Raft {
    /// Asks the leader for what comes next, once everything it sent before is on disk: a fetch says "I have all below".
    pub(crate) fn fetch_from_leader(&mut self) {
        let Role::Follower(role) = &self.role else {
            unreachable!("only a follower fetches from its leader")
        };
        let source = role.source;
        let Some(peer) = self.peer(role.leader) else {
            return;
        };
        match source {
            Source::Log if self.log.flushed() == self.log.end() => self.send_fetch(peer),
            Source::Log | Source::Installing { .. } => {}
            Source::Snapshot { id, position } => {
                self.send(peer, Subject::FetchSnapshot, |raft| {
                    Request::FetchSnapshot(FetchSnapshotRequest {
                        cluster_id: Some(raft.settings.cluster_id.clone()),
                        replica: raft.local(),
                        epoch: raft.epoch(),
                        id,
                        position,
                        max_bytes: raft.settings.fetch_max_bytes,
                    })
                });
            }
        }
    }

    pub(crate) fn send_fetch(&mut self, peer: Peer) {
        self.send(peer, Subject::Fetch, |raft| {
            Request::Fetch(FetchRequest {
                cluster_id: Some(raft.settings.cluster_id.clone()),
                replica: raft.local(),
                epoch: raft.epoch(),
                from: raft.log.last_point(),
                max_wait_ms: raft.settings.fetch_max_wait_ms,
                max_bytes: raft.settings.fetch_max_bytes,
                high_watermark: Some(raft.role.high_watermark().unwrap_or(Offset::NONE)),
            })
        });
    }

    /// The answer to a fetch. Gives whether it helped.
    pub(crate) fn on_fetched(&mut self, peer: NodeId, response: FetchResponse) -> bool {
        let Role::Follower(role) = &self.role else {
            return false;
        };
        // Only the leader's word on the log counts; a bootstrap server may be it, under another name.
        if role.leader != peer && peer.0 >= 0 || role.source != Source::Log {
            return false;
        }
        // Only a log that is a prefix of the leader's knows by the leader's word what of it is committed.
        let is_prefix = matches!(response.fetched, Fetched::Entries(_) | Fetched::Nothing);
        let moved = match response.fetched {
            Fetched::Diverging(point) => self.truncate_to_agree(point),
            Fetched::Snapshot(id) => self.start_snapshot(id),
            Fetched::Entries(entries) => {
                let continues = entries.first().is_none_or(|first| first.base_offset == self.log.end())
                    && entries.windows(2).all(|pair| {
                        pair[1].base_offset == pair[0].next_offset() && pair[1].epoch >= pair[0].epoch
                    })
                    && entries.first().is_none_or(|first| first.epoch >= self.log.last_epoch())
                    && entries.iter().all(|entry| entry.records > 0 && entry.epoch <= self.epoch());
                if continues && !entries.is_empty() {
                    self.append(entries);
                }
                continues
            }
            Fetched::Nothing => true,
            Fetched::ReadFrom { .. } => unreachable!("the leader's shell fills this in"),
        };
        if moved {
            self.heard_from_leader();
            if is_prefix {
                self.note_leaders_high_watermark(response.high_watermark);
            }
        }
        moved
    }

    fn heard_from_leader(&mut self) {
        let deadline = self.now + self.settings.fetch_timeout_ms;
        if let Role::Follower(role) = &mut self.role {
            role.heard_from_leader = true;
            role.fetch_deadline = deadline;
        }
    }

    /// What is committed is what the leader says is, as far as it is here.
    fn note_leaders_high_watermark(&mut self, leaders: Option<Offset>) {
        let end = self.log.end();
        let Role::Follower(role) = &mut self.role else {
            return;
        };
        let Some(to) = leaders.map(|leaders| leaders.min(end)).filter(|to| *to >= Offset::ZERO) else {
            return;
        };
        if role.high_watermark.is_none_or(|old| to > old) {
            role.high_watermark = Some(to);
            self.announce_high_watermark(to);
        }
    }

    fn truncate_to_agree(&mut self, point: LogPoint) -> bool {
        let to = self.log.truncation_for(point);
        if let Some(high_watermark) = self.announced
            && to < high_watermark
        {
            self.effects.push(Effect::Halt(Fault::TruncationBelowHighWatermark { to, high_watermark }));
            return false;
        }
        self.truncate_log(to);
        true
    }

    fn start_snapshot(&mut self, id: SnapshotId) -> bool {
        // One that ends within what is committed here would lead back.
        if id.offset <= Offset::ZERO
            || id.epoch.0 < 0
            || self.announced.is_some_and(|committed| id.offset < committed)
        {
            return false;
        }
        if let Role::Follower(role) = &mut self.role {
            role.source = Source::Snapshot { id, position: 0 };
        }
        true
    }

    /// The leader no longer has the snapshot, or not that much of it: back to the log, which names a newer one.
    pub(crate) fn on_snapshot_error(&mut self, error: ErrorCode, id: SnapshotId) {
        let is_gone = matches!(error, ErrorCode::SnapshotNotFound | ErrorCode::PositionOutOfRange);
        if let Role::Follower(role) = &mut self.role
            && is_gone
            && matches!(role.source, Source::Snapshot { id: wanted, .. } if wanted == id)
        {
            role.source = Source::Log;
        }
    }

    pub(crate) fn on_snapshot_chunk(&mut self, peer: NodeId, response: FetchSnapshotResponse) -> bool {
        let Role::Follower(role) = &mut self.role else {
            return false;
        };
        let (Source::Snapshot { id, position }, Chunk::Bytes { position: at, size, bytes }) =
            (role.source, response.chunk)
        else {
            return false;
        };
        let len = bytes.len() as u64;
        if role.leader != peer
            || response.id != id
            || at != position
            || len == 0
            || position.saturating_add(len) > size
        {
            return false;
        }
        let next = position + len;
        role.source =
            if next == size { Source::Installing { id } } else { Source::Snapshot { id, position: next } };
        self.effects.push(Effect::StoreSnapshotChunk { id, position, bytes });
        if next == size {
            self.effects.push(Effect::InstallSnapshot { id });
        }
        self.heard_from_leader();
        true
    }

    /// The log starts over after a fetched snapshot.
    pub(crate) fn on_snapshot_installed(
        &mut self,
        id: SnapshotId,
        kraft_version: i16,
        voters: Option<VoterSet>,
    ) {
        self.log.restart_after(id);
        self.start_tail_era();
        self.voters.reset();
        let last = id.offset.plus(-1);
        self.voters.record_kraft_version(last, kraft_version);
        if let Some(voters) = voters {
            self.voters.record_voters(last, voters);
        }
        if let Role::Follower(role) = &mut self.role {
            role.source = Source::Log;
            role.high_watermark = role.high_watermark.max(Some(id.offset));
        }
        self.announce_high_watermark(id.offset);
        self.heard_from_leader();
    }

    pub(crate) fn on_snapshot_damaged(&mut self, id: SnapshotId) {
        if let Role::Follower(role) = &mut self.role
            && role.source == (Source::Installing { id })
        {
            role.source = Source::Log;
        }
    }
}

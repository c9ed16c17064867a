//! What the nodes want done: disks, the network, and the state machine that applies what is committed.

use bytes::Bytes;
use dohle_raft::{
    Call, Chunk, ControlRecord, Effect, Event, Fetched, Raft, Request, Response, SnapshotId, Ticket,
};
use dohle_types::{ErrorCode, LeaderEpoch, Offset};

use crate::checker::apply;
use crate::disk::Snapshot;
use crate::world::{Happening, World, replica};

/// How many bytes of a snapshot a fetch brings, so that it takes several.
const CHUNK: usize = 7;
const SNAPSHOT_BYTES: usize = 24;

impl World {
    pub(crate) fn perform(&mut self, i: usize, effects: Vec<Effect>) {
        let id = replica(i).id;
        for (position, effect) in effects.into_iter().enumerate() {
            match effect {
                Effect::PersistElection(election) => {
                    assert_eq!(position, 0, "an election is remembered before anything else");
                    self.nodes[i].disk.election = election;
                }
                Effect::Truncate { end } => {
                    self.checker.marks.truncations += 1;
                    assert!(end >= self.nodes[i].announced, "committed records are not cut off");
                    self.nodes[i].disk.truncate(end);
                }
                Effect::Append { entries } => {
                    for entry in entries {
                        let changes = entry.control().iter().any(|r| matches!(r, ControlRecord::Voters(_)));
                        self.checker.marks.voters_changed += u64::from(changes && self.leads(i));
                        self.nodes[i].disk.append(entry);
                    }
                }
                Effect::Flush { era, up_to } => {
                    let wait = if self.happens(self.faults.slow) { self.random(800) } else { self.random(5) };
                    let (life, disk_era) = (self.nodes[i].life, self.nodes[i].disk.era);
                    self.after(wait, Happening::Flushed { node: i, life, era, disk_era, up_to });
                }
                Effect::Send { call, to, request } => {
                    self.send(i, usize::from(to.endpoint.port - 9000), call, request)
                }
                Effect::Reply { ticket, response } => self.reply(i, ticket, response),
                Effect::HighWatermarkAdvanced { to } => self.commit(i, to),
                Effect::BecameLeader { epoch, start } => self.checker.became_leader(id, epoch, start),
                Effect::ResignedLeader { .. } => {
                    self.checker.marks.resignations += 1;
                    self.nodes[i].proposals.clear();
                }
                Effect::LeaderChanged { .. } => {}
                Effect::StoreSnapshotChunk { id, position, bytes } => {
                    let partial = &mut self.nodes[i].disk.partial;
                    if position == 0 {
                        *partial = Some((id, Vec::new()));
                    }
                    let (stored, so_far) = partial.as_mut().expect("it starts at 0");
                    assert_eq!((*stored, so_far.len() as u64), (id, position), "chunks continue each other");
                    so_far.extend_from_slice(&bytes);
                }
                Effect::InstallSnapshot { id: snapshot } => self.install(i, snapshot),
                Effect::Halt(fault) => panic!("no fault is possible here: {fault}"),
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, call: Call, request: Request) {
        let life = self.nodes[from].life;
        if self.happens(self.faults.loss) {
            if self.happens(500) {
                self.after(30, Happening::Unanswered { to: from, life, call });
            }
            return;
        }
        let copies = 1 + u64::from(self.happens(self.faults.duplication));
        for _ in 0..copies {
            let delay = 1 + if self.happens(self.faults.slow) { self.random(3_000) } else { self.random(20) };
            self.after(delay, Happening::Deliver { to, from, life, call, request: request.clone() });
        }
    }

    fn reply(&mut self, i: usize, ticket: Ticket, response: Response) {
        let owed = self.owed.remove(&(i, ticket)).expect("every ticket is answered once");
        let response = self.fill(i, response);
        self.answer(i, owed.origin, response);
    }

    pub(crate) fn answer(&mut self, from: usize, origin: Option<(usize, u64, Call)>, response: Response) {
        let Some((to, life, call)) = origin else { return };
        if self.happens(self.faults.loss) || self.is_cut(from, to) {
            return;
        }
        let copies = 1 + u64::from(self.happens(self.faults.duplication));
        for _ in 0..copies {
            let delay = 1 + self.random(20);
            self.after(delay, Happening::Answer { to, life, call, response: response.clone() });
        }
    }

    /// What the shell of a leader adds: records and parts of snapshots.
    fn fill(&mut self, i: usize, mut response: Response) -> Response {
        let limit = 1 + self.random(4) as usize;
        let disk = &self.nodes[i].disk;
        match &mut response {
            Response::Fetch(response) => {
                if let Fetched::ReadFrom { offset, .. } = response.fetched {
                    response.fetched = Fetched::Entries(disk.read(offset, limit));
                }
            }
            Response::FetchSnapshot(response) => {
                if let Chunk::ReadFrom { position, .. } = response.chunk {
                    let stored = disk.snapshot.as_ref().filter(|snapshot| snapshot.id == response.id);
                    let Some(snapshot) = stored else {
                        response.standing.error = ErrorCode::SnapshotNotFound;
                        response.chunk = Chunk::Nothing;
                        return Response::FetchSnapshot(response.clone());
                    };
                    let mut file = [0; SNAPSHOT_BYTES];
                    file[..8].copy_from_slice(&snapshot.state.to_be_bytes());
                    let from = position as usize;
                    let to = (from + CHUNK).min(file.len());
                    let bytes = Bytes::copy_from_slice(&file[from..to]);
                    response.chunk = Chunk::Bytes { position, size: SNAPSHOT_BYTES as u64, bytes };
                }
            }
            _ => {}
        }
        response
    }

    fn install(&mut self, i: usize, id: SnapshotId) {
        let (stored, file) = self.nodes[i].disk.partial.take().expect("it was fetched");
        assert_eq!((stored, file.len()), (id, SNAPSHOT_BYTES), "a snapshot is whole");
        let state = u64::from_be_bytes(file[..8].try_into().expect("eight bytes"));
        self.checker.installs(replica(i).id, id.offset, state);
        let (kraft_version, voters) = self.snapshot_voters[&id].clone();
        let node = &mut self.nodes[i];
        node.disk.install(Snapshot { id, state, kraft_version, voters: voters.clone() });
        (node.applied, node.state) = (id.offset, state);
        self.step(i, Event::SnapshotInstalled { id, kraft_version, voters });
    }

    fn commit(&mut self, i: usize, to: Offset) {
        let id = replica(i).id;
        let end = self.nodes[i].disk.end();
        self.checker.announces(id, self.nodes[i].announced, to, end);
        self.nodes[i].announced = to;
        let epoch: LeaderEpoch = self.nodes[i].raft.as_ref().map_or(LeaderEpoch(0), Raft::epoch);
        let node = &mut self.nodes[i];
        let ready =
            node.disk.entries.iter().filter(|e| e.base_offset >= node.applied && e.next_offset() <= to);
        for entry in ready.cloned().collect::<Vec<_>>() {
            let node = &mut self.nodes[i];
            node.state = apply(node.state, &entry);
            node.applied = entry.next_offset();
            let state = node.state;
            self.checker.commits(id, &entry, state);
            if let Some(proposed) = self.nodes[i].proposals.remove(&entry.base_offset)
                && proposed.epoch == epoch
            {
                self.checker.acknowledges(&proposed);
            }
        }
    }
}

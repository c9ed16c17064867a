//! One replica's disk: what was written, and how much of that survives a kill.

use dohle_raft::{
    Body, ControlRecord, ElectionState, Entry, LogPoint, LogShape, SnapshotId, VoterHistory, VoterSet,
};
use dohle_types::Offset;

#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: SnapshotId,
    /// The state at its end, as the chain of everything applied.
    pub state: u64,
    pub kraft_version: i16,
    pub voters: Option<VoterSet>,
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub election: ElectionState,
    pub start: Offset,
    pub entries: Vec<Entry>,
    pub durable_end: Offset,
    pub snapshot: Option<Snapshot>,
    /// A snapshot that is still being fetched.
    pub partial: Option<(SnapshotId, Vec<u8>)>,
    pub era: u64,
}

impl Disk {
    pub fn end(&self) -> Offset {
        self.entries.last().map_or(self.start, Entry::next_offset)
    }

    pub fn append(&mut self, entry: Entry) {
        assert_eq!(entry.base_offset, self.end(), "appends continue the log");
        self.entries.push(entry);
    }

    pub fn truncate(&mut self, end: Offset) {
        self.entries.retain(|entry| entry.base_offset < end);
        assert_eq!(self.end(), end, "a cut falls between batches");
        self.durable_end = self.durable_end.min(end);
        self.era += 1;
    }

    /// Everything below `id` goes.
    pub fn trim(&mut self, id: SnapshotId) {
        self.entries.retain(|entry| entry.base_offset >= id.offset);
        self.start = id.offset;
        self.durable_end = self.durable_end.max(id.offset);
    }

    pub fn install(&mut self, snapshot: Snapshot) {
        self.entries.clear();
        self.start = snapshot.id.offset;
        self.durable_end = snapshot.id.offset;
        self.snapshot = Some(snapshot);
        self.partial = None;
        self.era += 1;
    }

    /// A kill: of what was not flushed, the first `kept` batches happen to be there.
    pub fn crash(&mut self, kept: usize) {
        let durable = self.entries.iter().filter(|entry| entry.next_offset() <= self.durable_end).count();
        self.entries.truncate(durable + kept);
        self.durable_end = self.end();
        self.partial = None;
        self.era += 1;
    }

    pub fn unflushed(&self) -> usize {
        self.entries.iter().filter(|entry| entry.next_offset() > self.durable_end).count()
    }

    pub fn shape(&self) -> LogShape {
        let mut epochs: Vec<LogPoint> = Vec::new();
        for entry in &self.entries {
            if epochs.last().is_none_or(|last| last.epoch < entry.epoch) {
                epochs.push(LogPoint::new(entry.base_offset, entry.epoch));
            }
        }
        let snapshots = self.snapshot.iter().map(|snapshot| snapshot.id).collect();
        LogShape::recovered(self.start, self.end(), epochs, snapshots)
    }

    pub fn history(&self, configured: VoterSet) -> VoterHistory {
        let mut history = VoterHistory::new(configured);
        if let Some(snapshot) = &self.snapshot {
            let last = snapshot.id.offset.plus(-1);
            history.record_kraft_version(last, snapshot.kraft_version);
            if let Some(voters) = &snapshot.voters {
                history.record_voters(last, voters.clone());
            }
        }
        for entry in &self.entries {
            let mut offset = entry.base_offset;
            for record in entry.control() {
                match record {
                    ControlRecord::Voters(voters) => history.record_voters(offset, voters.clone()),
                    ControlRecord::KRaftVersion(level) => history.record_kraft_version(offset, *level),
                    _ => {}
                }
                offset = offset.next();
            }
        }
        history
    }

    /// What a fetch from `offset` brings, at most `limit` batches.
    pub fn read(&self, offset: Offset, limit: usize) -> Vec<Entry> {
        let sent = |entry: &Entry| {
            let control = entry.control().to_vec();
            let bytes = match &entry.body {
                Body::Encoded { bytes, .. } => bytes.clone(),
                Body::Control(_) => bytes::Bytes::new(),
            };
            Entry { body: Body::Encoded { bytes, control }, ..entry.clone() }
        };
        self.entries.iter().filter(|entry| entry.base_offset >= offset).take(limit).map(sent).collect()
    }
}

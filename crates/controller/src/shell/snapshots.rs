//! Snapshots: taken on another thread when due, or fetched.

use std::collections::VecDeque;

use dohle_metadata::Image;
use dohle_raft::{Event, SnapshotId};
use tracing::{info, warn};

use super::{Shell, SnapshotWritten};
use crate::codec;
use crate::error::StoreError;
use crate::snapshot::{self, Contents};

/// A start replays a log of at most so many times the size of its snapshot, or of so many bytes where that is more: about 30 ms.
const REPLAYED_STATES: u64 = 3;
const REPLAYED_BYTES: u64 = 2 << 20;

impl Shell {
    /// When the next snapshot is due by time, in milliseconds of monotonic time.
    pub(super) fn snapshot_due(&self) -> Option<u64> {
        let interval =
            self.settings.snapshot_interval_ms.filter(|_| self.has_news() && !self.snapshot_underway)?;
        Some(self.last_snapshot.millis() + interval)
    }

    /// Whether records are committed that no snapshot holds. The bootstrap checkpoint holds none.
    pub(super) fn has_news(&self) -> bool {
        self.store.latest_snapshot().is_none_or(|latest| self.applied > latest.offset)
    }

    /// How much log there may be behind a snapshot: what `metadata.log.max.record.bytes.between.snapshots` allows, and not much more than
    /// a start reads anyway. Each restart of a broker changes all its partitions, so that many restarts would make the next ones slow.
    fn most_bytes_between(&self) -> u64 {
        let state = self.store.latest_snapshot_bytes();
        self.settings.snapshot_bytes.min((state * REPLAYED_STATES).max(REPLAYED_BYTES))
    }

    /// Writes a snapshot on another thread when one is due.
    pub(super) fn start_snapshot(&mut self) {
        let by_size = self.bytes_since_snapshot >= self.most_bytes_between();
        let by_time = self.snapshot_due().is_some_and(|due| due <= self.env.clock.tick().millis());
        let is_due = self.has_news() && (by_size || by_time);
        if !is_due || self.snapshot_underway || self.image.in_transaction() {
            return;
        }
        let id = self.raft.log().point_at(self.applied);
        let (kraft_version, voters) = self.raft.voters().at(self.applied);
        let (voters, image, last_timestamp) = (voters.cloned(), self.image.clone(), self.core_timestamp);
        let (disk, path, now) = (self.env.disk.clone(), self.store.snapshot_path(id), self.env.clock.now());
        self.snapshot_underway = true;
        self.last_snapshot = self.env.clock.tick();
        self.bytes_since_snapshot = 0;
        let done = self.snapshots.clone();
        dohle_env::task::spawn(async move {
            let result = dohle_env::task::blocking(move || {
                let records = image.to_records();
                let contents = Contents { last_timestamp, kraft_version, voters, records };
                let bytes = snapshot::encode(&contents, id.epoch, now);
                snapshot::write(&*disk, &path, &bytes).map(|_stored| bytes.len() as u64)
            });
            // The shell may have ended meanwhile; the snapshot is there all the same.
            let _ = done.send(SnapshotWritten { id, result: result.await, last_timestamp });
        });
    }

    pub(super) fn finish_snapshot(&mut self, written: SnapshotWritten) -> Result<(), StoreError> {
        self.snapshot_underway = false;
        let id = written.id;
        let size = match written.result {
            Ok(size) => size,
            Err(source) => {
                // The log still holds everything: the next one is tried when it is due.
                warn!(error = %source, offset = %id.offset, "the snapshot of the metadata was not stored");
                return Ok(());
            }
        };
        if self.is_offline() || self.store.latest_snapshot().is_some_and(|latest| latest.offset >= id.offset)
        {
            return Ok(());
        }
        info!(offset = %id.offset, epoch = %id.epoch, bytes = size, "stored a snapshot of the metadata");
        self.store.add_snapshot(id, size, written.last_timestamp);
        let mut events = VecDeque::from([Event::SnapshotTaken { id }]);
        if let Some((start, earliest)) =
            self.store.retain(&self.settings, self.applied, self.env.clock.now())?
        {
            events.push_back(Event::Trimmed { start, earliest });
        }
        self.drive(events)
    }

    /// Takes over a snapshot that was fetched from the leader.
    pub(super) fn install_snapshot(&mut self, id: SnapshotId) -> Result<Event, StoreError> {
        let Some(contents) = self.store.install_snapshot(id)? else {
            return Ok(Event::SnapshotDamaged { id });
        };
        let mut image = Image::default();
        let last = id.offset.plus(-1);
        for (record, _) in &contents.records {
            image.replay(record, last).map_err(codec::CodecError::from)?;
        }
        image.offset = last;
        self.core.reset_to(image.clone());
        (self.image, self.applied, self.core_end) = (image, id.offset, id.offset);
        self.core_timestamp = contents.last_timestamp;
        self.durable = self.store.flush()?;
        let Contents { kraft_version, voters, .. } = contents;
        Ok(Event::SnapshotInstalled { id, kraft_version, voters })
    }
}

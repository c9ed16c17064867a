//! The metadata log, its snapshots and the quorum's memory on disk: `__cluster_metadata-0`.
//!
//! It performs what the quorum asks for and knows nothing of why. Everything here may wait for the device: the thread it runs on
//! does nothing else that could not wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dohle_env::Env;
use dohle_env::disk::{Disk, OpenMode};
use dohle_log::{
    Durable, FolderFlushes, Log, LogContext, LogError, Read, ReadBuffers, Recovery, TailBudget, Verifying,
    greedy,
};
use dohle_metadata::MetadataVersion;
use dohle_metadata::features::METADATA_VERSION;
use dohle_raft::{
    BOOTSTRAP_SNAPSHOT, ControlRecord, ElectionState, Entry, LogPoint, LogShape, Recovered, SnapshotId,
    VoterHistory, VoterSet,
};
use dohle_records::{Batch, parse_batches};
use dohle_types::{HighWatermark, LeaderEpoch, Offset, TimestampMs, Uuid};
use dohle_wire::MetadataRecord;
use tracing::{info, warn};

use crate::codec;
use crate::error::{StartError, StoreError};
use crate::quorum_state::{self, QuorumStateError};
use crate::settings::Settings;
use crate::snapshot::{self, Contents};

pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
pub(crate) const METADATA_FOLDER: &str = "__cluster_metadata-0";

/// How much of the log is read at a time.
const READ_BYTES: usize = 1 << 20;
/// A batch that sets levels of features has no more records: there are few features.
const MOST_FEATURE_RECORDS: i32 = 64;
/// What of the log's end stays in memory for followers and for the next commit.
const TAIL_BYTES: usize = 1 << 20;
/// Of a log that no producer writes to, there is nothing to forget.
const NO_PRODUCER_EXPIRATION_MS: i64 = i64::MAX;

/// A snapshot that is stored.
#[derive(Clone, Copy, Debug)]
struct Stored {
    id: SnapshotId,
    size: u64,
    last_timestamp: TimestampMs,
}

pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    log: Log,
    snapshots: Vec<Stored>,
    /// What is being fetched, and how much of it is here.
    partial: Option<(SnapshotId, u64)>,
}

/// What was found.
pub(crate) struct Opened {
    pub store: Store,
    pub recovered: Recovered,
    /// The latest snapshot, to start from.
    pub snapshot: Option<(SnapshotId, Contents)>,
}

impl Store {
    pub(crate) fn open(env: &Env, settings: &Settings) -> Result<Opened, StartError> {
        let disk = env.disk.clone();
        let folder = settings.metadata_dir.join(METADATA_FOLDER);
        let (mut snapshots, latest) = find_snapshots(&*disk, &folder)?;
        let start_from = latest.as_ref().map_or(Offset::ZERO, |(id, _)| id.offset);
        let context = LogContext {
            disk: disk.clone(),
            rng: env.rng.clone(),
            tail: TailBudget::new(TAIL_BYTES),
            buffers: ReadBuffers::default(),
            producer_id_expiration_ms: NO_PRODUCER_EXPIRATION_MS,
            verifying: Verifying::default(),
            folders: FolderFlushes::default(),
        };
        let recovery = Recovery {
            clean: false,
            recovery_point: start_from,
            log_start: snapshots.first().map_or(Offset::ZERO, |stored| stored.id.offset),
        };
        let log_settings = Arc::new(settings.log_settings());
        let now = env.clock.now();
        let mut log = Log::open(&context, folder.clone(), Uuid::METADATA_TOPIC, log_settings, recovery, now)?;
        if log.end_offset() < start_from {
            // A snapshot was installed, or the log's tail was lost; the snapshot holds what was in it.
            info!(end = %log.end_offset(), snapshot = %start_from, "the metadata log starts over after the snapshot");
            log.reset_to(start_from)?;
        }
        if log.start_offset() > start_from {
            let reason =
                format!("the log starts at {} but there is no snapshot up to there", log.start_offset());
            return Err(StartError::Corrupt { path: folder, reason });
        }
        snapshots.retain(|stored| stored.id.offset <= start_from);
        let path = folder.join(quorum_state::FILE_NAME);
        let election = quorum_state::read(&*disk, &path).map_err(|error| match error {
            QuorumStateError::Io(source) => StartError::Io { path: path.clone(), source },
            QuorumStateError::Damaged(reason) => StartError::Corrupt { path: path.clone(), reason },
        })?;
        let mut store = Self { disk, folder, log, snapshots, partial: None };
        let recovered = store.survey(election, latest.as_ref(), settings.configured_voters())?;
        Ok(Opened { store, recovered, snapshot: latest })
    }

    /// Reads the whole log once for its outline and the quorum's records.
    fn survey(
        &mut self,
        election: ElectionState,
        latest: Option<&(SnapshotId, Contents)>,
        configured: VoterSet,
    ) -> Result<Recovered, StartError> {
        let corrupt = |folder: &Path, reason: String| StartError::Corrupt { path: folder.to_owned(), reason };
        let mut voters = VoterHistory::new(configured);
        if let Some((id, contents)) = latest {
            let last = id.offset.plus(-1);
            voters.record_kraft_version(last, contents.kraft_version);
            if let Some(set) = &contents.voters {
                voters.record_voters(last, set.clone());
            }
        }
        let mut epochs: Vec<LogPoint> = Vec::new();
        let (start, end) = (self.log.start_offset(), self.log.end_offset());
        let mut next = start;
        while next < end {
            let batches = self.read(next, end).map_err(|error| corrupt(&self.folder, error.to_string()))?;
            for batch in batches {
                let header = batch.header;
                if epochs.last().is_none_or(|last| last.epoch < header.leader_epoch) {
                    epochs.push(LogPoint::new(header.base_offset.max(start), header.leader_epoch));
                }
                if header.is_control() {
                    let records = codec::control_records(&batch);
                    let records = records.map_err(|error| corrupt(&self.folder, error.to_string()))?;
                    note_control(&mut voters, header.base_offset, &records);
                } else if header.record_count <= MOST_FEATURE_RECORDS {
                    self.check_features(&batch)?;
                }
                next = header.next_offset();
            }
        }
        let snapshots = self.snapshots.iter().map(|stored| stored.id).collect();
        Ok(Recovered { election, log: LogShape::recovered(start, end, epochs, snapshots), voters })
    }

    /// Refuses what a newer version has written before this one writes anything. Levels come in batches of their own, so that the
    /// large ones need not be looked into.
    fn check_features(&self, batch: &Batch) -> Result<(), StartError> {
        // What cannot be read at all is said of when it is replayed.
        for (_, record) in codec::metadata_records(batch).flatten() {
            let MetadataRecord::FeatureLevel(level) = record else { continue };
            if &*level.name == METADATA_VERSION && MetadataVersion::from_level(level.feature_level).is_none()
            {
                return Err(StartError::Unsupported(format!(
                    "{} is of {METADATA_VERSION} {}, which this version does not know: start the version on it that has written it",
                    self.folder.display(),
                    level.feature_level
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn end(&self) -> Offset {
        self.log.end_offset()
    }

    pub(crate) fn persist_election(
        &self,
        state: ElectionState,
        kraft_version: i16,
    ) -> Result<(), StoreError> {
        let path = self.folder.join(quorum_state::FILE_NAME);
        quorum_state::write(&*self.disk, &path, state, kraft_version)
            .map(|_stored| ())
            .map_err(StoreError::io("storing the vote"))
    }

    /// Appends; nothing of it is durable before [`Store::flush`]. Gives how many bytes it took.
    pub(crate) fn append(
        &mut self,
        entries: Vec<Entry>,
        leads: bool,
        now: TimestampMs,
    ) -> Result<u64, StoreError> {
        let mut bytes = 0;
        let mut batches = Vec::with_capacity(entries.len());
        let base = entries.first().map_or(self.end(), |entry| entry.base_offset);
        let epoch = entries.first().map_or(LeaderEpoch::NONE, |entry| entry.epoch);
        for entry in entries {
            let batch = codec::to_batch(entry, now);
            let batch = batch.map_err(|source| codec::CodecError::Batch { offset: base, source })?;
            bytes += batch.size() as u64;
            batches.push(batch);
        }
        let appended = if leads {
            self.log.append_as_leader(batches, epoch, now)
        } else {
            self.log.append_as_follower(batches, now)
        };
        let appended = appended.map_err(|error| StoreError::Append(error.to_string()))?;
        assert_eq!(appended.first, base, "the log and the quorum agree where it ends");
        Ok(bytes)
    }

    /// Makes durable what was found: a process that was killed leaves bytes that only the page cache has.
    pub(crate) fn settle(&mut self) -> Result<Durable, LogError> {
        let durable = self.log.durable();
        if durable.up_to() < self.log.end_offset() { self.log.flush() } else { Ok(durable) }
    }

    /// Makes everything appended so far durable.
    pub(crate) fn flush(&mut self) -> Result<Durable, StoreError> {
        Ok(self.log.flush()?)
    }

    pub(crate) fn truncate(&mut self, end: Offset, now: TimestampMs) -> Result<(), StoreError> {
        Ok(self.log.truncate_to(end, now)?)
    }

    /// The batches from the one holding `from` on, below `up_to`; at least one where there is one.
    pub(crate) fn read(&mut self, from: Offset, up_to: Offset) -> Result<Vec<Batch>, StoreError> {
        let bytes = self.read_bytes(from, up_to, READ_BYTES)?;
        let batches: Result<Vec<_>, _> = parse_batches(bytes).collect();
        Ok(batches.map_err(|source| codec::CodecError::Batch { offset: from, source })?)
    }

    /// As [`Store::read`], for those who parse themselves.
    pub(crate) fn read_bytes(
        &mut self,
        from: Offset,
        up_to: Offset,
        max_bytes: usize,
    ) -> Result<Bytes, StoreError> {
        let failed = |source| StoreError::Read { offset: from, source };
        let slice = match self.log.read(from, up_to, max_bytes, true).map_err(failed)? {
            Read::Ready(slice) => slice,
            Read::Cold(cold) => self.log.finish_read(cold.run(&mut greedy)).map_err(failed)?,
        };
        Ok(dohle_wire::RecordBytes::from(slice.chunks).into_bytes())
    }

    /// How many bytes the latest snapshot has; 0 without one.
    pub(crate) fn latest_snapshot_bytes(&self) -> u64 {
        self.snapshots.last().map_or(0, |stored| stored.size)
    }

    pub(crate) fn latest_snapshot(&self) -> Option<SnapshotId> {
        self.snapshots.last().map(|stored| stored.id)
    }

    pub(crate) fn snapshot_path(&self, id: SnapshotId) -> PathBuf {
        self.folder.join(snapshot::file_name(id))
    }

    /// A part of a stored snapshot and the size of the whole. `None` when there is no such snapshot.
    pub(crate) fn read_snapshot(
        &self,
        id: SnapshotId,
        position: u64,
        max_bytes: u32,
    ) -> Result<Option<(Bytes, u64)>, StoreError> {
        if !self.snapshots.iter().any(|stored| stored.id == id) {
            return Ok(None);
        }
        let read = || {
            let file = self.disk.open(&self.snapshot_path(id), OpenMode::Read)?;
            let size = file.len()?;
            let wanted = size.saturating_sub(position).min(u64::from(max_bytes).min(READ_BYTES as u64));
            let mut buffer = vec![0; usize::try_from(wanted).expect("at most a MiB")];
            let read = file.read_at(&mut buffer, position)?;
            buffer.truncate(read);
            Ok((Bytes::from(buffer), size))
        };
        read().map(Some).map_err(StoreError::io("reading a snapshot"))
    }

    /// A snapshot has been stored under its name.
    pub(crate) fn add_snapshot(&mut self, id: SnapshotId, size: u64, last_timestamp: TimestampMs) {
        self.snapshots.push(Stored { id, size, last_timestamp });
    }

    /// Deletes the snapshots and the part of the log that retention no longer asks for. What stays is always a snapshot and
    /// everything after it. Gives the new start, if it has moved.
    pub(crate) fn retain(
        &mut self,
        settings: &Settings,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Option<(Offset, SnapshotId)>, StoreError> {
        let mut removed = false;
        while self.snapshots.len() > 1 {
            let oldest = self.snapshots[0];
            let total =
                self.log.size_in_bytes() + self.snapshots.iter().map(|stored| stored.size).sum::<u64>();
            let too_big = settings.retention_bytes.is_some_and(|limit| total > limit);
            let age = u64::try_from(now.get().saturating_sub(oldest.last_timestamp.get())).unwrap_or(0);
            let too_old = settings.retention_ms.is_some_and(|limit| age > limit);
            // The bootstrap checkpoint has nothing that the next snapshot does not have.
            if !too_big && !too_old && oldest.id != BOOTSTRAP_SNAPSHOT {
                break;
            }
            let path = self.snapshot_path(oldest.id);
            self.disk.remove_file(&path).map_err(StoreError::io("deleting a snapshot"))?;
            self.snapshots.remove(0);
            removed = true;
        }
        let Some(earliest) = self.snapshots.first().map(|stored| stored.id).filter(|_| removed) else {
            return Ok(None);
        };
        if let Err(error) = self.log.delete_records_before(earliest.offset, HighWatermark(high_watermark)) {
            warn!(%error, "the metadata log keeps what its snapshots no longer need");
        }
        self.maintain(now, high_watermark)?;
        Ok(Some((self.log.start_offset(), earliest)))
    }

    /// Rolls and deletes files as due. Gives when to look again.
    pub(crate) fn maintain(
        &mut self,
        now: TimestampMs,
        high_watermark: Offset,
    ) -> Result<Option<TimestampMs>, StoreError> {
        let maintenance = self.log.maintain(now, HighWatermark(high_watermark))?;
        if let Some(cleanup) = maintenance.cleanup {
            let cleaned = cleanup.run(&mut || true);
            self.log.finish_cleanup(cleaned, now)?;
        }
        Ok(maintenance.next)
    }

    /// Stores a part of a snapshot that is being fetched.
    pub(crate) fn store_chunk(
        &mut self,
        id: SnapshotId,
        position: u64,
        bytes: &Bytes,
    ) -> Result<(), StoreError> {
        let part = snapshot::part_path(&self.snapshot_path(id));
        let store = || {
            let file = self.disk.open(&part, OpenMode::Create)?;
            if position == 0 {
                file.set_len(0)?;
            }
            file.write_all_at(&[std::io::IoSlice::new(bytes)], position)
        };
        store().map_err(StoreError::io("storing a part of a snapshot"))?;
        self.partial = Some((id, position + bytes.len() as u64));
        Ok(())
    }

    /// Puts a fetched snapshot in place and starts the log over after it. `None` when it is damaged.
    pub(crate) fn install_snapshot(&mut self, id: SnapshotId) -> Result<Option<Contents>, StoreError> {
        let path = self.snapshot_path(id);
        let part = snapshot::part_path(&path);
        let contents = match snapshot::read(&*self.disk, &part) {
            Ok(contents) => contents,
            Err(snapshot::SnapshotError::Io(source)) => {
                return Err(StoreError::io("reading a snapshot")(source));
            }
            Err(error) => {
                warn!(%error, "a fetched snapshot is damaged");
                None
            }
        };
        let (Some(contents), Some((_, size))) =
            (contents, self.partial.take().filter(|(stored, _)| *stored == id))
        else {
            return Ok(None);
        };
        let finish = || {
            let _stored = self.disk.open(&part, OpenMode::ReadWrite)?.sync_data()?;
            snapshot::finish(&*self.disk, &part, &path)
        };
        let _named = finish().map_err(StoreError::io("installing a snapshot"))?;
        self.log.reset_to(id.offset)?;
        for old in std::mem::take(&mut self.snapshots) {
            let path = self.snapshot_path(old.id);
            self.disk.remove_file(&path).map_err(StoreError::io("deleting a snapshot"))?;
        }
        self.add_snapshot(id, size, contents.last_timestamp);
        Ok(Some(contents))
    }

    /// Closes the log cleanly.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        self.log.close()?;
        Ok(())
    }
}

type Found = (Vec<Stored>, Option<(SnapshotId, Contents)>);

/// The snapshots in the folder, ascending, and the contents of the latest that is whole. Removes what was never finished.
fn find_snapshots(disk: &dyn Disk, folder: &Path) -> Result<Found, StartError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { path, source }
    };
    if disk.metadata(folder).map_err(io(folder))?.is_none() {
        return Ok((Vec::new(), None));
    }
    let mut ids = Vec::new();
    for entry in disk.list(folder).map_err(io(folder))? {
        let path = folder.join(&entry.name);
        if snapshot::is_part(&entry.name) {
            disk.remove_file(&path).map_err(io(&path))?;
        } else if let Some(id) = snapshot::parse_file_name(&entry.name) {
            let metadata = disk.metadata(&path).map_err(io(&path))?;
            let (size, modified) =
                metadata.map_or((0, TimestampMs(0)), |metadata| (metadata.len, metadata.modified));
            ids.push((id, size, modified));
        }
    }
    ids.sort_by_key(|(id, ..)| id.offset);
    let mut stored = Vec::new();
    let mut latest = None;
    while let Some((id, size, modified)) = ids.pop() {
        let path = folder.join(snapshot::file_name(id));
        if latest.is_some() {
            // Older ones are only kept, not read: the file's time stands for that of its last record.
            stored.push(Stored { id, size, last_timestamp: modified });
            continue;
        }
        match snapshot::read(disk, &path) {
            Ok(contents) => {
                let contents = contents.unwrap_or_default();
                stored.push(Stored { id, size, last_timestamp: contents.last_timestamp });
                latest = Some((id, contents));
            }
            Err(snapshot::SnapshotError::Io(source)) => return Err(StartError::Io { path, source }),
            Err(error) => warn!(path = %path.display(), %error, "a snapshot is damaged and is left aside"),
        }
    }
    stored.reverse();
    Ok((stored, latest))
}

fn note_control(voters: &mut VoterHistory, base: Offset, records: &[ControlRecord]) {
    let mut offset = base;
    for record in records {
        match record {
            ControlRecord::KRaftVersion(level) => voters.record_kraft_version(offset, *level),
            ControlRecord::Voters(set) => voters.record_voters(offset, set.clone()),
            ControlRecord::LeaderChange(_) | ControlRecord::Other => {}
        }
        offset = offset.next();
    }
}

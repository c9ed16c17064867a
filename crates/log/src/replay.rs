//! Producers on opening: the newest snapshot that is not past the end, then the batches from there on.

use dohle_env::disk::read_file;
use dohle_records::Batch;
use dohle_types::{Offset, TimestampMs};

use crate::error::{LogError, ReadError, failed};
use crate::frame::{Frame, HEADER_WINDOW_BYTES, Scanner};
use crate::log::Log;
use crate::marker::marker_of;
use crate::names::FileKind;
use crate::producers::{ProducerState, Producers};
use crate::recovery::{ignore_missing, storage};
use crate::snapshot;

/// How far before a snapshot the batches are looked for that a producer may still send again.
const RECALLED_RECORDS: i64 = 50_000;
/// How long ago a producer may have written that still sends again: several times the default `delivery.timeout.ms`.
const RECALLED_MS: i64 = 15 * 60 * 1000;
/// A snapshot is never larger: ten million producers.
const MAX_SNAPSHOT_BYTES: u64 = 512 << 20;

impl Log {
    /// Brings the producers up to the end of what is trusted.
    pub(crate) fn replay_trusted(&mut self, now: TimestampMs) -> Result<(), LogError> {
        let first = self.segments.front().map_or(self.start, |segment| segment.base);
        let snapshot = self.load_snapshot(now)?;
        if let Some(at) = snapshot {
            self.recall_batches(first, at, now);
        }
        self.replay_producers(snapshot.unwrap_or(first), self.end)
    }

    /// A snapshot holds each producer's last batch; the batches before it, which a producer may still send again, are found in the
    /// log below the snapshot. Looks back over [`RECALLED_RECORDS`], and only for producers that wrote within [`RECALLED_MS`]:
    /// others have given up sending.
    fn recall_batches(&mut self, first: Offset, at: Offset, now: TimestampMs) {
        let oldest = now.get().saturating_sub(RECALLED_MS);
        let is_recent =
            |state: &ProducerState| state.last_timestamp.get() >= oldest && state.last_batch().is_some();
        if !self.producers.states().values().any(|state| is_recent(state)) {
            return;
        }
        let from = first.max(Offset(at.get().saturating_sub(RECALLED_RECORDS)));
        let of_snapshot = std::mem::take(&mut self.producers);
        let replayed = self.replay_producers(from, at);
        let recent = std::mem::replace(&mut self.producers, of_snapshot);
        match replayed {
            Ok(()) => self.producers.recall(&recent),
            Err(error) => {
                tracing::warn!(%error, "batches that producers may send again could not be looked up")
            }
        }
    }

    /// Takes the newest snapshot that is at or below the end. Where it stands, or `None` without one.
    pub(crate) fn load_snapshot(&mut self, now: TimestampMs) -> Result<Option<Offset>, LogError> {
        self.producers.clear();
        let candidates: Vec<Offset> = self.snapshots.range(..=self.end).rev().copied().collect();
        for at in candidates {
            if let Some((_, contents)) = self.dirty.snapshots.iter().find(|(pending, _)| *pending == at) {
                self.producers = Producers::of(snapshot::decode(contents).expect("it was just encoded"));
                return Ok(Some(at));
            }
            let path = self.path(at, FileKind::ProducerSnapshot);
            let contents =
                read_file(self.disk(), &path, MAX_SNAPSHOT_BYTES).map_err(failed("reading", &path))?;
            match snapshot::decode(&contents.unwrap_or_default()) {
                Ok(states) => {
                    self.producers = Producers::of(states);
                    self.producers.expire(now, self.context.producer_id_expiration_ms);
                    return Ok(Some(at));
                }
                Err(what) => {
                    tracing::warn!(path = %path.display(), what, "removing a producer snapshot that cannot be read");
                    self.disk()
                        .remove_file(&path)
                        .or_else(ignore_missing)
                        .map_err(failed("removing", &path))?;
                    self.snapshots.remove(&at);
                }
            }
        }
        Ok(None)
    }

    /// Removes snapshots that stand neither before a segment nor at the end: each clean stop leaves one where the log then ends, and once
    /// the log has grown past it nobody else would. As they are right, a crash may bring them back.
    pub(crate) fn drop_stray_snapshots(&mut self) -> Result<(), LogError> {
        let is_stray = |at: &Offset| {
            *at != self.end && self.segments.binary_search_by_key(at, |segment| segment.base).is_err()
        };
        let strays: Vec<Offset> = self.snapshots.iter().copied().filter(is_stray).collect();
        for at in strays {
            let path = self.path(at, FileKind::ProducerSnapshot);
            self.disk().remove_file(&path).or_else(ignore_missing).map_err(failed("removing", &path))?;
            self.snapshots.remove(&at);
        }
        Ok(())
    }

    /// Replays the batches of `[from, to)` for the producers.
    pub(crate) fn replay_producers(&mut self, from: Offset, to: Offset) -> Result<(), LogError> {
        if from >= to {
            return Ok(());
        }
        for at in self.segment_of(from)..self.segments.len() {
            let view = self.view(at, true);
            if view.base >= to || view.size == 0 {
                break;
            }
            let mut scanner = view.scanner(view.position_before(from)?, HEADER_WINDOW_BYTES)?.for_headers();
            while let Some(frame) = scanner.next().map_err(storage)? {
                if frame.base_offset >= to {
                    return Ok(());
                }
                if frame.base_offset >= from {
                    self.replay_frame(&mut scanner, &frame).map_err(storage)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn replay_frame(
        &mut self,
        scanner: &mut Scanner,
        frame: &Frame,
    ) -> Result<Option<crate::index::AbortedTransaction>, ReadError> {
        let Some(header) = frame.header.filter(dohle_records::BatchHeader::has_producer) else {
            return Ok(None);
        };
        let mut marker = None;
        if header.is_control() {
            let bytes = scanner.bytes_of(frame)?;
            let batch = Batch::parse(&bytes).map_err(|error| error.to_string());
            marker =
                batch.and_then(|batch| marker_of(&batch)).map_err(|what| scanner.damaged_at(frame, what))?;
        }
        Ok(self.producers.replay(&header, marker))
    }
}

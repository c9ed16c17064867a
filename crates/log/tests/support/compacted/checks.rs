//! What has to hold of a compacted log, by the names of the invariants.

use super::*;

impl Compacted {
    /// Opens what a crash has left and holds it against what had been acknowledged.
    pub fn check_crashed(&mut self) -> Result<(), String> {
        self.stop();
        let first = self.check_opened()?;
        // Once more, killed before anything was flushed.
        self.world.disk.kill();
        let again = self.check_opened()?;
        fail_unless(first == again, "RecoveryIdempotent", || "another log after another start".to_owned())
    }

    pub(super) fn check_opened(&mut self) -> Result<Vec<BatchHeader>, String> {
        let mut log = self.reopened().map_err(|error| format!("opening: {error}"))?;
        self.check(&mut log)
    }

    /// Crashes once more, in the middle of recovering, and checks then.
    pub fn check_crashed_twice(&mut self, seed: u64) -> Result<(), String> {
        let before = self.world.disk.fork();
        let operations = {
            let _log = self.reopened().map_err(|error| error.to_string())?;
            self.world.disk.operations()
        };
        if operations > 0 {
            let disk = before.fork();
            disk.fail_at(seed % operations, Fault::Crash);
            self.world = self.world.in_another_life(disk.clone());
            let _crashed = self.reopened();
            disk.crash(seed);
            self.check_crashed()?;
        }
        self.world = self.world.in_another_life(before);
        self.check_crashed()
    }

    /// The first invariant that does not hold of an open log; the headers of its batches.
    pub fn check(&self, log: &mut Log) -> Result<Vec<BatchHeader>, String> {
        let (start, end) = (log.start_offset(), log.end_offset());
        fail_unless(end >= self.acknowledged, "AcknowledgedSurvives", || {
            format!("ends at {end}, {} was acknowledged", self.acknowledged)
        })?;
        fail_unless(start >= self.start, "AcknowledgedSurvives", || {
            format!("deleted records before {} are back", self.start)
        })?;
        let batches = read_all(log);
        let mut found = BTreeMap::new();
        let mut next = Offset::ZERO;
        for batch in &batches {
            let header = &batch.header;
            fail_unless(header.base_offset >= next && header.next_offset() <= end, "OffsetsStay", || {
                format!("{header:?} after {next}, in a log that ends at {end}")
            })?;
            next = header.next_offset();
            found.extend(
                self.check_batch(batch)?.into_iter().filter(|offset| *offset >= start).map(|o| (o, ())),
            );
        }
        let found: BTreeSet<Offset> = found.into_keys().collect();
        self.check_latest(&found, start)?;
        let aborted = log.aborted_transactions(start, end).map_err(|error| error.to_string())?;
        let aborted = aborted.expect("everything is in memory");
        self.check_aborted(&found, &aborted)?;
        self.check_producers(&batches, log, end)?;
        Ok(batches.iter().map(|batch| batch.header).collect())
    }

    /// Every record of a batch is one that was written where it stands. Their offsets.
    pub(super) fn check_batch(&self, batch: &Batch) -> Result<Vec<Offset>, String> {
        let known = self.headers.iter().any(|(header, _)| {
            header.base_offset == batch.header.base_offset
                && header.last_offset() == batch.header.last_offset()
        });
        fail_unless(known, "OffsetsStay", || format!("no batch was {:?}", batch.header))?;
        let mut offsets = Vec::new();
        for record in batch.records(1 << 20).filter(|_| !batch.header.is_control()) {
            let record = record.map_err(|error| error.to_string())?;
            let same = self.records.get(&record.offset).is_some_and(|written| {
                record.key.as_deref() == Some(&written.key[..])
                    && record.value.as_deref() == written.value.as_deref()
                    && record.timestamp == written.timestamp
                    && batch.header.producer_id == written.producer
            });
            fail_unless(same, "OffsetsStay", || format!("{record:?} was never written there"))?;
            offsets.push(record.offset);
        }
        Ok(offsets)
    }

    /// Whether a record counts (`Some(true)`), was aborted (`Some(false)`), or is not decided among the first `end` offsets.
    fn fate(&self, offset: Offset, written: &Written, end: Offset) -> Option<bool> {
        if !written.transactional {
            return Some(true);
        }
        let marker = self.headers.iter().find(|(header, marker)| {
            marker.is_some() && header.producer_id == written.producer && header.base_offset > offset
        });
        marker.filter(|(header, _)| header.base_offset < end).and_then(|(_, committed)| *committed)
    }

    /// `LatestSurvives`.
    fn check_latest(&self, found: &BTreeSet<Offset>, start: Offset) -> Result<(), String> {
        let mut latest: BTreeMap<&[u8], Offset> = BTreeMap::new();
        for (offset, written) in self.records.range(start..self.acknowledged.max(start)) {
            match self.fate(*offset, written, self.acknowledged) {
                Some(true) => _ = latest.insert(&written.key, *offset),
                Some(false) => {}
                None => fail_unless(found.contains(offset), "LatestSurvives", || {
                    format!("the undecided record at {offset} is gone")
                })?,
            }
        }
        for (key, offset) in latest {
            let key_name = String::from_utf8_lossy(key);
            if self.records[&offset].value.is_some() {
                fail_unless(found.contains(&offset), "LatestSurvives", || {
                    format!("{key_name} at {offset} is gone")
                })?;
            } else if !found.contains(&offset) {
                let older = found.range(..offset).find(|older| {
                    let older_record = &self.records[older];
                    older_record.key == key
                        && self.fate(**older, older_record, self.acknowledged) == Some(true)
                });
                fail_unless(older.is_none(), "LatestSurvives", || {
                    format!("{key_name} was deleted at {offset}, and is back at {older:?}")
                })?;
            }
        }
        Ok(())
    }

    /// Who reads committed records skips those that were aborted, and no others.
    fn check_aborted(&self, found: &BTreeSet<Offset>, aborted: &[AbortedTransaction]) -> Result<(), String> {
        for offset in found {
            let written = &self.records[offset];
            let skipped = aborted.iter().any(|aborted| {
                aborted.producer_id == written.producer
                    && (aborted.first_offset..=aborted.last_offset).contains(offset)
                    && written.transactional
            });
            let fate = self.fate(*offset, written, self.acknowledged);
            let wrong = (skipped && fate == Some(true)) || (!skipped && fate == Some(false));
            fail_unless(!wrong, "OffsetsStay", || {
                format!("{written:?} at {offset}: {fate:?}, skipped: {skipped}")
            })?;
        }
        Ok(())
    }

    /// `ProducersRebuilt`: what they are after what was acknowledged and what survived of the rest.
    fn check_producers(&self, batches: &[Batch], log: &Log, end: Offset) -> Result<(), String> {
        let survived: BTreeSet<Offset> = batches.iter().map(|batch| batch.header.base_offset).collect();
        let mut states: BTreeMap<ProducerId, ProducerInfo> = BTreeMap::new();
        for (header, marker) in &self.headers {
            let at = header.base_offset;
            if !header.has_producer() || at >= end || (at >= self.acknowledged && !survived.contains(&at)) {
                continue;
            }
            let state = states.entry(header.producer_id).or_insert(ProducerInfo {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                last_sequence: Sequence::NONE,
                last_timestamp: TimestampMs::NONE,
                coordinator_epoch: -1,
                transaction_start: Offset::NONE,
            });
            (state.epoch, state.last_timestamp) = (header.producer_epoch, header.max_timestamp);
            if marker.is_some() {
                (state.transaction_start, state.coordinator_epoch) = (Offset::NONE, 0);
            } else {
                state.last_sequence = header.last_sequence();
                if header.is_transactional() && state.transaction_start == Offset::NONE {
                    state.transaction_start = at;
                }
            }
        }
        let expected: Vec<ProducerInfo> = states.into_values().collect();
        let mut known: Vec<ProducerInfo> = log.producers().collect();
        if let Some(cut) = self.cut_at {
            return self.check_producers_since(cut, &survived, &known);
        }
        // The time of a batch is that of the latest record that is left of it.
        for (known, expected) in known.iter_mut().zip(&expected) {
            if known.last_timestamp < expected.last_timestamp {
                known.last_timestamp = expected.last_timestamp;
            }
        }
        fail_unless(known == expected, "ProducersRebuilt", || format!("{known:?} instead of {expected:?}"))
    }
    /// What is known of producers since the log was cut below what had been compacted.
    fn check_producers_since(
        &self,
        cut: Offset,
        survived: &BTreeSet<Offset>,
        known: &[ProducerInfo],
    ) -> Result<(), String> {
        let counts = |at: Offset| at >= cut && (at < self.acknowledged || survived.contains(&at));
        let since = self
            .headers
            .iter()
            .map(|(header, _)| header)
            .filter(|header| header.has_producer() && !header.is_control() && counts(header.base_offset));
        let latest: BTreeMap<ProducerId, &BatchHeader> =
            since.map(|header| (header.producer_id, header)).collect();
        for (id, header) in latest {
            let found = known.iter().find(|info| info.producer_id == id);
            let found = found.map(|info| (info.epoch, info.last_sequence));
            let expected = Some((header.producer_epoch, header.last_sequence()));
            fail_unless(found == expected, "ProducersRebuilt", || {
                format!("of {id} {found:?} is known instead of {expected:?}")
            })?;
        }
        Ok(())
    }
}

//! What has to hold of a log, by the names of the invariants.

use super::*;

/// How many ends of a log are tried that a crash has left.
const CUTS_CHECKED: usize = 5;

impl Workload {
    /// Opens what a crash has left and holds it against what had been acknowledged. The first invariant that does not hold.
    pub fn check(&mut self) -> Result<(), String> {
        self.log = None;
        let (batches, producers, bounds) = self.reopen()?;
        let (start, end) = bounds;
        let acknowledged = self.acknowledged;
        fail_unless(end >= acknowledged, "AcknowledgedSurvives", || {
            format!("ends at {end}, {acknowledged} was acknowledged")
        })?;
        fail_unless(start >= self.start, "AcknowledgedSurvives", || {
            format!("deleted records before {} are back", self.start)
        })?;
        fail_unless(self.starts.contains(&start), "OffsetsContiguous", || {
            format!("starts at {start}, {:?} are known", self.starts)
        })?;
        let mut next = batches.first().map_or(end, |batch| batch.header.base_offset);
        fail_unless(next <= start.max(next) && next <= start.max(end), "OffsetsContiguous", || {
            format!("starts with {next}, not {start}")
        })?;
        for batch in &batches {
            let (base, last, crc) = identity(batch);
            fail_unless(base == next, "OffsetsContiguous", || format!("{base} follows {next}"))?;
            let known = self.appended.get(&base).is_some_and(|known| known.contains(&(last, crc)));
            fail_unless(known, "OneValuePerOffset", || {
                format!("what is at {base} was never appended there")
            })?;
            next = last.next();
        }
        fail_unless(next == end, "OffsetsContiguous", || format!("batches end at {next}, the log at {end}"))?;
        self.bring_back(&batches);
        let expected = self.replay(end);
        // Of a segment that was being thrown away the snapshot may be gone and the batches be left.
        fail_unless(producers == expected || self.resetting, "ProducersRebuilt", || {
            format!("{producers:?} instead of {expected:?}")
        })?;
        // Once more, killed before anything was flushed.
        self.world.disk.kill();
        let again = self.reopen()?;
        let same = again.0.iter().map(identity).eq(batches.iter().map(identity)) && again.2 == bounds;
        fail_unless(same, "RecoveryIdempotent", || format!("{:?} after {bounds:?}", again.2))?;
        if self.resetting { Ok(()) } else { self.check_cut(&batches, start) }
    }

    /// What is known of producers is right wherever the log is cut next: no snapshot is left of records that are gone.
    fn check_cut(&mut self, batches: &[Batch], start: Offset) -> Result<(), String> {
        let mut log = self.reopened().map_err(|error| format!("opening: {error}"))?;
        let inner = batches.iter().map(|batch| batch.header.base_offset).filter(|base| *base > start);
        let cuts: Vec<Offset> = inner.collect();
        // The last ones, where the log may have been cut before.
        for cut in cuts.into_iter().rev().take(CUTS_CHECKED) {
            log.truncate_to(cut, ms(self.now)).map_err(|error| format!("cutting: {error}"))?;
            let (known, expected) = (log.producers().collect::<Vec<_>>(), self.replay(cut));
            fail_unless(known == expected, "ProducersRebuilt", || {
                format!("{known:?} instead of {expected:?} when it is cut at {cut}")
            })?;
        }
        Ok(())
    }

    /// What was half cut off and is here again is of the history.
    fn bring_back(&mut self, found: &[Batch]) {
        let found: BTreeSet<_> = found.iter().map(identity).collect();
        let end = self.history.last().map_or(Offset::ZERO, |(header, _)| header.next_offset());
        self.half_cut.retain(|(header, _)| {
            let identity = (header.base_offset, header.last_offset(), header.crc);
            header.base_offset >= end && found.contains(&identity)
        });
        self.history.append(&mut self.half_cut);
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
            self.check()?;
        }
        self.world = self.world.in_another_life(before);
        self.check()
    }

    pub fn reopen(&self) -> Result<Found, String> {
        let mut log = self.reopened().map_err(|error| format!("opening: {error}"))?;
        let batches = read_all(&mut log);
        epochs_are_those_of(&log, &batches)?;
        Ok((batches, log.producers().collect(), (log.start_offset(), log.end_offset())))
    }

    /// What producers are after `[0, end)` of the history, by the plainest of means.
    pub fn replay(&self, end: Offset) -> Vec<ProducerInfo> {
        let mut states: BTreeMap<ProducerId, ProducerInfo> = BTreeMap::new();
        for (header, marker) in
            self.history.iter().filter(|(header, _)| header.base_offset < end && header.has_producer())
        {
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
                    state.transaction_start = header.base_offset;
                }
            }
        }
        states.into_values().collect()
    }
}

/// `EpochsRebuilt`: the log knows of each batch which leader epoch wrote it.
pub(super) fn epochs_are_those_of(log: &Log, batches: &[Batch]) -> Result<(), String> {
    for batch in batches {
        let at = batch.header.base_offset.max(log.start_offset());
        let known = log.epoch_of(at);
        fail_unless(known == Some(batch.header.leader_epoch), "EpochsRebuilt", || {
            format!("{known:?} wrote {at}, whose batch says {}", batch.header.leader_epoch)
        })?;
    }
    Ok(())
}

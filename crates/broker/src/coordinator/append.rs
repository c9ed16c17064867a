//! Records to batches of the log.

use dohle_coordinator::frame::{EncodedRecord, size_in_log};
use dohle_records::{Batch, BatchBuilder, Compression, HEADER_LEN};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

/// Packs records into as few batches as the limit allows. `units` are the ends of what must not be divided, the last being the number
/// of the records. A unit that is larger than the limit, should the limit have fallen meanwhile, has a batch of its own.
pub fn batches(
    records: &[EncodedRecord],
    units: &[usize],
    compression: Compression,
    max_batch_bytes: usize,
    now: TimestampMs,
) -> Vec<Batch> {
    assert_eq!(units.last().copied().unwrap_or(0), records.len(), "every record belongs to a unit");
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(compression);
    let (mut size, mut start) = (HEADER_LEN, 0);
    for &end in units {
        let unit = &records[start..end];
        let unit_size: usize = unit.iter().map(size_in_log).sum();
        if !builder.is_empty() && size + unit_size > max_batch_bytes {
            let full = std::mem::replace(&mut builder, BatchBuilder::new(compression));
            batches.push(seal(full));
            size = HEADER_LEN;
        }
        for record in unit {
            builder.append(now, Some(&record.key), record.value.as_deref(), &[]);
        }
        size += unit_size;
        start = end;
    }
    if !builder.is_empty() {
        batches.push(seal(builder));
    }
    batches
}

/// The log gives offsets and epoch.
fn seal(builder: BatchBuilder) -> Batch {
    builder.build(Offset::ZERO, LeaderEpoch::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn record(size: usize) -> EncodedRecord {
        EncodedRecord { key: Bytes::from(vec![b'k'; size]), value: None }
    }

    fn counts(sizes: &[usize], units: &[usize], limit: usize) -> Vec<i32> {
        let records: Vec<_> = sizes.iter().map(|&size| record(size)).collect();
        let batches = batches(&records, units, Compression::None, limit, TimestampMs(7));
        assert!(batches.iter().all(|batch| batch.check_crc().is_ok()));
        batches.iter().map(|batch| batch.header.record_count).collect()
    }

    #[test]
    fn units_share_batches_and_are_never_divided() {
        assert_eq!(counts(&[10, 10, 10], &[1, 2, 3], 1000), [3]);
        // 61 + 2 * (21 + 100) = 303.
        assert_eq!(counts(&[100, 100, 100], &[1, 2, 3], 303), [2, 1]);
        assert_eq!(counts(&[100, 100, 100], &[1, 3], 303), [1, 2]);
        assert_eq!(counts(&[100, 100, 100], &[3], 303), [3], "larger than the limit, but one");
        assert!(counts(&[], &[], 303).is_empty());
    }

    #[test]
    fn no_batch_is_larger_than_reckoned() {
        for size in [0, 1, 50, 200, 70_000] {
            let records: Vec<_> = (0..20).map(|_| record(size)).collect();
            let reckoned = HEADER_LEN + records.iter().map(size_in_log).sum::<usize>();
            let made = batches(&records, &[20], Compression::None, reckoned, TimestampMs(1_700_000_000_000));
            assert_eq!(made.len(), 1);
            assert!(made[0].size() <= reckoned, "{size}: {} > {reckoned}", made[0].size());
        }
    }
}

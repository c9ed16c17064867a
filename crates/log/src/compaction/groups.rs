//! Which segments become one. The rules are Kafka's (`Cleaner.groupSegmentsBySize`).

use std::ops::Range;

use dohle_types::Offset;

/// A segment that is to be compacted, by its sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub base: Offset,
    pub log: u64,
    pub offset_index: u64,
    pub time_index: u64,
}

/// Divides `segments`, which end at `end`, into runs that fit into one segment each: together not larger than `most_log` bytes,
/// their indexes not than `most_index`, and their offsets within reach of the first base.
pub(super) fn groups(segments: &[Sizes], most_log: u64, most_index: u64, end: Offset) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < segments.len() {
        let mut sum = segments[start];
        let mut next = start + 1;
        while let Some(more) = segments.get(next) {
            let last = segments.get(next + 1).map_or(end, |after| after.base).get() - 1;
            let within_reach = more.log == 0 || last - sum.base.get() <= i64::from(i32::MAX);
            sum.log += more.log;
            sum.offset_index += more.offset_index;
            sum.time_index += more.time_index;
            let fits = sum.log <= most_log && sum.offset_index <= most_index && sum.time_index <= most_index;
            if !(fits && within_reach) {
                break;
            }
            next += 1;
        }
        groups.push(start..next);
        start = next;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many segments each group has.
    fn run(segments: &[(i64, u64, u64)], most_log: u64, most_index: u64, end: i64) -> Vec<usize> {
        let segments: Vec<Sizes> = segments
            .iter()
            .map(|&(base, log, index)| Sizes {
                base: Offset(base),
                log,
                offset_index: index,
                time_index: index,
            })
            .collect();
        groups(&segments, most_log, most_index, Offset(end)).into_iter().map(|group| group.len()).collect()
    }

    #[test]
    fn sizes_and_indexes_bound_a_group() {
        assert!(run(&[], 100, 100, 0).is_empty());
        let five = [(0, 40, 8), (10, 40, 8), (20, 40, 8), (30, 40, 8), (40, 40, 8)];
        assert_eq!(run(&five, 1000, 1000, 50), [5]);
        assert_eq!(run(&five, 1, 1, 50), [1, 1, 1, 1, 1]);
        assert_eq!(run(&five, 80, 1000, 50), [2, 2, 1]);
        assert_eq!(run(&five, 1000, 24, 50), [3, 2]);
        assert_eq!(
            run(&[(0, 200, 8), (9, 10, 8)], 100, 100, 20),
            [1, 1],
            "one that is too large stands alone"
        );
    }

    #[test]
    fn offsets_bound_a_group() {
        let reach = i64::from(i32::MAX);
        assert_eq!(run(&[(0, 9, 0), (10, 9, 0)], 1000, 1000, reach + 1), [2]);
        assert_eq!(run(&[(0, 9, 0), (10, 9, 0)], 1000, 1000, reach + 2), [1, 1]);
        assert_eq!(run(&[(0, 9, 0), (10, 9, 0), (reach, 9, 0)], 1000, 1000, reach + 9), [2, 1]);
        assert_eq!(run(&[(0, 9, 0), (10, 0, 0), (reach + 10, 9, 0)], 1000, 1000, reach + 20), [2, 1]);
        assert_eq!(
            run(&[(0, 9, 0), (reach + 10, 0, 0)], 1000, 1000, reach + 20),
            [2],
            "a segment without a byte has no offset to reach"
        );
    }
}

//! The filter, case by case: what goes in and what has to come out, as Kafka 4.3's cleaner has it.

use std::collections::HashMap;

use dohle_config::TimestampType;
use dohle_env::Rng;
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchBuilder, Compression, Entry, Header, parse_entries};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::filter::{Filter, Kept, LastOf, RecordCounts};
use super::key_map::KeyMap;
use super::transactions::Transactions;
use crate::index::AbortedTransaction;

const NOW: i64 = 10_000;
const RETENTION: i64 = 1000;
const HORIZON: TimestampMs = TimestampMs(NOW + RETENTION);
const FAR_END: Offset = Offset(1 << 40);

/// What a compaction knows beside the batches.
struct Bench {
    map: KeyMap,
    aborted: Vec<AbortedTransaction>,
    producers: HashMap<ProducerId, LastOf>,
    end: Offset,
    now: i64,
    counts: RecordCounts,
}

impl Bench {
    /// With the latest offset of each key, and the map knowing the log below `mapped`.
    fn new(latest: &[(&str, i64)], mapped: i64) -> Self {
        let mut map = KeyMap::new(1 << 20, 0.9, &Rng::seeded(1));
        for (key, offset) in latest {
            assert!(map.put(key.as_bytes(), Offset(*offset)));
        }
        map.covers(Offset(mapped - 1));
        let (aborted, producers, counts) = (Vec::new(), HashMap::new(), RecordCounts::default());
        Self { map, aborted, producers, end: FAR_END, now: NOW, counts }
    }

    fn aborting(mut self, producer: i64, first: i64, marker: i64) -> Self {
        self.aborted.push(AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(marker),
            last_stable_offset: Offset(marker + 1),
        });
        self
    }

    fn active(mut self, producer: i64, last: LastOf) -> Self {
        self.producers.insert(ProducerId(producer), last);
        self
    }

    fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    /// Puts the batches through; also gives the aborted transactions that stay in the index.
    fn run(&mut self, batches: &[&Batch]) -> (Vec<Kept>, Vec<AbortedTransaction>) {
        let mut transactions = Transactions::new(&self.aborted, Offset(0));
        let mut filter = Filter {
            map: &self.map,
            transactions: &mut transactions,
            producers: &self.producers,
            end: self.end,
            now: TimestampMs(self.now),
            delete_retention_ms: RETENTION,
            counts: &mut self.counts,
        };
        let kept = batches.iter().map(|batch| filter.batch(batch).unwrap()).collect();
        (kept, transactions.take_kept())
    }

    fn one(&mut self, batch: &Batch) -> Kept {
        self.run(&[batch]).0.remove(0)
    }
}

/// A batch at `base` of records `key=value`; without `=` a tombstone, and `-` for no key.
fn batch(base: i64, records: &[&str]) -> Batch {
    filled(BatchBuilder::new(Compression::None), base, records)
}

fn transactional(base: i64, producer: i64, sequence: i32, records: &[&str]) -> Batch {
    let builder = BatchBuilder::new(Compression::None).transactional(true);
    filled(builder.producer(ProducerId(producer), ProducerEpoch(3), Sequence(sequence)), base, records)
}

fn filled(mut builder: BatchBuilder, base: i64, records: &[&str]) -> Batch {
    for (nth, record) in records.iter().enumerate() {
        let (key, value) = record.split_once('=').map_or((*record, None), |(key, value)| (key, Some(value)));
        let key = (key != "-").then_some(key.as_bytes());
        let headers = [Header::new("h", Some("v"))];
        builder.append(TimestampMs(500 + nth as i64), key, value.map(str::as_bytes), &headers);
    }
    builder.build(Offset(base), LeaderEpoch(7))
}

fn marker(base: i64, producer: i64, committed: bool) -> Batch {
    let marker = EndTransaction { committed, coordinator_epoch: 0 };
    marker.to_batch(ProducerId(producer), ProducerEpoch(3), TimestampMs(600), Offset(base), LeaderEpoch(7))
}

/// Offset, timestamp, key and value of each record.
fn records(batch: &Batch) -> Vec<(i64, i64, String)> {
    batch.check_crc().unwrap();
    let records = batch.records(1 << 20).map(|record| {
        let record = record.unwrap();
        assert_eq!(record.headers.len(), usize::from(!batch.header.is_control()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let key = record.key.as_deref().map_or("-".to_owned(), text);
        let value = record.value.as_deref().map_or(String::new(), |value| format!("={}", text(value)));
        (record.offset.get(), record.timestamp.get(), format!("{key}{value}"))
    });
    records.collect()
}

#[track_caller]
fn anew(kept: Kept) -> Batch {
    match kept {
        Kept::Anew(batch) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_latest_of_each_key_stays() {
    let five = batch(10, &["a=1", "b=1", "a=2", "c=1", "b=2"]);
    for (latest, expected) in [
        (&[("a", 12), ("b", 14), ("c", 13)][..], Some(&[12, 13, 14][..])),
        (&[("a", 20), ("b", 21), ("c", 22)], None),
        (&[("a", 20)], Some(&[11, 13, 14])),
        (&[("a", 20), ("b", 21)], Some(&[13])),
    ] {
        match (Bench::new(latest, 100).one(&five), expected) {
            (Kept::Nothing, None) => {}
            (Kept::Anew(kept), Some(expected)) => {
                let offsets: Vec<i64> = records(&kept).iter().map(|(offset, ..)| *offset).collect();
                assert_eq!(offsets, expected, "{latest:?}");
                assert_eq!((kept.header.base_offset, kept.header.last_offset()), (Offset(10), Offset(14)));
                assert_eq!(kept.header.leader_epoch, LeaderEpoch(7));
            }
            (kept, expected) => panic!("{kept:?} instead of {expected:?}"),
        }
    }
    assert_eq!(Bench::new(&[], 100).one(&five), Kept::AsItIs, "keys that are not in the dirty part");
}

#[test]
fn what_is_above_the_map_is_not_judged() {
    let three = batch(10, &["a=1", "a=2", "-=3"]);
    let kept = anew(Bench::new(&[("a", 11)], 12).one(&three));
    assert_eq!(records(&kept), [(11, 501, "a=2".to_owned()), (12, 502, "-=3".to_owned())]);
    assert_eq!(Bench::new(&[("a", 5)], 10).one(&three), Kept::AsItIs);
}

#[test]
fn records_without_a_key_go() {
    let mut bench = Bench::new(&[], 100);
    let kept = anew(bench.one(&batch(0, &["-=1", "a=1", "-=2"])));
    assert_eq!(records(&kept), [(1, 501, "a=1".to_owned())]);
    assert_eq!(bench.counts, RecordCounts { read: 3, kept: 1, without_key: 2 });
}

#[test]
fn a_batch_built_anew_says_the_same_of_itself() {
    for codec in Compression::ALL {
        let builder = BatchBuilder::new(codec).producer(ProducerId(4), ProducerEpoch(2), Sequence(17));
        let whole = filled(builder, 30, &["a=1", "b=1", "c=1"]);
        let kept = anew(Bench::new(&[("b", 50)], 100).one(&whole));
        let (old, new) = (&whole.header, &kept.header);
        assert_eq!(new.compression().unwrap(), codec);
        assert_eq!((new.producer_id, new.producer_epoch), (old.producer_id, old.producer_epoch));
        assert_eq!((new.base_sequence, new.last_sequence()), (old.base_sequence, old.last_sequence()));
        assert_eq!((new.max_timestamp, new.record_count), (old.max_timestamp, 2));
        assert_eq!(records(&kept), [(30, 500, "a=1".to_owned()), (32, 502, "c=1".to_owned())]);
    }
    let appended =
        filled(BatchBuilder::new(Compression::Lz4).log_append_time(TimestampMs(900)), 0, &["a=1", "b"]);
    let kept = anew(Bench::new(&[("a", 9)], 100).one(&appended));
    assert_eq!(kept.header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(kept.header.max_timestamp, TimestampMs(900));
    assert_eq!(kept.header.delete_horizon(), Some(HORIZON));
    assert_eq!(records(&kept), [(1, 900, "b".to_owned())]);
}

#[test]
fn tombstones_stay_until_their_horizon() {
    let both = batch(0, &["a", "b=1"]);
    let marked = anew(Bench::new(&[("a", 0)], 100).one(&both));
    assert_eq!(marked.header.delete_horizon(), Some(HORIZON));
    assert_eq!(marked.header.base_timestamp, HORIZON);
    assert_eq!(records(&marked), [(0, 500, "a".to_owned()), (1, 501, "b=1".to_owned())], "times stay");
    assert_eq!(marked.header.max_timestamp, TimestampMs(501));
    let bench = || Bench::new(&[("a", 0)], 100);
    assert_eq!(bench().at(HORIZON.get() - 1).one(&marked), Kept::AsItIs, "the horizon is set once");
    let later = anew(bench().at(HORIZON.get()).one(&marked));
    assert_eq!(records(&later), [(1, 501, "b=1".to_owned())]);
    assert_eq!(later.header.delete_horizon(), Some(HORIZON), "a batch keeps its mark");
    let newer = anew(Bench::new(&[("b", 50)], 100).one(&marked));
    assert_eq!(
        (records(&newer), newer.header.delete_horizon()),
        (vec![(0, 500, "a".to_owned())], Some(HORIZON))
    );
    let replaced = Bench::new(&[("a", 50)], 100).one(&batch(0, &["a"]));
    assert_eq!(replaced, Kept::Nothing, "one that is not the latest of its key");
    let unmapped = anew(Bench::new(&[], 0).one(&batch(5, &["a"])));
    assert_eq!(unmapped.header.delete_horizon(), Some(HORIZON), "above the map too");
}

#[test]
fn an_aborted_transaction_goes_and_then_its_marker() {
    let (data, abort) = (transactional(0, 4, 0, &["a=1", "b=1"]), marker(2, 4, false));
    let mut first = Bench::new(&[], 100).aborting(4, 0, 2);
    let (kept, index) = first.run(&[&data, &abort]);
    assert_eq!(kept, [Kept::Nothing, Kept::AsItIs]);
    assert_eq!(index, first.aborted, "as long as the marker is needed");
    let mut second = Bench::new(&[], 100).aborting(4, 0, 2);
    let (mut kept, index) = second.run(&[&abort]);
    let marked = anew(kept.remove(0));
    assert_eq!((marked.header.delete_horizon(), marked.header.is_control()), (Some(HORIZON), true));
    assert_eq!(records(&marked).len(), 1);
    assert_eq!(index, []);
    assert_eq!(Bench::new(&[], 100).at(HORIZON.get() - 1).one(&marked), Kept::AsItIs);
    assert_eq!(Bench::new(&[], 100).at(HORIZON.get()).one(&marked), Kept::Nothing);
}

#[test]
fn a_commit_marker_stays_while_a_batch_of_its_transaction_does() {
    let (data, commit) = (transactional(0, 4, 0, &["a=1", "b=1"]), marker(2, 4, true));
    let (kept, _) = Bench::new(&[], 100).run(&[&data, &commit]);
    assert_eq!(kept, [Kept::AsItIs, Kept::AsItIs]);
    // The data goes now; the marker is looked at again the next time.
    let (kept, _) = Bench::new(&[("a", 9), ("b", 9)], 100).run(&[&data, &commit]);
    assert_eq!(kept, [Kept::Nothing, Kept::AsItIs]);
    let marked = anew(Bench::new(&[], 100).one(&commit));
    assert_eq!(marked.header.delete_horizon(), Some(HORIZON));
    // A marker that is marked stays all the same when there is data: it was written by an older cleaner.
    let (kept, _) = Bench::new(&[], 100).at(HORIZON.get()).run(&[&data, &marked]);
    assert_eq!(kept, [Kept::AsItIs, Kept::AsItIs]);
}

#[test]
fn transactions_of_one_producer_and_of_several_are_told_apart() {
    let batches = [
        transactional(0, 4, 0, &["a=1"]),
        transactional(1, 5, 0, &["a=2"]),
        batch(2, &["b=1"]),
        marker(3, 4, false),
        transactional(4, 4, 1, &["c=1"]),
        marker(5, 5, true),
        marker(6, 4, true),
    ];
    let (kept, index) = Bench::new(&[], 100).aborting(4, 0, 3).run(&batches.each_ref());
    let mut expected: Vec<Kept> = (0..7).map(|_| Kept::AsItIs).collect();
    expected[0] = Kept::Nothing;
    assert_eq!(kept, expected);
    assert_eq!(index.len(), 1);
}

#[test]
fn what_holds_a_producer_stays_without_records() {
    let last = transactional(20, 4, 9, &["a=1", "b=1"]);
    let bench = || Bench::new(&[("a", 50), ("b", 50)], 100);
    assert_eq!(bench().one(&last), Kept::Nothing);
    let empty = anew(bench().active(4, LastOf::Data(Offset(21))).one(&last));
    let header = &empty.header;
    assert_eq!((header.record_count, empty.body.len()), (0, 0));
    assert_eq!((header.base_offset, header.last_offset()), (Offset(20), Offset(21)));
    assert_eq!((header.base_sequence, header.last_sequence()), (Sequence(9), Sequence(10)));
    assert_eq!((header.max_timestamp, header.base_timestamp), (TimestampMs(501), TimestampMs::NONE));
    assert!(header.is_transactional() && !header.is_control() && header.delete_horizon().is_none());
    empty.check_crc().unwrap();
    assert_eq!(bench().active(4, LastOf::Data(Offset(21))).one(&empty), Kept::AsItIs);
    assert_eq!(bench().active(4, LastOf::Data(Offset(99))).one(&empty), Kept::Nothing, "it has written more");
    let aborted = bench().aborting(4, 20, 30).active(4, LastOf::Data(Offset(21))).one(&last);
    assert_eq!(anew(aborted).header.record_count, 0, "aborted records go even so");
    // Of a producer that has only ended transactions since its epoch changed the marker is all there is.
    let marked = anew(Bench::new(&[], 100).one(&marker(3, 4, true)));
    let late = || Bench::new(&[], 100).at(HORIZON.get());
    assert_eq!(late().one(&marked), Kept::Nothing);
    let kept = anew(late().active(4, LastOf::Marker(ProducerEpoch(3))).one(&marked));
    assert!(kept.header.is_control() && kept.header.record_count == 0);
    assert_eq!(late().active(4, LastOf::Marker(ProducerEpoch(2))).one(&marked), Kept::Nothing);
    let emptied = late().active(4, LastOf::Marker(ProducerEpoch(3))).one(&kept);
    assert_eq!(emptied, Kept::AsItIs);
}

#[test]
fn the_last_offset_of_the_range_stays() {
    let last = batch(8, &["a=1", "a=2"]);
    let mut bench = Bench::new(&[("a", 50)], 100);
    bench.end = Offset(10);
    let kept = anew(bench.one(&last));
    assert_eq!((kept.header.record_count, kept.header.next_offset()), (0, Offset(10)));
    assert_eq!(bench.one(&kept), Kept::AsItIs);
}

/// A message of format 1 or 0 as it stands in a file.
fn legacy(
    magic: u8,
    offset: i64,
    attributes: u8,
    timestamp: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Vec<u8> {
    let mut body = vec![magic, attributes];
    if magic == 1 {
        body.extend(timestamp.to_be_bytes());
    }
    for bytes in [key, value] {
        body.extend(bytes.map_or(-1, |bytes| bytes.len() as i32).to_be_bytes());
        body.extend(bytes.unwrap_or_default());
    }
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(crc32fast::hash(&body).to_be_bytes());
    message.extend(body);
    message
}

fn filter_legacy(message: Vec<u8>, latest: &[(&str, i64)]) -> Kept {
    let Some(Ok(Entry::Legacy(entry))) = parse_entries(message.into()).next() else {
        panic!("a legacy message")
    };
    entry.check_crc().unwrap();
    let mut bench = Bench::new(latest, 100);
    let mut transactions = Transactions::default();
    let mut filter = Filter {
        map: &bench.map,
        transactions: &mut transactions,
        producers: &bench.producers,
        end: bench.end,
        now: TimestampMs(NOW),
        delete_retention_ms: RETENTION,
        counts: &mut bench.counts,
    };
    filter.legacy(&entry).unwrap()
}

fn plain(kept: Kept) -> Vec<(i64, i64, Option<Vec<u8>>)> {
    let batch = anew(kept);
    assert_eq!(batch.header.leader_epoch, LeaderEpoch::NONE);
    let record = |record: dohle_records::Record| {
        (record.offset.get(), record.timestamp.get(), record.value.map(|value| value.to_vec()))
    };
    batch.records(1 << 20).map(|found| record(found.unwrap())).collect()
}

#[test]
fn old_formats_are_rewritten() {
    let value = || Some(b"v".to_vec());
    let message = |magic| legacy(magic, 7, 0, 300, Some(b"a"), Some(b"v"));
    assert_eq!(plain(filter_legacy(message(1), &[])), [(7, 300, value())]);
    assert_eq!(plain(filter_legacy(message(0), &[])), [(7, -1, value())]);
    assert_eq!(filter_legacy(message(1), &[("a", 9)]), Kept::Nothing);
    assert_eq!(filter_legacy(legacy(1, 7, 0, 300, None, Some(b"v")), &[]), Kept::Nothing);
    let tombstone = filter_legacy(legacy(1, 7, 0, 300, Some(b"a"), None), &[("a", 7)]);
    assert_eq!(anew(tombstone).header.delete_horizon(), Some(HORIZON));
    // A wrapper of three: offsets count from its last one.
    let inside: Vec<u8> =
        (0..3).flat_map(|nth| legacy(1, nth, 0, 300 + nth, Some(&[b'a' + nth as u8]), Some(b"v"))).collect();
    let mut packed = dohle_records::codec::Compressor::new(Compression::Gzip, -1);
    packed.write(&inside);
    let wrapper = legacy(1, 22, 1, 302, None, Some(&packed.finish()));
    let kept = filter_legacy(wrapper.clone(), &[("b", 50)]);
    assert_eq!(anew(filter_legacy(wrapper, &[("b", 50)])).header.compression().unwrap(), Compression::Gzip);
    assert_eq!(plain(kept), [(20, 300, value()), (22, 302, value())]);
}

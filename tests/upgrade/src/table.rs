//! A compacted topic: what is written to it, what of each key came last, and what Kafka's consumer reads of it.
//!
//! ```text
//! record   0     1      2      3  ...  9     10    11     12    13  ...
//! key      once  twice  twice  again  again  once  twice  twice  again     once: no other record has it; twice: the next has it, too
//! ```

use std::collections::BTreeMap;

use dohle_records::{BatchBuilder, Compression, Header};
use dohle_tests_clients::tools::Tools;
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::picture::{Hand, first_timestamp};

/// Of one batch.
const BATCH: i64 = 100;
/// How many keys come again and again.
const AGAIN: i64 = 151;
/// One record of so many has a key of its own, and the two after it share one.
const TURN: i64 = 10;
/// One record of so many deletes its key.
const DELETES: i64 = 11;
/// Makes a record large; it is in a header, so that what a consumer prints stays small.
const PADDING_BYTES: usize = 960;
/// How the consumer prints that there is no value.
pub const NULL: &str = "-";

/// Offset and value of each key's latest record; no value where it was deleted.
pub type Latest = BTreeMap<String, (i64, Option<String>)>;

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub key: String,
    pub value: Option<String>,
}

/// A topic whose partitions all get the same records, of one producer.
#[derive(Debug, Clone)]
pub struct Table {
    topic: &'static str,
    partitions: i32,
    producer: Option<(i64, i16)>,
    /// The offset and the sequence number of the next record.
    pub written: i64,
    pub latest: Latest,
}

impl Table {
    pub fn new(topic: &'static str, partitions: i32) -> Table {
        Table { topic, partitions, producer: None, written: 0, latest: Latest::new() }
    }

    /// Writes whole batches, in sequence, whichever program runs. Each is put where the one before ended.
    pub fn write(&mut self, bootstrap: &str, batches: i64) {
        let mut hand = Hand::on(bootstrap);
        let of = *self.producer.get_or_insert_with(|| hand.producer_id(None));
        for _ in 0..batches {
            let batch = self.batch(of);
            for partition in 0..self.partitions {
                let at = hand.produce(self.topic, partition, None, &batch);
                assert_eq!(at, self.written, "{}-{partition}: where a batch was put", self.topic);
            }
            self.written += BATCH;
        }
    }

    fn batch(&mut self, (id, epoch): (i64, i16)) -> Vec<u8> {
        let sequence = Sequence(i32::try_from(self.written).expect("a short life"));
        let mut batch =
            BatchBuilder::new(Compression::None).producer(ProducerId(id), ProducerEpoch(epoch), sequence);
        let padding = [Header::new("padding", Some(vec![b'x'; PADDING_BYTES]))];
        for number in self.written..self.written + BATCH {
            let key = key(number);
            let value = (number % DELETES != 5).then(|| format!("value-{number}"));
            let at = TimestampMs(first_timestamp() + number);
            batch.append(at, Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &padding);
            self.latest.insert(key, (number, value));
        }
        batch.build(Offset(0), LeaderEpoch(-1)).to_vec()
    }

    /// What the consumer reads, by partition.
    pub fn read(&self, tools: &mut Tools, bootstrap: &str) -> Vec<Vec<Read>> {
        read(tools, bootstrap, self.topic, self.partitions as usize)
    }

    /// The first key that a partition does not have as it was last written.
    pub fn wrong<'a>(&'a self, found: &[Read]) -> Option<Wrong<'a>> {
        difference(&self.latest, found)
    }
}

fn key(number: i64) -> String {
    match number % TURN {
        0 => format!("once-{number}"),
        1 | 2 => format!("twice-{}", number / TURN),
        _ => format!("again-{}", number % AGAIN),
    }
}

/// The offsets of records whose key the next one has, too, and no other.
pub fn doubled(range: std::ops::Range<i64>) -> impl Iterator<Item = i64> {
    range.filter(|number| number % TURN == 1)
}

/// A key, what it should be, and what was found.
pub type Wrong<'a> = (&'a String, &'a (i64, Option<String>), Option<(i64, Option<String>)>);

/// The first key that is not found as it should be. A key that was deleted may be there or not.
pub fn difference<'a>(latest: &'a Latest, found: &[Read]) -> Option<Wrong<'a>> {
    let ascends = found.windows(2).all(|pair| pair[0].offset < pair[1].offset);
    assert!(ascends, "offsets go back");
    let newest: Latest =
        found.iter().map(|read| (read.key.clone(), (read.offset, read.value.clone()))).collect();
    latest.iter().find_map(|(key, latest)| {
        let found = newest.get(key);
        let is_right = found.map_or(latest.1.is_none(), |found| found == latest);
        (!is_right).then(|| (key, latest, found.cloned()))
    })
}

/// What Kafka's console consumer reads of a topic, by partition.
pub fn read(tools: &mut Tools, bootstrap: &str, topic: &str, partitions: usize) -> Vec<Vec<Read>> {
    // Who reads one partition needs no group.
    let from = if partitions == 1 { "--partition 0 --offset earliest" } else { "--from-beginning" };
    let words = format!(
        "ConsoleConsumer --bootstrap-server {bootstrap} --topic {topic} {from} --timeout-ms 3000 --formatter-property print.partition=true \
         --formatter-property print.key=true --formatter-property print.offset=true --formatter-property null.literal={NULL}"
    );
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let printed = tools.run(&words, "");
    assert_eq!(printed.exit, 0, "{words:?}: {}{}", printed.out, printed.err);
    let mut found = vec![Vec::new(); partitions];
    for line in printed.out.lines().filter_map(|line| line.strip_prefix("Partition:")) {
        let (partition, record) = line.split_once('\t').expect("a partition and the record");
        found[partition.parse::<usize>().expect("a partition")].push(parse(record));
    }
    found
}

/// `Offset:7`, the key and the value, divided by tabs.
fn parse(line: &str) -> Read {
    let mut fields = line.trim_start_matches("Offset:").split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let (offset, key, value) = (next().parse().expect("an offset"), next().to_owned(), next());
    Read { offset, key, value: (value != NULL).then(|| value.to_owned()) }
}

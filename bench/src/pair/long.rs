//! A log of any length that takes little room: each batch is a megabyte of zeros but for its beginning, and only beginnings are
//! written. Everything else is as a broker leaves it that was stopped cleanly.

#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dohle_records::{BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, TimestampMs};

use super::Lab;
use super::contestant::Contestant;
use super::loads::Life;
use super::scenario::STANDARD;
use crate::Outcome;
use crate::client::{self, Load, Topic};

/// The size of a batch, about: with its header and that of its record.
const BATCH: usize = 1_000_000;
/// The record's share of it.
const VALUE: usize = BATCH - 100;
/// A segment ends where the next batch would make it larger.
const SEGMENT: u64 = 1 << 30;
/// Where a batch says which epoch of its leader it was written in.
const EPOCH_AT: std::ops::Range<usize> = 12..16;
const TOPIC: &str = "long";

/// A broker that runs on such a log.
pub struct Long {
    pub life: Life,
    /// What goes to its topic, a record at a time.
    pub one: Load,
    pub topic: Topic,
    /// One record each.
    pub batches: u64,
    first: TimestampMs,
}

impl Long {
    /// A broker that has been started on `megabytes` of log.
    pub fn begin(lab: &Lab, contestant: Contestant, megabytes: u64) -> Outcome<Self> {
        let mut life = Life::begin(lab, contestant, &[])?;
        let shape = super::scenario::Shape { partitions: 1, record_size: 100, batch_size: 0, ..STANDARD };
        let one = Load { topic: TOPIC.to_owned(), bytes: 1, ..life.load(&shape, 0.0) };
        life.broker.explained(client::produce(&one))?;
        life.broker.stop()?;
        let data = life.broker.folder().join("data");
        let first = TimestampMs(client::unix_millis() - i64::try_from(megabytes)?);
        write(&data.join(format!("{TOPIC}-0")), megabytes, first)?;
        for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
            move_on(&data.join(name), megabytes)?;
        }
        life.broker.again()?;
        let mut connection = life.broker.connect()?;
        let topic = life.broker.explained(Topic::create(&mut connection, TOPIC, 1, &[]))?;
        let ends = life.broker.explained(topic.ends(&mut connection))?;
        if ends != [(0, i64::try_from(megabytes)?)] {
            return Err(format!("the log of {megabytes} batches was taken for {ends:?}").into());
        }
        Ok(Self { life, one, topic, batches: megabytes, first })
    }

    /// When the record at an offset was written: no other was in that millisecond.
    pub fn written_at(&self, offset: u64) -> Outcome<i64> {
        Ok(self.first.0 + i64::try_from(offset)?)
    }
}

/// Writes the segments of a log anew.
fn write(folder: &Path, batches: u64, first: TimestampMs) -> Outcome<()> {
    let name = |base: u64, kind: &str| folder.join(format!("{base:020}.{kind}"));
    let mut epoch = [0; 4];
    File::open(name(0, "log"))?.read_exact_at(&mut epoch, EPOCH_AT.start as u64)?;
    let epoch = LeaderEpoch(i32::from_be_bytes(epoch));
    // What it knows of producers, nothing, it knows up to the end.
    fs::rename(name(1, "snapshot"), name(batches, "snapshot"))?;
    let value = vec![0; VALUE];
    let mut segment = Segment::begin(&name, 0)?;
    for offset in 0..batches {
        let at = TimestampMs(first.0 + i64::try_from(offset)?);
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(at, None, Some(&value), &[]);
        let batch = builder.build(Offset(i64::try_from(offset)?), epoch).segments().concat();
        if segment.size + batch.len() as u64 > SEGMENT {
            segment.end()?;
            segment = Segment::begin(&name, offset)?;
        }
        segment.append(offset, at, &batch)?;
    }
    segment.end()
}

struct Segment {
    base: u64,
    log: File,
    index: BufWriter<File>,
    times: BufWriter<File>,
    size: u64,
    last: Option<(u64, TimestampMs)>,
}

impl Segment {
    fn begin(name: &impl Fn(u64, &str) -> PathBuf, base: u64) -> Outcome<Self> {
        let index = BufWriter::new(File::create(name(base, "index"))?);
        let times = BufWriter::new(File::create(name(base, "timeindex"))?);
        Ok(Self { base, log: File::create(name(base, "log"))?, index, times, size: 0, last: None })
    }

    fn append(&mut self, offset: u64, at: TimestampMs, batch: &[u8]) -> Outcome<()> {
        let told = batch.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        self.log.write_all_at(&batch[..told], self.size)?;
        if self.last.is_some() {
            self.index.write_all(&self.relative(offset)?)?;
            self.index.write_all(&u32::try_from(self.size)?.to_be_bytes())?;
            self.tell_time(offset, at)?;
        }
        self.size += batch.len() as u64;
        self.last = Some((offset, at));
        Ok(())
    }

    fn tell_time(&mut self, offset: u64, at: TimestampMs) -> Outcome<()> {
        self.times.write_all(&at.0.to_be_bytes())?;
        Ok(self.times.write_all(&self.relative(offset)?)?)
    }

    fn relative(&self, offset: u64) -> Outcome<[u8; 4]> {
        Ok(u32::try_from(offset - self.base)?.to_be_bytes())
    }

    fn end(mut self) -> Outcome<()> {
        if let Some((offset, at)) = self.last
            && offset == self.base
        {
            self.tell_time(offset, at)?;
        }
        self.index.flush()?;
        self.times.flush()?;
        Ok(self.log.set_len(self.size)?)
    }
}

/// Has a checkpoint say that the log ends there.
fn move_on(path: &Path, end: u64) -> Outcome<()> {
    let text = fs::read_to_string(path)?;
    let line = format!("{TOPIC} 0 ");
    let moved =
        |old: &str| if old.starts_with(&line) { format!("{line}{end}\n") } else { format!("{old}\n") };
    let moved: String = text.lines().map(moved).collect();
    if !moved.contains(&line) {
        return Err(format!("{}: nothing is said of {TOPIC}", path.display()).into());
    }
    Ok(fs::write(path, moved)?)
}

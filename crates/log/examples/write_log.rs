//! Appends to a partition in a log directory, made by Kafka or by us or not at all, with everything a log can hold; for other
//! programs to read on: `write_log <log dir> <topic> <partition>`.

#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use dohle_config::TopicSettings;
use dohle_env::Env;
use dohle_log::checkpoint::{PARTITION_METADATA_FILE, read_partition_metadata};
use dohle_log::dirs::LogDir;
use dohle_log::{FolderFlushes, Log, LogContext, ReadBuffers, Recovery, TailBudget, Verifying};
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{
    BrokerEpoch, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs, Uuid,
};

const ROUNDS: i32 = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().ok_or("write_log <log dir> <topic> <partition>");
    let (folder, topic) = (PathBuf::from(argument()?), argument()?);
    let partition = PartitionIndex(argument()?.parse()?);
    let env = Env::real();
    let dir = LogDir::open(&env.disk, &folder)?;
    let path = dir.partition_path(&topic, partition);
    let topic_id = read_partition_metadata(env.disk.as_ref(), &path.join(PARTITION_METADATA_FILE))?;
    let topic_id = topic_id.unwrap_or(Uuid::from_u128(0x1111_2222_3333_4444_9555_6666_7777_8888));
    let (tail, producer_id_expiration_ms) = (TailBudget::new(1 << 20), 86_400_000);
    let context = LogContext {
        disk: env.disk.clone(),
        rng: env.rng,
        tail,
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms,
        verifying: Verifying::default(),
        folders: FolderFlushes::default(),
    };
    let settings = Arc::new(TopicSettings { segment_bytes: 1 << 20, ..TopicSettings::default() });
    let now = env.clock.now();
    let (mut recovery_points, mut log_starts) = (dir.recovery_points()?, dir.log_starts()?);
    let stopped = dir.take_clean_shutdown()?;
    let recovery = Recovery {
        clean: stopped.is_some(),
        recovery_point: recovery_points.get(&topic, partition).unwrap_or(Offset::ZERO),
        log_start: log_starts.get(&topic, partition).unwrap_or(Offset::ZERO),
    };
    let mut log = Log::open(&context, path, topic_id, settings, recovery, now)?;
    println!("{recovery:?}: {} to {}", log.start_offset(), log.end_offset());
    let plain = ProducerId(1_000_000 + 2 * log.end_offset().get());
    let transactional = ProducerId(plain.get() + 1);
    let first_epoch = log.latest_epoch().map_or(0, LeaderEpoch::get);
    for round in 0..ROUNDS {
        let time = TimestampMs(now.get() + i64::from(round) * 1000);
        let epoch = LeaderEpoch(first_epoch + round / 100);
        log.append_as_leader(vec![batch(round, time, None), batch(round, time, Some(plain))], epoch, time)?;
        log.append_as_leader(vec![in_transaction(round, time, transactional)], epoch, time)?;
        let marker = EndTransaction { committed: round % 3 != 0, coordinator_epoch: 1 };
        let marker = marker.to_batch(transactional, ProducerEpoch(0), time, Offset::ZERO, epoch);
        log.append_as_coordinator(vec![marker], epoch, 1, time)?;
        if round % 50 == 0 {
            log.flush()?;
        }
    }
    println!("{} to {} in {} segments", log.start_offset(), log.end_offset(), log.segments().len());
    let closed = log.close()?;
    recovery_points.insert(&topic, partition, closed.recovery_point);
    log_starts.insert(&topic, partition, closed.log_start);
    dir.write_recovery_points(&recovery_points)?;
    dir.write_log_starts(&log_starts)?;
    dir.write_clean_shutdown(stopped.map_or(BrokerEpoch::NONE, |stopped| stopped.broker_epoch))?;
    println!("closed at {}", closed.recovery_point);
    Ok(())
}

fn batch(round: i32, time: TimestampMs, producer: Option<ProducerId>) -> Batch {
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut builder = BatchBuilder::new(codecs[round as usize % codecs.len()]);
    if let Some(id) = producer {
        builder = builder.producer(id, ProducerEpoch(0), Sequence(round * 5));
    }
    fill(builder, round, time)
}

fn in_transaction(round: i32, time: TimestampMs, id: ProducerId) -> Batch {
    let builder = BatchBuilder::new(Compression::None).transactional(true);
    fill(builder.producer(id, ProducerEpoch(0), Sequence(round * 5)), round, time)
}

fn fill(mut builder: BatchBuilder, round: i32, time: TimestampMs) -> Batch {
    for record in 0..5 {
        let value =
            format!("the value of record {record} of round {round}, {}", "and more of it ".repeat(10));
        builder.append(time, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

//! Writes a partition's folder with everything a log can hold, for other programs to read: `write_log <folder>/orders-0`.

#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use dohle_config::TopicSettings;
use dohle_env::Env;
use dohle_log::{Log, LogContext, Recovery, TailBudget};
use dohle_records::control::EndTransaction;
use dohle_records::{Batch, BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, Uuid};

const ROUNDS: i32 = 400;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    let env = Env::real();
    let context = LogContext {
        disk: env.disk,
        rng: env.rng,
        tail: TailBudget::new(1 << 20),
        producer_id_expiration_ms: 86_400_000,
    };
    let settings = Arc::new(TopicSettings { segment_bytes: 200_000, ..TopicSettings::default() });
    let topic = Uuid::from_u128(0x1111_2222_3333_4444_9555_6666_7777_8888);
    let now = env.clock.now();
    let mut log = Log::open(&context, folder, topic, settings, Recovery::UNKNOWN, now)?;
    for round in 0..ROUNDS {
        let time = TimestampMs(now.get() + i64::from(round) * 1000);
        let epoch = LeaderEpoch(round / 100);
        log.append_as_leader(vec![batch(round, time, None), batch(round, time, Some(7))], epoch, time)?;
        log.append_as_leader(vec![transactional(round, time)], epoch, time)?;
        let marker = EndTransaction { committed: round % 3 != 0, coordinator_epoch: 1 };
        let marker = marker.to_batch(ProducerId(8), ProducerEpoch(0), time, Offset::ZERO, epoch);
        log.append_as_coordinator(vec![marker], epoch, 1, time)?;
        if round % 50 == 0 {
            log.flush()?;
        }
    }
    println!("{} to {} in {} segments", log.start_offset(), log.end_offset(), log.segments().len());
    let closed = log.close()?;
    println!("closed at {}", closed.recovery_point);
    Ok(())
}

/// A batch of five records, of an idempotent producer or of none.
fn batch(round: i32, time: TimestampMs, producer: Option<i64>) -> Batch {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut builder = BatchBuilder::new(codecs[round as usize % codecs.len()]);
    if let Some(id) = producer {
        builder = builder.producer(ProducerId(id), ProducerEpoch(0), Sequence(round * 5));
    }
    fill(builder, round, time)
}

fn transactional(round: i32, time: TimestampMs) -> Batch {
    let builder = BatchBuilder::new(Compression::None).transactional(true);
    fill(builder.producer(ProducerId(8), ProducerEpoch(0), Sequence(round * 5)), round, time)
}

fn fill(mut builder: BatchBuilder, round: i32, time: TimestampMs) -> Batch {
    for record in 0..5 {
        let value = format!("the value of record {record} of round {round}, {}", "and more of it ".repeat(10));
        builder.append(time, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.build(Offset::ZERO, LeaderEpoch(0))
}

//! What the tests of log directories share: a process's view of a simulated disk, and what it notes of a log.

use std::sync::Arc;

use dohle_broker::log_dirs::Mark;
use dohle_env::disk::SimDisk;
use dohle_env::{Clock, Env, Rng};
use dohle_log::{FolderFlushes, Log, LogContext, ReadBuffers, TailBudget, Verifying};
use dohle_types::{HighWatermark, TimestampMs, TopicPartition};

/// The world of a process that begins on the disk as it is now, and what its logs share.
pub fn begin(disk: &SimDisk) -> (Env, LogContext) {
    let (clock, _) = Clock::manual(TimestampMs(1_000_000));
    let env = Env { clock, rng: Rng::seeded(7 + disk.operations()), disk: Arc::new(disk.clone()) };
    let context = LogContext {
        disk: env.disk.clone(),
        rng: env.rng.clone(),
        tail: TailBudget::new(1 << 20),
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms: 86_400_000,
        verifying: Verifying::default(),
        folders: FolderFlushes::default(),
    };
    (env, context)
}

/// What the checkpoints are to say of a log as it is.
pub fn mark(topic: &str, id: TopicPartition, log: &Log) -> Mark {
    Mark {
        id: id.topic,
        topic: topic.to_owned(),
        partition: id.partition,
        folder: log.dir().to_owned(),
        guard: log.guard().cloned(),
        recovery_point: log.recovery_point(),
        log_start: log.start_offset(),
        high_watermark: HighWatermark(log.end_offset()),
    }
}

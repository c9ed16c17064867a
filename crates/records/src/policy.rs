//! What a topic takes from producers.

use std::fmt;

use dohle_config::{StoredCompression, TimestampType, TopicSettings};
use dohle_types::{PartitionIndex, TimestampMs};

use crate::DEFAULT_OUTPUT_LIMIT;
use crate::codec::Compression;

/// The settings that a batch is judged by. Cheap to make for every request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProducePolicy<'a> {
    /// For the sentences of rejections.
    pub topic: &'a str,
    pub partition: PartitionIndex,
    /// `max.message.bytes`: the largest batch, as it is stored.
    pub max_message_bytes: u32,
    /// `segment.bytes`: no batch is larger than a segment.
    pub segment_bytes: u32,
    pub timestamp_type: TimestampType,
    /// How far a timestamp may lie behind the broker's clock; `i64::MAX` for any distance.
    pub timestamp_before_max_ms: i64,
    /// How far a timestamp may lie ahead of the broker's clock.
    pub timestamp_after_max_ms: i64,
    pub compression: StoredCompression,
    pub gzip_level: i32,
    pub lz4_level: i32,
    pub zstd_level: i32,
    /// Whether `cleanup.policy` has `compact`: then every record needs a key.
    pub compacted: bool,
    /// What a batch may grow to where it has to be decompressed.
    pub max_uncompressed_bytes: u64,
}

impl<'a> ProducePolicy<'a> {
    pub fn new(topic: &'a str, partition: PartitionIndex, settings: &TopicSettings) -> Self {
        Self {
            topic,
            partition,
            max_message_bytes: settings.max_message_bytes,
            segment_bytes: settings.segment_bytes,
            timestamp_type: settings.timestamp_type,
            timestamp_before_max_ms: settings.timestamp_before_max_ms,
            timestamp_after_max_ms: settings.timestamp_after_max_ms,
            compression: settings.compression,
            gzip_level: settings.gzip_level,
            lz4_level: settings.lz4_level,
            zstd_level: settings.zstd_level,
            compacted: settings.cleanup_compact,
            max_uncompressed_bytes: DEFAULT_OUTPUT_LIMIT,
        }
    }

    /// The codec that a batch sent with `source` is stored with.
    pub(crate) fn target(&self, source: Compression) -> Compression {
        match self.compression {
            StoredCompression::Producer => source,
            StoredCompression::Uncompressed => Compression::None,
            StoredCompression::Gzip => Compression::Gzip,
            StoredCompression::Snappy => Compression::Snappy,
            StoredCompression::Lz4 => Compression::Lz4,
            StoredCompression::Zstd => Compression::Zstd,
        }
    }

    pub(crate) fn level(&self, codec: Compression) -> i32 {
        match codec {
            Compression::None | Compression::Snappy => codec.default_level(),
            Compression::Gzip => self.gzip_level,
            Compression::Lz4 => self.lz4_level,
            Compression::Zstd => self.zstd_level,
        }
    }

    /// Whether `timestamp` lies too far from `now`. The differences wrap as Kafka's do.
    #[inline]
    pub(crate) fn is_out_of_range(&self, timestamp: TimestampMs, now: TimestampMs) -> bool {
        let behind = now.0.wrapping_sub(timestamp.0);
        behind > self.timestamp_before_max_ms || behind.wrapping_neg() > self.timestamp_after_max_ms
    }

    /// Whether a timestamp is looked at, and wrong.
    #[inline]
    pub(crate) fn refuses(&self, timestamp: TimestampMs, now: TimestampMs) -> bool {
        self.timestamp_type == TimestampType::CreateTime
            && timestamp != TimestampMs::NONE
            && self.is_out_of_range(timestamp, now)
    }

    pub(crate) fn bounds_the_past(&self) -> bool {
        self.timestamp_type == TimestampType::CreateTime && self.timestamp_before_max_ms != i64::MAX
    }

    /// The partition as Kafka's sentences name it.
    pub(crate) fn topic_partition(&self) -> impl fmt::Display + use<'_, 'a> {
        fmt::from_fn(|f| write!(f, "{}-{}", self.topic, self.partition))
    }
}

//! What a log is told to do: the topic-level keys of Kafka, resolved to typed values.

use crate::keys::{self, Value};
use crate::synonyms::{self, Unit};
use crate::{BrokerDynamic, Config, InvalidConfig, Overrides};

/// When an append counts as stored (`dohle.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the disk has flushed it. The default.
    Synced,
    /// As soon as it is in the page cache, as in Kafka: what is acknowledged then survives by its replicas.
    Replicated,
}

/// Which time a record carries (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// What batches are stored as (`compression.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredCompression {
    /// As the producer sent them.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// The settings of one topic, after its overrides, the broker's dynamic and static settings and the defaults have been looked up
/// in that order. Sizes are in bytes, times in milliseconds; -1 for "no limit" is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    pub compression: StoredCompression,
    pub gzip_level: i32,
    pub lz4_level: i32,
    pub zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: u32,
    pub timestamp_type: TimestampType,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: u32,
    pub preallocate: bool,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<u64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: u64,
    pub segment_ms: u64,
    pub unclean_leader_election: bool,
    pub durability: Durability,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            cleanup_delete: true,
            cleanup_compact: false,
            compression: StoredCompression::Producer,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: None,
            retention_ms: Some(604_800_000),
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            unclean_leader_election: false,
            durability: Durability::Synced,
        }
    }
}

impl TopicSettings {
    /// Looks every key up in the topic's overrides, the broker's dynamic values, its static ones and the defaults.
    pub fn resolve(
        topic: &Overrides<'_>,
        dynamic: &BrokerDynamic<'_>,
        config: &Config,
    ) -> Result<Self, InvalidConfig> {
        Self::of(topic, &config.with_dynamic(dynamic).0)
    }

    /// As [`TopicSettings::resolve`], on a broker's settings that have its dynamic ones in them already.
    pub fn of(topic: &Overrides<'_>, current: &Config) -> Result<Self, InvalidConfig> {
        let read = Reader { topic, current };
        let policy = read.list("cleanup.policy")?;
        // The internal key is for tests that want segments smaller than the public one allows.
        let segment_bytes = match topic.get("internal.segment.bytes") {
            Some(_) => read.long("internal.segment.bytes")?,
            None => read.long("segment.bytes")?,
        };
        Ok(Self {
            cleanup_delete: policy.iter().any(|word| word == "delete"),
            cleanup_compact: policy.iter().any(|word| word == "compact"),
            compression: stored_compression(&read.text("compression.type")?),
            gzip_level: read.int("compression.gzip.level")?,
            lz4_level: read.int("compression.lz4.level")?,
            zstd_level: read.int("compression.zstd.level")?,
            delete_retention_ms: read.long("delete.retention.ms")?,
            file_delete_delay_ms: read.long("file.delete.delay.ms")?,
            flush_messages: read.long("flush.messages")?,
            flush_ms: read.long("flush.ms")?,
            index_interval_bytes: unsigned(read.long("index.interval.bytes")?),
            max_compaction_lag_ms: read.long("max.compaction.lag.ms")?,
            max_message_bytes: unsigned(read.long("max.message.bytes")?),
            timestamp_type: match read.text("message.timestamp.type")?.as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: read.long("message.timestamp.before.max.ms")?,
            timestamp_after_max_ms: read.long("message.timestamp.after.max.ms")?,
            min_cleanable_dirty_ratio: read.double("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: read.long("min.compaction.lag.ms")?,
            min_insync_replicas: unsigned(read.long("min.insync.replicas")?),
            preallocate: read.boolean("preallocate")?,
            retention_bytes: u64::try_from(read.long("retention.bytes")?).ok(),
            retention_ms: u64::try_from(read.long("retention.ms")?).ok(),
            segment_bytes: unsigned(segment_bytes),
            segment_index_bytes: unsigned(read.long("segment.index.bytes")?),
            segment_jitter_ms: u64::try_from(read.long("segment.jitter.ms")?).unwrap_or(0),
            segment_ms: u64::try_from(read.long("segment.ms")?).unwrap_or(0),
            unclean_leader_election: read.boolean("unclean.leader.election.enable")?,
            durability: match read.text("dohle.durability")?.as_str() {
                "replicated" => Durability::Replicated,
                _ => Durability::Synced,
            },
        })
    }
}

/// The value of a topic key, typed, when a topic does not override it: that of the broker's keys behind it (the first that is not
/// null), or the table's default.
pub(crate) fn broker_default(topic_key: &str, current: &Config) -> Value {
    for (name, unit) in synonyms::of_topic(topic_key) {
        let value = current.value(name);
        match (value.as_long(), unit) {
            _ if value.is_null() => {}
            (Some(number), _) if topic_key == "retention.ms" && number < 0 => return Value::Long(-1),
            (Some(number), Unit::Minutes | Unit::Hours) => {
                return Value::Long(number.saturating_mul(unit.millis()));
            }
            _ => return value.clone(),
        }
    }
    let key = keys::topic(topic_key).unwrap_or_else(|| panic!("{topic_key} is not a key of topics"));
    key.default_value().expect("a test checks the defaults")
}

/// Reads topic keys in the order of precedence.
struct Reader<'a> {
    topic: &'a Overrides<'a>,
    current: &'a Config,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Result<Value, InvalidConfig> {
        match self.topic.get(name) {
            Some(raw) => keys::topic(name).expect("a key of topics").parse(raw),
            None => Ok(broker_default(name, self.current)),
        }
    }

    fn long(&self, name: &str) -> Result<i64, InvalidConfig> {
        Ok(self.value(name)?.as_long().expect("a whole number"))
    }

    fn int(&self, name: &str) -> Result<i32, InvalidConfig> {
        Ok(i32::try_from(self.long(name)?).expect("the table says INT"))
    }

    fn double(&self, name: &str) -> Result<f64, InvalidConfig> {
        match self.value(name)? {
            Value::Double(value) => Ok(value),
            other => unreachable!("{name} = {other:?}"),
        }
    }

    fn boolean(&self, name: &str) -> Result<bool, InvalidConfig> {
        match self.value(name)? {
            Value::Boolean(value) => Ok(value),
            other => unreachable!("{name} = {other:?}"),
        }
    }

    fn text(&self, name: &str) -> Result<String, InvalidConfig> {
        match self.value(name)? {
            Value::Text(value) => Ok(value),
            other => unreachable!("{name} = {other:?}"),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<String>, InvalidConfig> {
        match self.value(name)? {
            Value::List(values) => Ok(values),
            other => unreachable!("{name} = {other:?}"),
        }
    }
}

fn stored_compression(name: &str) -> StoredCompression {
    match name {
        "uncompressed" => StoredCompression::Uncompressed,
        "gzip" => StoredCompression::Gzip,
        "snappy" => StoredCompression::Snappy,
        "lz4" => StoredCompression::Lz4,
        "zstd" => StoredCompression::Zstd,
        _ => StoredCompression::Producer,
    }
}

/// Sizes and counts: the tables allow nothing negative for them.
fn unsigned(value: i64) -> u32 {
    u32::try_from(value).expect("the table says INT of at least 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;

    fn config(file: &str) -> Config {
        let sources = Sources { file: Some(("f".into(), file.into())), ..Sources::default() };
        Config::load(sources).expect("well-formed").config
    }

    #[test]
    fn defaults_are_kafkas() {
        let resolved = TopicSettings::resolve(&Overrides::none(), &BrokerDynamic::none(), &config(""));
        assert_eq!(resolved, Ok(TopicSettings::default()));
    }

    #[test]
    fn every_layer_hides_those_below() {
        let file = config(
            "log.retention.hours=1\nlog.roll.ms=1000\nmessage.max.bytes=100\nlog.segment.bytes=2000000",
        );
        let cluster =
            [("message.max.bytes", "200"), ("log.roll.ms", "2000"), ("dohle.durability", "replicated")];
        let broker = [("message.max.bytes", "300"), ("log.retention.ms", "-5")];
        let dynamic = BrokerDynamic {
            per_broker: broker.into_iter().collect(),
            cluster_default: cluster.into_iter().collect(),
        };
        let of = |topic: &[(&'static str, &'static str)]| {
            TopicSettings::resolve(&topic.iter().copied().collect(), &dynamic, &file).expect("well-formed")
        };
        let plain = of(&[]);
        assert_eq!((plain.max_message_bytes, plain.segment_ms, plain.segment_bytes), (300, 2000, 2_000_000));
        assert_eq!((plain.retention_ms, plain.durability), (None, Durability::Replicated));
        let own = of(&[("max.message.bytes", "400"), ("retention.ms", "5"), ("cleanup.policy", "compact")]);
        assert_eq!((own.max_message_bytes, own.retention_ms), (400, Some(5)));
        assert!(own.cleanup_compact && !own.cleanup_delete);
        let static_only = TopicSettings::of(&Overrides::none(), &file).expect("well-formed");
        assert_eq!((static_only.retention_ms, static_only.segment_ms), (Some(3_600_000), 1000));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error = TopicSettings::of(&[("retention.ms", "abc")].into_iter().collect(), &config(""))
            .expect_err("no number");
        assert_eq!(
            error.message,
            "Invalid value abc for configuration retention.ms: Not a number of type LONG"
        );
    }
}

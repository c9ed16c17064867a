//! Which keys mean the same: a topic's key and the broker's, milliseconds and hours.

/// How a broker's value becomes the topic's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Same,
    Minutes,
    Hours,
}

impl Unit {
    pub(crate) const fn millis(self) -> i64 {
        match self {
            Self::Same => 1,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        }
    }
}

/// A topic's key and the broker's keys that give its default, the one that counts first in front
/// (`ServerTopicConfigSynonyms`). Keys of the same name are not listed twice: see [`of_topic`].
const TOPIC: &[(&str, &[(&str, Unit)])] = &[
    ("cleanup.policy", &[("log.cleanup.policy", Unit::Same)]),
    ("compression.gzip.level", &[("compression.gzip.level", Unit::Same)]),
    ("compression.lz4.level", &[("compression.lz4.level", Unit::Same)]),
    ("compression.type", &[("compression.type", Unit::Same)]),
    ("compression.zstd.level", &[("compression.zstd.level", Unit::Same)]),
    ("delete.retention.ms", &[("log.cleaner.delete.retention.ms", Unit::Same)]),
    ("dohle.durability", &[("dohle.durability", Unit::Same)]),
    ("file.delete.delay.ms", &[("log.segment.delete.delay.ms", Unit::Same)]),
    ("flush.messages", &[("log.flush.interval.messages", Unit::Same)]),
    ("flush.ms", &[("log.flush.interval.ms", Unit::Same), ("log.flush.scheduler.interval.ms", Unit::Same)]),
    ("index.interval.bytes", &[("log.index.interval.bytes", Unit::Same)]),
    ("local.retention.bytes", &[("log.local.retention.bytes", Unit::Same)]),
    ("local.retention.ms", &[("log.local.retention.ms", Unit::Same)]),
    ("max.compaction.lag.ms", &[("log.cleaner.max.compaction.lag.ms", Unit::Same)]),
    ("max.message.bytes", &[("message.max.bytes", Unit::Same)]),
    ("message.timestamp.after.max.ms", &[("log.message.timestamp.after.max.ms", Unit::Same)]),
    ("message.timestamp.before.max.ms", &[("log.message.timestamp.before.max.ms", Unit::Same)]),
    ("message.timestamp.type", &[("log.message.timestamp.type", Unit::Same)]),
    ("min.cleanable.dirty.ratio", &[("log.cleaner.min.cleanable.ratio", Unit::Same)]),
    ("min.compaction.lag.ms", &[("log.cleaner.min.compaction.lag.ms", Unit::Same)]),
    ("min.insync.replicas", &[("min.insync.replicas", Unit::Same)]),
    ("preallocate", &[("log.preallocate", Unit::Same)]),
    ("retention.bytes", &[("log.retention.bytes", Unit::Same)]),
    (
        "retention.ms",
        &[
            ("log.retention.ms", Unit::Same),
            ("log.retention.minutes", Unit::Minutes),
            ("log.retention.hours", Unit::Hours),
        ],
    ),
    ("segment.bytes", &[("log.segment.bytes", Unit::Same)]),
    ("segment.index.bytes", &[("log.index.size.max.bytes", Unit::Same)]),
    ("segment.jitter.ms", &[("log.roll.jitter.ms", Unit::Same), ("log.roll.jitter.hours", Unit::Hours)]),
    ("segment.ms", &[("log.roll.ms", Unit::Same), ("log.roll.hours", Unit::Hours)]),
    ("unclean.leader.election.enable", &[("unclean.leader.election.enable", Unit::Same)]),
];

/// Broker keys of which a higher layer's value hides a lower layer's value of any other: `log.retention.hours` set dynamically
/// hides `log.retention.ms` of the file.
const GROUPED: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

const FLUSH: &[&str] = &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];

/// Keys that are given per listener and SASL mechanism: `listener.name.<listener>.<mechanism>.<key>`.
const PER_MECHANISM: &[&str] = &[
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

/// The broker keys behind a topic key, the one that counts first in front; none for keys that only topics have.
pub(crate) fn of_topic(topic_key: &str) -> &'static [(&'static str, Unit)] {
    TOPIC.iter().find(|(name, _)| *name == topic_key).map_or(&[], |(_, broker)| broker)
}

/// The broker key that gives a group's key its default: `group.` and its name, for those that exist.
pub(crate) fn of_group(group_key: &str) -> Option<&'static str> {
    crate::keys::broker(&format!("group.{group_key}")).map(|key| key.name)
}

/// The names under which a broker key is looked up, in order (`brokerConfigSynonyms`).
pub(crate) fn of_broker(name: &str) -> Vec<&str> {
    if let Some(group) = GROUPED.iter().find(|group| group.contains(&name)) {
        return group.to_vec();
    }
    if name == FLUSH[0] {
        return FLUSH.to_vec();
    }
    match listener_base(name) {
        Some(base) => vec![name, base],
        None => vec![name],
    }
}

/// The key that `listener.name.<listener>.[<mechanism>.]<key>` is about.
pub(crate) fn listener_base(name: &str) -> Option<&str> {
    let (_, base) = name.strip_prefix("listener.name.")?.split_once('.')?;
    Some(PER_MECHANISM.iter().find(|key| base.ends_with(*key)).copied().unwrap_or(base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn every_synonym_is_a_key() {
        for (topic, broker) in TOPIC {
            assert!(keys::topic(topic).is_some(), "{topic}");
            assert!(broker.iter().all(|(name, _)| keys::broker(name).is_some()), "{topic}");
        }
        for name in GROUPED.iter().copied().flatten().chain(FLUSH).chain(PER_MECHANISM) {
            assert!(keys::broker(name).is_some(), "{name}");
        }
    }

    #[test]
    fn topic_keys_without_a_broker_key_are_known() {
        let alone: Vec<_> =
            keys::all_topic().filter(|key| of_topic(key.name).is_empty()).map(|key| key.name).collect();
        assert_eq!(
            alone,
            [
                "follower.replication.throttled.replicas",
                "internal.segment.bytes",
                "leader.replication.throttled.replicas",
                "remote.log.copy.disable",
                "remote.log.delete.on.disable",
                "remote.storage.enable",
            ]
        );
    }

    #[test]
    fn listener_keys_have_a_base() {
        assert_eq!(listener_base("listener.name.internal.ssl.keystore.type"), Some("ssl.keystore.type"));
        assert_eq!(listener_base("listener.name.a.scram-sha-256.sasl.jaas.config"), Some("sasl.jaas.config"));
        assert_eq!(listener_base("listeners"), None);
    }
}

//! The settings of group coordination, read from the configuration once; durations in milliseconds.

use dohle_wire::Text;

/// What the configuration says for all groups. The names are those of the keys without their `group.` or `offsets.`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    // Classic groups.
    pub initial_rebalance_delay_ms: i64,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub max_size: usize,
    // Consumer groups.
    pub consumer: ConsumerSettings,
    // Offsets.
    pub offset_metadata_max_bytes: usize,
    pub offsets_retention_ms: i64,
    pub offsets_retention_check_interval_ms: i64,
    /// `group.coordinator.rebalance.protocols` and the feature `group.version` allow the consumer protocol.
    pub consumer_protocol: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSettings {
    pub max_size: usize,
    pub session_timeout_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub assignment_interval_ms: i32,
    /// In the order of preference; the first is the default. Only names of [`super::assignors`] that exist.
    pub assignors: Vec<Text>,
    pub migration: MigrationPolicy,
    pub regex_refresh_interval_ms: i64,
}

/// `group.consumer.migration.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationPolicy {
    Disabled,
    Downgrade,
    Upgrade,
    Bidirectional,
}

/// What one group's own configuration says (`IncrementalAlterConfigs` on a group); the shell has held it to the broker's bounds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    pub consumer_session_timeout_ms: Option<i32>,
    pub consumer_heartbeat_interval_ms: Option<i32>,
    pub consumer_assignment_interval_ms: Option<i32>,
}

impl Default for Settings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX as usize,
            consumer: ConsumerSettings {
                max_size: i32::MAX as usize,
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5000,
                assignment_interval_ms: 1000,
                assignors: vec![Text::from("uniform"), Text::from("range")],
                migration: MigrationPolicy::Bidirectional,
                regex_refresh_interval_ms: 600_000,
            },
            offset_metadata_max_bytes: 4096,
            offsets_retention_ms: 7 * 24 * 3600 * 1000,
            offsets_retention_check_interval_ms: 600_000,
            consumer_protocol: true,
        }
    }
}

//! `metadata.version`: which records, and which versions of them, every node of the cluster can read.

use std::fmt;

/// A level of `metadata.version` that this software knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataVersion(i16);

/// Level, name, and whether the level changed what records can say, so that leaving it could lose something.
const VERSIONS: &[(i16, &str, bool)] = &[
    (7, "3.3-IV3", true),
    (8, "3.4-IV0", true),
    (9, "3.5-IV0", false),
    (10, "3.5-IV1", false),
    (11, "3.5-IV2", true),
    (12, "3.6-IV0", false),
    (13, "3.6-IV1", true),
    (14, "3.6-IV2", true),
    (15, "3.7-IV0", true),
    (16, "3.7-IV1", false),
    (17, "3.7-IV2", true),
    (18, "3.7-IV3", false),
    (19, "3.7-IV4", false),
    (20, "3.8-IV0", false),
    (21, "3.9-IV0", false),
    (22, "4.0-IV0", false),
    (23, "4.0-IV1", true),
    (24, "4.0-IV2", false),
    (25, "4.0-IV3", false),
    (26, "4.1-IV0", false),
    (27, "4.1-IV1", false),
    (28, "4.2-IV0", false),
    (29, "4.2-IV1", false),
    (30, "4.3-IV0", true),
    (31, "4.4-IV0", false),
];

/// Declares a question that is answered by "is the level at least this one".
macro_rules! since {
    ($($(#[$doc:meta])* $name:ident $level:literal)*) => {
        $($(#[$doc])* pub const fn $name(self) -> bool { self.0 >= $level })*
    };
}

impl MetadataVersion {
    /// The oldest level that Kafka 4.x can run.
    pub const MINIMUM: Self = Self(7);
    /// What a new cluster gets: 4.3-IV0.
    pub const LATEST_PRODUCTION: Self = Self(30);
    /// Known, but not for production.
    pub const LATEST_TESTING: Self = Self(31);

    pub fn from_level(level: i16) -> Option<Self> {
        VERSIONS.iter().find(|(known, ..)| *known == level).map(|_| Self(level))
    }

    /// By a name such as `4.3-IV0`, or by a release such as `4.3`, which means its last level that is not beyond `latest`.
    pub fn from_name(name: &str, latest: Self) -> Option<Self> {
        let exact = VERSIONS.iter().find(|(_, known, _)| *known == name);
        let of_release = || {
            VERSIONS
                .iter()
                .rev()
                .filter(|(level, ..)| *level <= latest.0)
                .find(|(_, known, _)| known.split_once('-').is_some_and(|(release, _)| release == name))
        };
        exact.or_else(of_release).map(|(level, ..)| Self(*level))
    }

    pub const fn level(self) -> i16 {
        self.0
    }

    pub fn name(self) -> &'static str {
        let row = VERSIONS.iter().find(|(known, ..)| *known == self.0);
        row.expect("only levels of the table are made").1
    }

    since! {
        transactions_supported 13
        delegation_tokens_supported 14
        scram_supported 11
        controller_registration_supported 15
        directory_assignment_supported 17
        elr_supported 23
        cordoned_log_dirs_supported 30
    }

    /// Before 3.6 a shrinking ISR also raised the leader epoch.
    pub const fn isr_shrink_raises_leader_epoch(self) -> bool {
        self.0 < 12
    }

    pub const fn register_broker_record_version(self) -> i16 {
        match self.0 {
            30.. => 4,
            17.. => 3,
            8.. => 2,
            _ => 1,
        }
    }

    /// The version of both `PartitionRecord` and `PartitionChangeRecord`.
    pub const fn partition_record_version(self) -> i16 {
        match self.0 {
            23.. => 2,
            17.. => 1,
            _ => 0,
        }
    }

    /// Whether going down from here to `lower` could lose metadata.
    pub fn downgrade_loses_metadata(self, lower: Self) -> bool {
        VERSIONS.iter().any(|(level, _, changed)| *changed && *level > lower.0 && *level <= self.0)
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        assert_eq!(MetadataVersion::LATEST_PRODUCTION.name(), "4.3-IV0");
        let level = |name, latest| MetadataVersion::from_name(name, latest).map(MetadataVersion::level);
        let (production, testing) = (MetadataVersion::LATEST_PRODUCTION, MetadataVersion::LATEST_TESTING);
        assert_eq!(level("4.0", production), Some(25));
        assert_eq!(level("3.9-IV0", production), Some(21));
        assert_eq!((level("4.4", production), level("4.4", testing)), (None, Some(31)));
        assert_eq!(MetadataVersion::from_level(6), None);
    }

    #[test]
    fn downgrades() {
        let level = |n| MetadataVersion::from_level(n).expect("known");
        assert!(level(30).downgrade_loses_metadata(level(29)));
        assert!(!level(29).downgrade_loses_metadata(level(24)));
        assert!(level(29).downgrade_loses_metadata(level(22)));
    }
}

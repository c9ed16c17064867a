//! The finalized level of every feature.

use std::fmt;

use dohle_wire::Text;
use dohle_wire::messages::FeatureLevelRecord;
use imbl::OrdMap;

use crate::MetadataVersion;
use crate::features::{ELR_VERSION, KRAFT_VERSION, Levels, METADATA_VERSION, supported_range};

/// The levels of a feature that someone supports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

impl VersionRange {
    pub const fn contains(self, level: i16) -> bool {
        level >= self.min && level <= self.max
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else if self.max == i16::MAX {
            write!(f, "{}+", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// The levels that hold in the cluster. `kraft.version` is not among them: it lives in the quorum's control records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    metadata_version: Option<MetadataVersion>,
    levels: OrdMap<Text, i16>,
}

impl Features {
    /// `None` until the log holds its first record.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.metadata_version
    }

    /// The level of a feature other than `metadata.version`; 0 when it is off.
    pub fn level(&self, name: &str) -> i16 {
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// Whether partitions keep eligible leader replicas (KIP-966).
    pub fn elr_enabled(&self) -> bool {
        self.level(ELR_VERSION) >= 1
    }

    /// Every finalized level above 0 by name, `metadata.version` included.
    pub fn finalized(&self) -> impl Iterator<Item = (&str, i16)> {
        let version = self.metadata_version.map(|version| (METADATA_VERSION, version.level()));
        version.into_iter().chain(self.levels.iter().map(|(name, level)| (&**name, *level)))
    }

    pub(super) fn set(&mut self, record: &FeatureLevelRecord) -> Result<(), String> {
        let (name, level) = (&*record.name, record.feature_level);
        if name == METADATA_VERSION {
            let version = MetadataVersion::from_level(level)
                .ok_or_else(|| format!("{METADATA_VERSION} {level} is not known to this software"))?;
            self.metadata_version = Some(version);
        } else if name == KRAFT_VERSION {
            // Once written by mistake; the level is in the control records.
        } else if level == 0 {
            self.levels.remove(name);
        } else {
            let range = supported_range(name, Levels::Testing);
            if !range.contains(level) {
                return Err(format!("feature {name} has level {level}, but this software supports {range}"));
            }
            self.levels.insert(record.name.detached(), level);
        }
        Ok(())
    }
}

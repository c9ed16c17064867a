//! Who is measured: a broker by its name, and what its acknowledgements promise.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// The records are in the memory of the kernel.
    #[serde(rename = "page cache")]
    PageCache,
    /// The records are on the disk.
    #[serde(rename = "fsync")]
    Synced,
}

impl Durability {
    pub const ALL: [Self; 2] = [Self::PageCache, Self::Synced];
}

/// A broker under one promise: a column of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contestant {
    pub broker: &'static str,
    pub durability: Durability,
}

pub const KAFKA: Contestant = Contestant { broker: "Kafka", durability: Durability::PageCache };
pub const KAFKA_SYNCED: Contestant = Contestant { broker: "Kafka", durability: Durability::Synced };
pub const DOHLE: Contestant = Contestant { broker: "Dohle", durability: Durability::PageCache };
pub const DOHLE_SYNCED: Contestant = Contestant { broker: "Dohle", durability: Durability::Synced };

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let durability = match self.durability {
            Durability::PageCache => "page cache",
            Durability::Synced => "fsync",
        };
        f.pad(&format!("{}, {durability}", self.broker))
    }
}

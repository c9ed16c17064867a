//! What is measured: each scenario a few lines of data and a function of `measure`.

use super::Lab;
use super::broker::{Contestant, Durability};
use super::{groups, measure};
use crate::Outcome;

/// Figures by name, in the order they are shown.
pub type Metrics = Vec<(&'static str, f64)>;

/// A promise about a figure.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    pub metric: &'static str,
    pub of: Contestant,
    pub bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub enum Bound {
    Most(f64),
    /// This many times another contestant's, or less.
    MostTimes(f64, Contestant),
    LeastTimes(f64, Contestant),
}

#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub contestants: &'static [Contestant],
    pub measure: fn(&Lab, Contestant) -> Outcome<Metrics>,
    pub bars: &'static [Bar],
    /// Whether it is among the figures that are promised, and so runs unless others are named.
    pub promised: bool,
    /// One round tells all.
    pub deterministic: bool,
}

const KAFKA: Contestant = Contestant::Kafka(Durability::PageCache);
const KAFKA_SYNCED: Contestant = Contestant::Kafka(Durability::Synced);
const DOHLE: Contestant = Contestant::Dohle(Durability::PageCache);
const DOHLE_SYNCED: Contestant = Contestant::Dohle(Durability::Synced);

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "start",
        about: "from exec on an empty folder to the first acknowledged record (Kafka's format step is not counted)",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: measure::start,
        bars: &[Bar { metric: "start_ms", of: DOHLE_SYNCED, bound: Bound::Most(25.0) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "idle",
        about: "a node without topics, left alone",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: measure::idle,
        bars: &[
            Bar { metric: "rss_mib", of: DOHLE_SYNCED, bound: Bound::Most(8.0) },
            Bar { metric: "cpu_percent", of: DOHLE_SYNCED, bound: Bound::Most(0.1) },
        ],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "throughput",
        about: "1 KiB records in 64 KiB batches, one per request, 12 partitions, acks=all: produce, then consume from the start",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::throughput,
        bars: &[Bar { metric: "cpu_s_per_gb", of: DOHLE, bound: Bound::MostTimes(0.5, KAFKA) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "memory",
        about: "resident memory after gigabytes in and out",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: measure::memory,
        bars: &[Bar { metric: "rss_mib", of: DOHLE_SYNCED, bound: Bound::Most(32.0) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "durability",
        about: "acks=all from four connections, with and without fsync before the acknowledgement",
        contestants: &[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED],
        measure: measure::durability,
        bars: &[Bar { metric: "produce_mb_per_s", of: DOHLE_SYNCED, bound: Bound::LeastTimes(0.5, DOHLE) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "binary",
        about: "the size of the executable",
        contestants: &[DOHLE_SYNCED],
        measure: measure::binary,
        bars: &[Bar { metric: "binary_mib", of: DOHLE_SYNCED, bound: Bound::Most(25.0) }],
        promised: true,
        deterministic: true,
    },
    Scenario {
        name: "requests",
        about: "one record per request, one request at a time, 16 connections, acks=1",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::requests,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "latency",
        about: "end to end at 100 MB/s, 1 KiB records in 64 KiB batches, 12 partitions, from the moment a batch was due",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::latency,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "zstd",
        about: "as throughput, in batches of zstd; per gigabyte before compression",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::zstd,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "gzip",
        about: "as throughput, in batches of gzip; per gigabyte before compression",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::gzip,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "together",
        about: "as throughput, with a batch for each of 12 partitions in every request",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::together,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "batches-16k",
        about: "as throughput, in batches of 16 KiB",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::batches_16k,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "rate",
        about: "CPU per record at 20 MB/s in batches of 5 ms",
        contestants: &[KAFKA, DOHLE, DOHLE_SYNCED],
        measure: measure::rate,
        bars: &[],
        promised: false,
        deterministic: false,
    },
    Scenario {
        name: "heartbeats",
        about: "10,000 members that beat every 3 s, classic in groups of one and consumer in groups of 100; and as fast as 64 connections go",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: groups::heartbeats,
        bars: &[
            Bar { metric: "cpu_us_per_heartbeat", of: DOHLE_SYNCED, bound: Bound::Most(10.0) },
            Bar { metric: "consumer_cpu_us_per_heartbeat", of: DOHLE_SYNCED, bound: Bound::Most(10.0) },
        ],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "commits",
        about: "10,000 commits of one offset a second by 1,000 members on 64 connections, from the moment a commit was due",
        contestants: &[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED],
        measure: groups::commits,
        bars: &[Bar { metric: "commit_p99_ms", of: DOHLE_SYNCED, bound: Bound::MostTimes(0.5, KAFKA) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "forming",
        about: "1,000 members over 1,000 partitions: all join; one more joins (classic, then consumer with group.consumer.assignment.interval.ms=0)",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: groups::forming,
        bars: &[
            Bar { metric: "classic_form_ms", of: DOHLE_SYNCED, bound: Bound::MostTimes(0.5, KAFKA) },
            Bar { metric: "form_ms", of: DOHLE_SYNCED, bound: Bound::MostTimes(0.5, KAFKA) },
            Bar { metric: "one_more_partitions_moved", of: DOHLE_SYNCED, bound: Bound::Most(1.0) },
        ],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "idle-groups",
        about: "10,000 groups of one member with one committed offset, left alone",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: groups::idle_groups,
        bars: &[Bar { metric: "rss_mib", of: DOHLE_SYNCED, bound: Bound::Most(64.0) }],
        promised: true,
        deterministic: false,
    },
    Scenario {
        name: "loading",
        about: "stopped with 1,000,000 committed offsets in one partition of __consumer_offsets, and started again",
        contestants: &[KAFKA, DOHLE_SYNCED],
        measure: groups::loading,
        bars: &[Bar { metric: "us_per_offset", of: DOHLE_SYNCED, bound: Bound::Most(1.0) }],
        promised: true,
        deterministic: false,
    },
];

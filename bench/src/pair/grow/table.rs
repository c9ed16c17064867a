//! What is grown, what is watched, and how fast that may grow.
//!
//! A bound that says how many times (`Within`) is over the sizes that are measured.

use super::row::Bound::{Line, Linearithmic, Logarithm, Power, Within};
use super::row::Most::{All, Each};
use super::row::{LINEAR, Row, row};
use super::{connections, groups, logs, partitions, producer_ids, records, upkeep};

/// Partitions of one topic are made by one request, which controllers limit to ten thousand records.
const IN_ONE_TOPIC: &[u64] = &[100, 1_000, 9_000];
/// Lengths in MB.
const SHORT_LOGS: &[u64] = &[100, 1_000, 10_000];
const LONG_LOGS: &[u64] = &[1_000, 10_000, 100_000];
/// A client takes two descriptors for each connection while it connects.
const MANY_CONNECTIONS: &[u64] = &[1_000, 3_000, 9_000];

pub const TABLE: &[Row] = &[
    // Partitions that are idle.
    row("partitions-idle", partitions::busy_one)
        .about("CPU seconds a GB of one busy partition beside n idle ones", "s")
        .sizes(&[10, 100, 1_000], &[10, 100, 1_000, 10_000], 10)
        .grows(Within(1.1)),
    row("partitions-memory", partitions::memory)
        .about("memory of n partitions that were asked for and never written to", "KiB")
        .sizes(&[1_000, 3_000, 9_000], &[10_000, 30_000, 100_000], 500)
        .grows(LINEAR)
        .most(Each(2.0)),
    row("partitions-rested", partitions::rested_memory)
        .about("memory of n partitions that got a record each and rest", "KiB")
        .sizes(&[1_000, 3_000, 9_000], &[1_000, 10_000, 30_000], 200)
        .grows(LINEAR)
        .most(Each(2.0)),
    row("partitions-files", partitions::files)
        .about("open files with n partitions of a record each that rest", "files")
        .sizes(&[100, 1_000, 3_000], &[1_000, 10_000, 30_000], 50)
        .grows(Within(1.1))
        .most(All(4_000.0)),
    row("partitions-maps", partitions::maps)
        .about("mapped pieces of memory with n such partitions", "maps")
        .sizes(&[100, 1_000, 3_000], &[1_000, 10_000, 30_000], 50)
        .grows(Within(1.1)),
    row("partitions-session", partitions::fetch_session)
        .about("CPU a fetch of a session of n partitions, one of which has news", "us")
        .sizes(&[10, 100, 1_000], IN_ONE_TOPIC, 50)
        .grows(Within(1.2)),
    row("partitions-metadata", partitions::metadata)
        .about("CPU a question for one topic beside n partitions", "us")
        .sizes(&[10, 100, 1_000], &[10, 100, 1_000, 10_000], 50)
        .grows(Within(1.1)),
    row("partitions-creation", partitions::creation)
        .about("CPU to create one topic beside n partitions", "us")
        .sizes(&[10, 100, 1_000], &[10, 100, 1_000, 10_000], 50)
        .grows(Within(1.1)),
    // Partitions that are all busy: twice at a thousand, four times at ten thousand.
    row("partitions-active", partitions::active)
        .about("CPU seconds a GB of the same volume over n partitions", "s")
        .sizes(&[1, 10, 100], &[1, 10, 100, 1_000, 10_000], 10)
        .grows(Power(0.15)),
    row("partitions-active-ack", partitions::active_ack)
        .about("p99 of flushed acknowledgements at 4 MB/s over n partitions", "ms")
        .sizes(&[1, 30, 1_000], &[1, 10, 100, 1_000], 10)
        .grows(Within(2.0)),
    // Connections.
    row("connections", connections::memory)
        .about("memory of n connections that say nothing", "KiB")
        .sizes(&[250, 1_000, 4_000], MANY_CONNECTIONS, 300)
        .grows(LINEAR)
        .most(Each(2.0)),
    row("connections-idle", connections::idle_cpu)
        .about("CPU a second at rest with n silent connections", "ms")
        .sizes(&[100, 1_000, 4_000], MANY_CONNECTIONS, 50)
        .grows(Within(1.1)),
    row("connections-ack", connections::ack)
        .about("p99 of acknowledgements of ten connections beside n silent ones", "ms")
        .sizes(&[10, 200, 4_000], &[100, 1_000, 9_000], 50)
        .grows(Within(1.5)),
    // A second for ten thousand.
    row("connections-storm", connections::storm)
        .about("until n connections are there again that were lost at once", "ms")
        .sizes(&[250, 1_000, 4_000], MANY_CONNECTIONS, 100)
        .grows(LINEAR)
        .most(Each(0.1)),
    row("producers", connections::producers)
        .about("CPU a record of 20 MB/s from n producers", "us")
        .sizes(&[1, 4, 16], &[4, 50, 500], 4)
        .grows(Power(0.15)),
    row("producers-ack", connections::producers_ack)
        .about("p99 of acknowledgements of 20 MB/s from n producers", "ms")
        .sizes(&[1, 4, 16], &[4, 50, 500], 4)
        .grows(Within(3.0)),
    row("parked-fetches", connections::parked_fetches)
        .about("CPU a request of one partition while n fetches of another are parked", "us")
        .sizes(&[10, 100, 1_000], &[10, 100, 1_000, 9_000], 20)
        .grows(Power(0.1)),
    row("fan-out", connections::fan_out)
        .about("CPU seconds a GB that goes out to n readers of one partition", "s")
        .sizes(&[1, 4, 16], &[1, 10, 50], 2)
        .grows(Power(0.1)),
    // Logs that are long. The long ones are nearly all holes.
    row("log-killed", logs::killed)
        .about("start to the first acknowledgement after SIGKILL, n MB in segments of 16 MiB", "ms")
        .sizes(&[50, 200, 800], &[1_000, 4_000, 16_000], 10)
        .grows(Within(1.2)),
    row("length-start", logs::start)
        .about("start to the first acknowledgement after a clean stop, with n MB in one log", "ms")
        .sizes(SHORT_LOGS, LONG_LOGS, 20)
        .grows(Within(1.3)),
    row("length-lookup", logs::lookup)
        .about("to find an offset by its time in a log of n MB, median", "us")
        .sizes(SHORT_LOGS, LONG_LOGS, 20)
        .grows(Within(1.3)),
    row("length-fetch", logs::fetch)
        .about("to fetch a batch of 1 MB from all over a log of n MB, median", "us")
        .sizes(SHORT_LOGS, LONG_LOGS, 20)
        .grows(Within(1.3)),
    row("length-memory", logs::memory)
        .about("memory after looking all over a log of n MB", "MiB")
        .sizes(SHORT_LOGS, LONG_LOGS, 20)
        .grows(Within(1.3)),
    // Logs of many segments.
    row("segments", logs::open_segments)
        .about("start to the first acknowledgement after a clean stop, with n segments in the log", "ms")
        .sizes(&[20, 80, 320], &[100, 1_000, 10_000], 4)
        .grows(Logarithm),
    row("segments-fetch", logs::fetch_from_segments)
        .about("to fetch a batch from all over a log of n segments, median", "us")
        .sizes(&[20, 80, 320], &[100, 1_000, 10_000], 4)
        .grows(Logarithm),
    row("segments-look", logs::retention_look)
        .about("CPU a look of retention at a log of n segments, none of which is due", "us")
        .sizes(&[20, 80, 320], &[100, 1_000, 10_000], 4)
        .grows(Logarithm),
    row("segments-retention", logs::retention)
        .about("CPU to delete sixteen of n segments", "ms")
        .sizes(&[20, 80, 320], &[100, 1_000, 10_000], 20)
        .grows(Within(1.3)),
    // Groups.
    row("groups", groups::memory)
        .about("memory of n groups of one member", "KiB")
        .sizes(&[300, 1_000, 3_000], &[1_000, 10_000, 100_000], 300)
        .grows(LINEAR),
    row("groups-heartbeat", groups::heartbeat)
        .about("CPU a heartbeat of n groups of one member", "us")
        .sizes(&[100, 600, 3_000], &[100, 1_000, 10_000], 50)
        .grows(Within(1.1)),
    row("groups-commit", groups::commit_ack)
        .about("p99 of a thousand commits a second of n groups", "ms")
        .sizes(&[100, 600, 3_000], &[100, 1_000, 10_000], 50)
        .grows(Within(1.5)),
    row("groups-load", groups::load)
        .about("CPU from the start until the offsets of a group of n commits are told", "us")
        .sizes(&[20_000, 60_000, 180_000], &[100_000, 300_000, 1_000_000], 1_000)
        .grows(LINEAR)
        .most(Each(1.0)),
    row("group-size", groups::members)
        .about("CPU of forming one consumer group of n members over 200 partitions", "ms")
        .sizes(&[50, 100, 200], &[100, 300, 1_000], 10)
        .grows(Linearithmic),
    row("group-partitions", groups::partitions)
        .about("CPU of forming one consumer group of 20 members over n partitions", "ms")
        .sizes(&[250, 1_000, 4_000], &[1_000, 3_000, 9_000], 40)
        .grows(Linearithmic),
    row("group-both", groups::members_and_partitions)
        .about("CPU of forming one consumer group of n members over n partitions", "ms")
        .sizes(&[50, 100, 200], &[100, 300, 1_000], 10)
        .grows(Linearithmic),
    row("group-one-more", groups::one_more)
        .about("until all is dealt out again after one more has joined n members of n partitions", "ms")
        .sizes(&[50, 100, 200], &[100, 300, 1_000], 10)
        .grows(Linearithmic),
    // Idempotent producers.
    row("producer-ids", producer_ids::memory)
        .about("memory of n idempotent producers that have written to one partition", "KiB")
        .sizes(&[3_000, 10_000, 30_000], &[10_000, 30_000, 100_000], 3_000)
        .grows(LINEAR)
        .most(Each(200.0 / 1_024.0)),
    row("producer-ids-append", producer_ids::append)
        .about("CPU a record of a partition that knows n producers", "us")
        .sizes(&[1_000, 6_000, 30_000], &[1_000, 10_000, 100_000], 100)
        .grows(Within(1.1)),
    // All that is known is written where a segment ends, as Kafka's files have it.
    row("producer-ids-snapshot", producer_ids::snapshot)
        .about("CPU a segment of 1 MiB of a partition that knows n producers", "ms")
        .sizes(&[1_000, 6_000, 30_000], &[1_000, 10_000, 100_000], 100)
        .grows(LINEAR),
    // Records of different sizes.
    row("record-size", records::batched)
        .about("CPU seconds a GB in batches of 64 KiB, or one record, of records of n bytes", "s")
        .sizes(&[10, 1_024, 61_440, 1_048_576], &[10, 100, 1_024, 8_192, 61_440, 1_048_576], 100)
        .grows(Power(0.1)),
    row("request-size", records::single)
        .about("CPU a request of one record of n bytes", "us")
        .sizes(&[10, 1_024, 32_768, 1_048_576], &[10, 100, 1_024, 8_192, 61_440, 1_048_576], 1_024)
        .grows(Line(0.2)),
    // As time goes by.
    row("age-memory", upkeep::aged_memory)
        .about("memory after n seconds of a load with retention", "MiB")
        .sizes(&[2, 6, 18], &[60, 600, 3_600], 2)
        .grows(Within(1.1)),
    row("age-cpu", upkeep::aged_cpu)
        .about("CPU a record after n seconds of a load with retention", "us")
        .sizes(&[2, 6, 18], &[60, 600, 3_600], 2)
        .grows(Within(1.1)),
    row("age-latency", upkeep::aged_latency)
        .about("p99 from end to end after n seconds of a load with retention", "ms")
        .sizes(&[2, 6, 18], &[60, 600, 3_600], 2)
        .grows(Within(1.1)),
    // Compaction.
    row("compaction", upkeep::compaction)
        .about("largest memory while a log of n MB is compacted, ten thousand keys", "MiB")
        .sizes(&[50, 150, 450], &[1_000, 3_000, 10_000], 20)
        .grows(Power(0.1)),
    // The map's 8 MiB, as much that it leaves behind as it grows and that is given back a second later, and what few keys take.
    row("compaction-keys", upkeep::compaction_keys)
        .about("largest memory while n keys are compacted with a map of 8 MiB", "MiB")
        .sizes(&[10_000, 100_000, 1_000_000], &[1_000_000, 10_000_000, 100_000_000], 1_000)
        .grows(Power(0.2))
        .most(All(48.0)),
    row("compaction-ack", upkeep::compaction_ack)
        .about("p99 of acknowledgements at 20 MB/s while a log of n MB is compacted", "ms")
        .sizes(&[50, 150, 450], &[1_000, 3_000, 10_000], 20)
        .grows(Within(2.0)),
];

//! The table of scenarios: a new one is a row here, and a function of `measure` only where no load describes it.

use std::borrow::Cow;

use super::background::{COMPACTED, OFTEN, SHORT};
use super::contestant::{DOHLE, DOHLE_SYNCED, KAFKA, KAFKA_SYNCED};
use super::scenario::Amount::{Time, Volume};
use super::scenario::Bound::{LeastTimes, Most, MostTimes};
use super::scenario::Measure::{By, Load};
use super::scenario::Way::{EndToEnd, InAndOut, Produce};
use super::scenario::{Bar, STANDARD, Scenario, Shape, scenario};
use super::{background, crowds, groups, measure};
use crate::client::Codec;

const MB: u64 = 1_000_000;
/// One record per request.
const SINGLE: Shape = Shape { record_size: 100, batch_size: 0, pipeline: 1, amount: Time, ..STANDARD };
/// At a rate, in batches of 64 KiB to one partition after the other.
const STICKY: Shape = Shape { rate: Some(100 * MB), amount: Time, ..STANDARD };
/// At a rate, what gathers in 5 ms divided over all partitions: many small batches in a request.
const KEYED: Shape = Shape { batch_size: 500_000 / 12, batches_per_request: 12, keys: 1 << 20, ..STICKY };

/// At most `must`; `aim` would be better.
const fn most(metric: &'static str, must: f64, aim: f64) -> Bar {
    Bar { metric, of: DOHLE_SYNCED, bound: Most(must), aim }
}

/// `must` times less than Kafka's; `aim` times would be better. Durability is the same: neither syncs.
const fn less(metric: &'static str, must: f64, aim: f64) -> Bar {
    Bar { metric, of: DOHLE, bound: MostTimes(1.0 / must, KAFKA), aim: 1.0 / aim }
}

const fn more(metric: &'static str, must: f64, aim: f64) -> Bar {
    Bar { metric, of: DOHLE, bound: LeastTimes(must, KAFKA), aim }
}

/// All but the matrix, in the order of the report.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = whole_nodes();
    all.extend(loads());
    all.extend(rates());
    all.extend(many());
    all.extend(coordinators());
    all
}

fn whole_nodes() -> Vec<Scenario> {
    vec![
        scenario(
            "start",
            "from exec on an empty folder to the first acknowledged record (Kafka's format step is not counted)",
            By(measure::start),
        )
        .of(&[KAFKA, DOHLE_SYNCED])
        .promises([most("start_ms", 50.0, 25.0)]),
        scenario("idle", "a node without topics, left alone", By(measure::idle))
            .of(&[KAFKA, DOHLE_SYNCED])
            .promises([
                most("rss_mib", 16.0, 8.0),
                Bar { metric: "cpu_percent", of: DOHLE_SYNCED, bound: MostTimes(0.05, KAFKA), aim: 0.01 },
            ]),
        scenario("memory", "resident memory after gigabytes in and out", By(measure::memory))
            .of(&[KAFKA, DOHLE_SYNCED])
            .promises([most("rss_mib", 64.0, 32.0)]),
        Scenario {
            deterministic: true,
            ..scenario("binary", "the size of the executable", By(measure::binary))
                .of(&[DOHLE_SYNCED])
                .promises([most("binary_mib", 25.0, 25.0)])
        },
        scenario("cold", "the first ten seconds after the start: produced in batches of 64 KiB", By(measure::cold)).promises([less("produce_cpu_s_per_gb", 10.0, 14.0)]),
        scenario(
            "restart",
            "killed by SIGKILL with the volume in its log, and started again: to the first acknowledged record",
            By(measure::killed),
        ),
    ]
}

fn loads() -> Vec<Scenario> {
    vec![
        scenario(
            "throughput",
            "1 KiB records in 64 KiB batches, one per request, 12 partitions, acks=all: produce, then consume from the start",
            Load(InAndOut, STANDARD),
        )
        .promises([less("cpu_s_per_gb", 3.0, 4.0), more("produce_mb_per_s", 2.5, 4.0)]),
        scenario(
            "together",
            "as throughput, with a batch for each of 12 partitions in every request",
            Load(InAndOut, Shape { batches_per_request: 12, ..STANDARD }),
        )
        .promises([less("cpu_s_per_gb", 2.5, 3.5)]),
        scenario(
            "batches-16k",
            "as throughput, in batches of 16 KiB",
            Load(InAndOut, Shape { batch_size: 16 << 10, ..STANDARD }),
        )
        .promises([less("cpu_s_per_gb", 3.0, 4.0)]),
        scenario(
            "zstd",
            "as throughput, in batches of zstd; per gigabyte before compression",
            Load(InAndOut, Shape { codec: Codec::Zstd, ..STANDARD }),
        )
        .promises([less("cpu_s_per_gb", 6.0, 10.0)]),
        scenario(
            "gzip",
            "as throughput, in batches of gzip; per gigabyte before compression",
            Load(InAndOut, Shape { codec: Codec::Gzip, ..STANDARD }),
        )
        .promises([less("cpu_s_per_gb", 12.0, 25.0)]),
        scenario(
            "fsync",
            "fsync before the acknowledgement, one connection with five requests of 64 KiB on their way",
            Load(Produce, Shape { amount: Volume(0.25), ..STANDARD }),
        )
        .of(&[KAFKA_SYNCED, DOHLE_SYNCED])
        .promises([
            Bar { metric: "produce_mb_per_s", of: DOHLE_SYNCED, bound: LeastTimes(5.0, KAFKA_SYNCED), aim: 10.0 },
            Bar { metric: "ack_p99_ms", of: DOHLE_SYNCED, bound: MostTimes(0.25, KAFKA_SYNCED), aim: 0.1 },
        ]),
        scenario(
            "durability",
            "acks=all from four connections, with and without fsync before the acknowledgement",
            Load(Produce, Shape { connections: 4, amount: Volume(0.25), ..STANDARD }),
        )
        .of(&[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED])
        .promises([Bar { metric: "produce_mb_per_s", of: DOHLE_SYNCED, bound: LeastTimes(0.5, DOHLE), aim: 1.0 }]),
        scenario(
            "requests",
            "one record per request, one request at a time, 16 connections, acks=1",
            Load(Produce, Shape { connections: 16, acks: 1, ..SINGLE }),
        )
        .promises([more("requests_per_s", 1.8, 2.5)]),
        scenario("ack", "one record per request, one at a time on one connection, acks=all", Load(Produce, SINGLE))
            .of(&[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED])
            .promises([less("ack_p50_ms", 2.0, 3.0)]),
        scenario(
            "ack-200",
            "one record per request, 200 in a second on one connection, acks=all",
            Load(Produce, Shape { rate: Some(200 * 100), ..SINGLE }),
        )
        .of(&[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED])
        .promises([less("ack_p50_ms", 2.0, 3.0)]),
    ]
}

/// At fixed rates, from the moment a batch was due to its arrival at a reader.
fn rates() -> Vec<Scenario> {
    const SLOW: Shape = Shape { batch_size: 100_000, rate: Some(20 * MB), ..STICKY };
    const SLOW_KEYED: Shape = Shape { batch_size: 100_000 / 12, rate: Some(20 * MB), ..KEYED };
    const BARS: [Bar; 1] = [less("cpu_us_per_record", 3.0, 5.0)];
    const TAILS: [Bar; 2] = [less("e2e_p99_ms", 3.0, 10.0), less("e2e_p99.99_ms", 5.0, 10.0)];
    vec![
        scenario(
            "rate-1",
            "end to end at 1 MB/s, in batches of 5 ms",
            Load(EndToEnd, Shape { batch_size: 5_000, rate: Some(MB), ..STICKY }),
        ),
        scenario("rate", "end to end at 20 MB/s in batches of 5 ms", Load(EndToEnd, SLOW)).promises(BARS),
        scenario(
            "rate-keyed",
            "end to end at 20 MB/s, what comes in 5 ms divided over 12 partitions",
            Load(EndToEnd, SLOW_KEYED),
        )
        .promises(BARS),
        scenario(
            "latency",
            "end to end at 100 MB/s, batches of 64 KiB, 12 partitions",
            Load(EndToEnd, STICKY),
        )
        .promises(TAILS),
        scenario(
            "latency-keyed",
            "end to end at 100 MB/s, what comes in 5 ms divided over 12 partitions",
            Load(EndToEnd, KEYED),
        )
        .promises(TAILS),
        scenario(
            "rate-250",
            "end to end at 250 MB/s, batches of 64 KiB, 12 partitions",
            Load(EndToEnd, Shape { rate: Some(250 * MB), ..STICKY }),
        ),
        scenario(
            "fan-out",
            "one partition at 10 MB/s, read by 50 consumers at the tail; CPU per gigabyte that goes out",
            Load(EndToEnd, Shape { partitions: 1, readers: 50, rate: Some(10 * MB), ..STICKY }),
        ),
        scenario(
            "retention",
            "end to end at 100 MB/s while segments of 16 MiB are deleted behind 64 MiB of each partition",
            Load(EndToEnd, Shape { topic_config: SHORT, settings: OFTEN, ..STICKY }),
        ),
        scenario(
            "compaction",
            "end to end at 50 MB/s, 10,000 keys, compacted all the time in segments of 16 MiB",
            Load(
                EndToEnd,
                Shape {
                    rate: Some(50 * MB),
                    keys: 10_000,
                    topic_config: COMPACTED,
                    settings: OFTEN,
                    ..STICKY
                },
            ),
        ),
        scenario(
            "cold-scan",
            "end to end at 50 MB/s, alone and while another reader scans --scan-gb that are not in the page cache",
            By(measure::cold_scan),
        )
        .promises([less("ack_p99_ms", 10.0, 50.0), most("ack_to_alone", 2.0, 2.0)]),
        scenario(
            "disturbed",
            "acknowledgements at 100 MB/s: alone, while segments roll, are deleted, are compacted, and while logs move between two directories",
            By(background::disturbed),
        )
        .of(&[KAFKA_SYNCED, DOHLE_SYNCED])
        .promises([most("alone_ack_p99_ms", 10.0, 10.0), most("worst_to_alone", 2.0, 2.0)]),
        scenario(
            "compacting",
            "--volume-gb of 1 KiB records with ten million keys, compacted with the default buffer",
            By(background::compacting),
        )
        .of(&[KAFKA, DOHLE_SYNCED])
        .promises([Bar { metric: "cpu_s_per_gb", of: DOHLE_SYNCED, bound: MostTimes(1.0, KAFKA), aim: 0.5 }]),
        scenario(
            "hour",
            "end to end at 100 MB/s with retention for --hours: its first and its last tenth",
            By(measure::hour),
        ),
    ]
}

fn many() -> Vec<Scenario> {
    vec![
        scenario(
            "partitions-10k",
            "10,000 partitions: created, a record in each, at rest, started again",
            By(crowds::ten_thousand_partitions),
        )
        .of(&[KAFKA, DOHLE_SYNCED]),
        scenario(
            "partitions-100k",
            "100,000 partitions: created, a record in each, at rest, started again",
            By(crowds::hundred_thousand_partitions),
        )
        .of(&[KAFKA, DOHLE_SYNCED]),
        scenario(
            "connections-10k",
            "10,000 connections that say nothing: memory, CPU, and what ten busy ones notice",
            By(crowds::idle_connections),
        )
        .of(&[KAFKA, DOHLE_SYNCED])
        .promises([most("kib_per_connection", 2.8, 2.0)]),
    ]
}

fn coordinators() -> Vec<Scenario> {
    let of_groups = |name, about, measure| scenario(name, about, By(measure)).of(&[KAFKA, DOHLE_SYNCED]);
    vec![
        of_groups(
            "heartbeats",
            "10,000 members that beat every 3 s, classic in groups of one and consumer in groups of 100; and as fast as 64 connections go",
            groups::heartbeats,
        )
        .promises([most("cpu_us_per_heartbeat", 10.0, 10.0), most("consumer_cpu_us_per_heartbeat", 10.0, 10.0)]),
        scenario(
            "commits",
            "10,000 commits of one offset a second by 1,000 members on 64 connections, from the moment a commit was due",
            By(groups::commits),
        )
        .of(&[KAFKA, KAFKA_SYNCED, DOHLE, DOHLE_SYNCED])
        .promises([Bar { metric: "commit_p99_ms", of: DOHLE_SYNCED, bound: MostTimes(0.5, KAFKA), aim: 0.5 }]),
        of_groups(
            "forming",
            "1,000 members over 1,000 partitions: all join; one more joins (classic, then consumer with group.consumer.assignment.interval.ms=0)",
            groups::forming,
        )
        .promises([
            Bar { metric: "classic_form_ms", of: DOHLE_SYNCED, bound: MostTimes(0.5, KAFKA), aim: 0.5 },
            Bar { metric: "form_ms", of: DOHLE_SYNCED, bound: MostTimes(0.5, KAFKA), aim: 0.5 },
            most("one_more_partitions_moved", 1.0, 1.0),
        ]),
        of_groups(
            "idle-groups",
            "10,000 groups of one member with one committed offset, left alone",
            groups::idle_groups,
        )
        .promises([most("rss_mib", 64.0, 64.0)]),
        of_groups(
            "loading",
            "stopped with 1,000,000 committed offsets in one partition of __consumer_offsets, and started again",
            groups::loading,
        )
        .promises([most("us_per_offset", 1.0, 1.0)]),
    ]
}

/// Throughput over everything that is crossed: sizes of records, codecs, partitions, producers, and whether keys scatter.
pub fn matrix() -> impl Iterator<Item = Scenario> {
    const SIZES: [(usize, &str); 3] = [(100, "100b"), (1024, "1k"), (64 << 10, "64k")];
    const CODECS: [(Codec, &str); 5] = [
        (Codec::None, "none"),
        (Codec::Gzip, "gzip"),
        (Codec::Snappy, "snappy"),
        (Codec::Lz4, "lz4"),
        (Codec::Zstd, "zstd"),
    ];
    const PARTITIONS: [i32; 3] = [1, 12, 1_000];
    const PRODUCERS: [usize; 2] = [1, 50];
    let axes = SIZES.into_iter().flat_map(|size| CODECS.into_iter().map(move |codec| (size, codec)));
    let axes = axes.flat_map(|cell| PARTITIONS.into_iter().map(move |partitions| (cell, partitions)));
    let axes = axes.flat_map(|cell| PRODUCERS.into_iter().map(move |producers| (cell, producers)));
    let axes = axes.flat_map(|cell| [false, true].into_iter().map(move |keyed| (cell, keyed)));
    axes.map(|(((((record_size, size), (codec, packed)), partitions), connections), keyed)| {
        let way = if keyed { "keyed" } else { "sticky" };
        let sticky = Shape { record_size, codec, partitions, connections, ..STANDARD };
        let spread = if partitions == 1_000 { 10 } else { partitions as usize };
        let shape = if keyed { Shape { batch_size: 4 << 10, batches_per_request: spread, ..sticky } } else { sticky };
        let name = format!("matrix-{size}-{packed}-p{partitions}-c{connections}-{way}");
        let about = format!(
            "records of {record_size} bytes, {packed}, {partitions} partitions, {connections} producers, {way}: produce, then consume"
        );
        Scenario {
            name: Cow::Owned(name),
            about: Cow::Owned(about),
            ..scenario("", "", Load(InAndOut, shape)).of(&[KAFKA, DOHLE])
        }
    })
}

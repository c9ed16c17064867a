//! What is fuzzed: one row per target.

mod config;
mod logs;
mod records;
mod wire;

use crate::chance::Chance;

/// A function over bytes, and what is expected of it.
pub struct Target {
    pub name: &'static str,
    /// Panics on a broken promise.
    pub run: fn(&[u8]),
    /// Bytes that `run` gets far with.
    pub sample: fn(&mut Chance) -> Vec<u8>,
    /// It holds at most this many bytes for each byte of input, ...
    pub memory_factor: usize,
    /// ... and these.
    pub memory_slack: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What reading a message costs by `dohle_wire`'s own promise, the copy of the input that the target makes, and growing lists,
/// which hold old and new for a moment.
const READ_FACTOR: usize = 2 * dohle_wire::MEMORY_FACTOR + 2;
const READ_SLACK: usize = dohle_wire::MEMORY_SLACK + 64 * KIB;

pub const TARGETS: &[Target] = &[
    Target {
        name: "request",
        run: wire::request,
        sample: wire::request_sample,
        memory_factor: READ_FACTOR,
        memory_slack: READ_SLACK,
    },
    Target {
        name: "response",
        run: wire::response,
        sample: wire::response_sample,
        memory_factor: READ_FACTOR,
        memory_slack: READ_SLACK,
    },
    // Reading, writing, and reading again.
    Target {
        name: "message_round_trip",
        run: wire::round_trip,
        sample: wire::round_trip_sample,
        memory_factor: 3 * READ_FACTOR,
        memory_slack: 3 * READ_SLACK,
    },
    Target {
        name: "metadata_record",
        run: logs::metadata_record,
        sample: logs::metadata_sample,
        memory_factor: 3 * READ_FACTOR,
        memory_slack: 3 * READ_SLACK,
    },
    Target {
        name: "coordinator_record",
        run: logs::coordinator_record,
        sample: logs::coordinator_sample,
        memory_factor: 3 * READ_FACTOR,
        memory_slack: 3 * READ_SLACK,
    },
    // A record may be as large as the cap, and its buffer twice that while it grows.
    Target {
        name: "batch",
        run: records::batch,
        sample: records::batch_sample,
        memory_factor: 32,
        memory_slack: 4 * records::LIMIT + MIB,
    },
    // Its repacked form and its record errors come on top: a sentence for each bad record, up to a limit of them.
    Target {
        name: "produce",
        run: records::produce,
        sample: records::produce_sample,
        memory_factor: 64,
        memory_slack: 8 * records::LIMIT + 2 * MIB,
    },
    Target {
        name: "legacy",
        run: records::legacy,
        sample: records::legacy_sample,
        memory_factor: 32,
        memory_slack: 4 * records::LIMIT + MIB,
    },
    // lz4 and snappy hold a block, of at most 256 bytes for each of input.
    Target {
        name: "decompress",
        run: records::decompress,
        sample: records::decompress_sample,
        memory_factor: 300,
        memory_slack: 2 * MIB,
    },
    Target {
        name: "codec_round_trip",
        run: records::codec_round_trip,
        sample: |chance| {
            let len = chance.below(40_000);
            chance.bytes(len)
        },
        memory_factor: 16,
        memory_slack: 2 * MIB,
    },
    Target {
        name: "properties",
        run: config::properties,
        sample: config::properties_sample,
        memory_factor: 64,
        memory_slack: 64 * KIB,
    },
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

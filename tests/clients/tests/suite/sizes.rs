//! Records as large as allowed, and one byte larger.

use dohle_tests_clients::content::value_bytes_for_batch;

use super::Stage;

/// `MESSAGE_TOO_LARGE`
const TOO_LARGE: i64 = 10;
/// The default of `message.max.bytes`: one MiB and the header of a batch of the old format.
const DEFAULT_LIMIT: usize = 1_048_588;
const SMALL_LIMIT: usize = 20_000;

pub fn limits(stage: &mut Stage) {
    let topic = "sizes";
    let contents = stage.contents(500, 0);
    stage.topic(topic, contents, "");
    let mut offset = 0;
    for size in [100, 65_536, 500_000] {
        fits(stage, topic, size, "all", &mut offset);
    }
    edge(stage, topic, DEFAULT_LIMIT, &mut offset);
    stage.writer().ask(&format!("alter topic={topic} config=max.message.bytes:{SMALL_LIMIT}"));
    edge(stage, topic, SMALL_LIMIT, &mut offset);
    stage.writer().ask(&format!("reset topic={topic} config=max.message.bytes:"));
    edge(stage, topic, DEFAULT_LIMIT, &mut offset);
}

/// A batch of exactly the limit is stored, one byte more is refused, whatever the producer waits for.
fn edge(stage: &mut Stage, topic: &str, limit: usize, offset: &mut i64) {
    for acks in ["all", "1"] {
        fits(stage, topic, limit, acks, offset);
        let bytes = value_bytes_for_batch(limit) + 1;
        let refused =
            stage.writer().refused(&format!("big topic={topic} partition=0 bytes={bytes} acks={acks}"));
        stage.checks.equal(refused, TOO_LARGE, format!("a batch of {limit} bytes and one, acks {acks}"));
    }
}

fn fits(stage: &mut Stage, topic: &str, batch: usize, acks: &str, offset: &mut i64) {
    let bytes = value_bytes_for_batch(batch);
    let sent = stage.writer().ask(&format!("big topic={topic} partition=0 bytes={bytes} acks={acks}"));
    stage.checks.equal(
        sent["offset"].as_i64(),
        Some(*offset),
        format!("a batch of {batch} bytes, acks {acks}"),
    );
    let got = stage.writer().ask(&format!("seek topic={topic} partition=0 offset={offset}"));
    stage.checks.equal(
        got["bytes"].as_u64(),
        Some(bytes as u64),
        format!("a value of {bytes} bytes read back"),
    );
    let crc = format!("{:08x}", crc32fast::hash(&vec![b'x'; bytes]));
    stage.checks.equal(
        got["value_crc32"].as_str(),
        Some(crc.as_str()),
        format!("the bytes of a value of {bytes}"),
    );
    *offset += 1;
}

//! Finds records by offset and by time.

use super::Stage;

/// `OFFSET_OUT_OF_RANGE`
const OUT_OF_RANGE: i64 = 1;
const COUNT: u64 = 3_000;
const PARTITION: u64 = 1;

pub fn seek(stage: &mut Stage) {
    let topic = "places";
    let contents = stage.contents(400, COUNT);
    stage.topic(topic, contents, "");
    stage.writer().ask(&format!("produce topic={topic} codec=gzip {}", contents.arguments()));
    let last = COUNT / contents.partitions - 1;
    for offset in [0, 1, 17, last / 2, last - 1, last] {
        let got = stage.writer().ask(&format!("seek topic={topic} partition={PARTITION} offset={offset}"));
        stage.checks.equal(got["offset"].as_u64(), Some(offset), format!("seek to {offset}"));
        let stamp = contents.timestamp(PARTITION, offset);
        stage.checks.equal(got["timestamp"].as_i64(), Some(stamp), format!("timestamp at {offset}"));
    }
    times(stage, topic, last);
    ends(stage, topic);
}

/// Exact times, times between two records, before all and after all.
fn times(stage: &mut Stage, topic: &str, last: u64) {
    let contents = stage.contents(400, COUNT);
    let at = |offset| contents.timestamp(PARTITION, offset);
    let asked =
        [0, at(0), at(0) + 1, at(last / 3), at(last / 3) - 1, at(last / 3) + 1, at(last), at(last) + 1];
    let list = asked.map(|t| t.to_string()).join(",");
    let found = stage.writer().ask(&format!("times topic={topic} partition={PARTITION} timestamps={list}"))["offsets"].clone();
    for (i, time) in asked.into_iter().enumerate() {
        let wanted = contents.offset_at(PARTITION, time);
        stage.checks.equal(found[i].as_i64(), Some(wanted), format!("the first offset at or after {time}"));
    }
}

fn ends(stage: &mut Stage, topic: &str) {
    let contents = stage.contents(400, COUNT);
    let got = stage.writer().ask(&format!("ends topic={topic} partitions={}", contents.partitions));
    let each = COUNT / contents.partitions;
    stage.checks.equal(got["starts"].clone(), serde_json::json!([0, 0, 0]), "beginning offsets");
    stage.checks.equal(got["ends"].clone(), serde_json::json!([each, each, each]), "end offsets");
    let refused =
        stage.writer().refused(&format!("seek topic={topic} partition={PARTITION} offset={}", each + 1000));
    stage.checks.equal(refused, OUT_OF_RANGE, "reading far beyond the end");
}

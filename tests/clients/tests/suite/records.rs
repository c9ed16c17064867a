//! Writes with every codec and producer setting and reads everything back with several clients.

use std::time::{Duration, Instant};

use dohle_tests_clients::client::{Client, everything};
use dohle_tests_clients::content::Contents;

use super::Stage;

pub const PARTITIONS: u64 = 3;
/// `acks` and idempotence: everything that a producer can combine.
const SETTINGS: [(&str, bool); 4] = [("all", true), ("1", false), ("0", false), ("all", false)];
const RECORDS_PER_SETTING: u64 = 300;
const ARRIVAL_LIMIT: Duration = Duration::from_secs(30);
const ARRIVAL_POLL: Duration = Duration::from_millis(20);

impl Stage {
    /// A topic for these records, ready to be written to: its leaders answer, so no producer has to retry, which
    /// costs order without idempotence and records with acks=0.
    pub fn topic(&mut self, topic: &str, contents: Contents, config: &str) {
        // The records' timestamps are years old; only without retention do they stay.
        let create = format!(
            "create topic={topic} partitions={} replicas=1 config=retention.ms:-1{config}",
            contents.partitions
        );
        self.writer().ask(&create);
        self.holds(topic, 0);
    }

    pub fn contents(&self, seed: u32, count: u64) -> Contents {
        Contents { seed, partitions: PARTITIONS, count, header_nulls: self.writer.sends_header_nulls() }
    }

    /// Reads a whole topic with a client and compares it with what the seed says: two checks.
    fn read_back(&mut self, reader: Client, topic: &str, contents: Contents, digests: &[String]) {
        let got = self.session(reader).ask(&format!("consume topic={topic} {}", contents.arguments()));
        let what = format!("{topic} read by {}", reader.name());
        self.checks.equal(got["records"].as_u64(), Some(contents.count), format!("records of {what}"));
        let wanted = serde_json::Value::from(digests.to_vec());
        self.checks.equal(&got["crc32"], &wanted, format!("digests of {what}"));
    }

    /// Waits until the topic's partitions hold `count` records together; acks=0 tells nobody when that is.
    fn arrived(&mut self, topic: &str, count: u64) {
        self.holds(topic, count);
        self.checks.that(true, "all records arrived");
    }

    fn holds(&mut self, topic: &str, count: u64) {
        let until = Instant::now() + ARRIVAL_LIMIT;
        loop {
            let reply = self.writer().ask_or_wait(&format!("ends topic={topic} partitions={PARTITIONS}"));
            let ends = reply.as_ref().and_then(|r| r["ends"].as_array());
            let sum: Option<u64> = ends.map(|e| e.iter().filter_map(serde_json::Value::as_u64).sum());
            if sum == Some(count) {
                break;
            }
            assert!(Instant::now() < until, "{topic} holds {sum:?} of {count} records");
            std::thread::sleep(ARRIVAL_POLL);
        }
    }
}

/// One topic per codec, full size; read by the writer, by kafkajs where it knows the codec, and by one other in turn.
pub fn codecs(stage: &mut Stage) {
    let writer = stage.writer;
    for (turn, codec) in writer.codecs().iter().enumerate() {
        let (acks, idempotent) = SETTINGS[turn % SETTINGS.len()];
        let contents = stage.contents(100 + turn as u32, writer.records_per_codec());
        let topic = format!("codec-{codec}");
        stage.topic(&topic, contents, "");
        let sent = stage.writer().ask(&format!(
            "produce topic={topic} codec={codec} acks={acks} idempotent={idempotent} {}",
            contents.arguments()
        ));
        if acks != "0" {
            stage.checks.equal(
                sent["at_offset"].as_u64(),
                Some(contents.count),
                format!("offsets told for {topic}"),
            );
        }
        stage.arrived(&topic, contents.count);
        let digests = contents.digests();
        let readers = chosen_readers(stage, codec, turn);
        for &reader in &readers {
            stage.read_back(reader, &topic, contents, &digests);
        }
    }
}

fn chosen_readers(stage: &Stage, codec: &str, turn: usize) -> Vec<Client> {
    let able = stage.readers(&[codec]);
    if everything() {
        return able;
    }
    let others: Vec<Client> =
        able.into_iter().filter(|c| *c != stage.writer && *c != Client::KafkaJs).collect();
    let mut readers = vec![stage.writer, others[turn % others.len()]];
    if codec == "snappy" && stage.writer != Client::KafkaJs {
        readers.push(Client::KafkaJs); // snappy has two framings in the wild; an independent decoder is worth its time
    }
    readers
}

/// One small topic through all codecs, acks and idempotence, one after the other; read by every client that can.
pub fn settings(stage: &mut Stage) {
    let codecs = stage.writer.codecs();
    let steps: Vec<_> = codecs.iter().flat_map(|codec| SETTINGS.map(|setting| (*codec, setting))).collect();
    let contents = stage.contents(200, steps.len() as u64 * RECORDS_PER_SETTING);
    let topic = "settings";
    stage.topic(topic, contents, "");
    for (step, (codec, (acks, idempotent))) in steps.iter().enumerate() {
        let from = step as u64 * RECORDS_PER_SETTING;
        let part = Contents { count: RECORDS_PER_SETTING, ..contents };
        let sent = stage.writer().ask(&format!(
            "produce topic={topic} from={from} codec={codec} acks={acks} idempotent={idempotent} {}",
            part.arguments()
        ));
        if *acks != "0" {
            let what = format!("offsets told with {codec}, acks {acks}, idempotent {idempotent}");
            stage.checks.equal(sent["at_offset"].as_u64(), Some(RECORDS_PER_SETTING), what);
        }
        stage.arrived(topic, from + RECORDS_PER_SETTING);
    }
    let digests = contents.digests();
    let readers = stage.readers(codecs);
    for &reader in &readers {
        stage.read_back(reader, topic, contents, &digests);
    }
    assert!(readers.len() >= 5, "what {} wrote is read by {readers:?} only", stage.writer.name());
}

/// With LogAppendTime every reader sees the broker's clock and the type that says so.
pub fn append_time(stage: &mut Stage) {
    let topic = "append-time";
    let contents = stage.contents(300, 3_000);
    stage.topic(topic, contents, ",message.timestamp.type:LogAppendTime");
    let codecs = stage.writer.codecs();
    for (part, codec) in ["none", codecs[codecs.len() - 1]].into_iter().enumerate() {
        let half = Contents { count: contents.count / 2, ..contents };
        let from = part as u64 * half.count;
        stage.writer().ask(&format!("produce topic={topic} from={from} codec={codec} {}", half.arguments()));
    }
    let readers = stage.readers(codecs);
    for &reader in &readers {
        let got = stage
            .session(reader)
            .ask(&format!("consume topic={topic} stamp=append {}", contents.arguments()));
        let what = format!("{topic} read by {}", reader.name());
        stage.checks.equal(got["records"].as_u64(), Some(contents.count), what);
    }
}

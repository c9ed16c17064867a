//! What Kafka answers, and what we do: `golden/answers.txt` holds requests with the answers of Apache Kafka 4.3.1.

mod common;
mod script;

use common::Cluster;
use dohle_metadata::MetadataVersion;

#[test]
fn answers_are_kafkas() {
    let mut cluster = Cluster::at(MetadataVersion::LATEST_PRODUCTION, script::PROPERTIES, |_| {});
    cluster.start_broker(0, 1, None);
    let ours = script::run(&mut cluster);
    if ours != script::SCRIPT {
        let differing = diff(script::SCRIPT, &ours);
        panic!("{} answers differ (- Kafka's, + ours):\n{}", differing.len(), differing.join("\n"));
    }
}

/// The answers that differ, under the request they belong to.
fn diff(kafkas: &str, ours: &str) -> Vec<String> {
    let blocks = |text: &str| -> Vec<(String, Vec<String>)> {
        let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("= ") {
                Some(answer) => blocks.last_mut().expect("an answer follows a request").1.push(answer.to_owned()),
                None => blocks.push((line.to_owned(), Vec::new())),
            }
        }
        blocks
    };
    let pairs = blocks(kafkas).into_iter().zip(blocks(ours));
    let differing = pairs.filter(|(kafka, ours)| kafka != ours);
    differing.map(|((line, kafka), (_, ours))| format!("{line}\n  - {}\n  + {}", kafka.join("\n  - "), ours.join("\n  + "))).collect()
}

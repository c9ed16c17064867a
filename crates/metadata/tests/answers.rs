//! What Kafka answers, and what we do: `golden/` holds requests with the answers of Apache Kafka 4.3.1.

mod common;
mod script;

use common::Cluster;
use dohle_metadata::MetadataVersion;
use dohle_types::NodeId;

#[test]
fn answers_by_a_broker_are_kafkas() {
    compare(script::BY_BROKER, Some(NodeId(0)));
}

#[test]
fn answers_by_the_controller_are_kafkas() {
    compare(script::DIRECT, None);
}

fn compare(script: &str, via_broker: Option<NodeId>) {
    let mut cluster = Cluster::at(MetadataVersion::LATEST_PRODUCTION, script::PROPERTIES, |_| {});
    cluster.start_broker(0, 1, None);
    cluster.context.via_broker = via_broker;
    let ours = script::run(&mut cluster, script);
    if ours != script {
        let differing = diff(script, &ours);
        panic!("{} answers differ (- Kafka's, + ours):\n{}", differing.len(), differing.join("\n"));
    }
}

/// The answers that differ, under the request they belong to.
fn diff(kafkas: &str, ours: &str) -> Vec<String> {
    let blocks = |text: &str| -> Vec<(String, Vec<String>)> {
        let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("= ") {
                Some(answer) => {
                    blocks.last_mut().expect("an answer follows a request").1.push(answer.to_owned())
                }
                None => blocks.push((line.to_owned(), Vec::new())),
            }
        }
        blocks
    };
    let pairs = blocks(kafkas).into_iter().zip(blocks(ours));
    let differing = pairs.filter(|(kafka, ours)| kafka != ours);
    differing
        .map(|((line, kafka), (_, ours))| {
            format!("{line}\n  - {}\n  + {}", kafka.join("\n  - "), ours.join("\n  + "))
        })
        .collect()
}

//! A node starts on what Apache Kafka 4.3.1 left behind, sees the same cluster, and goes on from there.

#![allow(clippy::disallowed_methods)]

mod common;

use std::path::Path;

use common::{Home, set_config};
use dohle_env::thread::block_on;
use dohle_metadata::{MetadataVersion, ResourceType};
use dohle_types::{LeaderEpoch, NodeId, Offset};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_folder_of_kafkas_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let left_behind = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-4.3.1");
    copy(&left_behind, folder.path());
    let home = Home::real(folder.path());
    block_on(async {
        let formatted = home.format().expect("Kafka has formatted it");
        assert_eq!((formatted.cluster_id.as_str(), formatted.new.len()), ("MkU3OEVBNTcwNTJENDM2Qg", 0));
        assert_eq!(formatted.directory_id.to_string(), "qgtNRhrjTc2oNjx75vu1Eg");
        let controller = home.start().await.expect("started");
        let status = controller.status();
        // Kafka led epoch 1 up to offset 50; the new leader goes on in the next.
        assert_eq!((status.active, status.epoch), (true, LeaderEpoch(2)));
        assert!(status.high_watermark > Some(Offset(50)));

        let image = controller.image();
        assert_eq!(image.features.metadata_version(), Some(MetadataVersion::LATEST_PRODUCTION));
        assert_eq!(image.features.level("transaction.version"), 2);
        let alpha = image.topics.by_name("alpha").expect("created by TopicCommand");
        assert_eq!(
            (alpha.id.to_string().as_str(), alpha.partitions.iter().count()),
            ("z1fXmNyxT5a3Lq6gf2S6yA", 3)
        );
        for (_, partition) in alpha.partitions.iter() {
            // The broker has been let go: it may lead again, being the last one that was in sync.
            assert!(!partition.has_leader());
            assert_eq!((partition.partition_epoch, &partition.elr[..]), (1, &[NodeId(1)][..]));
        }
        let beta = image.configs.get(ResourceType::TOPIC, "beta");
        assert_eq!(beta.get("retention.ms").map(|value| &**value), Some("1234567"));
        let cluster = image.configs.get(ResourceType::BROKER, "");
        assert_eq!(cluster.get("min.insync.replicas").map(|value| &**value), Some("1"));
        let broker = image.brokers.get(NodeId(1)).expect("it was registered");
        assert!(broker.fenced && broker.in_controlled_shutdown);

        set_config(&controller, "log.retention.ms", "99").await.expect("acknowledged");
        controller.shutdown().await;
        let controller = home.start().await.expect("started again");
        assert_eq!(controller.status().epoch, LeaderEpoch(3));
        assert_eq!(image.topics, controller.image().topics);
        controller.shutdown().await;
    });
}

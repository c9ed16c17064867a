//! Retention after a restart: a partition that has nothing due is not opened for it, and one that gets something due by another setting is.
//!
//! Whether a partition was opened is told by a trap: its folder says that it is another topic's, and whoever opens it puts it aside.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::configs::{self, Resource};
use dohle_tests_protocol::connection::Connection;
use dohle_tests_protocol::numbered;

const KEPT: &str = "kept";
const DUE: &str = "due";
const INTERVAL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_has_nothing_due_is_not_opened() {
    let interval = INTERVAL.as_millis().to_string();
    let settings = [("log.retention.check.interval.ms", interval.as_str()), ("log.retention.ms", "-1")];
    let mut target = Target::with(Given::ByFlags, &settings);
    let at: SocketAddr = target.bootstrap().parse().expect("an address");
    let mut client = Connection::open(at);
    for topic in [KEPT, DUE] {
        numbered::create(&mut client, topic, 1);
        assert_eq!(numbered::produce(&mut client, topic, 0, 0, 100), Some((0, 0)));
    }
    target.stop();
    let folder = target.log_dir();
    let metadata = |topic: &str| folder.join(format!("{topic}-0")).join("partition.metadata");
    std::fs::copy(metadata(DUE), metadata(KEPT)).expect("the trap");
    target.restart();
    let mut client = Connection::open(at);
    // Looked at, and nothing found to do.
    std::thread::sleep(3 * INTERVAL);
    assert!(has_first_segment(&folder, DUE));
    configs::set(&mut client, Resource::Topic, DUE, "retention.ms", "1000");
    let until = Instant::now() + PATIENCE;
    while has_first_segment(&folder, DUE) {
        assert!(Instant::now() < until, "retention does not come");
        std::thread::sleep(INTERVAL);
    }
    std::thread::sleep(3 * INTERVAL);
    assert!(has_first_segment(&folder, KEPT), "a partition without anything due was opened");
    // The trap works: who comes for it finds another folder.
    assert_eq!(numbered::fetch(&mut client, KEPT, 0, 0), (0, Vec::new()));
    assert!(!has_first_segment(&folder, KEPT));
}

fn has_first_segment(folder: &Path, topic: &str) -> bool {
    let segment = folder.join(format!("{topic}-0/00000000000000000000.log"));
    std::fs::metadata(segment).is_ok_and(|found| found.len() > 0)
}

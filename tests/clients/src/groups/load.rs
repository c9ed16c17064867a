//! Records that keep coming while groups rebalance: a client of its own on a thread of its own, in bursts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Client, Session, everything};
use crate::content::Contents;

/// What franz-go says when the broker dies before it has a producer id.
const NOT_BEGUN: [&str; 1] = ["unable to initialize a producer ID"];
const BURST: u64 = 120;
const BETWEEN_BURSTS: Duration = Duration::from_millis(120);
const BETWEEN_BURSTS_OF_A_FULL_RUN: Duration = Duration::from_millis(40);
const POLL: Duration = Duration::from_millis(5);
/// A broker may be away meanwhile.
const REST_LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    contents: Contents,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicBool,
    resting: AtomicBool,
    ending: AtomicBool,
    count: AtomicU64,
}

impl Load {
    /// Creates the topic; nothing is written yet.
    pub fn on(topic: &'static str, partitions: u64, bootstrap: &str, folder: &Path) -> Load {
        let mut session = Client::FranzGo.start(bootstrap, folder);
        // The records' timestamps are years old; only without retention do they stay. And after a restart a producer is known by the time
        // of its last batch: with theirs it would be forgotten at once, as with Kafka, and what it sends again be taken for new.
        let config = "retention.ms:-1,message.timestamp.type:LogAppendTime";
        session.ask(&format!("create topic={topic} partitions={partitions} replicas=1 config={config}"));
        let contents =
            Contents { seed: crc32fast::hash(topic.as_bytes()), partitions, count: 0, header_nulls: true };
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || write(&own, &mut session, topic, contents));
        Load { shared, thread: Some(thread), contents }
    }

    pub fn run(&self) {
        self.shared.running.store(true, Ordering::SeqCst);
    }

    /// Ends what is under way. What is written from now on waits for the next [`run`](Load::run).
    pub fn rest(&self) {
        self.shared.running.store(false, Ordering::SeqCst);
        let until = Instant::now() + REST_LIMIT;
        while !self.shared.resting.load(Ordering::SeqCst) {
            let alive = self.thread.as_ref().is_some_and(|t| !t.is_finished());
            assert!(alive && Instant::now() < until, "the load does not come to rest");
            std::thread::sleep(POLL);
        }
    }

    /// What has been written and acknowledged.
    pub fn written(&self) -> Contents {
        Contents { count: self.shared.count.load(Ordering::SeqCst), ..self.contents }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the load failed");
        }
    }
}

fn write(shared: &Shared, session: &mut Session, topic: &str, contents: Contents) {
    while !shared.ending.load(Ordering::SeqCst) {
        if !shared.running.load(Ordering::SeqCst) {
            shared.resting.store(true, Ordering::SeqCst);
            std::thread::sleep(POLL);
            continue;
        }
        shared.resting.store(false, Ordering::SeqCst);
        let from = shared.count.load(Ordering::SeqCst);
        let burst = Contents { count: BURST, ..contents };
        let command =
            format!("produce topic={topic} from={from} codec=none idempotent=true {}", burst.arguments());
        let sent = session.outcome(&command);
        if sent["ok"] == false && NOT_BEGUN.iter().any(|m| sent["message"].to_string().contains(m)) {
            continue; // nothing was written yet when the broker went away
        }
        assert!(sent["ok"] == true, "{topic}: the load failed: {sent:#}");
        assert_eq!(
            sent["at_offset"].as_u64(),
            Some(BURST),
            "{topic}: records of the load that are in their place"
        );
        shared.count.store(from + BURST, Ordering::SeqCst);
        std::thread::sleep(if everything() { BETWEEN_BURSTS_OF_A_FULL_RUN } else { BETWEEN_BURSTS });
    }
}

//! One history of groups, played on a broker: what each kind of record in `__consumer_offsets` comes from, step by step, in one order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use dohle_tests_clients::client::Client;
use dohle_tests_clients::groups::ledger::{Event, Ledger};
use dohle_tests_clients::groups::member::{Host, Part, Protocol, Reads, ledger_path};

const WAIT_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const SESSION: Duration = Duration::from_secs(30);

/// What a member must have done before the history goes on.
#[derive(Debug, Clone, Copy)]
enum Until {
    Owns(usize),
    Committed(usize),
}

/// A broker on which a history is played.
#[derive(Debug)]
pub struct History {
    host: Host,
    ledgers: BTreeMap<String, Ledger>,
    folder: std::path::PathBuf,
}

impl History {
    pub fn on(bootstrap: &str, folder: &Path) -> History {
        let host = Host::start(Client::Java, bootstrap, folder);
        History { host, ledgers: BTreeMap::new(), folder: folder.to_owned() }
    }

    /// Plays all that needs no transaction. `topic` has one partition, with records that come by one fetch; the partitions of `other` are two.
    pub fn play(&mut self, topic: &'static str, other: &str) {
        self.host.alter("by-hand", &format!("topic={other} partition=0 offset=3"));
        self.host.alter("by-hand", &format!("topic={other} partition=1 offset=4 metadata=why"));
        self.host.alter("by-hand", &format!("topic={other} partition=0 offset=5"));
        for (group, protocol, assignor, instance, reads) in [
            ("classic", Protocol::Classic, "range", None, Reads::Topic(topic)),
            ("classic-static", Protocol::Classic, "cooperative-sticky", Some("one"), Reads::Topic(topic)),
            ("consumer", Protocol::Consumer, "uniform", None, Reads::Topic(topic)),
            ("consumer-static", Protocol::Consumer, "range", Some("two"), Reads::Topic(topic)),
            ("consumer-pattern", Protocol::Consumer, "uniform", None, Reads::Pattern("^rea.*")),
        ] {
            let instance = instance.map(str::to_owned);
            let part =
                Part { group: group.to_owned(), protocol, assignor, reads, instance, session: SESSION };
            self.join(&part, 1, Until::Committed(1));
            if part.instance.is_none() {
                self.host.leave(&member(group, 1));
            }
        }
        let upgraded = |protocol, assignor| Part {
            group: "upgraded".to_owned(),
            protocol,
            assignor,
            reads: Reads::Topic(topic),
            instance: None,
            session: SESSION,
        };
        self.join(&upgraded(Protocol::Classic, "range"), 1, Until::Committed(1));
        self.host.leave(&member("upgraded", 1));
        self.join(&upgraded(Protocol::Consumer, "uniform"), 2, Until::Owns(1));
        self.host.leave(&member("upgraded", 2));
        self.join(&upgraded(Protocol::Classic, "range"), 3, Until::Owns(1));
        self.host.leave(&member("upgraded", 3));
        self.host.forget("by-hand", &format!("topic={other} partition=1"));
        self.host.remove("classic");
        self.host.remove("consumer");
    }

    /// A member reads the one partition of `topic`, commits and leaves: an empty group of its protocol with an offset is left behind.
    pub fn visit(&mut self, group: &str, protocol: Protocol, assignor: &'static str, topic: &'static str) {
        let reads = Reads::Topic(topic);
        let part =
            Part { group: group.to_owned(), protocol, assignor, reads, instance: None, session: SESSION };
        self.join(&part, 1, Until::Committed(1));
        self.host.leave(&member(group, 1));
    }

    /// For what is done to groups from outside.
    pub fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    /// An offset that a transaction commits.
    pub fn play_a_transaction(&mut self, other: &str) {
        self.host.promise("promised", &format!("topic={other} partition=0 offset=7"));
        self.host.keep();
    }

    fn join(&mut self, part: &Part, number: usize, until: Until) {
        let name = member(&part.group, number);
        let path = ledger_path(&self.folder, &name);
        self.host.join(&name, part, &path);
        let mut ledger = Ledger::at(path);
        let limit = Instant::now() + WAIT_LIMIT;
        loop {
            ledger.refresh();
            let committed = ledger.events.iter().filter_map(|e| match e {
                Event::Committed(_, offsets) => Some(offsets.iter().map(|(place, _)| place.clone())),
                _ => None,
            });
            let places = match until {
                Until::Owns(_) => ledger.held.clone(),
                Until::Committed(_) => committed.flatten().collect(),
            };
            let (Until::Owns(wanted) | Until::Committed(wanted)) = until;
            if places.len() == wanted {
                break;
            }
            assert!(Instant::now() < limit, "{name}: not {until:?}: {:?}", ledger.events);
            std::thread::sleep(POLL);
        }
        self.ledgers.insert(name, ledger);
    }
}

fn member(group: &str, number: usize) -> String {
    format!("{group}-m{number}")
}

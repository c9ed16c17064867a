//! One broker, a load, and groups whose members come and go.
//!
//! Several groups (casts) play the same steps at the same time in the same processes, so that one kill or pause hits all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::judge::{Witness, faults};
use super::ledger::{Event, Ledger, Place, Time};
use super::load::Load;
use super::member::{Host, Part, Protocol, Reads, ledger_path};
use crate::checks::Checks;
use crate::client::Client;
use crate::content::Contents;
use crate::target::{Given, Target};

/// The topic that every group reads, under load.
pub const TOPIC: &str = "load-a";
/// A topic that comes later, for groups that read by a pattern.
pub const LATER: &str = "load-b";
/// The pattern that both topics match.
pub const PATTERN: &str = "^load-.*";
pub const PARTITIONS: u64 = 12;
/// Members that are gone have to be noticed: short for a test, long for a machine that is busy.
pub const SESSION: Duration = Duration::from_secs(6);
/// A static member has to be back within its session, also where programs start slowly.
const STATIC_SESSION: Duration = Duration::from_secs(25);
/// A pause after which a member is no member any more.
pub const LONG_PAUSE: Duration = Duration::from_secs(9);
const WAIT_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);
const EVENTS_SHOWN: usize = 12;
/// Shorter than the defaults, so that nothing is waited for in vain.
pub const SETTINGS: [(&str, &str); 8] = [
    // Kafka's controller lets a broker in again only when the session of the one that was killed has run out.
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
    ("group.initial.rebalance.delay.ms", "500"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.session.timeout.ms", "6000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "500"),
];

/// A group, and how its members take part unless a step says otherwise.
#[derive(Debug, Clone)]
pub struct Cast {
    pub group: String,
    pub client: Client,
    pub protocol: Protocol,
    pub assignor: &'static str,
    pub reads: Reads,
    pub statics: bool,
}

impl Cast {
    pub fn of(client: Client, protocol: Protocol, assignor: &'static str) -> Cast {
        let kind = if protocol == Protocol::Classic { "classic" } else { "consumer" };
        let group = format!("{}-{kind}-{assignor}", client.name());
        Cast { group, client, protocol, assignor, reads: Reads::Topic(TOPIC), statics: false }
    }

    pub fn by_pattern(self) -> Cast {
        Cast { group: format!("{}-pattern", self.group), reads: Reads::Pattern(PATTERN), ..self }
    }

    pub fn with_instances(self) -> Cast {
        Cast { group: format!("{}-static", self.group), statics: true, ..self }
    }
}

/// A member on stage, or one that was.
#[derive(Debug)]
struct Performer {
    name: String,
    group: String,
    host: String,
    ledger: Ledger,
    /// When it was killed, or stopped for long.
    cut: Vec<Time>,
    takes_part: bool,
}

#[derive(Debug)]
pub struct Scene {
    pub checks: Checks,
    hosts: BTreeMap<String, Host>,
    observer: Host,
    loads: BTreeMap<&'static str, Load>,
    performers: Vec<Performer>,
    pub casts: Vec<Cast>,
    bootstrap: String,
    folder: PathBuf,
}

impl Scene {
    /// A broker and a scene on it.
    pub fn with_broker(name: &str, casts: Vec<Cast>) -> (Target, Scene) {
        let target = Target::with(Given::ByFile, &SETTINGS);
        let scene = Scene::on(name, casts, &target.bootstrap(), target.folder());
        (target, scene)
    }

    /// A scene on a broker that runs; the topic is created, nobody is there yet.
    pub fn on(name: &str, casts: Vec<Cast>, bootstrap: &str, folder: &Path) -> Scene {
        let load = Load::on(TOPIC, PARTITIONS, bootstrap, folder);
        let observer = Host::start(Client::Java, bootstrap, folder);
        Scene {
            checks: Checks::of(name),
            hosts: BTreeMap::new(),
            observer,
            loads: BTreeMap::from([(TOPIC, load)]),
            performers: Vec::new(),
            casts,
            bootstrap: bootstrap.to_owned(),
            folder: folder.to_owned(),
        }
    }

    pub fn run_load(&self) {
        self.loads.values().for_each(Load::run);
    }

    pub fn rest_load(&self) {
        self.loads.values().for_each(Load::rest);
    }

    /// A second topic that the pattern matches, and its load.
    pub fn add_topic(&mut self, partitions: u64) {
        let load = Load::on(LATER, partitions, &self.bootstrap, &self.folder);
        load.run();
        self.loads.insert(LATER, load);
    }

    /// One member more in every group; its process is begun when it does not run. `place` is the same word for all groups.
    pub fn join_all(&mut self, place: &str, number: usize) {
        for cast in self.casts.clone() {
            self.join(&cast, place, number);
        }
    }

    pub fn join(&mut self, cast: &Cast, place: &str, number: usize) {
        let host = self.begin(cast.client, place);
        // A static member that comes again is the same instance, and writes a book of its own.
        let again = self.performers.iter().filter(|p| p.name.starts_with(&member(cast, number))).count();
        let name = format!("{}{}", member(cast, number), "+".repeat(again));
        let ledger = ledger_path(&self.folder, &name);
        let instance = cast.statics.then(|| format!("instance-{number}"));
        let part = Part {
            group: cast.group.clone(),
            protocol: cast.protocol,
            assignor: cast.assignor,
            reads: cast.reads.clone(),
            instance,
            session: if cast.statics { STATIC_SESSION } else { SESSION },
        };
        self.hosts.get_mut(&host).expect("a host that was begun").join(&name, &part, &ledger);
        self.performers.push(Performer {
            name,
            group: cast.group.clone(),
            host,
            ledger: Ledger::at(ledger),
            cut: Vec::new(),
            takes_part: true,
        });
    }

    /// Begins the program that members of a client at a place live in, unless it runs.
    pub fn begin(&mut self, client: Client, place: &str) -> String {
        let host = format!("{}-{place}", client.name());
        if !self.hosts.contains_key(&host) {
            let mut program = Host::start(client, &self.bootstrap, &self.folder);
            program.is_up();
            self.hosts.insert(host.clone(), program);
        }
        host
    }

    /// The member of this number leaves every group, as it should.
    pub fn leave_all(&mut self, number: usize) {
        for cast in self.casts.clone() {
            self.leave(&cast, number);
        }
    }

    pub fn leave(&mut self, cast: &Cast, number: usize) {
        let wanted = member(cast, number);
        let found = |p: &&mut Performer| p.takes_part && p.name.trim_end_matches('+') == wanted;
        let performer = self.performers.iter_mut().find(found).expect("a member that takes part");
        performer.takes_part = false;
        self.hosts.get_mut(&performer.host).expect("its host").leave(&performer.name);
    }

    /// As [`leave_all`](Scene::leave_all), but nobody waits for it until [`all_have_left`](Scene::all_have_left).
    pub fn begin_to_leave_all(&mut self, number: usize) {
        for (host, name) in self.named(number) {
            self.hosts.get_mut(&host).expect("its host").begin_to_leave(&name);
        }
    }

    pub fn all_have_left(&mut self, number: usize) {
        for (host, name) in self.named(number) {
            self.hosts.get_mut(&host).expect("its host").has_left(&name);
            self.performers.iter_mut().filter(|p| p.name == name).for_each(|p| p.takes_part = false);
        }
    }

    /// The host and the name of each member of a number that takes part.
    fn named(&self, number: usize) -> Vec<(String, String)> {
        let wanted: Vec<String> = self.casts.iter().map(|c| member(c, number)).collect();
        let meant = |p: &&Performer| p.takes_part && wanted.iter().any(|w| w == p.name.trim_end_matches('+'));
        self.performers.iter().filter(meant).map(|p| (p.host.clone(), p.name.clone())).collect()
    }

    /// Everybody who still takes part leaves.
    pub fn curtain(&mut self) {
        for performer in self.performers.iter_mut().filter(|p| p.takes_part) {
            performer.takes_part = false;
            self.hosts.get_mut(&performer.host).expect("its host").leave(&performer.name);
        }
    }

    /// kill -9 of all programs at a place.
    ///
    /// A member of KIP-848 that is killed keeps its partitions until its session ends.
    pub fn kill(&mut self, place: &str) {
        for key in self.at(place) {
            self.cut(&key, false);
            self.hosts.remove(&key).expect("a host").kill();
        }
    }

    /// Stops all programs at a place in the midst of what they do.
    pub fn stop(&mut self, place: &str) {
        for key in self.at(place) {
            self.cut(&key, false);
            self.hosts[&key].stop();
        }
    }

    pub fn go_on(&mut self, place: &str) {
        for key in self.at(place) {
            self.hosts[&key].go_on();
            self.performers.iter_mut().filter(|p| p.host == key).for_each(|p| {
                p.takes_part = true;
                // Whatever it believes, it has to be assigned something anew.
                p.ledger.refresh();
                p.ledger.held.clear();
            });
        }
    }

    fn at(&self, place: &str) -> Vec<String> {
        let end = format!("-{place}");
        self.hosts.keys().filter(|key| key.ends_with(&end)).cloned().collect()
    }

    fn cut(&mut self, host: &str, takes_part: bool) {
        for performer in self.performers.iter_mut().filter(|p| p.host == host && p.takes_part) {
            performer.cut.push(now());
            performer.takes_part = takes_part;
        }
    }

    /// Waits until the members of every group own each partition once, and each as many as the others, but for one.
    pub fn settle(&mut self, members: usize) {
        let groups: Vec<String> = self.casts.iter().map(|c| c.group.clone()).collect();
        for group in groups {
            self.settle_group(&group, members);
        }
    }

    pub fn settle_group(&mut self, group: &str, members: usize) {
        let wanted = self.wanted_places(group);
        self.wait(&format!("{group}: {members} members own {} partitions", wanted.len()), |scene| {
            let held: Vec<&BTreeSet<Place>> = scene
                .performers
                .iter()
                .filter(|p| p.group == group && p.takes_part)
                .map(|p| &p.ledger.held)
                .collect();
            let all: Vec<&Place> = held.iter().copied().flatten().collect();
            let even = wanted.len() / members..=wanted.len().div_ceil(members);
            // A pattern's topics are dealt out each by itself by some assignors: even to within one for each topic.
            let slack = usize::from(wanted.len() as u64 > PARTITIONS);
            let fair = |n: usize| n + slack >= *even.start() && n <= even.end() + slack;
            held.len() == members
                && all.len() == wanted.len()
                && all.iter().all(|p| wanted.contains(*p))
                && held.iter().all(|h| fair(h.len()))
        });
    }

    /// Waits until all that is written is read and committed by every group. The load must rest.
    pub fn drain(&mut self) {
        for cast in self.casts.clone() {
            let ends: BTreeMap<Place, u64> =
                self.wanted(&cast.group).into_iter().map(|(p, crcs)| (p, crcs.len() as u64)).collect();
            self.wait(&format!("{}: all is read and committed", cast.group), |scene| {
                let mut committed: BTreeMap<&Place, u64> = BTreeMap::new();
                for performer in scene.performers.iter().filter(|p| p.group == cast.group) {
                    for event in &performer.ledger.events {
                        let Event::Committed(_, offsets) = event else { continue };
                        for (place, offset) in offsets {
                            let most = committed.entry(place).or_default();
                            *most = (*most).max(*offset);
                        }
                    }
                }
                ends.iter().all(|(place, end)| *end == 0 || committed.get(place) == Some(end))
            });
        }
    }

    /// Judges every group by what its members wrote down: one check for each.
    pub fn judge(&mut self, phase: &str, once: bool) {
        self.refresh();
        for cast in self.casts.clone() {
            let wanted = self.wanted(&cast.group);
            let of_group = || self.performers.iter().filter(|p| p.group == cast.group);
            let witnesses: Vec<Witness> = of_group()
                .map(|p| Witness { name: &p.name, events: &p.ledger.events, cut: &p.cut })
                .collect();
            let faults = faults(&witnesses, &wanted, once);
            if !faults.is_empty() {
                eprintln!("{}", self.told(&cast.group));
                self.keep_ledgers();
            }
            self.checks.equal(faults, Vec::new(), format!("{}: {phase}", cast.group));
            let count: usize = wanted.values().map(Vec::len).sum();
            let repeated: usize = of_group()
                .flat_map(|p| &p.ledger.events)
                .filter(|e| matches!(e, Event::Delivered(..)))
                .count()
                .saturating_sub(count);
            println!("{}: {phase}: {count} records, {repeated} of them again", cast.group);
        }
    }

    /// The broker has committed, for every group, the end of every partition: one check for each.
    pub fn committed_is_the_end(&mut self, phase: &str) {
        for cast in self.casts.clone() {
            let wanted = self.wanted(&cast.group);
            let ends: Value = wanted
                .iter()
                .filter(|(_, crcs)| !crcs.is_empty())
                .map(|(p, crcs)| (p.clone(), Value::from(crcs.len())))
                .collect();
            let committed = self.observer.committed(&cast.group);
            self.checks.equal(committed, ends, format!("{}: committed offsets, {phase}", cast.group));
        }
    }

    /// A client that looks at groups from outside.
    pub fn observer(&mut self) -> &mut Host {
        &mut self.observer
    }

    /// What the broker says of a group.
    pub fn group(&mut self, group: &str) -> Value {
        self.observer.group(group)
    }

    /// Waits until the broker says this of a group.
    pub fn wait_for_group(&mut self, group: &str, key: &str, wanted: &Value) {
        let until = Instant::now() + WAIT_LIMIT;
        loop {
            let said = self.observer.group(group);
            if said[key] == *wanted {
                return;
            }
            assert!(Instant::now() < until, "{group}: {key} is not {wanted}: {said}\n{}", self.told(group));
            std::thread::sleep(POLL);
        }
    }

    /// The partitions of [`TOPIC`] that each member of a group owns, in the order of the first of them.
    pub fn shares(&mut self, group: &str) -> Vec<Vec<u64>> {
        self.refresh();
        let number = |place: &Place| place.strip_prefix(TOPIC)?.strip_prefix('/')?.parse().ok();
        let members = self.performers.iter().filter(|p| p.group == group && p.takes_part);
        let mut shares: Vec<Vec<u64>> =
            members.map(|p| p.ledger.held.iter().filter_map(number).collect()).collect();
        shares.iter_mut().for_each(|share| share.sort_unstable());
        shares.sort_unstable();
        shares
    }

    /// How many times members were told anything about their partitions, by member of the group that still takes part.
    pub fn told_of_partitions(&mut self, group: &str) -> BTreeMap<String, usize> {
        self.refresh();
        let told = |e: &&Event| matches!(e, Event::Assigned(_, p) | Event::Revoked(_, p) | Event::Lost(_, p) if !p.is_empty());
        let of_group = self.performers.iter().filter(|p| p.group == group && p.takes_part);
        of_group.map(|p| (p.name.clone(), p.ledger.events.iter().filter(told).count())).collect()
    }

    pub fn wait(&mut self, what: &str, done: impl Fn(&Scene) -> bool) {
        let until = Instant::now() + WAIT_LIMIT;
        loop {
            self.refresh();
            if done(self) {
                return;
            }
            if Instant::now() > until {
                self.keep_ledgers();
                let told: Vec<String> = self.casts.iter().map(|c| self.told(&c.group)).collect();
                let group = what.split(':').next().unwrap_or_default();
                let told: Vec<String> =
                    told.into_iter().filter(|t| t.starts_with(&format!("{group}\n"))).collect();
                panic!("not within {WAIT_LIMIT:?}: {what}\n{}", told.join("\n"));
            }
            std::thread::sleep(POLL);
        }
    }

    fn refresh(&mut self) {
        self.performers.iter_mut().for_each(|p| p.ledger.refresh());
        for performer in &self.performers {
            if let Some(Event::Failed(_, why)) =
                performer.ledger.events.iter().find(|e| matches!(e, Event::Failed(..)))
            {
                panic!("{} failed: {why}\n{}", performer.name, self.told(&performer.group));
            }
        }
    }

    /// What each partition holds that a group reads.
    fn wanted(&self, group: &str) -> BTreeMap<Place, Vec<u32>> {
        let reads = &self.casts.iter().find(|c| c.group == group).expect("a cast").reads;
        let read = |topic: &str| matches!(reads, Reads::Pattern(_)) || topic == TOPIC;
        let places = |(topic, load): (&&str, &Load)| {
            let written: Contents = load.written();
            let topic = (*topic).to_owned();
            (0..written.partitions).map(move |p| (format!("{topic}/{p}"), written.value_crcs(p)))
        };
        self.loads.iter().filter(|(topic, _)| read(topic)).flat_map(places).collect()
    }

    fn wanted_places(&self, group: &str) -> BTreeSet<Place> {
        self.wanted(group).into_keys().collect()
    }

    /// The last of what the members of a group wrote down.
    fn told(&self, group: &str) -> String {
        let mut out = format!("{group}\n");
        for p in self.performers.iter().filter(|p| p.group == group) {
            let _ = writeln!(out, "- {} (takes part: {}) holds {:?}", p.name, p.takes_part, p.ledger.held);
            let told =
                p.ledger.events.iter().filter(|e| !matches!(e, Event::Delivered(..) | Event::Trying(..)));
            let told: Vec<&Event> = told.collect();
            for event in &told[told.len().saturating_sub(EVENTS_SHOWN)..] {
                let _ = writeln!(out, "    {event:?}");
            }
        }
        out
    }

    /// `DOHLE_TEST_KEEP` names a folder that gets what all members of a failed test wrote down.
    fn keep_ledgers(&self) {
        let Some(folder) = std::env::var_os("DOHLE_TEST_KEEP") else { return };
        std::fs::create_dir_all(&folder).expect("the folder of DOHLE_TEST_KEEP");
        for entry in std::fs::read_dir(&self.folder).expect("the folder of the test") {
            let from = entry.expect("an entry").path();
            if from.is_file() {
                let name = from.file_name().expect("a file");
                std::fs::copy(&from, Path::new(&folder).join(name)).expect("a copy");
            }
        }
    }
}

fn member(cast: &Cast, number: usize) -> String {
    format!("{}-m{number}", cast.group)
}

fn now() -> Time {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_micros() as Time
}

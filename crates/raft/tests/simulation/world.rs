//! The world: nodes, time, the network and the faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use dohle_raft::{
    AddVoterRequest, Body, Call, Endpoint, Entry, Event, KRaftVersions, Raft, Recovered, RemoveVoterRequest,
    Replica, Request, Response, Settings, SnapshotId, TailEra, TickMs, Ticket, Voter, VoterSet,
};
use dohle_types::{DirectoryId, NodeId, Offset};

use crate::checker::Checker;
use crate::disk::{Disk, Snapshot};

/// Chances in a thousand, per message or per round of 50 ms.
#[derive(Clone, Copy)]
pub struct Faults {
    pub loss: u64,
    pub duplication: u64,
    kill: u64,
    cut: u64,
    snapshot: u64,
    resign: u64,
    pub slow: u64,
}

impl Faults {
    pub const NONE: Self = Self { loss: 0, duplication: 0, kill: 0, cut: 0, snapshot: 0, resign: 0, slow: 0 };
    pub const HARSH: Self =
        Self { loss: 30, duplication: 30, kill: 12, cut: 10, snapshot: 15, resign: 3, slow: 20 };
}

const ROUND_MS: u64 = 50;

pub struct Node {
    pub raft: Option<Raft>,
    pub disk: Disk,
    /// Tells a process from the one before it.
    pub life: u64,
    /// What has been applied, and the state after it.
    pub applied: Offset,
    pub state: u64,
    pub announced: Offset,
    pub proposals: BTreeMap<Offset, Entry>,
}

#[derive(Clone, Debug)]
pub enum Happening {
    Deliver { to: usize, from: usize, life: u64, call: Call, request: Request },
    Answer { to: usize, life: u64, call: Call, response: Response },
    Unanswered { to: usize, life: u64, call: Call },
    Flushed { node: usize, life: u64, era: TailEra, disk_era: u64, up_to: Offset },
    Wake { node: usize },
    Restart { node: usize },
    Round,
    Mend { cut: (usize, usize) },
}

pub struct Owed {
    pub origin: Option<(usize, u64, Call)>,
}

pub struct World {
    now: u64,
    order: u64,
    pending: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    pub nodes: Vec<Node>,
    configured: VoterSet,
    pub faults: Faults,
    cuts: HashSet<(usize, usize)>,
    pub owed: HashMap<(usize, Ticket), Owed>,
    next_ticket: u64,
    chance: u64,
    /// The control records of the snapshots, which the few bytes of a file here have no room for.
    pub snapshot_voters: HashMap<SnapshotId, (i16, Option<VoterSet>)>,
    pub change_voters: bool,
    pub checker: Checker,
    pub trace: u64,
}

pub fn replica(node: usize) -> Replica {
    Replica::new(NodeId(node as i32 + 1), DirectoryId::from_u128(0x1000 + node as u128))
}

fn endpoint(node: usize) -> Endpoint {
    Endpoint { name: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9000 + node as u16 }
}

fn voter(node: usize) -> Voter {
    Voter {
        replica: replica(node),
        endpoints: vec![endpoint(node)],
        kraft_versions: KRaftVersions::SUPPORTED,
    }
}

impl World {
    pub fn new(seed: u64, voters: usize, observers: usize, faults: Faults) -> Self {
        let set = VoterSet::new((0..voters).map(voter));
        let bootstrap = Snapshot {
            id: dohle_raft::BOOTSTRAP_SNAPSHOT,
            state: 0,
            kraft_version: 1,
            voters: Some(set.clone()),
        };
        let node = |i: usize| Node {
            raft: None,
            disk: Disk { snapshot: (i < voters).then(|| bootstrap.clone()), ..Disk::default() },
            life: 0,
            applied: Offset::ZERO,
            state: 0,
            announced: Offset::ZERO,
            proposals: BTreeMap::new(),
        };
        let mut world = Self {
            now: 1,
            order: 0,
            pending: BinaryHeap::new(),
            happenings: HashMap::new(),
            nodes: (0..voters + observers).map(node).collect(),
            configured: VoterSet::default(),
            faults,
            cuts: HashSet::new(),
            owed: HashMap::new(),
            next_ticket: 0,
            chance: seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1,
            snapshot_voters: HashMap::new(),
            change_voters: false,
            checker: Checker::default(),
            trace: 0,
        };
        for i in 0..world.nodes.len() {
            world.restart(i);
        }
        world.after(ROUND_MS, Happening::Round);
        world
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % below.max(1)
    }

    pub fn happens(&mut self, in_a_thousand: u64) -> bool {
        self.random(1000) < in_a_thousand
    }

    pub fn after(&mut self, ms: u64, happening: Happening) {
        self.order += 1;
        self.pending.push(Reverse((self.now + ms, self.order)));
        self.happenings.insert(self.order, happening);
    }

    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(Reverse((at, order))) = self.pending.peek().copied() {
            if at > until {
                break;
            }
            self.pending.pop();
            self.now = at;
            let happening = self.happenings.remove(&order).expect("every order has one");
            let mut hasher = DefaultHasher::new();
            (self.trace, at, format!("{happening:?}")).hash(&mut hasher);
            self.trace = hasher.finish();
            self.happen(happening);
        }
        self.now = until;
    }

    /// No more faults; whoever is dead comes back.
    pub fn heal(&mut self) {
        self.faults = Faults::NONE;
        self.change_voters = false;
        self.cuts.clear();
        for i in 0..self.nodes.len() {
            if self.nodes[i].raft.is_none() {
                self.restart(i);
            }
        }
    }

    /// A healthy quorum commits, and everyone gets to know it.
    pub fn expect_progress(&mut self) {
        self.run(15_000);
        let before = self.checker.committed_end();
        self.run(5_000);
        let after = self.checker.committed_end();
        assert!(after > before, "a healthy quorum commits");
        for i in 0..self.nodes.len() {
            let node = &self.nodes[i];
            let raft = node.raft.as_ref().expect("everyone is alive");
            assert!(
                node.applied >= before,
                "node {} follows: applied {}, committed {after}, {:?}",
                replica(i).id,
                node.applied,
                raft.role()
            );
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, from, life, call, request } => {
                if self.nodes[to].raft.is_none() || self.is_cut(from, to) {
                    self.after(5, Happening::Unanswered { to: from, life, call });
                    return;
                }
                if request == Request::ApiVersions {
                    let response = Response::ApiVersions(Some(KRaftVersions::SUPPORTED));
                    self.answer(to, Some((from, life, call)), response);
                    return;
                }
                let ticket = self.ticket(to, Some((from, life, call)));
                self.step(to, Event::Request { ticket, request });
            }
            Happening::Answer { to, life, call, response } => {
                if self.nodes[to].life == life {
                    self.step(to, Event::Response { call, response });
                }
            }
            Happening::Unanswered { to, life, call } => {
                if self.nodes[to].life == life {
                    self.step(to, Event::Unanswered { call });
                }
            }
            Happening::Flushed { node, life, era, disk_era, up_to } => {
                if self.nodes[node].life == life {
                    let disk = &mut self.nodes[node].disk;
                    if disk.era == disk_era {
                        disk.durable_end = disk.durable_end.max(up_to);
                    }
                    self.step(node, Event::Flushed { era, up_to });
                }
            }
            Happening::Wake { node } => {
                let due = self.nodes[node].raft.as_ref().and_then(Raft::deadline);
                if due.is_some_and(|due| due.0 <= self.now) {
                    self.step(node, Event::Tick);
                }
            }
            Happening::Restart { node } => {
                if self.nodes[node].raft.is_none() {
                    self.restart(node);
                }
            }
            Happening::Round => {
                self.round();
                self.after(ROUND_MS, Happening::Round);
            }
            Happening::Mend { cut } => {
                self.cuts.remove(&cut);
            }
        }
    }

    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts.contains(&(from, to))
    }

    fn ticket(&mut self, node: usize, origin: Option<(usize, u64, Call)>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.owed.insert((node, ticket), Owed { origin });
        ticket
    }

    /// What befalls the nodes every 50 ms, and what clients ask of them.
    fn round(&mut self) {
        for i in 0..self.nodes.len() {
            if self.nodes[i].raft.is_none() {
                continue;
            }
            if self.happens(self.faults.kill) {
                self.kill(i);
                continue;
            }
            if self.happens(self.faults.cut) {
                let other = self.random(self.nodes.len() as u64) as usize;
                self.cuts.insert((i, other));
                let mend = 100 + self.random(6_000);
                self.after(mend, Happening::Mend { cut: (i, other) });
            }
            if self.happens(self.faults.snapshot) {
                self.take_snapshot(i);
            }
            if self.happens(self.faults.resign) && self.leads(i) {
                self.step(i, Event::Resign);
            }
            if self.leads(i) && self.happens(600) {
                self.propose(i);
            }
            if self.change_voters && self.leads(i) && self.happens(60) {
                self.change_voters(i);
            }
        }
    }

    pub fn leads(&self, i: usize) -> bool {
        self.nodes[i].raft.as_ref().is_some_and(|raft| raft.leading().is_some())
    }

    fn propose(&mut self, i: usize) {
        let count = 1 + self.random(3);
        let leading = self.nodes[i].raft.as_ref().and_then(Raft::leading).expect("it leads");
        let mut entries = Vec::new();
        let mut base = leading.next_offset;
        for _ in 0..count {
            let value = self.random(u64::MAX);
            let records = 1 + self.random(4) as u32;
            let entry = Entry {
                base_offset: base,
                epoch: leading.epoch,
                records,
                body: Body::Encoded { bytes: Bytes::from(value.to_be_bytes().to_vec()), control: Vec::new() },
            };
            base = entry.next_offset();
            self.nodes[i].proposals.insert(entry.base_offset, entry.clone());
            entries.push(entry);
        }
        self.step(i, Event::Propose { entries });
    }

    fn change_voters(&mut self, i: usize) {
        let voters = self.nodes[i].raft.as_ref().expect("it leads").voters().latest().clone();
        let node = self.random(self.nodes.len() as u64) as usize;
        let ticket = self.ticket(i, None);
        let request = if voters.contains(replica(node)) {
            if voters.len() < 3 {
                return;
            }
            Request::RemoveVoter(RemoveVoterRequest { cluster_id: None, voter: replica(node) })
        } else {
            Request::AddVoter(AddVoterRequest {
                cluster_id: None,
                voter: replica(node),
                endpoints: vec![endpoint(node)],
                ack_when_committed: true,
            })
        };
        self.step(i, Event::Request { ticket, request });
    }

    fn kill(&mut self, i: usize) {
        self.checker.marks.kills += 1;
        let unflushed = self.nodes[i].disk.unflushed() as u64;
        let kept = self.random(unflushed + 1) as usize;
        let node = &mut self.nodes[i];
        node.raft = None;
        node.life += 1;
        node.disk.crash(kept);
        node.proposals.clear();
        let back = 10 + self.random(5_000);
        self.after(back, Happening::Restart { node: i });
    }

    fn restart(&mut self, i: usize) {
        let chance = self.random(u64::MAX);
        let configured = self.configured.clone();
        let servers = (0..self.nodes.len()).map(endpoint).collect();
        let node = &mut self.nodes[i];
        let mut settings = Settings::new(replica(i), "test".to_owned(), vec![endpoint(i)]);
        settings.bootstrap = servers;
        let recovered = Recovered {
            election: node.disk.election,
            log: node.disk.shape(),
            voters: node.disk.history(configured),
        };
        node.life += 1;
        let snapshot = node.disk.snapshot.as_ref();
        node.applied = snapshot.map_or(Offset::ZERO, |snapshot| snapshot.id.offset);
        node.state = snapshot.map_or(0, |snapshot| snapshot.state);
        node.announced = node.applied;
        let (raft, effects) = Raft::start(settings, recovered, chance, TickMs(self.now));
        node.raft = Some(raft);
        self.perform(i, effects);
        self.check(i);
    }

    fn take_snapshot(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        let raft = node.raft.as_ref().expect("it is alive");
        let shape = raft.log();
        let is_newer = shape.latest_snapshot().is_none_or(|latest| node.applied > latest.offset);
        if node.applied <= shape.start() || !is_newer {
            return;
        }
        let last = node.disk.entries.iter().rfind(|entry| entry.next_offset() <= node.applied);
        let id = dohle_raft::LogPoint::new(node.applied, last.expect("it is in the log").epoch);
        let (kraft_version, voters) = raft.voters().at(node.applied);
        let voters = voters.cloned();
        let known = self.snapshot_voters.entry(id).or_insert((kraft_version, voters.clone()));
        assert_eq!(
            *known,
            (kraft_version, voters.clone()),
            "CommittedDataConsistent: voters of snapshot {id:?}"
        );
        node.disk.snapshot = Some(Snapshot { id, state: node.state, kraft_version, voters });
        self.checker.marks.snapshots += 1;
        self.step(i, Event::SnapshotTaken { id });
        self.nodes[i].disk.trim(id);
        self.step(i, Event::Trimmed { start: id.offset, earliest: id });
    }

    pub fn step(&mut self, i: usize, event: Event) {
        let now = TickMs(self.now);
        let Some(raft) = &mut self.nodes[i].raft else { return };
        let effects = raft.step(now, event);
        self.perform(i, effects);
        self.check(i);
    }

    fn check(&mut self, i: usize) {
        let id = replica(i).id;
        if let Some(raft) = &self.nodes[i].raft {
            self.checker.is_in_epoch(id, raft.epoch());
            self.checker.names_leader(id, raft.epoch(), raft.leader());
            if let Some(due) = raft.deadline() {
                let wait = due.0.saturating_sub(self.now);
                self.after(wait, Happening::Wake { node: i });
            }
        }
    }
}

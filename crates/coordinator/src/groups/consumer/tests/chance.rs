//! Members that do what chance says: of both protocols, static and not; requests and answers are lost or doubled, members are killed
//! and stall, topics come and grow, the coordinator dies. Then all of it stops, and the group must come to rest.
//!
//! - `OneOwner`: no partition has two members, neither in the coordinator's books nor in the hands of members that are in the group.
//! - `EveryPartitionOwned`: when it is quiet, every partition of a topic that somebody wants is somebody's.
//! - `EpochsGoUp`: neither the group's epoch nor that of its target goes back while the group lives.
//! - `CompactedIsSame`: the log without what was superseded replays to the same state.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages as m;

use super::actor::{Actor, GROUP, Partitions, Step};
use super::rig::Rig;
use crate::frame::ReplyTo;
use crate::groups::{Ask, Response, Settings};

const SEEDS: u64 = 60;
const STEPS: usize = 150;
const MEMBERS: usize = 5;
const TOPICS: &[&str] = &["a", "b", "ab"];
/// Rounds in which a quiet group comes to rest: every member's step may wait for every other's.
const ROUNDS: usize = 60;

#[test]
fn groups_of_the_consumer_protocol_come_to_rest() {
    let mut seen = BTreeSet::new();
    (0..SEEDS).for_each(|seed| seen.append(&mut Play::new(seed, 0).run()));
    let interesting =
        ["Assigning", "Reconciling", "Stable", "UnknownMemberId", "UnreleasedInstanceId", "revoking"];
    assert!(interesting.iter().all(|what| seen.contains(*what)), "{seen:?}");
}

#[test]
fn groups_of_both_protocols_come_to_rest() {
    let mut seen = BTreeSet::new();
    (0..SEEDS).for_each(|seed| seen.append(&mut Play::new(seed, 50).run()));
    let interesting = ["IllegalGeneration", "RebalanceInProgress", "downgrade", "revoking", "upgrade"];
    assert!(interesting.iter().all(|what| seen.contains(*what)), "{seen:?}");
}

struct Play {
    seed: u64,
    dice: u64,
    rig: Rig,
    actors: Vec<Actor>,
    asked: BTreeMap<ReplyTo, (usize, u64)>,
    born: usize,
    classic_percent: u64,
    epochs: (i32, i32),
    kind: &'static str,
    seen: BTreeSet<String>,
}

impl Play {
    fn new(seed: u64, classic_percent: u64) -> Self {
        let mut settings = Settings::default();
        settings.consumer.assignment_interval_ms = if seed.is_multiple_of(3) { 1000 } else { 0 };
        settings.consumer.session_timeout_ms = 20_000;
        settings.initial_rebalance_delay_ms = 100;
        let mut play = Self {
            seed,
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ classic_percent,
            rig: Rig::new(settings),
            actors: Vec::new(),
            asked: BTreeMap::new(),
            born: 0,
            classic_percent,
            epochs: (0, 0),
            kind: "none",
            seen: BTreeSet::new(),
        };
        play.rig.put_topic("a", 4, Vec::new());
        play.actors = (0..MEMBERS).map(|at| play.newborn(at)).collect();
        play
    }

    /// What it has seen.
    fn run(mut self) -> BTreeSet<String> {
        for _ in 0..STEPS {
            self.chaos();
            self.check();
        }
        for actor in &mut self.actors {
            actor.runs = true;
        }
        for _ in 0..ROUNDS {
            for at in 0..self.actors.len() {
                self.act(at, false);
                self.check();
            }
            self.rig.run_jobs();
            self.rig.wait(2000);
            self.take_answers(false);
        }
        self.check_rest();
        let living = self.rig.living();
        self.rig.compact();
        assert_eq!(living, self.rig.replayed(), "`CompactedIsSame`, seed {}", self.seed);
        self.seen
    }

    fn chaos(&mut self) {
        let at = self.roll(self.actors.len() as u64) as usize;
        match self.roll(100) {
            0..60 => self.act(at, true),
            60..75 => {
                let ms = self.roll(3000);
                self.rig.wait(ms);
            }
            75..77 => drop(self.rig.wait(8000)),
            77..82 => drop(self.rig.run_jobs()),
            82..86 => self.kill(at),
            86..90 => self.actors[at].runs ^= true,
            90..93 => self.leave(at),
            93..96 => self.change_mind(at),
            96..99 => {
                let name = TOPICS[self.roll(TOPICS.len() as u64) as usize];
                let partitions = self.rig.topics.by_name(name).map_or(1, |topic| topic.partitions + 1);
                self.rig.put_topic(name, partitions, Vec::new());
            }
            _ => {
                self.rig.restart();
                self.asked.clear();
                for actor in &mut self.actors {
                    actor.retry();
                }
            }
        }
        self.take_answers(true);
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn newborn(&mut self, at: usize) -> Actor {
        self.born += 1;
        let classic = self.roll(100) < self.classic_percent;
        let (topics, regex) = self.wish(classic);
        Actor {
            id: if classic { Text::new() } else { format!("m{}", self.born).into() },
            instance: (at % 2 == 1).then(|| format!("i{at}").into()),
            classic,
            runs: true,
            life: self.born as u64,
            topics,
            regex,
            ..Actor::default()
        }
    }

    fn wish(&mut self, classic: bool) -> (Vec<Text>, Option<Text>) {
        if !classic && self.roll(4) == 0 {
            return (Vec::new(), Some("a.*".into()));
        }
        let mut names: Vec<Text> = vec!["a".into()];
        for name in TOPICS {
            if self.roll(2) == 0 {
                names.push((*name).into());
            }
        }
        names.sort();
        names.dedup();
        (names, None)
    }

    /// The process dies and another one takes its place.
    fn kill(&mut self, at: usize) {
        self.actors[at] = self.newborn(at);
    }

    fn change_mind(&mut self, at: usize) {
        if self.actors[at].epoch == 0 || self.actors[at].classic {
            return;
        }
        (self.actors[at].topics, self.actors[at].regex) = self.wish(false);
    }

    fn leave(&mut self, at: usize) {
        let actor = self.actors[at].clone();
        if actor.classic {
            let identity = m::leave_group_request::MemberIdentity {
                member_id: actor.id.clone(),
                group_instance_id: actor.instance.clone(),
                ..Default::default()
            };
            let request = m::LeaveGroupRequest {
                group_id: GROUP.into(),
                members: vec![identity],
                ..Default::default()
            };
            self.rig.send(5, "c", Ask::LeaveGroup(request));
        } else {
            let epoch = if actor.instance.is_some() { -2 } else { -1 };
            let mut request = actor.heartbeat(false);
            request.member_epoch = epoch;
            self.rig.send(1, "c", Ask::ConsumerGroupHeartbeat(request));
        }
        self.rig.drain();
        self.rig.answers();
        self.kill(at);
    }

    /// The member does what is next for it. With faults, the request or the answer may be lost, or the request doubled.
    fn act(&mut self, at: usize, faults: bool) {
        if !self.actors[at].runs {
            return;
        }
        let fault = if faults { self.roll(10) } else { 9 };
        if fault == 0 {
            return;
        }
        let full = self.roll(3) == 0;
        let Some((version, ask)) = self.actors[at].next(&self.rig, full) else { return };
        let to = self.rig.send(version, "c", ask.clone());
        if fault == 1 {
            self.rig.send(version, "c", ask);
        }
        self.rig.drain();
        let life = self.actors[at].life;
        self.asked.insert(to, (at, life));
        if self.actors[at].classic {
            self.actors[at].step = Step::Waits;
        }
        self.take_answers(faults);
    }

    fn take_answers(&mut self, faults: bool) {
        for (to, answer) in self.rig.answers() {
            let Some((at, life)) = self.asked.remove(&to) else { continue };
            if self.actors[at].life != life {
                continue;
            }
            let lost = faults && self.roll(5) == 0;
            match answer {
                Ok(answer) if !lost => {
                    if let Some(code) = code_of(&answer) {
                        self.seen.insert(format!("{code:?}"));
                    }
                    self.actors[at].told(&answer, &self.rig);
                }
                _ => self.actors[at].retry(),
            }
        }
    }

    fn look(&mut self) {
        let kind = self.rig.kind(GROUP);
        let empty = self.rig.state(GROUP) == "Empty";
        let what = match (self.kind, kind) {
            ("classic", "consumer") => "upgrade",
            ("consumer", "classic") if !empty => "downgrade",
            _ => self.rig.state(GROUP),
        };
        self.seen.insert(what.into());
        self.kind = kind;
        let revokes = |group: &crate::groups::consumer::ConsumerGroup| {
            group.members.values().any(|member| !member.revoking.is_empty())
        };
        if self.rig.group(GROUP).is_some_and(revokes) {
            self.seen.insert("revoking".into());
        }
    }

    fn check(&mut self) {
        self.look();
        let Some(group) = self.rig.group(GROUP) else {
            self.epochs = (0, 0);
            return;
        };
        let mut owners: BTreeMap<(TopicId, i32), &Text> = BTreeMap::new();
        for member in group.members.values() {
            for (topic, partitions) in member.assigned.iter().chain(&member.revoking) {
                for at in partitions.keys() {
                    let before = owners.insert((*topic, *at), &member.id);
                    let who = (before, &member.id);
                    assert_eq!(before, None, "`OneOwner`: {who:?} have {topic}-{at}, seed {}", self.seed);
                }
            }
        }
        for actor in self.actors.iter().filter(|actor| !actor.classic && actor.epoch > 0) {
            let member = group.members.get(&actor.id).filter(|member| member.epoch >= actor.epoch);
            for at in member.is_some().then_some(&actor.has).into_iter().flatten() {
                assert_eq!(owners.get(at), Some(&&actor.id), "`OneOwner`: in hand, seed {}", self.seed);
            }
        }
        let epochs = (group.epoch, group.assignment_epoch);
        let up = epochs.0 >= self.epochs.0 && epochs.1 >= self.epochs.1;
        assert!(up, "`EpochsGoUp`: {:?} {epochs:?}, seed {}", self.epochs, self.seed);
        self.epochs = epochs;
    }

    fn check_rest(&self) {
        assert_eq!(
            self.rig.state(GROUP),
            "Stable",
            "seed {}: {:#?}\n{:?}",
            self.seed,
            self.rig.group(GROUP),
            self.actors
        );
        let Some(group) = self.rig.group(GROUP) else { return };
        let mut wanted = Partitions::new();
        for name in group.topics().keys() {
            let Some(topic) = self.rig.topics.by_name(name) else { continue };
            wanted.extend((0..topic.partitions).map(|at| (topic.id, at)));
        }
        let held: Partitions = self.actors.iter().flat_map(|actor| actor.has.iter().copied()).collect();
        assert_eq!(held, wanted, "`EveryPartitionOwned`, seed {}", self.seed);
        let count: usize = self.actors.iter().map(|actor| actor.has.len()).sum();
        assert_eq!(count, wanted.len(), "`OneOwner`, seed {}", self.seed);
    }
}

fn code_of(answer: &Response) -> Option<ErrorCode> {
    ErrorCode::from_code(match answer {
        Response::ConsumerGroupHeartbeat(answer) => answer.error_code,
        Response::JoinGroup(answer) => answer.error_code,
        Response::SyncGroup(answer) => answer.error_code,
        Response::Heartbeat(answer) => answer.error_code,
        _ => return None,
    })
}

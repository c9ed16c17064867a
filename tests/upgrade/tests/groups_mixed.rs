//! Groups in the midst of their migration, with members of both protocols, go over to Kafka with the folder and come back: nobody joins anew,
//! nothing is read twice.
//!
//! With `DOHLE_TEST_TARGET=kafka` Kafka takes all turns: so the test is proved.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::time::{Duration, Instant};

use dohle_tests_clients::client::Client;
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::groups::scene::{Cast, SETTINGS, Scene};
use dohle_tests_upgrade::coordinator::Coordinator;
use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_wire::messages::consumer_group_describe_response::{DescribedGroup, Member};
use serde_json::json;

/// Kafka's default, spoken out: it is what the test is about.
const POLICY: (&str, &str) = ("group.consumer.migration.policy", "bidirectional");
const STABLE: &str = "Stable";
const OF_CLASSIC: i8 = 0;
const OF_CONSUMER: i8 = 1;
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

#[test]
fn mixed_groups_go_over_and_back() {
    let mut play = Play::begin();
    play.mixed(2);
    play.hand_over(End::Killed, Program::Kafka);
    // Kafka writes records of its own into the groups before they come back.
    play.join_new(3);
    play.mixed(3);
    play.hand_over(End::Clean, Program::ours());
    // Here the last member of the new protocol leaves what Kafka has written, and the group is a classic one.
    play.scene.leave_all(2);
    play.scene.settle(2);
    play.scene.leave_all(3);
    play.scene.settle(1);
    play.end();
}

struct Play {
    node: Node,
    scene: Scene,
    /// The members of the new protocol, by group.
    new: Vec<Cast>,
    /// The groups as they were before a hand-over.
    before: Vec<DescribedGroup>,
}

impl Play {
    /// A classic member in each group, and one of the new protocol that turns it into a group of consumers.
    fn begin() -> Play {
        // A classic member of librdkafka gives up what it has when a broker is away for as long as its session; one of Java does not.
        let with = |assignor: &'static str, client: Client, server: &'static str| {
            let group = format!("{assignor}-with-{}-{server}", client.name());
            let old = Cast { group: group.clone(), ..Cast::of(Client::Java, Classic, assignor) };
            (old, Cast { group, ..Cast::of(client, Consumer, server) })
        };
        let pairs =
            [with("cooperative-sticky", Client::Java, "uniform"), with("range", Client::Librdkafka, "range")];
        let (old, new): (Vec<Cast>, Vec<Cast>) = pairs.into_iter().unzip();
        let settings: Vec<_> = SETTINGS.into_iter().chain([POLICY]).collect();
        let mut node = Node::new(Quorum::InTheLog, &settings);
        node.format_by_kafka();
        node.start(Program::ours());
        let mut scene = Scene::on("mixed groups", old, &node.bootstrap(), node.folder());
        scene.run_load();
        scene.join_all("a", 1);
        scene.settle(1);
        let mut play = Play { node, scene, new, before: Vec::new() };
        play.join_new(2);
        play
    }

    fn join_new(&mut self, number: usize) {
        self.new.iter().for_each(|cast| self.scene.join(cast, "b", number));
    }

    /// Waits until the groups have so many members, all of which have what they should, and notes what the groups are.
    fn mixed(&mut self, members: usize) {
        self.scene.settle(members);
        let mut before = Vec::new();
        for cast in &self.new {
            let found = self.described(cast, |group| group.members.len() == members && is_at_rest(group));
            let count = |kind| found.members.iter().filter(|member| member.member_type == kind).count();
            let types = (count(OF_CLASSIC), count(OF_CONSUMER));
            let what = format!("{}: members of both protocols", cast.group);
            self.scene.checks.equal(types, (1, members - 1), what);
            before.push(found);
        }
        self.before = before;
    }

    /// A program ends while records are being written, and the other starts: groups, epochs, members and what they have are the same, and all
    /// that is written is read and committed.
    fn hand_over(&mut self, end: End, program: Program) {
        self.node.end(end);
        self.node.start(program);
        self.scene.rest_load();
        self.scene.drain();
        for (cast, before) in self.new.iter().zip(&self.before) {
            let found = self.described(cast, |group| group == before);
            let what = format!("{}: on {program:?}", cast.group);
            self.scene.checks.equal(&found, before, what);
        }
        self.scene.judge(&format!("on {program:?}"), true);
        self.scene.committed_is_the_end(&format!("on {program:?}"));
        self.scene.run_load();
    }

    /// A group as soon as it is as wanted, or as it is when time is up.
    fn described(&self, cast: &Cast, is_wanted: impl Fn(&DescribedGroup) -> bool) -> DescribedGroup {
        let mut coordinator = Coordinator::on(&self.node.bootstrap());
        let until = Instant::now() + SETTLE_LIMIT;
        loop {
            let found = coordinator.described(&cast.group);
            if is_wanted(&found) || Instant::now() > until {
                return found;
            }
            std::thread::sleep(POLL);
        }
    }

    fn end(mut self) {
        for cast in self.scene.casts.clone() {
            self.scene.wait_for_group(&cast.group, "type", &json!("Classic"));
        }
        self.scene.rest_load();
        self.scene.drain();
        self.scene.judge("a classic group again", true);
        self.scene.committed_is_the_end("a classic group again");
        self.scene.curtain();
        // Twice the members, twice what a hand-over keeps, the judgement and the offsets of each hand-over and of the end.
        self.scene.checks.finish(self.new.len() * (2 + 2 + 2 * 3));
        self.node.end(End::Clean);
    }
}

/// Nobody is told anything any more.
fn is_at_rest(group: &DescribedGroup) -> bool {
    let told = |member: &Member| {
        member.member_epoch == group.group_epoch && member.assignment == member.target_assignment
    };
    group.group_state == STABLE
        && group.assignment_epoch == group.group_epoch
        && group.members.iter().all(told)
}

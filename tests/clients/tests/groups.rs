//! Groups of every client in every protocol and assignor that it has: members join, leave, are killed and stopped, under load.
//!
//! All groups of a test play the same steps at the same time. What the members wrote down is judged by the rules of
//! `src/groups/judge.rs`: exactly once while nobody is killed, at least once and never before a commit after that.
#![allow(clippy::disallowed_methods)] // kills real processes at real times

use dohle_tests_clients::client::{Client, JavaRelease, everything};
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::groups::scene::{Cast, LONG_PAUSE, Scene};
use dohle_tests_clients::target::Target;
use serde_json::json;

const LATER_PARTITIONS: u64 = 4;

/// Each group: exactly once in the calm, sound in the storm, committed; and after a restart of the broker.
const CHECKS_PER_GROUP: usize = 5;

/// All clients on one broker, each in the groups that differ most. What every run has time for.
#[test]
fn every_client() {
    let mut casts = vec![
        Cast::of(Client::Java, Classic, "cooperative-sticky"),
        Cast::of(Client::Java, Consumer, "uniform"),
        Cast::of(Client::Java, Consumer, "range").by_pattern(),
        Cast::of(Client::Librdkafka, Classic, "range"),
        Cast::of(Client::Librdkafka, Consumer, "uniform").by_pattern(),
        Cast::of(Client::FranzGo, Classic, "sticky"),
        Cast::of(Client::FranzGo, Consumer, "range"),
        Cast::of(Client::KafkaPython, Classic, "range"),
        Cast::of(Client::KafkaJs, Classic, "roundrobin"),
    ];
    if everything() {
        casts.push(Cast::of(Client::OldJava(JavaRelease::R2_8_2), Classic, "sticky"));
    }
    life("every client", casts);
}

/// What Java's classic assignors give two members of twelve partitions, when the assignor says which.
const RANGE: [[u64; 6]; 2] = [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]];
const ROUNDROBIN: [[u64; 6]; 2] = [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]];

/// Java's four assignors of the classic protocol, which run in whoever leads the group: two members, one more, and the first one
/// leaves. What every run has time for.
#[test]
fn java_assignors() {
    let casts = classics(Client::Java, &["range", "roundrobin", "sticky", "cooperative-sticky"]);
    let (_target, mut scene) = Scene::with_broker("Java's assignors", casts.clone());
    scene.run_load();
    scene.join_all("a", 1);
    scene.join_all("a", 2);
    scene.settle(2);
    scene.join_all("a", 3);
    scene.settle(3);
    scene.leave_all(1);
    scene.settle(2);
    for cast in &casts {
        scene.wait_for_group(&cast.group, "state", &json!("Stable"));
        let said = scene.group(&cast.group);
        scene.checks.equal(&said["assignor"], &json!(cast.assignor), format!("{}: assignor", cast.group));
        let wanted = match cast.assignor {
            "range" => RANGE,
            "roundrobin" => ROUNDROBIN,
            _ => continue,
        };
        let shares = scene.shares(&cast.group);
        scene.checks.equal(shares, wanted.map(Vec::from).to_vec(), format!("{}: shares", cast.group));
    }
    scene.rest_load();
    scene.drain();
    scene.judge("members that come and go", true);
    scene.committed_is_the_end("at the end");
    scene.curtain();
    scene.checks.finish(3 * casts.len() + 2);
}

#[test]
fn java() {
    let of = |protocol, assignor| Cast::of(Client::Java, protocol, assignor);
    let mut casts = classics(Client::Java, &["range", "cooperative-sticky", "roundrobin", "sticky"]);
    casts.extend([of(Consumer, "uniform"), of(Consumer, "range")]);
    casts.extend([of(Consumer, "uniform").by_pattern(), of(Classic, "range").by_pattern()]);
    life_by_itself(Client::Java, casts);
}

#[test]
fn old_java() {
    let client = Client::OldJava(JavaRelease::R2_8_2);
    life_by_itself(client, classics(client, &["range", "roundrobin", "sticky", "cooperative-sticky"]));
}

#[test]
fn librdkafka() {
    let of = |protocol, assignor| Cast::of(Client::Librdkafka, protocol, assignor);
    let mut casts = classics(Client::Librdkafka, &["cooperative-sticky", "range", "roundrobin"]);
    casts.extend([of(Consumer, "uniform"), of(Consumer, "range")]);
    casts.extend([of(Consumer, "uniform").by_pattern(), of(Classic, "range").by_pattern()]);
    life_by_itself(Client::Librdkafka, casts);
}

#[test]
fn franz_go() {
    let of = |protocol, assignor| Cast::of(Client::FranzGo, protocol, assignor);
    let mut casts = classics(Client::FranzGo, &["cooperative-sticky", "sticky", "range", "roundrobin"]);
    casts.extend([of(Consumer, "uniform"), of(Consumer, "range"), of(Classic, "range").by_pattern()]);
    life_by_itself(Client::FranzGo, casts);
}

#[test]
fn kafka_python() {
    // Not cooperative-sticky: a member that comes back from a long pause claims what it had, and the leader (in `assign`, where
    // the last claim wins, whatever its generation) gives it that before the owner has let go. With any broker.
    life_by_itself(Client::KafkaPython, classics(Client::KafkaPython, &["range", "roundrobin", "sticky"]));
}

#[test]
fn kafkajs() {
    life_by_itself(Client::KafkaJs, classics(Client::KafkaJs, &["roundrobin"]));
}

fn classics(client: Client, assignors: &[&'static str]) -> Vec<Cast> {
    assignors.iter().map(|a| Cast::of(client, Classic, a)).collect()
}

/// A client in all its groups on a broker of its own, only in a full run.
fn life_by_itself(client: Client, casts: Vec<Cast>) {
    if everything() {
        life(client.name(), casts);
    }
}

fn life(who: &str, casts: Vec<Cast>) {
    let owed = casts.len() * CHECKS_PER_GROUP;
    let (mut target, mut scene) = Scene::with_broker(&format!("groups of {who}"), casts);
    calm(&mut scene);
    storm(&mut scene);
    restart(&mut target, &mut scene);
    scene.checks.finish(owed);
}

/// Members come and go as they should, while records keep coming.
fn calm(scene: &mut Scene) {
    scene.run_load();
    scene.join_all("a", 1);
    scene.join_all("a", 2);
    scene.settle(2);
    scene.join_all("b", 3);
    scene.settle(3);
    scene.add_topic(LATER_PARTITIONS);
    scene.join_all("c", 4);
    scene.settle(4);
    scene.leave_all(2);
    scene.settle(3);
    scene.rest_load();
    scene.drain();
    scene.judge("calm", true);
}

/// Members are killed, and stopped for longer than their session, while records keep coming.
fn storm(scene: &mut Scene) {
    scene.run_load();
    scene.kill("c");
    if everything() {
        scene.settle(2);
    }
    scene.stop("b");
    std::thread::sleep(LONG_PAUSE);
    scene.settle(1);
    scene.go_on("b");
    scene.settle(2);
    scene.join_all("d", 5);
    scene.settle(3);
    scene.rest_load();
    scene.drain();
    scene.judge("storm", false);
    scene.committed_is_the_end("before the restart");
}

/// All leave, the broker starts again, and new members go on where the group was.
fn restart(target: &mut Target, scene: &mut Scene) {
    scene.curtain();
    target.stop();
    target.restart();
    scene.run_load();
    scene.join_all("a", 6);
    scene.join_all("d", 7);
    scene.settle(2);
    scene.rest_load();
    scene.drain();
    scene.judge("after a restart", false);
    scene.curtain();
    scene.committed_is_the_end("at the end");
}

//! Members that differ in one group: of all clients, of both protocols, and static ones that come back.
#![allow(clippy::disallowed_methods)] // drives real programs

use dohle_tests_clients::client::{Client, JavaRelease, everything};
use dohle_tests_clients::groups::member::Protocol::{Classic, Consumer};
use dohle_tests_clients::groups::scene::{Cast, Scene};
use serde_json::json;

/// One classic group with a member of every client; whoever leads it, the others understand.
#[test]
fn one_member_of_every_client() {
    let cast = Cast { group: "all-clients".to_owned(), ..Cast::of(Client::Java, Classic, "roundrobin") };
    let (_target, mut scene) = Scene::with_broker("one member of every client", vec![cast.clone()]);
    let member_of = |client: Client| Cast { client, ..cast.clone() };
    scene.run_load();
    for (number, client) in Client::ALL.into_iter().enumerate() {
        scene.join(&member_of(client), "a", number);
    }
    scene.settle(Client::ALL.len());
    // The leader leaves, one after the other, so that many kinds lead.
    for (number, client) in Client::ALL.into_iter().enumerate().take(Client::ALL.len() - 2) {
        scene.leave(&member_of(client), number);
        scene.settle(Client::ALL.len() - 1 - number);
    }
    scene.rest_load();
    scene.drain();
    scene.judge("members of all clients", true);
    scene.committed_is_the_end("members of all clients");
    scene.curtain();
    scene.checks.finish(2);
}

/// A group goes from the classic protocol to the new one and back, member by member, while it reads; no record is read twice.
#[test]
fn migration_and_back() {
    let move_of = |old: Client, assignor: &'static str, new: Client, server: &'static str| {
        let group = format!("{}-{assignor}-to-{}-{server}", old.name(), new.name());
        let old = Cast { group: group.clone(), ..Cast::of(old, Classic, assignor) };
        (old, Cast { group, ..Cast::of(new, Consumer, server) })
    };
    let mut moves = vec![
        move_of(Client::Java, "cooperative-sticky", Client::Java, "range"),
        move_of(Client::Librdkafka, "range", Client::Librdkafka, "uniform"),
        move_of(Client::FranzGo, "cooperative-sticky", Client::FranzGo, "range"),
    ];
    if everything() {
        moves.push(move_of(Client::Java, "range", Client::Java, "uniform"));
        moves.push(move_of(Client::OldJava(JavaRelease::R2_8_2), "sticky", Client::Java, "uniform"));
    }
    let casts: Vec<Cast> = moves.iter().map(|(old, _)| old.clone()).collect();
    let (_target, mut scene) = Scene::with_broker("migration and back", casts);
    let join_old = |scene: &mut Scene, place: &str, number| {
        moves.iter().for_each(|(old, _)| scene.join(old, place, number))
    };
    let join_new = |scene: &mut Scene, place: &str, number| {
        moves.iter().for_each(|(_, new)| scene.join(new, place, number))
    };
    let is_of_type = |scene: &mut Scene, kind: &str, what: &str| {
        for (old, _) in &moves {
            scene.wait_for_group(&old.group, "state", &json!("Stable"));
            let said = scene.group(&old.group);
            scene.checks.equal(&said["type"], &json!(kind), format!("{}: its type, {what}", old.group));
        }
    };
    scene.run_load();
    join_old(&mut scene, "a", 1);
    join_old(&mut scene, "b", 2);
    scene.settle(2);
    is_of_type(&mut scene, "Classic", "all members classic");
    join_new(&mut scene, "b", 3);
    scene.settle(3);
    is_of_type(&mut scene, "Consumer", "one member of the new protocol");
    scene.leave_all(1);
    join_new(&mut scene, "a", 4);
    scene.settle(3);
    scene.leave_all(2);
    scene.settle(2);
    is_of_type(&mut scene, "Consumer", "all members of the new protocol");
    join_old(&mut scene, "a", 5);
    scene.settle(3);
    is_of_type(&mut scene, "Consumer", "a classic member again");
    scene.leave_all(3);
    scene.settle(2);
    scene.leave_all(4);
    scene.settle(1);
    is_of_type(&mut scene, "Classic", "only a classic member is left");
    join_old(&mut scene, "b", 6);
    scene.settle(2);
    scene.rest_load();
    scene.drain();
    scene.judge("migration", true);
    scene.committed_is_the_end("after the migration");
    scene.curtain();
    scene.checks.finish(moves.len() * 7);
}

/// A static member comes back within its session: it gets what it had, and nobody else is told anything.
#[test]
fn static_members_come_back() {
    let mut kept = vec![
        Cast::of(Client::Java, Classic, "cooperative-sticky").with_instances(),
        Cast::of(Client::Librdkafka, Classic, "range").with_instances(),
        Cast::of(Client::FranzGo, Classic, "cooperative-sticky").with_instances(),
    ];
    if everything() {
        kept.push(Cast::of(Client::Java, Classic, "range").with_instances());
        kept.push(Cast::of(Client::OldJava(JavaRelease::R2_8_2), Classic, "range").with_instances());
        kept.push(Cast::of(Client::KafkaPython, Classic, "range").with_instances());
    }
    let of_consumer = [
        Cast::of(Client::Java, Consumer, "uniform").with_instances(),
        Cast::of(Client::Librdkafka, Consumer, "uniform").with_instances(),
        Cast::of(Client::FranzGo, Consumer, "uniform").with_instances(),
    ];
    let casts: Vec<Cast> = kept.iter().chain(&of_consumer).cloned().collect();
    let (_target, mut scene) = Scene::with_broker("static members", casts.clone());
    scene.run_load();
    scene.join_all("a", 1);
    scene.join_all("b", 2);
    scene.settle(2);
    let before: Vec<_> = casts.iter().map(|c| scene.told_of_partitions(&c.group)).collect();
    for cast in &casts {
        scene.leave(cast, 2);
        scene.join(cast, "b", 2);
    }
    scene.settle(2);
    let stayed = |scene: &mut Scene, cast: &Cast| {
        let mut told = scene.told_of_partitions(&cast.group);
        told.retain(|name, _| !name.contains("-m2"));
        told
    };
    // In the new protocol franz-go comes back only when the session of the one before has ended, so that others read meanwhile.
    let silent = |cast: &&Cast| cast.client != Client::FranzGo || cast.protocol == Classic;
    for (cast, mut told) in casts.iter().zip(before).filter(|(cast, _)| silent(cast)) {
        told.retain(|name, _| !name.contains("-m2"));
        let now = stayed(&mut scene, cast);
        scene.checks.equal(now, told, format!("{}: what the other was told", cast.group));
    }
    scene.rest_load();
    scene.drain();
    scene.judge("static members that came back", true);
    // Killed, and back at once: in the classic protocol the new one takes the place of the old.
    scene.run_load();
    let before: Vec<_> = kept.iter().map(|c| stayed(&mut scene, c)).collect();
    casts.iter().for_each(|c| drop(scene.begin(c.client, "c")));
    scene.kill("b");
    kept.iter().for_each(|c| scene.join(c, "c", 2));
    kept.iter().for_each(|c| scene.settle_group(&c.group, 2));
    for (cast, told) in kept.iter().zip(before) {
        let now = stayed(&mut scene, cast);
        scene.checks.equal(now, told, format!("{}: what the other was told after a kill", cast.group));
    }
    // In the new one the name is released when the session of the dead has ended.
    of_consumer.iter().for_each(|c| scene.settle_group(&c.group, 1));
    of_consumer.iter().for_each(|c| scene.join(c, "c", 2));
    scene.settle(2);
    scene.rest_load();
    scene.drain();
    scene.judge("static members that were killed", false);
    scene.curtain();
    scene.checks.finish(3 * casts.len() - 1 + kept.len());
}

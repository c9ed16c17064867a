//! Dohle starts on what Kafka wrote, Kafka starts on what Dohle wrote, with one `server.properties`, after clean stops and kills.
#![allow(clippy::disallowed_methods)] // drives real programs

use std::time::Duration;

use dohle_tests_upgrade::node::{End, Node, Program, Quorum};
use dohle_tests_upgrade::relay::{OWED_BY_LOAD, Relay, owed_by_turn};

/// Kafka's controller lets a broker in again only when the session of the one that was killed has run out, by default after 9 s;
/// and each program begins from snapshots of the metadata that the other has written.
const SETTINGS: [(&str, &str); 3] = [
    ("broker.session.timeout.ms", "1500"),
    ("broker.heartbeat.interval.ms", "500"),
    ("metadata.log.max.record.bytes.between.snapshots", "4000"),
];
const HAND_OVERS: usize = 10;

/// Kafka's tool formats, Dohle begins on the empty folder; then ten hand-overs in a row, each kind of them more than once: to either program,
/// after a clean stop and after a kill.
#[test]
fn ten_in_a_row() {
    let node = Node::new(Quorum::InTheLog, &SETTINGS);
    node.format_by_kafka();
    let program = |turn| if turn % 2 == 0 { Program::Dohle } else { Program::Kafka };
    let end = |turn| if turn / 2 % 2 == 0 { End::Clean } else { End::Killed };
    let turns: Vec<_> = (0..HAND_OVERS).map(|turn| (program(turn), end(turn))).collect();
    relay("ten in a row", node, &turns, Program::Dohle);
}

/// The voters are in the configuration; Kafka fills the folder first.
#[test]
fn voters_in_the_file() {
    let node = Node::new(Quorum::InTheFile, &SETTINGS);
    node.format_by_kafka();
    relay("voters in the file", node, &[(Program::Kafka, End::Clean)], Program::Dohle);
}

/// The voters are in the configuration, and Dohle is the first on what Kafka's tool has formatted.
#[test]
fn voters_in_the_file_of_an_empty_folder() {
    let node = Node::new(Quorum::InTheFile, &SETTINGS);
    node.format_by_kafka();
    relay("voters in the file, empty", node, &[(Program::Dohle, End::Killed)], Program::Dohle);
}

/// Dohle formats the folder by itself.
#[test]
fn formatted_by_dohle() {
    let node = Node::new(Quorum::InTheLog, &SETTINGS);
    relay("formatted by Dohle", node, &[(Program::Dohle, End::Killed)], Program::Kafka);
}

/// Plays the turns; `last` is on the folder when everything is looked at for the last time.
fn relay(name: &str, node: Node, turns: &[(Program, End)], last: Program) {
    let mut relay = Relay::on(node, name);
    let mut starts: Vec<(Program, Duration)> = Vec::new();
    let mut owed = OWED_BY_LOAD + 1 + 4 * turns.len();
    for (turn, (program, end)) in turns.iter().enumerate() {
        starts.push((*program, relay.turn(*program, *end)));
        owed += owed_by_turn(turn);
    }
    println!("{name}: {starts:?}");
    relay.settle(last, owed);
}

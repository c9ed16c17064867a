//! Every client writes, reads back, seeks, and works on topics; what one wrote the others read, byte for byte.
//!
//! One test per client as the writer, each on a broker of its own. The records follow `docs/clients.md`.
#![allow(clippy::disallowed_methods)] // waits for real programs

mod suite;

use dohle_tests_clients::client::{Client, JavaRelease};

#[test]
fn java() {
    suite::run(Client::Java);
}

#[test]
fn old_java() {
    suite::run(Client::OldJava(JavaRelease::R2_8_2));
}

#[test]
fn librdkafka() {
    suite::run(Client::Librdkafka);
}

#[test]
fn kafka_python() {
    suite::run(Client::KafkaPython);
}

#[test]
fn franz_go() {
    suite::run(Client::FranzGo);
}

#[test]
fn kafkajs() {
    suite::run(Client::KafkaJs);
}

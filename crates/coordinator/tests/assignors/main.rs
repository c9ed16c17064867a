//! The assignors: Kafka's answers for Kafka's cases and for random ones, and the properties that every answer has.
//!
//! A case is a line of columns, separated by tabs: its name; the assignor; whether the subscriptions are the `same` or `different`;
//! topics as `number:partitions`, with spaces between; members as `id[@instance] topics target`, with semicolons between; and what
//! the members get, in their order, or `error`. Subscriptions are numbers with commas between; targets and results are
//! `topic:partition.partition` with slashes between. A dash is nothing.

mod properties;

use std::sync::Arc;

use dohle_coordinator::groups::assignors::{Assigned, Assignor, GroupSpec, Member, Subscriptions};
use dohle_coordinator::topics::{Topic, Topics};
use dohle_types::TopicId;
use dohle_wire::Text;

/// `cargo xtask assignors` holds both to Kafka.
const KAFKA: &str = include_str!("kafka.tsv");
const RANDOM: &str = include_str!("random.tsv");

#[test]
fn kafkas_cases_have_kafkas_answers() {
    assert_eq!(differences(KAFKA), Vec::<String>::new());
}

#[test]
fn random_cases_have_kafkas_answers() {
    assert_eq!(differences(RANDOM), Vec::<String>::new());
}

fn differences(cases: &str) -> Vec<String> {
    let cases = cases.lines().filter(|line| !line.starts_with('#'));
    cases.filter_map(|case| Case::read(case).difference()).collect()
}

pub struct Case {
    name: String,
    pub assignor: Assignor,
    pub group: GroupSpec,
    pub topics: Topics,
    expected: String,
}

impl Case {
    pub fn read(line: &str) -> Self {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, assignor, kind, topics, members, expected] = columns[..] else { panic!("{line}") };
        let mut all = Topics::default();
        for word in words(topics, ' ') {
            let (number, partitions) = word.split_once(':').unwrap();
            all.insert(topic(number.parse().unwrap(), partitions.parse().unwrap()));
        }
        let subscriptions =
            if kind == "same" { Subscriptions::Homogeneous } else { Subscriptions::Heterogeneous };
        let members = words(members, ';').map(member).collect();
        Self {
            name: name.to_owned(),
            assignor: Assignor::by_name(assignor).unwrap(),
            group: GroupSpec { subscriptions, members },
            topics: all,
            expected: expected.to_owned(),
        }
    }

    fn difference(&self) -> Option<String> {
        let given = match self.assignor.assign(&self.group, &self.topics) {
            Ok(assigned) => assigned.iter().map(|assigned| text(assigned)).collect::<Vec<_>>().join(";"),
            Err(_) => "error".to_owned(),
        };
        (given != self.expected).then(|| format!("{}: {given} instead of {}", self.name, self.expected))
    }
}

pub fn topic(number: u64, partitions: i32) -> Topic {
    let racks = Vec::new();
    Topic { id: id(number), name: Text::from(format!("topic-{number}")), partitions, racks }
}

fn words(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).filter(|word| *word != "-")
}

/// As the Java side makes them: from eight on they are negative there, and sort before the others.
fn id(number: u64) -> TopicId {
    let high = if number < 8 { 0 } else { 1 << 127 };
    TopicId::from_u128(high | u128::from(number))
}

fn member(text: &str) -> Member {
    let parts: Vec<&str> = text.split(' ').collect();
    let [name, topics, target] = parts[..] else { panic!("{text}") };
    let (id_text, instance) = match name.split_once('@') {
        Some((id, instance)) => (id, Some(Text::from(instance))),
        None => (name, None),
    };
    let mut assigned = Assigned::new();
    for held in words(target, '/') {
        let (topic, partitions) = held.split_once(':').unwrap();
        let partitions = partitions.split('.').map(|partition| partition.parse().unwrap()).collect();
        assigned.insert(id(topic.parse().unwrap()), partitions);
    }
    Member {
        id: Text::from(id_text),
        instance_id: instance,
        topics: words(topics, ',').map(|topic| id(topic.parse().unwrap())).collect(),
        target: Arc::new(assigned),
    }
}

fn text(assigned: &Assigned) -> String {
    if assigned.is_empty() {
        return "-".to_owned();
    }
    let topics = assigned.iter().map(|(topic, partitions)| {
        let partitions: Vec<String> = partitions.iter().map(i32::to_string).collect();
        format!("{}:{}", u128::from_be_bytes(topic.0) as u64, partitions.join("."))
    });
    topics.collect::<Vec<_>>().join("/")
}

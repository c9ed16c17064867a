//! One run of all scripts against one broker.

use std::net::SocketAddr;

use dohle_tests_clients::target::{Given, Kind, Target};
use dohle_types::TopicId;
use dohle_wire::Request;
use dohle_wire::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use dohle_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

use crate::answer::{self, Names};
use crate::connection::{Connection, all_versions, some_versions};
use crate::differences::{Difference, Listed};
use crate::golden::{self, Answered};

/// What is said of a request whose connection was closed.
const CLOSED: &str = "the connection is closed";
/// What is said of a request that nothing came of.
const UNANSWERED: &str = "no answer";

#[derive(Debug)]
pub struct Run {
    pub target: Target,
    pub names: Names,
    connection: Option<Connection>,
    answers: Vec<Answered>,
    at: SocketAddr,
    problems: Vec<String>,
    pub cases: usize,
    listed: Listed,
}

impl Run {
    pub fn start(settings: &[(&str, &str)], differences: &'static [Difference]) -> Self {
        let target = Target::with(Given::ByFile, settings);
        let at: SocketAddr = target.bootstrap().parse().expect("an address");
        let controller: SocketAddr = target.controller().parse().expect("an address");
        let mut names = Names::default();
        (names.port, names.controller_port) = (at.port(), controller.port());
        names.texts.push((target.folder().join("data").display().to_string(), "<data>".to_owned()));
        names.texts.push((at.to_string(), "<broker>".to_owned()));
        names.texts.push((controller.to_string(), "<controller>".to_owned()));
        names.texts.push((target.meta("cluster.id"), "<cluster>".to_owned()));
        Self {
            target,
            names,
            connection: None,
            answers: Vec::new(),
            at,
            problems: Vec::new(),
            cases: 0,
            listed: Listed::new(differences),
        }
    }

    /// Asks the controller's listener until [`Run::at_broker`].
    pub fn at_controller(&mut self) {
        self.go(self.target.controller().parse().expect("an address"));
    }

    pub fn at_broker(&mut self) {
        self.go(self.target.bootstrap().parse().expect("an address"));
    }

    fn go(&mut self, at: SocketAddr) {
        self.at = at;
        self.connection = None;
    }

    /// A second client's connection.
    pub fn another(&self) -> Connection {
        Connection::open(self.at)
    }

    /// The next request comes on a new connection.
    pub fn reconnect(&mut self) {
        self.connection = None;
    }

    pub fn connection(&mut self) -> &mut Connection {
        let at = self.at;
        self.connection.get_or_insert_with(|| Connection::open(at))
    }

    /// Sends a request under a name and keeps what is answered. A version that cannot say the request asks nothing.
    pub fn ask<R: Request>(&mut self, name: &str, version: i16, request: &R) -> Option<R::Response> {
        let frame = self.connection().frame(request, version)?;
        self.connection().send(&frame);
        let response = self.connection().response::<R>(version);
        let lines = match &response {
            Some(response) => answer::lines(response, &mut self.names),
            None => vec![self.without_answer().to_owned()],
        };
        self.keep(format!("{name} v{version}"), lines);
        response
    }

    /// Keeps an answer that was got in another way, on a connection of its own.
    pub fn answered<R: Request>(&mut self, name: &str, version: i16, response: &R::Response) {
        let lines = answer::lines(response, &mut self.names);
        self.keep(format!("{name} v{version}"), lines);
    }

    /// Asks in the oldest, a middle and the newest version.
    pub fn ask_in_some<R: Request>(&mut self, name: &str, request: &R) {
        for version in some_versions(R::KEY) {
            self.ask(name, version, request);
        }
    }

    pub fn ask_in_all<R: Request>(&mut self, name: &str, request: &R) {
        for version in all_versions(R::KEY) {
            self.ask(name, version, request);
        }
    }

    /// Sends bytes under a name; keeps whether an answer comes or the connection is closed.
    pub fn ask_raw(&mut self, name: &str, frame: &[u8]) {
        self.connection().send(frame);
        let answer = self.connection().receive();
        let line = match answer {
            Some(frame) => format!("an answer: bytes={}", frame.len()),
            None => self.without_answer().to_owned(),
        };
        self.connection = None;
        self.keep(name.to_owned(), vec![line]);
    }

    fn without_answer(&mut self) -> &'static str {
        let connection = self.connection.take();
        if connection.is_some_and(|connection| connection.unanswered) { UNANSWERED } else { CLOSED }
    }

    /// Keeps something else that was seen.
    pub fn note(&mut self, name: &str, lines: Vec<String>) {
        self.keep(name.to_owned(), lines);
    }

    fn keep(&mut self, case: String, lines: Vec<String>) {
        let taken = self
            .answers
            .iter()
            .filter(|known| known.case == case || known.case.starts_with(&format!("{case} (again ")))
            .count();
        let case = if taken > 0 { format!("{case} (again {taken})") } else { case };
        self.answers.push(Answered { case, lines });
    }

    /// Makes a topic that the script talks about, and learns its id.
    pub fn topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
            ..Default::default()
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response = self.connection().ask(&request, 7).expect("an answer");
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        self.settled(name)
    }

    /// Waits until the broker itself knows the topic and leads it, and learns its id.
    pub fn settled(&mut self, name: &str) -> TopicId {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        for _ in 0..1000 {
            let response = self.connection().ask(&request, 12).expect("an answer");
            let topic = &response.topics[0];
            if topic.error_code == 0 && topic.partitions.iter().all(|partition| partition.error_code == 0) {
                let id = topic.topic_id;
                self.names.id(id, name);
                // The broker's image may be ahead of its partitions by a moment.
                std::thread::sleep(std::time::Duration::from_millis(if self.target.kind == Kind::Kafka {
                    300
                } else {
                    20
                }));
                return id;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{name} does not come up")
    }

    /// Ends a script: compares what was answered with what Kafka answered, or writes that down.
    pub fn end(&mut self, script: &str) {
        self.at_broker();
        let answers = std::mem::take(&mut self.answers);
        self.cases += answers.len();
        if std::env::var_os("DOHLE_BLESS").is_some() {
            assert_eq!(self.target.kind, Kind::Kafka, "DOHLE_BLESS needs DOHLE_TEST_TARGET=kafka");
            golden::write(script, &answers);
            return;
        }
        let kafka = golden::read(script);
        let cases = |of: &[Answered]| of.iter().map(|a| a.case.clone()).collect::<Vec<_>>();
        if cases(&kafka) != cases(&answers) {
            let (kafka, ours) = (cases(&kafka), cases(&answers));
            let missing: Vec<_> = kafka.iter().filter(|case| !ours.contains(case)).collect();
            let more: Vec<_> = ours.iter().filter(|case| !kafka.contains(case)).collect();
            self.problems.push(format!(
                "{script}: cases that did not run {missing:?}, cases Kafka was not asked {more:?}"
            ));
        }
        for answer in &answers {
            if let Some(kafka) = kafka.iter().find(|known| known.case == answer.case) {
                self.problems.extend(golden::compare(script, kafka, answer, &mut self.listed));
            }
        }
    }

    /// Ends the run: no difference that is not meant, none listed that is not there, nobody panicked.
    pub fn finish(mut self) {
        let log = std::fs::read_to_string(self.target.folder().join("broker.log")).unwrap_or_default();
        if self.target.kind == Kind::Dohle && log.contains("panicked") {
            let lines: Vec<_> = log.lines().filter(|line| line.contains("panicked")).collect();
            self.problems.push(format!("the broker panicked:\n{}", lines.join("\n")));
        }
        if self.target.kind == Kind::Dohle {
            let unseen = self.listed.unseen();
            self.problems
                .extend(unseen.map(|listed| format!("a listed difference that is none: {listed:?}")));
        }
        assert!(self.problems.is_empty(), "{} problems\n{}", self.problems.len(), self.problems.join("\n"));
    }
}

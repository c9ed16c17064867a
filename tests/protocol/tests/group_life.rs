//! What groups notice of the cluster while they live: their own configuration and the broker's, topics that come, and topics that go.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::time::{Duration, Instant};

use dohle_records::{Batch, Compression, parse_batches};
use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::Connection;
use dohle_types::ErrorCode;
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::consumer_group_heartbeat_request::TopicPartitions;
use m::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use m::{offset_commit_request as commit, offset_fetch_request as fetch};

const IN_TIME: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
/// The kind of resource that a group's configuration is.
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

struct Cluster {
    target: Target,
    client: Connection,
}

impl Cluster {
    fn start(settings: &[(&str, &str)]) -> Self {
        let target = Target::with(Given::ByFile, settings);
        let client = Connection::open(target.bootstrap().parse().expect("an address"));
        Self { target, client }
    }

    fn topic(&mut self, name: &str, partitions: i32) {
        let topic = m::create_topics_request::CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request =
            m::CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        assert_eq!(self.client.ask(&request, 6).expect("an answer").topics[0].error_code, 0);
    }

    fn configure(&mut self, group: &str, operation: i8, settings: &[(&str, &str)]) {
        let configs = settings.iter().map(|(name, value)| AlterableConfig {
            name: (*name).into(),
            config_operation: operation,
            value: (operation == SET).then(|| (*value).into()),
            ..Default::default()
        });
        let resource = AlterConfigsResource {
            resource_type: GROUP,
            resource_name: group.into(),
            configs: configs.collect(),
            ..Default::default()
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        let answer = self.client.ask(&request, 1).expect("an answer");
        assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
    }

    /// A heartbeat, again while the coordinator is being made.
    fn beat(&mut self, request: &m::ConsumerGroupHeartbeatRequest) -> m::ConsumerGroupHeartbeatResponse {
        let until = Instant::now() + IN_TIME;
        loop {
            let find = m::FindCoordinatorRequest { key: request.group_id.clone(), ..Default::default() };
            self.client.ask(&find, 3).expect("an answer");
            let answer = self.client.ask(request, 1).expect("an answer");
            let passing = [
                ErrorCode::NotCoordinator,
                ErrorCode::CoordinatorNotAvailable,
                ErrorCode::CoordinatorLoadInProgress,
            ];
            if !passing.iter().any(|code| code.code() == answer.error_code) {
                return answer;
            }
            assert!(Instant::now() < until, "{answer:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Heartbeats until the answer is as wanted. The member says that it has what it was given.
    fn beat_until(
        &mut self,
        group: &str,
        last: &m::ConsumerGroupHeartbeatResponse,
        wanted: impl Fn(&m::ConsumerGroupHeartbeatResponse) -> bool,
    ) -> m::ConsumerGroupHeartbeatResponse {
        let until = Instant::now() + IN_TIME;
        let (mut epoch, mut owned) = (last.member_epoch, owned(last));
        loop {
            let request =
                m::ConsumerGroupHeartbeatRequest { topic_partitions: owned.take(), ..staying(group, epoch) };
            let answer = self.beat(&request);
            if wanted(&answer) {
                return answer;
            }
            assert_eq!(answer.error_code, 0, "{answer:?}");
            assert!(Instant::now() < until, "{answer:?}");
            (epoch, owned) = (answer.member_epoch, self::owned(&answer));
            std::thread::sleep(POLL);
        }
    }

    /// The offset of a partition that a group has committed.
    fn committed(&mut self, group: &str, topic: &str) -> i64 {
        let topic = fetch::OffsetFetchRequestTopics {
            name: topic.into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = fetch::OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let request = m::OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let answer = self.client.ask(&request, 8).expect("an answer");
        assert_eq!(answer.groups[0].error_code, 0);
        answer.groups[0].topics[0].partitions[0].committed_offset
    }
}

fn owned(answer: &m::ConsumerGroupHeartbeatResponse) -> Option<Vec<TopicPartitions>> {
    let of = |topic: &m::consumer_group_heartbeat_response::TopicPartitions| TopicPartitions {
        topic_id: topic.topic_id,
        partitions: topic.partitions.clone(),
        ..Default::default()
    };
    answer.assignment.as_ref().map(|has| has.topic_partitions.iter().map(of).collect())
}

fn joining(group: &str) -> m::ConsumerGroupHeartbeatRequest {
    m::ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        topic_partitions: Some(vec![]),
        ..staying(group, 0)
    }
}

fn staying(group: &str, epoch: i32) -> m::ConsumerGroupHeartbeatRequest {
    m::ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: "member".into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn partitions(answer: &m::ConsumerGroupHeartbeatResponse) -> usize {
    let topics = answer.assignment.iter().flat_map(|has| &has.topic_partitions);
    topics.map(|topic| topic.partitions.len()).sum()
}

/// What a group's own configuration says is so from the next heartbeat on, and no longer when it is taken back.
#[test]
fn configuration_of_a_group_is_obeyed_while_it_lives() {
    let bounds = [
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.min.heartbeat.interval.ms", "100"),
    ];
    let mut cluster = Cluster::start(&bounds);
    cluster.topic("t", 1);
    let names = |group| m::ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["t".into()]),
        ..joining(group)
    };
    let joined = cluster.beat(&names("own"));
    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 5000), "the broker's own");
    let other = cluster.beat(&names("other"));

    cluster.configure(
        "own",
        SET,
        &[("consumer.heartbeat.interval.ms", "700"), ("consumer.session.timeout.ms", "1500")],
    );
    let answer = cluster.beat_until("own", &joined, |answer| answer.heartbeat_interval_ms == 700);
    cluster.beat_until("other", &other, |answer| answer.heartbeat_interval_ms == 5000);

    // The session that this heartbeat has begun is the short one.
    std::thread::sleep(Duration::from_millis(2500));
    let late = cluster.beat(&staying("own", answer.member_epoch));
    assert_eq!(late.error_code, ErrorCode::UnknownMemberId.code(), "out after its own session time-out");
    let other_epoch = cluster.beat_until("other", &other, |answer| answer.error_code == 0).member_epoch;

    cluster.configure(
        "own",
        DELETE,
        &[("consumer.heartbeat.interval.ms", ""), ("consumer.session.timeout.ms", "")],
    );
    let joined = cluster.beat(&names("own"));
    let back = cluster.beat_until("own", &joined, |answer| answer.heartbeat_interval_ms == 5000);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(cluster.beat(&staying("own", back.member_epoch)).error_code, 0, "the long session again");
    assert_eq!(cluster.beat(&staying("other", other_epoch)).error_code, 0);
}

/// A pattern matches topics that are made after the member has joined, and those that go are taken away.
#[test]
fn patterns_follow_the_topics() {
    let mut cluster = Cluster::start(&[("group.consumer.assignment.interval.ms", "0")]);
    cluster.topic("orders-1", 2);
    cluster.topic("others", 2);
    let pattern =
        m::ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("orders-.*".into()), ..joining("p") };
    let joined = cluster.beat(&pattern);
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let one = match partitions(&joined) {
        2 => joined,
        _ => cluster.beat_until("p", &joined, |answer| partitions(answer) == 2),
    };
    cluster.topic("orders-2", 3);
    let two = cluster.beat_until("p", &one, |answer| partitions(answer) == 5);
    delete(&mut cluster, "orders-1");
    let three = cluster.beat_until("p", &two, |answer| partitions(answer) == 3);
    assert!(three.member_epoch >= two.member_epoch && two.member_epoch > one.member_epoch);
}

/// Offsets go with their topic, whether or not their group has members; a topic of the same name begins without any.
#[test]
fn offsets_of_a_deleted_topic_are_deleted() {
    let mut cluster = Cluster::start(&[]);
    cluster.topic("gone", 1);
    cluster.topic("stays", 1);
    let names = m::ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["gone".into(), "stays".into()]),
        ..joining("members")
    };
    let joined = cluster.beat(&names);
    let epochs = [("members", "member", joined.member_epoch), ("simple", "", -1)];
    for (group, member, epoch) in epochs {
        let find = m::FindCoordinatorRequest { key: group.into(), ..Default::default() };
        cluster.client.ask(&find, 3).expect("an answer");
        let request = m::OffsetCommitRequest {
            member_id: member.into(),
            generation_id_or_member_epoch: epoch,
            ..commits(group, &["gone", "stays"])
        };
        store(&mut cluster.client, &request);
    }
    for (group, ..) in epochs {
        assert_eq!((cluster.committed(group, "gone"), cluster.committed(group, "stays")), (7, 7), "{group}");
    }
    delete(&mut cluster, "gone");
    let until = Instant::now() + IN_TIME;
    for (group, ..) in epochs {
        while cluster.committed(group, "gone") != -1 {
            assert!(Instant::now() < until, "the offset of {group} is never deleted");
            std::thread::sleep(POLL);
        }
        assert_eq!(cluster.committed(group, "stays"), 7, "{group}");
    }
    cluster.topic("gone", 1);
    for (group, ..) in epochs {
        assert_eq!(cluster.committed(group, "gone"), -1, "{group}, of the new topic");
    }
}

/// `group.coordinator.append.linger.ms` gathers what comes meanwhile into one batch, and `offsets.topic.compression.codec` compresses it.
#[test]
fn commits_are_gathered_and_compressed_as_configured() {
    const LINGER: Duration = Duration::from_millis(400);
    const CLIENTS: usize = 8;
    let mut cluster = Cluster::start(&[
        ("group.coordinator.append.linger.ms", "400"),
        ("offsets.topic.compression.codec", "1"),
        ("offsets.topic.num.partitions", "1"),
    ]);
    cluster.topic("t", 1);
    // The coordinator is there, and rests.
    let joined = cluster.beat(&m::ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec!["t".into()]),
        ..joining("first")
    });
    assert_eq!(joined.error_code, 0);
    let address = cluster.target.bootstrap();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut connection = Connection::open(address.parse().expect("an address"));
            scope.spawn(move || store(&mut connection, &commits(&format!("g{client}"), &["t"])));
        }
    });
    let start = Instant::now();
    store(&mut cluster.client, &commits("alone", &["t"]));
    assert!(start.elapsed() >= LINGER, "answered before the linger was over");
    let batches = offsets_batches(&mut cluster.client);
    assert!(batches.iter().all(|batch| batch.header.compression() == Ok(Compression::Gzip)));
    let most = batches.iter().map(|batch| batch.header.record_count).max();
    assert!(most > Some(1), "no batch has more than {most:?} of {CLIENTS} commits that came together");
    for client in 0..CLIENTS {
        assert_eq!(cluster.committed(&format!("g{client}"), "t"), 7);
    }
}

/// What the only partition of `__consumer_offsets` holds.
fn offsets_batches(client: &mut Connection) -> Vec<Batch> {
    const MAX_BYTES: i32 = 1 << 20;
    let partition = m::fetch_request::FetchPartition {
        partition_max_bytes: MAX_BYTES,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let topic = m::fetch_request::FetchTopic {
        topic: "__consumer_offsets".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = m::FetchRequest {
        replica_id: -1,
        max_bytes: MAX_BYTES,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = client.ask(&request, 11).expect("an answer");
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let bytes = partition.records.clone().unwrap_or_default().into_bytes();
    parse_batches(bytes).map(|batch| batch.expect("a batch")).collect()
}

/// Offset 7 in partition 0 of each topic, by nobody in particular.
fn commits(group: &str, topics: &[&str]) -> m::OffsetCommitRequest {
    let partition = || commit::OffsetCommitRequestPartition { committed_offset: 7, ..Default::default() };
    let topic = |name: &&str| commit::OffsetCommitRequestTopic {
        name: (*name).into(),
        partitions: vec![partition()],
        ..Default::default()
    };
    m::OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: topics.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn store(client: &mut Connection, request: &m::OffsetCommitRequest) {
    let answer = client.ask(request, 9).expect("an answer");
    assert!(answer.topics.iter().all(|topic| topic.partitions[0].error_code == 0), "{answer:?}");
}

fn delete(cluster: &mut Cluster, topic: &str) {
    let names: Vec<Text> = vec![topic.into()];
    let request = m::DeleteTopicsRequest { topic_names: names, timeout_ms: 10_000, ..Default::default() };
    assert_eq!(cluster.client.ask(&request, 5).expect("an answer").responses[0].error_code, 0);
}

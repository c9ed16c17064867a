//! ConsumerGroupHeartbeat and ConsumerGroupDescribe: the consumer protocol (KIP-848).

use dohle_tests_protocol::run::Run;
use dohle_types::Uuid;
use dohle_wire::Text;
use dohle_wire::messages::ConsumerGroupHeartbeatResponse;
use dohle_wire::messages::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};

use crate::{classic, groups};

const REBALANCE_MS: i32 = 300_000;
/// The epoch of a member that leaves, and of a static one that leaves for a while.
const LEFT: i32 = -1;
const AWAY: i32 = -2;
/// More than enough for a member to have what it is to have.
const ATTEMPTS: usize = 200;

pub fn script(run: &mut Run) {
    malformed(run);
    run.end("consumer_heartbeat_malformed");
    lives(run);
    run.end("consumer_heartbeat_lives");
    fenced(run);
    run.end("consumer_heartbeat_fenced");
    static_members(run);
    run.end("consumer_heartbeat_static");
    full(run);
    run.end("consumer_heartbeat_full");
    subscriptions(run);
    run.end("consumer_heartbeat_subscriptions");
    between_protocols(run);
    run.end("consumer_and_classic");
}

pub fn joining(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: REBALANCE_MS,
        subscribed_topic_names: Some(topics.iter().map(|&topic| topic.into()).collect()),
        topic_partitions: Some(vec![]),
        ..Default::default()
    }
}

pub fn staying(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn tell(run: &mut Run, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    run.connection().ask(request, 1).expect("an answer")
}

/// Makes a member, and waits until it has an assignment.
pub fn member(run: &mut Run, group: &str, member: &str, topics: &[&str]) {
    let joined = tell(run, &joining(group, member, topics));
    assert_eq!(joined.error_code, 0, "{joined:?}");
    settle(run, group, member, joined);
}

/// Heartbeats until the answers say the same.
fn settle(run: &mut Run, group: &str, member: &str, mut last: ConsumerGroupHeartbeatResponse) -> i32 {
    let mut same = 0;
    for _ in 0..ATTEMPTS {
        let owned = last.assignment.as_ref().map(|assignment| {
            let topics = assignment.topic_partitions.iter().map(|topic| TopicPartitions {
                topic_id: topic.topic_id,
                partitions: topic.partitions.clone(),
                ..Default::default()
            });
            topics.collect()
        });
        let request = ConsumerGroupHeartbeatRequest {
            topic_partitions: owned,
            ..staying(group, member, last.member_epoch)
        };
        let next = tell(run, &request);
        assert_eq!(next.error_code, 0, "{next:?}");
        same = if next.assignment.is_none() && next.member_epoch == last.member_epoch { same + 1 } else { 0 };
        if same == 3 {
            return next.member_epoch;
        }
        last = next;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{member} of {group} does not settle: {last:?}")
}

/// The epoch of a member, as a description tells it.
pub fn epoch(run: &mut Run, group: &str, member: &str) -> i32 {
    let described = run.connection().ask(&groups::describing_consumers(&[group]), 1).expect("an answer");
    let members = &described.groups[0].members;
    members.iter().find(|known| known.member_id == member).expect("a member").member_epoch
}

pub fn leave(run: &mut Run, group: &str, member: &str) {
    let left = tell(run, &staying(group, member, LEFT));
    assert_eq!(left.error_code, 0, "{left:?}");
}

fn describe(run: &mut Run, name: &str, group: &str) {
    run.ask(&format!("{name}, described"), 1, &groups::describing_consumers(&[group]));
    run.ask(&format!("{name}, described as classic"), 6, &groups::describing(&[group]));
}

/// A request that is changed in one place.
fn with(
    mut request: ConsumerGroupHeartbeatRequest,
    change: impl FnOnce(&mut ConsumerGroupHeartbeatRequest),
) -> ConsumerGroupHeartbeatRequest {
    change(&mut request);
    request
}

/// What can be refused without looking at the group.
fn malformed(run: &mut Run) {
    let good = || joining("k-bad", "m", &["c-one"]);
    let cases = [
        ("no group", joining("", "m", &["c-one"])),
        ("a group of a blank", joining(" ", "m", &["c-one"])),
        ("no group, staying", staying("", "m", 3)),
        ("no member", staying("k-bad", "", 3)),
        ("a member of a blank", staying("k-bad", " ", 3)),
        ("no member, leaving", staying("k-bad", "", LEFT)),
        ("no member, away", staying("k-bad", "", AWAY)),
        ("a member of 36", joining("k-bad-36", &"m".repeat(36), &["c-one"])),
        ("a member of 37", joining("k-bad-37", &"m".repeat(37), &["c-one"])),
        ("a member of 1000", joining("k-bad-1000", &"m".repeat(1000), &["c-one"])),
        ("an empty instance", with(good(), |r| r.instance_id = Some("".into()))),
        ("an instance of a blank", with(good(), |r| r.instance_id = Some(" ".into()))),
        ("an empty rack", with(good(), |r| r.rack_id = Some("".into()))),
        ("a rack of a blank", with(good(), |r| r.rack_id = Some(" ".into()))),
        ("no rebalance time-out", with(good(), |r| r.rebalance_timeout_ms = -1)),
        ("no partitions", with(good(), |r| r.topic_partitions = None)),
        (
            "owned partitions",
            with(good(), |r| {
                r.topic_partitions =
                    Some(vec![TopicPartitions { partitions: vec![0], ..Default::default() }]);
            }),
        ),
        ("no subscription", with(good(), |r| r.subscribed_topic_names = None)),
        ("an unknown assignor", with(good(), |r| r.server_assignor = Some("mine".into()))),
        ("an empty assignor", with(good(), |r| r.server_assignor = Some("".into()))),
        ("an assignor in capitals", with(good(), |r| r.server_assignor = Some("UNIFORM".into()))),
        (
            "an unknown assignor, staying",
            with(staying("k-bad", "m", 3), |r| r.server_assignor = Some("mine".into())),
        ),
        ("an epoch of -3", staying("k-bad", "m", -3)),
        ("the least epoch", staying("k-bad", "m", i32::MIN)),
        ("away without an instance", staying("k-bad", "m", AWAY)),
        ("away with an instance", with(staying("k-bad", "m", AWAY), |r| r.instance_id = Some("i".into()))),
        ("leaving an unknown group", staying("k-bad", "m", LEFT)),
        ("an unknown group", staying("k-bad", "m", 3)),
        ("everything wrong", with(staying("", "", -9), |r| r.server_assignor = Some("mine".into()))),
    ];
    for (name, request) in cases {
        run.ask_in_all(name, &request);
    }
    for (name, timeout) in [("0", 0), ("-2", -2), ("the largest", i32::MAX)] {
        let request = with(joining(&format!("k-timeout-{timeout}"), "m", &["c-one"]), |r| {
            r.rebalance_timeout_ms = timeout
        });
        run.ask(&format!("a rebalance time-out of {name}"), 1, &request);
    }
    for pattern in
        ["", "(", "a{2,1}", "[z-a]", "\\p{none}", "(?=a)", "*", "a**", "\\", "(?P<x>a)(?P<x>b)", "x{1001}"]
    {
        let request = with(joining("k-pattern", "m", &[]), |r| {
            r.subscribed_topic_names = None;
            r.subscribed_topic_regex = Some(pattern.into());
        });
        run.ask(&format!("pattern '{pattern}'"), 1, &request);
    }
}

/// Members from their birth to their end, in each version.
fn lives(run: &mut Run) {
    run.topic("k-four", 4, &[]);
    for version in [0, 1] {
        let group = format!("k-life-{version}");
        let name = |what: &str| what.to_owned();
        let first = joining(&group, "a", &["k-four"]);
        let joined = run.ask(&name("joins"), version, &first).expect("an answer");
        let epoch = settle(run, &group, "a", joined);
        describe(run, &name(&format!("one, by v{version}")), &group);
        run.ask(&name("stays"), version, &staying(&group, "a", epoch));
        run.ask(&name("says all again"), version, &with(first.clone(), |r| r.member_epoch = epoch));
        run.ask(&name("joins again"), version, &first);
        let second =
            run.ask(&name("a second"), version, &joining(&group, "b", &["k-four"])).expect("an answer");
        assert_eq!(second.error_code, 0);
        let told = tell(run, &staying(&group, "a", epoch));
        run.answered::<ConsumerGroupHeartbeatRequest>(
            &name(&format!("v{version}: the first is told to give up")),
            1,
            &told,
        );
        settle(run, &group, "a", told);
        settle(run, &group, "b", second);
        let third = tell(run, &joining(&group, "c", &["k-four"]));
        assert_eq!(third.error_code, 0);
        run.ask(&name("a fourth"), version, &joining(&group, "d", &["k-four"]));
        run.ask(&name("leaves"), version, &staying(&group, "c", LEFT));
        run.ask(&name("leaves again"), version, &staying(&group, "c", LEFT));
        run.ask(&name("the second leaves"), version, &staying(&group, "b", LEFT));
        run.ask(&name("the first leaves"), version, &staying(&group, "a", LEFT));
        describe(run, &name(&format!("nobody, by v{version}")), &group);
        run.ask(&name("nobody, stays"), version, &staying(&group, "a", epoch));
    }
    run.ask("without an id", 0, &joining("k-given", "", &["k-four"]));
    run.ask("without an id", 1, &joining("k-given", "", &["k-four"]));
}

fn fenced(run: &mut Run) {
    let group = "k-fenced";
    member(run, group, "m", &["k-four"]);
    let now = epoch(run, group, "m");
    for (name, member, epoch) in [
        ("far before", "m", now - 5),
        ("to come", "m", now + 1),
        ("far to come", "m", i32::MAX),
        ("an unknown member", "other", now),
        ("an unknown member leaves", "other", LEFT),
        ("an unknown member goes away", "other", AWAY),
    ] {
        run.ask_in_all(name, &staying(group, member, epoch));
    }
    let instance =
        |request| with(request, |r: &mut ConsumerGroupHeartbeatRequest| r.instance_id = Some("i".into()));
    run.ask_in_all("an unknown instance", &instance(staying(group, "m", now)));
    run.ask_in_all("an unknown instance leaves", &instance(staying(group, "m", LEFT)));
    run.ask_in_all("an unknown instance goes away", &instance(staying(group, "m", AWAY)));
    let unknown = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def2);
    let owned = |id, partitions| {
        with(staying(group, "m", now), |r: &mut ConsumerGroupHeartbeatRequest| {
            r.topic_partitions =
                Some(vec![TopicPartitions { topic_id: id, partitions, ..Default::default() }]);
        })
    };
    run.ask_in_all("owns what is not there", &owned(unknown, vec![0, -1, 99]));
    describe(run, "after all of this", group);
    leave(run, group, "m");
    describe(run, "empty", group);
    for (name, request) in [
        ("empty, classic join", classic::joining(group, "")),
        ("empty, classic join of a member", classic::joining(group, "m")),
    ] {
        run.ask(name, 9, &request);
    }
}

fn static_members(run: &mut Run) {
    let group = "k-static";
    let is = |instance: &str, request| {
        with(request, |r: &mut ConsumerGroupHeartbeatRequest| r.instance_id = Some(instance.into()))
    };
    let joined = tell(run, &is("i", joining(group, "a", &["k-four"])));
    let now = settle(run, group, "a", joined);
    describe(run, "stable", group);
    run.ask_in_all("another takes the instance", &is("i", joining(group, "b", &["k-four"])));
    run.ask_in_all("another says it is the instance", &is("i", staying(group, "b", now)));
    run.ask_in_all("another leaves for the instance", &is("i", staying(group, "b", LEFT)));
    run.ask_in_all("another goes away for the instance", &is("i", staying(group, "b", AWAY)));
    run.ask_in_all("an unknown instance", &is("j", staying(group, "a", now)));
    run.ask_in_all("without its instance", &staying(group, "a", now));
    run.ask("goes away", 1, &is("i", staying(group, "a", AWAY)));
    describe(run, "away", group);
    run.ask("goes away again", 1, &is("i", staying(group, "a", AWAY)));
    run.ask("away, stays", 1, &is("i", staying(group, "a", now)));
    let back =
        run.ask("comes back as another", 1, &is("i", joining(group, "b", &["k-four"]))).expect("an answer");
    describe(run, "came back", group);
    run.ask("the one before", 1, &is("i", staying(group, "a", now)));
    run.ask("stays", 1, &is("i", staying(group, "b", back.member_epoch)));
    run.ask("leaves", 1, &is("i", staying(group, "b", LEFT)));
    describe(run, "left", group);
}

/// Three members are all that the group takes, whichever protocol the fourth speaks.
fn full(run: &mut Run) {
    let group = "k-full";
    for member in ["a", "b", "c"] {
        let joined = tell(run, &joining(group, member, &[]));
        assert_eq!(joined.error_code, 0, "{joined:?}");
    }
    run.ask_in_all("a fourth", &joining(group, "d", &[]));
    let is = with(joining(group, "d", &[]), |r| r.instance_id = Some("i".into()));
    run.ask_in_all("a fourth, with an instance", &is);
    run.ask_in_all("a fourth, by its epoch", &staying(group, "d", 1));
    run.ask_in_all("a fourth, classic", &classic::joining(group, ""));
    run.ask_in_all("a fourth, classic, with an id", &classic::joining(group, "m"));
}

fn subscriptions(run: &mut Run) {
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| Text::from(text)).collect::<Vec<_>>());
    let cases: &[(&str, &[&str])] = &[
        ("nothing", &[]),
        ("what is not there", &["k-none"]),
        ("what cannot be", &["a b", "", ".."]),
        ("twice", &["k-four", "k-four"]),
        ("two", &["k-four", "c-one"]),
        ("an internal topic", &["__consumer_offsets"]),
    ];
    for (n, (name, topics)) in cases.iter().enumerate() {
        let group = format!("k-subscribed-{n}");
        run.ask(&format!("{name}, joins"), 1, &joining(&group, "m", topics));
        let now = epoch(run, &group, "m");
        settle_from(run, &group, now);
        describe(run, name, &group);
        let changed = with(staying(&group, "m", epoch(run, &group, "m")), |r| {
            r.subscribed_topic_names = texts(&["c-one"]);
        });
        run.ask(&format!("{name}, then another"), 1, &changed);
    }
    for assignor in ["uniform", "range"] {
        let group = format!("k-assignor-{assignor}");
        let request =
            with(joining(&group, "m", &["k-four", "c-one"]), |r| r.server_assignor = Some(assignor.into()));
        run.ask(&format!("assignor {assignor}"), 1, &request);
        let now = epoch(run, &group, "m");
        settle_from(run, &group, now);
        describe(run, &format!("assignor {assignor}"), &group);
    }
    let racked = with(joining("k-rack", "m", &["c-one"]), |r| r.rack_id = Some("r".into()));
    run.ask("a rack", 1, &racked);
    describe(run, "a rack", "k-rack");
}

fn settle_from(run: &mut Run, group: &str, epoch: i32) {
    let told = tell(run, &staying(group, "m", epoch));
    settle(run, group, "m", told);
}

/// What one protocol says of groups that speak the other.
fn between_protocols(run: &mut Run) {
    member(run, "k-new", "m", &["k-four"]);
    let now = epoch(run, "k-new", "m");
    let mine = |group: &str| dohle_wire::messages::join_group_request::JoinGroupRequest {
        protocol_type: "mine".into(),
        protocols: vec![classic::protocol("mine", bytes::Bytes::new())],
        ..classic::joining(group, "")
    };
    run.ask_in_all("consumers, a classic member of another type", &mine("k-new"));
    run.ask_in_all("consumers, a classic member that is unknown", &classic::joining("k-new", "x"));
    run.ask_in_all("consumers, a classic member that is a consumer", &classic::joining("k-new", "m"));
    run.ask_in_all("consumers, heartbeat", &classic::beating("k-new", now, "m"));
    run.ask_in_all("consumers, heartbeat of an unknown one", &classic::beating("k-new", now, "x"));
    let joined = dohle_wire::messages::JoinGroupResponse {
        member_id: "m".into(),
        generation_id: now,
        ..Default::default()
    };
    run.ask("consumers, sync", 5, &classic::syncing("k-new", &joined));
    describe(run, "consumers", "k-new");
    classic::stable(run, "k-mine", mine("k-mine"));
    run.ask_in_all("another type, a consumer", &joining("k-mine", "m", &["k-four"]));
    run.ask_in_all("another type, a consumer stays", &staying("k-mine", "m", 1));
    run.ask_in_all("another type, a consumer leaves", &staying("k-mine", "m", LEFT));
    let old = classic::stable(run, "k-old", classic::joining("k-old", ""));
    run.ask_in_all("classic, a consumer stays", &staying("k-old", &old.member_id, 1));
    run.ask_in_all("classic, a consumer leaves", &staying("k-old", "m", LEFT));
    describe(run, "classic", "k-old");
    run.ask("classic, a consumer joins", 1, &joining("k-old", "m", &["c-one"]));
    describe(run, "upgraded", "k-old");
    run.ask(
        "upgraded, heartbeat of the classic one",
        4,
        &classic::beating("k-old", old.generation_id, &old.member_id),
    );
    run.ask("upgraded, the consumer leaves", 1, &staying("k-old", "m", LEFT));
    describe(run, "downgraded", "k-old");
}

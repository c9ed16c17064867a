//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

use bytes::Bytes;
use dohle_tests_protocol::connection::all_versions;
use dohle_tests_protocol::run::Run;
use dohle_wire::ApiKey;
use dohle_wire::messages::heartbeat_request::HeartbeatRequest;
use dohle_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use dohle_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use dohle_wire::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use dohle_wire::messages::{JoinGroupResponse, describe_groups_request::DescribeGroupsRequest};

/// Longer than a run takes.
const SESSION_MS: i32 = 300_000;
/// A client that has no id yet is given one, from JoinGroup v4 on.
const MEMBER_ID_REQUIRED: i16 = 79;
/// The protocol of Java's default assignor.
const RANGE: &str = "range";

pub fn script(run: &mut Run) {
    run.topic("c-one", 1, &[]);
    lives(run);
    run.end("group_lives");
    join(run);
    run.end("join_group");
    two_members(run);
    run.end("join_group_two");
    full(run);
    run.end("join_group_full");
    static_members(run);
    run.end("join_group_static");
    members_only(run);
    run.end("sync_heartbeat_leave");
}

/// What a consumer says that it wants to read (`ConsumerProtocolSubscription` v0).
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).expect("few topics").to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).expect("a name").to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    bytes.into()
}

pub fn protocol(name: &str, metadata: Bytes) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata, ..Default::default() }
}

pub fn joining(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol(RANGE, subscription(&["c-one"]))],
        ..Default::default()
    }
}

/// The leader is given `c-one`, the others nothing (`ConsumerProtocolAssignment` v0).
pub fn syncing(group: &str, joined: &JoinGroupResponse) -> SyncGroupRequest {
    const ONE: &[u8] = b"\0\0\0\0\0\x01\0\x05c-one\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
    const NOTHING: &[u8] = b"\0\0\0\0\0\0\xff\xff\xff\xff";
    let assignments = joined.members.iter().map(|member| SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: Bytes::from_static(if member.member_id == joined.leader { ONE } else { NOTHING }),
        ..Default::default()
    });
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some(RANGE.into()),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

/// A request as its version can say it: what older ones have no field for is left out.
fn sync_in(version: i16, mut request: SyncGroupRequest) -> SyncGroupRequest {
    if version < 5 {
        (request.protocol_type, request.protocol_name) = (None, None);
    }
    request
}

pub fn beating(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest { group_id: group.into(), generation_id, member_id: member.into(), ..Default::default() }
}

fn leaving(group: &str, version: i16, member: &str) -> LeaveGroupRequest {
    if version < 3 {
        return LeaveGroupRequest { group_id: group.into(), member_id: member.into(), ..Default::default() };
    }
    leaving_all(group, &[(member, None)])
}

fn leaving_all(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let members = members.iter().map(|(member, instance)| MemberIdentity {
        member_id: (*member).into(),
        group_instance_id: instance.map(Into::into),
        ..Default::default()
    });
    LeaveGroupRequest { group_id: group.into(), members: members.collect(), ..Default::default() }
}

/// Makes a stable group of one member, whose answer is told.
pub fn stable(run: &mut Run, group: &str, request: JoinGroupRequest) -> JoinGroupResponse {
    let mut joined = run.connection().ask(&request, 9).expect("an answer");
    if joined.error_code == MEMBER_ID_REQUIRED {
        let request = JoinGroupRequest { member_id: joined.member_id, ..request };
        joined = run.connection().ask(&request, 9).expect("an answer");
    }
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let synced = run.connection().ask(&sync_in(4, syncing(group, &joined)), 4).expect("an answer");
    assert_eq!(synced.error_code, 0, "{synced:?}");
    joined
}

fn describe(run: &mut Run, name: &str, group: &str) {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    run.ask(&format!("{name}, described"), 6, &request);
}

/// A group of one member from its birth to its end, in each version.
fn lives(run: &mut Run) {
    for version in all_versions(ApiKey::JoinGroup) {
        let group = format!("c-life-{version}");
        let name = |what: &str| format!("with JoinGroup v{version}, {what}");
        let mut joined = run.ask(&name("a member"), version, &joining(&group, "")).expect("an answer");
        if joined.error_code == MEMBER_ID_REQUIRED {
            let again = joining(&group, &joined.member_id);
            joined = run.ask(&name("a member with its id"), version, &again).expect("an answer");
        }
        describe(run, &name("joined"), &group);
        let member = joined.member_id.clone();
        let beat = beating(&group, joined.generation_id, &member);
        run.ask(&name("before it syncs, heartbeat"), version.min(4), &beat);
        let sync_version = version.min(5);
        let sync = sync_in(sync_version, syncing(&group, &joined));
        run.ask(&name("sync"), sync_version, &sync);
        run.ask(&name("sync again"), sync_version, &sync);
        describe(run, &name("synced"), &group);
        run.ask_in_all(&name("heartbeat"), &beat);
        // The leader that says the same starts another round.
        let again = run.ask(&name("joins again"), version, &joining(&group, &member)).expect("an answer");
        run.ask(&name("sync of the round before"), sync_version, &sync);
        run.ask(&name("sync of this round"), sync_version, &sync_in(sync_version, syncing(&group, &again)));
        let leave_version = version.min(5);
        run.ask(&name("leave"), leave_version, &leaving(&group, leave_version, &member));
        run.ask(&name("leave again"), leave_version, &leaving(&group, leave_version, &member));
        run.ask(&name("gone, heartbeat"), version.min(4), &beat);
        run.ask(&name("gone, sync"), sync_version, &sync);
        run.ask(&name("gone, joins"), version, &joining(&group, &member));
        describe(run, &name("gone"), &group);
    }
}

fn join(run: &mut Run) {
    let group = "c-join";
    run.ask_in_all("no group", &joining("", ""));
    run.ask_in_all("no group, a member", &joining("", "m"));
    run.ask_in_all("an unknown member", &joining("c-join-none", "m"));
    run.ask_in_all("a group of a blank", &joining(" ", "m"));
    for session in [5999, 1_800_001, 0, -1, i32::MIN, i32::MAX] {
        let request = JoinGroupRequest { session_timeout_ms: session, ..joining("c-join-none", "") };
        run.ask_in_all(&format!("a session of {session}"), &request);
    }
    for session in [6000, 1_800_000] {
        let group = format!("c-join-{session}");
        let request = JoinGroupRequest { session_timeout_ms: session, ..joining(&group, "") };
        run.ask(&format!("a session of {session}"), 9, &request);
        run.ask(&format!("a session of {session}"), 3, &request);
    }
    for rebalance in [0, -1, i32::MIN] {
        let group = format!("c-join-rebalance{rebalance}");
        let request = JoinGroupRequest { rebalance_timeout_ms: rebalance, ..joining(&group, "") };
        run.ask(&format!("a rebalance within {rebalance}"), 9, &request);
    }
    let bad = [
        ("no protocols", JoinGroupRequest { protocols: vec![], ..joining("c-join-none", "") }),
        ("no type", JoinGroupRequest { protocol_type: "".into(), ..joining("c-join-none", "") }),
        (
            "a protocol without a name",
            JoinGroupRequest {
                protocols: vec![protocol("", Bytes::new())],
                ..joining("c-join-nameless", "")
            },
        ),
        (
            "a protocol twice",
            JoinGroupRequest {
                protocols: vec![protocol("a", Bytes::new()), protocol("a", Bytes::from_static(b"1"))],
                ..joining("c-join-twice", "")
            },
        ),
        (
            "of a type of its own, without metadata",
            JoinGroupRequest {
                protocol_type: "mine".into(),
                protocols: vec![protocol("mine", Bytes::new())],
                ..joining("c-join-mine", "")
            },
        ),
    ];
    for (name, request) in bad {
        // Before v4 Kafka fails over a protocol that is named twice while it forms the group, and answers nothing.
        let versions: &[i16] = if name == "a protocol twice" { &[4, 9] } else { &[0, 3, 4, 9] };
        for &version in versions {
            let request = JoinGroupRequest {
                group_id: format!("{}-{version}", request.group_id).into(),
                ..request.clone()
            };
            run.ask(name, version, &request);
        }
    }
    let member = stable(run, group, joining(group, "")).member_id;
    run.ask_in_all(
        "of another type",
        &JoinGroupRequest { protocol_type: "connect".into(), ..joining(group, "") },
    );
    run.ask_in_all(
        "no protocol in common",
        &JoinGroupRequest { protocols: vec![protocol("mine", Bytes::new())], ..joining(group, "") },
    );
    run.ask_in_all("not its member", &joining(group, "m"));
    run.ask_in_all(
        "its member, without protocols",
        &JoinGroupRequest { protocols: vec![], ..joining(group, &member) },
    );
    run.ask_in_all(
        "its member, of another type",
        &JoinGroupRequest { protocol_type: "connect".into(), ..joining(group, &member) },
    );
    describe(run, "after all of this", group);
    // Members with ids that were given and not used count.
    for n in 0..4 {
        run.ask(&format!("an id for number {n}"), 9, &joining("c-join-many", ""));
    }
    run.ask(
        "reason",
        8,
        &JoinGroupRequest { reason: Some("x".repeat(255).into()), ..joining("c-join-reason", "") },
    );
    run.ask(
        "a long reason",
        9,
        &JoinGroupRequest { reason: Some("x".repeat(300).into()), ..joining("c-join-reason", "") },
    );
}

/// A second member makes the first one join again.
fn two_members(run: &mut Run) {
    let group = "c-two";
    let first = stable(run, group, joining(group, ""));
    let beat = beating(group, first.generation_id, &first.member_id);
    let id = run.ask("a second, without an id", 9, &joining(group, "")).expect("an answer").member_id;
    let mut second = run.another();
    let frame = second.frame(&joining(group, &id), 9).expect("a request of this version");
    second.send(&frame);
    let mut answer = 0;
    for _ in 0..200 {
        answer = run.connection().ask(&beat, 4).expect("an answer").error_code;
        if answer != 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.note("the first one's heartbeat", vec![format!(": error_code={answer}")]);
    run.ask_in_all("heartbeat while it rebalances", &beat);
    for version in all_versions(ApiKey::SyncGroup) {
        let sync = sync_in(version, syncing(group, &first));
        run.ask("sync while it rebalances", version, &sync);
    }
    describe(run, "while it rebalances", group);
    let again = run.ask("the first one again", 9, &joining(group, &first.member_id)).expect("an answer");
    let joined = second.response::<JoinGroupRequest>(9).expect("an answer");
    run.answered::<JoinGroupRequest>("the second one", 9, &joined);
    let (leader, follower) = if again.members.is_empty() { (&joined, &again) } else { (&again, &joined) };
    describe(run, "before the leader syncs", group);
    run.ask("the leader's sync", 5, &syncing(group, leader));
    run.ask("the follower's sync", 5, &syncing(group, follower));
    let follower_joins = run.ask("the follower says the same", 9, &joining(group, &follower.member_id));
    assert_eq!(follower_joins.expect("an answer").error_code, 0);
    for version in [2, 3, 5] {
        run.ask("the leader, of the generation before", version.min(4), &beat);
    }
    describe(run, "two", group);
    run.ask(
        "both leave",
        5,
        &leaving_all(group, &[(&leader.member_id, None), (&follower.member_id, None), ("nobody", None)]),
    );
    describe(run, "nobody left", group);
}

/// Three members are all that the group takes.
fn full(run: &mut Run) {
    let group = "c-full";
    let first = stable(run, group, joining(group, ""));
    // An id that was given is waited for, so that all three are in one generation.
    let ids = [(); 2].map(|()| run.connection().ask(&joining(group, ""), 9).expect("an answer").member_id);
    let mut others = ids.map(|id| {
        let mut connection = run.another();
        let frame = connection.frame(&joining(group, &id), 9).expect("a request of this version");
        connection.send(&frame);
        connection
    });
    let beat = beating(group, first.generation_id, &first.member_id);
    while run.connection().ask(&beat, 4).expect("an answer").error_code == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut joined = vec![run.connection().ask(&joining(group, &first.member_id), 9).expect("an answer")];
    joined.extend(others.iter_mut().map(|other| other.response::<JoinGroupRequest>(9).expect("an answer")));
    joined.sort_by_key(|joined| joined.members.is_empty());
    for joined in &joined {
        let synced = run.connection().ask(&syncing(group, joined), 5).expect("an answer");
        assert_eq!((joined.error_code, synced.error_code), (0, 0), "{joined:?}");
    }
    run.ask_in_all("a fourth", &joining(group, ""));
    run.ask_in_all("a fourth, with an id of its own", &joining(group, "m"));
    let of =
        |instance: &str| JoinGroupRequest { group_instance_id: Some(instance.into()), ..joining(group, "") };
    for version in [5, 7, 9] {
        run.ask("a fourth, with an instance", version, &of("i-4"));
    }
    let in_it = JoinGroupRequest { protocols: vec![], ..joining(group, &joined[1].member_id) };
    run.ask_in_all("one of the three, without protocols", &in_it);
}

fn static_members(run: &mut Run) {
    let group = "c-static";
    let of = |group: &str, member: &str, instance: &str| JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        ..joining(group, member)
    };
    for (n, instance) in
        ["", " ", ".", "..", "a b", "ä", &"x".repeat(249), &"x".repeat(250)].iter().enumerate()
    {
        let group = format!("c-static-{n}");
        run.ask(&format!("instance '{instance}'"), 5, &of(&group, "", instance));
        run.ask(&format!("instance '{instance}'"), 9, &of(&group, "", instance));
    }
    let joined = run.ask("joins", 9, &of(group, "", "i-1")).expect("an answer");
    let sync = SyncGroupRequest { group_instance_id: Some("i-1".into()), ..syncing(group, &joined) };
    run.ask("syncs", 5, &sync);
    describe(run, "stable", group);
    let member = joined.member_id;
    let beat = |member: &str, instance: &str| HeartbeatRequest {
        group_instance_id: Some(instance.into()),
        ..beating(group, joined.generation_id, member)
    };
    run.ask("heartbeat", 4, &beat(&member, "i-1"));
    for version in [3, 4] {
        run.ask("heartbeat, another member", version, &beat("other", "i-1"));
        run.ask("heartbeat, another instance", version, &beat(&member, "i-2"));
        run.ask("heartbeat, no member", version, &beat("", "i-1"));
    }
    for version in [3, 4, 5] {
        let wrong = |member: &str, instance: &str| {
            sync_in(
                version,
                SyncGroupRequest {
                    member_id: member.into(),
                    group_instance_id: Some(instance.into()),
                    ..sync.clone()
                },
            )
        };
        run.ask("sync, another member", version, &wrong("other", "i-1"));
        run.ask("sync, another instance", version, &wrong(&member, "i-2"));
    }
    for version in [5, 7, 9] {
        run.ask("joins, another member", version, &of(group, "other", "i-1"));
        run.ask("joins, another instance", version, &of(group, &member, "i-2"));
    }
    let back = run.ask("comes back", 9, &of(group, "", "i-1")).expect("an answer");
    run.ask("heartbeat of the one before", 4, &beat(&member, "i-1"));
    run.ask("sync of the one before", 5, &sync);
    run.ask("leave of the one before", 5, &leaving_all(group, &[(&member, Some("i-1"))]));
    let renewed = SyncGroupRequest { member_id: back.member_id.clone(), ..sync.clone() };
    run.ask("sync of the one that came back", 5, &renewed);
    let back = run.ask("comes back, v8", 8, &of(group, "", "i-1")).expect("an answer");
    run.ask("heartbeat", 4, &beat(&back.member_id, "i-1"));
    describe(run, "came back", group);
    for version in [3, 4, 5] {
        run.ask("leave, unknown instance", version, &leaving_all(group, &[("", Some("i-9"))]));
        run.ask("leave, another member's", version, &leaving_all(group, &[("other", Some("i-1"))]));
    }
    run.ask("leave by instance", 5, &leaving_all(group, &[("", Some("i-1")), ("", Some("i-1"))]));
    describe(run, "left", group);
}

/// The APIs of those that are members already.
fn members_only(run: &mut Run) {
    let group = "c-member";
    let joined = stable(run, group, joining(group, ""));
    let (member, generation) = (joined.member_id.clone(), joined.generation_id);
    for (name, request) in [
        ("no group", beating("", generation, &member)),
        ("unknown group", beating("c-none", generation, &member)),
        ("no member", beating(group, generation, "")),
        ("unknown member", beating(group, generation, "m")),
        ("a generation before", beating(group, generation - 1, &member)),
        ("a generation to come", beating(group, generation + 1, &member)),
        ("a generation of -1", beating(group, -1, &member)),
        ("an unknown member and generation", beating(group, -7, "m")),
    ] {
        run.ask_in_all(&format!("heartbeat, {name}"), &request);
    }
    let sync = SyncGroupRequest { assignments: vec![], ..syncing(group, &joined) };
    let with = |change: &dyn Fn(&mut SyncGroupRequest)| {
        let mut request = sync.clone();
        change(&mut request);
        request
    };
    let cases = [
        ("no group", with(&|sync| sync.group_id = "".into())),
        ("unknown group", with(&|sync| sync.group_id = "c-none".into())),
        ("no member", with(&|sync| sync.member_id = "".into())),
        ("unknown member", with(&|sync| sync.member_id = "m".into())),
        ("a generation before", with(&|sync| sync.generation_id -= 1)),
        ("a generation to come", with(&|sync| sync.generation_id += 1)),
        ("a generation of -1", with(&|sync| sync.generation_id = -1)),
        ("no type", with(&|sync| sync.protocol_type = None)),
        ("no name", with(&|sync| sync.protocol_name = None)),
        ("another type", with(&|sync| sync.protocol_type = Some("connect".into()))),
        ("another name", with(&|sync| sync.protocol_name = Some("roundrobin".into()))),
        ("an empty type", with(&|sync| sync.protocol_type = Some("".into()))),
    ];
    for (name, request) in cases {
        for version in all_versions(ApiKey::SyncGroup) {
            run.ask(&format!("sync, {name}"), version, &sync_in(version, request.clone()));
        }
    }
    for version in all_versions(ApiKey::LeaveGroup) {
        for (name, group, member) in [
            ("no group", "", "m"),
            ("unknown group", "c-none", "m"),
            ("no member", group, ""),
            ("unknown member", group, "m"),
        ] {
            run.ask(&format!("leave, {name}"), version, &leaving(group, version, member));
        }
    }
    for version in [3, 4, 5] {
        run.ask("leave, nobody", version, &leaving_all(group, &[]));
        run.ask("leave, nobody of an unknown group", version, &leaving_all("c-none", &[]));
        run.ask("leave, two unknown", version, &leaving_all(group, &[("m", None), ("n", Some("i"))]));
        run.ask("leave, the member with an instance", version, &leaving_all(group, &[(&member, Some("i"))]));
    }
    run.ask("leave, the member twice", 5, &leaving_all(group, &[(&member, None), (&member, None)]));
    describe(run, "left", group);
}

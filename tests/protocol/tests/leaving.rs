//! A member that leaves is gone, in whichever version of LeaveGroup its client says so: the early ones name one member, the later
//! ones a list.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests use the world as it is

use std::time::{Duration, Instant};

use dohle_tests_clients::target::{Given, Target};
use dohle_tests_protocol::connection::{Connection, all_versions};
use dohle_types::ErrorCode;
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use dohle_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use dohle_wire::{ApiKey, Text};

/// The last version in which a newcomer is let in without coming twice.
const JOIN: i16 = 3;
/// From this version on a request names several members.
const LIST_SINCE: i16 = 3;
const IN_TIME: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

#[test]
fn in_every_version() {
    let target = Target::with(Given::ByFile, &[("group.initial.rebalance.delay.ms", "0")]);
    let mut client = Connection::open(target.bootstrap().parse().expect("an address"));
    for version in all_versions(ApiKey::LeaveGroup) {
        let group = format!("group-{version}");
        let member = join(&mut client, &group);
        let answers =
            [&member, &member, &Text::from("nobody")].map(|id| leave(&mut client, version, &group, id));
        let unknown = ErrorCode::UnknownMemberId.code();
        assert_eq!(
            answers,
            [0, unknown, unknown],
            "leaving, leaving again, and a stranger: version {version}"
        );
        assert_eq!(leave(&mut client, version, "none", &member), unknown, "no such group: version {version}");
    }
}

/// The id of a member that a group has let in. The coordinator may have to be made first.
fn join(client: &mut Connection, group: &str) -> Text {
    let protocol = JoinGroupRequestProtocol { name: "any".into(), ..Default::default() };
    let request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    };
    let until = Instant::now() + IN_TIME;
    loop {
        find(client, group);
        let joined = client.ask(&request, JOIN).expect("an answer");
        if joined.error_code == ErrorCode::None.code() {
            return joined.member_id;
        }
        assert!(Instant::now() < until, "{group}: {joined:?}");
        std::thread::sleep(POLL);
    }
}

/// Asking for its coordinator makes the topic of groups.
fn find(client: &mut Connection, group: &str) {
    let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
    client.ask(&request, 3).expect("an answer");
}

/// What is said of a member that wants to leave.
fn leave(client: &mut Connection, version: i16, group: &str, member: &Text) -> i16 {
    let group_id: Text = group.into();
    let request = if version < LIST_SINCE {
        LeaveGroupRequest { group_id, member_id: member.clone(), ..Default::default() }
    } else {
        let members = vec![MemberIdentity { member_id: member.clone(), ..Default::default() }];
        LeaveGroupRequest { group_id, members, ..Default::default() }
    };
    let said = client.ask(&request, version).expect("an answer");
    if version < LIST_SINCE {
        return said.error_code;
    }
    assert_eq!((said.error_code, said.members.len()), (0, 1), "{said:?}");
    said.members[0].error_code
}

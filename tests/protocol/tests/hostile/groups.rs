//! Requests about groups that mean harm.

use bytes::Bytes;
use dohle_wire::Text;
use dohle_wire::messages::delete_groups_request::DeleteGroupsRequest;
use dohle_wire::messages::describe_groups_request::DescribeGroupsRequest;
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use dohle_wire::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::*;

/// How often the attacks are repeated.
const ROUNDS: usize = 4;
/// What the broker may hold after any round. The allocator keeps what each core has needed once, which some rounds show later.
const AFTER_A_ROUND: u64 = REQUEST_BUDGET + 2 * ABOVE_BUDGET;
/// The shortest session that a broker grants.
const SESSION: Duration = Duration::from_secs(6);

#[test]
fn attacks_on_groups_again_and_again() {
    let broker = Broker::start();
    let attacks: &[(&str, Attack)] = &[
        ("huge counts", huge_counts_about_groups),
        ("many groups at once", many_groups_at_once),
        ("member ids without end", member_ids_without_end),
        ("large subscriptions", large_subscriptions),
    ];
    let mut after = Vec::new();
    for round in 1..=ROUNDS {
        for (name, attack) in attacks {
            attack(&broker);
            broker.serves(&format!("after {name}"));
        }
        // The members' sessions run out.
        std::thread::sleep(SESSION + Duration::from_secs(2));
        println!("round {round}: {} MiB", broker.memory() >> 20);
        after.push(broker.memory());
    }
    assert!(after.iter().all(|bytes| *bytes < AFTER_A_ROUND), "bytes after each round: {after:?}");
    let log = std::fs::read_to_string(broker.target.folder().join("broker.log")).expect("the broker's log");
    assert!(!log.contains("panicked"), "the broker panicked:\n{log}");
}

/// Counts of members, protocols, topics and groups, each where its API has it.
fn huge_counts_about_groups(broker: &Broker) {
    let before = broker.memory();
    let (empty, number) = ([0u8, 0], [0u8; 4]);
    let old: &[(i16, i16, &[&[u8]])] = &[
        (8, 2, &[&empty, &number, &empty, &number, &number]),
        (9, 2, &[&empty]),
        (11, 2, &[&empty, &number, &number, &empty, &empty]),
        (13, 3, &[&empty]),
        (14, 1, &[&empty, &number, &empty]),
        (15, 1, &[]),
        (42, 1, &[]),
        (47, 0, &[&empty]),
    ];
    for (key, version, fields) in old {
        for count in [i32::MAX, 1 << 24] {
            let frame = [head(*key, *version, 1), fields.concat(), count.to_be_bytes().to_vec()].concat();
            closes_after(broker, &framed(&frame));
        }
    }
    // Compact counts follow the header's tags; an empty text is a 1, a null a 0.
    let compact: &[(i16, i16, &[u8])] = &[
        (8, 8, &[1, 0, 0, 0, 0, 1, 0]),
        (9, 8, &[]),
        (10, 4, &[0]),
        (11, 6, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]),
        (13, 4, &[1]),
        (14, 4, &[1, 0, 0, 0, 0, 1, 0]),
        (15, 5, &[]),
        (16, 4, &[]),
        (42, 2, &[]),
        (68, 1, &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (69, 0, &[]),
    ];
    for (key, version, fields) in compact {
        for count in [[0xff, 0xff, 0xff, 0xff, 0x0f], [0x80, 0x80, 0x80, 0x08, 0], [0xff; 5]] {
            let frame = [head(*key, *version, 1), vec![0], fields.to_vec(), count.to_vec()].concat();
            closes_after(broker, &framed(&frame));
        }
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "counts alone cost {} KiB", grown >> 10);
}

fn many_groups_at_once(broker: &Broker) {
    let groups: Vec<Text> = (0..50_000).map(|n| format!("group-{n}").into()).collect();
    let mut waiting: Vec<(Connection, &str)> = Vec::new();
    let mut send = |what: &'static str, frame: &dyn Fn(&mut Connection) -> Option<Bytes>| {
        let mut client = broker.client();
        let frame = frame(&mut client).expect("a request of this version");
        client.send(&frame);
        waiting.push((client, what));
    };
    let keys = FindCoordinatorRequest { coordinator_keys: groups.clone(), ..Default::default() };
    send("find", &|client| client.frame(&keys, 4));
    let describe = DescribeGroupsRequest { groups: groups.clone(), ..Default::default() };
    send("describe", &|client| client.frame(&describe, 5));
    let delete = DeleteGroupsRequest { groups_names: groups.clone(), ..Default::default() };
    send("delete", &|client| client.frame(&delete, 2));
    let all =
        groups.iter().map(|group| OffsetFetchRequestGroup { group_id: group.clone(), ..Default::default() });
    let fetch = OffsetFetchRequest { groups: all.collect(), ..Default::default() };
    send("fetch", &|client| client.frame(&fetch, 8));
    for (mut client, what) in waiting {
        assert!(client.receive().is_some(), "{what}: no answer about 50,000 groups");
    }
}

fn joining(group: &str, member: &str, metadata: Bytes) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION.as_millis() as i32,
        rebalance_timeout_ms: SESSION.as_millis() as i32,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata, ..Default::default() }],
        ..Default::default()
    }
}

/// Clients that ask for a member id, and never come back with it.
fn member_ids_without_end(broker: &Broker) {
    let before = broker.memory();
    let mut client = broker.client();
    for n in 0..20_000 {
        let group = format!("ids-{}", n % 10);
        let answer = client.ask(&joining(&group, "", Bytes::new()), 9).expect("an answer");
        assert_eq!(answer.error_code, 79, "the client is given an id");
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "20,000 ids cost {} MiB", grown >> 20);
}

/// Subscriptions that no record of the group can hold.
fn large_subscriptions(broker: &Broker) {
    let before = broker.memory();
    for n in 0..20 {
        let mut client = broker.client();
        let metadata = Bytes::from(vec![0; 8 << 20]);
        let frame = client.frame(&joining(&format!("large-{n}"), "", metadata), 0).expect("a request");
        client.send(&frame);
        assert!(client.receive().is_some(), "a large subscription is answered");
    }
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 512 << 20, "20 subscriptions of 8 MiB cost {} MiB", grown >> 20);
}

//! FindCoordinator, and the APIs about groups of both kinds: ListGroups, DescribeGroups, ConsumerGroupDescribe, DeleteGroups.

use std::time::Duration;

use dohle_tests_protocol::connection::all_versions;
use dohle_tests_protocol::run::Run;
use dohle_wire::messages::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use dohle_wire::messages::delete_groups_request::DeleteGroupsRequest;
use dohle_wire::messages::describe_groups_request::DescribeGroupsRequest;
use dohle_wire::messages::find_coordinator_request::FindCoordinatorRequest;
use dohle_wire::messages::leave_group_request::LeaveGroupRequest;
use dohle_wire::messages::list_groups_request::ListGroupsRequest;
use dohle_wire::messages::offset_delete_request::OffsetDeleteRequest;
use dohle_wire::{ApiKey, Text};

use crate::{classic, consumer_groups, offsets};

/// More than enough for the coordinator's topic to be made and loaded.
const ATTEMPTS: usize = 500;

/// What is answered as long as nobody has asked for a coordinator.
pub fn before_the_topic(run: &mut Run) {
    for (name, group) in [("no group", ""), ("a group", "g-early")] {
        run.ask_in_all(&format!("{name}, join"), &classic::joining(group, ""));
        run.ask_in_all(&format!("{name}, heartbeat"), &classic::beating(group, 1, "m"));
        let joined = dohle_wire::messages::JoinGroupResponse { member_id: "m".into(), ..Default::default() };
        run.ask(&format!("{name}, sync"), 5, &classic::syncing(group, &joined));
        let leave = LeaveGroupRequest { group_id: group.into(), ..Default::default() };
        run.ask_in_all(&format!("{name}, leave"), &leave);
        for version in all_versions(ApiKey::OffsetFetch) {
            run.ask(&format!("{name}, fetch all"), version, &offsets::fetching(version, group, None));
        }
        let delete = OffsetDeleteRequest { group_id: group.into(), ..Default::default() };
        run.ask_in_all(&format!("{name}, delete offsets"), &delete);
        run.ask_in_all(&format!("{name}, delete"), &deleting(&[group]));
        run.ask_in_all(&format!("{name}, describe"), &describing(&[group]));
        run.ask_in_all(&format!("{name}, describe a consumer group"), &describing_consumers(&[group]));
        run.ask_in_all(&format!("{name}, consumer heartbeat"), &consumer_groups::joining(group, "m", &["t"]));
        run.ask_in_all(
            &format!("{name}, wrong consumer heartbeat"),
            &consumer_groups::staying(group, "", -7),
        );
    }
    run.ask_in_all("list", &ListGroupsRequest::default());
    run.end("groups_before");
}

pub fn coordinators(run: &mut Run) {
    let of = |version: i16, key_type: i8, keys: &[&str]| {
        if version < 4 {
            return FindCoordinatorRequest { key: keys[0].into(), key_type, ..Default::default() };
        }
        let coordinator_keys = keys.iter().map(|&key| Text::from(key)).collect();
        FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() }
    };
    wait_for_the_topic(run, &of(3, 0, &["g"]));
    for version in all_versions(ApiKey::FindCoordinator) {
        run.ask("a group", version, &of(version, 0, &["g"]));
        run.ask("no group", version, &of(version, 0, &[""]));
        for kind in [3, -1, 127] {
            run.ask(&format!("kind {kind}"), version, &of(version, kind, &["g"]));
        }
        for key in ["g", "", "g:x:0", "g:AAAAAAAAAAAAAAAAAAAAAQ:x", ":AAAAAAAAAAAAAAAAAAAAAQ:0"] {
            run.ask(&format!("share '{key}'"), version, &of(version, 2, &[key]));
        }
    }
    for version in 4..=6 {
        run.ask("three, one twice", version, &of(version, 0, &["a", "b", "a"]));
        run.ask("none", version, &of(version, 0, &[]));
        run.ask("none of an unknown kind", version, &of(version, 9, &[]));
        run.ask("two of an unknown kind", version, &of(version, 9, &["a", "b"]));
    }
    run.end("find_coordinator");
}

/// The topic is made by the first who asks, which takes a while that nobody compares.
fn wait_for_the_topic(run: &mut Run, find: &FindCoordinatorRequest) {
    for _ in 0..ATTEMPTS {
        let found = run.connection().ask(find, 3).expect("an answer").error_code;
        let listed = run.connection().ask(&ListGroupsRequest::default(), 5).expect("an answer").error_code;
        // One group on each partition.
        let groups = describing(&["a", "b", "c", "d"]);
        let described = run.connection().ask(&groups, 5).expect("an answer").groups;
        if found == 0 && listed == 0 && described.iter().all(|group| group.error_code == 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the topic of the coordinator does not come up");
}

fn texts(groups: &[&str]) -> Vec<Text> {
    groups.iter().map(|&group| group.into()).collect()
}

pub fn describing(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest { groups: texts(groups), ..Default::default() }
}

pub fn describing_consumers(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest { group_ids: texts(groups), ..Default::default() }
}

fn deleting(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest { groups_names: texts(groups), ..Default::default() }
}

/// The groups of the other scripts are there: it comes last.
pub fn script(run: &mut Run) {
    classic::stable(run, "g-stable", classic::joining("g-stable", ""));
    offsets::commit(run, "g-offsets", "o-one", 0, 5);
    consumer_groups::member(run, "g-consumer", "m", &["c-one"]);
    list(run);
    run.end("list_groups");
    describe(run);
    run.end("describe_groups");
    delete(run);
    run.end("delete_groups");
}

fn list(run: &mut Run) {
    run.ask_in_all("all", &ListGroupsRequest::default());
    let states = |states: &[&str]| ListGroupsRequest { states_filter: texts(states), ..Default::default() };
    let types = |types: &[&str]| ListGroupsRequest { types_filter: texts(types), ..Default::default() };
    for state in
        ["Stable", "stable", "STABLE", " Stable ", "Empty", "Dead", "Assigning", "Reconciling", "x", ""]
    {
        for version in [4, 5] {
            run.ask(&format!("state '{state}'"), version, &states(&[state]));
        }
    }
    run.ask("two states", 5, &states(&["Stable", "Empty"]));
    run.ask("a state twice", 5, &states(&["Empty", "empty"]));
    run.ask("an unknown state beside one", 5, &states(&["Empty", "nothing"]));
    for kind in
        ["classic", "Classic", "consumer", "CONSUMER", "share", "streams", "unknown", "x", "", " classic "]
    {
        run.ask(&format!("type '{kind}'"), 5, &types(&[kind]));
    }
    run.ask("two types", 5, &types(&["classic", "consumer"]));
    let both = ListGroupsRequest { states_filter: texts(&["Stable"]), ..types(&["consumer"]) };
    run.ask("a state and a type", 5, &both);
}

fn describe(run: &mut Run) {
    let all = ["g-stable", "g-offsets", "g-consumer", "g-none", ""];
    for group in all {
        run.ask_in_all(&format!("'{group}'"), &describing(&[group]));
        run.ask_in_all(&format!("as consumer group '{group}'"), &describing_consumers(&[group]));
    }
    run.ask_in_all("all", &describing(&all));
    run.ask_in_all("as consumer groups, all", &describing_consumers(&all));
    run.ask_in_all("none", &describing(&[]));
    run.ask_in_all("as consumer groups, none", &describing_consumers(&[]));
    run.ask_in_all("one twice", &describing(&["g-stable", "g-stable", "g-none", "g-none"]));
    run.ask_in_all("as consumer groups, one twice", &describing_consumers(&["g-consumer", "g-consumer"]));
    let operations = DescribeGroupsRequest { include_authorized_operations: true, ..describing(&all) };
    run.ask_in_all("operations", &operations);
    let operations =
        ConsumerGroupDescribeRequest { include_authorized_operations: true, ..describing_consumers(&all) };
    run.ask_in_all("as consumer groups, operations", &operations);
}

fn delete(run: &mut Run) {
    run.ask_in_all("none", &deleting(&[]));
    run.ask_in_all("unknown", &deleting(&["g-none"]));
    run.ask_in_all("no name", &deleting(&[""]));
    run.ask_in_all("stable", &deleting(&["g-stable"]));
    run.ask_in_all("a consumer group with a member", &deleting(&["g-consumer"]));
    run.ask_in_all("twice", &deleting(&["g-none", "g-none", "g-stable", "g-stable"]));
    for version in all_versions(ApiKey::DeleteGroups) {
        let group = format!("g-gone-{version}");
        offsets::commit(run, &group, "o-one", 0, 5);
        run.ask("offsets, others, twice", version, &deleting(&[&group, "g-none", "g-stable", &group]));
        run.ask("gone", version, &deleting(&[&group]));
        let version = 8;
        run.ask("gone, offsets", version, &offsets::fetching(version, &group, None));
    }
    consumer_groups::leave(run, "g-consumer", "m");
    run.ask("an empty consumer group", 2, &deleting(&["g-consumer"]));
    run.ask("an empty consumer group", 2, &deleting(&["g-consumer"]));
}

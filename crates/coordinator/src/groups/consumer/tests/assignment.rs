//! The steps of a member: each state held against targets, what others own, and what the member says it has.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;

use crate::groups::assignors::Assigned;
use crate::groups::consumer::reconcile::{Goal, Subscribed, step};
use crate::groups::consumer::{Epochs, Member, MemberState};
use crate::topics::{Topic, Topics};
use MemberState::{Stable, Unknown, UnreleasedPartitions as Unreleased, UnrevokedPartitions as Unrevoked};

/// `1:1,2,3 2:4,5` are partitions of topics; where epochs matter, `1:1@9`.
struct Case {
    what: &'static str,
    state: MemberState,
    epoch: i32,
    has: &'static str,
    revoking: &'static str,
    target: (i32, &'static str),
    /// What others own.
    others: &'static str,
    says: Option<&'static str>,
    subscribed: &'static [&'static str],
    changed: bool,
    expected: Option<(MemberState, i32, i32, &'static str, &'static str)>,
}

const BOTH: &[&str] = &["1", "2"];

const CASE: Case = Case {
    what: "",
    state: Stable,
    epoch: 10,
    has: "",
    revoking: "",
    target: (10, ""),
    others: "",
    says: None,
    subscribed: BOTH,
    changed: false,
    expected: None,
};

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { what: "stable stays", has: "1:1@10,2@10 2:3@10", target: (10, "1:1,2 2:3"), ..CASE },
    Case { what: "stable, new epoch, nothing else", has: "1:1@10,2@10", target: (11, "1:1,2"),
        expected: Some((Stable, 11, 10, "1:1@10,2@10", "")), ..CASE },
    Case { what: "stable, free partitions", has: "1:1@10 2:4@10", target: (11, "1:1,3 2:4,5"),
        expected: Some((Stable, 11, 10, "1:1@10,3@11 2:4@10,5@11", "")), ..CASE },
    Case { what: "stable must give up", has: "1:1@10,2@10,3@10 2:4@10,5@10", target: (11, "1:2,3 2:5,6"),
        expected: Some((Unrevoked, 10, 10, "1:2@10,3@10 2:5@10", "1:1@10 2:4@10")), ..CASE },
    Case { what: "stable must give up, but has not got it", has: "1:1@10,2@10", target: (11, "1:2,4"), says: Some("1:2"),
        expected: Some((Stable, 11, 10, "1:2@10,4@11", "")), ..CASE },
    Case { what: "stable waits for others", has: "1:1@10", target: (11, "1:1,3 2:4"), others: "1:3",
        expected: Some((Unreleased, 11, 10, "1:1@10 2:4@11", "")), ..CASE },
    Case { what: "stable waits for others, for everything", has: "1:1@10", target: (11, "1:1,3"), others: "1:3",
        expected: Some((Unreleased, 11, 10, "1:1@10", "")), ..CASE },
    Case { what: "stable gives everything up", has: "1:1@10", target: (11, ""),
        expected: Some((Unrevoked, 10, 10, "", "1:1@10")), ..CASE },
    Case { what: "unrevoked says nothing", state: Unrevoked, has: "1:2@10", revoking: "1:1@10", target: (11, "1:2"), ..CASE },
    Case { what: "unrevoked still has it", state: Unrevoked, has: "1:2@10", revoking: "1:1@10", target: (11, "1:2"),
        says: Some("1:1,2"), ..CASE },
    Case { what: "unrevoked has given up", state: Unrevoked, has: "1:2@10,3@10", revoking: "1:1@10", target: (11, "1:2,3"),
        says: Some("1:2,3"), expected: Some((Stable, 11, 10, "1:2@10,3@10", "")), ..CASE },
    Case { what: "unrevoked has given up, and must give up more", state: Unrevoked, has: "1:2@10,3@10", revoking: "1:1@10",
        target: (12, "1:3"), says: Some("1:2,3"), expected: Some((Unrevoked, 10, 10, "1:3@10", "1:2@10")), ..CASE },
    Case { what: "unrevoked has given up and gets more", state: Unrevoked, has: "1:2@10", revoking: "1:1@10",
        target: (12, "1:2,4"), says: Some("1:2"), expected: Some((Stable, 12, 10, "1:2@10,4@12", "")), ..CASE },
    Case { what: "unrevoked has given up and waits", state: Unrevoked, has: "1:2@10", revoking: "1:1@10",
        target: (12, "1:2,4"), others: "1:4", says: Some("1:2"), expected: Some((Unreleased, 12, 10, "1:2@10", "")), ..CASE },
    Case { what: "what it was giving up comes back to it", state: Unrevoked, has: "1:2@10", revoking: "1:1@10",
        target: (12, "1:1,2"), others: "1:1", says: Some("1:2"), expected: Some((Stable, 12, 10, "1:1@12,2@10", "")), ..CASE },
    Case { what: "unreleased, now free", state: Unreleased, epoch: 11, has: "1:2@10", target: (11, "1:2,3"),
        expected: Some((Stable, 11, 11, "1:2@10,3@11", "")), ..CASE },
    Case { what: "unreleased, one of two free", state: Unreleased, epoch: 11, has: "1:2@10", target: (11, "1:2,3,4"),
        others: "1:4", expected: Some((Unreleased, 11, 11, "1:2@10,3@11", "")), ..CASE },
    Case { what: "unreleased, still not free", state: Unreleased, epoch: 11, has: "1:2@10", target: (11, "1:2,4"),
        others: "1:4", expected: Some((Unreleased, 11, 11, "1:2@10", "")), ..CASE },
    Case { what: "unreleased, new target gives up", state: Unreleased, epoch: 11, has: "1:2@10,3@11", target: (12, "1:3"),
        others: "1:4", expected: Some((Unrevoked, 11, 11, "1:3@11", "1:2@10")), ..CASE },
    Case { what: "unreleased, no longer wanted", state: Unreleased, epoch: 11, has: "1:2@10", target: (12, "1:2"),
        expected: Some((Stable, 12, 11, "1:2@10", "")), ..CASE },
    Case { what: "unknown with nothing starts over", state: Unknown, has: "1:2@10", target: (11, "1:3"), says: Some(""),
        expected: Some((Stable, 11, 10, "1:3@11", "")), ..CASE },
    Case { what: "a target of a topic that it does not want any more", has: "1:1@10 2:2@10", target: (11, "1:1 2:2,3"),
        subscribed: &["1"], says: Some("1:1 2:2"), expected: Some((Unrevoked, 10, 10, "1:1@10", "2:2@10")), ..CASE },
    Case { what: "unsubscribed before the target moves", has: "1:1@10 2:2@10", target: (10, "1:1 2:2"), subscribed: &["1"],
        changed: true, expected: Some((Unrevoked, 10, 10, "1:1@10", "2:2@10")), ..CASE },
    Case { what: "unsubscribed before the target moves, and has given up", has: "1:1@10 2:2@10", target: (10, "1:1 2:2"),
        subscribed: &["1"], changed: true, says: Some("1:1"), expected: Some((Stable, 10, 10, "1:1@10", "")), ..CASE },
    Case { what: "unsubscribed from everything", has: "1:1@10", target: (10, "1:1"), subscribed: &[], changed: true,
        expected: Some((Unrevoked, 10, 10, "", "1:1@10")), ..CASE },
    Case { what: "unsubscribed while giving up", state: Unrevoked, has: "1:1@10 2:3@10", revoking: "2:2@10",
        target: (11, "1:1 2:3"), subscribed: &["1"], changed: true,
        expected: Some((Unrevoked, 10, 10, "1:1@10", "2:2@10,3@10")), ..CASE },
    Case { what: "another subscription that changes nothing", has: "1:1@10", target: (10, "1:1"), subscribed: &["1"],
        changed: true, ..CASE },
];

#[test]
fn every_state_takes_its_step() {
    for case in CASES {
        let member = member(case);
        let next = take(case, &member).unwrap();
        let next = (*next != member).then(|| {
            (next.state, next.epoch, next.previous_epoch, show(&next.assigned), show(&next.revoking))
        });
        let expected = case.expected.map(|(state, epoch, previous, has, revoking)| {
            (state, epoch, previous, show(&epochs(has)), show(&epochs(revoking)))
        });
        // A member that takes no step keeps its epoch before, which these members never had.
        assert_eq!(next, expected, "{}", case.what);
    }
}

#[test]
fn a_member_in_an_unknown_state_must_start_over() {
    for says in [None, Some("1:1")] {
        let case = Case { state: Unknown, has: "1:1@10", target: (11, "1:1"), says, ..CASE };
        assert_eq!(take(&case, &member(&case)).unwrap_err().code, ErrorCode::FencedMemberEpoch);
    }
}

fn member(case: &Case) -> Member {
    let mut member = Member::new("m".into());
    member.state = case.state;
    member.epoch = case.epoch;
    member.previous_epoch = 9;
    member.topics = std::sync::Arc::new(case.subscribed.iter().map(|name| Text::from(*name)).collect());
    member.assigned = epochs(case.has);
    member.revoking = epochs(case.revoking);
    member
}

fn take<'m>(
    case: &Case,
    member: &'m Member,
) -> Result<std::borrow::Cow<'m, Member>, crate::groups::consumer::Denied> {
    let mut topics = Topics::default();
    for name in BOTH {
        topics.insert(Topic { id: id(name), name: (*name).into(), partitions: 10, racks: Vec::new() });
    }
    let others = numbers(case.others);
    let own = numbers(case.revoking).into_iter().chain(numbers(case.has)).collect::<BTreeSet<_>>();
    let mut target = Assigned::new();
    for (topic, partition) in numbers(case.target.1) {
        target.entry(topic).or_default().push(partition);
    }
    let goal = Goal {
        epoch: case.target.0,
        target: &target,
        subscribed: Subscribed { topics: &topics, names: &member.topics, matched: None },
        subscription_changed: case.changed,
        is_owned: &|topic, at| others.contains(&(topic, at)) || own.contains(&(topic, at)),
    };
    let says = case.says.map(|says| {
        let mut said: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in numbers(says) {
            said.entry(topic).or_default().push(partition);
        }
        said.into_iter().collect::<Vec<_>>()
    });
    step(member, &goal, says.as_deref())
}

fn id(name: &str) -> TopicId {
    TopicId::from_u128(0x9000 + name.parse::<u128>().unwrap())
}

fn numbers(text: &str) -> Vec<(TopicId, i32)> {
    let of = |topic: &str| {
        let (name, partitions) = topic.split_once(':').unwrap();
        let number = |at: &str| at.split('@').next().unwrap().parse().unwrap();
        partitions.split(',').map(|at| (id(name), number(at))).collect::<Vec<_>>()
    };
    text.split_whitespace().flat_map(of).collect()
}

fn epochs(text: &str) -> Epochs {
    let mut epochs = Epochs::new();
    for topic in text.split_whitespace() {
        let (name, partitions) = topic.split_once(':').unwrap();
        for partition in partitions.split(',') {
            let (at, epoch) = partition.split_once('@').unwrap();
            epochs.entry(id(name)).or_default().insert(at.parse().unwrap(), epoch.parse().unwrap());
        }
    }
    epochs
}

fn show(epochs: &Epochs) -> String {
    format!("{epochs:?}")
}

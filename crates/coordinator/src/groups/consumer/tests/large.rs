//! Large groups: what one member more costs, and targets that are computed on another thread.

use std::collections::BTreeSet;

use dohle_wire::Text;
use dohle_wire::messages as m;
use dohle_wire::{ConsumerOffsetsKey as Key, messages::consumer_group_heartbeat_request::TopicPartitions};

use super::rig::Rig;
use crate::groups::consumer::target::INLINE_WORK;
use crate::groups::{Ask, GroupRecord, Response, Settings};

const GROUP: &str = "g";

fn rig(interval_ms: i32) -> Rig {
    let mut settings = Settings::default();
    settings.consumer.assignment_interval_ms = interval_ms;
    settings.consumer.session_timeout_ms = 10 * 60_000;
    Rig::new(settings)
}

fn beat(rig: &mut Rig, member: &str, epoch: i32, instance: Option<&str>) -> (i32, Vec<GroupRecord>) {
    let request = m::ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        member_epoch: epoch,
        instance_id: instance.map(Text::from),
        rebalance_timeout_ms: if epoch == 0 { 5000 } else { -1 },
        subscribed_topic_names: (epoch == 0).then(|| vec!["t".into()]),
        topic_partitions: (epoch == 0).then(Vec::<TopicPartitions>::new),
        ..Default::default()
    };
    let to = rig.send(1, "c", Ask::ConsumerGroupHeartbeat(request));
    let records = rig.drain();
    match rig.answers().remove(&to) {
        Some(Ok(Response::ConsumerGroupHeartbeat(answer))) => (answer.member_epoch, records),
        other => panic!("{other:?}"),
    }
}

fn targets(records: &[GroupRecord]) -> usize {
    records.iter().filter(|record| matches!(record.key, Key::ConsumerGroupTargetAssignmentMember(_))).count()
}

#[test]
fn one_member_more_moves_only_what_it_gets() {
    let members = 200;
    let mut rig = rig(60_000);
    rig.put_topic("t", 2 * members, Vec::new());
    for member in 0..members {
        beat(&mut rig, &format!("m{member:03}"), 0, None);
    }
    rig.wait(60_000);
    let (_, records) = beat(&mut rig, "m000", 0, None);
    assert_eq!(targets(&records), usize::try_from(members).unwrap(), "everybody gets its share");
    rig.wait(60_000);
    let (_, records) = beat(&mut rig, "more", 0, None);
    assert_eq!(targets(&records), 2, "it gets one partition, another member gives one");
    assert!(records.len() <= 6, "{}", records.len());
    let epoch = rig.group(GROUP).unwrap().members["m100"].epoch;
    let (_, records) = beat(&mut rig, "m100", epoch, None);
    assert!(records.len() <= 1, "its own step");
}

#[test]
fn a_large_target_is_computed_elsewhere() {
    let mut rig = rig(0);
    let partitions = i32::try_from(INLINE_WORK).unwrap();
    rig.put_topic("t", partitions, Vec::new());
    assert_eq!(beat(&mut rig, "a", 0, Some("i")).0, 1, "no target yet");
    assert_eq!(beat(&mut rig, "b", 0, None).0, 1);
    assert_eq!(rig.jobs.len(), 1, "one at a time");
    rig.run_jobs();
    let group = rig.group(GROUP).unwrap();
    assert_eq!((group.epoch, group.assignment_epoch), (3, 2), "the first was computed for one member");
    assert_eq!(group.targets.len(), 1);
    assert_eq!(beat(&mut rig, "b", 1, None).0, 2, "follows the target there is");
    assert_eq!(rig.jobs.len(), 1);
    // The static member comes back under another id while its share is computed.
    beat(&mut rig, "a", -2, Some("i"));
    beat(&mut rig, "c", 0, Some("i"));
    rig.run_jobs();
    let group = rig.group(GROUP).unwrap();
    assert_eq!(group.assignment_epoch, 3);
    let of = |member: &str| group.targets[member].values().map(Vec::len).sum::<usize>();
    assert_eq!(of("c") + of("b"), INLINE_WORK, "the successor gets the share of its instance");
    let (b, c) = (&group.targets["b"], &group.targets["c"]);
    let all: BTreeSet<_> =
        b.iter().chain(c.iter()).flat_map(|(t, at)| at.iter().map(move |at| (t, at))).collect();
    assert_eq!(all.len(), INLINE_WORK);
    assert_eq!(group.targets.len(), 2, "nobody else has one");
}

#[test]
fn a_target_for_a_group_that_is_gone_is_dropped() {
    let mut rig = rig(0);
    rig.put_topic("t", i32::try_from(INLINE_WORK).unwrap(), Vec::new());
    beat(&mut rig, "a", 0, None);
    beat(&mut rig, "a", -1, None);
    let records = rig.run_jobs();
    assert_eq!(targets(&records), 0, "nobody is left to have it");
    beat(&mut rig, "b", 0, None);
    rig.restart();
    assert_eq!(rig.run_jobs().len(), 0, "the job died with the coordinator");
    beat(&mut rig, "b", 0, None);
    rig.run_jobs();
    let group = rig.group(GROUP).unwrap();
    assert_eq!(group.epoch, group.assignment_epoch);
    assert_eq!(group.targets["b"].values().map(Vec::len).sum::<usize>(), INLINE_WORK);
}

//! Two logs that were written under different leaders: the follower asks where its last epoch ends, cuts off what the leader does not have, and asks again until
//! both agree (KIP-101, KIP-279).

mod support;

use dohle_env::Rng;
use dohle_log::{Agreement, Log, Recovery};
use dohle_types::*;
use support::*;

fn log() -> Log {
    World::new(1).open(Recovery::UNKNOWN).unwrap()
}

/// Appends a batch of one record, which `tag` tells from others.
fn append(log: &mut Log, tag: u64, epoch: i32) {
    log.append_as_leader(vec![batch(tag, 1, 0)], LeaderEpoch(epoch), ms(0)).unwrap();
}

/// The records of a log: epoch and content of each.
fn records(log: &mut Log) -> Vec<(LeaderEpoch, Vec<u8>)> {
    let batches = read_all(log);
    batches.into_iter().map(|batch| (batch.header.leader_epoch, batch.body.to_vec())).collect()
}

/// One of both is elected under an epoch that is larger than any before; the other asks and cuts until the answer is the last. Gives how often
/// it has asked.
fn follow(follower: &mut Log, leader: &mut Log) -> usize {
    leader.assign_epoch(LeaderEpoch(100));
    let mut asked = follower.latest_epoch().expect("it has records");
    for count in 1.. {
        let (epoch, end) = leader.end_offset_for_epoch(asked);
        match follower.truncate_to_epoch(epoch, end, ms(0)).unwrap() {
            Agreement::Whole => return count,
            Agreement::UpTo(own) => {
                assert!(own < asked, "each answer brings it back by an epoch");
                asked = follower.latest_epoch().expect("it has records");
                assert_eq!(asked, own, "nothing is left of those between");
            }
            Agreement::Unknown => panic!("a leader knows the epochs before its own"),
        }
    }
    unreachable!("epochs end")
}

#[test]
fn what_a_lost_leader_has_written_alone_is_cut_off() {
    let (mut leader, mut follower) = (log(), log());
    for tag in 0..10 {
        append(&mut leader, tag, 1);
        append(&mut follower, tag, 1);
    }
    (100..105).for_each(|tag| append(&mut follower, tag, 1));
    (200..202).for_each(|tag| append(&mut leader, tag, 2));
    assert_eq!(follow(&mut follower, &mut leader), 1);
    assert_eq!(records(&mut follower), records(&mut leader)[..10]);
}

#[test]
fn a_log_that_only_lacks_the_end_is_left_as_it_is() {
    let (mut leader, mut follower) = (log(), log());
    (0..10).for_each(|tag| append(&mut leader, tag, 1));
    (0..5).for_each(|tag| append(&mut follower, tag, 1));
    assert_eq!(follow(&mut follower, &mut leader), 1);
    assert_eq!(follower.end_offset(), Offset(5));
}

#[test]
fn epochs_that_one_of_both_never_saw_take_another_question() {
    let (mut leader, mut follower) = (log(), log());
    for log in [&mut leader, &mut follower] {
        (0..4).for_each(|tag| append(log, tag, 1));
    }
    // Alone: the follower under 2 and 4, the leader under 3.
    (10..14).for_each(|tag| append(&mut follower, tag, 2));
    (14..16).for_each(|tag| append(&mut follower, tag, 4));
    (20..29).for_each(|tag| append(&mut leader, tag, 3));
    append(&mut leader, 29, 5);
    assert_eq!(follow(&mut follower, &mut leader), 2);
    assert_eq!(records(&mut follower), records(&mut leader)[..4]);
}

/// Who was elected and lost that before it wrote anything: its epoch would end the one before where nothing ended.
#[test]
fn an_epoch_in_which_nothing_was_written_is_forgotten() {
    let (mut leader, mut follower) = (log(), log());
    for log in [&mut leader, &mut follower] {
        (0..5).for_each(|tag| append(log, tag, 0));
        (5..10).for_each(|tag| append(log, tag, 1));
    }
    (10..20).for_each(|tag| append(&mut leader, tag, 1));
    follower.assign_epoch(LeaderEpoch(4));
    assert_eq!(follow(&mut follower, &mut leader), 1);
    assert_eq!((follower.end_offset(), follower.latest_epoch()), (Offset(10), Some(LeaderEpoch(1))));
    append(&mut follower, 10, 1);
    assert_eq!(follower.end_offset_for_epoch(LeaderEpoch(0)), (LeaderEpoch(0), Offset(5)));
}

#[test]
fn a_leader_that_knows_nothing_cuts_nothing_off() {
    let mut follower = log();
    (0..3).for_each(|tag| append(&mut follower, tag, 4));
    let (epoch, end) = log().end_offset_for_epoch(LeaderEpoch(4));
    assert_eq!(follower.truncate_to_epoch(epoch, end, ms(0)).unwrap(), Agreement::Unknown);
    assert_eq!(follower.end_offset(), Offset(3));
}

/// Any two logs of which the first epochs were written to both, and each later one to one of them.
#[test]
fn any_two_logs_come_to_agree() {
    let rng = Rng::seeded(7);
    for _ in 0..300 {
        let (mut leader, mut follower) = (log(), log());
        append(&mut leader, 0, 0);
        append(&mut follower, 0, 0);
        let (mut tag, mut shared, mut is_shared) = (1, 1, true);
        for epoch in 1..=1 + rng.below(7) as i32 {
            let who = rng.below(if is_shared { 3 } else { 2 });
            if who != 0 {
                leader.assign_epoch(LeaderEpoch(epoch));
            }
            if who != 1 {
                follower.assign_epoch(LeaderEpoch(epoch));
            }
            for _ in 0..rng.below(4) {
                is_shared &= who == 2;
                tag += 1;
                if who != 0 {
                    append(&mut leader, tag, epoch);
                }
                if who != 1 {
                    append(&mut follower, tag, epoch);
                }
                shared += usize::from(is_shared);
            }
        }
        follow(&mut follower, &mut leader);
        let (leader, follower) = (records(&mut leader), records(&mut follower));
        assert!(leader.starts_with(&follower), "{leader:?} {follower:?}");
        assert!(follower.len() >= shared, "nothing that both have is lost");
    }
}

//! What many groups weigh. One process of its own, so that its memory can be measured.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dohle_coordinator::frame::{Moment, Record, Shard};
use dohle_coordinator::groups::{GroupCoordinator, GroupRecord, Settings};
use dohle_coordinator::topics::Topics;
use dohle_types::{Offset, TimestampMs};
use dohle_wire::Text;
use dohle_wire::messages as m;
use m::group_metadata_value::MemberMetadata;

const MEBIBYTE: usize = 1024 * 1024;

/// Each with two members and ten offsets, which is more than idle groups have.
#[test]
fn ten_thousand_idle_groups_fit() {
    let before = resident_bytes();
    let mut shard = shard();
    let started = Instant::now();
    let mut records = 0;
    for number in 0..10_000 {
        for record in group(number) {
            // Through bytes, in a block that is far larger than the record, as in a log.
            let encoded = record.encode();
            let block = |bytes: Bytes| {
                let mut block = vec![0; 4096];
                block.extend(&bytes);
                Bytes::from(block).slice(4096..)
            };
            let record = GroupRecord::decode(block(encoded.key), encoded.value.map(block));
            shard.replay(record.expect("readable").expect("known"), Offset(records), None);
            records += 1;
        }
    }
    shard.loaded(moment(0));
    let grown = resident_bytes().saturating_sub(before);
    println!("{records} records in {:?}, {} KiB", started.elapsed(), grown / 1024);
    assert!(grown < 64 * MEBIBYTE, "{grown} bytes for 10,000 groups");
    assert!(grown > MEBIBYTE, "{grown} bytes cannot be right");
}

fn group(number: usize) -> Vec<GroupRecord> {
    let group = Text::from(format!("the-group-with-number-{number}"));
    let member = |name: &str| MemberMetadata {
        member_id: Text::from(format!("consumer-{name}-01234567-0123-0123-0123-0123456789ab")),
        client_id: Text::from("consumer-1"),
        client_host: Text::from("/127.0.0.1"),
        rebalance_timeout: 60_000,
        session_timeout: 45_000,
        subscription: subscription(),
        assignment: Bytes::from(vec![0; 100]),
        ..Default::default()
    };
    let value = m::GroupMetadataValue {
        protocol_type: Text::from("consumer"),
        generation: 1,
        protocol: Some(Text::from("range")),
        leader: Some(member("a").member_id),
        members: vec![member("a"), member("b")],
        ..Default::default()
    };
    let mut records = vec![GroupRecord::put_at(m::GroupMetadataKey { group: group.clone() }, value, 3)];
    for partition in 0..10 {
        let key = m::OffsetCommitKey { group: group.clone(), topic: Text::from("the-topic"), partition };
        records.push(GroupRecord::put_at(key, m::OffsetCommitValue { offset: 7, ..Default::default() }, 4));
    }
    records
}

/// One topic, `t`, in the first version.
fn subscription() -> Bytes {
    Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0xff, 0xff, 0xff, 0xff])
}

fn shard() -> Shard<GroupCoordinator> {
    let settings = Arc::new(Settings::default());
    let coordinator = GroupCoordinator::new(settings, Topics::default(), BTreeMap::new());
    // Kafka's default of `max.message.bytes`.
    Shard::new(coordinator, 1_048_588)
}

fn moment(tick_ms: u64) -> Moment {
    Moment { wall: TimestampMs(1_000_000), tick_ms, chance: tick_ms.wrapping_mul(77) }
}

/// What the kernel says this process holds in memory.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("this runs on Linux");
    let resident = pages.split(' ').nth(1).expect("a second column");
    resident.parse::<usize>().expect("a number") * 4096
}

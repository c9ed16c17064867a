//! A log from the outside: what goes in comes out, and what is asked for happens.

mod support;

use std::sync::Arc;

use dohle_config::{Durability, TopicSettings};
use dohle_env::disk::Fault;
use dohle_log::names::{FileKind, FileState, file_name};
use dohle_log::{Log, REMEMBERED_BATCHES, Read, ReadError, Recovery};
use dohle_records::control::EndTransaction;
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(3);

fn end_marker(committed: bool, id: i64, epoch: i16) -> dohle_records::Batch {
    let marker = EndTransaction { committed, coordinator_epoch: 1 };
    marker.to_batch(ProducerId(id), ProducerEpoch(epoch), ms(5000), Offset::ZERO, LeaderEpoch(0))
}

/// A log of `batches` batches of ten records, in segments of a few batches each.
fn filled(world: &mut World, batches: u64) -> Log {
    world.settings.segment_bytes = 1000;
    world.settings.index_interval_bytes = 300;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..batches {
        log.append_as_leader(vec![batch(tag, 10, 1000 * tag as i64)], EPOCH, ms(1000)).unwrap();
    }
    log
}

#[test]
fn offsets_are_assigned_and_everything_comes_back() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    assert_eq!(log.end_offset(), Offset(200));
    assert!(log.segments().len() > 3);
    let batches = read_all(&mut log);
    assert_eq!(batches.len(), 20);
    for (at, batch) in batches.iter().enumerate() {
        assert_eq!(batch.header.base_offset, Offset(at as i64 * 10));
        assert_eq!(batch.header.leader_epoch, EPOCH);
    }
    let middle = read(&mut log, Offset(55), Offset(200), 1);
    assert_eq!(
        (middle.start, middle.end),
        (Offset(50), Offset(60)),
        "a whole batch, even if it is too large"
    );
    let bounded = read(&mut log, Offset(50), Offset(75), 1 << 20);
    assert_eq!(bounded.end, Offset(70), "no batch reaches over the bound");
    assert!(matches!(log.read(Offset(201), Offset(200), 1, true), Err(ReadError::OutOfRange { .. })));
    assert!(read(&mut log, Offset(200), Offset(200), 100).is_empty());
}

#[test]
fn a_clean_stop_needs_no_scan_and_loses_nothing() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    let before = read_all(&mut log);
    let closed = log.close().unwrap();
    assert_eq!(closed.recovery_point, Offset(200));
    world.disk.crash(7);
    let clean = Recovery { clean: true, recovery_point: Offset(200), log_start: Offset::ZERO };
    let mut log = world.open(clean).unwrap();
    assert!(!log.needs_flush(), "nothing was scanned, nothing is dirty");
    assert_eq!(log.durable().up_to(), Offset(200));
    assert_eq!(read_all(&mut log), before);
    assert_eq!(log.latest_epoch(), Some(EPOCH));
    log.append_as_leader(vec![batch(99, 10, 0)], EPOCH, ms(1000)).unwrap();
    assert_eq!(read_all(&mut log).len(), 21);
}

#[test]
fn flushed_is_there_after_a_crash_and_half_a_batch_is_not() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        let mut log = filled(&mut world, 10);
        assert_eq!(log.durable().up_to(), Offset::ZERO);
        let durable = log.flush().unwrap();
        assert_eq!(durable.up_to(), Offset(100));
        log.append_as_leader(vec![batch(50, 10, 0)], EPOCH, ms(1000)).unwrap();
        world.disk.crash(seed);
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        let batches = read_all(&mut log);
        assert!(batches.len() == 10 || batches.len() == 11, "{} batches", batches.len());
    }
}

#[test]
fn cold_reads_are_handed_out() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    let before = read_all(&mut log);
    log.flush().unwrap();
    for _ in 0..2 {
        let _ = log.maintain(ms(2000), HighWatermark(Offset(200))).unwrap();
    }
    world.disk.set_cold(true);
    assert!(matches!(log.read(Offset(0), Offset(200), 100, true).unwrap(), Read::Cold(_)));
    assert_eq!(read_all(&mut log), before);
    let path = folder().join(file_name(Offset::ZERO, FileKind::Log, FileState::Live));
    world.disk.flip_bit(&path, 100, 3);
    let Read::Cold(cold) = log.read(Offset(0), Offset(200), 100, true).unwrap() else { panic!("it is cold") };
    let error = log.finish_read(cold.run(&mut dohle_log::greedy)).unwrap_err();
    assert!(error.to_string().contains("00000000000000000000.log"), "{error}");
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
}

#[test]
fn duplicates_get_their_offsets_and_gaps_are_refused() {
    let world = World::new(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for i in 0..7 {
        log.append_as_leader(vec![producer_batch(i, 10, 0, 77, 0, 10 * i as i32)], EPOCH, ms(0)).unwrap();
    }
    for i in 2..7 {
        let again =
            log.append_as_leader(vec![producer_batch(i, 10, 0, 77, 0, 10 * i as i32)], EPOCH, ms(0)).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.first, again.last), (Offset(10 * i as i64), Offset(10 * i as i64 + 9)));
    }
    for (id, epoch, sequence, code) in [
        (77, 0, 10, ErrorCode::OutOfOrderSequenceNumber),
        (77, 0, 71, ErrorCode::OutOfOrderSequenceNumber),
        (77, 1, 5, ErrorCode::OutOfOrderSequenceNumber),
        (77, -1, 0, ErrorCode::InvalidProducerEpoch),
    ] {
        let refused = log.append_as_leader(vec![producer_batch(0, 1, 0, id, epoch, sequence)], EPOCH, ms(0));
        assert_eq!(refused.unwrap_err().code(), code, "{id} {epoch} {sequence}");
    }
    assert_eq!(log.end_offset(), Offset(70));
    // A producer of which nothing is known may start anywhere; a new epoch starts at 0; sequences wrap.
    log.append_as_leader(vec![producer_batch(0, 1, 0, 78, 0, i32::MAX)], EPOCH, ms(0)).unwrap();
    log.append_as_leader(vec![producer_batch(0, 1, 0, 78, 0, 0)], EPOCH, ms(0)).unwrap();
    log.append_as_leader(vec![producer_batch(0, 1, 0, 77, 1, 0)], EPOCH, ms(0)).unwrap();
    let old = log.append_as_leader(vec![producer_batch(0, 1, 0, 77, 0, 70)], EPOCH, ms(0));
    assert_eq!(old.unwrap_err().code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn producers_survive_a_clean_stop_and_a_crash() {
    for clean in [true, false] {
        let world = World::new(1);
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        log.append_as_leader(vec![producer_batch(0, 10, 500, 77, 2, 0)], EPOCH, ms(600)).unwrap();
        log.append_as_leader(vec![transactional_batch(1, 5, 500, 78, 0, 0)], EPOCH, ms(600)).unwrap();
        let before: Vec<_> = log.producers().collect();
        let end = log.end_offset();
        if clean {
            _ = log.close().unwrap()
        } else {
            _ = log.flush().unwrap()
        }
        world.disk.crash(3);
        let mut log = world.open(Recovery { clean, recovery_point: end, log_start: Offset::ZERO }).unwrap();
        assert_eq!(log.producers().collect::<Vec<_>>(), before);
        assert_eq!(log.last_stable_offset(HighWatermark(end)), LastStableOffset(Offset(10)));
        let again = log.append_as_leader(vec![producer_batch(0, 10, 500, 77, 2, 0)], EPOCH, ms(600)).unwrap();
        assert!(again.duplicate);
    }
}

/// A snapshot holds one batch a producer; what else may be sent again is found in the log below it.
/// Kafka forgets a producer by its records' timestamps alone, and with it everything a backfill has sent.
#[test]
fn who_writes_old_records_now_is_not_forgotten() {
    let world = World::new(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    let now = 10 * DAY_MS;
    let append = |log: &mut Log, sequence: i32, now: i64| {
        log.append_as_leader(vec![producer_batch(1, 10, 5, 7, 0, sequence)], LeaderEpoch(0), ms(now)).unwrap()
    };
    assert!(!append(&mut log, 0, now).duplicate);
    log.flush().unwrap();
    let _due = log.maintain(ms(now + DAY_MS / 2), HighWatermark(log.end_offset())).unwrap();
    assert!(append(&mut log, 0, now + DAY_MS / 2).duplicate, "it wrote half a day ago");
    append(&mut log, 10, now + DAY_MS / 2);
    log.flush().unwrap();
    let _due = log.maintain(ms(now + DAY_MS), HighWatermark(log.end_offset())).unwrap();
    assert_eq!(log.producers().count(), 1, "it wrote half a day ago again");
    let _due = log.maintain(ms(now + 2 * DAY_MS), HighWatermark(log.end_offset())).unwrap();
    assert_eq!(log.producers().count(), 0, "silent for a day and a half");
}

#[test]
fn batches_in_flight_are_known_after_a_roll_and_a_restart() {
    for clean in [true, false] {
        let mut world = World::new(21);
        world.settings.segment_bytes = 1000;
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        let mut sent = Vec::new();
        while log.segments().len() < 3 {
            let sequence = 10 * i32::try_from(sent.len()).unwrap();
            let batch = producer_batch(7, 10, 1000, 77, 0, sequence);
            let appended = log.append_as_leader(vec![batch.clone()], LeaderEpoch(1), ms(1000)).unwrap();
            sent.push((batch, appended.first));
        }
        let recovery_point = log.flush().unwrap().up_to();
        if clean {
            log.close().unwrap();
        } else {
            drop(log);
            world.disk.crash(5);
        }
        let mut log = world.open(Recovery { clean, recovery_point, log_start: Offset::ZERO }).unwrap();
        for (batch, first) in sent.iter().rev().take(REMEMBERED_BATCHES) {
            let again = log.append_as_leader(vec![batch.clone()], LeaderEpoch(1), ms(1000)).unwrap();
            assert_eq!((again.duplicate, again.first), (true, *first), "clean {clean}");
        }
    }
}

#[test]
fn transactions_bound_the_stable_offset_and_leave_an_index() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 400;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    log.append_as_leader(vec![transactional_batch(0, 10, 0, 1, 0, 0)], EPOCH, ms(0)).unwrap();
    log.append_as_leader(vec![transactional_batch(1, 10, 0, 2, 0, 0)], EPOCH, ms(0)).unwrap();
    let plain = log.append_as_leader(vec![producer_batch(2, 1, 0, 1, 0, 10)], EPOCH, ms(0));
    assert_eq!(plain.unwrap_err().code(), ErrorCode::InvalidTxnState);
    assert_eq!(log.last_stable_offset(HighWatermark(Offset(20))), LastStableOffset(Offset::ZERO));
    log.append_as_coordinator(vec![end_marker(false, 1, 0)], EPOCH, 1, ms(0)).unwrap();
    assert_eq!(
        log.last_stable_offset(HighWatermark(Offset(20))),
        LastStableOffset(Offset::ZERO),
        "the marker is above the high watermark"
    );
    assert_eq!(log.last_stable_offset(HighWatermark(Offset(21))), LastStableOffset(Offset(10)));
    log.append_as_coordinator(vec![end_marker(true, 2, 1)], EPOCH, 2, ms(0)).unwrap();
    assert_eq!(log.last_stable_offset(HighWatermark(Offset(22))), LastStableOffset(Offset(22)));
    let stale = log.append_as_coordinator(vec![end_marker(true, 2, 0)], EPOCH, 2, ms(0));
    assert_eq!(stale.unwrap_err().code(), ErrorCode::InvalidProducerEpoch);
    log.append_as_leader(vec![batch(3, 10, 0)], EPOCH, ms(0)).unwrap();
    let aborted = log.aborted_transactions(Offset(0), Offset(30)).unwrap().unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(0), Offset(20)));
    assert_eq!(aborted[0].last_stable_offset, Offset(10));
    log.flush().unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), Offset(30)).unwrap().unwrap(), aborted);
    assert!(world.files().iter().any(|name| name.ends_with(".txnindex")), "{:?}", world.files());
    drop(log);
    world.disk.crash(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    assert_eq!(log.aborted_transactions(Offset(0), Offset(30)).unwrap().unwrap(), aborted);
}

/// A snapshot of the producers does not tell of a transaction whose marker is not committed yet.
#[test]
fn a_log_that_is_cut_remembers_what_is_decided_and_not_stable() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 500;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    log.append_as_leader(vec![transactional_batch(1, 2, 0, 7, 0, 0)], EPOCH, ms(0)).unwrap();
    log.append_as_coordinator(vec![end_marker(true, 7, 0)], EPOCH, 1, ms(0)).unwrap();
    (0..9).for_each(|tag| _ = log.append_as_leader(vec![batch(tag, 3, 0)], EPOCH, ms(0)).unwrap());
    log.flush().unwrap();
    let active = log.segments().last().unwrap().base_offset;
    assert!(active > Offset(3), "a snapshot stands behind the marker");
    log.truncate_to(Offset(active.get() + 4), ms(0)).unwrap();
    assert_eq!(log.last_stable_offset(HighWatermark(Offset(2))), LastStableOffset(Offset(0)));
    assert_eq!(log.last_stable_offset(HighWatermark(Offset(3))), LastStableOffset(Offset(3)));
}

/// Each stop leaves what is known of the producers at the end of the log, and the next start nothing of the stops before.
#[test]
fn snapshots_of_the_producers_do_not_pile_up() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    for stop in 0..5 {
        let batch = producer_batch(stop, 3, 0, 5, 0, 3 * stop as i32);
        log.append_as_leader(vec![batch], EPOCH, ms(1000)).unwrap();
        log = world.open(Recovery::of_closed(log.close().unwrap())).unwrap();
    }
    let names = world.files();
    let wanted: Vec<_> = log.segments()[1..].iter().map(|segment| segment.base_offset).collect();
    let wanted = wanted.into_iter().chain([log.end_offset()]);
    let wanted: Vec<_> =
        wanted.map(|at| file_name(at, FileKind::ProducerSnapshot, FileState::Live)).collect();
    let found: Vec<_> = names.into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(found, wanted);
    assert_eq!(log.producers().map(|info| info.last_sequence).collect::<Vec<_>>(), [Sequence(14)]);
}

#[test]
fn truncation_goes_back_to_a_batch_and_forgets_what_came_after() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    log.flush().unwrap();
    log.append_as_leader(vec![producer_batch(0, 10, 0, 5, 0, 0)], LeaderEpoch(4), ms(0)).unwrap();
    log.truncate_to(Offset(205), ms(0)).unwrap();
    assert_eq!(log.end_offset(), Offset(200));
    assert_eq!(log.latest_epoch(), Some(EPOCH));
    assert_eq!(log.producers().count(), 0);
    log.truncate_to(Offset(70), ms(0)).unwrap();
    assert_eq!((log.end_offset(), log.recovery_point()), (Offset(70), Offset(70)));
    assert_eq!(read_all(&mut log).len(), 7);
    log.append_as_leader(vec![batch(7, 10, 0)], LeaderEpoch(5), ms(0)).unwrap();
    assert_eq!(log.end_offset_for_epoch(EPOCH), (EPOCH, Offset(70)));
    log.flush().unwrap();
    world.disk.crash(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    assert_eq!(read_all(&mut log).len(), 8);
    log.truncate_to(Offset(0), ms(0)).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(0)));
    log.reset_to(Offset(500)).unwrap();
    let appended = log
        .append_as_follower(
            vec![{
                let mut batch = batch(1, 1, 0);
                batch.header.base_offset = Offset(510);
                batch
            }],
            ms(0),
        )
        .unwrap();
    assert_eq!(
        (appended.first, log.start_offset(), log.end_offset()),
        (Offset(510), Offset(500), Offset(511))
    );
}

#[test]
fn retention_lets_go_by_time_size_and_start() {
    for rule in ["time", "size", "start"] {
        let mut world = World::new(1);
        let mut log = filled(&mut world, 20);
        log.flush().unwrap();
        let segments = log.segments();
        let mut settings = TopicSettings { retention_ms: None, ..(**log.settings()).clone() };
        let (third, hw) = (segments[2].base_offset, log.end_offset());
        match rule {
            "time" => settings.retention_ms = Some(100_000),
            "size" => {
                settings.retention_bytes = Some(log.size_in_bytes() - segments[0].size - segments[1].size)
            }
            _ => assert_eq!(log.delete_records_before(third, HighWatermark(hw)).unwrap(), third),
        }
        log.set_settings(Arc::new(settings));
        // The first segments hold timestamps up to about `third * 100`.
        let now = ms(100_000 + third.get() * 100);
        let maintenance = log.maintain(now, HighWatermark(hw)).unwrap();
        assert_eq!(log.start_offset(), third, "by {rule}");
        let cleanup = maintenance.cleanup.expect("files have to go");
        log.finish_cleanup(cleanup.run(&mut || true), now).unwrap();
        assert!(world.files().iter().any(|name| name.ends_with(".log.deleted")));
        let later = ms(now.get() + 60_000);
        let maintenance = log.maintain(ms(now.get() + 59_999), HighWatermark(Offset::ZERO)).unwrap();
        assert!(maintenance.cleanup.is_none() && maintenance.next.is_some_and(|next| next <= later));
        let cleanup =
            log.maintain(later, HighWatermark(Offset::ZERO)).unwrap().cleanup.expect("the delay is over");
        log.finish_cleanup(cleanup.run(&mut || true), later).unwrap();
        assert!(!world.files().iter().any(|name| name.contains("deleted")), "{:?}", world.files());
        assert_eq!(read_all(&mut log)[0].header.base_offset, third);
    }
}

#[test]
fn retention_of_everything_keeps_the_offsets() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 5);
    let hw = log.end_offset();
    let now = ms(10 * 7 * DAY_MS);
    for _ in 0..4 {
        log.flush().unwrap();
        if let Some(cleanup) = log.maintain(now, HighWatermark(hw)).unwrap().cleanup {
            log.finish_cleanup(cleanup.run(&mut || true), now).unwrap();
        }
    }
    assert_eq!((log.start_offset(), log.end_offset(), log.size_in_bytes()), (Offset(50), Offset(50), 0));
    drop(log);
    world.disk.crash(5);
    let log =
        world.open(Recovery { clean: false, recovery_point: Offset(50), log_start: Offset::ZERO }).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(50), Offset(50)));
}

#[test]
fn times_are_found() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 20);
    for round in 0..2 {
        for (timestamp, expected) in [
            (0, Some(0)),
            (1, Some(1)),
            (10, Some(10)),
            (5005, Some(55)),
            (19_009, Some(199)),
            (19_010, None),
        ] {
            let found = log.offset_for_timestamp(ms(timestamp), Offset(200)).unwrap();
            assert_eq!(found.map(|found| found.offset.get()), expected, "{timestamp} in round {round}");
        }
        assert_eq!(log.offset_for_timestamp(ms(5005), Offset(55)).unwrap(), None);
        let largest = log.max_timestamp(Offset(200)).unwrap().unwrap();
        assert_eq!(
            (largest.offset, largest.timestamp, largest.leader_epoch),
            (Offset(199), ms(19_009), EPOCH)
        );
        assert_eq!(log.max_timestamp(Offset(60)).unwrap().unwrap().offset, Offset(59));
        log.flush().unwrap();
    }
}

#[test]
fn a_failed_write_leaves_the_log_as_it_was() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 2);
    world.disk.fail_at(world.disk.operations(), Fault::Full);
    let error = log.append_as_leader(vec![batch(3, 10, 0)], EPOCH, ms(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert_eq!(log.end_offset(), Offset(20));
    log.append_as_leader(vec![batch(3, 10, 0)], EPOCH, ms(0)).unwrap();
    assert_eq!(read_all(&mut log).len(), 3);
}

#[test]
fn a_failed_flush_ends_the_service() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 3);
    let flush = log.start_flush().unwrap();
    assert!(log.start_flush().is_none(), "one at a time");
    world.disk.fail_at(world.disk.operations(), Fault::Io);
    assert!(log.finish_flush(flush.run()).is_err());
    assert!(log.failure().is_some());
    let error = log.append_as_leader(vec![batch(3, 10, 0)], EPOCH, ms(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert!(log.start_flush().is_none());
    assert_eq!(log.durable().up_to(), Offset::ZERO);
}

#[test]
fn replicated_durability_does_not_wait_for_the_disk() {
    let mut world = World::new(1);
    world.settings.durability = Durability::Replicated;
    let log = filled(&mut world, 3);
    assert_eq!(log.durable().up_to(), Offset(30));
    assert!(!log.needs_flush());
    assert_eq!(log.recovery_point(), Offset(0));
}

#[test]
fn a_deleted_partition_is_renamed_and_another_topics_folder_is_refused() {
    let mut world = World::new(1);
    let mut log = filled(&mut world, 3);
    log.flush().unwrap();
    let other = Uuid::from_u128(77 << 70);
    let settings = Arc::new(world.settings.clone());
    let refused = Log::open(&world.context, folder(), other, settings, Recovery::UNKNOWN, ms(0));
    let error = refused.err().expect("the folder is of another topic").to_string();
    assert!(error.contains("partition.metadata") && error.contains(&other.to_string()), "{error}");
    let renamed = log.delete().unwrap();
    assert!(!exists(&world, &folder()) && exists(&world, &renamed));
    let name = renamed.file_name().unwrap().to_str().unwrap();
    let (topic, partition, state) = dohle_log::names::parse_folder_name(name).unwrap();
    assert_eq!((topic, partition.get(), state), ("orders", 0, dohle_log::dirs::FolderState::Deleted));
    world.disk.crash(1);
    assert!(!exists(&world, &folder()));
}

#[test]
fn a_prefix_goes_when_a_snapshot_covers_it() {
    let mut world = World::new(1);
    world.settings.cleanup_delete = false;
    let mut log = filled(&mut world, 20);
    log.flush().unwrap();
    log.delete_records_before(Offset(115), HighWatermark(Offset(200))).unwrap();
    let cleanup = log.maintain(ms(0), HighWatermark(Offset(200))).unwrap().cleanup.unwrap();
    log.finish_cleanup(cleanup.run(&mut || true), ms(0)).unwrap();
    assert!(log.segments()[0].base_offset <= Offset(115) && log.segments()[1].base_offset > Offset(115));
    assert_eq!(log.start_offset(), Offset(115));
    let first = read(&mut log, Offset(115), Offset(200), 1);
    assert_eq!(first.start, Offset(110));
    let refused = log.delete_records_before(Offset(201), HighWatermark(Offset(200))).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OffsetOutOfRange);
}

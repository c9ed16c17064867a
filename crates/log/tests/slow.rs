//! Work that is still under way on another thread while the log's owner goes on, of which a slow disk makes much: case by case. The generated
//! workloads of `crash.rs` and `compaction.rs` draw all of it out by chance.

mod support;

use std::path::Path;
use std::sync::Arc;

use dohle_env::Disk;
use dohle_log::future::{CopyProgress, FutureLog, take_over};
use dohle_log::{Log, LogError, Recovery};
use dohle_types::*;
use support::*;

const EPOCH: LeaderEpoch = LeaderEpoch(0);

fn append(log: &mut Log, tag: u64) {
    log.append_as_leader(vec![producer_batch(tag, 3, 1000, tag as i64, 0, 0)], EPOCH, ms(1000)).unwrap();
}

fn tags(log: &mut Log) -> Vec<i64> {
    read_all(log).iter().map(|batch| batch.header.producer_id.get()).collect()
}

fn after_a_crash(world: &World, log: Log) -> Log {
    let recovery_point = log.recovery_point();
    drop(log);
    world.disk.crash(7);
    world.open(Recovery { clean: false, recovery_point, log_start: Offset::ZERO }).unwrap()
}

/// What was cut off while it was being flushed is not acknowledged, nor what stands there now.
#[test]
fn a_flush_that_ends_after_a_cut_proves_what_is_left() {
    for is_run_before in [false, true] {
        let world = World::new(1);
        let mut log = world.open(Recovery::UNKNOWN).unwrap();
        (0..3).for_each(|tag| append(&mut log, tag));
        _ = log.flush().unwrap();
        (3..6).for_each(|tag| append(&mut log, tag));
        let flush = log.start_flush().unwrap();
        let flushed = if is_run_before { Ok(flush.run()) } else { Err(flush) };
        log.truncate_to(Offset(4), ms(1000)).unwrap();
        (10..14).for_each(|tag| append(&mut log, tag));
        let flushed = flushed.unwrap_or_else(dohle_log::Flush::run);
        assert_eq!(log.finish_flush(flushed).unwrap().up_to(), Offset(3));
        assert_eq!(log.flush().unwrap().up_to(), Offset(15));
        let mut log = after_a_crash(&world, log);
        assert_eq!(tags(&mut log), [0, 10, 11, 12, 13]);
        assert_eq!(log.producers().count(), 5);
    }
}

/// Indexes and snapshots come under their names whatever has become of the records.
#[test]
fn a_cut_waits_for_a_flush_that_writes_files_of_what_goes() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 500;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    (0..9).for_each(|tag| append(&mut log, tag));
    assert!(log.segments().len() > 1);
    let flush = log.start_flush().unwrap();
    for refused in [log.truncate_to(Offset(4), ms(1000)), log.reset_to(Offset(4))] {
        assert!(matches!(refused, Err(LogError::Busy { .. })), "{refused:?}");
    }
    assert_eq!((log.end_offset(), tags(&mut log).len()), (Offset(27), 9));
    let flushed = flush.run();
    assert!(
        matches!(log.truncate_to(Offset(4), ms(1000)), Err(LogError::Busy { .. })),
        "it is not known yet"
    );
    assert_eq!(log.finish_flush(flushed).unwrap().up_to(), Offset(27));
    log.truncate_to(Offset(4), ms(1000)).unwrap();
    let names = world.files();
    assert!(!names.iter().any(|name| name.ends_with(".snapshot")), "{names:?}");
    (10..19).for_each(|tag| append(&mut log, tag));
    _ = log.flush().unwrap();
    let mut log = after_a_crash(&world, log);
    assert_eq!(tags(&mut log), [0, 10, 11, 12, 13, 14, 15, 16, 17, 18]);
    log.truncate_to(Offset(20), ms(1000)).unwrap();
    let known: Vec<i64> = log.producers().map(|info| info.producer_id.get()).collect();
    assert_eq!(known, tags(&mut log), "nobody is known whose records are gone");
}

/// A copy is made beside a flush, which ends between two of its parts; the log is not closed before.
#[test]
fn a_flush_ends_while_its_log_moves() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 500;
    world.make_root(ROOTS[1]).unwrap();
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    (0..9).for_each(|tag| append(&mut log, tag));
    let mut flush = log.start_flush();
    assert!(!log.is_quiet(), "whoever would close it waits");
    let disk: Arc<dyn Disk> = world.context.disk.clone();
    let future = Path::new(ROOTS[1]).join("orders-0.0123456789abcdef0123456789abcdef-future");
    let mut copy = FutureLog::open(&disk, &future, TOPIC, Arc::<CopyProgress>::default()).unwrap();
    let (plan, mut flushed, mut parts) = (log.copy_plan().unwrap(), None, 0);
    copy.copy(plan, &mut |_| {
        parts += 1;
        if parts == 2 {
            flushed = flush.take().map(dohle_log::Flush::run);
        }
        true
    })
    .unwrap();
    append(&mut log, 9);
    assert!(!log.is_quiet());
    assert_eq!(log.finish_flush(flushed.expect("there are two segments")).unwrap().up_to(), Offset(27));
    assert!(log.is_quiet());
    copy.copy(log.copy_plan().unwrap(), &mut |_| true).unwrap();
    let plan = log.copy_plan().unwrap();
    let closed = log.close().unwrap();
    copy.finish(plan).unwrap();
    let (live, old) = (Path::new(ROOTS[1]).join("orders-0"), folder());
    let aside = Path::new(ROOTS[0]).join("orders-0.0123456789abcdef0123456789abcdef-delete");
    take_over((disk.as_ref(), &future, &live), (disk.as_ref(), &old, &aside)).unwrap();
    world.assigned = ROOTS[1];
    world.disk.crash(7);
    let mut log = world.open(Recovery { clean: false, ..Recovery::of_closed(closed) }).unwrap();
    assert!(log.dir().starts_with(ROOTS[1]));
    assert_eq!(tags(&mut log), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_log_is_not_closed_while_it_is_flushed() {
    let world = World::new(1);
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    append(&mut log, 0);
    let flush = log.start_flush().unwrap();
    assert!(matches!(log.close(), Err(LogError::Busy { .. })));
    drop(flush);
}

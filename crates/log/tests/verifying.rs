//! What is told of a recovery while it runs.

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use dohle_env::disk::{Asked, AskingDisk, OpenMode};
use dohle_log::Recovery;
use dohle_types::LeaderEpoch;
use support::*;

#[test]
fn a_recovery_tells_how_many_segments_it_has_still_to_verify() {
    let mut world = World::new(1);
    world.settings.segment_bytes = 500;
    let mut log = world.open(Recovery::UNKNOWN).unwrap();
    for tag in 0..12 {
        log.append_as_leader(vec![batch(tag, 3, 1000)], LeaderEpoch(0), ms(1000)).unwrap();
        log.flush().unwrap();
    }
    let segments = log.segments().len();
    assert!(segments >= 3, "{segments}");
    drop(log);
    // Notes what is told each time that a segment is opened to be verified.
    let told = Arc::new(Mutex::new(Vec::new()));
    let (verifying, notes) = (world.context.verifying.clone(), told.clone());
    let note = move |asked, path: &Path| {
        if asked == Asked::Open(OpenMode::ReadWrite) && path.extension().is_some_and(|kind| kind == "log") {
            notes.lock().unwrap().push(verifying.remaining());
        }
        Ok(())
    };
    let verifying = world.context.verifying.clone();
    world.context.disk = Arc::new(AskingDisk::new(Arc::new(world.disk.clone()), note));
    assert!(verifying.remaining().is_empty(), "none has run");
    let log = world.open(Recovery::UNKNOWN).unwrap();
    let expected: Vec<Vec<usize>> = (1..=segments).rev().map(|left| vec![left]).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    assert_eq!(verifying.remaining(), [0], "it is over");
    drop(log);
}

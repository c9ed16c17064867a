//! The power goes at every single operation of a run: what was acknowledged is there afterwards, and the node starts.

#![allow(clippy::disallowed_methods)]

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Home, set_config};
use dohle_controller::ControllerHandle;
use dohle_env::disk::{Disk, Fault, SimDisk};
use dohle_env::thread::block_on;
use dohle_metadata::ResourceType;

const CHANGES: u64 = 12;
const KEY: &str = "log.retention.ms";

/// What the clients know: the last value that was acknowledged, and the last that was asked for.
#[derive(Default)]
struct Known {
    acknowledged: AtomicU64,
    asked: AtomicU64,
}

/// Starts, changes one value again and again, stops. Ends early when the disk does.
async fn run(home: &Home, known: &Known, stop: bool) {
    let Ok(controller) = home.start().await else {
        return;
    };
    let first = known.asked.load(Ordering::Relaxed) + 1;
    for value in first..first + CHANGES {
        known.asked.store(value, Ordering::Relaxed);
        match set_config(&controller, KEY, &value.to_string()).await {
            Ok(()) => known.acknowledged.store(value, Ordering::Relaxed),
            Err(_) => break,
        }
    }
    if stop {
        controller.shutdown().await;
    } else {
        // Dropping the last handle ends the thread; wait until it has let go of the disk.
        let mut status = controller.watch_status();
        drop(controller);
        while status.changed().await.is_ok() {}
    }
}

fn value_of(controller: &ControllerHandle) -> u64 {
    let image = controller.image();
    image.configs.get(ResourceType::BROKER, "").get(KEY).map_or(0, |value| value.parse().expect("a number"))
}

/// `AcknowledgedIsThere`: the value is the last acknowledged one, or one that was asked for after it.
async fn check(home: &Home, known: &Known, what: &str) {
    let controller = home.start().await.unwrap_or_else(|error| panic!("{what}: it does not start: {error}"));
    let value = value_of(&controller);
    let (acknowledged, asked) =
        (known.acknowledged.load(Ordering::Relaxed), known.asked.load(Ordering::Relaxed));
    assert!(
        (acknowledged..=asked).contains(&value),
        "{what}: {value} is not within {acknowledged} to {asked}"
    );
    assert!(controller.image().features.metadata_version().is_some(), "{what}: there is no metadata.version");
    controller.shutdown().await;
}

fn home(disk: &SimDisk) -> Home {
    let mut home = Home::on(disk.clone(), 7);
    home.properties =
        "metadata.log.max.record.bytes.between.snapshots=700\nmetadata.max.retention.bytes=1\n".to_owned();
    home
}

/// A disk with a mount point, which is there for good.
fn mounted(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir_all(Path::new("/data")).expect("a folder");
    let _named = disk.sync_dir(Path::new("/")).expect("synced");
    disk
}

#[test]
fn power_loss_at_any_operation() {
    block_on(async {
        let disk = mounted(1);
        let first = disk.operations();
        run(&home(&disk), &Known::default(), true).await;
        let operations = disk.operations();
        assert!(operations > first + 30, "a run has only {operations} operations");
        for operation in first..operations {
            let disk = mounted(1);
            let known = Known::default();
            disk.fail_at(operation, Fault::Crash);
            run(&home(&disk), &known, true).await;
            disk.crash(operation.wrapping_mul(0x9e37_79b9));
            check(&home(&disk), &known, &format!("operation {operation} of {operations}")).await;
        }
    });
}

#[test]
fn power_loss_while_starting_again() {
    block_on(async {
        let disk = mounted(2);
        let known = Known::default();
        run(&home(&disk), &known, false).await;
        disk.crash(5);
        let again = disk.fork();
        let before = again.operations();
        run(&home(&again), &Known::default(), true).await;
        for operation in 0..again.operations() - before {
            let disk = disk.fork();
            let known = Known {
                acknowledged: known.acknowledged.load(Ordering::Relaxed).into(),
                asked: known.asked.load(Ordering::Relaxed).into(),
            };
            disk.fail_at(disk.operations() + operation, Fault::Crash);
            run(&home(&disk), &known, false).await;
            disk.crash(operation);
            check(&home(&disk), &known, &format!("second life, operation {operation}")).await;
        }
    });
}

#[test]
fn a_failed_disk_acknowledges_nothing_more() {
    block_on(async {
        let disk = mounted(3);
        let home = home(&disk);
        let controller = home.start().await.expect("started");
        set_config(&controller, KEY, "1").await.expect("acknowledged");
        for ahead in 0..20 {
            disk.fail_at(disk.operations() + ahead, Fault::Io);
        }
        let mut acknowledged = 1;
        for value in 2..20_u64 {
            match set_config(&controller, KEY, &value.to_string()).await {
                Ok(()) => acknowledged = value,
                Err(refused) => {
                    println!("{refused}");
                    break;
                }
            }
        }
        let status = controller.status();
        assert!(!status.active && status.offline.is_some(), "{status:?}");
        set_config(&controller, KEY, "99").await.expect_err("the metadata log is offline");
        assert_eq!(value_of(&controller), acknowledged, "an image shows what was never stored");
        controller.shutdown().await;
    });
}

#[test]
fn kills_one_after_the_other() {
    block_on(async {
        let disk = mounted(4);
        let known = Known::default();
        for life in 0..20 {
            run(&home(&disk), &known, false).await;
            if life % 2 == 0 {
                disk.crash(life)
            } else {
                disk.kill()
            }
            check(&home(&disk), &known, &format!("life {life}")).await;
        }
    });
}

//! Folders that this node must not start on: one sentence that names the file, and every file left as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{Data, Ended, Node, run};

/// Every file below a folder with its bytes; folders with none.
type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn contents(folder: &Path) -> Contents {
    let mut found = Contents::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, None);
            } else {
                found.insert(path.clone(), Some(fs::read(&path).expect("a file")));
            }
        }
    }
    found
}

fn start(data: &Data, more: &[&str]) -> Ended {
    let data = data.text();
    let quiet = ["--listen", "127.0.0.1:0", "--set", "dohle.metrics.listener="];
    run(&[&["start", "--data", &data], &quiet[..], more].concat())
}

/// Makes a node's folder by a start and a stop.
fn formatted() -> Data {
    let data = Data::new();
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
    data
}

/// A start on this folder ends with this number and a sentence with these parts, and changes nothing.
#[track_caller]
fn refuses(data: &Data, more: &[&str], code: i32, parts: &[&str]) {
    let before = contents(&data.path());
    start(data, more).expect(code, parts);
    let after = contents(&data.path());
    let changed: Vec<_> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
}

#[test]
fn meta_properties_of_other_times_and_broken_ones() {
    let data = formatted();
    let meta = data.path().join("meta.properties");
    let good = fs::read_to_string(&meta).expect("formatted");
    for (text, parts) in [
        // As a broker of ZooKeeper times wrote it.
        (
            "#\n#Thu Jan 05 10:00:00 UTC 2023\nbroker.id=1\ncluster.id=ocNcg4MrTPmzf3XWMgXq3Q\nversion=0\n",
            "before KRaft",
        ),
        ("cluster.id=c\nnode.id=1\nversion=2\n", "unknown version '2'"),
        ("", "no 'version'"),
        (&good[..good.len() / 2], "no '"),
        ("version=1\ncluster.id=c\nnode.id=1\ndirectory.id=rubbish\n", "'rubbish'"),
        ("\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}", "no 'version'"),
    ] {
        fs::write(&meta, text).expect("writable");
        refuses(&data, &[], 9, &["meta.properties", parts]);
    }
    fs::write(&meta, good).expect("writable");
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
}

#[test]
fn folders_of_two_nodes_and_of_another_cluster() {
    let (ours, other) = (formatted(), Data::new());
    assert_eq!(Node::start(&other, &["--set", "node.id=2"]).stop().code, Some(0));
    let both = format!("log.dirs={},{}", ours.text(), other.text());
    let before = contents(&other.path());
    let mixed =
        run(&["start", "--set", &both, "--listen", "127.0.0.1:0", "--set", "dohle.metrics.listener="]);
    mixed.expect(10, &[&other.text(), "meta.properties", "belongs to node 2, not 1"]);
    assert_eq!(contents(&other.path()), before);
    refuses(&ours, &["--set", "node.id=3"], 10, &["meta.properties", "belongs to node 1, not 3"]);
    let wanted = ["--cluster-id", "AAAAAAAAAAAAAAAAAAAAAw"];
    refuses(&ours, &wanted, 10, &["meta.properties", "belongs to cluster", "not AAAAAAAAAAAAAAAAAAAAAw"]);
    let third = formatted();
    let both = format!("log.dirs={},{}", ours.text(), third.text());
    let (before, after) = (contents(&third.path()), contents(&ours.path()));
    let mixed =
        run(&["start", "--set", &both, "--listen", "127.0.0.1:0", "--set", "dohle.metrics.listener="]);
    mixed.expect(10, &[&third.text(), "meta.properties", "belongs to cluster"]);
    assert_eq!((contents(&third.path()), contents(&ours.path())), (before, after));
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 },
        )
    })
}

/// Sets the level of `metadata.version` in the first batch that has it, as a newer version would have written it.
fn write_metadata_version(log: &Path, level: i16) {
    const NAME: &[u8] = b"metadata.version";
    let mut bytes = fs::read(log).expect("the metadata log");
    let at = bytes.windows(NAME.len()).position(|window| window == NAME).expect("a level") + NAME.len();
    bytes[at..at + 2].copy_from_slice(&level.to_be_bytes());
    let size = |start: usize| {
        12 + u32::from_be_bytes(bytes[start + 8..start + 12].try_into().expect("four")) as usize
    };
    let mut start = 0;
    while start + size(start) < at {
        start += size(start);
    }
    let crc = crc32c(&bytes[start + 21..start + size(start)]);
    bytes[start + 17..start + 21].copy_from_slice(&crc.to_be_bytes());
    fs::write(log, bytes).expect("writable");
}

#[test]
fn metadata_of_a_newer_version() {
    let data = formatted();
    let log = data.path().join("__cluster_metadata-0/00000000000000000000.log");
    write_metadata_version(&log, 99);
    refuses(&data, &[], 11, &["__cluster_metadata-0", "metadata.version 99", "does not know"]);
}

#[test]
fn a_mount_that_is_read_only() {
    let data = formatted();
    let before = contents(&data.path());
    // Mounted where only this program sees it.
    let script = format!(
        "mount --bind {data} {data} && mount -o remount,bind,ro {data} && exec {dohle} start --data {data} --listen 127.0.0.1:0 \
         --set dohle.metrics.listener=",
        data = data.text(),
        dohle = env!("CARGO_BIN_EXE_dohle")
    );
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output();
    match output.map(Ended::of) {
        Ok(ended) if !ended.stderr.contains("unshare:") && !ended.stderr.contains("mount:") => {
            ended.expect(5, &[&data.text(), ".lock", "read-only"]);
        }
        // A machine where nobody may mount: there is no such mount to be had.
        other => println!("skipped: {other:?}"),
    }
    assert_eq!(contents(&data.path()), before);
}

#[test]
fn files_and_folders_of_others_are_left_alone() {
    let data = formatted();
    fs::create_dir_all(data.path().join("lost+found/x")).expect("a folder");
    fs::create_dir(data.path().join("no-partition-x")).expect("a folder");
    fs::write(data.path().join("notes.txt"), "of a person").expect("a file");
    fs::write(data.path().join("topic-0"), "a file, not a folder").expect("a file");
    let theirs = |all: Contents| -> Contents {
        let names = ["lost+found", "lost+found/x", "no-partition-x", "notes.txt", "topic-0"]
            .map(|name| data.path().join(name));
        all.into_iter().filter(|(path, _)| names.contains(path)).collect()
    };
    let before = theirs(contents(&data.path()));
    assert_eq!(before.len(), 5);
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
    assert_eq!(theirs(contents(&data.path())), before);
}

/// A folder that the metadata does not know keeps everything under the name that Kafka gives it; one that was deleted goes.
#[test]
fn strays_are_put_aside_and_deleted_folders_removed() {
    let data = formatted();
    let stray = data.path().join("unknown-3");
    fs::create_dir(&stray).expect("a folder");
    fs::write(stray.join("00000000000000000000.log"), "records").expect("a file");
    let deleted = data.path().join("gone-0.0123456789abcdef0123456789abcdef-delete");
    fs::create_dir(&deleted).expect("a folder");
    let future = data.path().join("moved-0.0123456789abcdef0123456789abcdef-future");
    fs::create_dir(&future).expect("a folder");
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
    assert!(!stray.exists() && !deleted.exists());
    let names: Vec<String> = contents(&data.path())
        .into_keys()
        .filter(|path| path.is_dir())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    let kept = names.iter().find(|name| name.starts_with("unknown-3.") && name.ends_with("-stray"));
    let kept = data.path().join(kept.unwrap_or_else(|| panic!("no stray folder in {names:?}")));
    assert_eq!(fs::read(kept.join("00000000000000000000.log")).expect("kept"), b"records");
    // The mark of a clean end is not held back by it, and it stays through the next start.
    assert!(data.path().join(".kafka_cleanshutdown").exists());
    assert_eq!(Node::start(&data, &[]).stop().code, Some(0));
    assert!(kept.exists());
}

//! Answers with records that were left in their log, through a real socket.

#![allow(clippy::disallowed_methods)]

use std::future::poll_fn;
use std::io::Read as _;
use std::path::Path;
use std::thread;

use dohle_env::disk::{RealDisk, SimDisk};
use dohle_env::thread::block_on;
use dohle_env::{Disk, Rng, net};
use dohle_log::{FolderFlushes, Log, LogContext, Read, ReadBuffers, Recovery, TailBudget, Verifying};
use dohle_records::{BatchBuilder, Compression};
use dohle_types::{LeaderEpoch, Offset, TimestampMs, Uuid};

use super::*;
use crate::budget::MemoryBudget;
use crate::session::{Door, Session};

const END: Offset = Offset(80);

fn log(disk: Arc<dyn Disk>, folder: &Path) -> Log {
    disk.create_dir_all(folder.parent().unwrap()).unwrap();
    let context = LogContext {
        disk,
        rng: Rng::seeded(1),
        tail: TailBudget::new(0),
        buffers: ReadBuffers::default(),
        producer_id_expiration_ms: 1000,
        verifying: Verifying::default(),
        folders: FolderFlushes::default(),
    };
    let (topic, now) = (Uuid::from_u128(7), TimestampMs(1000));
    let mut log =
        Log::open(&context, folder.to_owned(), topic, Arc::default(), Recovery::UNKNOWN, now).unwrap();
    for tag in 0..END.get() {
        let mut builder = BatchBuilder::new(Compression::None);
        let value: Vec<u8> = (0..60_000).map(|at| (at * (tag + 3) % 251) as u8).collect();
        builder.append(now, None, Some(&value), &[]);
        log.append_as_leader(vec![builder.build(Offset::ZERO, LeaderEpoch(0))], LeaderEpoch(0), now).unwrap();
    }
    log
}

fn read(log: &mut Log, may_defer: bool) -> dohle_log::Slice {
    match log.read_or_defer(Offset(0), END, 16 << 20, true, may_defer).unwrap() {
        Read::Ready(slice) => slice,
        Read::Cold(_) => panic!("all is in memory"),
    }
}

/// Sends two answers with the log's records between other bytes, calling `during` before the last is written, and checks what arrives.
fn sends_them(disk: Arc<dyn Disk>, folder: &Path, during: impl FnOnce()) {
    let mut log = log(disk, folder);
    let records = read(&mut log, false).chunks.concat();
    let segments = |slice: dohle_log::Slice| {
        let deferred = Arc::new(InLog(slice.deferred.expect("it is worth deferring")));
        let here = |text: &'static [u8]| Segment::Bytes(Bytes::from_static(text));
        vec![here(b"before"), Segment::Deferred(deferred), here(b""), here(b"after")]
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (served, address) = listener.accept().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let budget = MemoryBudget::new(1 << 30);
    let door = Arc::new(Door { name: "PLAINTEXT".into(), controller: false });
    let peer = Peer::new(Session::anonymous(door, address));
    let charged = budget.clone();
    block_on(async move {
        let (stream, reads) = (net::stream(served).unwrap(), ColdReads::of_nobody());
        let mut outgoing = Outgoing::default();
        for _ in 0..2 {
            let segments = segments(read(&mut log, true));
            outgoing.push(segments, charged.claim_up_to(1000), Some(charged.claim_up_to(500)));
        }
        assert_eq!((outgoing.pieces(), charged.used()), (6, 3000));
        during();
        poll_fn(|cx| {
            let mut turn = Turn::new();
            let before = outgoing.bytes();
            let wrote = outgoing.poll_write(&stream, &reads, &peer, &mut turn, cx);
            assert!(before - outgoing.bytes() <= TURN, "others have their turn");
            match wrote {
                Ok(_) if outgoing.is_empty() => Poll::Ready(()),
                Ok(_) => {
                    if turn.is_over() {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
                Err(error) => panic!("{error}"),
            }
        })
        .await;
        assert_eq!((outgoing.bytes(), charged.used()), (0, 0));
    });
    let answer = [&b"before"[..], &records, b"after"].concat();
    assert!(reader.join().unwrap() == answer.repeat(2));
}

#[test]
fn records_are_sent_from_their_file() {
    let folder = std::env::temp_dir().join(format!("dohle-outgoing-{}", std::process::id()));
    sends_them(Arc::new(RealDisk::new()), &folder.join("orders-0"), || ());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn where_files_cannot_be_sent_records_are_fetched() {
    sends_them(Arc::new(SimDisk::new(1)), Path::new("/data/orders-0"), || ());
}

#[test]
fn what_has_left_memory_is_read_where_reading_may_wait() {
    let disk = SimDisk::new(1);
    sends_them(Arc::new(disk.clone()), Path::new("/data/orders-0"), || disk.set_cold(true));
}

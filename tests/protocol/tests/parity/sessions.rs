//! Fetch sessions: begun, moved on, forgotten, fenced, ended.

use dohle_tests_protocol::run::Run;
use dohle_types::Uuid;
use dohle_wire::messages::fetch_request::{FetchPartition, FetchRequest, ForgottenTopic};

use crate::consume::{UNKNOWN, ask, full, part, topic};

pub fn script(run: &mut Run, id: Uuid) {
    for version in [7, 11, 12, 13, 18] {
        let start = |topics| FetchRequest { session_id: 0, session_epoch: 0, ..full(topics) };
        let first = ask(
            run,
            "a session starts",
            version,
            &start(vec![topic("f-one", id, vec![part(0, 0), part(1, 0)])]),
        );
        let session = first.map_or(0, |response| response.session_id);
        let next =
            |epoch: i32, topics| FetchRequest { session_id: session, session_epoch: epoch, ..full(topics) };
        ask(run, "nothing said", version, &next(1, vec![]));
        ask(run, "it moves on", version, &next(2, vec![topic("f-one", id, vec![part(0, 15)])]));
        ask(run, "nothing new", version, &next(3, vec![]));
        ask(run, "it moves back", version, &next(4, vec![topic("f-one", id, vec![part(0, 10)])]));
        ask(run, "an epoch too many", version, &next(9, vec![]));
        ask(run, "an epoch again", version, &next(4, vec![]));
        ask(run, "the right epoch after it", version, &next(5, vec![]));
        ask(run, "out of range", version, &next(6, vec![topic("f-one", id, vec![part(0, 99)])]));
        ask(run, "still out of range", version, &next(7, vec![]));
        ask(run, "back in range", version, &next(8, vec![topic("f-one", id, vec![part(0, 15)])]));
        ask(
            run,
            "an unknown topic comes",
            version,
            &next(9, vec![topic("f-none", UNKNOWN, vec![part(0, 0)])]),
        );
        ask(run, "it stays", version, &next(10, vec![]));
        let forgotten = ForgottenTopic {
            topic: "f-none".into(),
            topic_id: UNKNOWN,
            partitions: vec![0],
            ..Default::default()
        };
        ask(
            run,
            "it goes",
            version,
            &FetchRequest { forgotten_topics_data: vec![forgotten], ..next(11, vec![]) },
        );
        ask(run, "it is gone", version, &next(12, vec![]));
        ask(
            run,
            "an unknown partition comes",
            version,
            &next(13, vec![topic("f-one", id, vec![part(7, 0)])]),
        );
        let forgotten = ForgottenTopic {
            topic: "f-one".into(),
            topic_id: id,
            partitions: vec![0, 1, 7, 8],
            ..Default::default()
        };
        ask(
            run,
            "all go",
            version,
            &FetchRequest { forgotten_topics_data: vec![forgotten], ..next(14, vec![]) },
        );
        ask(run, "it is over", version, &next(15, vec![]));
        ask(run, "the end", version, &next(-1, vec![]));
        ask(run, "after the end", version, &next(16, vec![]));
        ask(
            run,
            "an unknown session",
            version,
            &FetchRequest { session_id: 123_456, session_epoch: 1, ..full(vec![]) },
        );
        ask(
            run,
            "an unknown session starts",
            version,
            &FetchRequest {
                session_id: 123_456,
                session_epoch: 0,
                ..full(vec![topic("f-one", id, vec![part(0, 0)])])
            },
        );
        ask(
            run,
            "an unknown session ends",
            version,
            &FetchRequest { session_id: 123_456, session_epoch: -1, ..full(vec![]) },
        );
        ask(
            run,
            "no session goes on",
            version,
            &FetchRequest { session_id: 0, session_epoch: 1, ..full(vec![]) },
        );
        ask(
            run,
            "an epoch below -1",
            version,
            &FetchRequest {
                session_id: 0,
                session_epoch: -3,
                ..full(vec![topic("f-one", id, vec![part(0, 0)])])
            },
        );
        ask(run, "a session of nothing", version, &start(vec![]));
        ask(
            run,
            "a session of an unknown topic",
            version,
            &start(vec![topic("f-none", UNKNOWN, vec![part(0, 0)])]),
        );
        let epoch = FetchPartition { current_leader_epoch: 5, ..part(0, 0) };
        ask(run, "a session with a bad epoch", version, &start(vec![topic("f-one", id, vec![epoch])]));
    }
    // A session made with names is asked with ids.
    let named = ask(
        run,
        "named",
        12,
        &FetchRequest {
            session_id: 0,
            session_epoch: 0,
            ..full(vec![topic("f-one", id, vec![part(0, 15)])])
        },
    );
    let session = named.map_or(0, |response| response.session_id);
    ask(run, "then by id", 13, &FetchRequest { session_id: session, session_epoch: 1, ..full(vec![]) });
    let by_id = ask(
        run,
        "by id",
        13,
        &FetchRequest {
            session_id: 0,
            session_epoch: 0,
            ..full(vec![topic("f-one", id, vec![part(0, 15)])])
        },
    );
    let session = by_id.map_or(0, |response| response.session_id);
    ask(run, "then by name", 12, &FetchRequest { session_id: session, session_epoch: 1, ..full(vec![]) });
}

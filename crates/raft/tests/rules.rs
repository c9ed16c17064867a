//! Rules that chance seldom gets to, each in the fewest events.

use dohle_raft::{
    Effect, ElectionState, Endpoint, Event, FetchRequest, KRaftVersions, LogPoint, LogShape, Raft, Recovered,
    Replica, Request, Response, Role, Settings, TickMs, Ticket, VoteRequest, Voter, VoterHistory, VoterSet,
};
use dohle_types::{DirectoryId, LeaderEpoch, NodeId, Offset};

fn replica(id: i32) -> Replica {
    Replica::new(NodeId(id), DirectoryId::from_u128(1000 + id as u128))
}

fn recovered(voters: i32, election: ElectionState, log: LogShape) -> Recovered {
    let endpoint = Endpoint { name: "CONTROLLER".to_owned(), host: "localhost".to_owned(), port: 9093 };
    let voter = |id| Voter {
        replica: replica(id),
        endpoints: vec![endpoint.clone()],
        kraft_versions: KRaftVersions::SUPPORTED,
    };
    let mut history = VoterHistory::default();
    history.record_kraft_version(Offset(-1), 1);
    history.record_voters(Offset(-1), VoterSet::new((1..=voters).map(voter)));
    Recovered { election, log, voters: history }
}

fn start(voters: i32, election: ElectionState, log: LogShape) -> (Raft, Vec<Effect>) {
    let settings = Settings::new(replica(1), "cluster".to_owned(), Vec::new());
    Raft::start(settings, recovered(voters, election, log), 7, TickMs(0))
}

fn vote(raft: &mut Raft, candidate: i32, epoch: i32, last: LogPoint) -> bool {
    let request = VoteRequest {
        cluster_id: None,
        voter: Some(replica(1)),
        candidate: replica(candidate),
        epoch: LeaderEpoch(epoch),
        last,
        pre_vote: false,
    };
    let effects = raft.step(TickMs(1), Event::Request { ticket: Ticket(9), request: Request::Vote(request) });
    let granted = effects.iter().find_map(|effect| match effect {
        Effect::Reply { response: Response::Vote { granted, .. }, .. } => Some(*granted),
        _ => None,
    });
    granted.expect("a vote is answered")
}

/// The only voter leads when it has started; what it is to remember comes before everything else.
#[test]
fn the_only_voter_leads_at_once() {
    let (raft, effects) = start(1, ElectionState::default(), LogShape::default());
    assert_eq!((raft.epoch(), raft.leader()), (LeaderEpoch(1), Some(NodeId(1))));
    assert!(matches!(&effects[0], Effect::PersistElection(state) if state.leader == Some(NodeId(1))));
    assert!(matches!(effects.last(), Some(Effect::Flush { .. })), "{effects:?}");
    assert_eq!(raft.high_watermark(), None, "nothing is committed before it is flushed");
    assert_eq!(raft.deadline(), None, "a leader on its own waits for nothing");
}

#[test]
fn the_flush_commits() {
    let (mut raft, effects) = start(1, ElectionState::default(), LogShape::default());
    let Some(Effect::Flush { era, up_to }) = effects.last() else { panic!("{effects:?}") };
    let committed = raft.step(TickMs(1), Event::Flushed { era: *era, up_to: *up_to });
    assert_eq!(committed, [Effect::HighWatermarkAdvanced { to: *up_to }]);
}

/// What it had led and not flushed may be elsewhere, under other offsets: it takes no further part in that epoch.
#[test]
fn a_leader_that_restarts_has_resigned() {
    let election = ElectionState { epoch: LeaderEpoch(4), leader: Some(NodeId(1)), voted: None };
    let (mut raft, _) = start(3, election, LogShape::default());
    assert!(matches!(raft.role(), Role::Resigned(_)));
    let far = LogPoint::new(Offset(99), LeaderEpoch(3));
    assert!(!vote(&mut raft, 2, 4, far), "it votes for nobody in the epoch it has led");
    assert!(vote(&mut raft, 2, 5, far));
    assert!(!vote(&mut raft, 3, 5, far), "one vote in an epoch");
}

/// Raft's figure 8: that a majority has a record of an earlier epoch commits nothing; that it has one of this epoch does.
#[test]
fn only_a_record_of_its_own_epoch_commits() {
    let log = LogShape::recovered(
        Offset(0),
        Offset(10),
        vec![LogPoint::new(Offset(0), LeaderEpoch(2))],
        Vec::new(),
    );
    let election = ElectionState { epoch: LeaderEpoch(2), leader: None, voted: None };
    let (mut raft, _) = start(3, election, log);
    lead(&mut raft);
    assert_eq!(raft.leading().map(|leading| leading.epoch), Some(LeaderEpoch(3)));
    let (start, end) = (Offset(10), raft.log().end());
    let has = |offset: Offset, epoch: i32| FetchRequest {
        cluster_id: None,
        replica: replica(2),
        epoch: LeaderEpoch(3),
        from: LogPoint::new(offset, LeaderEpoch(epoch)),
        max_wait_ms: 0,
        max_bytes: 1000,
        high_watermark: None,
    };
    let flushed = Event::Flushed { era: Default::default(), up_to: end };
    let mut fetch = |event| {
        let effects = raft.step(TickMs(5_000), event);
        effects.into_iter().find_map(|effect| match effect {
            Effect::HighWatermarkAdvanced { to } => Some(to),
            _ => None,
        })
    };
    assert_eq!(fetch(flushed), None);
    let request = Request::Fetch(has(start, 2));
    assert_eq!(fetch(Event::Request { ticket: Ticket(1), request }), None);
    let request = Request::Fetch(has(end, 3));
    assert_eq!(fetch(Event::Request { ticket: Ticket(2), request }), Some(end));
}

/// Two of three: node 2 grants whatever is asked.
fn lead(raft: &mut Raft) {
    let mut calls = Vec::new();
    for at in [TickMs(4_000), TickMs(4_001), TickMs(4_002)] {
        let event = match calls.pop() {
            Some((call, response)) => Event::Response { call, response },
            None => Event::Tick,
        };
        for effect in raft.step(at, event) {
            if let Effect::Send { call, request: Request::Vote(vote), .. } = effect {
                let standing = dohle_raft::Standing {
                    error: dohle_types::ErrorCode::None,
                    leader: None,
                    epoch: vote.epoch,
                    endpoints: Vec::new(),
                };
                calls.push((call, Response::Vote { standing, granted: true }));
            }
        }
    }
}

//! Which peers are being waited for: at most one request under way to each, a pause after a failure.

use std::collections::BTreeMap;

use dohle_types::NodeId;

use crate::event::{Call, TickMs};

/// What a call is about, so that its answer is understood even if it is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Vote { pre_vote: bool },
    BeginQuorumEpoch,
    EndQuorumEpoch,
    Fetch,
    FetchSnapshot,
    ApiVersions,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Waiting { call: Call, subject: Subject, until: TickMs },
    Pausing { until: TickMs },
}

/// The lines to the peers. A peer without one is ready.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    lines: BTreeMap<NodeId, Line>,
    next_call: u64,
}

impl Connections {
    /// When `peer` can be asked again; `None` for now.
    pub fn busy_until(&self, peer: NodeId, now: TickMs) -> Option<TickMs> {
        match self.lines.get(&peer) {
            Some(Line::Waiting { until, .. } | Line::Pausing { until }) if *until > now => Some(*until),
            _ => None,
        }
    }

    pub fn open(&mut self, peer: NodeId, subject: Subject, until: TickMs) -> Call {
        self.next_call += 1;
        let call = Call(self.next_call);
        self.lines.insert(peer, Line::Waiting { call, subject, until });
        call
    }

    /// Who is to answer `call` and about what. `None` when nobody waits for that answer any more.
    pub fn close(&mut self, call: Call) -> Option<(NodeId, Subject)> {
        let waited = |line: &Line| match line {
            Line::Waiting { call: open, subject, .. } if *open == call => Some(*subject),
            _ => None,
        };
        let (peer, subject) = self.lines.iter().find_map(|(peer, line)| Some((*peer, waited(line)?)))?;
        self.lines.remove(&peer);
        Some((peer, subject))
    }

    pub fn pause(&mut self, peer: NodeId, until: TickMs) {
        self.lines.insert(peer, Line::Pausing { until });
    }

    /// Until when anyone is waited for about `subject`.
    pub fn waiting_until(&self, subject: Subject, now: TickMs) -> Option<TickMs> {
        self.lines.values().find_map(|line| match line {
            Line::Waiting { subject: open, until, .. } if *open == subject && *until > now => Some(*until),
            _ => None,
        })
    }

    /// Forgets everything: the role is another, and so are the questions.
    pub fn reset(&mut self) {
        self.lines.clear();
    }
}

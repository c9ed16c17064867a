//! Whom to speak to, and where: the leader, the voters, the bootstrap servers.

use dohle_types::NodeId;

use crate::connections::Subject;
use crate::event::{Effect, Peer};
use crate::message::Request;
use crate::raft::Raft;
use crate::voters::Endpoint;

/// The number Kafka gives to the first bootstrap server; the others follow downwards.
const FIRST_BOOTSTRAP_ID: i32 = -2;

impl Raft {
    /// Where a replica listens that leads, or votes.
    pub(crate) fn endpoints_of(&self, leader: NodeId) -> Vec<Endpoint> {
        if leader == self.local().id {
            self.settings.endpoints.clone()
        } else if self.leader_endpoints.is_empty() {
            self.voters.latest().get(leader).map_or_else(Vec::new, |voter| voter.endpoints.clone())
        } else {
            self.leader_endpoints.clone()
        }
    }

    pub(crate) fn other_voters(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        let local = self.local().id;
        self.voters.latest().ids().filter(move |id| *id != local)
    }

    /// Where to reach a voter or the leader.
    pub(crate) fn peer(&self, id: NodeId) -> Option<Peer> {
        let endpoints = self.endpoints_of_peer(id);
        let endpoint = match self.listener() {
            Some(name) => endpoints.iter().find(|endpoint| endpoint.name == name),
            None => None,
        };
        endpoint.or(endpoints.first()).map(|endpoint| Peer { id, endpoint: endpoint.clone() })
    }

    fn endpoints_of_peer(&self, id: NodeId) -> Vec<Endpoint> {
        if self.leader() == Some(id) {
            return self.endpoints_of(id);
        }
        self.voters.latest().get(id).map_or_else(Vec::new, |voter| voter.endpoints.clone())
    }

    /// Asks one bootstrap server, or one voter, for the leader, by fetching from it.
    pub(crate) fn ask_anyone(&mut self) {
        if let Some(until) = self.connections.waiting_until(Subject::Fetch, self.now) {
            self.wake(until);
            return;
        }
        let peers: Vec<Peer> = if self.settings.bootstrap.is_empty() {
            self.other_voters().filter_map(|id| self.peer(id)).collect()
        } else {
            let numbered = self.settings.bootstrap.iter().cloned().zip(0..);
            numbered.map(|(endpoint, i)| Peer { id: NodeId(FIRST_BOOTSTRAP_ID - i), endpoint }).collect()
        };
        if peers.is_empty() {
            return;
        }
        self.next_bootstrap = (self.next_bootstrap + 1) % peers.len();
        self.send_fetch(peers[self.next_bootstrap].clone());
    }

    /// Sends, unless the peer still owes an answer; then notes when to look again.
    pub(crate) fn send(
        &mut self,
        peer: Peer,
        subject: Subject,
        request: impl FnOnce(&Self) -> Request,
    ) -> bool {
        if let Some(until) = self.connections.busy_until(peer.id, self.now) {
            self.wake(until);
            return false;
        }
        let until = self.now + self.settings.request_timeout_ms;
        let request = request(self);
        let call = self.connections.open(peer.id, subject, until);
        self.wake(until);
        self.effects.push(Effect::Send { call, to: peer, request });
        true
    }
}

//! BrokerHeartbeat: a broker is alive, says what it wants, and is told what it is.
//!
//! ```text
//!            caught up                       wants to stop, leads something
//!   fenced ─────────────> unfenced ────────────────────────────────────────> shutting down
//!      │  <─────────────     │                                                     │
//!      │   wants a fence     │ wants to stop, leads nothing                        │ leads nothing, and every other
//!      └─────────────────────┴──────────────> may stop <───────────────────────────┘ broker has read as much
//! ```

use dohle_types::{BrokerEpoch, NodeId, Offset};
use dohle_wire::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};

use super::error::{ApiError, Result};
use super::turn::Turn;
use crate::image::Broker;

/// What a broker is, as far as the controller is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ShuttingDown,
    /// Fenced, and told to stop.
    MayStop,
}

impl Turn<'_> {
    pub(super) fn broker_heartbeat(
        &mut self,
        request: &BrokerHeartbeatRequest,
    ) -> Result<BrokerHeartbeatResponse> {
        let (id, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let Some(&registered_at) = self.registrations.get(&id) else {
            let sentence = format!("Receive a heartbeat from broker {id} before registration");
            return Err(ApiError::stale_broker_epoch(sentence));
        };
        self.check_broker_epoch(request.broker_id, request.broker_epoch)?;
        self.sessions.touch(id, epoch, self.now);
        let broker = self.image().brokers.get(id).expect("its epoch was checked").clone();
        let caught_up = request.current_metadata_offset >= registered_at.get();

        let current = self.state_of(&broker);
        let next = self.next_state(&broker, current, request, caught_up);
        match next {
            _ if next == current => {}
            State::Fenced | State::MayStop => self.fence(id, epoch)?,
            State::Unfenced => self.unfence(id, epoch)?,
            State::ShuttingDown => self.shut_down(id, epoch)?,
        }
        match next {
            // Its session ends with its permission: whoever starts next under that id need not wait.
            State::MayStop => self.sessions.end(id),
            State::Fenced => self.sessions.forget_shutdown(id),
            State::Unfenced | State::ShuttingDown => {
                self.sessions.set_metadata_offset(id, epoch, Offset(request.current_metadata_offset));
            }
        }
        self.heed_directories(id, request)?;
        if next == State::ShuttingDown {
            // The last record so far: once everybody has read it, everybody knows who leads instead.
            let last = self.batch.end_offset().plus(-1);
            self.sessions.begin_shutdown(id, epoch, last);
        }
        Ok(BrokerHeartbeatResponse {
            is_caught_up: caught_up,
            is_fenced: matches!(next, State::Fenced | State::MayStop),
            should_shut_down: next == State::MayStop,
            ..Default::default()
        })
    }

    fn state_of(&self, broker: &Broker) -> State {
        if broker.fenced {
            State::Fenced
        } else if self.sessions.shutdown_offset(broker.id, broker.epoch).is_some() {
            State::ShuttingDown
        } else {
            State::Unfenced
        }
    }

    fn next_state(
        &self,
        broker: &Broker,
        current: State,
        request: &BrokerHeartbeatRequest,
        caught_up: bool,
    ) -> State {
        match current {
            State::Fenced if request.want_shut_down => State::MayStop,
            // Who was told to stop comes back as another incarnation, or not at all.
            State::Fenced if broker.in_controlled_shutdown => State::Fenced,
            State::Fenced if !request.want_fence && caught_up => State::Unfenced,
            State::Unfenced if request.want_fence && request.want_shut_down => State::MayStop,
            State::Unfenced if request.want_fence => State::Fenced,
            State::Unfenced if request.want_shut_down && !self.leads_anything(broker.id) => State::MayStop,
            State::Unfenced if request.want_shut_down => State::ShuttingDown,
            State::ShuttingDown if !self.leads_anything(broker.id) && self.others_know(broker) => {
                State::MayStop
            }
            current => current,
        }
    }

    /// Whether every broker that serves clients has read the records that moved the leaderships of this one.
    fn others_know(&self, broker: &Broker) -> bool {
        let Some(moved) = self.sessions.shutdown_offset(broker.id, broker.epoch) else {
            return false;
        };
        self.sessions.lowest_active_offset(self.image()).is_none_or(|lowest| lowest >= moved)
    }

    fn leads_anything(&self, id: NodeId) -> bool {
        let leads = |topic: &crate::image::Topic| {
            topic.partitions.iter().any(|(_, partition)| partition.leader == id)
        };
        self.image().topics.iter().any(leads)
    }

    fn heed_directories(&mut self, id: NodeId, request: &BrokerHeartbeatRequest) -> Result<()> {
        let version = self.metadata_version();
        let broker = self.image().brokers.get(id).expect("registered").clone();
        if version.directory_assignment_supported() {
            self.directories_offline(&broker, &request.offline_log_dirs)?;
        }
        match &request.cordoned_log_dirs {
            Some(cordoned) if version.cordoned_log_dirs_supported() => {
                self.directories_cordoned(&broker, cordoned)
            }
            _ => Ok(()),
        }
    }
}

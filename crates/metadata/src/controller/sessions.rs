//! Which brokers are alive: what heartbeats tell. Soft state of the active controller; nothing of it is in the log.

use std::collections::BTreeMap;

use dohle_types::{BrokerEpoch, NodeId, Offset, TimestampMs};

use crate::image::Image;

/// What is known of one incarnation of a broker.
#[derive(Clone, Debug)]
struct Session {
    epoch: BrokerEpoch,
    /// When it was last heard of; `None` when it never was.
    contact: Option<TimestampMs>,
    /// The contact is not one: see [`Sessions::of_new_controller`].
    is_former: bool,
    /// How far it has read the metadata log.
    metadata_offset: Offset,
    /// The end of the log when it was told to give its leaderships away.
    shutdown_offset: Option<Offset>,
}

/// The sessions by broker. A broker without one has not been heard of since this controller became active.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(BTreeMap<NodeId, Session>);

impl Sessions {
    /// The sessions of a controller that becomes active: who is not fenced was heard of just now, as far as anyone can tell.
    /// The broker in this very process is the exception: its former incarnation cannot be alive beside it. It is fenced in
    /// time like any other if nothing is heard of it, but it does not keep its successor from registering.
    pub fn of_new_controller(image: &Image, node_id: NodeId, now: TimestampMs) -> Self {
        let mut sessions = Self::default();
        for broker in image.brokers.iter().filter(|broker| !broker.fenced) {
            let session = sessions.of_incarnation(broker.id, broker.epoch);
            session.contact = Some(now);
            session.is_former = broker.id == node_id;
        }
        sessions
    }

    /// The broker has been heard of.
    pub fn touch(&mut self, id: NodeId, epoch: BrokerEpoch, now: TimestampMs) {
        let session = self.of_incarnation(id, epoch);
        session.contact = Some(now);
        session.is_former = false;
    }

    pub fn set_metadata_offset(&mut self, id: NodeId, epoch: BrokerEpoch, offset: Offset) {
        self.of_incarnation(id, epoch).metadata_offset = offset;
    }

    /// Remembers where the log ended when the broker began to shut down; the first one counts.
    pub fn begin_shutdown(&mut self, id: NodeId, epoch: BrokerEpoch, end: Offset) {
        self.of_incarnation(id, epoch).shutdown_offset.get_or_insert(end);
    }

    /// The broker is fenced or gone: whatever it was told does not count any more.
    pub fn end(&mut self, id: NodeId) {
        self.0.remove(&id);
    }

    /// A fenced broker is heard of like any other, but has no shutdown to finish.
    pub fn forget_shutdown(&mut self, id: NodeId) {
        if let Some(session) = self.0.get_mut(&id) {
            session.shutdown_offset = None;
        }
    }

    /// Whether that incarnation was heard of within the session timeout.
    pub fn is_alive(&self, id: NodeId, epoch: BrokerEpoch, now: TimestampMs, timeout_ms: i64) -> bool {
        let session = self.0.get(&id).filter(|session| session.epoch == epoch && !session.is_former);
        let contact = session.and_then(|session| session.contact);
        contact.is_some_and(|contact| !is_expired(contact, now, timeout_ms))
    }

    pub fn shutdown_offset(&self, id: NodeId, epoch: BrokerEpoch) -> Option<Offset> {
        self.0.get(&id).filter(|session| session.epoch == epoch).and_then(|session| session.shutdown_offset)
    }

    /// How far every active broker of `image` has read the metadata log; `None` when there is no active broker.
    pub fn lowest_active_offset(&self, image: &Image) -> Option<Offset> {
        let offset_of = |id, epoch| match self.0.get(&id) {
            Some(session) if session.epoch == epoch => session.metadata_offset,
            _ => Offset::NONE,
        };
        image
            .brokers
            .iter()
            .filter(|broker| broker.is_active())
            .map(|broker| offset_of(broker.id, broker.epoch))
            .min()
    }

    /// Some broker that was heard of, but not for longer than the timeout.
    pub fn expired(&self, now: TimestampMs, timeout_ms: i64) -> Option<(NodeId, BrokerEpoch)> {
        self.0
            .iter()
            .find(|(_, session)| session.contact.is_some_and(|contact| is_expired(contact, now, timeout_ms)))
            .map(|(id, session)| (*id, session.epoch))
    }

    /// When the next session runs out if nobody is heard of.
    pub fn next_expiry(&self, timeout_ms: i64) -> Option<TimestampMs> {
        let contact = self.0.values().filter_map(|session| session.contact).min()?;
        Some(TimestampMs(contact.get().saturating_add(timeout_ms).saturating_add(1)))
    }

    fn of_incarnation(&mut self, id: NodeId, epoch: BrokerEpoch) -> &mut Session {
        let fresh = Session {
            epoch,
            contact: None,
            is_former: false,
            metadata_offset: Offset::NONE,
            shutdown_offset: None,
        };
        let session = self.0.entry(id).or_insert_with(|| fresh.clone());
        if session.epoch != epoch {
            *session = fresh;
        }
        session
    }
}

fn is_expired(contact: TimestampMs, now: TimestampMs, timeout_ms: i64) -> bool {
    contact.get().saturating_add(timeout_ms) < now.get()
}

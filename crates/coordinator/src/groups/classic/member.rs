//! A member of a classic group: what it told when it joined, what the leader gave it, and whether it waits for an answer.

use bytes::Bytes;
use dohle_wire::messages as m;
use dohle_wire::{Reader, Text};
use m::join_group_request::JoinGroupRequestProtocol;

use crate::frame::ReplyTo;
use crate::groups::request::Client;

/// A way of assigning that a member knows, and what it tells the leader in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Text,
    pub metadata: Bytes,
}

/// An answer that somebody waits for, and the version of the request: the answer's shape depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub to: ReplyTo,
    pub version: i16,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub id: Text,
    pub instance_id: Option<Text>,
    pub client: Client,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// In the order of preference; never empty, no name twice.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// Counted by [`super::ClassicGroup`], therefore changed only there.
    pub(super) awaiting_join: Option<Waiting>,
    pub(super) awaiting_sync: Option<Waiting>,
    /// Has not been told its id yet, so that it cannot heartbeat; it may be removed although it waits.
    pub(super) is_new: bool,
}

impl Member {
    pub fn new(
        id: Text,
        instance_id: Option<Text>,
        client: Client,
        timeouts_ms: (i32, i32),
        protocols: Vec<Protocol>,
    ) -> Self {
        let (rebalance_timeout_ms, session_timeout_ms) = timeouts_ms;
        Self {
            id,
            instance_id,
            client,
            rebalance_timeout_ms,
            session_timeout_ms,
            protocols,
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// What the member said under a protocol.
    pub fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|known| known.name == *protocol).map(|known| &known.metadata)
    }

    /// It waits for what others have to do, so its silence is no sign of death.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// What nearly every member says. The names of these are nobody's memory.
const USUAL: [&str; 6] = ["consumer", "connect", "range", "roundrobin", "sticky", "cooperative-sticky"];

/// The name of a protocol or its type, for keeping.
pub(super) fn kept_name(name: &Text) -> Text {
    let usual = USUAL.iter().find(|usual| name == **usual);
    usual.map_or_else(|| name.detached(), |usual| Text::from_static(usual))
}

/// The protocols of a request in buffers of their own: they outlive it.
pub(super) fn protocols_of(request: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut protocols: Vec<Protocol> = Vec::with_capacity(request.len());
    for protocol in request {
        if protocols.iter().all(|known| known.name != protocol.name) {
            let metadata = Bytes::copy_from_slice(&protocol.metadata);
            protocols.push(Protocol { name: kept_name(&protocol.name), metadata });
        }
    }
    protocols
}

/// A new member's id: what the client is called, and what nobody can guess.
pub(super) fn new_id(prefix: &str, chance: u64) -> Text {
    let mut bytes = [0; 16];
    let (high, low) = bytes.split_at_mut(8);
    high.copy_from_slice(&mixed(chance).to_be_bytes());
    low.copy_from_slice(&mixed(chance.wrapping_add(MIX_STEP)).to_be_bytes());
    // A UUID of version 4, as a Java client's broker makes them.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    // What was formatted may have room for more.
    Text::from(format!("{prefix}-{}", parts.join("-")).as_str())
}

const MIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// One step of SplitMix64: spreads a seed over all bits.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(MIX_STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The topics of a consumer's subscription, read as its first version, with which all others begin.
pub(super) fn topics_of(metadata: &Bytes) -> Option<Vec<Text>> {
    let mut reader = Reader::new(metadata.clone());
    reader.i16().ok()?;
    let count = usize::try_from(reader.i32().ok()?).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(reader.string(false).ok()?);
    }
    // User data, which may be null, ends the first version.
    reader.nullable_bytes(false).ok()?;
    Some(topics)
}

/// Where a string stands in a small `java.util.HashMap`.
pub(super) fn java_bucket(text: &str) -> u32 {
    const BUCKETS: u32 = 16;
    let hash =
        text.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    (hash ^ (hash >> 16)) & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_after_the_clients_name() {
        let id = new_id("me", 7);
        assert_eq!(id.len(), "me-".len() + 36);
        let uuid = &id[3..];
        let dashes: Vec<usize> = uuid.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!(dashes, [8, 13, 18, 23]);
        assert_eq!(&uuid[14..15], "4");
        assert_ne!(id, new_id("me", 8));
    }
}

//! Who is at the other end of a connection, and by which door it came in.
//!
//! Authentication adds states here, one type each; a session in the table of a plain-text listener is known from the start.

use std::net::SocketAddr;

use dohle_wire::Text;

/// The most bytes of one frame before the peer has said who it is (`sasl.server.max.receive.size`).
pub const UNAUTHENTICATED_FRAME_MAX: usize = 512 * 1024;

/// Which of the node's listeners a connection came in by.
#[derive(Clone, Debug)]
pub struct Door {
    /// The listener's name, such as `PLAINTEXT`.
    pub name: Text,
    /// Whether it is one of `controller.listener.names`: another set of APIs is served there.
    pub controller: bool,
}

/// An authenticated peer.
#[derive(Clone, Debug)]
pub struct Session {
    pub door: std::sync::Arc<Door>,
    pub peer: SocketAddr,
    /// `Type:name`, as ACLs write it.
    pub principal: Text,
}

impl Session {
    /// The peer of a listener without authentication.
    pub fn anonymous(door: std::sync::Arc<Door>, peer: SocketAddr) -> Self {
        Self { door, peer, principal: Text::from("User:ANONYMOUS") }
    }
}

//! Doors: sockets that listen, and what is let in.
//!
//! Connections are accepted on the first core, and each goes to the core that the [`crate::doorkeeper`] says, within its bounds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use dohle_config::{BindHost, Listener};
use dohle_env::{net, task};
use tracing::{debug, warn};

use crate::connection::Connection;
use crate::core::Core;
use crate::doorkeeper::{Place, TooMany};
use crate::request::Peer;
use crate::session::{Door, Session};

/// The core that accepts connections for all.
pub const ACCEPTING_CORE: usize = 0;
/// How long accepting pauses when the process is out of descriptors, rather than spinning.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens already, but is not served yet.
pub struct Bound {
    pub door: Arc<Door>,
    pub address: SocketAddr,
    socket: std::net::TcpListener,
}

/// A listener's address cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listener {name}): {error}")]
pub struct BindError {
    pub name: String,
    pub address: String,
    pub error: io::Error,
}

/// Binds a listener: one socket, or two where its host stands for two addresses (`localhost`).
pub fn bind(listener: &Listener, controller: bool) -> Result<Vec<Bound>, BindError> {
    let failed = |address: String| {
        let name = listener.name.clone();
        move |error| BindError { name, address, error }
    };
    let shown = format!("{}:{}", listener.host, listener.port);
    let addresses = resolve(listener).map_err(failed(shown.clone()))?;
    let door = Arc::new(Door { name: listener.name.as_str().into(), controller });
    let mut bound: Vec<Bound> = Vec::new();
    let mut refused = None;
    for mut address in addresses {
        // A port that the kernel picked for the first address is used for the second.
        if let Some(first) = bound.first() {
            address.set_port(first.address.port());
        }
        match net::bind(address, false) {
            Ok(socket) => {
                let address = socket.local_addr().map_err(failed(address.to_string()))?;
                bound.push(Bound { door: door.clone(), address, socket });
                // The wildcard of IPv6 takes IPv4 too; the other one is for machines without IPv6.
                if address.ip().is_unspecified() {
                    return Ok(bound);
                }
            }
            // A machine without IPv6 has no ::1, and no wildcard of it.
            Err(error) if is_missing_address(&error) => refused = Some((address, error)),
            Err(error) => return Err(failed(address.to_string())(error)),
        }
    }
    match refused {
        Some((address, error)) if bound.is_empty() => Err(failed(address.to_string())(error)),
        _ => Ok(bound),
    }
}

fn resolve(listener: &Listener) -> io::Result<Vec<SocketAddr>> {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let port = listener.port;
    Ok(match listener.bind_host() {
        BindHost::Wildcard => {
            vec![
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            ]
        }
        BindHost::Loopback => {
            vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
        }
        BindHost::Address(address) => vec![SocketAddr::from((address, port))],
        BindHost::Name(name) => {
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port))?.next();
            vec![found.ok_or(io::ErrorKind::AddrNotAvailable)?]
        }
    })
}

fn is_missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable) || error.raw_os_error() == Some(97)
}

/// Accepts connections on the first core until it ends.
pub fn serve(core: &Rc<Core>, bound: Bound) -> io::Result<()> {
    let listener = net::listener(bound.socket)?;
    let core = core.clone();
    task::spawn(async move {
        while !core.is_draining() {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let answer = core.doorkeeper.borrow_mut().admit(peer.ip().to_canonical());
                    match answer {
                        Ok(place) => hand_over(&core, place, stream, peer, bound.door.clone()),
                        Err(too_many) => turn_away(peer, too_many),
                    }
                }
                Err(error) => {
                    warn!(%error, listener = %bound.door.name, "accepting failed");
                    task::sleep(PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

fn turn_away(peer: SocketAddr, too_many: TooMany) {
    debug!(%peer, %too_many, "refusing a connection");
    if let TooMany::Files { clients, first: true } = too_many {
        warn!(clients, "more clients than the limit of open files (ulimit -n) leaves descriptors for");
    }
}

/// Moves an accepted connection to the core that will serve it.
fn hand_over(core: &Rc<Core>, place: Place, stream: net::TcpStream, peer: SocketAddr, door: Arc<Door>) {
    _ = stream.set_nodelay(true);
    if place.core == core.index {
        return attend(core, place, stream, peer, door);
    }
    match stream.into_std() {
        Ok(stream) => core.tell(place.core, move |core| match net::stream(stream) {
            Ok(stream) => attend(core, place, stream, peer, door),
            Err(error) => lost(core, place, &error),
        }),
        Err(error) => lost(core, place, &error),
    }
}

fn lost(core: &Rc<Core>, place: Place, error: &io::Error) {
    warn!(%error, "a connection was lost on its way to its core");
    leave(core, place);
}

/// Gives the place of a connection back.
fn leave(core: &Rc<Core>, place: Place) {
    core.tell(ACCEPTING_CORE, move |core| core.doorkeeper.borrow_mut().leave(place));
}

/// Serves a connection on this core.
fn attend(core: &Rc<Core>, place: Place, stream: net::TcpStream, peer: SocketAddr, door: Arc<Door>) {
    let session = Session::anonymous(door, peer);
    let connection = Connection::new(stream, core.clone(), Peer::new(session));
    core.metrics.connections_opened.add(1);
    leave_files(core);
    task::spawn(Attended { connection, core: core.clone(), peer, place: Some(place) });
}

/// Leaves as many descriptors to partitions as the core's connections do not take.
fn leave_files(core: &Rc<Core>) {
    let connected = core.metrics.connections_opened.get() - core.metrics.connections_closed.get();
    core.files.borrow_mut().beside(usize::try_from(connected).unwrap_or(usize::MAX));
    core.flush_for_room();
}

/// The task of a connection, from its start until its place is free again.
struct Attended {
    connection: Connection,
    core: Rc<Core>,
    peer: SocketAddr,
    /// Until it is given back.
    place: Option<Place>,
}

impl Future for Attended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let end = ready!(Pin::new(&mut self.connection).poll(cx));
        debug!(peer = %self.peer, ?end, "connection ended");
        self.core.metrics.connections_closed.add(1);
        leave_files(&self.core);
        if let Some(place) = self.place.take() {
            leave(&self.core, place);
        }
        Poll::Ready(())
    }
}

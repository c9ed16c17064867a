//! Sockets: listening and connecting. Streams themselves are tokio's.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
pub use tokio::io::Interest;
pub use tokio::net::{TcpListener, TcpStream};

/// How many connections may wait to be accepted: all clients of a node that was started again. One more waits a second until it is tried
/// again. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds and listens. `shared_port` lets several threads listen on one port (`SO_REUSEPORT`), the kernel dealing out connections.
///
/// An IPv6 wildcard address takes IPv4 connections too, as on a JVM.
pub fn bind(address: SocketAddr, shared_port: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Registers a bound listener with the current thread's runtime.
pub fn listener(bound: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(bound)
}

/// Registers an accepted connection, possibly accepted on another thread, with the current thread's runtime.
pub fn stream(accepted: std::net::TcpStream) -> io::Result<TcpStream> {
    accepted.set_nonblocking(true)?;
    TcpStream::from_std(accepted)
}

pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}

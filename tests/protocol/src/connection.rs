//! A connection to a broker that says what it is told to, right or wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use dohle_wire::{ApiKey, Message, Reader, Request, Writer, encode_request_header};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read: no test asks for one of this size.
const LONGEST_ANSWER: usize = 64 << 20;

#[derive(Debug)]
pub struct Connection {
    pub socket: TcpStream,
    /// Whether the last answer did not come, while the connection stayed open.
    pub unanswered: bool,
    correlation_id: i32,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).expect("the broker accepts connections")
    }

    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_nodelay(true).expect("no delay");
        Ok(Self { socket, unanswered: false, correlation_id: 0 })
    }

    /// Sends a frame. What the other end has closed shows when its answer is awaited.
    pub fn send(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).expect("a frame of a test");
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(frame);
        let _ = self.socket.write_all(&bytes);
    }

    /// The next frame; `None` when the connection is closed, or nothing comes.
    pub fn receive(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        if !self.fill(&mut length) {
            return None;
        }
        let length = usize::try_from(i32::from_be_bytes(length)).expect("the length of an answer");
        assert!(length <= LONGEST_ANSWER, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.fill(&mut frame).then(|| frame.into())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        match self.socket.read_exact(bytes) {
            Ok(()) => true,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.unanswered = true;
                false
            }
            Err(_) => false,
        }
    }

    /// The frame of a request; `None` when this version cannot say it.
    pub fn frame<R: Request>(&mut self, request: &R, version: i16) -> Option<Bytes> {
        self.correlation_id += 1;
        let mut w = Writer::new();
        encode_request_header(&mut w, R::KEY, version, self.correlation_id, Some("parity".into())).ok()?;
        request.encode(&mut w, version).ok()?;
        Some(w.into_bytes())
    }

    /// The answer to the last request; `None` when the connection is closed instead.
    pub fn response<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let frame = self.receive()?;
        Some(decode::<R>(frame, version, self.correlation_id))
    }

    /// Sends a request and waits for its answer.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        let frame = self.frame(request, version).expect("a request this version can say");
        self.send(&frame);
        self.response::<R>(version)
    }
}

pub fn decode<R: Request>(frame: Bytes, version: i16, correlation_id: i32) -> R::Response {
    let mut reader = Reader::new(frame);
    let header =
        dohle_wire::messages::ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version))
            .expect("a response's header");
    assert_eq!(header.correlation_id, correlation_id, "answers come in order");
    let response = R::Response::decode(&mut reader, version)
        .unwrap_or_else(|e| panic!("the answer to {} v{version} cannot be read: {e}", R::KEY));
    reader.finish().expect("nothing follows the answer");
    response
}

/// The start of a frame by hand: key, version, correlation id and a client id, as headers 1 have them.
pub fn head(key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend(version.to_be_bytes());
    bytes.extend(correlation_id.to_be_bytes());
    bytes.extend([0, 1, b'h']);
    bytes
}

/// The oldest version, one in the middle and the newest stable one.
pub fn some_versions(key: ApiKey) -> Vec<i16> {
    let (min, max) = (key.min_version(), key.latest_version(false));
    let mut versions = vec![min, i16::midpoint(min, max), max];
    versions.dedup();
    versions
}

pub fn all_versions(key: ApiKey) -> Vec<i16> {
    (key.min_version()..=key.latest_version(false)).collect()
}

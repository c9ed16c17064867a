//! One connection: frames out, frames in, and typed calls for what is not measured.

#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dohle_wire::messages::{ApiVersionsRequest, ResponseHeader};
use dohle_wire::{ApiKey, Message, Reader, Request, Writer, encode_request_header};

use crate::Outcome;

pub const CLIENT_ID: &str = "dohle-bench";
/// The largest response that is read.
const MAX_FRAME: usize = 256 << 20;
/// How much is read at once where it is not into a response's own buffer.
const READ_AHEAD: usize = 64 << 10;
/// A broker that says nothing for so long is not coming back.
const SILENCE: Duration = Duration::from_secs(60);
/// The version at which versions are asked for: every broker of this century knows it.
const ASKED_AT: i16 = 3;
/// Length, API and version stand before the correlation id.
const CORRELATION_AT: usize = 8;

/// The version of each API that the broker and this client share.
#[derive(Clone, Debug, Default)]
pub struct Versions(Arc<HashMap<i16, i16>>);

impl Versions {
    pub fn of(&self, key: ApiKey) -> Outcome<i16> {
        self.0
            .get(&key.code())
            .copied()
            .ok_or_else(|| format!("the broker does not speak {}", key.name()).into())
    }
}

/// A request frame, complete but for its correlation id.
#[derive(Clone, Debug)]
pub struct Frame(Vec<u8>);

impl Frame {
    pub fn new<R: Request>(request: &R, version: i16) -> Outcome<Self> {
        let mut writer = Writer::framed();
        encode_request_header(&mut writer, R::KEY, version, 0, Some(CLIENT_ID.into()))?;
        request.encode(&mut writer, version)?;
        Ok(Self(writer.into_bytes().to_vec()))
    }

    fn number(&mut self, correlation: i32) -> &[u8] {
        self.0[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation.to_be_bytes());
        &self.0
    }
}

/// A connected broker.
#[derive(Debug)]
pub struct Connection {
    pub sender: Sender,
    pub receiver: Receiver,
    pub versions: Versions,
}

/// The half that sends. Correlation ids count up from 0.
#[derive(Debug)]
pub struct Sender {
    stream: TcpStream,
    next: i32,
}

/// The half that receives. Responses come in the order of the requests, and that is checked.
#[derive(Debug)]
pub struct Receiver {
    stream: BufReader<TcpStream>,
    next: i32,
    buffer: BytesMut,
}

impl Connection {
    pub fn open(address: &str) -> Outcome<Self> {
        let mut connection = Self::connect(address)?;
        connection.ask_for_versions()?;
        connection.hear_versions()?;
        Ok(connection)
    }

    /// Connections that are all made before any of them says anything, as clients come back to a broker that was away; they stay open
    /// and say nothing more.
    pub fn storm(address: &str, count: usize) -> Outcome<Vec<TcpStream>> {
        let mut all = (0..count).map(|_| Self::connect(address)).collect::<Outcome<Vec<_>>>()?;
        all.iter_mut().try_for_each(Self::ask_for_versions)?;
        all.iter_mut().try_for_each(Self::hear_versions)?;
        Ok(all.into_iter().map(Self::into_silence).collect())
    }

    fn connect(address: &str) -> Outcome<Self> {
        let stream =
            TcpStream::connect(address).map_err(|error| format!("cannot connect to {address}: {error}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let receiver = Receiver {
            stream: BufReader::with_capacity(READ_AHEAD, stream.try_clone()?),
            next: 0,
            buffer: BytesMut::new(),
        };
        Ok(Self { sender: Sender { stream, next: 0 }, receiver, versions: Versions::default() })
    }

    fn ask_for_versions(&mut self) -> Outcome<()> {
        let request = ApiVersionsRequest {
            client_software_name: CLIENT_ID.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        self.sender.send(&mut Frame::new(&request, ASKED_AT)?)
    }

    fn hear_versions(&mut self) -> Outcome<()> {
        let response = self.receiver.receive::<ApiVersionsRequest>(ASKED_AT)?;
        let shared = response.api_keys.iter().filter_map(|api| {
            let key = ApiKey::from_code(api.api_key)?;
            let version = api.max_version.min(key.latest_version(false));
            (version >= api.min_version.max(key.min_version())).then_some((api.api_key, version))
        });
        self.versions = Versions(Arc::new(shared.collect()));
        Ok(())
    }

    /// A connection that stays open and says nothing.
    pub fn into_silence(self) -> TcpStream {
        self.sender.stream
    }

    /// Sends a request whose response nobody will wait for.
    pub fn leave<R: Request>(&mut self, request: &R) -> Outcome<()> {
        let version = self.versions.of(R::KEY)?;
        self.sender.send(&mut Frame::new(request, version)?)
    }

    /// Sends a request and waits for its response. Nothing else may be on its way.
    pub fn call<R: Request>(&mut self, request: &R) -> Outcome<R::Response> {
        let version = self.versions.of(R::KEY)?;
        self.sender.send(&mut Frame::new(request, version)?)?;
        self.receiver.receive::<R>(version)
    }
}

impl Sender {
    pub fn send(&mut self, frame: &mut Frame) -> Outcome<()> {
        let correlation = self.next;
        self.next = self.next.wrapping_add(1);
        self.stream
            .write_all(frame.number(correlation))
            .map_err(|error| format!("cannot send: {error}").into())
    }
}

impl Receiver {
    /// The response to the oldest request that has none.
    pub fn receive<R: Request>(&mut self, version: i16) -> Outcome<R::Response> {
        let frame = self.frame().map_err(|error| format!("cannot receive {}: {error}", R::KEY.name()))?;
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, R::KEY.response_header_version(version))?;
        if header.correlation_id != self.next {
            return Err(format!("response {} came where {} was due", header.correlation_id, self.next).into());
        }
        self.next = self.next.wrapping_add(1);
        let response = R::Response::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(response)
    }

    /// Says that a request was sent that is never answered (Produce with acks=0).
    pub fn skip(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    fn frame(&mut self) -> Outcome<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length))?;
        if length > MAX_FRAME {
            return Err(format!("a frame of {length} bytes").into());
        }
        // The memory of earlier responses is used again once nobody holds a part of them.
        self.buffer.reserve(length);
        self.buffer.resize(length, 0);
        self.stream.read_exact(&mut self.buffer)?;
        Ok(self.buffer.split().freeze())
    }
}

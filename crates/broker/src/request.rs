//! One request: its header understood once, and what every handler may want to know beside its body.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use dohle_coordinator::groups::Client;
use dohle_env::Tick;
use dohle_metadata::RequestContext;
use dohle_wire::messages::{RequestHeader, ResponseHeader};
use dohle_wire::{AnyResponse, ApiKey, DecodeError, EncodeError, Message, Reader, Segment, Text, Writer};

use crate::budget::Charge;
use crate::core::Core;
use crate::session::Session;

/// The client's software, as ApiVersions v3 and later tell it.
#[derive(Clone, Debug, Default)]
pub struct ClientSoftware {
    pub name: Text,
    pub version: Text,
}

/// What a connection knows about its peer; shared by all its requests.
pub struct Peer {
    pub session: Session,
    pub software: RefCell<ClientSoftware>,
    /// The client as coordinators were told of it last: a connection's requests say the same, one after the other.
    client: RefCell<Client>,
    /// What a request holds of the budget that may be parked, on its way to the coordinator.
    pub parking: Cell<Option<Charge>>,
}

impl Peer {
    pub fn new(session: Session) -> Self {
        let host = Text::from(format!("/{}", session.peer.ip().to_canonical()));
        let client = RefCell::new(Client { id: Text::new(), host });
        Self { session, software: RefCell::default(), client, parking: Cell::default() }
    }

    /// Who asks, as coordinators keep it.
    pub fn client(&self, id: Option<&Text>) -> Client {
        let mut client = self.client.borrow_mut();
        let id = id.map(Text::as_str).unwrap_or_default();
        if client.id != *id {
            client.id = Text::from(id);
        }
        client.clone()
    }
}

/// What a handler gets beside the request's body.
#[derive(Clone)]
pub struct Context {
    pub core: Rc<Core>,
    pub peer: Rc<Peer>,
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Text>,
    /// When the last byte of the frame had arrived.
    pub received: Tick,
}

/// What goes back to the client.
pub enum Response {
    /// A whole frame, its length included, and what it is charged for beside the request.
    Frame(Vec<Segment>, Option<Charge>),
    /// The client expects no answer (produce with acks=0).
    Nothing,
    /// The connection ends: after a request that cannot be understood, or a failed one that has no answer.
    Close,
}

impl Response {
    /// Holds a charge until the response is written.
    #[must_use]
    pub fn holding(self, charge: Option<Charge>) -> Self {
        match self {
            Self::Frame(segments, _) => Self::Frame(segments, charge),
            other => other,
        }
    }
}

pub type Later = Pin<Box<dyn Future<Output = Response>>>;

/// What starting a request gives: its response, or the future of it.
pub enum Reply {
    Now(Response),
    Later(Later),
    /// As `Later`, for requests that may wait for minutes. What they hold of the budget goes to the coordinator with them
    /// ([`Peer::parking`]), which gives it back when it has taken over what it needs: what it keeps is on another account.
    Parked(Later),
}

/// Why a frame is no request that this listener serves. All of them end the connection, as in Kafka.
#[derive(Debug)]
pub enum NoRequest {
    UnknownApi(i16),
    NotServedHere(ApiKey),
    UnsupportedVersion(ApiKey, i16),
    Malformed(DecodeError),
}

impl std::fmt::Display for NoRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownApi(key) => write!(f, "unknown API key {key}"),
            Self::NotServedHere(key) => write!(f, "{} is not served on this listener", key.name()),
            Self::UnsupportedVersion(key, version) => write!(f, "{} has no version {version}", key.name()),
            Self::Malformed(error) => write!(f, "malformed request: {error}"),
        }
    }
}

impl From<DecodeError> for NoRequest {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

/// The key and version at the front of a frame, before anything else of it is looked at.
pub fn peek_key(frame: &[u8]) -> Option<(i16, i16)> {
    let key = i16::from_be_bytes(*frame.first_chunk()?);
    let version = i16::from_be_bytes(*frame.get(2..)?.first_chunk()?);
    Some((key, version))
}

impl Context {
    /// Without anything that lies in the request's frame, for those who outlive it.
    #[must_use]
    pub fn detached(self) -> Self {
        Self { client_id: self.client_id.as_ref().map(Text::detached), ..self }
    }

    /// Reads the header; what remains in the reader is the body.
    pub fn read(
        core: &Rc<Core>,
        peer: &Rc<Peer>,
        key: ApiKey,
        version: i16,
        reader: &mut Reader,
    ) -> Result<Self, DecodeError> {
        let header = RequestHeader::decode(reader, key.request_header_version(version))?;
        Ok(Self {
            core: core.clone(),
            peer: peer.clone(),
            key,
            version,
            correlation_id: header.correlation_id,
            client_id: header.client_id,
            received: core.env().clock.tick(),
        })
    }

    /// Encodes a response of this request's version.
    pub fn respond<M: Message>(&self, message: &M) -> Response {
        self.respond_at(message, self.version)
    }

    /// Encodes a response of another version than the request's: ApiVersions answers an unknown version with version 0.
    pub fn respond_at<M: Message>(&self, message: &M, version: i16) -> Response {
        self.encode(version, |writer| message.encode(writer, version))
    }

    /// Encodes a response of another node's making.
    pub fn respond_any(&self, response: &AnyResponse) -> Response {
        self.encode(self.version, |writer| response.encode(writer, self.version))
    }

    fn encode(&self, version: i16, body: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Response {
        let mut writer = Writer::framed();
        let header = ResponseHeader { correlation_id: self.correlation_id, ..Default::default() };
        let encoded = header
            .encode(&mut writer, self.key.response_header_version(version))
            .and_then(|()| body(&mut writer));
        match encoded {
            Ok(()) => {
                let took = self.core.env().clock.tick().since(self.received);
                self.core.metrics.answered(self.key, took, writer.error_codes());
                Response::Frame(writer.finish(), None)
            }
            Err(error) => {
                panic!("a handler of {} v{version} made an impossible response: {error}", self.key.name())
            }
        }
    }

    /// How the controller sees this request.
    pub fn for_controller(&self) -> RequestContext {
        RequestContext {
            principal: self.peer.session.principal.clone(),
            client_id: self.client_id.clone(),
            listener: self.peer.session.door.name.clone(),
            host: Text::from(self.peer.session.peer.ip().to_string()),
            via_broker: (!self.peer.session.door.controller).then_some(self.core.shared().node),
        }
    }
}

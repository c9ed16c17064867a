//! What all messages can do, and the closed set of APIs.

use std::fmt::{self, Debug};

use crate::{DecodeError, EncodeError, Reader, Writer, messages};

/// A struct of the protocol: a message, or a part of one. Versions are the message's; whoever calls has checked them.
pub trait Part: Sized {
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}

/// A message of the protocol.
pub trait Message: Part + Clone + Debug + Default + PartialEq {
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;

    /// Reads a message; leaves what follows it in the reader.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Err(DecodeError::UnsupportedVersion { version });
        }
        Self::read(r, version)
    }

    /// Writes a message. After an error the writer holds half of it and is of no use.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {
            return Err(EncodeError::UnsupportedVersion { version });
        }
        self.write(w, version)
    }
}

/// A request, which knows its API and what answers it.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}

/// The value of a field that is null in other versions only.
pub(crate) fn required<'a, T>(value: &'a Option<T>, field: &'static str) -> Result<&'a T, EncodeError> {
    value.as_ref().ok_or(EncodeError::UnexpectedNull { field })
}

/// One row of the table of APIs.
struct ApiInfo {
    name: &'static str,
    min: i16,
    max: i16,
    flexible_since: Option<i16>,
    on_broker: bool,
    on_controller: bool,
    forwardable: bool,
    cluster_action: bool,
    latest_unstable: bool,
}

include!(concat!(env!("OUT_DIR"), "/apis.rs"));

impl ApiKey {
    /// The lowest version of Produce that a broker claims to speak. It does not speak it: versions below
    /// [`ApiKey::min_version`] are refused; old clients give up on a broker that does not claim them (KAFKA-18659).
    const PRODUCE_MIN_ADVERTISED: i16 = 0;

    pub const fn code(self) -> i16 {
        self as i16
    }

    pub const fn name(self) -> &'static str {
        self.info().name
    }

    pub const fn min_version(self) -> i16 {
        self.info().min
    }

    /// The highest version there is, stable or not.
    pub const fn max_version(self) -> i16 {
        self.info().max
    }

    /// The highest version that is spoken; a version under development only if `unstable` versions are enabled.
    pub const fn latest_version(self, unstable: bool) -> i16 {
        self.info().max - (self.latest_unstable() && !unstable) as i16
    }

    /// Whether a request of `version` can be read and answered.
    pub const fn supports(self, version: i16, unstable: bool) -> bool {
        self.min_version() <= version && version <= self.latest_version(unstable)
    }

    /// The versions that ApiVersions tells clients of on a broker's listener. `None` when none is stable.
    pub const fn advertised_by_broker(self, unstable: bool) -> Option<(i16, i16)> {
        match (self, self.advertised_by_controller(unstable)) {
            (Self::Produce, Some((_, max))) => Some((Self::PRODUCE_MIN_ADVERTISED, max)),
            (_, versions) => versions,
        }
    }

    /// The versions that ApiVersions tells of on a controller's listener. `None` when none is stable.
    pub const fn advertised_by_controller(self, unstable: bool) -> Option<(i16, i16)> {
        let (min, max) = (self.min_version(), self.latest_version(unstable));
        if min <= max { Some((min, max)) } else { None }
    }

    /// Whether the highest version is still under development.
    pub const fn latest_unstable(self) -> bool {
        self.info().latest_unstable
    }

    /// Whether `version` has compact lengths and tagged fields.
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.info().flexible_since {
            Some(since) => version >= since,
            None => false,
        }
    }

    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The header of ApiVersions' responses has no tagged fields at any version: who reads it does not know yet which
    /// versions the broker speaks, and may have been answered at version 0.
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }

    pub const fn on_broker_listener(self) -> bool {
        self.info().on_broker
    }

    pub const fn on_controller_listener(self) -> bool {
        self.info().on_controller
    }

    /// Whether a broker passes the request on to the active controller.
    pub const fn forwardable(self) -> bool {
        self.info().forwardable
    }

    /// Whether only members of the cluster may ask.
    pub const fn cluster_action(self) -> bool {
        self.info().cluster_action
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

//! Why bytes are not a message, and why a value cannot be written as one.

use std::fmt;

/// Why bytes could not be decoded. Kafka closes the connection on every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The message has no such version.
    UnsupportedVersion { version: i16 },
    /// No API, record type or key type has this number.
    UnknownType { code: i32 },
    /// The bytes end inside a value, or a length or count says more than the remaining bytes can hold.
    Truncated,
    /// A varint is longer than its type allows or carries bits beyond it.
    Varint,
    /// A length no string can have.
    StringTooLong,
    /// Null where the version does not allow it.
    UnexpectedNull,
    /// A string is not UTF-8.
    NotUtf8,
    /// Tagged fields are not in strictly ascending order: out of order or twice.
    TagOrder,
    /// A tagged field's content is shorter or longer than its size says.
    TagSize,
    /// A tagged field that other versions have (Kafka refuses it too).
    TagNotInVersion { tag: u32 },
    /// Decoding would take more memory than this many bytes are worth.
    TooMuchMemory,
    /// Bytes are left over behind the message.
    TrailingBytes { count: usize },
    /// A metadata record's frame is of a version we do not know.
    FrameVersion { version: u32 },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion { version } => write!(f, "version {version} is not supported"),
            Self::UnknownType { code } => write!(f, "unknown type {code}"),
            Self::Truncated => f.write_str("the bytes end before the message does"),
            Self::Varint => f.write_str("a varint is too long"),
            Self::StringTooLong => f.write_str("a string is too long"),
            Self::UnexpectedNull => f.write_str("null in a field that cannot be null"),
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::TagOrder => f.write_str("tagged fields are not in ascending order"),
            Self::TagSize => f.write_str("a tagged field does not fill its size"),
            Self::TagNotInVersion { tag } => write!(f, "tag {tag} is not valid for this version"),
            Self::TooMuchMemory => f.write_str("the message takes too much memory for its size"),
            Self::TrailingBytes { count } => write!(f, "{count} bytes are left over behind the message"),
            Self::FrameVersion { version } => write!(f, "unknown frame version {version}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a value could not be encoded at a version. All of them are mistakes of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The message has no such version.
    UnsupportedVersion { version: i16 },
    /// The field is set, and the version has neither the field nor leave to drop it.
    FieldNotInVersion { field: &'static str, version: i16 },
    /// The field is null, and the version does not allow that.
    UnexpectedNull { field: &'static str },
    /// A string or byte sequence is longer than its length field can say.
    TooLong,
    /// An unknown tagged field has the number of one that this message knows.
    TagInUse { tag: u32 },
    /// Unknown tagged fields are set, and the version has no room for any.
    TagsNotInVersion { version: i16 },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion { version } => write!(f, "version {version} is not supported"),
            Self::FieldNotInVersion { field, version } => {
                write!(f, "field {field} is set, but version {version} does not have it")
            }
            Self::UnexpectedNull { field } => write!(f, "field {field} cannot be null"),
            Self::TooLong => f.write_str("a value is too long for the protocol"),
            Self::TagInUse { tag } => write!(f, "unknown tagged field {tag} has the number of a known one"),
            Self::TagsNotInVersion { version } => write!(f, "version {version} has no tagged fields"),
        }
    }
}

impl std::error::Error for EncodeError {}

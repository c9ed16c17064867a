//! 128-bit identities in Kafka's text form: URL-safe base64 without padding, 22 characters.

use std::fmt;
use std::str::FromStr;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LENGTH: usize = 22;

/// A UUID as Kafka uses it. Shown and parsed in the 22-character form (`Uuid.toString` in Kafka).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

/// The identity of a topic; a topic that is deleted and created again under the same name gets a new one.
pub type TopicId = Uuid;
/// The identity of a log directory.
pub type DirectoryId = Uuid;
/// The identity of a cluster. Kafka allows any text; the ones it generates are UUIDs in text form.
pub type ClusterId = String;

impl Uuid {
    /// All zero: "no id".
    pub const ZERO: Self = Self([0; 16]);
    /// `Uuid.METADATA_TOPIC_ID`, also `Uuid.ONE_UUID`: the id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Self = Self::from_u128(1);
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// The first 100 ids are reserved by Kafka for ids with a meaning of their own.
    pub const fn is_reserved(self) -> bool {
        u128::from_be_bytes(self.0) < 100
    }

    pub const fn is_zero(self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }

    /// Makes a random (version 4) id of random bytes. `None` when the bytes give an id Kafka does not hand out: a reserved one,
    /// or one whose text starts with `-`, which tools would take for a flag. Draw again then.
    pub fn from_random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Self(bytes);
        (!id.is_reserved() && bytes[0] >> 2 != 62).then_some(id)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; TEXT_LENGTH];
        for (i, c) in text.iter_mut().enumerate() {
            // 21 groups of six bits, and a last one of two bits padded with zeros.
            let group = if i < TEXT_LENGTH - 1 { value >> (122 - 6 * i) } else { value << 4 };
            *c = ALPHABET[(group & 0x3f) as usize];
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the base64 form of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl fmt::Display for ParseUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a 22-character URL-safe base64 id")
    }
}

impl std::error::Error for ParseUuidError {}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, ParseUuidError> {
        let text = text.as_bytes();
        // Java's decoder also takes the padded form.
        let text = text.strip_suffix(b"==").unwrap_or(text);
        if text.len() != TEXT_LENGTH {
            return Err(ParseUuidError);
        }
        let mut value: u128 = 0;
        for (i, c) in text.iter().enumerate() {
            let group = ALPHABET.iter().position(|a| a == c).ok_or(ParseUuidError)? as u128;
            value = if i < TEXT_LENGTH - 1 { (value << 6) | group } else { (value << 2) | (group >> 4) };
        }
        Ok(Self::from_u128(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn text_form_round_trips() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u128;
        for _ in 0..1000 {
            seed = seed
                .wrapping_mul(0xda94_2042_e4dd_58b5_0000_0000_0000_0001)
                .wrapping_add(0x1405_7b7e_f767_814f);
            let id = Uuid::from_u128(seed);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!("short".parse::<Uuid>(), Err(ParseUuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAA+Q".parse::<Uuid>(), Err(ParseUuidError));
    }

    #[test]
    fn random_ids_never_look_like_flags() {
        assert_eq!(Uuid::from_random([0xfb; 16]), None);
        assert!(Uuid::from_random([0x12; 16]).is_some());
    }
}

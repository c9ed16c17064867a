//! The records of Kafka's internal topics: which types there are, and the frame each is written in.
//!
//! ```text
//! __cluster_metadata value:   uvarint frame version (1) | uvarint type | uvarint version | body
//! coordinators' key:          int16 type    | body
//! coordinators' value:        int16 version | body            (the type is the key's)
//! ```

use bytes::Bytes;

use crate::message::Message;
use crate::{DecodeError, EncodeError, Reader, Writer, messages};

const METADATA_FRAME_VERSION: u32 = 1;
/// Keys have a type instead of a version, and all are laid out as at version 0.
const KEY_VERSION: i16 = 0;

include!(concat!(env!("OUT_DIR"), "/logs.rs"));

impl MetadataRecord {
    /// The record at `version`, in its frame.
    pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut w = Writer::new();
        w.uvarint(METADATA_FRAME_VERSION);
        w.uvarint(self.type_id() as u32);
        w.uvarint(u32::try_from(version).map_err(|_| EncodeError::UnsupportedVersion { version })?);
        self.write(&mut w, version)?;
        Ok(w.into_bytes())
    }

    /// The record in a frame, and its version.
    pub fn decode(frame: Bytes) -> Result<(Self, i16), DecodeError> {
        let mut r = Reader::new(frame);
        let frame_version = r.uvarint()?;
        if frame_version != METADATA_FRAME_VERSION {
            return Err(DecodeError::FrameVersion { version: frame_version });
        }
        let type_id = i16::try_from(r.uvarint()?).map_err(|_| DecodeError::Varint)?;
        let version = i16::try_from(r.uvarint()?).map_err(|_| DecodeError::Varint)?;
        let record = Self::read(type_id, &mut r, version)?;
        r.finish()?;
        Ok((record, version))
    }
}

macro_rules! coordinator_log {
    ($($key:ident $value:ident)*) => {
        $(
            impl $key {
                pub fn encode(&self) -> Result<Bytes, EncodeError> {
                    let mut w = Writer::new();
                    w.i16(self.type_id());
                    self.write(&mut w, KEY_VERSION)?;
                    Ok(w.into_bytes())
                }

                pub fn decode(key: Bytes) -> Result<Self, DecodeError> {
                    let mut r = Reader::new(key);
                    let type_id = r.i16()?;
                    let key = Self::read(type_id, &mut r, KEY_VERSION)?;
                    r.finish()?;
                    Ok(key)
                }
            }

            impl $value {
                pub fn encode(&self, version: i16) -> Result<Bytes, EncodeError> {
                    let mut w = Writer::new();
                    w.i16(version);
                    self.write(&mut w, version)?;
                    Ok(w.into_bytes())
                }

                /// The value under a key of `type_id`, and its version.
                pub fn decode(type_id: i16, value: Bytes) -> Result<(Self, i16), DecodeError> {
                    let mut r = Reader::new(value);
                    let version = r.i16()?;
                    let value = Self::read(type_id, &mut r, version)?;
                    r.finish()?;
                    Ok((value, version))
                }
            }
        )*
    };
}

coordinator_log! {
    ConsumerOffsetsKey ConsumerOffsetsValue
    TransactionStateKey TransactionStateValue
    ShareGroupStateKey ShareGroupStateValue
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{OffsetCommitKey, OffsetCommitValue, TopicRecord};

    #[test]
    fn metadata_records_are_framed() {
        let record = MetadataRecord::from(TopicRecord { name: "t".into(), ..Default::default() });
        let bytes = record.encode(0).unwrap();
        assert_eq!(bytes[..5], [1, 2, 0, 2, b't']);
        assert_eq!(MetadataRecord::decode(bytes.clone()), Ok((record, 0)));
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(MetadataRecord::decode(longer.into()), Err(DecodeError::TrailingBytes { count: 1 }));
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert_eq!(MetadataRecord::decode(newer.into()), Err(DecodeError::FrameVersion { version: 2 }));
    }

    #[test]
    fn coordinator_records_carry_type_and_version() {
        let key =
            ConsumerOffsetsKey::from(OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 });
        let bytes = key.encode().unwrap();
        assert_eq!(bytes[..5], [0, 1, 0, 1, b'g']);
        assert_eq!(ConsumerOffsetsKey::decode(bytes), Ok(key.clone()));
        let value = ConsumerOffsetsValue::from(OffsetCommitValue { offset: 9, ..Default::default() });
        let bytes = value.encode(3).unwrap();
        assert_eq!(ConsumerOffsetsValue::decode(key.type_id(), bytes), Ok((value, 3)));
    }
}

//! The headers before every request and response.

use crate::message::Message;
use crate::messages::{RequestHeader, ResponseHeader};
use crate::{ApiKey, DecodeError, EncodeError, Reader, Writer};

/// What stands before a request's body.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHead {
    pub key: ApiKey,
    /// The version the client asks for, which we may not speak.
    pub version: i16,
    pub header: RequestHeader,
}

/// Reads a request's header and leaves the reader at its body.
///
/// The API and the version come first in every version of the header; they tell which version the header has. A version of the
/// API that is beyond ours is not an error here: ApiVersions answers those.
pub fn decode_request_header(r: &mut Reader) -> Result<RequestHead, DecodeError> {
    let mut start = Reader::new(r.rest());
    let (code, version) = (start.i16()?, start.i16()?);
    let key = ApiKey::from_code(code).ok_or(DecodeError::UnknownType { code: i32::from(code) })?;
    let header = RequestHeader::decode(r, key.request_header_version(version))?;
    Ok(RequestHead { key, version, header })
}

/// Writes the header of a request of our own.
pub fn encode_request_header(
    w: &mut Writer,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: Option<crate::Text>,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        request_api_key: key.code(),
        request_api_version: version,
        correlation_id,
        client_id,
        ..Default::default()
    };
    header.encode(w, key.request_header_version(version))
}

/// Writes the header of the response to a request of `version`.
pub fn encode_response_header(
    w: &mut Writer,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<(), EncodeError> {
    let header = ResponseHeader { correlation_id, ..Default::default() };
    header.encode(w, key.response_header_version(version))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn headers_of_both_versions() {
        for (key, version) in [(ApiKey::Produce, 3), (ApiKey::Produce, 9), (ApiKey::ApiVersions, 99)] {
            let mut w = Writer::new();
            encode_request_header(&mut w, key, version, 7, Some("me".into())).unwrap();
            let mut r = Reader::new(w.into_bytes());
            let head = decode_request_header(&mut r).unwrap();
            assert_eq!((head.key, head.version), (key, version));
            assert_eq!((head.header.correlation_id, head.header.client_id.as_deref()), (7, Some("me")));
            r.finish().unwrap();
        }
    }

    #[test]
    fn unknown_apis_are_named() {
        let head = decode_request_header(&mut Reader::new(Bytes::from_static(&[0, 4, 0, 0, 0, 0, 0, 1])));
        assert_eq!(head, Err(DecodeError::UnknownType { code: 4 }));
    }

    #[test]
    fn responses_of_api_versions_have_the_oldest_header() {
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::Fetch.response_header_version(11), 0);
    }
}

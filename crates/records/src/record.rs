//! One record: borrowed while it is looked at, owned when it is handed on.

use bytes::Bytes;
use dohle_types::{Offset, TimestampMs};

use crate::error::RecordFault;
use crate::varint::{Cursor, put_varint, put_varlong};

/// A record as it stands in its batch, with deltas instead of offset and timestamp.
///
/// ```text
/// length varint | attributes i8 | timestamp delta varlong | offset delta varint | key | value | header count varint | headers
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// No bit has a meaning yet.
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeaderViews<'a>,
}

impl<'a> RecordView<'a> {
    /// Reads a record from exactly the bytes after its length. The headers are walked too.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, RecordFault> {
        let mut cursor = Cursor::new(body);
        let attributes = cursor.byte()? as i8;
        let timestamp_delta = cursor.varlong()?;
        let offset_delta = cursor.varint()?;
        let key = cursor.nullable_bytes()?;
        let value = cursor.nullable_bytes()?;
        let count = cursor.varint()?;
        if count < 0 || count as usize > cursor.rest().len() {
            return Err(RecordFault::HeaderCount(count));
        }
        let headers = HeaderViews { rest: cursor, left: count as u32 };
        for _ in 0..count {
            read_header(&mut cursor)?;
        }
        if !cursor.rest().is_empty() {
            let expected = body.len() as u64;
            return Err(RecordFault::SizeMismatch { expected, read: expected - cursor.rest().len() as u64 });
        }
        Ok(Self { attributes, timestamp_delta, offset_delta, key, value, headers })
    }
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
    let len = cursor.varint()?;
    if len < 0 {
        return Err(RecordFault::HeaderKeySize(len));
    }
    Ok((cursor.take(len as usize)?, cursor.nullable_bytes()?))
}

/// The headers of a record in their order, keys that occur twice included.
#[derive(Clone, Copy, Debug)]
pub struct HeaderViews<'a> {
    rest: Cursor<'a>,
    left: u32,
}

impl<'a> Iterator for HeaderViews<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(read_header(&mut self.rest).expect("RecordView::parse has walked these headers"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeaderViews<'_> {}

impl PartialEq for HeaderViews<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.left == other.left && self.rest.rest() == other.rest.rest()
    }
}

impl Eq for HeaderViews<'_> {}

/// A record on its own, its bytes shared with the batch (or the piece of decompressed batch) it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    pub attributes: i8,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// A record header. Kafka writes keys as UTF-8 and so do its clients, but nothing has ever checked it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl Header {
    pub fn new(key: impl Into<Bytes>, value: Option<impl Into<Bytes>>) -> Self {
        Self { key: key.into(), value: value.map(Into::into) }
    }
}

impl Record {
    /// Takes the record in `body`, sharing its bytes.
    pub(crate) fn from_body(
        body: &Bytes,
        base_offset: Offset,
        timestamp_of: impl FnOnce(i64) -> TimestampMs,
    ) -> Result<Self, RecordFault> {
        let view = RecordView::parse(body)?;
        let share = |slice: &[u8]| body.slice_ref(slice);
        Ok(Self {
            offset: Offset(base_offset.0.saturating_add(i64::from(view.offset_delta))),
            timestamp: timestamp_of(view.timestamp_delta),
            attributes: view.attributes,
            key: view.key.map(share),
            value: view.value.map(share),
            headers: view
                .headers
                .map(|(key, value)| Header { key: share(key), value: value.map(share) })
                .collect(),
        })
    }
}

/// Writes a record without its length.
pub(crate) fn put_body<'h>(
    out: &mut Vec<u8>,
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
) {
    out.push(attributes as u8);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable(out, key);
    put_nullable(out, value);
    put_varint(out, i32::try_from(headers.len()).expect("fewer headers than bytes in a batch"));
    for (key, value) in headers {
        put_nullable(out, Some(key));
        put_nullable(out, value);
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, i32::try_from(bytes.len()).expect("a batch is smaller than 2 GiB"));
            out.extend_from_slice(bytes);
        }
    }
}

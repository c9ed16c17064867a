//! Writes the protocol's primitives into segments that one gathering write sends.
//!
//! Everything but records goes into one buffer, in one pass. Records are remembered by the place where they belong and
//! become segments of their own when the message is finished (*no-copy*).

use bytes::Bytes;
use dohle_types::Uuid;

use crate::message::Part;
use crate::{EncodeError, RecordBytes, Segment, Text};

/// Record chunks shorter than this are copied: a segment costs more than they do.
const COPY_BELOW: usize = 1024;
/// What a message of no great size needs, so that the buffer need not grow.
const FIRST_CAPACITY: usize = 256;
const FRAME_PREFIX: usize = size_of::<i32>();

/// Collects one message, or a frame with its header and message.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    /// Chunks of records and the places in the buffer where they belong, in order.
    splices: Vec<(usize, Segment)>,
    spliced: usize,
    framed: bool,
    /// The error codes among what was written, other than 0.
    errors: Vec<i16>,
}

impl Writer {
    pub fn new() -> Self {
        Self::with_capacity(FIRST_CAPACITY)
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(bytes),
            splices: Vec::new(),
            spliced: 0,
            framed: false,
            errors: Vec::new(),
        }
    }

    /// A writer whose segments begin with the four bytes that tell how many follow.
    pub fn framed() -> Self {
        let mut writer = Self::new();
        writer.framed = true;
        writer.i32(0);
        writer
    }

    /// How many bytes have been written, the frame's prefix included.
    pub fn len(&self) -> usize {
        self.buffer.len() + self.spliced
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The error codes that the message has anywhere in it, in order, for those who count them. 0 is none.
    pub fn error_codes(&self) -> &[i16] {
        &self.errors
    }

    /// What was written, in order. The chunks of records are the ones that were given.
    pub fn finish(mut self) -> Vec<Segment> {
        if self.framed {
            let length = i32::try_from(self.len() - FRAME_PREFIX).expect("a frame is shorter than 2 GiB");
            self.buffer[..FRAME_PREFIX].copy_from_slice(&length.to_be_bytes());
        }
        let buffer = Bytes::from(self.buffer);
        if self.splices.is_empty() {
            return vec![Segment::Bytes(buffer)];
        }
        let mut segments = Vec::with_capacity(2 * self.splices.len() + 1);
        let mut from = 0;
        for (place, chunk) in self.splices {
            if place > from {
                segments.push(Segment::Bytes(buffer.slice(from..place)));
                from = place;
            }
            segments.push(chunk);
        }
        if from < buffer.len() {
            segments.push(Segment::Bytes(buffer.slice(from..)));
        }
        segments
    }

    /// What was written, in one piece; copies when there are records. Not for messages whose records are deferred.
    pub fn into_bytes(self) -> Bytes {
        let here = |segment| match segment {
            Segment::Bytes(bytes) => bytes,
            Segment::Deferred(deferred) => panic!("{deferred:?} is not here yet"),
        };
        RecordBytes::from(self.finish().into_iter().map(here).collect::<Vec<_>>()).into_bytes()
    }
}

/// Numbers.
impl Writer {
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn error_code(&mut self, code: i16) {
        if code != 0 {
            self.errors.push(code);
        }
        self.i16(code);
    }

    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    #[inline]
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.push(value as u8);
    }
}

/// Text, bytes and records; `flexible` chooses the compact form.
impl Writer {
    /// A length with 32 bits, or compact. `None` for null.
    fn length(&mut self, flexible: bool, length: Option<usize>) -> Result<(), EncodeError> {
        let length = length.map(i32::try_from).transpose().map_err(|_| EncodeError::TooLong)?;
        if flexible {
            self.uvarint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i32(length.unwrap_or(-1));
        }
        Ok(())
    }

    pub fn nullable_string(&mut self, flexible: bool, text: Option<&Text>) -> Result<(), EncodeError> {
        let length =
            text.map(|text| i16::try_from(text.len())).transpose().map_err(|_| EncodeError::TooLong)?;
        if flexible {
            self.uvarint(length.map_or(0, |length| length as u32 + 1));
        } else {
            self.i16(length.unwrap_or(-1));
        }
        self.buffer.extend_from_slice(text.map_or(&[], |text| text.as_bytes()));
        Ok(())
    }

    pub fn string(&mut self, flexible: bool, text: &Text) -> Result<(), EncodeError> {
        self.nullable_string(flexible, Some(text))
    }

    pub fn nullable_bytes(&mut self, flexible: bool, bytes: Option<&Bytes>) -> Result<(), EncodeError> {
        self.length(flexible, bytes.map(Bytes::len))?;
        self.buffer.extend_from_slice(bytes.map_or(&[], |bytes| bytes));
        Ok(())
    }

    pub fn bytes(&mut self, flexible: bool, bytes: &Bytes) -> Result<(), EncodeError> {
        self.nullable_bytes(flexible, Some(bytes))
    }

    pub(crate) fn nullable_records(
        &mut self,
        flexible: bool,
        records: Option<&RecordBytes>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, records.map(RecordBytes::len))?;
        if let Some(deferred) = records.and_then(RecordBytes::as_deferred) {
            self.splices.push((self.buffer.len(), Segment::Deferred(deferred.clone())));
            self.spliced += deferred.size();
        }
        for chunk in records.map_or(&[][..], RecordBytes::chunks) {
            if chunk.len() < COPY_BELOW {
                self.buffer.extend_from_slice(chunk);
            } else {
                self.splices.push((self.buffer.len(), Segment::Bytes(chunk.clone())));
                self.spliced += chunk.len();
            }
        }
        Ok(())
    }

    pub(crate) fn records(&mut self, flexible: bool, records: &RecordBytes) -> Result<(), EncodeError> {
        self.nullable_records(flexible, Some(records))
    }
}

/// A type that lists hold without a struct around it.
pub(crate) trait Scalar {
    fn write(&self, w: &mut Writer, flexible: bool) -> Result<(), EncodeError>;
}

macro_rules! scalar {
    ($($type:ty, $write:ident;)*) => {
        $(impl Scalar for $type {
            #[inline]
            fn write(&self, w: &mut Writer, _flexible: bool) -> Result<(), EncodeError> {
                w.$write(*self);
                Ok(())
            }
        })*
    };
}

scalar! {
    i8, i8;
    i16, i16;
    i32, i32;
    i64, i64;
    Uuid, uuid;
}

impl Scalar for Text {
    fn write(&self, w: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        w.string(flexible, self)
    }
}

impl Scalar for Bytes {
    fn write(&self, w: &mut Writer, flexible: bool) -> Result<(), EncodeError> {
        w.bytes(flexible, self)
    }
}

/// Lists.
impl Writer {
    pub(crate) fn nullable_list<T: Scalar>(
        &mut self,
        flexible: bool,
        list: Option<&Vec<T>>,
    ) -> Result<(), EncodeError> {
        self.length(flexible, list.map(Vec::len))?;
        list.into_iter().flatten().try_for_each(|element| element.write(self, flexible))
    }

    pub(crate) fn list<T: Scalar>(&mut self, flexible: bool, list: &Vec<T>) -> Result<(), EncodeError> {
        self.nullable_list(flexible, Some(list))
    }

    pub(crate) fn nullable_parts<T: Part>(
        &mut self,
        flexible: bool,
        parts: Option<&Vec<T>>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(flexible, parts.map(Vec::len))?;
        parts.into_iter().flatten().try_for_each(|part| part.write(self, version))
    }

    pub(crate) fn parts<T: Part>(
        &mut self,
        flexible: bool,
        parts: &Vec<T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.nullable_parts(flexible, Some(parts), version)
    }
}

/// Structs that may be null, and tagged fields.
impl Writer {
    pub(crate) fn presence(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    pub(crate) fn tagged_presence(&mut self, present: bool) {
        self.uvarint(u32::from(present));
    }

    /// Begins a tagged field; [`Writer::end_tag`] takes what this returns. Its content holds no records.
    pub(crate) fn begin_tag(&mut self, tag: u32) -> usize {
        self.uvarint(tag);
        self.buffer.push(0);
        self.buffer.len()
    }

    /// Writes the size of the tagged field that begins at `start` into the one byte left for it, or makes room for more.
    pub(crate) fn end_tag(&mut self, start: usize) {
        let size = self.buffer.len() - start;
        if size < 0x80 {
            self.buffer[start - 1] = size as u8;
            return;
        }
        let mut prefix = Self::default();
        prefix.uvarint(u32::try_from(size).expect("a tagged field is shorter than 4 GiB"));
        self.buffer.splice(start - 1..start, prefix.buffer);
    }

    pub(crate) fn raw_tag(&mut self, tag: u32, content: &Bytes) {
        self.uvarint(tag);
        self.uvarint(u32::try_from(content.len()).expect("a tagged field is shorter than 4 GiB"));
        self.buffer.extend_from_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::DeferredBytes;

    #[test]
    fn long_records_become_segments_and_short_ones_do_not() {
        let long = Bytes::from(vec![7; COPY_BELOW]);
        let short = Bytes::from_static(b"short");
        let mut w = Writer::framed();
        w.records(false, &RecordBytes::from(vec![long.clone(), short.clone(), long.clone()])).unwrap();
        w.i8(1);
        let total = w.len();
        let segments = w.finish();
        assert_eq!(segments.len(), 5);
        let bytes: Vec<&Bytes> = segments.iter().filter_map(Segment::bytes).collect();
        assert_eq!(bytes[1].as_ptr(), long.as_ptr());
        assert_eq!(bytes[3].as_ptr(), long.as_ptr());
        assert_eq!(bytes[2], &short);
        assert_eq!(bytes[0][..4], (total as u32 - 4).to_be_bytes());
        assert_eq!(segments.iter().map(Segment::size).sum::<usize>(), total);
    }

    #[derive(Debug)]
    struct Later(usize);

    impl DeferredBytes for Later {
        fn size(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn deferred_records_are_counted_and_left_where_they_are() {
        let mut w = Writer::framed();
        w.i8(1);
        w.records(true, &RecordBytes::deferred(Arc::new(Later(300)))).unwrap();
        w.i8(2);
        let segments = w.finish();
        let [Segment::Bytes(before), Segment::Deferred(later), Segment::Bytes(after)] = &segments[..] else {
            panic!("{segments:?}");
        };
        // The compact length of 300 bytes takes two.
        assert_eq!(before[..4], (1 + 2 + 300 + 1_i32).to_be_bytes());
        assert_eq!((before.len(), later.size(), &after[..]), (4 + 1 + 2, 300, &[2][..]));
    }

    #[test]
    fn tag_sizes_are_patched() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let mut w = Writer::new();
            let start = w.begin_tag(3);
            (0..size).for_each(|_| w.i8(5));
            w.end_tag(start);
            let mut r = crate::Reader::new(w.into_bytes());
            assert_eq!((r.uvarint(), r.uvarint()), (Ok(3), Ok(size)));
            assert_eq!(r.remaining(), size as usize);
        }
    }

    #[test]
    fn long_strings_are_refused() {
        let mut w = Writer::new();
        assert_eq!(w.string(true, &Text::from("x".repeat(32_768))), Err(EncodeError::TooLong));
        assert_eq!(w.string(false, &Text::from("x".repeat(32_767))), Ok(()));
    }
}

//! Reads the protocol's primitives from one received frame.
//!
//! Every length and count is held against the remaining bytes before anything is made of it, vectors grow as their elements
//! arrive, and what they take is charged to an allowance that is a small multiple of the frame (*no-claim-trusted*).

use bytes::Bytes;
use dohle_types::Uuid;

use crate::message::Part;
use crate::{DecodeError, RecordBytes, Text};

/// How many bytes of memory a received byte may cost. A list of one-letter strings, which nobody can call hostile, costs 16.
pub const MEMORY_FACTOR: usize = 16;
/// Memory that any frame may cost beyond [`MEMORY_FACTOR`], so that small ones are not measured by the letter.
pub const MEMORY_SLACK: usize = 64 * 1024;

/// The most that is reserved for a vector before any of its elements has been read.
const FIRST_RESERVE: usize = 4 * 1024;
/// The longest string of the protocol, compact or not.
const MAX_STRING_LENGTH: usize = i16::MAX as usize;

/// A cursor over one frame. What it hands out shares the frame's buffer.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    /// How much memory may still be allocated on account of this frame.
    allowance: usize,
}

impl Reader {
    pub fn new(frame: Bytes) -> Self {
        let allowance = frame.len().saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_SLACK);
        Self { frame, at: 0, allowance }
    }

    pub fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// The bytes that have not been read.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.at..)
    }

    /// Checks that everything was read.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.frame[self.at..].first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    pub(crate) fn take_bytes(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        let bytes = self.frame.slice(self.at..self.at + length);
        self.at += length;
        Ok(bytes)
    }

    /// Takes `bytes` of memory from the allowance.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.allowance = self.allowance.checked_sub(bytes).ok_or(DecodeError::TooMuchMemory)?;
        Ok(())
    }
}

/// Numbers.
impl Reader {
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.take::<1>()? != [0])
    }

    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.take().map(i8::from_be_bytes)
    }

    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.take().map(i16::from_be_bytes)
    }

    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.take().map(i32::from_be_bytes)
    }

    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.take().map(i64::from_be_bytes)
    }

    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.take().map(f64::from_be_bytes)
    }

    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.take().map(Uuid)
    }

    /// An unsigned varint of at most 32 bits in at most five bytes. Padding with zero groups is Kafka's to accept, so it is ours.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        match self.take::<1>()? {
            [byte] if byte < 0x80 => Ok(u32::from(byte)),
            [byte] => self.uvarint_rest(byte),
        }
    }

    fn uvarint_rest(&mut self, first: u8) -> Result<u32, DecodeError> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.take()?;
            if shift == 28 && byte > 0x0f {
                return Err(DecodeError::Varint);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }
}

/// Text, bytes and records; `flexible` chooses the compact form.
impl Reader {
    /// A length with 32 bits, or compact. `None` for null.
    #[inline]
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            Ok(self.uvarint()?.checked_sub(1).map(|length| length as usize))
        } else {
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Text>, DecodeError> {
        let length = if flexible { self.length(true)? } else { usize::try_from(self.i16()?).ok() };
        match length {
            None => Ok(None),
            Some(length) if length > MAX_STRING_LENGTH => Err(DecodeError::StringTooLong),
            Some(length) => self.take_bytes(length).and_then(Text::from_utf8).map(Some),
        }
    }

    pub fn string(&mut self, flexible: bool) -> Result<Text, DecodeError> {
        self.nullable_string(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        self.length(flexible)?.map(|length| self.take_bytes(length)).transpose()
    }

    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    pub(crate) fn nullable_records(&mut self, flexible: bool) -> Result<Option<RecordBytes>, DecodeError> {
        Ok(self.nullable_bytes(flexible)?.map(RecordBytes::from))
    }

    pub(crate) fn records(&mut self, flexible: bool) -> Result<RecordBytes, DecodeError> {
        self.bytes(flexible).map(RecordBytes::from)
    }
}

/// A type that lists hold without a struct around it.
pub(crate) trait Scalar: Sized {
    /// The fewest bytes one takes.
    fn min(flexible: bool) -> usize;
    fn read(r: &mut Reader, flexible: bool) -> Result<Self, DecodeError>;
}

macro_rules! scalar {
    ($($type:ty, $size:literal, $read:ident;)*) => {
        $(impl Scalar for $type {
            fn min(_flexible: bool) -> usize {
                $size
            }
            #[inline]
            fn read(r: &mut Reader, _flexible: bool) -> Result<Self, DecodeError> {
                r.$read()
            }
        })*
    };
}

scalar! {
    i8, 1, i8;
    i16, 2, i16;
    i32, 4, i32;
    i64, 8, i64;
    Uuid, 16, uuid;
}

impl Scalar for Text {
    fn min(flexible: bool) -> usize {
        if flexible { 1 } else { size_of::<i16>() }
    }

    fn read(r: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        r.string(flexible)
    }
}

impl Scalar for Bytes {
    fn min(flexible: bool) -> usize {
        if flexible { 1 } else { size_of::<i32>() }
    }

    fn read(r: &mut Reader, flexible: bool) -> Result<Self, DecodeError> {
        r.bytes(flexible)
    }
}

/// Lists.
impl Reader {
    pub(crate) fn nullable_list<T: Scalar>(&mut self, flexible: bool) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        self.elements(count, T::min(flexible), |r| T::read(r, flexible)).map(Some)
    }

    pub(crate) fn list<T: Scalar>(&mut self, flexible: bool) -> Result<Vec<T>, DecodeError> {
        self.nullable_list(flexible)?.ok_or(DecodeError::UnexpectedNull)
    }

    /// A list of structs, each of which takes `min` bytes or more at this version.
    pub(crate) fn nullable_parts<T: Part>(
        &mut self,
        flexible: bool,
        min: usize,
        version: i16,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return Ok(None) };
        self.elements(count, min, |r| T::read(r, version)).map(Some)
    }

    pub(crate) fn parts<T: Part>(
        &mut self,
        flexible: bool,
        min: usize,
        version: i16,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_parts(flexible, min, version)?.ok_or(DecodeError::UnexpectedNull)
    }

    #[inline]
    fn elements<T>(
        &mut self,
        count: usize,
        min: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        if count > self.remaining() / min {
            return Err(DecodeError::Truncated);
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            if elements.len() == elements.capacity() {
                self.grow(&mut elements, count)?;
            }
            elements.push(read(self)?);
        }
        Ok(elements)
    }

    /// Makes room for more of the `count` elements: few at first, then as many again as have been read.
    fn grow<T>(&mut self, elements: &mut Vec<T>, count: usize) -> Result<(), DecodeError> {
        let size = size_of::<T>().max(1);
        let more = elements.len().max(FIRST_RESERVE / size).max(1).min(count - elements.len());
        self.charge(more * size)?;
        elements.reserve_exact(more);
        Ok(())
    }
}

/// Structs that may be null, and tagged fields.
impl Reader {
    /// Whether a nullable struct is there.
    pub(crate) fn presence(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? >= 0)
    }

    /// Whether a nullable struct in a tagged field is there.
    pub(crate) fn tagged_presence(&mut self) -> Result<bool, DecodeError> {
        Ok(self.uvarint()? != 0)
    }

    pub(crate) fn tags(&mut self) -> Result<Tags, DecodeError> {
        Ok(Tags { left: self.uvarint()?, lowest: Some(0) })
    }
}

/// What is left to read of a struct's tagged fields.
pub(crate) struct Tags {
    left: u32,
    /// The lowest number the next one can have. `None` after the highest there is.
    lowest: Option<u32>,
}

impl Tags {
    /// The head of the next tagged field; the caller reads its content and then calls [`Tag::finish`].
    #[inline]
    pub(crate) fn next(&mut self, r: &mut Reader) -> Result<Option<Tag>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let number = r.uvarint()?;
        if self.lowest.is_none_or(|lowest| number < lowest) {
            return Err(DecodeError::TagOrder);
        }
        self.lowest = number.checked_add(1);
        let size = r.uvarint()? as usize;
        if size > r.remaining() {
            return Err(DecodeError::Truncated);
        }
        Ok(Some(Tag { number, start: r.at, end: r.at + size }))
    }
}

/// One tagged field.
pub(crate) struct Tag {
    pub(crate) number: u32,
    start: usize,
    end: usize,
}

impl Tag {
    pub(crate) fn size(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn finish(&self, r: &Reader) -> Result<(), DecodeError> {
        if r.at == self.end { Ok(()) } else { Err(DecodeError::TagSize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn varints() {
        for (bytes, value) in [
            (&[0x00][..], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0x80, 0x00], Ok(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(DecodeError::Varint)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Err(DecodeError::Varint)),
            (&[0x80], Err(DecodeError::Truncated)),
        ] {
            assert_eq!(reader(bytes).uvarint(), value, "{bytes:x?}");
        }
    }

    #[test]
    fn a_claim_the_bytes_cannot_hold_is_refused() {
        assert_eq!(reader(&[0x7f, 0xff, 0xff, 0xff, 0]).list::<i64>(false), Err(DecodeError::Truncated));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0]).list::<i64>(false), Err(DecodeError::UnexpectedNull));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).bytes(true), Err(DecodeError::Truncated));
        assert_eq!(reader(&[0x80, 0x00]).string(false), Err(DecodeError::UnexpectedNull));
        assert_eq!(reader(&[0x81, 0x80, 0x02]).string(true), Err(DecodeError::StringTooLong));
    }

    #[test]
    fn many_empty_strings_cost_more_than_they_are_worth() {
        let mut frame = (MEMORY_SLACK as u32 + 1).to_be_bytes().to_vec();
        frame.resize(frame.len() + 2 * (MEMORY_SLACK + 1), 0);
        assert!(reader(&frame).list::<Text>(false).is_ok(), "two bytes each, as long as they get");
        let mut frame = vec![0x81, 0x80, 0x04];
        frame.resize(frame.len() + MEMORY_SLACK, 1);
        assert_eq!(reader(&frame).list::<Text>(true), Err(DecodeError::TooMuchMemory));
    }

    #[test]
    fn tags_must_ascend() {
        let read = |bytes: &[u8]| {
            let mut r = reader(bytes);
            let mut unknown = crate::UnknownTags::default();
            let mut tags = r.tags()?;
            while let Some(tag) = tags.next(&mut r)? {
                unknown.read(&mut r, &tag)?;
                tag.finish(&r)?;
            }
            Ok(unknown.len())
        };
        assert_eq!(read(&[2, 1, 0, 2, 1, 9]), Ok(2));
        assert_eq!(read(&[2, 1, 0, 1, 0]), Err(DecodeError::TagOrder));
        assert_eq!(read(&[2, 2, 0, 1, 0]), Err(DecodeError::TagOrder));
        assert_eq!(read(&[1, 2, 1]), Err(DecodeError::Truncated));
    }
}

//! The variable-length integers of records: zigzag, seven bits a byte, least significant first.
//!
//! As in Kafka, an encoding may be longer than it needs to be, but not longer than five (32 bits) or ten (64 bits) bytes.

use crate::error::RecordFault;

/// The most bytes a 32-bit varint takes.
const MAX_LEN_32: usize = 5;
/// The most bytes a 64-bit varint takes.
const MAX_LEN_64: usize = 10;

/// A reader over a record's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, RecordFault> {
        let (&first, rest) = self.rest.split_first().ok_or(RecordFault::Structure)?;
        self.rest = rest;
        Ok(first)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordFault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RecordFault::Structure)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes after their length; a negative length is null.
    #[inline]
    pub(crate) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordFault> {
        let len = self.varint()?;
        if len < 0 { Ok(None) } else { self.take(len as usize).map(Some) }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i32, RecordFault> {
        // Most numbers in a record fit into one byte.
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(unzigzag_32(u32::from(first)));
        }
        match parse_varint(self.rest)? {
            Some((value, len)) => {
                self.rest = &self.rest[len..];
                Ok(value)
            }
            None => Err(RecordFault::Structure),
        }
    }

    #[inline]
    pub(crate) fn varlong(&mut self) -> Result<i64, RecordFault> {
        let mut raw = 0u64;
        for (i, &byte) in self.rest.iter().take(MAX_LEN_64).enumerate() {
            raw |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(if self.rest.len() < MAX_LEN_64 { RecordFault::Structure } else { RecordFault::OverlongVarint })
    }
}

/// A varint at the start of `bytes` and how many bytes it takes; `None` when the bytes end inside it.
#[inline]
pub(crate) fn parse_varint(bytes: &[u8]) -> Result<Option<(i32, usize)>, RecordFault> {
    let mut raw = 0u32;
    for (i, &byte) in bytes.iter().take(MAX_LEN_32).enumerate() {
        raw |= u32::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((unzigzag_32(raw), i + 1)));
        }
    }
    if bytes.len() < MAX_LEN_32 { Ok(None) } else { Err(RecordFault::OverlongVarint) }
}

#[inline]
fn unzigzag_32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_raw(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_raw(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn put_raw(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_round_trip() {
        for value in [0, 1, -1, 63, -64, 64, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(parse_varint(&out), Ok(Some((value, out.len()))));
            assert_eq!(Cursor::new(&out).varint(), Ok(value));
        }
        for value in [0, 1, -1, i64::from(i32::MAX) + 1, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.varlong(), Ok(value));
            assert!(cursor.rest().is_empty());
        }
    }

    #[test]
    fn overlong_is_refused_and_short_is_not_read() {
        assert_eq!(parse_varint(&[0x80; 5]), Err(RecordFault::OverlongVarint));
        assert_eq!(parse_varint(&[0x80; 4]), Ok(None));
        assert_eq!(Cursor::new(&[0x80; 10]).varlong(), Err(RecordFault::OverlongVarint));
        assert_eq!(Cursor::new(&[0x80; 9]).varlong(), Err(RecordFault::Structure));
        // Longer than needed, but Kafka reads it too.
        assert_eq!(parse_varint(&[0x82, 0x00]), Ok(Some((1, 2))));
    }
}

//! Record batches as a message carries them: opaque bytes, in one piece or several, that are never copied.

use std::fmt;

use bytes::{Bytes, BytesMut};

/// A rope of byte chunks. Two ropes are equal when their bytes are, however they are cut.
#[derive(Clone, Default)]
pub struct RecordBytes(Chunks);

#[derive(Clone)]
enum Chunks {
    /// Also the empty rope.
    One(Bytes),
    /// Two chunks or more.
    Many(Vec<Bytes>),
}

impl Default for Chunks {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl RecordBytes {
    pub const fn new() -> Self {
        Self(Chunks::One(Bytes::new()))
    }

    pub fn len(&self) -> usize {
        self.chunks().iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks().iter().all(Bytes::is_empty)
    }

    pub fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
        }
    }

    /// The bytes in one piece; copies only when there is more than one chunk.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Chunks::One(chunk) => chunk,
            Chunks::Many(chunks) => {
                let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
                chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
                joined.freeze()
            }
        }
    }
}

impl From<Bytes> for RecordBytes {
    fn from(chunk: Bytes) -> Self {
        Self(Chunks::One(chunk))
    }
}

impl From<Vec<Bytes>> for RecordBytes {
    fn from(mut chunks: Vec<Bytes>) -> Self {
        match chunks.len() {
            0 => Self::new(),
            1 => Self(Chunks::One(chunks.remove(0))),
            _ => Self(Chunks::Many(chunks)),
        }
    }
}

impl PartialEq for RecordBytes {
    fn eq(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.chunks().iter(), other.chunks().iter());
        let (mut a, mut b): (&[u8], &[u8]) = (&[], &[]);
        loop {
            while a.is_empty() {
                match left.next() {
                    Some(chunk) => a = chunk,
                    None => return b.is_empty() && right.all(Bytes::is_empty),
                }
            }
            while b.is_empty() {
                match right.next() {
                    Some(chunk) => b = chunk,
                    None => return false,
                }
            }
            let n = a.len().min(b.len());
            if a[..n] != b[..n] {
                return false;
            }
            (a, b) = (&a[n..], &b[n..]);
        }
    }
}

impl Eq for RecordBytes {}

impl fmt::Debug for RecordBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecordBytes({} bytes, {} chunks)", self.len(), self.chunks().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_ignores_the_cuts() {
        let piece = |text: &'static str| Bytes::from_static(text.as_bytes());
        let whole = RecordBytes::from(piece("abcdef"));
        let cut = RecordBytes::from(vec![piece("ab"), piece(""), piece("cde"), piece("f")]);
        assert_eq!(whole, cut);
        assert_eq!(cut.len(), 6);
        assert_eq!(cut.clone().into_bytes(), "abcdef");
        assert_ne!(whole, RecordBytes::from(vec![piece("ab"), piece("cd")]));
        assert_ne!(RecordBytes::from(vec![piece("ab"), piece("cdefg")]), whole);
        assert_eq!(RecordBytes::new(), RecordBytes::from(vec![piece(""), piece("")]));
    }
}

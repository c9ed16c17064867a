//! Record batches as a message carries them: opaque bytes, in one piece or several, that are never copied.
//!
//! Of a message that is being written they need not be here yet: [`DeferredBytes`] have a length, and whoever sends the message
//! fetches them when it is their turn.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Bytes that lie elsewhere until they are sent. Who sends them knows what else they are.
pub trait DeferredBytes: Any + fmt::Debug + Send + Sync {
    fn size(&self) -> usize;
}

/// A piece of a message as it goes out.
#[derive(Clone, Debug)]
pub enum Segment {
    Bytes(Bytes),
    Deferred(Arc<dyn DeferredBytes>),
}

impl Segment {
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Deferred(deferred) => deferred.size(),
        }
    }

    /// What is here already; nothing of what is deferred.
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Deferred(_) => None,
        }
    }
}

/// A rope of byte chunks. Two ropes are equal when their bytes are, however they are cut.
#[derive(Clone, Default)]
pub struct RecordBytes(Chunks);

#[derive(Clone)]
enum Chunks {
    /// Also the empty rope.
    One(Bytes),
    /// Two chunks or more.
    Many(Vec<Bytes>),
    Deferred(Arc<dyn DeferredBytes>),
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

    /// Bytes that are fetched when the message they belong to is sent. Such a message can be encoded, and nothing else.
    pub const fn deferred(deferred: Arc<dyn DeferredBytes>) -> Self {
        Self(Chunks::Deferred(deferred))
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Chunks::Deferred(deferred) => deferred.size(),
            Chunks::One(_) | Chunks::Many(_) => self.chunks().iter().map(Bytes::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are here: none of deferred ones.
    pub fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Chunks::One(chunk) => std::slice::from_ref(chunk),
            Chunks::Many(chunks) => chunks,
            Chunks::Deferred(_) => &[],
        }
    }

    pub(crate) fn as_deferred(&self) -> Option<&Arc<dyn DeferredBytes>> {
        match &self.0 {
            Chunks::Deferred(deferred) => Some(deferred),
            Chunks::One(_) | Chunks::Many(_) => None,
        }
    }

    /// The bytes that are here in one piece; copies only when there is more than one chunk.
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Chunks::Deferred(_) => Bytes::new(),
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
        if let (Chunks::Deferred(left), Chunks::Deferred(right)) = (&self.0, &other.0) {
            return Arc::ptr_eq(left, right);
        }
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
        let deferred = if self.as_deferred().is_some() { ", deferred" } else { "" };
        write!(f, "RecordBytes({} bytes, {} chunks{deferred})", self.len(), self.chunks().len())
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

//! Tagged fields that this version of the protocol does not know: kept as they came, written where they belong.

use bytes::Bytes;

use crate::reader::Tag;
use crate::{DecodeError, EncodeError, Reader, Writer};

/// Unknown tagged fields, in ascending order of their tags. One pointer wide; nothing is allocated while there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownTags(
    // The vector is boxed because almost no struct has any, and every flexible struct carries this field.
    #[allow(clippy::box_collection)] Option<Box<Vec<(u32, Bytes)>>>,
);

impl UnknownTags {
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn iter(&self) -> impl Iterator<Item = &(u32, Bytes)> {
        self.as_slice().iter()
    }

    /// Sets the content of a tag.
    pub fn set(&mut self, tag: u32, content: Bytes) {
        let fields = self.0.get_or_insert_default();
        match fields.binary_search_by_key(&tag, |field| field.0) {
            Ok(i) => fields[i].1 = content,
            Err(i) => fields.insert(i, (tag, content)),
        }
    }

    fn as_slice(&self) -> &[(u32, Bytes)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Reads the content of `tag`, which comes after all that were read before it.
    pub(crate) fn read(&mut self, r: &mut Reader, tag: &Tag) -> Result<(), DecodeError> {
        r.charge(
            size_of::<(u32, Bytes)>() + if self.0.is_none() { size_of::<Vec<(u32, Bytes)>>() } else { 0 },
        )?;
        let content = r.take_bytes(tag.size())?;
        let fields = self.0.get_or_insert_default();
        // Growth is charged for one at a time, so it goes one at a time while there are few.
        if fields.len() == fields.capacity() {
            fields.reserve_exact(fields.len() / 2 + 1);
        }
        fields.push((tag.number, content));
        Ok(())
    }

    /// Writes the count and the fields of a struct that has no known tagged fields.
    pub(crate) fn write(&self, w: &mut Writer) {
        w.uvarint(self.len() as u32);
        self.iter().for_each(|(tag, content)| w.raw_tag(*tag, content));
    }

    /// Writes the fields that come before the known tag `tag`, from the `from`th on; returns how far it came.
    pub(crate) fn write_below(&self, w: &mut Writer, from: usize, tag: u32) -> Result<usize, EncodeError> {
        let mut next = from;
        while let Some((number, content)) = self.as_slice().get(next) {
            if *number == tag {
                return Err(EncodeError::TagInUse { tag });
            }
            if *number > tag {
                break;
            }
            w.raw_tag(*number, content);
            next += 1;
        }
        Ok(next)
    }

    /// Writes the fields that come after all known tags.
    pub(crate) fn write_from(&self, w: &mut Writer, from: usize) {
        self.as_slice()[from..].iter().for_each(|(tag, content)| w.raw_tag(*tag, content));
    }

    /// Refuses to drop fields silently where a version has no room for them.
    pub(crate) fn forbid(&self, version: i16) -> Result<(), EncodeError> {
        if self.is_empty() { Ok(()) } else { Err(EncodeError::TagsNotInVersion { version }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stay_in_order() {
        let mut tags = UnknownTags::default();
        for tag in [7, 3, 9, 3] {
            tags.set(tag, Bytes::from(vec![tag as u8]));
        }
        assert_eq!(tags.iter().map(|field| field.0).collect::<Vec<_>>(), [3, 7, 9]);
        assert_eq!(size_of::<UnknownTags>(), 8);
    }

    #[test]
    fn a_known_tag_is_not_written_twice() {
        let mut tags = UnknownTags::default();
        tags.set(1, Bytes::new());
        let mut w = Writer::new();
        assert_eq!(tags.write_below(&mut w, 0, 0), Ok(0));
        assert_eq!(tags.write_below(&mut w, 0, 1), Err(EncodeError::TagInUse { tag: 1 }));
    }
}

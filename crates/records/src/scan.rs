//! Walking the records of a batch, compressed or not, without holding more than one piece of it.
//!
//! An uncompressed body is walked where it lies. A compressed one passes through a buffer that holds the record at hand and at
//! most [`PIECE`] bytes more; a record's claimed size makes it grow only as far as bytes come out of the codec.

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Compression, Decompressor};
use crate::error::{BatchError, RecordFault};
use crate::header::BatchHeader;
use crate::record::{Record, RecordView};
use crate::varint::parse_varint;

/// How much is decompressed at a time.
const PIECE: usize = 64 << 10;

/// The records of a batch as views, one at a time.
#[derive(Debug)]
pub struct RecordScan {
    feed: Feed,
    /// How many records the header promises beyond those returned.
    left: i32,
}

#[derive(Debug)]
enum Feed {
    Plain { bytes: Bytes },
    Packed { decoder: Box<Decompressor>, buffer: BytesMut, ended: bool },
}

/// The length of a record's length and of the record after it.
#[derive(Clone, Copy)]
struct Extent {
    prefix: usize,
    body: usize,
}

impl RecordScan {
    pub(crate) fn new(codec: Compression, body: Bytes, count: i32, limit: u64) -> Result<Self, BatchError> {
        if count < 0 {
            return Err(RecordFault::Count(count).into());
        }
        let feed = match codec {
            Compression::None => Feed::Plain { bytes: body },
            // Kafka doesn't look into a batch without records, and some writers leave no stream there.
            _ if count == 0 => Feed::Plain { bytes: Bytes::new() },
            _ => Feed::Packed {
                decoder: Box::new(Decompressor::new(codec, body, limit)?),
                buffer: BytesMut::new(),
                ended: false,
            },
        };
        Ok(Self { feed, left: count })
    }

    /// Shows the next record to `look`. `None` after the last one. The last record is followed by a check that nothing is left.
    #[inline]
    pub fn next_with<T>(&mut self, look: impl FnOnce(RecordView<'_>) -> T) -> Result<Option<T>, BatchError> {
        let Some(extent) = self.locate()? else { return Ok(None) };
        let seen = look(RecordView::parse(&self.feed.ready()[extent.prefix..][..extent.body])?);
        match &mut self.feed {
            Feed::Plain { bytes } => bytes.advance(extent.prefix + extent.body),
            Feed::Packed { buffer, .. } => buffer.advance(extent.prefix + extent.body),
        }
        self.finish_if_last()?;
        Ok(Some(seen))
    }

    /// The body of the next record as bytes that outlive the scan.
    fn next_body(&mut self) -> Result<Option<Bytes>, BatchError> {
        let Some(extent) = self.locate()? else { return Ok(None) };
        let size = extent.prefix + extent.body;
        let mut record = match &mut self.feed {
            Feed::Plain { bytes } => bytes.split_to(size),
            Feed::Packed { buffer, .. } => buffer.split_to(size).freeze(),
        };
        self.finish_if_last()?;
        record.advance(extent.prefix);
        Ok(Some(record))
    }

    /// Makes the next record lie at the start of what is ready.
    #[inline]
    fn locate(&mut self) -> Result<Option<Extent>, BatchError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (size, prefix) = loop {
            match parse_varint(self.feed.ready()).map_err(BatchError::from)? {
                Some(found) => break found,
                None if self.feed.more()? => {}
                None => return Err(RecordFault::MissingRecords.into()),
            }
        };
        if size < 0 {
            return Err(RecordFault::Size(size).into());
        }
        let body = size as usize;
        while self.feed.ready().len() - prefix < body {
            if !self.feed.more()? {
                let available = (self.feed.ready().len() - prefix) as u64;
                return Err(RecordFault::CutShort { expected: size, available }.into());
            }
        }
        Ok(Some(Extent { prefix, body }))
    }

    #[inline]
    fn finish_if_last(&mut self) -> Result<(), BatchError> {
        if self.left == 0 && (!self.feed.ready().is_empty() || self.feed.more()?) {
            return Err(RecordFault::RecordsRemaining.into());
        }
        Ok(())
    }
}

impl Feed {
    #[inline]
    fn ready(&self) -> &[u8] {
        match self {
            Self::Plain { bytes } => bytes,
            Self::Packed { buffer, .. } => buffer,
        }
    }

    /// Decompresses one more piece; false at the end.
    fn more(&mut self) -> Result<bool, BatchError> {
        let Self::Packed { decoder, buffer, ended } = self else { return Ok(false) };
        if *ended {
            return Ok(false);
        }
        let start = buffer.len();
        buffer.resize(start + PIECE, 0);
        let read = decoder.read(&mut buffer[start..])?;
        buffer.truncate(start + read);
        *ended = read == 0;
        Ok(!*ended)
    }
}

/// The records of a batch, each on its own. After an error the iteration ends.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    scan: Result<RecordScan, Option<BatchError>>,
}

impl Records {
    pub(crate) fn new(header: BatchHeader, scan: Result<RecordScan, BatchError>) -> Self {
        Self { header, scan: scan.map_err(Some) }
    }
}

impl Iterator for Records {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let scan = match &mut self.scan {
            Ok(scan) => scan,
            Err(error) => return error.take().map(Err),
        };
        let record = scan.next_body().and_then(|body| {
            let Some(body) = body else { return Ok(None) };
            let header = &self.header;
            Ok(Some(Record::from_body(&body, header.base_offset, |delta| header.timestamp_of(delta))?))
        });
        if record.is_err() {
            self.scan = Err(None);
        }
        record.transpose()
    }
}

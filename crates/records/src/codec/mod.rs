//! The codecs of record batches, in the framings that Kafka's clients write and read.
//!
//! Decompression is streaming and capped: a [`Decompressor`] holds its codec's window and gives its output piece by piece, and
//! refuses to give more than its limit. Nothing it allocates follows from a size the stream claims, beyond what the bytes that
//! are there could unpack to. The window is 32 KiB for gzip, a block for lz4 and framed snappy, up to 128 MiB for zstd (touched
//! only as far as output reaches), and the whole output for raw snappy, whose format has no smaller one.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use bytes::Bytes;

use crate::error::BatchError;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a number in a batch's attributes.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name, as in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The level used where no other is asked for (`compression.<codec>.level`).
    pub const fn default_level(self) -> i32 {
        match self {
            Self::None | Self::Snappy => 0,
            Self::Gzip => -1,
            Self::Lz4 => 9,
            Self::Zstd => 3,
        }
    }
}

/// A stream that is being decompressed.
#[derive(Debug)]
pub struct Decompressor {
    decoder: Decoder,
    produced: u64,
    limit: u64,
}

#[derive(Debug)]
enum Decoder {
    Stored(Bytes),
    Gzip(Box<gzip::Reader>),
    Snappy(snappy::Reader),
    Lz4(lz4::Reader),
    Zstd(zstd::Reader),
}

impl Decompressor {
    /// Decompresses `input`, refusing to give more than `limit` bytes.
    pub fn new(codec: Compression, input: Bytes, limit: u64) -> Result<Self, BatchError> {
        Self::open(codec, input, limit, lz4::HeaderChecksum::Checked)
    }

    /// As [`Decompressor::new`] for messages of format 0, whose writers computed lz4's header checksum over the wrong bytes.
    pub(crate) fn for_format_0(codec: Compression, input: Bytes, limit: u64) -> Result<Self, BatchError> {
        Self::open(codec, input, limit, lz4::HeaderChecksum::Ignored)
    }

    fn open(
        codec: Compression,
        input: Bytes,
        limit: u64,
        lz4_header: lz4::HeaderChecksum,
    ) -> Result<Self, BatchError> {
        let decoder = match codec {
            Compression::None => Decoder::Stored(input),
            Compression::Gzip => Decoder::Gzip(Box::new(gzip::Reader::new(input))),
            Compression::Snappy => Decoder::Snappy(snappy::Reader::new(input)),
            Compression::Lz4 => Decoder::Lz4(lz4::Reader::new(input, lz4_header)?),
            Compression::Zstd => Decoder::Zstd(zstd::Reader::new(input)?),
        };
        Ok(Self { decoder, produced: 0, limit })
    }

    /// Fills `out` from its start and says how far: 0 only at the end (or for an empty `out`).
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        let read = match &mut self.decoder {
            Decoder::Stored(input) => {
                let len = input.len().min(out.len());
                out[..len].copy_from_slice(&input.split_to(len));
                len
            }
            Decoder::Gzip(reader) => reader.read(out)?,
            Decoder::Snappy(reader) => {
                let whole_limit = |error| match error {
                    BatchError::OutputLimit { .. } => BatchError::OutputLimit { limit: self.limit },
                    other => other,
                };
                reader.read(out, self.limit - self.produced).map_err(whole_limit)?
            }
            Decoder::Lz4(reader) => reader.read(out)?,
            Decoder::Zstd(reader) => reader.read(out)?,
        };
        if read as u64 > self.limit - self.produced {
            return Err(BatchError::OutputLimit { limit: self.limit });
        }
        self.produced += read as u64;
        Ok(read)
    }

    /// Reads until `out` is full or the stream ends.
    pub(crate) fn read_full(&mut self, out: &mut [u8]) -> Result<usize, BatchError> {
        let mut filled = 0;
        while filled < out.len() {
            match self.read(&mut out[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Everything up to the end.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, BatchError> {
        const PIECE: usize = 64 << 10;
        let mut out = Vec::new();
        loop {
            let start = out.len();
            out.resize(start + PIECE, 0);
            let read = self.read(&mut out[start..])?;
            out.truncate(start + read);
            if read == 0 {
                return Ok(out);
            }
        }
    }
}

fn broken(codec: &str, why: impl std::fmt::Display) -> BatchError {
    BatchError::Decompression(format!("{codec}: {why}"))
}

/// A stream that is being compressed into memory.
#[derive(Debug)]
pub struct Compressor {
    encoder: Encoder,
}

#[derive(Debug)]
enum Encoder {
    Stored(Vec<u8>),
    Gzip(gzip::Writer),
    Snappy(Box<snappy::Writer>),
    Lz4(lz4::Writer),
    Zstd(zstd::Writer),
}

impl Compressor {
    /// `level` is Kafka's for the codec; snappy has none, and lz4 knows but one here.
    pub fn new(codec: Compression, level: i32) -> Self {
        let encoder = match codec {
            Compression::None => Encoder::Stored(Vec::new()),
            Compression::Gzip => Encoder::Gzip(gzip::Writer::new(level)),
            Compression::Snappy => Encoder::Snappy(Box::new(snappy::Writer::new())),
            Compression::Lz4 => Encoder::Lz4(lz4::Writer::new()),
            Compression::Zstd => Encoder::Zstd(zstd::Writer::new(level)),
        };
        Self { encoder }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        match &mut self.encoder {
            Encoder::Stored(out) => out.extend_from_slice(bytes),
            Encoder::Gzip(writer) => writer.write(bytes),
            Encoder::Snappy(writer) => writer.write(bytes),
            Encoder::Lz4(writer) => writer.write(bytes),
            Encoder::Zstd(writer) => writer.write(bytes),
        }
    }

    /// How many bytes have come out so far; more may follow without more being written.
    pub fn len_so_far(&self) -> usize {
        match &self.encoder {
            Encoder::Stored(out) => out.len(),
            Encoder::Gzip(writer) => writer.len_so_far(),
            Encoder::Snappy(writer) => writer.len_so_far(),
            Encoder::Lz4(writer) => writer.len_so_far(),
            Encoder::Zstd(writer) => writer.len_so_far(),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        match self.encoder {
            Encoder::Stored(out) => out,
            Encoder::Gzip(writer) => writer.finish(),
            Encoder::Snappy(writer) => writer.finish(),
            Encoder::Lz4(writer) => writer.finish(),
            Encoder::Zstd(writer) => writer.finish(),
        }
    }
}

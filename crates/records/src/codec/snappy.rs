//! snappy in the two forms clients send: one raw block, or the framing of the Java library (Xerial).
//!
//! ```text
//! 0x82 "SNAPPY" 0x00 | version i32 | compatible version i32 | (length i32 | raw block)*
//! ```
//!
//! The header may come again where a length is expected: that is how two streams are joined.

use bytes::{Buf, BufMut, Bytes};
use snap::raw;

use super::broken;
use crate::error::BatchError;

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
const HEADER_LEN: usize = 16;
/// Version and compatible version, as Java writes them.
const VERSION: i32 = 1;
/// How many bytes go into one block.
const BLOCK_LEN: usize = 32 << 10;
/// The most bytes that one byte of a block can stand for: a three-byte copy gives 64.
const MAX_RATIO: usize = 22;

#[derive(Debug)]
pub(super) struct Reader {
    input: Bytes,
    framed: bool,
    /// The block at hand and how much of it has been given out.
    block: Vec<u8>,
    given: usize,
}

impl Reader {
    pub(super) fn new(mut input: Bytes) -> Self {
        let framed = input.len() >= HEADER_LEN && input.starts_with(MAGIC);
        if framed {
            input.advance(HEADER_LEN);
        }
        Self { input, framed, block: Vec::new(), given: 0 }
    }

    /// `allowed` is how much may still come out of the stream.
    pub(super) fn read(&mut self, out: &mut [u8], allowed: u64) -> Result<usize, BatchError> {
        while self.given == self.block.len() {
            if self.input.is_empty() {
                return Ok(0);
            }
            let block = if self.framed { self.next_block()? } else { std::mem::take(&mut self.input) };
            self.unpack(&block, allowed)?;
        }
        let len = out.len().min(self.block.len() - self.given);
        out[..len].copy_from_slice(&self.block[self.given..][..len]);
        self.given += len;
        Ok(len)
    }

    fn next_block(&mut self) -> Result<Bytes, BatchError> {
        while self.input.starts_with(MAGIC) && self.input.len() >= HEADER_LEN {
            self.input.advance(HEADER_LEN);
        }
        if self.input.is_empty() {
            return Ok(Bytes::new());
        }
        if self.input.len() < 4 {
            return Err(broken("snappy", "a block length is cut short"));
        }
        let len = self.input.get_i32();
        match usize::try_from(len) {
            Ok(len) if len <= self.input.len() => Ok(self.input.split_to(len)),
            _ => Err(broken("snappy", format_args!("a block of {len} bytes in {}", self.input.len()))),
        }
    }

    fn unpack(&mut self, block: &[u8], allowed: u64) -> Result<(), BatchError> {
        self.given = 0;
        self.block.clear();
        let claimed = raw::decompress_len(block).map_err(|error| broken("snappy", error))?;
        if claimed > block.len().saturating_mul(MAX_RATIO) {
            return Err(broken("snappy", format_args!("{} bytes claim to be {claimed}", block.len())));
        }
        if claimed as u64 > allowed {
            return Err(BatchError::OutputLimit { limit: allowed });
        }
        self.block.resize(claimed, 0);
        let len = raw::Decoder::new()
            .decompress(block, &mut self.block)
            .map_err(|error| broken("snappy", error))?;
        self.block.truncate(len);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    block: Vec<u8>,
    encoder: raw::Encoder,
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut out = Vec::new();
        out.put_slice(MAGIC);
        out.put_i32(VERSION);
        out.put_i32(VERSION);
        Self { out, block: Vec::new(), encoder: raw::Encoder::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_LEN - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_LEN {
                self.write_block();
            }
        }
    }

    fn write_block(&mut self) {
        let start = self.out.len() + 4;
        self.out.resize(start + raw::max_compress_len(self.block.len()), 0);
        let len = self
            .encoder
            .compress(&self.block, &mut self.out[start..])
            .expect("the output has room for the largest block");
        self.out.truncate(start + len);
        self.out[start - 4..start].copy_from_slice(&(len as u32).to_be_bytes());
        self.block.clear();
    }

    pub(super) fn len_so_far(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.block.is_empty() {
            self.write_block();
        }
        self.out
    }
}
